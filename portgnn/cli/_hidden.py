"""`portgnn predict --layer`: what a layer makes of each node, in the files of predictions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.checkpoints.model import Model
from portgnn.cli import _files
from portgnn.cli._output import announce, print_json, print_line
from portgnn.errors import ConfigError
from portgnn.graphs.graph import Graph
from portgnn.prediction.hidden import as_columns, embed, layer_number
from portgnn.prediction.predict import target_of
from portgnn.registry import get_backend


def run(
    model: Path,
    trained: Model,
    dataset: str,
    read: Mapping[str, Any],
    *,
    layer: int,
    split: str | None,
    backend: str,
    device: str | None,
    dtype: str,
    out: Path | None,
    csv_safe: bool,
    rows: bool,
    as_json: bool,
) -> None:
    """read: how to read the dataset, for `portgnn.load_graph`."""
    _files.check_out(out, as_json)
    if split is not None:
        raise ConfigError("a layer's rows are scored by nothing; leave --split out")
    layer_number(trained, layer)
    made = get_backend(backend, device=device, dtype=dtype)
    graph = target_of(dataset, announce, read["unknown"], read["ignore"], trained.config.targets)
    found = embed(trained, graph, layer=layer, backend=made)
    ids: NDArray[np.generic] = graph.node_ids if graph.node_ids is not None else _numbered(graph)
    if out is not None:
        _files.deliver(out, table_of(ids, found, layer).written(_files.form_of(out), csv_safe))
    if as_json:
        print_json({
            "model": str(model), "dataset": graph.name, "nodes": len(found), "layer": layer, "width": found.shape[1],
            "backend": made.name, "device": made.device, "dtype": made.dtype,
            "out": None if out is None else str(out),
            **({"rows": _files.rows_of({"node": ids, "hidden": found})} if rows else {}),
        })  # fmt: skip
        return
    if _files.is_stdout(out):
        return
    print_line(f"{graph.name}: layer {layer} of {len(trained.layers)}, {len(found)} rows of {found.shape[1]} numbers")
    if out is None:
        announce("To keep every node's row, add: --out hidden.npz")
    else:
        print_line(f"written to {out}")


def _numbered(graph: Graph) -> NDArray[np.generic]:
    return np.arange(graph.num_nodes).astype(np.str_).astype(object)


def table_of(ids: NDArray[np.generic], rows: NDArray[np.floating], layer: int) -> _files.Table:
    """A line a node: its name, and the layer's numbers; in .npz node_ids, hidden [nodes, width] and layer."""
    arrays = {"node_ids": ids.astype(np.str_), "hidden": rows, "layer": np.array(layer)}
    return _files.Table({"node": ids, **as_columns(rows)}, ("node",), arrays)
