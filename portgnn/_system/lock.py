"""One process at a time: a lock on a file, which the operating system drops when its holder dies."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_POLL_SECONDS = 0.05
_LONGEST = 200


@dataclass(frozen=True)
class Lock:
    """What came of asking for a lock.

    alone: whether it was taken. holder: who has it in place of us, "" where the file system has no locks.
    """

    alone: bool
    holder: str = ""


@contextmanager
def locked(path: Path, until: float) -> Iterator[Lock]:
    """Holds the lock `path` while the block runs; the file, which names the holder, is gone afterwards.

    until: a `time.monotonic()` after which waiting ends, and the block runs without the lock. Raises OSError where the
    file cannot be made. No stale lock can be left behind: the lock is the system's, and the file only its name.
    """
    handle = _acquire(path, until)
    if isinstance(handle, Lock):
        yield handle
        return
    try:
        with suppress(OSError):
            os.ftruncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {socket.gethostname()}"[:_LONGEST].encode())
        yield Lock(True)
    finally:
        # While it is held, so that nobody else's file is removed; Windows keeps open files.
        with suppress(OSError):
            path.unlink(missing_ok=True)
        os.close(handle)
        with suppress(OSError):
            if os.name == "nt":
                path.unlink(missing_ok=True)


def _acquire(path: Path, until: float) -> int | Lock:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        holder = ""
        try:
            took = _try(handle)
            # The holder before us removed the file under this name: a lock on it locks out nobody.
            if took and _same_file(handle, path):
                return handle
            if took is False:
                holder = _named(handle)
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        if took is None or time.monotonic() > until:
            return Lock(False, holder)
        if not took:
            time.sleep(_POLL_SECONDS)


def _named(handle: int) -> str:
    """Who holds the lock, as the file says."""
    with suppress(OSError):
        return os.read(handle, _LONGEST).decode("utf-8", "replace") or "another process"
    return "another process"  # Windows does not let others read what is locked


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


try:
    import fcntl

    def _try(handle: int) -> bool | None:
        """Whether the lock was taken; None where there are no locks."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True

except ImportError:
    import msvcrt

    def _try(handle: int) -> bool | None:
        """Whether the lock was taken."""
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        return True
