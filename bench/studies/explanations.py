"""What explanations are worth on Cora: `bench/results/explanations.json`.

python bench/studies/explanations.py [--nodes 60] [--edges 10] [--out bench/results/explanations.json]

Test nodes with more than twice as many edges in their neighbourhood are drawn. Of each, the probability of the
predicted class without the strongest edges is taken from that with all (Fid+, more is better), and so is that with
these alone (Fid-, less is better; Yuan et al. 2022, "Explainability in graph neural networks: a taxonomic survey").
Beside both methods stand as many edges drawn at random from the same neighbourhood, the mean of ten draws a node. An
interval is 1.96 standard errors over the nodes; `won` is on how many nodes a method is better than random edges.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import portgnn
from portgnn.explaining.explain import answers_with
from portgnn.explaining.explanation import METHODS, Explainer, strongest
from portgnn.registry import get_backend

RESULTS = Path(__file__).parents[1] / "results" / "explanations.json"
DRAWS = 10
NETWORKS: dict[str, dict[str, Any]] = {"gcn": {}, "gat": {}}


def of_node(explainer: Explainer, node: int, edges: int, random: np.random.Generator) -> dict[str, dict[str, float]]:
    """Fid+ and Fid- of a node by each method and by random edges, and the seconds that an explanation took."""
    around, row = explainer.around(node)
    m = len(around.edges)
    full = answers_with(around, row, np.ones(m, dtype=bool))
    answer = int(full.argmax())
    whole = explainer.said(full, answer)

    def fidelity(chosen: np.ndarray) -> tuple[float, float]:
        kept = np.zeros(m, dtype=bool)
        kept[chosen] = True
        without, alone = (explainer.said(answers_with(around, row, mask), answer) for mask in (~kept, kept))
        return whole - without, whole - alone

    found = {}
    for method in METHODS:
        start = time.process_time()
        scores = explainer.explain(node, method, edges=edges).edge_scores
        seconds = time.process_time() - start
        plus, minus = fidelity(strongest(scores, edges))
        found[method] = {"plus": plus, "minus": minus, "seconds": seconds}
    drawn = np.mean([fidelity(random.choice(m, edges, replace=False)) for _ in range(DRAWS)], axis=0)
    found["random"] = {"plus": float(drawn[0]), "minus": float(drawn[1]), "seconds": 0.0}
    return found


def summary(rows: list[dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """Means and intervals of each method over the nodes."""
    lines = []
    for method in (*METHODS, "random"):
        line: dict[str, Any] = {"method": method, "nodes": len(rows)}
        for name, better in (("plus", 1), ("minus", -1)):
            values = np.array([row[method][name] for row in rows])
            other = np.array([row["random"][name] for row in rows])
            line[name] = float(values.mean())
            line[f"{name}_interval"] = float(1.96 * values.std(ddof=1) / math.sqrt(len(values)))
            line[f"{name}_won"] = int((better * (values - other) > 0).sum())
        line["seconds"] = float(np.median([row[method]["seconds"] for row in rows]))
        lines.append(line)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=60)
    parser.add_argument("--edges", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    graph = portgnn.load_graph("cora")
    document: dict[str, Any] = {"dataset": "cora", "edges": options.edges, "draws": DRAWS, "dtype": "float32",
                                "machine": "two cores, shared with other work: seconds are of the processor",
                                "networks": {}}  # fmt: skip
    for network, hyperparameters in NETWORKS.items():
        result = portgnn.train(graph, model=network, seed=0, **hyperparameters)
        explainer = Explainer(result.model, graph, get_backend("numpy"))
        random = np.random.default_rng(0)
        rows: list[dict[str, dict[str, float]]] = []
        for node in random.permutation(graph.test).tolist():
            if len(explainer.around(node)[0].edges) > 2 * options.edges:
                rows.append(of_node(explainer, node, options.edges, random))
            if len(rows) == options.nodes:
                break
        lines = summary(rows)
        document["networks"][network] = {"test_accuracy": result.scores["accuracy"], "methods": lines}
        for line in lines:
            print(
                network, {name: round(value, 3) if isinstance(value, float) else value for name, value in line.items()}
            )
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from bench.harness.ending import ended

    ended(main)
