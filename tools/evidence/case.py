"""A snippet, what it should say, and the table of all of them."""

# ruff: noqa: E501 (shell lines and files stand as they are typed)

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CASES: list[Case] = []


@dataclass(frozen=True)
class Case:
    """run: the snippet, given an empty folder; what it returns, or the exception that it raises, is its outcome.

    wanted: a regular expression that the outcome of a right program matches. apart: the snippet may end its process, or
    take much memory, and gets one of its own.
    """

    item: str
    what: str
    wanted: str
    run: Callable[[Path], object]
    apart: bool = False


def case(
    item: str, what: str, wanted: str, *, apart: bool = False
) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    """Puts a snippet into the table."""

    def put(run: Callable[[Path], object]) -> Callable[[Path], object]:
        CASES.append(Case(item, what, wanted, run, apart))
        return run

    return put


def shell(line: str, folder: Path, *, last: int = 1, **environment: str) -> str:
    """The exit status of a shell line and the last lines of what it says; `portgnn` in it is this checkout's command."""
    line = line.replace("portgnn ", f"{sys.executable} -m portgnn ")
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=100,
    )
    said = " ".join((done.stdout + done.stderr).split())
    trace = "TRACEBACK " if "Traceback (most recent call last)" in said else ""
    return f"exit {done.returncode}: {trace}{said if last == 0 else said[-300 * last :]}"
