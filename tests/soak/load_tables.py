"""Times the loading of a large graph from CSV, with pyarrow and without.

python tests/soak/load_tables.py --nodes 100000 --edges 1000000 --features 16
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from portgnn import load_graph


def write(folder: Path, nodes: int, edges: int, features: int) -> None:
    """A random graph with text ids, weights, labels, a split and features."""
    draw = np.random.default_rng(0)
    ends = draw.integers(0, nodes, (edges, 2)).tolist()
    with (folder / "edges.csv").open("w") as file:
        file.write("source,target,weight\n")
        file.writelines(
            f"paper-{a},paper-{b},{w:.3f}\n" for (a, b), w in zip(ends, draw.random(edges).tolist(), strict=True)
        )
    with (folder / "nodes.csv").open("w") as file:
        file.write(",".join(["id", "label", "split", *(f"f{i}" for i in range(features))]) + "\n")
        for node in range(nodes):
            values = ",".join(f"{value:.4f}" for value in draw.random(features).tolist())
            file.write(
                f"paper-{node},class {node % 7},{('train', 'val', 'test', '')[node % 4]}"
                f"{',' if features else ''}{values}\n"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=100_000)
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=16)
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), given.nodes, given.edges, given.features)
        for reader in ("pyarrow", "csv"):
            if reader == "csv":
                sys.modules["pyarrow"] = None  # type: ignore[assignment]
            seconds = []
            for _ in range(given.times):
                start = time.perf_counter()
                graph = load_graph(folder)
                seconds.append(time.perf_counter() - start)
            print(
                f"{reader}: {graph.num_nodes} nodes, {given.edges} edges, {graph.num_features} features; seconds "
                f"{min(seconds):.2f} (best), {sorted(seconds)[len(seconds) // 2]:.2f} (median), {max(seconds):.2f} "
                f"(worst) of {given.times}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
