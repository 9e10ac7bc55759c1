"""What tables and the guard take from a result file: its rows, the peer to compare with, the machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from portgnn.benchmark.quiet import BUSY


def read(path: str | Path) -> dict[str, Any]:
    """A run. Raises ValueError for a file that is none."""
    try:
        run = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(run, dict) or run.get("format") != "portgnn-bench":
        raise ValueError(f"{path} is not a result of run_all.py")
    return run


def reference_row(rows: Iterable[dict[str, Any]], contender: str, device: str | None) -> dict[str, Any] | None:
    """The peer's row on the device, or on the only one that it was timed on."""
    own = [row for row in rows if row["contender"] == contender and row["kind"] == "peer"]
    same = [row for row in own if row["device"] == device]
    return same[0] if same else own[0] if len(own) == 1 else None


def at_its_best(rows: Iterable[dict[str, Any]], contenders: Sequence[str], device: str | None) -> dict[str, Any] | None:
    """The fastest row of some peers on the device, or on the only one that they were timed on."""
    own = [row for row in rows if row["contender"] in contenders and row["kind"] == "peer"]
    same = [row for row in own if row["device"] == device]
    fitting = same or (own if len({row["device"] for row in own}) == 1 else [])
    return min(fitting, key=lambda row: float(row["train_ms"]["median"]), default=None)


def ratio(row: dict[str, Any], reference: dict[str, Any]) -> float:
    """How many times the reference's median train step is longer than this row's."""
    return float(reference["train_ms"]["median"] / row["train_ms"]["median"])


def where(run: dict[str, Any]) -> str:
    """The machine and the method in one line."""
    machine, plan = run["machine"], run["plan"]
    cores = run["options"].get("threads") or machine["cores"]
    commit = (run["git"]["commit"] or "unknown")[:8] + ("+" if run["git"]["modified"] else "")
    gpus = {facts["environment"].get("gpu") for facts in run["workers"].values()} - {None, True, False}
    gpu = f", {', '.join(sorted(gpus))}" if gpus else ""
    return (
        f"{machine['processor']}, {cores} cores{gpu}; Python {machine['python']}; {plan['rounds']} rounds interleaved, "
        f"chunks of up to {plan['chunk']} epochs; {run['made'][:10]}, revision {commit}."
    )


def disturbed(rows: Iterable[dict[str, Any]]) -> str:
    """A warning where other processes had a part of the machine while these rows were timed."""
    others = [row["others_cores"] for row in rows if row.get("others_cores") is not None]
    worst = max(others, default=0.0)
    return f" NOT QUIET: other processes took up to {worst:.1f} cores." if worst > BUSY else ""


def absences(run: dict[str, Any]) -> str:
    """What was not timed, each with its reason."""
    lines = []
    for row in run["rows"]:
        if row.get("status") != "timed":
            place = " · ".join(str(row[name]) for name in ("dataset", "recipe") if row.get(name))
            lines.append(f"- {row['status']}: {row['label']}{f' ({place})' if place else ''}: {row['reason']}")
    return "\n".join(["Not timed:", "", *dict.fromkeys(lines)]) + "\n" if lines else ""
