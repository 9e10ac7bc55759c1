"""How commands speak: one JSON document, tables, messages and errors. Rich is loaded for tables alone."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import TextIO

from portgnn.text import printable

FALLBACK = 80
"""Columns of a terminal that does not say how many it has."""


def print_json(document: object) -> None:
    """One line of strict JSON on stdout: NaN and infinities, which JSON lacks, become null."""
    print(json.dumps(_strict(document), allow_nan=False))


def _strict(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return value


def announce(message: str, *commands: str) -> None:
    """What a user should know, on stderr, so that stdout holds results alone; below it, commands to be copied whole."""
    lines = [_folded(printable(message), sys.stderr), *(f"  {printable(command)}" for command in commands)]
    print("\n".join(lines), file=sys.stderr, flush=True)


def print_line(line: str) -> None:
    """A line of a result on stdout."""
    print(_folded(printable(line), sys.stdout))


def _folded(text: str, stream: TextIO) -> str:
    """The line, broken between words where a terminal narrower than it would break inside of one."""
    if not stream.isatty() or len(text) <= (width := columns_of(stream)):
        return text
    return textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False).fill(text)


def columns_of(stream: TextIO) -> int:
    """Columns of the terminal behind a stream; COLUMNS goes first, as in every shell."""
    with contextlib.suppress(ValueError):
        return int(os.environ.get("COLUMNS", "")) or FALLBACK
    with contextlib.suppress(OSError):
        return os.get_terminal_size(stream.fileno()).columns or FALLBACK
    return FALLBACK


def error(message: str) -> None:
    """One line on stderr, whatever the message holds; a terminal narrower than it folds it between words."""
    print(_folded(f"error: {printable(' '.join(message.split()))}", sys.stderr), file=sys.stderr, flush=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], give_up: Sequence[str] = ()) -> None:
    """A table on stdout: folded between words to fit a terminal, or as wide as its content where it is piped.

    Columns for which a terminal has no room are left out, those of `give_up` first and then the last ones; a line on
    stderr names them.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns, rows = [printable(name) for name in columns], [[printable(text) for text in row] for row in rows]
    terminal = sys.stdout.isatty()
    console = Console() if terminal else Console(width=10_000, color_system=None)
    widths: dict[int, int] | None = None
    gap = 2
    if terminal:
        widths, gap = _fit(columns, rows, console.width, give_up)
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False)
    shown = range(len(columns)) if widths is None else sorted(widths)
    for at in shown:
        table.add_column(columns[at], overflow="fold", width=None if widths is None else widths[at])
    for row in rows:
        table.add_row(*(Text(row[at]) for at in shown))  # Text: a "[" in a command is not markup
    if not terminal:
        with console.capture() as captured:
            console.print(table)
        for line in captured.get().splitlines():
            print(line.rstrip())
        return
    console.print(table)
    missing = [name for at, name in enumerate(columns) if at not in shown]
    if missing:
        announce(f"No room here for: {', '.join(missing)}. A wider terminal, a pipe or --json shows all.")


def _fit(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, give_up: Sequence[str]
) -> tuple[dict[int, int], int]:
    """Widths of the columns (by number) that `width` has room for, and the blanks between two of them."""
    cells = [[name, *(row[at] for row in rows)] for at, name in enumerate(columns)]
    longest = [max(map(len, column)) for column in cells]
    least = [max((len(word) for text in column for word in text.split()), default=0) for column in cells]
    shown = list(range(len(columns)))
    leaving = [columns.index(name) for name in give_up]
    leaving += [at for at in reversed(shown) if at not in leaving]
    gap = 2

    def room() -> int:
        return width - sum(least[at] for at in shown) - gap * (len(shown) - 1)

    if room() < 0:
        gap = 1
    while room() < 0 and len(shown) > 1:
        shown.remove(leaving.pop(0))
    widths = {at: least[at] for at in shown}
    left = max(room(), 0)
    # The columns that need least come first, so that one long text does not fold all the others.
    for at in sorted(shown, key=lambda at: longest[at] - least[at]):
        more = min(longest[at] - least[at], left)
        widths[at] += more
        left -= more
    return widths, gap
