"""Sets of graphs: backends beside each other, GIN over folds beside PyG's, graphs a second, killed and resumed runs.

python bench/studies/graph_sets.py curves [--epochs 200]           losses of 200 epochs on every backend, float64
python bench/studies/graph_sets.py folds [--datasets MUTAG,PROTEINS] [--sides portgnn,pyg] [--jobs 14]   fair protocol
python bench/studies/graph_sets.py speed [--sides numpy,torch,pyg,torch:cuda,pyg:cuda]   beside PyG's DataLoader
python bench/studies/graph_sets.py kills [--times 20]              killed at random and resumed, bit for bit

`folds` goes on where it was, a few minutes at a time, and has a process a training. Each adds its part to
bench/results/graph-sets.json (--json). Data come from PORTGNN_DATA. PyG's GIN has the layers, widths, norm, jumps,
readout, optimizer, schedule, batches' size, stopping and folds of portgnn's; its initial values are its own.
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
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from bench.studies import pieces
from portgnn import GraphSet, Model, available_backends, load_graphs, train
from portgnn.datasets.splits import with_split
from portgnn.graphs.gathered import dense
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
FAIR = GIN | {"layers": 4, "norm": "batch", "jumping": "cat", "schedule": "step", "schedule_every": 50,
              "schedule_factor": 0.5, "monitor": "val_accuracy"}  # fmt: skip
"""As the paper trains it: "five layers" are four and the features, a norm over the nodes of a batch behind each hidden
layer, and a last linear layer that reads all of them. The rate halves every 50 epochs, as in Errica et al.; validation
accuracy stops a run and says which epoch is tested.
"""
GRID = tuple({"readout": readout, "learning_rate": rate} for rate in (0.003, 0.01) for readout in ("mean", "sum"))
"""What the inner selection of the fair protocol chooses from."""
STOPPING: dict[str, Any] = {"stopping": "patience", "restore_best": True}


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
        x = torch.tensor(dense(problem.whole.features[nodes]).astype(np.float32))
        found.append(Data(x=x, edge_index=edges, y=torch.tensor([int(graphs.labels[number])])))
    return found


def _moments(graphs: GraphSet, recipe: Any) -> Any:
    from portgnn.placing.features import settled

    chosen = graphs if graphs.train is None else graphs.taken(graphs.train)
    return settled(chosen.union, recipe.with_(readout="none"))[1]


def _pyg_model(features: int, classes: int, recipe: Any) -> Any:
    import torch
    from torch_geometric.nn import GINConv, global_add_pool, global_mean_pool

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            jumps = recipe.jumping == "cat"
            outs = [recipe.hidden] * recipe.layers if jumps else [*[recipe.hidden] * (recipe.layers - 1), classes]
            widths = [features, *outs[:-1]]
            normed = outs if recipe.norm == "batch" else []
            self.norms = torch.nn.ModuleList(torch.nn.BatchNorm1d(width) for width in normed)
            self.convs = torch.nn.ModuleList(
                GINConv(
                    torch.nn.Sequential(
                        torch.nn.Linear(i, recipe.hidden), torch.nn.ReLU(), torch.nn.Linear(recipe.hidden, o)
                    ),
                    train_eps=True,
                )
                for i, o in zip(widths, outs, strict=True)
            )
            self.last = torch.nn.Linear(sum(outs), classes) if jumps else None
            self.pool = global_mean_pool if recipe.readout == "mean" else global_add_pool

        def forward(self, data: Any) -> Any:
            x, seen = data.x, []
            for number, conv in enumerate(self.convs):
                x = conv(x, data.edge_index)
                if self.last is not None or number < len(self.convs) - 1:
                    x = (self.norms[number](x) if len(self.norms) else x).relu()
                    seen.append(x)
            # A linear layer and a sum or a mean may change places: it is cheaper of graphs than of nodes.
            if self.last is not None:
                return self.last(self.pool(torch.cat(seen, dim=1), data.batch))
            return self.pool(x, data.batch)

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
    """(best validation accuracy, test accuracy at the first epoch that has it)."""
    import torch
    from torch_geometric.loader import DataLoader

    torch.manual_seed(seed)
    parts = [[data[at] for at in part] for part in (graphs.train, graphs.val, graphs.test)]
    loaders = [DataLoader(part, batch_size=recipe.batch_size, shuffle=not at) for at, part in enumerate(parts)]
    model = _pyg_model(graphs.num_features, graphs.num_classes, recipe)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, recipe.schedule_every, recipe.schedule_factor)
    best, since = (-1.0, 0.0), 0
    for _ in range(recipe.epochs):
        _pyg_epoch(model, optimizer, loaders[0])
        schedule.step()
        accuracy = _pyg_scores(model, loaders[1])[1]
        if accuracy > best[0]:
            best, since = (accuracy, _pyg_scores(model, loaders[2])[1]), 0
        else:
            since += 1
        if since >= recipe.patience:
            break
    return best


def _portgnn_run(graphs: GraphSet, recipe: Any, seed: int, backend: str) -> tuple[float, float]:
    values = {name: getattr(recipe, name) for name in (*FAIR, "readout", "epochs", "patience", *STOPPING)}
    run = train(graphs, backend=backend, device="cpu", seed=seed, **values)
    return run.history.val_accuracy[run.best_epoch], run.scores["accuracy"]


@dataclass(frozen=True)
class Run:
    """One training in one outer fold. point: of the grid, its last ones counted from 0."""

    dataset: str
    side: str
    fold: int
    point: int
    seed: int
    folds: int
    grid: int
    epochs: int
    patience: int
    backend: str

    @property
    def row(self) -> str:
        return f"fair {self.dataset} {self.side}"

    @property
    def key(self) -> str:
        return f"fold {self.fold}, point {self.point}, seed {self.seed}"


def one_run(of: Run) -> dict[str, float]:
    """Accuracies of the validation and of the test graphs, and seconds."""
    clock = time.perf_counter()
    graphs = _of_fold(of.dataset, of.folds, of.fold)
    recipe = preset(**FAIR | GRID[-of.grid :][of.point] | STOPPING | {"epochs": of.epochs, "patience": of.patience})
    if of.side == "pyg":
        val, test = _pyg_run(_pyg_of_fold(of.dataset, of.folds, of.fold), graphs, recipe, of.seed)
    else:
        val, test = _portgnn_run(graphs, recipe, of.seed, of.backend)
    return {"val": val, "test": test, "seconds": round(time.perf_counter() - clock, 1)}


@cache
def _of_fold(dataset: str, folds: int, fold: int) -> GraphSet:
    return with_split(_read(dataset), f"fair:{folds}:{fold}")


@cache
def _read(dataset: str) -> GraphSet:
    return load_graphs(dataset)


@cache
def _pyg_of_fold(dataset: str, folds: int, fold: int) -> list[Any]:
    return _pyg_data(_of_fold(dataset, folds, fold), preset(**FAIR))


def folds(options: argparse.Namespace) -> dict[str, Any]:
    """The fair protocol: in each outer fold the grid's best by the validation accuracy's mean over `--runs` seeds; the
    mean test accuracy of that.

    What is in the file stays as it is, each training is written when it is done, and none is begun after `--minutes`.
    """
    known = json.loads(options.json.read_text()) if options.json.exists() else {}
    budget = {"folds": options.folds, "grid": options.grid, "epochs": options.epochs, "patience": options.patience}
    sides = list(itertools.product(options.datasets.split(","), options.sides.split(",")))
    todo = [
        Run(*of, fold, point, seed, **budget, backend=options.backend)
        for seed, of in itertools.product(range(options.runs), sides)
        for fold, point in itertools.product(range(options.folds), range(options.grid))
    ]
    facts = budget | {"points": list(GRID[-options.grid :]), "recipe": FAIR, "machine": machine()}
    rows = {run.row: known.get(run.row, facts | {"trained": {}}) for run in todo}
    for name, row in rows.items():
        if any(row[each] != value for each, value in budget.items()):
            sys.exit(f"{options.json}: {name} is of another budget; name another file")

    def keep(run: Run, found: dict[str, float]) -> None:
        rows[run.row]["trained"][run.key] = found
        rows[run.row] |= _summary(rows[run.row], options)
        _keep(options.json, {run.row: rows[run.row]})
        print(f"{run.row}, {run.key}: {found}", flush=True)

    missing = (run for run in todo if run.key not in rows[run.row]["trained"])
    pieces.run(missing, one_run, keep, options.jobs, options.minutes)
    for name, row in rows.items():
        print(f"{name}: {100 * row.get('mean', 0):.1f} ± {100 * row.get('stdev', 0):.1f}, {len(row['trained'])} runs")
    return {}


def _summary(row: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Of the folds of which each point has a run: accuracies, how many runs a point they are of, mean and deviation."""
    accuracies, runs = {}, []
    for fold in range(options.folds):
        of_point = [
            [row["trained"][key] for seed in range(options.runs) if (key := f"fold {fold}, point {point}, seed {seed}")
             in row["trained"]] for point in range(options.grid)
        ]  # fmt: skip
        if not all(of_point):
            continue
        chosen = max(of_point, key=lambda found: statistics.mean(each["val"] for each in found))
        accuracies[str(fold)] = statistics.mean(each["test"] for each in chosen)
        runs.append(min(map(len, of_point)))
    if not runs:
        return {}
    values = list(accuracies.values())
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"accuracies": accuracies, "runs": min(runs), "mean": statistics.mean(values), "stdev": spread}


def _keep(path: Path, found: dict[str, Any]) -> None:
    known = json.loads(path.read_text()) if path.exists() else {}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(known | found | {"machine": machine()}, indent=1) + "\n")
    partial.replace(path)


def _portgnn_timer(graphs: GraphSet, backend: str, recipe: Any, device: str = "cpu") -> Callable[[], float]:
    """Trains one epoch a call; seconds of it."""
    made = backend_of(backend, device, "float32")
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


def _pyg_timer(graphs: GraphSet, recipe: Any, device: str = "cpu") -> Callable[[], float]:
    import torch
    from torch_geometric.loader import DataLoader

    data = _pyg_data(graphs, recipe)
    loader = DataLoader([data[at] for at in graphs.train], batch_size=recipe.batch_size, shuffle=True)
    model = _pyg_model(graphs.num_features, graphs.num_classes, recipe).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)

    def once() -> float:
        started = time.perf_counter()
        _pyg_epoch(model, optimizer, (batch.to(device) for batch in loader))
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    return once


WARM = 8
"""Epochs before those that count: each shape of a batch is recorded when it has come twice."""


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """Graphs a second in training, the second fastest of epochs that come in turns, after some that warm up: other work
    on the machine makes an epoch slower and never faster.
    """
    graphs = load_graphs(options.dataset, split="folds:10:0")
    recipe = preset(**GIN | {"batch_size": options.batch_size})
    timers: dict[str, Callable[[], float]] = {}
    for name in options.sides.split(","):
        side, _, device = name.partition(":")
        on = device or "cpu"
        timers[name] = _pyg_timer(graphs, recipe, on) if side == "pyg" else _portgnn_timer(graphs, side, recipe, on)
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    for turn in range(options.rounds + WARM):
        for name, once in timers.items():
            taken = once()
            if turn >= WARM:
                seconds[name].append(taken)
    rates = {name: len(graphs.train) / sorted(each)[1] for name, each in seconds.items()}
    for name, rate in rates.items():
        typical = len(graphs.train) / statistics.median(seconds[name])
        print(f"{name}: {rate:,.0f} graphs/s, {typical:,.0f} in the median epoch", flush=True)
    row = {"dataset": options.dataset, "batch_size": options.batch_size, "graphs_a_second": rates, "seconds": seconds}
    row |= {"load": os.getloadavg(), "machine": machine(), "card": _card(timers)}
    return {f"speed {options.dataset} {options.batch_size}{options.named}": row}


def _card(sides: Any) -> str | None:
    if not any(":cuda" in each for each in sides):
        return None
    import torch

    return str(torch.cuda.get_device_name())


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
    parser.add_argument("--sides", default="portgnn,pyg", help="For speed: backends and pyg, each perhaps with :cuda.")
    parser.add_argument("--named", default="", help="What the name of speed's row ends with.")
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--grid", type=int, default=len(GRID), help="How many of the grid, the last.")
    parser.add_argument("--patience", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=2.5)
    parser.add_argument("--jobs", type=int, default=1, help="Trainings at a time, each in a process with one thread.")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    found = {"curves": curves, "folds": folds, "speed": speed, "kills": kills}[options.part](options)
    _keep(options.json, found)


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
