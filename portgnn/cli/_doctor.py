"""`portgnn doctor`: what on this machine decides whether, how fast and how exactly each backend computes."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import Any

from portgnn._system import apple
from portgnn._system.files import exists, is_folder
from portgnn.cli._listings import describe_backends
from portgnn.cli._output import print_json, print_line, print_table
from portgnn.errors import PortgnnError
from portgnn.protocol import Troubled
from portgnn.registry import backend_class, self_check
from portgnn.results import environment

SETTINGS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "PORTGNN_DATA",
    "PORTGNN_CACHE",
    "PORTGNN_COMPILED",
    "PORTGNN_OFFLINE",
)

NARROW = "This is a 32-bit Python; frameworks publish 64-bit builds only. Install a 64-bit Python."


def examine() -> dict[str, Any]:
    """Everything that `portgnn doctor` reports, fit for JSON."""
    backends = describe_backends()
    for record in backends:
        record["checks"] = {device: _check(record["name"], device, record) for device in record["devices"]}
    machine = environment.machine()
    if machine["system"] == "Darwin":
        machine |= apple.facts()
    return {
        "machine": machine | {"executable": sys.executable, "bits": 8 * struct.calcsize("P")},
        "settings": {name: os.environ.get(name) for name in SETTINGS},
        "backends": backends,
        "problems": _problems(machine, backends),
    }


def run(as_json: bool) -> None:
    report = examine()
    if as_json:
        print_json(report)
        return
    facts = [(name, str(value)) for name, value in report["machine"].items() if value is not None]
    facts += [(name, value) for name, value in report["settings"].items() if value is not None]
    print_table(("machine", ""), facts)
    for record in report["backends"]:
        print()
        if not record["available"]:
            print_table((record["name"], ""), [("state", record["problem"]), ("install", record["install"])])
            continue
        rows = [(name, str(value)) for name, value in record["environment"].items()]
        for device, dtypes in record["devices"].items():
            rows.append((f"device {device}", f"{record['checks'][device]} ({', '.join(dtypes)})"))
        print_table((record["name"], ""), rows)
    print()
    if not report["problems"]:
        print_line("No problem found.")
    for problem in report["problems"]:
        print_line(f"PROBLEM: {problem}")


def _check(name: str, device: str, record: dict[str, Any]) -> str:
    """A small product, gradient and softmax on the device: "ok", or what went wrong."""
    dtypes = record["devices"][device]
    try:
        self_check(backend_class(name)(device, "float32" if "float32" in dtypes else dtypes[0]))
    except Exception as fault:  # a driver can fail in any way it likes
        return f"fails: {fault}"
    return "ok"


def _known(name: str, machine: dict[str, Any]) -> list[str]:
    """What an adapter knows to be wrong with its framework's version on this machine, where it has a list of that."""
    found = backend_class(name)
    return list(found.troubles(machine)) if isinstance(found, Troubled) else []


def _folder_problems() -> list[str]:
    """What is wrong with the folders of data and of downloads, in the words that a command would say."""
    from portgnn.datasets.download import cache_folder, data_folder

    problems = []
    for variable, look in (("PORTGNN_DATA", data_folder), ("PORTGNN_CACHE", cache_folder)):
        try:
            folder = look()
            if folder is not None and look is cache_folder:
                problems += _cache_problems(folder)
        except PortgnnError as fault:
            problems.append(str(fault) if variable in str(fault) else f"{variable}: {fault}")
    return problems


def _cache_problems(folder: Path) -> list[str]:
    """A cache is made when it is needed, in the nearest folder above it that is there."""
    there = folder
    while not exists(there) and there != there.parent:
        there = there.parent
    if is_folder(there) and os.access(there, os.W_OK | os.X_OK):
        return []
    why = f"{there} is no folder" if not is_folder(there) else f"{there} admits no writing"
    return [f"PORTGNN_CACHE: downloads cannot be kept in {folder}, since {why}; name another folder"]


def _problems(machine: dict[str, object], backends: list[dict[str, Any]]) -> list[str]:
    problems = _folder_problems()
    problems += apple.troubles(machine, rosetta=bool(machine["rosetta"]), conda=apple.is_conda())
    if struct.calcsize("P") < 8:
        problems.append(NARROW)
    for record in backends:
        problems += [
            f"{record['name']} on {device} {state}" for device, state in record["checks"].items() if state != "ok"
        ]
        if record["available"]:
            problems += _known(record["name"], machine)
        # Not installed is a choice; installed and broken is a problem.
        if record["problem"] not in (None, "not installed"):
            problems.append(f"{record['name']} {record['problem']}")
    return problems
