"""One process at a time: a lock on a file, which the operating system drops when its holder dies."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_POLL_SECONDS = 0.05


@contextmanager
def locked(path: Path, until: float) -> Iterator[bool]:
    """Holds the lock `path` while the block runs; the file is gone afterwards.

    until: a `time.monotonic()` after which waiting ends. Yields False, without the lock, after that time or where
    the file system has no locks; raises OSError where the file cannot be made. No stale lock can be left behind:
    the lock is the system's, and the file only its name.
    """
    handle = _acquire(path, until)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            # While it is held, so that nobody else's file is removed; Windows keeps open files.
            with suppress(OSError):
                path.unlink(missing_ok=True)
            os.close(handle)
            with suppress(OSError):
                if os.name == "nt":
                    path.unlink(missing_ok=True)


def _acquire(path: Path, until: float) -> int | None:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            took = _try(handle)
            # The holder before us removed the file under this name: a lock on it locks out nobody.
            if took and _same_file(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        if took is None or time.monotonic() > until:
            return None
        if not took:
            time.sleep(_POLL_SECONDS)


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
