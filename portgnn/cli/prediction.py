"""`portgnn predict`: a trained model on a graph, and one prediction a node in a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.api import predict
from portgnn.checkpoint import Model
from portgnn.cli.output import announce, print_json, print_line, print_table
from portgnn.datasets import load_graph
from portgnn.errors import ConfigError
from portgnn.evaluation import Evaluation, evaluate, softmax
from portgnn.files import check_writable, write_atomically
from portgnn.graph import Graph
from portgnn.registry import get_backend
from portgnn.text import inert
from portgnn.untrusted import ALWAYS_ADMITTED, readable


def run(
    model: Path,
    dataset: str,
    *,
    backend: str,
    device: str | None,
    dtype: str,
    out: Path | None,
    csv_safe: bool,
    as_json: bool,
) -> None:
    if out is not None:
        if out.suffix not in WRITERS:
            raise ConfigError(f"--out {out} must end in {', '.join(WRITERS)}")
        check_writable(out)
    trained = Model.load(model)
    on = get_backend(backend, device=device, dtype=dtype)
    graph = load_graph(dataset, announce=announce)
    if out is not None and out.suffix == ".npz":
        check_padding(trained, graph)
    logits = predict(trained, graph, backend=on)
    predicted = logits.argmax(axis=1)
    scores = evaluate(logits, graph, trained.class_names)
    accuracy = scores.accuracy if scores is not None and scores.part == "test" else None
    counts = np.bincount(predicted, minlength=len(trained.class_names)).tolist()
    if out is not None:
        write = partial(as_csv, safe=csv_safe) if out.suffix == ".csv" else WRITERS[out.suffix]
        write_atomically(out, write(trained, graph, logits))
    if as_json:
        print_json(
            {
                "model": str(model),
                "dataset": graph.name,
                "nodes": graph.num_nodes,
                "backend": on.name,
                "device": on.device,
                "dtype": on.dtype,
                "test_accuracy": accuracy,
                "classes": [
                    {"name": name, "nodes": count} for name, count in zip(trained.class_names, counts, strict=True)
                ],
                "evaluation": None if scores is None else scores.to_dict(),
                "out": None if out is None else str(out),
            }
        )
        return
    print_line(f"{graph.name}: {graph.num_nodes} nodes on {on.name} ({on.device}, {on.dtype})")
    for name, count in zip(trained.class_names, counts, strict=True):
        print_line(f"class {name}: {count} nodes")
    if scores is not None:
        _print_scores(scores)
    if out is None:
        announce("To keep every node's class and probabilities, add: --out nodes.csv")
    else:
        print_line(f"written to {out}")


def _print_scores(scores: Evaluation) -> None:
    print_line(
        f"{scores.part} accuracy {scores.accuracy:.4f}  macro F1 {scores.macro_f1:.4f}  expected calibration error "
        f"{scores.calibration_error:.4f}  ({scores.nodes} nodes)"
    )
    rows = [
        (s.name, f"{s.precision:.4f}", f"{s.recall:.4f}", f"{s.f1:.4f}", str(s.support), *map(str, line.tolist()))
        for s, line in zip(scores.classes, scores.confusion, strict=True)
    ]
    said = [f"said {s.name}" for s in scores.classes]
    print_table(("class", "precision", "recall", "F1", "nodes", *said), rows)


def as_npz(trained: Model, graph: Graph, logits: NDArray[Any]) -> bytes:
    """node_ids, class_names, predicted (class numbers), logits and probabilities, all [nodes, …]; no pickle."""
    file = io.BytesIO()
    np.savez(
        file,
        node_ids=_node_ids(graph).astype(np.str_),
        class_names=np.array(trained.class_names, dtype=np.str_),
        predicted=logits.argmax(axis=1),
        logits=logits,
        probabilities=softmax(logits),
    )
    return file.getvalue()


def check_padding(trained: Model, graph: Graph) -> None:
    """Raises ConfigError where names are so uneven that NumPy's text, which pads, would fill the memory."""
    for what, names in (("node's name", _node_ids(graph)), ("class's name", trained.class_names)):
        longest, letters = max(map(len, names), default=0), sum(map(len, names))
        padded = 4 * longest * len(names)
        if padded > max(ALWAYS_ADMITTED, 40 * letters):
            raise ConfigError(
                f"the longest {what} has {longest} letters, and .npz files pad all {len(names)} to that: "
                f"{readable(padded)}; name the file --out nodes.csv or nodes.parquet"
            )


def as_csv(trained: Model, graph: Graph, logits: NDArray[Any], safe: bool = True) -> bytes:
    """A line a node: id, the predicted class's name and probability, then each class's probability and logit.

    safe: names that a spreadsheet would take for formulas get a ' (`portgnn.text.inert`). Numbers stay numbers.
    """
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    cells: dict[str, list[Any]] = {name: column.tolist() for name, column in _columns(trained, graph, logits).items()}
    if safe:
        cells |= {name: [inert(text) for text in cells[name]] for name in ("node", "predicted")}
    writer.writerow(inert(name) if safe else name for name in cells)
    writer.writerows(zip(*cells.values(), strict=True))
    return file.getvalue().encode()


def as_parquet(trained: Model, graph: Graph, logits: NDArray[Any]) -> bytes:
    """The columns of `as_csv`. Raises ConfigError without pyarrow."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ConfigError('a .parquet file needs pyarrow. Install it with: pip install "portgnn[data]"') from None
    file = io.BytesIO()
    parquet.write_table(pa.table(_columns(trained, graph, logits)), file)
    return file.getvalue()


def _columns(trained: Model, graph: Graph, logits: NDArray[Any]) -> dict[str, NDArray[Any]]:
    names, shares, best = trained.class_names, softmax(logits), logits.argmax(axis=1)
    columns: dict[str, NDArray[Any]] = {
        "node": _node_ids(graph),
        "predicted": np.array(names, dtype=object)[best],
        "probability": shares.max(axis=1),
    }
    columns |= {f"probability {name}": shares[:, at] for at, name in enumerate(names)}
    return columns | {f"logit {name}": logits[:, at] for at, name in enumerate(names)}


WRITERS: dict[str, Callable[[Model, Graph, NDArray[Any]], bytes]] = {
    ".csv": as_csv,
    ".npz": as_npz,
    ".parquet": as_parquet,
}


def _node_ids(graph: Graph) -> NDArray[np.object_]:
    return np.arange(graph.num_nodes).astype(np.str_).astype(object) if graph.node_ids is None else graph.node_ids
