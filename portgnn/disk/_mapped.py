"""One `.npy` file as a memory map: its header held against what it must be, its rows read window by window.

Reading through a map makes its pages count as this process's memory until they are given back. They are, after each
`WINDOW` bytes of a file: that bounds what a batch adds, however large the file is.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portgnn._system.untrusted import opened
from portgnn.errors import DatasetError

WINDOW = 2 << 20
"""Bytes of a file that are read before its pages are given back."""
_HASHED = 1 << 20
_MAX_HEADER = 10_000

Stored: TypeAlias = NDArray[Any]
"""What a file holds: of which dtype is looked up in the file."""
Shape = tuple[int | None, ...]
"""A length for each axis, None where it may be any."""


class Mapped:
    """A `.npy` file, read through a memory map.

    dtypes: those admitted, as NumPy writes them without the byte order ("i4", "f8"). shape: what is admitted.
    Raises DatasetError where the file is missing, damaged or another array.
    """

    def __init__(self, path: Path, dtypes: tuple[str, ...], shape: Shape) -> None:
        self.path = path
        try:
            with opened(path) as file:
                version = np.lib.format.read_magic(file)
                read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                self.shape, by_column, self.dtype = read[version](file, max_header_size=_MAX_HEADER)
                self._check(by_column, dtypes, shape)
                start, count = file.tell(), math.prod(self.shape)
                size = os.fstat(file.fileno()).st_size
                if size < start + count * self.dtype.itemsize:
                    raise ValueError("it is shorter than its header says")
                if size > start + count * self.dtype.itemsize:
                    raise ValueError("it is longer than its header says")
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            flat = np.frombuffer(self._map, dtype=self.dtype, count=count, offset=start)
        except DatasetError:
            raise
        except FileNotFoundError:
            raise DatasetError(f"{path} is missing; convert the graph again") from None
        # A damaged header makes NumPy's parser raise what Python's own parser does, which is nearly anything.
        except Exception as error:
            raise DatasetError(
                f"{path} cannot be read: {' '.join(str(error).split())[:200]}; convert the graph again"
            ) from None
        self.array: Stored = flat.reshape(self.shape)

    def _check(self, by_column: bool, dtypes: tuple[str, ...], shape: Shape) -> None:
        if by_column and len(self.shape) > 1:
            raise ValueError("it is not an array of numbers, row by row")
        if self.dtype.str[1:] not in dtypes or not self.dtype.isnative:
            raise ValueError(f"it holds {self.dtype.str[:20]}, where {' or '.join(dtypes)} is needed")
        fits = len(self.shape) == len(shape) and all(
            found >= 0 and wanted in (None, found) for found, wanted in zip(self.shape, shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if length is None else str(length) for length in shape)
            raise ValueError(f"it has shape {list(self.shape)}, where [{wanted}] is needed")

    def __len__(self) -> int:
        return int(self.shape[0])

    def take(self, at: NDArray[np.int64]) -> Stored:
        """array[at], for `at` in any order; ascending ones are read window by window."""
        span = self._rows_at_once()
        if len(self) <= span:
            found: Stored = self.array[at]
            return self._given_back(found)
        found = np.empty((len(at), *self.shape[1:]), dtype=self.dtype)
        for start, piece in self.pieces(at):
            found[start : start + len(piece)] = piece
        return found

    def pieces(self, at: NDArray[np.int64], out: Stored | None = None) -> Iterator[tuple[int, Stored]]:
        """array[at] for ascending `at`, window by window, and where in it each piece begins.

        out: an array of the file's dtype [len(at), …] whose rows the pieces then are; every number of `at` is a row's.
        """
        span, start = self._rows_at_once(), 0
        for end in np.unique(np.searchsorted(at, np.arange(span, len(self) + span, span))):
            if end > start:
                if out is None:
                    piece = self.array[at[start:end]]
                else:  # in the mode that writes at once
                    piece = np.take(self.array, at[start:end], axis=0, out=out[start:end], mode="clip")
                yield start, self._given_back(piece)
            start = int(end)

    def windows(self) -> Iterator[Stored]:
        """The array, some rows at a time; each is valid until the next is asked for."""
        span = self._rows_at_once()
        for start in range(0, len(self), span):
            window = self.array[start : start + span]
            yield window
            self._given_back(window)

    def checksum(self) -> str:
        """SHA-256 of the whole file, in hexadecimal digits."""
        state = hashlib.sha256()
        for start in range(0, len(self._map), _HASHED):
            with memoryview(self._map) as view, view[start : start + _HASHED] as piece:
                state.update(piece)
            if start % WINDOW == 0:
                self._given_back(self.array)
        self._given_back(self.array)
        return state.hexdigest()

    def damaged(self, fault: str) -> NoReturn:
        """Raises DatasetError."""
        raise DatasetError(f"{self.path} is damaged: {fault}; convert the graph again")

    def within(self, values: Stored, low: int, high: NDArray[np.int64] | int) -> Stored:
        """The values, each from `low` to below `high`. Raises DatasetError."""
        wrong = (values < low) | (values >= high)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            last = int(high if isinstance(high, int) else high[at]) - 1
            self.damaged(f"it holds {values[at]}, where {low} to {last} are possible")
        return values

    def finite(self, values: Stored, least: float = -np.inf) -> Stored:
        """The values, all finite and `least` or more. Raises DatasetError."""
        with np.errstate(over="ignore", invalid="ignore"):
            if least == -np.inf and np.isfinite(values.sum()):
                return values  # one that is not finite would have spoilt the sum
        right = np.isfinite(values) & (values >= least)
        if not right.all():
            self.damaged(f"it holds {values[~right][0]}")
        return values

    def _rows_at_once(self) -> int:
        return max(WINDOW // max(self.dtype.itemsize * math.prod(self.shape[1:]), 1), 1)

    def _given_back(self, found: Stored) -> Stored:
        if hasattr(self._map, "madvise"):  # not on Windows
            self._map.madvise(mmap.MADV_DONTNEED)
        return found


class Hashing:
    """A file to write to, of which the SHA-256 is known afterwards."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self._state = hashlib.sha256()

    def write(self, content: Any) -> int:
        self._state.update(content)
        return self._file.write(content)

    def close(self) -> str:
        """Closes the file; its checksum in hexadecimal digits."""
        self._file.close()
        return self._state.hexdigest()
