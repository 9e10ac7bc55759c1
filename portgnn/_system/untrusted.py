"""Files that nobody vouches for: only regular ones are opened, and what reading one may take is bounded.

A file of a few kilobytes can promise gigabytes: zeros compress a thousandfold, a dictionary names one long text for
a million rows, a shape is a few digits. Readers therefore estimate what a file will take before they make room for
it, and hold that against `admitted`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from portgnn.errors import ConfigError, DatasetError, PortgnnError
from portgnn.text import shown

VARIABLE = "PORTGNN_MAX_MEMORY"
ALWAYS_ADMITTED = 256 << 20
"""Bytes of memory that reading any file may take, however small it is, where nothing else is said."""
RATIO = 100
"""Reading may also take this many times a file's own size."""

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

_limit: ContextVar[int | None] = ContextVar("portgnn_max_memory", default=None)


@contextmanager
def memory_limit(limit: int | str | None) -> Iterator[None]:
    """Within it, files may take `limit` bytes of memory to read (None: what `PORTGNN_MAX_MEMORY` says).

    Raises ConfigError for what is no size.
    """
    token = _limit.set(None if limit is None else in_bytes(limit, "max_memory"))
    try:
        yield
    finally:
        _limit.reset(token)


def in_bytes(size: int | str, name: str) -> int:
    """A number of bytes, or a text such as "512MiB", "4G" or "1.5 GB" (all in powers of 1024), in bytes.

    Raises ConfigError, which calls it `name`, for anything else.
    """
    found = _SIZE.fullmatch(str(size).strip()) if isinstance(size, int | str) and not isinstance(size, bool) else None
    if found is None:
        raise ConfigError(f"{name}={shown(size)} is not a size; give bytes, or a text such as 512MiB or 4GiB")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def admitted(size: int) -> int:
    """Bytes of memory that reading a file of `size` bytes may take. Raises ConfigError for a bad environment."""
    limit = _limit.get()
    if limit is None:
        text = os.environ.get(VARIABLE, "")
        limit = in_bytes(text, VARIABLE) if text.strip() else ALWAYS_ADMITTED
    return max(limit, RATIO * size)


def check_need(where: object, need: int, size: int, error: type[PortgnnError] = DatasetError) -> None:
    """Raises `error` where reading `where`, a file of `size` bytes, would take `need` bytes and may not."""
    bound = admitted(size)
    if need > bound:
        raise error(
            f"{where} would take {readable(need)} of memory to read, where a file of its size is given "
            f"{readable(bound)}; if you trust it, set {VARIABLE}={_enough(need)} (or load_graph's max_memory)"
        )


def _enough(need: int) -> str:
    """A size that covers `need`, as one would type it."""
    for unit, size in (("MiB", 2**20), ("GiB", 2**30), ("TiB", 2**40)):
        if need <= 1024 * size:
            return f"{-(-need // size)}{unit}"
    return str(need)


def readable(size: float) -> str:
    """A number of bytes for people to read."""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if size >= 10 or unit == "bytes" else f"{size:.1f} {unit}"


def opened(path: Path, error: type[PortgnnError] = DatasetError) -> BinaryIO:
    """A regular file, open to be read. Raises `error` for anything else, OSError where the system refuses.

    A pipe would wait for a writer for ever, and reading a device can do anything.
    """
    check_regular(path, error)
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    # What was a file a moment ago may be a pipe by now; the system call that follows a link cannot tell.
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        _check_kind(path, os.fstat(handle).st_mode, error)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def check_regular(path: Path, error: type[PortgnnError] = DatasetError) -> int:
    """The size of a regular file in bytes. Raises `error` for anything else, OSError where the system refuses."""
    try:
        found = os.stat(path)
    except ValueError as fault:  # a NUL in the name
        raise error(f"{shown(str(path))} is no name of a file: {fault}") from None
    _check_kind(path, found.st_mode, error)
    return found.st_size


def _check_kind(path: Path, mode: int, error: type[PortgnnError]) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        advice = "" if stat.S_ISDIR(mode) else "; write what it holds to a file and name that"
        raise error(f"{path} is {kind}, not a file{advice}")


def content(path: Path, error: type[PortgnnError] = DatasetError, most: int | None = None) -> bytes:
    """All bytes of a regular file, `most` of them at most.

    Raises `error` for anything else and for a larger file, OSError where the system refuses.
    """
    with opened(path, error) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise error(f"{path} has {readable(size)}, where at most {readable(most)} are admitted")
        return file.read()
