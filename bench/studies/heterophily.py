"""Tuned GCNs on graphs whose neighbours differ, over the splits that come with the data, beside PyG's layers.

python bench/studies/heterophily.py run [--datasets minesweeper,chameleon-filtered] [--sides portgnn,pyg] [--splits 10]
    [--backend torch] [--device cuda] [--jobs 4] [--minutes 8] [--json bench/results/heterophily.json]
python bench/studies/heterophily.py table

The recipes are `gcn-luo-minesweeper` and `gcn-luo-chameleon`, of Luo et al. 2024 ("Classic GNNs are strong baselines"):
the epoch that the validation nodes score best in is tested, minesweeper by ROC-AUC. PyG's side is a model of its
GCNConv, Linear and BatchNorm1d, built, trained and tested as the authors' code does it; there the norm takes running
averages afterwards, and portgnn's what is there. `run` adds what is missing to the file, a split at a time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from bench.studies import pieces
from portgnn import load_graph, train
from portgnn.presets import preset
from portgnn.results.environment import machine
from portgnn.tasks.ranking import roc_auc

RESULTS = Path(__file__).parents[1] / "results" / "heterophily.json"
RECIPES = {"minesweeper": "gcn-luo-minesweeper", "chameleon-filtered": "gcn-luo-chameleon"}
METRICS = {"minesweeper": "roc_auc", "chameleon-filtered": "accuracy"}
PUBLISHED = {"minesweeper": "97.9 ± 0.2", "chameleon-filtered": "46.3 ± 3.4"}
"""Luo et al. 2024, table 3: per cent, mean and standard deviation."""
SIDES = ("portgnn", "pyg")


@dataclass(frozen=True)
class Piece:
    """One split. epochs: None for the recipe's."""

    dataset: str
    side: str
    split: int
    backend: str
    device: str
    epochs: int | None

    @property
    def key(self) -> str:
        return f"{self.dataset} / {self.side}"


def done(piece: Piece) -> dict[str, Any]:
    """Trains on one split with its number for a seed: the metric of the test nodes, in per cent."""
    clock = time.perf_counter()
    value, best = _ours(piece) if piece.side == "portgnn" else _pygs(piece)
    seconds = round(time.perf_counter() - clock, 1)
    return {"split": piece.split, "test": 100 * value, "best epoch": best, "seconds": seconds}


def _ours(piece: Piece) -> tuple[float, int]:
    run = train(
        piece.dataset, preset=RECIPES[piece.dataset], split=f"stored:{piece.split}", seed=piece.split,
        backend=piece.backend, device=piece.device, **({} if piece.epochs is None else {"epochs": piece.epochs}),
    )  # fmt: skip
    return run.scores[METRICS[piece.dataset]], run.best_epoch


def _pygs(piece: Piece) -> tuple[float, int]:
    import torch

    torch.manual_seed(piece.split)
    graph = load_graph(piece.dataset, split=f"stored:{piece.split}")
    recipe, device = preset(RECIPES[piece.dataset]), torch.device(piece.device)
    dense = graph.features if isinstance(graph.features, np.ndarray) else graph.features.toarray()
    x = torch.tensor(np.asarray(dense, dtype=np.float32), device=device)
    target, source = graph.adjacency.nonzero()
    edges = torch.tensor(np.stack([source, target]).astype(np.int64), device=device)
    labels = torch.tensor(graph.labels.astype(np.int64), device=device)
    nodes = [torch.tensor(part, device=device) for part in (graph.train, graph.val, graph.test)]
    model = _model(graph.num_features, graph.num_classes, recipe).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    best = (-math.inf, 0.0, 0)
    for epoch in range(piece.epochs or recipe.epochs):
        model.train()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x, edges)[nodes[0]], labels[nodes[0]]).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            outputs = model(x, edges).softmax(dim=1)
        val, test = (_score(piece.dataset, outputs[part], labels[part]) for part in nodes[1:])
        if val > best[0]:
            best = val, test, epoch
    return best[1], best[2]


def _score(dataset: str, outputs: Any, labels: Any) -> float:
    if METRICS[dataset] == "roc_auc":
        return roc_auc(outputs[:, 1].double().cpu().numpy(), labels.cpu().numpy() == 1)
    return float((outputs.argmax(dim=1) == labels).double().mean())


def _model(features: int, classes: int, recipe: Any) -> Any:
    """As `MPNNs` of the authors' code (medium_graph/model.py), of the options that the two recipes have."""
    import torch
    from torch_geometric.nn import GCNConv

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [features, *[recipe.hidden] * recipe.layers]
            self.convs = torch.nn.ModuleList(GCNConv(i, o, cached=True) for i, o in itertools.pairwise(widths))
            residual, normed = recipe.residual == "linear", recipe.norm == "batch"
            self.beside = torch.nn.ModuleList(torch.nn.Linear(i, recipe.hidden) for i in widths[:-1] if residual)
            self.norms = torch.nn.ModuleList(torch.nn.BatchNorm1d(recipe.hidden) for _ in widths[:-1] if normed)
            self.last = torch.nn.Linear(recipe.hidden, classes)

        def forward(self, x: Any, edges: Any) -> Any:
            for number, conv in enumerate(self.convs):
                after = conv(x, edges)
                x = after + self.beside[number](x) if self.beside else after
                x = self.norms[number](x) if self.norms else x
                x = torch.nn.functional.dropout(x.relu(), recipe.dropout, self.training)
            return self.last(x)

    return Net()


def missing(document: dict[str, Any], options: Any) -> list[Piece]:
    """Splits that are not in the file, those that take longest first."""
    rest = options.backend, options.device, options.epochs
    found = []
    for dataset in options.datasets.split(","):
        for side in reversed(options.sides.split(",")):
            have = {one["split"] for one in document["rows"].get(f"{dataset} / {side}", {}).get("splits", [])}
            found += [Piece(dataset, side, split, *rest) for split in range(options.splits) if split not in have]
    return found


def note(document: dict[str, Any], piece: Piece, found: dict[str, Any]) -> None:
    row = document["rows"].setdefault(piece.key, {"recipe": RECIPES[piece.dataset], "splits": []})
    row["splits"] = sorted([*row["splits"], found], key=lambda one: one["split"])
    values = [one["test"] for one in row["splits"]]
    row |= {"count": len(values), "mean": statistics.fmean(values)}
    row["stdev"] = statistics.stdev(values) if len(values) > 1 else None
    print(f"{piece.key}: split {piece.split} {found['test']:.2f} {found['seconds']} s", flush=True)


def write(document: dict[str, Any], out: Path) -> None:
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps(document, indent=1) + "\n")
    partial.replace(out)


def table(document: dict[str, Any]) -> str:
    """Markdown: a line a data set."""
    lines = ["| data set | metric | recipe | portgnn | PyG's layers | Luo et al. 2024 |", "|---|---|---|---|---|---|"]
    for dataset, recipe in RECIPES.items():
        metric = {"roc_auc": "ROC-AUC", "accuracy": "accuracy"}[METRICS[dataset]]
        figures = (_figure(document["rows"].get(f"{dataset} / {side}")) for side in SIDES)
        lines.append(f"| {dataset} | {metric} | `{recipe}` | {' | '.join(figures)} | {PUBLISHED[dataset]} |")
    return "\n".join(lines)


def _figure(row: dict[str, Any] | None) -> str:
    if not row:
        return ""
    spread = "" if row["stdev"] is None else f" ± {row['stdev']:.1f}"
    return f"{row['mean']:.1f}{spread} ({row['count']} splits)"


def environment(options: Any) -> dict[str, Any]:
    import torch
    import torch_geometric

    card = torch.cuda.get_device_name() if options.device == "cuda" else None
    facts = {"torch": torch.__version__, "torch_geometric": torch_geometric.__version__, "card": card}
    return facts | {"machine": machine(), "backend": options.backend, "device": options.device}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--datasets", default=",".join(RECIPES))
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=None, help="In place of the recipes', to try the study out.")
    parser.add_argument("--minutes", type=float, default=8.0, help="Begin nothing after so many minutes.")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    document: dict[str, Any] = {"what": "per cent, of the test nodes of stored splits", "rows": {}}
    if options.json.exists():
        document = json.loads(options.json.read_text())
    complete = True
    if options.command == "run":
        document["environment"] = environment(options)

        def keep(piece: Piece, found: dict[str, Any]) -> None:
            note(document, piece, found)
            write(document, options.json)

        complete = pieces.run(missing(document, options), done, keep, options.jobs, options.minutes)
    print(table(document))
    return 0 if complete else 3


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
