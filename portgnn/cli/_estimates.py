"""`portgnn predict` of a model of several labels or of values: a number a node for each, in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portgnn import tasks
from portgnn.checkpoints.model import Model
from portgnn.cli._files import Table, deliver, form_of, is_stdout
from portgnn.cli._output import announce, print_json, print_line
from portgnn.graphs.graph import Graph
from portgnn.graphs.sets import GraphSet
from portgnn.prediction.estimate import Estimated, estimate
from portgnn.prediction.evaluation import WORDS, members_of, noun_of
from portgnn.protocol import Backend


def run(
    model: Path,
    trained: Model,
    graph: Graph | GraphSet,
    *,
    split: str | None,
    backend: Backend,
    out: Path | None,
    csv_safe: bool,
    rows: bool,
    as_json: bool,
) -> None:
    found = estimate(trained, graph, split=split, backend=backend, announce=announce)
    if out is not None:
        deliver(out, table_of(found).written(form_of(out), csv_safe))
    if as_json:
        document = _document(model, trained, found, backend, out)
        print_json({**document, **({"rows": table_of(found).rows()} if rows else {})})
        return
    if is_stdout(out):
        return
    noun, count = noun_of(found.graph), members_of(found.graph)
    print_line(f"{found.graph.name}: {count} {noun}s on {backend.name} ({backend.device}, {backend.dtype})")
    for at, name in enumerate(found.names):
        column = found.answers[:, at]
        if found.are_values:
            print_line(f"{name}: {column.min():.4g} to {column.max():.4g}, mean {column.mean():.4g}")
        else:
            print_line(f"label {name}: {int((column > 0.5).sum())} {noun}s")
    words = tasks.quantities()
    for part, scores in found.scores.items():
        print_line("  ".join([WORDS[part], *(f"{words[name].words} {value:.4f}" for name, value in scores.items())]))
    if out is None:
        announce(f"To keep what is said of every {noun}, add: --out {noun}s.csv")
    else:
        print_line(f"written to {out}")


def _document(
    model: Path, trained: Model, found: Estimated, backend: Backend, out: Path | None
) -> Mapping[str, object]:
    return {
        "model": str(model),
        "dataset": found.graph.name,
        f"{noun_of(found.graph)}s": members_of(found.graph),
        "backend": backend.name,
        "device": backend.device,
        "dtype": backend.dtype,
        "features": trained.config.normalize_features,
        "task": trained.config.task,
        "names": list(found.names),
        "split": found.split or None,
        "parts": found.scores,
        "notes": list(found.notes),
        "out": None if out is None else str(out),
    }


def table_of(found: Estimated) -> Table:
    """A row a node: id and part of the split, then of each label its probability and, where known, 1 or 0; of each
    target its estimate and, where known, its value.
    """
    columns, noun = _columns(found), noun_of(found.graph)
    arrays = {
        "node_ids": columns[noun].astype(np.str_),
        "names": np.array(found.names, dtype=np.str_),
        "values" if found.are_values else "probabilities": found.answers,
        "outputs": found.outputs,
        "truth": found.truth,
        "parts": found.parts,
    }
    return Table(columns, (noun,), arrays)


def _columns(found: Estimated) -> dict[str, NDArray[np.generic]]:
    graph = found.graph
    ids = graph.graph_ids if isinstance(graph, GraphSet) else graph.node_ids
    names = list(map(str, range(members_of(graph)))) if ids is None or not len(ids) else list(map(str, ids))
    columns: dict[str, NDArray[np.generic]] = {
        noun_of(graph): np.array(names, dtype=object),
        "part": found.parts.astype(object),
    }
    said, known = ("value", "target") if found.are_values else ("probability", "label")
    for at, name in enumerate(found.names):
        columns |= {f"{said} {name}": found.answers[:, at], f"{known} {name}": found.truth[:, at]}
    return columns
