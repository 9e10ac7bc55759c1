"""Numbers out of other libraries' arrays: none is hidden, cut off, parsed or summed on the way.

A mask, an imaginary part, a text that reads like a number, a sum in 8 bits: NumPy and SciPy convert each without a
word. What comes in passes here first, and what cannot be taken as it stands is refused.
"""

from __future__ import annotations

import numbers
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.errors import GraphError
from portgnn.parts import compiled

Nodes: TypeAlias = NDArray[np.int64]
"""Numbers of nodes, or of their places among others."""


def canonical_csr(matrix: Any, dtype: object = np.float64) -> sp.csr_array:
    """CSR with sorted columns, duplicates summed and zeros removed: what a dropout mask hits depends on it.

    Values are cast before they are summed: 300 repeats of 1 are 44 in 8 bits. Column indices and row pointers are
    int32 (int64 only past 2**31 stored values). Never changes `matrix`.
    """
    if sp.issparse(matrix) and matrix.dtype != dtype:
        matrix = matrix.astype(dtype)
    csr = sp.csr_array(matrix, dtype=dtype, copy=True)
    csr.sum_duplicates()
    csr.eliminate_zeros()
    if csr.nnz < 2**31 and max(csr.shape) < 2**31:
        csr.indices = csr.indices.astype(np.int32, copy=False)
        csr.indptr = csr.indptr.astype(np.int32, copy=False)
    return csr


def is_symmetric(matrix: sp.csr_array) -> bool:
    """Whether a canonical matrix [n, n] is its own transpose."""
    found = compiled.is_symmetric(matrix.indptr, matrix.indices, matrix.data)
    if found is not None:
        return found
    # Most that are not have other sums of columns than of rows, which takes a tenth of a transposition.
    if not np.array_equal(np.bincount(matrix.indices, minlength=matrix.shape[0]), np.diff(matrix.indptr)):
        return False
    flipped = matrix.tocsc()
    return bool(np.array_equal(flipped.indices, matrix.indices) and np.array_equal(flipped.data, matrix.data))


def host(value: Any, what: str = "the array") -> Any:
    """A NumPy array (masked where the value is), or a SciPy matrix, of a tensor of whatever library.

    Tensors are detached and brought to the host where they know how, by NumPy's protocol or by DLPack; bfloat16 becomes
    float32, sparse tensors COO. What lies on the host in a dtype of NumPy's is not copied. Raises GraphError for what
    is no array.
    """
    if sp.issparse(value) or isinstance(value, np.ma.MaskedArray):
        return value
    if isinstance(value, list | tuple) and any(isinstance(row, np.ma.MaskedArray) for row in value):
        return np.ma.array(value)
    try:
        for step in ("detach", "cpu"):
            value = getattr(value, step)() if hasattr(value, step) else value
        if "sparse" in str(getattr(value, "layout", "")):
            return _sparse_tensor(value)
        if "bfloat16" in str(getattr(value, "dtype", "")):
            return _widened(value)
        return _exchanged(value)
    except (TypeError, ValueError, RuntimeError, AttributeError, BufferError) as error:
        raise GraphError(f"{what} cannot be read as an array: {str(error)[:200]}") from None


def _exchanged(value: Any) -> NDArray[Any]:
    """An array by NumPy's protocol; by DLPack where a library has no other, or where NumPy's would leave its device."""
    if not hasattr(value, "__dlpack__"):
        return np.asarray(value)
    if hasattr(value, "__array__"):
        try:
            return np.asarray(value)
        except TypeError:  # an array of a GPU, which is not brought over unless it is asked for
            pass
    is_there = value.__dlpack_device__()[0] == 1  # kDLCPU
    return np.from_dlpack(value) if is_there else np.from_dlpack(value, device="cpu")


def _widened(value: Any) -> NDArray[Any]:
    """bfloat16 as float32, of which it is the upper half. NumPy has no such dtype, but for that of ml_dtypes."""
    if hasattr(value, "float"):
        return np.asarray(value.float())
    try:
        return np.asarray(value).astype(np.float32)
    except (TypeError, ValueError):
        words = np.frombuffer(memoryview(value).tobytes(), dtype=np.uint16)
        return (words.astype(np.uint32) << 16).view(np.float32).reshape(value.shape)


def _sparse_tensor(value: Any) -> sp.coo_array:
    # Not coalesced: that would sum in the tensor's own dtype, before anything was looked at.
    coo = value.to_sparse_coo() if hasattr(value, "to_sparse_coo") else value
    indices, values = host(coo._indices()), host(coo._values())
    if values.dtype == np.float16:  # SciPy has no such matrices
        values = values.astype(np.float32)
    return sp.coo_array((values, tuple(indices)), shape=tuple(coo.shape))


def unmasked(value: object, what: str) -> NDArray[Any]:
    """A NumPy array of `value`. Raises GraphError where it hides values under a mask, or is sparse."""
    array = host(value, what)
    if sp.issparse(array):
        raise GraphError(f"{what} must be dense, and not a sparse matrix")
    if isinstance(array, np.ma.MaskedArray):
        hidden = np.argwhere(np.ma.getmaskarray(array))
        if len(hidden):
            raise GraphError(
                f"{what} hides {len(hidden)} values under a mask, first at {hidden[0].tolist()}; fill them, for "
                "example with array.filled(0), or leave them out"
            )
        array = array.data
    return np.asarray(array)


def real(value: object, what: str) -> NDArray[Any]:
    """A NumPy array of real numbers (float, integer or bool). Raises GraphError for anything else."""
    array = unmasked(value, what)
    if array.dtype.kind == "O":
        wrong = [each for each in array.flat if not isinstance(each, numbers.Real | np.bool_)]
        if wrong:
            raise GraphError(f"{what} must be numbers, and {str(wrong[0])[:40]!r} is none")
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise GraphError(f"{what} must be numbers: {str(error)[:100]}") from None
    if array.dtype.kind not in "fiub":
        raise GraphError(f"{what} must be numbers, not {array.dtype}")
    return array


def as_float64(array: NDArray[np.generic]) -> NDArray[np.float64]:
    """The numbers in 64 bits; those too large for it become infinite, which the checks of values then find."""
    with np.errstate(over="ignore"):
        return array.astype(np.float64, copy=False)


def real_sparse(matrix: Any, what: str) -> Any:
    """COO, CSR or CSC of a sparse matrix [r, c], float64, with repeated places still apart.

    Raises GraphError for values that are not real numbers, and for indices that lie outside of the matrix: compiled
    code follows them unchecked.
    """
    if matrix.dtype.kind not in "fiub":
        raise GraphError(f"{what} must be numbers, not {matrix.dtype}")
    if matrix.ndim != 2:
        raise GraphError(f"{what} must have two axes, and not shape {list(matrix.shape)}")
    if matrix.format == "dia" and matrix.offsets.shape != matrix.data.shape[:1]:
        raise GraphError(f"{what} has {len(matrix.data)} diagonals, and {len(matrix.offsets)} offsets")
    if matrix.format not in ("coo", "csr", "csc"):
        try:
            matrix = matrix.tocoo()
        except (TypeError, ValueError, IndexError) as error:
            raise GraphError(f"{what} is no valid {matrix.format} matrix: {str(error)[:100]}") from None
    for index, bound in _places(matrix, what):
        if len(index) and not (index.min() >= 0 and index.max() < bound):
            wrong = index[(index < 0) | (index >= bound)][0]
            raise GraphError(f"{what} holds a value at index {wrong}, where {bound - 1} is the last")
    if matrix.format == "coo":
        return sp.coo_array((as_float64(matrix.data), (matrix.row, matrix.col)), shape=matrix.shape)
    count = int(matrix.indptr[-1])
    data = as_float64(matrix.data[:count])
    kind = sp.csr_array if matrix.format == "csr" else sp.csc_array
    return kind((data, matrix.indices[:count], matrix.indptr), shape=matrix.shape)


def _places(matrix: Any, what: str) -> tuple[tuple[Any, int], ...]:
    """The indices of a COO, CSR or CSC matrix, and what each is below."""
    rows, columns = matrix.shape
    if matrix.format == "coo":
        parts = ((matrix.row, rows), (matrix.col, columns))
        if any(part.shape != matrix.data.shape for part, _ in parts):
            raise GraphError(f"{what} has {len(matrix.data)} values, and another number of places for them")
        return parts
    major, minor = (rows, columns) if matrix.format == "csr" else (columns, rows)
    _check_pointers(matrix, major, what)
    return ((matrix.indices[: matrix.indptr[-1]], minor),)


def _check_pointers(matrix: Any, major: int, what: str) -> None:
    indptr, stored = matrix.indptr, min(len(matrix.indices), len(matrix.data))
    rises = len(indptr) == major + 1 and indptr[0] == 0 and (indptr[1:] >= indptr[:-1]).all()
    if not rises or indptr[-1] > stored:
        raise GraphError(f"{what} has row pointers that do not rise from 0 to at most its {stored} stored values")
