"""`portgnn predict` of a model of links: scores of pairs of nodes, or the best new links of one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn import tasks
from portgnn.checkpoints.model import Model
from portgnn.cli import _files, _prediction
from portgnn.cli._output import announce, print_json, print_line, print_table
from portgnn.datasets.pairs import ENDS, read_pairs
from portgnn.errors import ConfigError
from portgnn.prediction.links import ScoredLinks, check_task, predict_links
from portgnn.prediction.predict import oriented, target_of
from portgnn.registry import get_backend

SHOWN = 20
"""Pairs that the terminal shows."""


def run(
    model: Path,
    dataset: str,
    read: Mapping[str, Any],
    *,
    network: str | None,
    pairs: Path | None,
    node: str | None,
    k: int,
    layer: int | None = None,
    **how: Any,
) -> None:
    """What `portgnn predict` does: `portgnn.cli._prediction.run` where the model is of nodes and so is the question."""
    asks = pairs is not None or node is not None
    trained = Model.load(model, network)
    if layer is not None:
        from portgnn.cli import _hidden

        if asks:
            raise ConfigError("--layer asks for rows of a layer, and --pairs and --links-of for links; leave one out")
        _hidden.run(model, trained, dataset, read, layer=layer, **how)
        return
    if asks or tasks.of(trained.config).about == "pairs":
        _run(model, trained, dataset, read, pairs=pairs, node=node, k=k, **how)
    else:
        _prediction.run(model, trained, dataset, read, **how)


def _run(
    model: Path,
    trained: Model,
    dataset: str,
    read: Mapping[str, Any],
    *,
    pairs: Path | None,
    node: str | None,
    k: int,
    split: str | None,
    backend: str,
    device: str | None,
    dtype: str,
    out: Path | None,
    csv_safe: bool,
    rows: bool,
    as_json: bool,
) -> None:
    """read: how to read the dataset, for `portgnn.load_graph`. rows: of no account, since the document has them all."""
    _files.check_out(out, as_json)
    check_task(trained)
    if split is not None:
        raise ConfigError("a model of links knows which edges it was trained on; leave --split out")
    if pairs is not None and node is not None:
        raise ConfigError("--pairs and --links-of are two questions; leave one of them out")
    made = get_backend(backend, device=device, dtype=dtype)
    given = target_of(dataset, announce, **read, learned=trained.config.targets)
    graph = oriented(given, trained.config)[0]
    asked = None if pairs is None else read_pairs(pairs, graph)
    found = predict_links(trained, graph, asked, node=node, k=k, backend=made)
    if out is not None:
        _files.deliver(out, table_of(found).written(_files.form_of(out), csv_safe))
    for note in found.notes:
        announce(f"{graph.name}: {note}.")
    if not as_json:
        if not _files.is_stdout(out):
            _print_found(found, out)
        return
    print_json(
        {
            "model": str(model),
            "dataset": found.graph.name,
            "nodes": found.graph.num_nodes,
            "backend": made.name,
            "device": made.device,
            "dtype": made.dtype,
            "features": trained.config.normalize_features,
            "held_out": found.held_out,
            "links": [dict(zip(columns, row, strict=True)) for columns, row in _rows(found)],
            "notes": list(found.notes),
            "out": None if out is None else str(out),
        }
    )


def _rows(found: ScoredLinks) -> list[tuple[list[str], tuple[Any, ...]]]:
    columns = _columns(found)
    names = list(columns)
    return [(names, row) for row in zip(*(column.tolist() for column in columns.values()), strict=True)]


def _print_found(found: ScoredLinks, out: Path | None) -> None:
    for part, scores in found.held_out.items():
        words = tasks.quantities()
        print_line(f"{part} " + "  ".join(f"{words[name].words} {value:.4f}" for name, value in scores.items()))
    rows = [
        (source, target, f"{probability:.4f}", "edge" if joined else "")
        for _, (source, target, probability, _, joined) in _rows(found)[:SHOWN]
    ]
    print_table(("source", "target", "probability", ""), rows)
    if len(found.pairs) > SHOWN:
        print_line(f"and {len(found.pairs) - SHOWN} more pairs")
    if out is None:
        announce("To keep every pair's score, add: --out links.csv")
    else:
        print_line(f"written to {out}")


def _columns(found: ScoredLinks) -> dict[str, NDArray[np.generic]]:
    """A pair a row: names of both nodes, how likely an edge is said to be, the logit, and 1 where the graph has it."""
    graph = found.graph
    ids = np.arange(graph.num_nodes).astype(np.str_).astype(object) if graph.node_ids is None else graph.node_ids
    return {
        "source": ids[found.pairs[:, 0]],
        "target": ids[found.pairs[:, 1]],
        "probability": found.probabilities,
        "logit": found.scores,
        "edge": found.joined.astype(np.int64),
    }


def table_of(found: ScoredLinks) -> _files.Table:
    """A line a pair; in .npz source, target (names), probability, logit and edge, all [pairs], and pairs [pairs, 2]."""
    columns = _columns(found)
    names = {name: columns[name].astype(np.str_) for name in ENDS}
    return _files.Table(columns, ENDS, {"pairs": found.pairs, **columns, **names})
