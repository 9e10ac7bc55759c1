"""What a partition makes processes read of each other: rows, and seconds of the processor to find it.

    python bench/studies/partitions.py --json OUT

On the graph of bench/studies/scaling_graphs.py, with its nodes numbered by communities and with their numbers shuffled,
and with a tenth or a hundredth of its edges going anywhere.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from bench.studies.scaling_graphs import community_graph
from portgnn.distributed.partition import ORDERS, halo_rows
from portgnn.loaders.source import even_bounds
from portgnn.placing.edges import Looped


def ranges(matrix: sp.csr_array, parts: int) -> Any:
    """The nodes as they are numbered."""
    return np.repeat(np.arange(parts), np.diff(even_bounds(matrix.indptr.astype(np.int64), parts)))


def measured(matrix: sp.csr_array, parts: int) -> dict[str, Any]:
    found = {}
    for order in (ranges, *ORDERS):
        clock = time.process_time()
        owner = order(matrix, parts)
        if owner is None:
            continue
        seconds = time.process_time() - clock
        share = np.bincount(owner, weights=np.diff(matrix.indptr)).max() * parts / matrix.nnz
        rows = halo_rows(matrix, owner, parts)
        found[order.__name__] = {"halo_rows": rows, "cpu_s": round(seconds, 3), "largest_share": round(share, 4)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=100_000)
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = []
    for anywhere in (0.1, 0.01):
        graph = community_graph(arguments.nodes, arguments.edges, 2, local=1 - anywhere)
        matrix = Looped.of(graph.adjacency).matrix
        order = np.random.default_rng(1).permutation(arguments.nodes)
        shuffled = sp.csr_array(matrix[order][:, order])
        shuffled.sort_indices()
        for numbering, each in (("communities", matrix), ("shuffled", shuffled)):
            for parts in (2, 4):
                results.append({
                    "kind": "partitions", "nodes": arguments.nodes, "stored": int(matrix.nnz), "anywhere": anywhere,
                    "numbering": numbering, "parts": parts, **measured(each, parts),
                })  # fmt: skip
                print(json.dumps(results[-1]))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
