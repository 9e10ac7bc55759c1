"""The layout of O. Platonov et al., "A critical look at the evaluation of GNNs under heterophily", 2023.

An `.npz` (https://github.com/yandex-research/heterophilous-graphs) with node_features [n, f], node_labels [n],
edges [m, 2] (undirected, each once) and, for several splits, train_masks, val_masks and test_masks, each [splits, n].
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import DatasetError, GraphError
from portgnn.graphs.graph import Graph

_NEEDED = ("node_features", "node_labels", "edges")
_MASKS = {"train": "train_masks", "val": "val_masks", "test": "test_masks"}
_MAX_SPLITS = 100


def is_heterophilous(arrays: Mapping[str, object]) -> bool:
    """Whether the arrays of a file are of this layout."""
    return "edges" in arrays and "node_features" in arrays


def graph_of(arrays: Mapping[str, NDArray[np.generic]], path: Path, name: str | None = None) -> Graph:
    """The graph of a file's arrays, split by the first of its splits; all are in `Graph.stored_splits`.

    Raises DatasetError naming the file and the array at fault.
    """
    missing = [each for each in _NEEDED if each not in arrays]
    if missing:
        raise DatasetError(f"{path} lacks {', '.join(missing)}")
    try:
        graph = Graph.from_edges(
            arrays["edges"], arrays["node_features"], arrays["node_labels"], name=name or path.stem,
            stored_splits=_splits(arrays, path),
        )  # fmt: skip
    except GraphError as error:
        raise DatasetError(f"{path}: {error}") from None
    return graph.with_stored_split(0) if graph.stored_splits else graph


def _splits(arrays: Mapping[str, NDArray[np.generic]], path: Path) -> tuple[dict[str, Any], ...]:
    there = {part: arrays[name] for part, name in _MASKS.items() if name in arrays}
    if not there:
        return ()
    if len(there) < len(_MASKS):
        absent = ", ".join(name for part, name in _MASKS.items() if part not in there)
        raise DatasetError(f"{path} has some masks and lacks {absent}")
    n = len(arrays["node_labels"]) if arrays["node_labels"].ndim == 1 else -1
    shapes = {masks.shape for masks in there.values()}
    shape = shapes.pop()
    if shapes or len(shape) != 2 or shape[1] != n or not 1 <= shape[0] <= _MAX_SPLITS:
        raise DatasetError(
            f"{path}: train_masks, val_masks and test_masks must each have shape [splits, {n}] with 1 to "
            f"{_MAX_SPLITS} splits; train_masks has {list(there['train'].shape)}"
        )
    for part, masks in there.items():
        if masks.dtype.kind not in "biu" or not np.isin(masks, (0, 1)).all():
            raise DatasetError(f"{path}: {_MASKS[part]} holds something else than 0 and 1")
    return tuple({part: masks[k].astype(bool) for part, masks in there.items()} for k in range(shape[0]))
