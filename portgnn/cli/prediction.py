"""`portgnn predict`: a trained model on a graph, and one prediction a node in a file."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.api import predict
from portgnn.checkpoint import Model, write_atomically
from portgnn.cli.output import announce, check_writable, print_json
from portgnn.datasets import load_graph
from portgnn.errors import ConfigError
from portgnn.graph import Graph
from portgnn.registry import get_backend

FORMATS = (".npz", ".csv")


def run(
    model: Path, dataset: str, *, backend: str, device: str | None, dtype: str, out: Path | None, as_json: bool
) -> None:
    if out is not None:
        if out.suffix not in FORMATS:
            raise ConfigError(f"--out {out} must end in {' or '.join(FORMATS)}")
        check_writable(out)
    trained = Model.load(model)
    on = get_backend(backend, device=device, dtype=dtype)
    graph = load_graph(dataset, announce=announce)
    logits = predict(trained, graph, backend=on)
    predicted = logits.argmax(axis=1)
    accuracy = _test_accuracy(trained, graph, predicted)
    counts = np.bincount(predicted, minlength=len(trained.class_names)).tolist()
    if out is not None:
        content = as_npz if out.suffix == ".npz" else as_csv
        write_atomically(out, content(trained, graph, logits))
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
                "out": None if out is None else str(out),
            }
        )
        return
    print(f"{graph.name}: {graph.num_nodes} nodes on {on.name} ({on.device}, {on.dtype})")
    for name, count in zip(trained.class_names, counts, strict=True):
        print(f"class {name}: {count} nodes")
    if accuracy is not None:
        print(f"test accuracy {accuracy:.4f}")
    if out is not None:
        print(f"written to {out}")


def probabilities(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Softmax of each row, [nodes, classes]."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    share: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return share


def as_npz(trained: Model, graph: Graph, logits: NDArray[Any]) -> bytes:
    """node_ids, class_names, predicted (class numbers), logits and probabilities, all [nodes, …]; no pickle."""
    file = io.BytesIO()
    np.savez(
        file,
        node_ids=_node_ids(graph),
        class_names=np.array(trained.class_names, dtype=np.str_),
        predicted=logits.argmax(axis=1),
        logits=logits,
        probabilities=probabilities(logits),
    )
    return file.getvalue()


def as_csv(trained: Model, graph: Graph, logits: NDArray[Any]) -> bytes:
    """A line a node: its id, the predicted class's name, then each class's probability and logit."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    names = trained.class_names
    writer.writerow(["node", "predicted", *(f"probability {n}" for n in names), *(f"logit {n}" for n in names)])
    rows = zip(_node_ids(graph).tolist(), logits.argmax(axis=1), probabilities(logits), logits, strict=True)
    for node, best, shares, values in rows:
        writer.writerow([node, names[best], *shares.tolist(), *values.tolist()])
    return file.getvalue().encode()


def _node_ids(graph: Graph) -> NDArray[np.str_]:
    return np.arange(graph.num_nodes).astype(np.str_) if graph.node_ids is None else graph.node_ids


def _test_accuracy(trained: Model, graph: Graph, predicted: NDArray[Any]) -> float | None:
    if graph.test is None or graph.labels is None:
        return None
    if graph.class_names != trained.class_names:
        announce(f"No accuracy: {graph.name} names its classes otherwise than the model's training data did.")
        return None
    return float(np.mean(predicted[graph.test] == graph.labels[graph.test]))
