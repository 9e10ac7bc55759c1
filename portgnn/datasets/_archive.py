"""Text files in a zip or a folder, perhaps compressed once more, as published collections of graphs lie in.

Nothing is unpacked to disk. What a file will take is held against a bound before it is read, and numbers are parsed by
NumPy's own reader, which runs nothing.
"""

from __future__ import annotations

import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from portgnn._system.files import is_file, is_folder
from portgnn._system.untrusted import check_need, check_regular, opened
from portgnn.errors import DatasetError
from portgnn.text import shown

_MAX_FILES = 1000
_BYTES_A_BYTE = 16
"""Bytes of memory at the peak for a byte of text: two of `1\\n` are eight, read, joined and checked."""
_BLOCK = 1 << 16


class Archive:
    """The files of a zip or of a folder (three levels deep), by their names with single slashes.

    size: bytes of the zip, or of the folder's files. Raises DatasetError for what is neither, or holds too many files.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._zip = path, None if is_folder(path) else _members(path)
        if self._zip is not None:
            self.size = check_regular(path)
            self._files: dict[str, Any] = {_plain(each.filename): each for each in self._zip}
        else:
            self._files = _files_in(path)
            self.size = sum(each.stat().st_size for each in self._files.values())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._files)

    def ending(self, end: str) -> str | None:
        """The one file whose name ends so; None where there is none. Raises DatasetError where there are several."""
        found = [name for name in self._files if name.endswith(end)]
        if len(found) > 1:
            raise DatasetError(f"{self.path} holds several files of one kind: {', '.join(map(shown, found[:3]))}")
        return found[0] if found else None

    def where(self, name: str) -> str:
        """A file as messages name it."""
        return f"{self.path}, {name}"

    @contextmanager
    def opened(self, name: str) -> Iterator[io.BufferedReader]:
        """A file's text, uncompressed. Its size is bounded as it is read.

        Raises DatasetError for what is damaged on the way, whatever the reader of it was doing.
        """
        try:
            with self._raw(name) as raw:
                text: Any = gzip.GzipFile(fileobj=raw) if name.endswith(".gz") else raw
                yield io.BufferedReader(_Bounded(text, self.where(name), self.size))
        except OSError as error:  # BadGzipFile, too
            raise DatasetError(f"{self.where(name)} cannot be read: {error.strerror or error}") from None
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise DatasetError(f"{self.where(name)} cannot be unpacked: {_line(error)}") from None

    @contextmanager
    def _raw(self, name: str) -> Iterator[IO[bytes]]:
        if self._zip is None:
            with opened(self._files[name]) as file:
                yield file
            return
        with opened(self.path) as content, zipfile.ZipFile(content) as archive:
            try:
                unpacked = archive.open(self._files[name])
            except UnicodeDecodeError:  # of the file's name beside the data, which the directory's is compared with
                raise zipfile.BadZipFile("its name there is not the one in the archive's directory") from None
            with unpacked:
                yield unpacked

    def numbers(
        self, name: str, columns: int | None, dtype: type[np.floating] = np.float64, rows: int | None = None
    ) -> NDArray[np.floating]:
        """Numbers between commas, a row a line, [rows, columns]; finite. columns: None for as many as the first row.

        rows: how many there must be. Raises DatasetError that names the file and, where it can, the row (from 1).
        """
        where = self.where(name)
        with self.opened(name) as file:
            first = file.peek(_BLOCK)
            if not first.strip():
                made: NDArray[np.floating] = np.empty((0, columns or 1), dtype=dtype)
            else:
                made = _parsed(file, where, dtype)
        if columns is not None and made.shape[1] != columns:
            raise DatasetError(f"{where} has rows of {made.shape[1]} numbers; they must have {columns}")
        bad = np.flatnonzero(~np.isfinite(made).all(axis=1))
        if len(bad):
            raise DatasetError(f"{where}, row {bad[0] + 1}: a number is NaN or infinite")
        if rows is not None and len(made) != rows:
            raise DatasetError(f"{where} has {len(made)} rows, where {rows} were due; is the file cut short?")
        return made

    def whole(self, name: str, columns: int, least: int | None = None, rows: int | None = None) -> NDArray[np.int64]:
        """Whole numbers of `least` or more, int64 [rows, columns]. Raises as `numbers`."""
        found = self.numbers(name, columns, rows=rows)
        low = -(2.0**53) if least is None else least
        bad = np.flatnonzero(((found != np.floor(found)) | (found < low) | (found >= 2.0**53)).any(axis=1))
        if len(bad):
            kind = "whole numbers" if least is None else f"whole numbers of {least} or more"
            raise DatasetError(f"{self.where(name)}, row {bad[0] + 1}: {_row(found[bad[0]])} must be {kind}")
        return np.asarray(found, dtype=np.int64)


class _Bounded(io.RawIOBase):
    """Bytes of which no more come than may be read into memory as numbers."""

    def __init__(self, file: IO[bytes], where: str, size: int) -> None:
        self._file, self._where, self._size, self._seen = file, where, size, 0

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        block = self._file.read(min(len(room), _BLOCK))
        self._seen += len(block)
        check_need(self._where, _BYTES_A_BYTE * self._seen, self._size)
        room[: len(block)] = block
        return len(block)


def _parsed(file: io.BufferedReader, where: str, dtype: type[np.floating]) -> NDArray[np.floating]:
    text = io.TextIOWrapper(file, encoding="ascii")
    try:
        return np.loadtxt(text, delimiter=",", dtype=dtype, comments=None, ndmin=2)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where} is not a table of numbers: {error.reason}") from None
    except DatasetError:  # a ValueError, too
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise DatasetError(f"{where} is not a table of numbers: {_line(error)}") from None
    finally:
        text.detach()


def _members(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with opened(path) as content, zipfile.ZipFile(content) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from None
    except DatasetError:
        raise
    # BadZipFile, and whatever else the directory of a damaged archive leads to (struct.error, ValueError…).
    except Exception as error:
        raise DatasetError(f"{path} is not a readable zip archive: {_line(error)}") from None
    _check_count(path, len(members))
    names = [_plain(each.filename) for each in members]
    if len(set(names)) < len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise DatasetError(f"{path} holds {shown(twice)} twice")
    return members


def _files_in(path: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder, below, files in os.walk(path):
        depth = len(Path(folder).relative_to(path).parts)
        below[:] = sorted(below) if depth < 3 else []
        found |= {
            str((Path(folder) / file).relative_to(path).as_posix()): Path(folder) / file for file in sorted(files)
        }
        _check_count(path, len(found))
    return {name: file for name, file in found.items() if is_file(file)}


def _check_count(path: Path, count: int) -> None:
    if count > _MAX_FILES:
        raise DatasetError(f"{path} holds {count} files, where at most {_MAX_FILES} are admitted")


def _plain(name: str) -> str:
    """A member's name with single slashes: some published archives double them."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part)


def _row(values: Sequence[float] | NDArray[np.number]) -> str:
    return ", ".join(f"{value:g}" for value in values[:4])


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
