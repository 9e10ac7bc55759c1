"""Text that came from elsewhere, made fit to be shown: names in files, a server's words, paths.

A terminal obeys escape codes, and a reader believes lines. So what is shown of such text holds neither: `PortgnnError`,
the command's output, log records, pages and pictures all pass it through `printable`.
"""

from __future__ import annotations

import re

_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"
_INVISIBLE = (
    "\u2028\u2029"  # line and paragraph ends to some programs
    "\u202a-\u202e\u2066-\u2069"  # turn the order of what follows, also beyond the text itself
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
    "\ud800-\udfff"  # halves of a surrogate pair, which no encoding can write
)
_IN_LINES = re.compile(f"[{_CONTROLS}{_INVISIBLE}]")
_IN_A_LINE = re.compile(f"[{_CONTROLS}{_INVISIBLE}\t\n]")


def printable(text: str, *, lines: bool = False) -> str:
    """The text with control and direction characters written as Python writes them ("\\x1b").

    lines: leave tabs and line feeds as they are.
    """
    return (_IN_LINES if lines else _IN_A_LINE).sub(_escape, text)


def shortened(text: str, length: int = 80) -> str:
    """The text, or its beginning and end with … between where it has more than `length` characters."""
    if len(text) <= length:
        return text
    half = (length - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def shown(value: object, length: int = 40) -> str:
    """A value of any kind as Python writes it, `shortened` to one line of a message."""
    try:
        text = repr(value)
    # Deep nesting, an integer of more digits than Python writes, a text form that fails.
    except Exception:
        return f"a value of type {type(value).__name__}"
    return shortened(text, length)


def encodable(text: str, encoding: str | None) -> str:
    """The text with what an encoding lacks as escapes, so that a stream of that encoding takes it."""
    if encoding is None:
        return text
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:
        return text


_SPLITS = ";|\t\r\n"
_NUMBER = rf"[ ]*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[ ]*(?:[{_SPLITS}]|\Z)"
_FORMULA = "[ \0'\"]*[=+\\-@\uff1d\uff0b\uff0d\uff20]"
_BEGINS = rf"\A(?=[ '\"]*[\t\r\n\0])|(?:\A|(?<=[{_SPLITS}]))(?={_FORMULA})"
_BARE = re.compile(f"(?!{_NUMBER})(?:{_BEGINS})")
_GUARDED = re.compile(rf"\A'(?=[ '\"]*[\t\r\n\0])|(?:\A|(?<=[{_SPLITS}]))'(?={_FORMULA})")


def inert(text: str) -> str:
    """The text as a cell of which no spreadsheet makes a formula: with ' before each place that could begin one.

    That is where = + - @ (or their full-width forms) stand at the beginning, or after what a spreadsheet may split a
    line at whether it is quoted or not (; | a tab, a line end), perhaps behind spaces, NULs and quotes, and are no
    number; and before a tab, a line end or a NUL at the beginning. A ' goes before one that is there already, so that
    `original` finds the way back. After OWASP, CSV Injection, and OWASP/www-community issue 443: quotes do not help.
    """
    return _BARE.sub("'", text)


def original(cell: str) -> str:
    """The text of which `inert` made a cell."""
    return _GUARDED.sub("", cell)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
