"""`portgnn convert`: a graph as memory-mapped files."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portgnn.cli._output import announce, print_json, print_line
from portgnn.datasets import load_graph
from portgnn.disk.folder import write_graph
from portgnn.recipe import alone


def run(dataset: str, out: Path, read: Mapping[str, Any], *, directed: bool, as_json: bool) -> None:
    """Loads the graph as `portgnn.train` would and writes it to the folder `out`. read: how to, for `load_graph`."""
    learned = alone("target", read["target"]).split(",") if read["target"] else ()
    graph = load_graph(dataset, undirected=not directed, announce=announce, **{**read, "target": learned})
    written = write_graph(graph, out)
    if as_json:
        print_json({
            "path": str(out), "bytes": written.bytes, "nodes": written.num_nodes, "edges": written.num_edges,
            "features": written.num_features, "fingerprint": written.fingerprint, "notes": list(written.notes),
        })  # fmt: skip
        return
    print_line(f"{out}: {written.num_nodes} nodes, {written.num_edges} edges, {written.bytes} bytes")
    announce("Next, train on it in batches:", f"portgnn train --dataset {shlex.quote(str(out))} --loader neighbor")
