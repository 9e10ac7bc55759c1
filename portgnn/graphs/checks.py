"""What a `Graph` holds, checked: adjacency, features, labels and splits, each fault with its place.

A check comes before the step that destroys what it looks for: weights before they are summed or compared, numbers
before they are cast.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.errors import GraphError
from portgnn.graphs.arrays import as_float64, canonical_csr, host, real, real_sparse, unmasked
from portgnn.text import shown

Features: TypeAlias = "NDArray[np.float64] | NDArray[np.float32] | sp.csr_array"

UNLABELLED = -1
_UNSEEN = "\ufeff\u200b"


def bare(name: str) -> str:
    """A class's name without the space around it, and without signs that nobody sees."""
    return name.strip().strip(_UNSEEN).strip()


def bare_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of classes, each `bare`; as they are where two would become one."""
    found = tuple(map(bare, names))
    return found if len(set(found)) == len(set(names)) else tuple(names)


def checked_classes(names: Sequence[str]) -> tuple[str, ...]:
    """Names of classes, each `bare`. Raises GraphError where two are one, also where space alone tells them apart."""
    check_distinct("class_names", names)
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(bare(name), name)
        if other != name:
            raise GraphError(
                f"class_names holds {shown(other)} and {shown(name)}, which are one but for space; make them one "
                "class, or give each a name of its own"
            )
    return tuple(known)


def check_text(what: str, names: Iterable[str]) -> None:
    """Half of a surrogate pair is a character to Python and to no file."""
    try:
        "".join(names).encode()
    except (UnicodeEncodeError, ValueError):
        raise GraphError(f"{what} holds a name that is not valid Unicode text") from None


def check_distinct(what: str, names: Sequence[str]) -> None:
    """Two classes or nodes of one name could not be told apart in any result. Raises GraphError."""
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise GraphError(f"{what} holds {shown(twice)} more than once; give each a name of its own")


def checked_names(names: Any, what: str) -> tuple[str, ...]:
    """Names as a tuple of texts. A text alone is a name and no list of letters."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise GraphError(f"{what}={shown(names)} must be a list of texts")
    return tuple(str(name) for name in _shown_names(names, what))


def _shown_names(names: object, what: str) -> Any:
    """The names; in an array under a mask some of them would be those that it hides, or the text --."""
    return unmasked(names, what) if isinstance(names, np.ma.MaskedArray) else names


def checked_size(num_nodes: object, rows: int) -> int:
    """The number of nodes, which is that of the features' rows: known before an array of that size is made."""
    if isinstance(num_nodes, bool) or not isinstance(num_nodes, int | np.integer) or num_nodes < 0:
        raise GraphError(f"num_nodes={shown(num_nodes)} must be a whole number of 0 or more")
    if num_nodes != rows:
        raise GraphError(f"features have {rows} rows, the graph has {shown(int(num_nodes))} nodes")
    return rows


def checked_ids(ids: Any, num_nodes: int) -> NDArray[np.object_]:
    """[n] of Python's texts, whatever the names were. A list never becomes NumPy's text on the way, which pads."""
    array = np.asarray(_shown_names(ids, "node_ids")) if not isinstance(ids, list | tuple) else None
    if array is not None and array.dtype.kind == "S":
        try:
            array = array.astype(np.str_)
        except ValueError:
            raise GraphError("node_ids holds bytes that are not ASCII; decode them to text") from None
    shape = (len(ids),) if array is None else array.shape
    if shape != (num_nodes,):
        raise GraphError(f"node_ids has shape {shape}; it needs one name for each of {num_nodes} nodes")
    made = np.empty(num_nodes, dtype=object)
    made[:] = [str(name) for name in (ids if array is None else array.tolist())]
    return made


def check_weights(values: NDArray[np.number], ends: Callable[[int], tuple[int, int]]) -> None:
    """Raises GraphError for a weight that is NaN, infinite or negative. ends: source and target of the i-th."""
    good = np.isfinite(values) & (values >= 0)
    if not good.all():
        at = int(np.flatnonzero(~good)[0])
        source, target = ends(at)
        raise GraphError(f"edge {source} -> {target} has weight {values[at]}; weights must be finite and not negative")


def checked_adjacency(adjacency: Any) -> sp.csr_array:
    """Canonical CSR [n, n] of finite weights, 0 excluded."""
    given = host(adjacency, "the adjacency")
    shape = tuple(given.shape)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise GraphError(f"the adjacency must be square, not {list(shape)}")
    if shape[0] == 0:
        raise GraphError("the graph has no nodes")
    raw: Any
    if sp.issparse(given):
        raw = real_sparse(given, "the adjacency")
        check_weights(raw.data, lambda at: _place(raw, at)[::-1])
    else:
        raw = as_float64(real(given, "the adjacency"))
        check_weights(raw.ravel(), lambda at: divmod(at, shape[0])[::-1])
    csr = canonical_csr(raw)
    with np.errstate(over="ignore"):
        degrees = np.asarray(csr.sum(axis=1)).ravel()
    if not np.isfinite(degrees).all():
        node = int(np.flatnonzero(~np.isfinite(degrees))[0])
        raise GraphError(f"the weights of the edges of node {node} add up to more than a float64 holds; scale them")
    return csr


def _place(matrix: Any, at: int) -> tuple[int, int]:
    """Row and column of the value `at` of COO, CSR or CSC."""
    coo = matrix.tocoo()
    return int(coo.row[at]), int(coo.col[at])


def checked_features(features: Any, num_nodes: int) -> Features:
    """[n, f] of finite numbers: canonical CSR in float64, or dense in float32 where it was and float64 elsewhere."""
    given = host(features, "features")
    checked: Features
    if len(given.shape) != 2:
        raise GraphError(f"features must have shape [nodes, features], not {list(given.shape)}")
    if sp.issparse(given):
        raw = real_sparse(given, "features")
        _check_finite(raw.data, lambda at: _place(raw, at))
        checked = canonical_csr(raw)
        _check_finite(checked.data, lambda at: _place(checked, at))
    else:
        checked = real(given, "features")
        # A copy: what a caller does to the array later must not reach a graph that was checked.
        checked = checked.copy() if checked.dtype == np.float32 else as_float64(checked).copy()
        _check_finite(checked.ravel(), lambda at: divmod(at, given.shape[1]))
    if checked.shape[0] != num_nodes:
        raise GraphError(f"features have {checked.shape[0]} rows, the graph has {num_nodes} nodes")
    if checked.shape[1] == 0:
        raise GraphError("features have no columns; give each node at least one, for example a constant 1")
    return checked


def _check_finite(values: NDArray[np.generic], place: Callable[[int], tuple[int, int]]) -> None:
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        node, column = place(int(bad[0]))
        raise GraphError(
            f"features hold NaN or infinity, first at node {node}, column {column} ({len(bad)} such values)"
        )


def is_missing(value: object) -> bool:
    """Whether a single value stands for none: None, NaN, a masked value, pandas' NA and NaT."""
    if value is None or value is np.ma.masked or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating | np.datetime64 | np.timedelta64) and bool(value != value)


def one_or_many(labels: Any, targets: object) -> tuple[object, object]:
    """Labels [n] of one class a node, and targets [n, k], of what was given as labels and as targets.

    Labels of two axes are targets, unless they are one column of integers. Raises GraphError where both are given.
    """
    if labels is not None and not sp.issparse(labels):
        given = host(labels, "labels")
        if len(given.shape) == 2:
            whole = given.shape[1] == 1 and given.dtype.kind in "iu"
            labels, targets = (given[:, 0], targets) if whole else (None, _sole(given, targets))
    if labels is not None and targets is not None:
        raise GraphError("a graph has labels or targets, and both were given; leave one of them out")
    return labels, targets


def _sole(given: object, targets: object) -> object:
    if targets is not None:
        raise GraphError("a graph has labels or targets, and both were given; leave one of them out")
    return given


def checked_targets(targets: Any, num_nodes: int) -> NDArray[np.float64] | None:
    """float64 [n, k] of finite numbers, NaN where a value is not known; of [n], one column. None if none is known."""
    if targets is None:
        return None
    given = host(targets, "targets")
    if sp.issparse(given):
        given = given.toarray()
    missing = np.ma.getmaskarray(given).copy()
    array = np.asarray(given)
    if array.dtype.kind == "O":
        gone = np.fromiter(map(is_missing, array.ravel()), dtype=np.bool_, count=array.size).reshape(array.shape)
        missing, array = missing | gone, np.where(gone, np.nan, array)
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise GraphError("targets must be numbers; names of classes are labels, one a node") from None
    array = (array.astype(np.uint8) if array.dtype.kind == "b" else as_float64(real(array, "targets"))).astype(
        np.float64
    )
    if array.ndim == 1:
        array, missing = array[:, None], missing[:, None]
    if array.ndim != 2 or array.shape[0] != num_nodes or not array.shape[1]:
        raise GraphError(f"targets have shape {list(given.shape)}; the graph needs [{num_nodes}, targets]")
    array = np.where(missing, np.nan, array)
    wrong = np.argwhere(np.isinf(array))
    if len(wrong):
        node, column = wrong[0].tolist()
        raise GraphError(
            f"target {column} of node {node} is {array[node, column]}; targets are finite, or NaN if unknown"
        )
    return None if np.isnan(array).all() else array


def checked_target_names(names: tuple[str, ...], targets: NDArray[np.float64] | None) -> tuple[str, ...]:
    """A name for each column of the targets, each once; by default "0", "1", …."""
    if targets is None:
        return ()
    if not names:
        return tuple(map(str, range(targets.shape[1])))
    check_text("target_names", names)
    check_distinct("target_names", names)
    if len(names) != targets.shape[1]:
        raise GraphError(f"target_names holds {len(names)} names for {targets.shape[1]} targets")
    return names


def checked_labels(labels: Any, num_nodes: int, num_classes: int) -> NDArray[np.int64] | None:
    """int64 [n], UNLABELLED where a label is -1, NaN, None or masked; whole floats count as integers."""
    if labels is None:
        return None
    given = host(labels, "labels")
    if sp.issparse(given) or given.shape != (num_nodes,):
        raise GraphError(f"labels have shape {list(given.shape)}; the graph needs [{num_nodes}]")
    array = _known_integers(given)
    high = num_classes if num_classes else np.iinfo(np.int64).max
    bad = np.flatnonzero((array < UNLABELLED) | (array >= high))
    if len(bad):
        bound = f"0 to {num_classes - 1}" if num_classes else "0 and above"
        raise GraphError(f"label {array[bad[0]]} of node {bad[0]} is out of range ({bound}, or -1 for none)")
    # Above this, numbers are ids rather than classes, and a weight matrix of that width would be made.
    largest = int(array.max()) if len(array) else UNLABELLED
    if not num_classes and largest >= max(num_nodes, 2):
        raise GraphError(
            f"label {largest} is larger than the {num_nodes} nodes of the graph; number the "
            "classes 0, 1, 2, … or give class_names"
        )
    return array.astype(np.int64)


def _known_integers(given: NDArray[np.generic]) -> NDArray[np.number]:
    """Integers [n] of labels of whatever type, UNLABELLED where there is none."""
    missing = np.ma.getmaskarray(given).copy()
    array = np.asarray(given)
    if array.dtype.kind == "O":
        missing |= np.fromiter(map(is_missing, array), dtype=np.bool_, count=len(array))
        kinds = {type(value) for value in array[~missing]}
        if odd := [kind for kind in kinds if kind is bool or not issubclass(kind, int | float | np.number)]:
            value = next(value for value in array[~missing] if type(value) in odd)
            raise GraphError(f"labels must be integers, not {str(value)[:40]!r}; put names into class_names")
        whole = all(issubclass(kind, int | np.integer) for kind in kinds)
        array = np.array([UNLABELLED if gone else value for gone, value in zip(missing, array, strict=True)])
        array = array if not whole or array.dtype.kind in "iu" else array.astype(np.float64)
    if array.dtype.kind not in "iuf":
        raise GraphError(f"labels must be integers, not {array.dtype}; put names into class_names")
    if array.dtype.kind == "f":
        missing |= np.isnan(array)
        array = np.where(missing, float(UNLABELLED), array)
        array = array.astype(np.float64)
        broken = np.flatnonzero((array != np.floor(array)) | (np.abs(array) >= 2.0**53))
        if len(broken):
            raise GraphError(
                f"labels must be integers, not {array.dtype}: label {array[broken[0]]} of node {broken[0]} is no "
                "whole number; values to estimate are targets, given as targets="
            )
        return array.astype(np.int64)
    if not missing.any():
        return array
    if array.dtype.kind == "u" and len(array) and int(array[~missing].max(initial=0)) >= 2**63:
        raise GraphError("labels must be integers below 2**63")
    return np.where(missing, UNLABELLED, array.astype(np.int64))


def labelled(labels: NDArray[np.int64] | None, targets: NDArray[np.float64] | None) -> NDArray[np.int64] | None:
    """[n], UNLABELLED where nothing is known of a node: the labels or, where there are targets, 0 where one is."""
    return labels if targets is None else np.where(np.isnan(targets).all(axis=1), UNLABELLED, 0)


def checked_splits(
    splits: dict[str, Any], num_nodes: int, labels: NDArray[np.int64] | None
) -> dict[str, NDArray[np.int64] | None]:
    """Node numbers of each split, distinct, disjoint and labelled; None where it is None."""
    owner = np.full(num_nodes, -1, dtype=np.int8)
    checked: dict[str, NDArray[np.int64] | None] = {}
    names = list(splits)
    for number, (name, given) in enumerate(splits.items()):
        if given is None:
            checked[name] = None
            continue
        index = split_nodes(given, name, num_nodes)
        taken = index[owner[index] >= 0]
        if len(taken):
            raise GraphError(
                f"node {taken[0]} is in the {names[owner[taken[0]]]} split and in the {name} "
                "split; splits must not overlap"
            )
        owner[index] = number
        if labels is None or (labels[index] == UNLABELLED).any():
            missing = index[0] if labels is None else index[labels[index] == UNLABELLED][0]
            raise GraphError(f"node {missing} of the {name} split has no label")
        checked[name] = index
    return checked


def checked_stored(
    stored: Any, num_nodes: int, labels: NDArray[np.int64] | None
) -> tuple[Mapping[str, NDArray[np.int64]], ...]:
    """Several splits, each as `checked_splits` has it, without the parts that it lacks."""
    made = []
    for number, parts in enumerate(stored):
        try:
            checked = checked_splits(dict(parts), num_nodes, labels)
        except GraphError as error:
            raise GraphError(f"stored split {number}: {error}") from None
        made.append({name: index for name, index in checked.items() if index is not None})
    return tuple(made)


def split_nodes(given: Any, name: str, num_nodes: int) -> NDArray[np.int64]:
    """Distinct node numbers of a list of them or of a mask over all nodes, of booleans or of 0 and 1."""
    index = unmasked(given, f"the {name} split")
    # As many zeros and ones as there are nodes can be no list of distinct nodes, unless there are two.
    if index.shape == (num_nodes,) and (index.dtype == np.bool_ or (num_nodes > 2 and is_zero_one(index))):
        index = np.flatnonzero(index)
    if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
        raise GraphError(f"the {name} split must be a list of node numbers or a mask over all nodes")
    if not index.size:
        raise GraphError(f"the {name} split is empty")
    if index.min() < 0 or index.max() >= num_nodes:
        bad = index[(index < 0) | (index >= num_nodes)][0]
        raise GraphError(f"the {name} split names node {bad}; nodes go from 0 to {num_nodes - 1}")
    index = index.astype(np.int64)
    if len(np.unique(index)) != len(index):
        raise GraphError(f"the {name} split names a node twice")
    return index


def is_zero_one(array: NDArray[np.generic]) -> bool:
    """Whether numbers are a mask in all but their type."""
    return bool(array.dtype.kind in "iuf" and np.isin(array, (0, 1)).all())


def check_edge_range(pairs: NDArray[np.integer], num_nodes: int) -> None:
    """Raises GraphError for an edge [m, 2] that names a node below 0, or num_nodes and above."""
    bad = np.flatnonzero(((pairs < 0) | (pairs >= num_nodes)).any(axis=1))
    if len(bad):
        source, target = pairs[bad[0]]
        raise GraphError(f"edge {bad[0]} joins {source} and {target}; nodes go from 0 to {num_nodes - 1}")
