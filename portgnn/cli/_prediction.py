"""`portgnn predict`: a trained model on a graph, and one prediction a node in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn._system.untrusted import ALWAYS_ADMITTED, readable
from portgnn.checkpoints.model import Model
from portgnn.cli._files import Table, check_out, deliver, form_of, is_stdout
from portgnn.cli._output import announce, print_json, print_line, print_table
from portgnn.errors import ConfigError
from portgnn.graphs.graph import Graph
from portgnn.graphs.sets import GraphSet
from portgnn.prediction.evaluation import WORDS, Evaluation, members_of, noun_of, softmax
from portgnn.prediction.predict import Classified, classify, subject_of
from portgnn.protocol import Backend
from portgnn.registry import get_backend


def run(
    model: Path,
    trained: Model,
    dataset: str,
    read: Mapping[str, Any],
    *,
    split: str | None,
    backend: str,
    device: str | None,
    dtype: str,
    out: Path | None,
    csv_safe: bool,
    rows: bool,
    as_json: bool,
) -> None:
    """trained: out of the file `model`. read: how to read the dataset, for `portgnn.load_graph`. rows: whether the
    document has them.
    """
    check_out(out, as_json)
    made = get_backend(backend, device=device, dtype=dtype)
    graph = subject_of(trained, dataset, announce, **read)
    if out is not None and out.suffix == ".npz":
        check_padding(trained, graph)
    if trained.task().things in ("labels", "values"):
        from portgnn.cli import _estimates

        written: dict[str, Any] = {"out": out, "csv_safe": csv_safe, "rows": rows, "as_json": as_json}
        _estimates.run(model, trained, graph, split=split, backend=made, **written)
        return
    found = classify(trained, graph, split=split, backend=made, announce=announce)
    if out is not None:
        deliver(out, table_of(found).written(form_of(out), csv_safe))
    if not as_json:
        if not is_stdout(out):
            _print_found(found, made, out)
        return
    print_json(
        {
            "model": str(model),
            "dataset": found.graph.name,
            "nodes": found.graph.num_nodes,
            f"{_noun(found)}s": members_of(found.graph),
            "backend": made.name,
            "device": made.device,
            "dtype": made.dtype,
            "features": trained.config.normalize_features,
            **_scores_of(found),
            "out": None if out is None else str(out),
            **({"rows": table_of(found).rows()} if rows else {}),
        }
    )


def _print_found(found: Classified, backend: Backend, out: Path | None) -> None:
    where = f"{backend.name} ({backend.device}, {backend.dtype})"
    print_line(f"{found.graph.name}: {members_of(found.graph)} {_noun(found)}s on {where}")
    for name, count in _counts(found):
        print_line(f"class {name}: {count} {_noun(found)}s")
    for scores in found.evaluations.values():
        _print_scores(scores, _noun(found))
    if found.main is not None:
        _print_classes(found.main, _noun(found))
    if out is None:
        announce(f"To keep every {_noun(found)}'s class and probabilities, add: --out {_noun(found)}s.csv")
    else:
        print_line(f"written to {out}")


def _counts(found: Classified) -> list[tuple[str, int]]:
    """How many nodes are said to be of each class, in the model's order."""
    counts = np.bincount(found.predicted, minlength=len(found.class_names)).tolist()
    return list(zip(found.class_names, counts, strict=True))


def _scores_of(found: Classified) -> dict[str, object]:
    """Classes are in the model's order here and in each evaluation, which is by part of the split."""
    test = found.evaluations.get("test")
    return {
        "split": found.split or None,
        "test_accuracy": None if test is None else test.accuracy,
        "classes": [{"name": name, "nodes": count} for name, count in _counts(found)],
        "evaluation": None if found.main is None else found.main.to_dict(),
        "parts": {part: scores.to_dict() for part, scores in found.evaluations.items()},
        "notes": list(found.notes),
    }


def _noun(found: Classified) -> str:
    return noun_of(found.graph)


def _print_scores(scores: Evaluation, noun: str) -> None:
    print_line(
        f"{WORDS[scores.part]} accuracy {scores.accuracy:.4f}  macro F1 {scores.macro_f1:.4f}  expected calibration "
        f"error {scores.calibration_error:.4f}  ({scores.nodes} {noun}s)"
    )


def _print_classes(scores: Evaluation, noun: str) -> None:
    rows = [
        (s.name, f"{s.precision:.4f}", f"{s.recall:.4f}", f"{s.f1:.4f}", str(s.support), *map(str, line.tolist()))
        for s, line in zip(scores.classes, scores.confusion, strict=True)
    ]
    said = [f"said {s.name}" for s in scores.classes]
    print_line(f"of the {scores.nodes} {WORDS[scores.part]} {noun}s:")
    print_table(("class", "precision", "recall", "F1", f"{noun}s", *said), rows)


def table_of(found: Classified) -> Table:
    """A line a node: id, the predicted class's name and probability, the node's own class and its part of the split
    (empty where unknown), then each class's probability and logit.

    In .npz node_ids, predicted, labels (-1: unknown), parts, logits and probabilities, all [nodes, …]: predictions,
    labels and columns are numbers of class_names, which are in the model's order.
    """
    arrays = {
        "node_ids": _node_ids(found.graph).astype(np.str_),
        "class_names": np.array(found.class_names, dtype=np.str_),
        "predicted": found.predicted,
        "labels": found.labels,
        "parts": found.parts,
        "logits": found.logits,
        "probabilities": softmax(found.logits),
    }
    return Table(_columns(found), (_noun(found), "predicted", "label"), arrays)


def check_padding(trained: Model, graph: Graph | GraphSet) -> None:
    """Raises ConfigError where names are so uneven that NumPy's text, which pads, would fill the memory."""
    for what, names in (("node's name", _node_ids(graph)), ("class's name", trained.class_names)):
        longest, letters = max(map(len, names), default=0), sum(map(len, names))
        padded = 4 * longest * len(names)
        if padded > max(ALWAYS_ADMITTED, 40 * letters):
            raise ConfigError(
                f"the longest {what} has {longest} letters, and .npz files pad all {len(names)} to that: "
                f"{readable(padded)}; name the file --out nodes.csv or nodes.parquet"
            )


def _columns(found: Classified) -> dict[str, NDArray[np.generic]]:
    names, logits, shares = found.class_names, found.logits, softmax(found.logits)
    columns: dict[str, NDArray[np.generic]] = {
        _noun(found): _node_ids(found.graph),
        "predicted": np.array(names, dtype=object)[found.predicted],
        "probability": shares.max(axis=1),
        "label": np.array([*names, ""], dtype=object)[found.labels],  # -1 is the last
        "part": found.parts.astype(object),
    }
    columns |= {f"probability {name}": shares[:, at] for at, name in enumerate(names)}
    return columns | {f"logit {name}": logits[:, at] for at, name in enumerate(names)}


def _node_ids(graph: Graph | GraphSet) -> NDArray[np.object_]:
    return np.arange(graph.num_nodes).astype(np.str_).astype(object) if graph.node_ids is None else graph.node_ids
