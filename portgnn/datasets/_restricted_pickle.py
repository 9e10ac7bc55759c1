"""Reads the published Python 2 pickles without running anything that they ask for.

A pickle names functions and calls them. The Planetoid files need six names; each is answered here with a
small stand-in of our own, so that neither NumPy's nor SciPy's unpickling code, which trusts its input and has
moved between versions, ever sees the file. Any other name is refused before anything is called.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn._system.untrusted import check_need, content
from portgnn.errors import DatasetError
from portgnn.text import shown

_PLAIN_DTYPE = re.compile(r"[biuf][1248]")


class _Dtype:
    """`numpy.dtype(code, align, copy)`: plain numbers only, since object arrays hold anything."""

    def __init__(self, code: object, *_: object) -> None:
        if not (isinstance(code, str) and _PLAIN_DTYPE.fullmatch(code)):
            raise ValueError(f"an array of dtype {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|"):
            raise ValueError(f"byte order {order!r}")
        if order != "|":
            self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """`numpy.ndarray`, and what `_reconstruct` makes: filled from (version, shape, dtype, order, bytes)."""

    value: NDArray[np.number] | None = None

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or not isinstance(raw, str | bytes):
            raise ValueError("an array that is not made of a plain dtype and bytes")
        data = raw.encode("latin1") if isinstance(raw, str) else raw
        flat = np.frombuffer(data, dtype=dtype.dtype)
        array = flat.reshape(shape, order="F" if fortran else "C")
        self.value = array.astype(dtype.dtype.newbyteorder("="), order="C")


class _SparseMatrix:
    """`scipy.sparse.csr.csr_matrix`: filled from its attributes."""

    state: dict[str, Any] | None = None

    def __setstate__(self, state: Any) -> None:
        self.state = dict(state)


class _Dict(dict[Any, Any]):
    """`collections.defaultdict`, without the default: to look up a missing key must not add it."""

    def __init__(self, *_: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        raise ValueError("a dict with attributes")


class _Factory:
    """`list` as what a defaultdict is made with: named in the files, and never called."""

    def __init__(self, *_: object) -> None:
        raise ValueError("a list made by a call")


# Classes throughout, each with a __setstate__: a pickle can set attributes on anything else that it is given.
_ADMITTED: dict[tuple[str, str], object] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("scipy.sparse.csr", "csr_matrix"): _SparseMatrix,
    ("collections", "defaultdict"): _Dict,
    ("__builtin__", "list"): _Factory,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, raw: bytes, path: Path) -> None:
        # Python 2 wrote bytes as str: latin1 gives them back one for one. Names stay as Python 2 had them.
        super().__init__(io.BytesIO(raw), encoding="latin1", fix_imports=False)
        self._path = path

    def find_class(self, module: str, name: str) -> object:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise DatasetError(
                f"{self._path} asks for {module}.{name}, which no published file needs; it was not run. The "
                "file may be malicious: delete it and fetch it again."
            ) from None


@dataclass(frozen=True)
class _Fault:
    path: Path

    def error(self, what: str) -> DatasetError:
        return DatasetError(f"{self.path}: {what}. Delete the file and fetch it again.")


def load_pickle(path: Path) -> object:
    """What the file holds: an array, a `scipy.sparse.csr_array`, or a dict of lists.

    Raises DatasetError, naming the file, if it cannot be read, is no such pickle, or asks for any other name.
    """
    try:
        raw = content(path)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from None
    fault = _Fault(path)
    try:
        _check_program(raw)
        loaded = _Unpickler(raw, path).load()
    except DatasetError:
        raise
    except Exception as error:  # a malformed pickle can raise nearly anything
        raise fault.error(f"not a readable pickle ({type(error).__name__}: {error})") from None
    if isinstance(loaded, _SparseMatrix):
        made = _csr(loaded.state or {}, fault)
        # Products allocate a place for each column.
        check_need(path, 16 * made.shape[1] + 50 * made.nnz, len(raw))
        return made
    if isinstance(loaded, _Array):
        return _value(loaded, "the array", fault)
    return loaded


_CALLS = frozenset((
    "REDUCE", "BUILD", "NEWOBJ", "INST", "OBJ", "GLOBAL", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_TUPLE",
    "STACK_GLOBAL", "NEWOBJ_EX",
))  # fmt: skip
_NEWER = frozenset(("PROTO", "FRAME", "STACK_GLOBAL", "MEMOIZE", "SHORT_BINUNICODE"))
"""What a newer pickle needs to name what it calls, which is then refused by that name."""
_MAX_CALLS = 200
"""Published files have 26. Each call can copy an array of the file's size, and tuples in tuples end the stack."""
_LARGEST = 2**40
"""Node numbers are far below; integers that share a hash have to be larger, and make a dict take hours."""


def _check_program(content: bytes) -> None:
    """Raises ValueError for what no published file does, and what takes more than the file's size to do.

    A pickle can say "remember this as number 4,000,000,000", and room is made for as many: 32 GB for five bytes.
    """
    calls = 0
    for code, argument, _ in pickletools.genops(content):
        name = code.name
        if name in _CALLS:
            calls += 1
            if calls > _MAX_CALLS:
                raise ValueError(f"more than {_MAX_CALLS} objects")
        elif code.proto > 2 and name not in _NEWER:
            raise ValueError(f"the operation {name}, which Python 2 does not have")
        elif name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(content):
            raise ValueError(f"a memo of {argument} entries in {len(content)} bytes")
        elif type(argument) is int and abs(argument) > _LARGEST:
            raise ValueError("an integer above 2**40")


def _value(array: object, what: str, fault: _Fault) -> NDArray[np.number]:
    if not isinstance(array, _Array) or array.value is None:
        raise fault.error(f"{what} is not an array")
    return array.value


def _csr(state: dict[str, object], fault: _Fault) -> sp.csr_array:
    """The sparse matrix, each part checked first: SciPy's compiled code reads where the indices point."""
    shape = state.get("_shape")
    if not (isinstance(shape, tuple) and len(shape) == 2 and all(type(n) is int and n >= 0 for n in shape)):
        raise fault.error(f"the sparse matrix has no shape of two numbers but {shown(shape)}")
    parts = ("data", "indices", "indptr")
    data, indices, indptr = (_value(state.get(part), f"the sparse matrix's {part}", fault) for part in parts)
    rows, columns = shape
    if data.dtype.kind not in "fiub" or indices.dtype.kind not in "iu" or indptr.dtype.kind not in "iu":
        raise fault.error(
            f"the sparse matrix holds {data.dtype} at {indices.dtype} and {indptr.dtype}; it needs numbers at integers"
        )
    if data.ndim != 1 or indices.shape != data.shape or indptr.shape != (rows + 1,):
        raise fault.error(
            f"the sparse matrix of shape {list(shape)} has data {list(data.shape)}, indices "
            f"{list(indices.shape)} and indptr {list(indptr.shape)}"
        )
    indices, indptr = indices.astype(np.int64), indptr.astype(np.int64)
    if indptr[0] != 0 or indptr[-1] != len(data) or (np.diff(indptr) < 0).any():
        raise fault.error(f"the sparse matrix's indptr does not rise from 0 to {len(data)}")
    outside = indices[(indices < 0) | (indices >= columns)]
    if len(outside):
        raise fault.error(f"the sparse matrix has a value in column {outside[0]}; it has {columns} columns")
    if not np.isfinite(data).all():
        raise fault.error("the sparse matrix holds NaN or infinity")
    return sp.csr_array((data.astype(np.float64), indices, indptr), shape=shape)
