"""Arrays out of `.npz` files that nobody vouches for, and the layout of Shchur et al. 2018.

An `.npz` is a zip of `.npy` files. Before anything is unpacked, what each member says of itself is held against
a bound; no member may hold objects, since those are pickles.
"""

from __future__ import annotations

import math
import sys
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.lib import format as npy
from numpy.typing import NDArray

from portgnn._system.untrusted import check_need, opened
from portgnn.datasets._heterophilous import graph_of as heterophilous_graph
from portgnn.datasets._heterophilous import is_heterophilous
from portgnn.datasets.selection import feature_doubts, selected, with_bare_classes
from portgnn.errors import DatasetError, GraphError
from portgnn.graphs.arrays import as_float64
from portgnn.graphs.graph import Graph
from portgnn.graphs.labels import doubts

Arrays: TypeAlias = "dict[str, NDArray[Any]]"

_MAX_MEMBERS = 1000
_MAX_HEADER = 10_000
# Bytes at the peak of making a graph, measured: for an edge, a stored or a dense feature, a row, a name.
_EDGE, _STORED, _DENSE, _ROW, _NAME = 100, 50, 18, 60, 250


def read_arrays(path: Path, optional: Collection[str] = ()) -> tuple[Arrays, tuple[str, ...]]:
    """The arrays of an `.npz` file and the names of those left out.

    optional: names that are left out where they hold objects. Any other object array is refused; none is ever
    unpickled. Raises DatasetError for a file that is damaged, or would unpack to more than `untrusted.admitted`.
    """
    arrays: Arrays = {}
    left_out = []
    try:
        with opened(path) as content, zipfile.ZipFile(content) as archive:
            members = archive.infolist()
            _check_sizes(path, members)
            for member in members:
                name = member.filename.removesuffix(".npy")
                if name in arrays or name in left_out:
                    raise DatasetError(f"{path} holds {name!r} twice")
                with archive.open(member) as file:
                    array = _array(f"{path}, array {name!r}", file, member.file_size, name in optional)
                if array is None:
                    left_out.append(name)
                else:
                    arrays[name] = array
    except DatasetError:
        raise
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise DatasetError(f"{path} is not a readable .npz file: {_line(error)}") from None
    # Whatever else the unpacking of damaged bytes raises (struct.error, KeyError, LZMAError…) means the same.
    except Exception as error:
        raise DatasetError(f"{path} is not a readable .npz file ({type(error).__name__}: {_line(error)})") from None
    return arrays, tuple(left_out)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _check_sizes(path: Path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > _MAX_MEMBERS:
        raise DatasetError(f"{path} holds {len(members)} arrays, where at most {_MAX_MEMBERS} are admitted")
    # Twice: unpacking joins pieces.
    check_need(path, 2 * sum(member.file_size for member in members), path.stat().st_size)


def _array(where: str, file: Any, size: int, optional: bool) -> NDArray[Any] | None:
    """One `.npy`; None if it holds objects and is optional."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise DatasetError(f"{where}: unknown version {version} of the .npy format")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read_header(file, max_header_size=_MAX_HEADER)
    if dtype.hasobject:
        if optional:
            return None
        raise DatasetError(
            f"{where} holds Python objects, which are pickles and are not read; save it as numbers "
            "or text, for example with array.astype(str)"
        )
    # An itemsize of 0 would let a header promise any number of elements for nothing.
    if dtype.kind not in "biufSU" or dtype.subdtype is not None or not dtype.itemsize:
        raise DatasetError(f"{where} has dtype {dtype}; it must hold numbers or text")
    # The header is data, too: what it promises must be there before room is made for it.
    count = math.prod(shape)
    needed = count * dtype.itemsize
    if any(n < 0 for n in shape) or needed > size:
        raise DatasetError(f"{where} promises shape {list(shape)} of {dtype}, which is more than it holds")
    raw = file.read(needed)
    if len(raw) != needed:
        raise DatasetError(f"{where} is cut short")
    flat = np.frombuffer(raw, dtype=dtype, count=count) if needed else np.empty(0, dtype=dtype)
    flat = flat.astype(dtype.newbyteorder("="), copy=False)
    # NumPy believes any 32 bits to be a character, and fails deep inside when Python does not.
    if dtype.kind == "U" and (flat.view(np.uint32) > sys.maxunicode).any():
        raise DatasetError(f"{where} is not text: it holds characters that Unicode does not have")
    return flat.reshape(shape, order="F" if fortran else "C")


def read_matrix(path: Path, rows: int) -> object:
    """Features [rows, f]: what `scipy.sparse.save_npz` wrote (CSR or CSC), or one dense array.

    Raises DatasetError where the file holds neither, or another number of rows.
    """
    arrays, _ = read_arrays(path)
    if {"data", "indices", "indptr", "shape"} <= set(arrays):
        stored = _format(arrays.get("format"))
        if stored not in ("csr", "csc"):
            raise DatasetError(f"{path} holds a sparse matrix that is neither CSR nor CSC; save it as CSR")
        # Before it is made: a shape costs nothing to write, and rows cost memory.
        _check_rows(path, arrays["shape"].tolist(), rows)
        matrix: Any = sparse_matrix(arrays, "", str(path), transposed=stored == "csc")
    elif len(arrays) == 1:
        (matrix,) = arrays.values()
    else:
        raise DatasetError(
            f"{path} holds {_listed(arrays)}; it must hold one array [nodes, features], or what "
            "scipy.sparse.save_npz writes"
        )
    _check_work(path, arrays, _STORED)
    _check_rows(path, list(matrix.shape), rows)
    return matrix


def _check_work(path: Path, arrays: Arrays, sparse: int) -> None:
    """Raises DatasetError where a graph of the arrays would take too much. sparse: bytes for a stored value."""
    need = 0
    for name, array in arrays.items():
        need += array.nbytes
        if array.ndim == 1 and array.dtype.kind in "SU":
            need += _NAME * array.size
        elif array.ndim == 1 and name.endswith("indices"):
            need += (_STORED if name.startswith("attr") else sparse) * array.size
        elif name == "edges":
            need += _EDGE * array.size
        elif array.ndim == 1:
            need += 0 if name.endswith("data") else _ROW * array.size
        else:
            need += (_DENSE - array.itemsize) * array.size if array.itemsize < _DENSE else 0
    check_need(path, need, path.stat().st_size)


def _check_rows(path: Path, shape: object, rows: int) -> None:
    if not isinstance(shape, list) or len(shape) != 2 or shape[0] != rows:
        raise DatasetError(f"{path} holds a matrix of shape {shape}; it must have a row for each of {rows} nodes")


def _format(array: NDArray[Any] | None) -> str:
    """What scipy.sparse.save_npz calls the format, as text or as bytes; "" where it is neither."""
    if array is None:
        return "csr"
    known = {b"csr": "csr", b"csc": "csc", "csr": "csr", "csc": "csc"}
    return next((name for text, name in known.items() if array.shape == () and array == text), "")


def read_npz(path: Path, unknown: Collection[str] = (), ignore: Collection[str] = (), name: str | None = None) -> Graph:
    """Reads a graph in the layout of Shchur et al. 2018 (https://github.com/shchur/gnn-benchmark), or in that of
    Platonov et al. 2023 (see `portgnn.datasets._heterophilous`). name: of the graph, in place of the file's.

    adj_data, adj_indices, adj_indptr, adj_shape: CSR [n, n]; the value at (i, j) is the weight of an edge from
    i to j. attr_data, attr_indices, attr_indptr, attr_shape: CSR [n, f]; or attr_matrix: dense [n, f].
    labels: [n] integers, or whole floats; -1 and NaN where unknown. Optional: node_names [n], attr_names [f],
    class_names [c]; left out, with a note, where they are pickled objects. Without attributes the features are the
    identity.

    unknown: names of classes that stand for none. ignore: names of attributes that are left out, or label.

    Raises DatasetError naming the file and the array at fault.
    """
    texts = ("node_names", "attr_names", "class_names", "idx_to_node", "idx_to_attr", "idx_to_class", "metadata")
    arrays, left_out = read_arrays(path, texts)
    _check_work(path, arrays, _EDGE)
    if is_heterophilous(arrays):
        return selected(heterophilous_graph(arrays, path, name), unknown, ignore)
    adjacency = _compressed(arrays, ("adj_", "adj_matrix_", "adj_matrix."), str(path))
    if adjacency is None:
        raise DatasetError(
            f"{path} holds {_listed(arrays)}; a graph needs adj_data, adj_indices, adj_indptr and adj_shape"
        )
    if adjacency.shape[0] != adjacency.shape[1]:
        raise DatasetError(f"{path}: the adjacency has shape {list(adjacency.shape)}; it must be square")
    n = adjacency.shape[0]
    notes = [f"{name} holds Python objects and was left out" for name in left_out]
    features: Any = arrays.get("attr_matrix")
    if features is None:
        features = _compressed(arrays, ("attr_", "attr_matrix_", "attr_matrix."), str(path))
    if features is None:
        features = sp.eye_array(n, format="csr")
        notes.append("features are the identity: the file has none")
    labels, names = arrays.get("labels"), _names(arrays, "class_names", str(path)) or ()
    attributes = _names(arrays, "attr_names", str(path)) or ()
    try:
        labels, names, more = with_bare_classes(labels, names)
        graph = Graph(
            adjacency.T,
            features,
            labels,
            name=name or path.stem,
            notes=(*notes, *more),
            class_names=names,
            node_ids=_names(arrays, "node_names", str(path)),
            feature_names=attributes,
        )
        graph = selected(graph, [*unknown, *([""] if "" in names else [])], ignore)
    except GraphError as error:
        raise DatasetError(f"{path}: {error}") from None
    more = [*doubts(graph.labels, graph.class_names), *feature_doubts(graph.feature_names, {})]
    return replace(graph, notes=(*graph.notes, *more))


def _compressed(arrays: Mapping[str, NDArray[Any]], prefixes: tuple[str, ...], where: str) -> sp.csr_array | None:
    for prefix in prefixes:
        if f"{prefix}data" in arrays:
            return sparse_matrix(arrays, prefix, where)
    return None


def sparse_matrix(
    arrays: Mapping[str, NDArray[Any]], prefix: str, where: str, *, transposed: bool = False
) -> sp.csr_array:
    """CSR (`transposed`: CSC) of PREFIXdata, …indices, …indptr, …shape, checked: compiled code trusts indices."""
    missing = [part for part in ("data", "indices", "indptr", "shape") if prefix + part not in arrays]
    if missing:
        raise DatasetError(f"{where} lacks {', '.join(prefix + part for part in missing)}")
    data, indices, indptr, shape = (arrays[prefix + part] for part in ("data", "indices", "indptr", "shape"))
    what = f"{where}: the matrix {prefix}*" if prefix else f"{where}: the matrix"
    if shape.shape != (2,) or shape.dtype.kind not in "iu" or (shape < 0).any() or (shape >= 2**31).any():
        raise DatasetError(f"{what} has no shape of two numbers below 2**31")
    rows, columns = (int(n) for n in (shape[::-1] if transposed else shape))
    if data.dtype.kind not in "fiub" or indices.dtype.kind not in "iu" or indptr.dtype.kind not in "iu":
        raise DatasetError(
            f"{what} holds {data.dtype} at {indices.dtype} and {indptr.dtype}; it needs numbers at integers"
        )
    if data.ndim != 1 or indices.shape != data.shape or indptr.shape != (rows + 1,):
        raise DatasetError(
            f"{what} of shape {shape.tolist()} has data {list(data.shape)}, indices "
            f"{list(indices.shape)} and indptr {list(indptr.shape)}"
        )
    if indptr[0] != 0 or indptr[-1] != len(data) or (indptr[1:] < indptr[:-1]).any():
        raise DatasetError(f"{what}: indptr does not rise from 0 to {len(data)}")
    outside = np.flatnonzero((indices < 0) | (indices >= columns))
    if len(outside):
        raise DatasetError(f"{what} has a value at index {indices[outside[0]]}, where {columns - 1} is the last")
    # SciPy has no 16-bit floats, and sums repeated places in whatever type it has.
    data = as_float64(data)
    made = sp.csr_array((data, indices.astype(np.int64), indptr.astype(np.int64)), shape=(rows, columns))
    return made.T.tocsr() if transposed else made


def _names(arrays: Mapping[str, NDArray[Any]], name: str, where: str) -> tuple[str, ...] | None:
    array = arrays.get(name)
    if array is None:
        return None
    if array.ndim != 1:
        raise DatasetError(f"{where}: {name} has shape {list(array.shape)}; it must be a list")
    try:
        return tuple(array.astype(np.str_).tolist())
    # Bytes that are not ASCII, or 32-bit characters that are none.
    except ValueError:
        raise DatasetError(f"{where}: {name} is not text; save it as array.astype(str)") from None


def _listed(arrays: Mapping[str, object]) -> str:
    return "no arrays" if not arrays else "the arrays " + ", ".join(sorted(arrays)[:12])
