"""Files: looked at so that any fault is one line, and written beside, flushed to the disk and renamed.

Everything that portgnn writes for a user to keep (models, checkpoints, predictions, pictures, pages, graphs) comes
through here, so that a name holds a whole file or what was there before, also after a power cut.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portgnn.errors import CheckpointError, DatasetError, PortgnnError
from portgnn.text import shortened

_LONGEST = 200
"""Bytes of a name that its temporary's name repeats: file systems admit 255, and it gains 20."""


def expanded(path: str, what: str, kind: type[PortgnnError] = DatasetError) -> Path:
    """The path with ~ in place of a home. Raises `kind` where no such user has one. what: who names the path."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise kind(
            f"{what} names {shortened(path)}, and no home of that user is known; write the path without ~"
        ) from None


def state_of(path: str | os.PathLike[str], kind: type[PortgnnError] = DatasetError) -> os.stat_result | None:
    """What lies at the path, links followed; None where nothing does.

    Raises `kind` where that cannot be told: no permission, a name too long, a NUL character, a ring of links.
    """
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise kind(f"cannot look at {shortened(os.fspath(path))}: {reason(error)}") from None


def exists(path: str | os.PathLike[str], kind: type[PortgnnError] = DatasetError) -> bool:
    """Whether anything lies at the path. Raises as `state_of` does."""
    return state_of(path, kind) is not None


def is_file(path: str | os.PathLike[str], kind: type[PortgnnError] = DatasetError) -> bool:
    """Whether a regular file lies at the path. Raises as `state_of` does."""
    found = state_of(path, kind)
    return found is not None and stat.S_ISREG(found.st_mode)


def is_folder(path: str | os.PathLike[str], kind: type[PortgnnError] = DatasetError) -> bool:
    """Whether a folder lies at the path. Raises as `state_of` does."""
    found = state_of(path, kind)
    return found is not None and stat.S_ISDIR(found.st_mode)


def reason(error: OSError | ValueError) -> str:
    """Why a call of the operating system failed, in its own words without the path."""
    if isinstance(error, UnicodeError):
        return "the name cannot be written in the file system's encoding"
    return str(getattr(error, "strerror", None) or error)


def check_writable(path: Path) -> None:
    """Raises CheckpointError unless `write_atomically` can be expected to write `path`; leaves nothing behind.

    Asked before work begins, so that no hour of training is lost to a mistyped folder.
    """
    found = state_of(path, CheckpointError)
    if found is not None and not stat.S_ISREG(found.st_mode):
        what = (
            "a folder" if stat.S_ISDIR(found.st_mode) else "a device or a pipe, and a whole file is to take its place"
        )
        raise CheckpointError(f"cannot write {path}: it is {what}")
    try:
        if not path.name:
            raise ValueError("it names no file")
        name = beside(path)
        os.close(_created(name))
        name.unlink()
    except (OSError, ValueError) as fault:
        raise CheckpointError(f"cannot write {shortened(str(path))}: {reason(fault)}") from None


def _check_replaceable(path: Path) -> None:
    """A rename would put a file in the place of a device, too."""
    found = state_of(path, CheckpointError)
    if found is not None and not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or a pipe, which a file would replace"
        raise CheckpointError(f"cannot write {path}: it is {what}")


def beside(target: Path) -> Path:
    """A name for the temporary of `target`, in its folder, that nobody can foresee."""
    return hidden(target, f"{secrets.token_hex(6)}.part")


def hidden(target: Path, end: str) -> Path:
    """A hidden name beside `target` that tells whose it is."""
    return target.with_name(f".{_cut(target.name)}.{end}")


def temporaries(target: Path) -> Iterator[Path]:
    """The temporaries of `target` that are there: of writers at work, or of such as were killed."""
    start, end = hidden(target, "").name, ".part"
    with os.scandir(target.parent) as entries:
        for entry in entries:
            middle = entry.name.removeprefix(start).removesuffix(end)
            if entry.name == f"{start}{middle}{end}" and len(middle) == 12 and set(middle) <= set("0123456789abcdef"):
                yield Path(entry.path)


def write_atomically(target: Path, content: bytes) -> None:
    """Writes `content` beside `target`, flushes it to the disk and renames it. Raises CheckpointError."""
    _check_replaceable(target)
    try:
        name = beside(target)
        handle = _created(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)
            _flush_folder(target.parent)
        except BaseException:
            name.unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot write {shortened(str(target))}: {reason(error)}") from None


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A new folder to fill; at the end its files are flushed to the disk and it takes the name `target`.

    Nothing is left behind where the block or the disk fails. Raises OSError.
    """
    part = beside(target)
    part.mkdir()
    try:
        yield part
        for entry in part.iterdir():
            _flush(entry)
        _flush_folder(part)
        os.replace(part, target)
        _flush_folder(target.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _cut(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:_LONGEST])


def _created(name: Path) -> int:
    """A handle of a new file. Not tempfile's: its files are for their owner alone, and a result is to be shared."""
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))  # Windows flushes what is open for writing
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_folder(folder: Path) -> None:
    """Makes a rename survive a power cut, where the system offers that (POSIX)."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
