"""Sets of graphs: backends beside each other, GIN over folds beside PyG's, graphs a second, killed and resumed runs.

python bench/studies/graph_sets.py curves [--epochs 200]           losses of 200 epochs on every backend, float64
python bench/studies/graph_sets.py folds [--datasets MUTAG,PROTEINS] [--sides portgnn,pyg]   the fair protocol
python bench/studies/graph_sets.py speed [--dataset PROTEINS]      training beside PyG's DataLoader, in turns
python bench/studies/graph_sets.py kills [--times 20]              killed at random and resumed, bit for bit

`folds` goes on where it was, a few minutes at a time. Each adds its part to bench/results/graph-sets.json (--json).
Data come from PORTGNN_DATA. PyG's GIN has the layers, widths, norm, readout, optimizer, batches' size, stopping and
folds of portgnn's; its initial values are its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from portgnn import GraphSet, Model, available_backends, load_graphs, train
from portgnn.loaders.sets import GraphBatches, PreparedSet
from portgnn.presets import preset
from portgnn.random import dropout_keys
from portgnn.registry import backend_of
from portgnn.results.environment import machine
from portgnn.training import initial_state

RESULTS = Path(__file__).parents[1] / "results" / "graph-sets.json"
BACKENDS = ("numpy", "torch", "mlx", "jax")
GIN: dict[str, Any] = {
    "model": "gin", "hidden": 32, "layers": 3, "dropout": 0.0, "input_dropout": 0.0, "l2": 0.0, "weight_decay": 0.0,
    "learning_rate": 0.01, "batch_size": 32, "normalize_features": "standardize",
}  # fmt: skip
NORMED = GIN | {"norm": "batch"}
"""As the paper trains it: a norm over the nodes of a batch behind every hidden layer."""
GRID = tuple({"hidden": hidden, "learning_rate": rate} for hidden in (16, 32) for rate in (0.01, 0.003))
"""What the inner selection of the fair protocol chooses from."""


def curves(options: argparse.Namespace) -> dict[str, Any]:
    """The largest relative difference of a loss from NumPy's, over all epochs, by readout and backend."""
    rows = []
    for model, readout in (("gin", "sum"), ("gcn", "mean"), ("gat", "max"), ("sage", "attention")):
        if model not in options.networks.split(","):
            continue
        recipe = GIN | {"model": model, "readout": readout, "dropout": 0.2, "epochs": options.epochs, "patience": 0}
        known: Any = None
        for name in (each for each in BACKENDS if each in available_backends()):
            run = train("MUTAG", backend=name, device="cpu", dtype="float64", split="folds:10:0", **recipe)
            found = {curve: np.array(run.history.curves[curve]) for curve in ("train_loss", "val_loss")}
            known = known or found
            apart = max(float(np.abs(found[each] / known[each] - 1).max()) for each in found)
            rows.append({"model": model, "readout": readout, "backend": name, "epochs": options.epochs, "apart": apart})
            print(f"{model} {readout} {name}: {apart:.2e}", flush=True)
    return {f"curves {options.networks}": rows}


def _pyg_data(graphs: GraphSet, recipe: Any) -> list[Any]:
    """The set as PyG's records, with features as portgnn's recipe makes them."""
    import torch
    from torch_geometric.data import Data

    problem = PreparedSet(graphs, recipe, _moments(graphs, recipe))
    found = []
    for number in range(len(graphs)):
        one, nodes = graphs[number], graphs.nodes_of(np.array([number]))
        target, source = one.adjacency.nonzero()
        edges = torch.tensor(np.stack([source, target]).astype(np.int64))
        x = torch.tensor(problem.features(nodes).astype(np.float32))
        found.append(Data(x=x, edge_index=edges, y=torch.tensor([int(graphs.labels[number])])))
    return found


def _moments(graphs: GraphSet, recipe: Any) -> Any:
    from portgnn.placing.features import settled

    chosen = graphs if graphs.train is None else graphs.taken(graphs.train)
    return settled(chosen.union, recipe.with_(readout="none"))[1]


def _pyg_model(features: int, classes: int, recipe: Any) -> Any:
    import torch
    from torch_geometric.nn import GINConv, global_add_pool

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [features, *[recipe.hidden] * (recipe.layers - 1)]
            outs = [*[recipe.hidden] * (recipe.layers - 1), classes]
            normed = recipe.norm == "batch"
            self.norms = torch.nn.ModuleList(torch.nn.BatchNorm1d(o) if normed else torch.nn.Identity() for o in outs)
            self.convs = torch.nn.ModuleList(
                GINConv(
                    torch.nn.Sequential(
                        torch.nn.Linear(i, recipe.hidden), torch.nn.ReLU(), torch.nn.Linear(recipe.hidden, o)
                    ),
                    train_eps=True,
                )
                for i, o in zip(widths, outs, strict=True)
            )

        def forward(self, data: Any) -> Any:
            x = data.x
            for number, conv in enumerate(self.convs):
                x = conv(x, data.edge_index)
                x = x if number == len(self.convs) - 1 else self.norms[number](x).relu()
            return global_add_pool(x, data.batch)

    return Net()


def _pyg_epoch(model: Any, optimizer: Any, loader: Any) -> None:
    import torch

    model.train()
    for batch in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(batch), batch.y).backward()
        optimizer.step()


def _pyg_scores(model: Any, loader: Any) -> tuple[float, float]:
    """(loss, accuracy)."""
    import torch

    loss, right, count = 0.0, 0, 0
    model.eval()
    with torch.no_grad():
        for batch in loader:
            out = model(batch)
            loss += float(torch.nn.functional.cross_entropy(out, batch.y, reduction="sum"))
            right, count = right + int((out.argmax(dim=1) == batch.y).sum()), count + len(batch.y)
    return loss / count, right / count


def _pyg_run(data: list[Any], graphs: GraphSet, recipe: Any, seed: int) -> tuple[float, float]:
    """(best validation accuracy, test accuracy at the epoch of the lowest validation loss)."""
    import torch
    from torch_geometric.loader import DataLoader

    torch.manual_seed(seed)
    parts = [[data[at] for at in part] for part in (graphs.train, graphs.val, graphs.test)]
    loaders = [DataLoader(part, batch_size=recipe.batch_size, shuffle=not at) for at, part in enumerate(parts)]
    model = _pyg_model(graphs.num_features, graphs.num_classes, recipe)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
    best, since = (float("inf"), 0.0, 0.0), 0
    for _ in range(recipe.epochs):
        _pyg_epoch(model, optimizer, loaders[0])
        loss, accuracy = _pyg_scores(model, loaders[1])
        if loss < best[0]:
            best, since = (loss, accuracy, _pyg_scores(model, loaders[2])[1]), 0
        else:
            since += 1
        if since >= recipe.patience:
            break
    return best[1], best[2]


def _portgnn_run(graphs: GraphSet, recipe: Any, seed: int, backend: str) -> tuple[float, float]:
    values = {name: getattr(recipe, name) for name in (*NORMED, "epochs", "patience", "stopping", "restore_best")}
    run = train(graphs, backend=backend, device="cpu", seed=seed, **values)
    return run.history.val_accuracy[run.best_epoch], run.scores["accuracy"]


def folds(options: argparse.Namespace) -> dict[str, Any]:
    """The fair protocol: in each outer fold, the grid's best by validation accuracy, then `--runs` runs of it.

    A piece at a time: what is in the file stays as it is, each fold is written when it is done, and none is begun after
    `--minutes`.
    """
    began, found = time.monotonic(), {}
    for dataset, side in itertools.product(options.datasets.split(","), options.sides.split(",")):
        name = f"fair {dataset} {side}"
        known = json.loads(options.json.read_text()) if options.json.exists() else {}
        budget = {"folds": options.folds, "runs": options.runs, "epochs": options.epochs, "patience": options.patience}
        row = known.get(name, budget | {"grid": list(GRID[-options.grid :]), "recipe": NORMED, "accuracies": {}})
        for fold in range(options.folds):
            if str(fold) in row["accuracies"] or time.monotonic() - began > 60 * options.minutes:
                continue
            row["accuracies"][str(fold)] = _fold(dataset, side, fold, options)
            done = list(row["accuracies"].values())
            row |= {"mean": statistics.mean(done), "stdev": statistics.stdev(done) if len(done) > 1 else 0.0}
            _keep(options.json, {name: row})
            print(f"{dataset} {side} fold {fold}: {row['accuracies'][str(fold)]:.4f}", flush=True)
        if row["accuracies"]:
            print(f"{name}: {100 * row['mean']:.1f} ± {100 * row['stdev']:.1f}, {len(row['accuracies'])} folds")
            found[name] = row
    return found


def _fold(dataset: str, side: str, fold: int, options: argparse.Namespace) -> float:
    """The mean test accuracy of the grid's best."""
    graphs = load_graphs(dataset, split=f"fair:{options.folds}:{fold}")
    stopping = {"epochs": options.epochs, "stopping": "patience", "patience": options.patience, "restore_best": True}
    recipes = [preset(**NORMED | point | stopping) for point in GRID[-options.grid :]]
    data = _pyg_data(graphs, recipes[0]) if side == "pyg" else []

    def one(recipe: Any, seed: int) -> tuple[float, float]:
        if side == "pyg":
            return _pyg_run(data, graphs, recipe, seed)
        return _portgnn_run(graphs, recipe, seed, options.backend)

    chosen = recipes[int(np.argmax([one(recipe, 0)[0] for recipe in recipes]))]
    return statistics.mean(one(chosen, seed)[1] for seed in range(1, options.runs + 1))


def _keep(path: Path, found: dict[str, Any]) -> None:
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | found | {"machine": machine()}, indent=1) + "\n")


def _portgnn_timer(graphs: GraphSet, backend: str, recipe: Any) -> Callable[[], float]:
    """Trains one epoch a call; seconds of it."""
    made = backend_of(backend, "cpu", "float32")
    engine = GraphBatches(made, PreparedSet(graphs, recipe, _moments(graphs, recipe)))
    run, state, epoch = engine.make_run(False), initial_state(made, engine.problem, 0), 0

    def once() -> float:
        nonlocal state, epoch
        started = time.perf_counter()
        state, _ = run(state, dropout_keys(0, range(epoch, epoch + 1), recipe.layers))
        made.synchronize(*state.values())
        epoch += 1
        return time.perf_counter() - started

    return once


def _pyg_timer(graphs: GraphSet, recipe: Any) -> Callable[[], float]:
    import torch
    from torch_geometric.loader import DataLoader

    data = _pyg_data(graphs, recipe)
    loader = DataLoader([data[at] for at in graphs.train], batch_size=recipe.batch_size, shuffle=True)
    model = _pyg_model(graphs.num_features, graphs.num_classes, recipe)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)

    def once() -> float:
        started = time.perf_counter()
        _pyg_epoch(model, optimizer, loader)
        return time.perf_counter() - started

    return once


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """Graphs a second in training, the second fastest of epochs that come in turns, after some that warm up: other work
    on the machine makes an epoch slower and never faster.
    """
    graphs = load_graphs(options.dataset, split="folds:10:0")
    recipe = preset(**GIN | {"batch_size": options.batch_size})
    timers: dict[str, Callable[[], float]] = {}
    for name in options.sides.split(","):
        timers[name] = _pyg_timer(graphs, recipe) if name == "pyg" else _portgnn_timer(graphs, name, recipe)
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    for turn in range(options.rounds + 3):
        for name, once in timers.items():
            taken = once()
            if turn >= 3:
                seconds[name].append(taken)
    rates = {name: len(graphs.train) / sorted(each)[1] for name, each in seconds.items()}
    for name, rate in rates.items():
        typical = len(graphs.train) / statistics.median(seconds[name])
        print(f"{name}: {rate:,.0f} graphs/s, {typical:,.0f} in the median epoch", flush=True)
    row = {"dataset": options.dataset, "batch_size": options.batch_size, "graphs_a_second": rates, "seconds": seconds}
    return {f"speed {options.dataset} {options.batch_size}": row | {"load": os.getloadavg()}}


def kills(options: argparse.Namespace) -> dict[str, Any]:
    """Kills a run of the command at random times and resumes it until it ends; compares with one that nobody killed."""
    draw, done = random.Random(0), 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        common = ["--backend", "numpy", "--epochs", "60", "--json"]
        recipe = ["--dataset", "MUTAG", "--model", "gin", "--split", "folds:10:0", "--batch-size", "32"]
        recipe += ["--patience", "0", "--dropout", "0.3"]
        begin = [*recipe, "--checkpoint", str(folder / "run"), "--every", "2", *common]
        _command([*recipe, *common, "--save", str(folder / "whole.safetensors")]).wait()
        ended = False
        while not ended:
            there = (folder / "run").exists()
            kept = ["--resume", str(folder / "run"), *common] if there else begin
            process = _command([*kept, "--save", str(folder / "killed.safetensors")])
            try:
                process.wait(draw.uniform(2.0, 4.0) if done < options.times else None)
                ended = True
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                done += 1
        whole, killed = (Model.load(folder / f"{name}.safetensors").params for name in ("whole", "killed"))
    same = all(whole[name].tobytes() == killed[name].tobytes() for name in whole)
    print(f"{done} kills, the same bits: {same}")
    return {"kills": {"kills": done, "same": same}}


def _command(options: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "portgnn", "train", *options], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("curves", "folds", "speed", "kills"))
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--networks", default="gin,gcn,gat,sage")
    parser.add_argument("--datasets", default="MUTAG")
    parser.add_argument("--dataset", default="PROTEINS")
    parser.add_argument("--sides", default="portgnn,pyg")
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--grid", type=int, default=len(GRID), help="How many of the grid, the last.")
    parser.add_argument("--patience", type=int, default=25)
    parser.add_argument("--minutes", type=float, default=2.5)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    found = {"curves": curves, "folds": folds, "speed": speed, "kills": kills}[options.part](options)
    _keep(options.json, found)


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
