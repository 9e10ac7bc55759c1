"""stdout and stderr while a command runs: nothing that they refuse ends its work, or loses what the work came to.

A result is computed in an hour and printed in the last second. So a stream that is closed, full or of an encoding
without the letters of a name raises nothing while the command goes on; what was to go to stdout is remembered, and
`finish` says what became of it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from portgnn._system.files import reason
from portgnn.text import encodable

CLOSED = "it is closed"


class Guard(io.TextIOBase):
    """A text stream over another that keeps the first fault and does not raise it.

    stream: None where the process was started without it. kept: all that was written, where that was asked for.
    """

    def __init__(self, stream: TextIO | None, keep: bool = False) -> None:
        self.stream = stream
        self.kept: list[str] | None = [] if keep else None
        self.fault: str = CLOSED if stream is None else ""
        self.reader_left = False

    def write(self, text: str) -> int:
        if self.kept is not None:
            self.kept.append(text)
        if not self.fault and self.stream is not None:
            try:
                self.stream.write(encodable(text, self.stream.encoding))
            except (OSError, ValueError) as error:
                self._fails(error)
        return len(text)

    def flush(self) -> None:
        if not self.fault and self.stream is not None:
            try:
                self.stream.flush()
            except (OSError, ValueError) as error:
                self._fails(error)

    def test(self) -> None:
        """Writes nothing, and finds out whether something could be written."""
        try:
            os.write(self.fileno(), b"")
        except io.UnsupportedOperation:
            pass
        except OSError as error:
            self._fails(error)

    def isatty(self) -> bool:
        return not self.fault and self.stream is not None and self.stream.isatty()

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("fileno")
        return self.stream.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    def _fails(self, error: OSError | ValueError) -> None:
        self.fault = CLOSED if getattr(error, "errno", errno.EBADF) == errno.EBADF else reason(error)
        self.reader_left = isinstance(error, BrokenPipeError)
        # The interpreter flushes what is left in the buffer as it ends, and would fail in its turn.
        with contextlib.suppress(OSError, ValueError):
            number = self.fileno()
            if number in (1, 2):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)


@contextmanager
def guarded() -> Iterator[tuple[Guard, Guard]]:
    """Puts guards in the place of stdout and stderr; stdout's remembers what is written."""
    _plug()
    before = sys.stdout, sys.stderr
    out, err = Guard(sys.stdout, keep=True), Guard(sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        yield out, err
    finally:
        sys.stdout, sys.stderr = before


def _plug() -> None:
    """Opens the null device where 0, 1 or 2 is closed: the next file would get that number, and what others print."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)


def rescued(out: Guard, command: str) -> str:
    """Where the result that stdout did not take has been put: a file's name, or "" where no file can be made."""
    text = "".join(out.kept or [])
    ending = ".json" if text.startswith(("{", "[")) else ".txt"
    try:
        handle, name = tempfile.mkstemp(ending, f"portgnn-{command}-")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return ""
    return name
