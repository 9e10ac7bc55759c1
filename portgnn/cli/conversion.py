"""`portgnn convert`: a graph as memory-mapped files."""

from __future__ import annotations

from pathlib import Path

from portgnn.cli.output import announce, print_json
from portgnn.datasets import load_graph
from portgnn.outofcore import write_graph


def run(dataset: str, out: Path, *, split: str | None, directed: bool, as_json: bool) -> None:
    """Loads the graph as `portgnn.train` would and writes it to the folder `out`."""
    graph = load_graph(dataset, split=split, undirected=not directed, announce=announce)
    written = write_graph(graph, out)
    if as_json:
        print_json({
            "path": str(out), "bytes": written.bytes, "nodes": written.num_nodes, "edges": written.num_edges,
            "features": written.num_features, "fingerprint": written.fingerprint, "notes": list(written.notes),
        })  # fmt: skip
        return
    print(f"{out}: {written.num_nodes} nodes, {written.num_edges} edges, {written.bytes} bytes")
    print(f"train on it in batches: portgnn train --dataset {out} --loader neighbor")
