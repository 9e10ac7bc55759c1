"""A result that may be made public: what a reader needs to compare machines, and nothing about who measured it.

Everything is picked by name and held to a pattern, since what frameworks say of themselves, variables of the
environment and messages of failures can hold paths, hosts and users. What does not fit is left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

FORMAT, VERSION = "portgnn-bench-shared", 1
NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,39}")
RELEASE = re.compile(r"[0-9]{1,5}(\.[0-9A-Za-z]{1,12}){1,5}([+.-][0-9A-Za-z.]{1,20})?")
HARDWARE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ()@.,+_-]{0,79}")
VERSIONS_OF = ("version", "cuda", "scipy")
"""What of a framework's own words is passed on; a stranger's adapter may say anything there."""
CHOICES = {"form": ("csr", "dense", "edges"), "rows": ("needed", "all", "auto")}
REASONS = {
    "absent": "not installed",
    "unsupported": "not supported",
    "refused": "fails verification",
    "failed": "failed",
    "skipped": "the run was ended",
}
"""What is said of a row that was not timed, in place of its message."""


def shared(found: Mapping[str, Any]) -> dict[str, object]:
    """A result document of `portgnn.benchmark.here.run` without anything personal."""
    machine, plan = found["machine"], found["plan"]
    return {
        "format": FORMAT,
        "version": VERSION,
        "made": str(found["made"])[:10],
        "portgnn": _fitting(RELEASE, machine.get("portgnn")),
        "machine": {
            "processor": _fitting(HARDWARE, machine.get("processor")),
            "cores": machine.get("cores"),
            "system": _fitting(NAME, machine.get("system")),
            "architecture": _fitting(NAME, machine.get("machine")),
            "python": _fitting(RELEASE, machine.get("python")),
            "memory_gb": memory_gb(),
            "accelerators": _accelerators(found),
        },
        "threads": found["options"].get("threads"),
        "seconds": plan.get("seconds"),
        "interrupted": bool(found.get("interrupted")),
        "versions": {name: _versions(facts) for name, facts in found["workers"].items() if NAME.fullmatch(name)},
        "rows": [row for row in map(_row, found["rows"]) if row["backend"]],
    }


def memory_gb() -> int | None:
    """The machine's memory, to a power of two in GB or half way between two; None where the system does not say."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, OSError, ValueError):
        return None
    steps = sorted([2**n for n in range(14)] + [3 * 2**n for n in range(13)])
    nearest: int = min(steps, key=lambda step: abs(step - size))
    return nearest


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    status = str(row.get("status")) if row.get("status") in (*REASONS, "timed") else "failed"
    kept: dict[str, Any] = {"backend": _fitting(NAME, row.get("contender")), "status": status}
    for name in ("device", "recipe"):
        if row.get(name) is not None:
            kept[name] = _fitting(re.compile(r"[a-z][a-z0-9:_-]{0,39}"), row[name])
    if row.get("graph"):
        # A graph of one's own may have a telling name; its size is what counts.
        kept |= {name: int(row["graph"][name]) for name in ("nodes", "stored_edges", "features", "classes")}
    options = row.get("options") or row.get("case") or {}
    kept |= {name: options[name] for name, values in CHOICES.items() if options.get(name) in values}
    if status != "timed":
        return kept | {"reason": REASONS[status]}
    for name in ("train_ms", "evaluate_ms"):
        kept[name] = {part: float(f"{row[name][part]:.4g}") for part in ("median", "q1", "q3", "min")}
        kept[name]["n"] = int(row[name]["n"])
    kept |= {name: float(f"{row[name]:.4g}") for name in ("first_epoch_ms", "test_accuracy", "others_cores")
             if row.get(name) is not None}  # fmt: skip
    error = row["verification"].get("largest_error")
    return kept | {"verified_to": None if error is None else float(f"{error:.1e}")}


def _versions(facts: Mapping[str, Any]) -> dict[str, str]:
    """Versions that a framework says of itself, where they read as one: no path, no sentence."""
    found = facts.get("environment") or {}
    fitting = {name: _fitting(RELEASE, found.get(name)) for name in VERSIONS_OF}
    return {name: value for name, value in fitting.items() if value is not None}


def _accelerators(found: Mapping[str, Any]) -> list[str]:
    """Names of devices beyond the CPU, as frameworks give them."""
    named = [(facts.get("environment") or {}).get("gpu") for facts in found["workers"].values()]
    return sorted({text for text in named if isinstance(text, str) and HARDWARE.fullmatch(text)})


def _fitting(pattern: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None
