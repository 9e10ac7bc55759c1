"""How commands speak: one JSON document, tables, messages and errors. Rich is loaded for tables alone."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from portgnn.errors import CheckpointError


def print_json(document: Any) -> None:
    """One line of strict JSON on stdout: NaN and infinities, which JSON lacks, become null."""
    print(json.dumps(_strict(document), allow_nan=False))


def _strict(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return value


def announce(message: str) -> None:
    """What a user should know, on stderr, so that stdout holds results alone."""
    print(message, file=sys.stderr, flush=True)


def error(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: as wide as the terminal, or as wide as its content where it is piped."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: a "[" in a command is not markup
    if console.is_terminal:
        console.print(table)
        return
    console = Console(width=10_000, color_system=None)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())


def check_writable(path: Path) -> None:
    """Raises CheckpointError unless a file can be written at `path`; leaves nothing behind.

    Asked before work begins, so that no hour of training is lost to a mistyped folder.
    """
    if path.is_dir():
        raise CheckpointError(f"cannot write {path}: it is a folder")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as fault:
        raise CheckpointError(f"cannot write {path}: {fault.strerror or fault}") from None
