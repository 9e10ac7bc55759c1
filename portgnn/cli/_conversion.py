"""`portgnn convert`: a graph as memory-mapped files."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portgnn.cli._output import announce, print_json, print_line
from portgnn.datasets import load_graph
from portgnn.disk.folder import write_graph
from portgnn.disk.tables import write_tables
from portgnn.errors import ConfigError
from portgnn.recipe import alone


def run(dataset: str, out: Path, read: Mapping[str, Any], *, directed: bool, streamed: bool, as_json: bool) -> None:
    """Loads the graph as `portgnn.train` would and writes it to the folder `out`. read: how to, for `load_graph`.

    streamed: without loading it, from Parquet.
    """
    learned = alone("target", read["target"]).split(",") if read["target"] else ()
    if streamed:
        others = [f"--{name}" for name in ("split", "unknown", "target") if read[name]] + ["--directed"] * directed
        if others:
            raise ConfigError(f"--streamed writes the tables as they are; leave {others[0]} out")
        written = write_tables(dataset, out, read["ignore"])
    else:
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
