"""Accuracy of each network's recipe over seeds, and of PyTorch Geometric's own layers trained with the same recipe.

python bench/studies/recipes.py run [--presets gat-velickovic,sgc-wu] [--datasets cora,citeseer] [--seeds 20] [--pyg]
    [--backend torch] [--device cuda] [--jobs 4] [--minutes 9] [--json bench/results/recipes-h100.json]
python bench/studies/recipes.py table [--json ...]

PyG's rows are a model of PyG's layers with the same places of dropout, the same Adam, weight decay and penalty, the
same rule for stopping and for the epoch whose parameters are kept; initial values are those that PyG's layers draw. The
band of a recipe is PyG's mean plus or minus 3 standard errors of it. `run` adds what is missing to the file, the
recipes in the order below, and may be stopped and called again; it ends with status 3 where seeds are missing still.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from portgnn import get_backend, load_graph
from portgnn.placing.prepared import Prepared
from portgnn.presets import PRESETS, preset
from portgnn.recipe import Config
from portgnn.results.environment import machine
from portgnn.training import WholeGraph, fit

RESULTS = Path(__file__).parents[1] / "results" / "recipes-cpu.json"
DATASETS = ("cora", "citeseer")
ORDER = (
    "gat-velickovic", "appnp-klicpera", "sgc-wu", "sage-hamilton", "cheb-defferrard", "gin-xu", "gatv2-brody", "mlp",
    "kipf", "pyg", "gcn2-chen", "gcn2-chen-citeseer",
)  # fmt: skip
"""What matters most and takes least comes first."""
ONLY = {"gcn2-chen": "cora", "gcn2-chen-citeseer": "citeseer"}
"""Recipes that their paper has for one data set."""
PUBLISHED = {
    "gat-velickovic": ("83.0 ± 0.7", "72.5 ± 0.7"),
    "sgc-wu": ("81.0", "71.9"),
    "appnp-klicpera": ("83.3 to 83.8", "71.5 to 71.8"),
    "gcn2-chen": ("85.5 ± 0.5", ""),
    "gcn2-chen-citeseer": ("", "73.4 ± 0.6"),
    "cheb-defferrard": ("81.4 to 82.0", "70.2 to 70.5"),
    "sage-hamilton": ("77 to 81", "67 to 71"),
    "kipf": ("81.5", "70.3"),
}
"""Of Cora and Citeseer: by the papers, and where these have none, by independent runs."""
SIDES = ("portgnn", "pyg")
SHARE = 2
"""Seeds that a process trains before it reports."""


@dataclass(frozen=True)
class Row:
    """One recipe on one data set, by portgnn or by PyG."""

    preset: str
    dataset: str
    side: str

    @property
    def key(self) -> str:
        return f"{self.preset} / {self.dataset} / {self.side}"


@dataclass(frozen=True)
class Work:
    """Some seeds of a row. epochs: in place of the recipe's, to try the study out."""

    row: Row
    seeds: tuple[int, ...]
    backend: str
    device: str | None
    epochs: int | None

    def config(self) -> Config:
        return preset(self.row.preset, epochs=self.epochs)


def done(work: Work) -> list[dict[str, Any]]:
    """Trains the seeds: accuracy on the test nodes, in percent, epochs, seconds."""
    graph = load_graph(work.row.dataset)
    trained = _ours(work, graph) if work.row.side == "portgnn" else _pygs(work, graph)
    found = []
    for seed in work.seeds:
        clock = time.perf_counter()
        accuracy, epochs, best = trained(seed)
        seconds = time.perf_counter() - clock
        found.append({"seed": seed, "accuracy": 100 * accuracy, "epochs": epochs, "best": best, "s": round(seconds, 2)})
    return found


def _ours(work: Work, graph: Any) -> Any:
    engine = WholeGraph(
        get_backend(work.backend, device=work.device, dtype="float32"), Prepared.of(graph, work.config())
    )

    def trained(seed: int) -> tuple[float, int, int]:
        fitted = fit(engine, seed)
        return engine.scores(fitted.params, graph.test)["accuracy"], len(fitted.history), fitted.best_epoch

    return trained


def _pygs(work: Work, graph: Any) -> Any:
    import torch

    from bench.peers.pyg_networks import PyGNetwork

    config = work.config()
    device = work.device or ("cuda" if torch.cuda.is_available() else "cpu")
    x = Prepared.of(graph, config.with_(features="dense", adjacency="auto")).features
    x = torch.tensor(np.asarray(x), dtype=torch.float32, device=device)
    edges = graph.adjacency.tocoo()
    index = torch.tensor(np.stack([edges.col, edges.row]).astype(np.int64), device=device)
    labels = torch.tensor(graph.labels.astype(np.int64), device=device)
    train, val, test = (torch.tensor(nodes, device=device) for nodes in (graph.train, graph.val, graph.test))

    def trained(seed: int) -> tuple[float, int, int]:
        torch.manual_seed(seed)
        module = PyGNetwork(config, graph.num_features, graph.num_classes).to(device)
        optimizer = _adam(module, config)
        first = [one.parameter for one in module.same() if one.name == "weight0"] if config.l2 else []
        losses: list[float] = []
        kept: dict[str, Any] = {}

        def loss(nodes: Any) -> Any:
            total = torch.nn.functional.cross_entropy(module(x, index)[nodes], labels[nodes])
            return total + sum(config.l2 / 2 * weight.square().sum() for weight in first)

        for epoch in range(config.epochs):
            module.train()
            optimizer.zero_grad()
            loss(train).backward()
            optimizer.step()
            module.eval()
            with torch.no_grad():
                losses.append(loss(val).item())
            if config.restore_best and losses[epoch] < min(losses[:epoch], default=math.inf):
                kept = {name: value.clone() for name, value in module.state_dict().items()}
            if config.stops(losses):
                break
        if kept:
            module.load_state_dict(kept)
        with torch.no_grad():
            right = module(x, index)[test].argmax(dim=1) == labels[test]
        best = min(range(len(losses)), key=losses.__getitem__) if config.restore_best else len(losses) - 1
        return right.double().mean().item(), len(losses), best

    return trained


def _adam(module: Any, config: Config) -> Any:
    """Weight decay as the recipe has it; of GCNII's convolutions their own."""
    import torch

    own = {id(one.parameter) for one in module.same() if hasattr(config, "convolution_decay")}
    ends = {id(each) for part in ("first", "last") for each in getattr(module, part, torch.nn.Module()).parameters()}
    groups = [
        {"params": [each for each in module.parameters() if id(each) not in own - ends]},
        {"params": [each for each in module.parameters() if id(each) in own - ends]},
    ]
    groups[0]["weight_decay"] = config.weight_decay
    groups[1]["weight_decay"] = getattr(config, "convolution_decay", 0.0)
    rates = {"lr": config.learning_rate, "betas": (config.beta1, config.beta2), "eps": config.eps}
    return torch.optim.Adam([group for group in groups if group["params"]], **rates)


def rows(presets: list[str], datasets: list[str], sides: list[str]) -> Iterator[Row]:
    for name in presets:
        for dataset in datasets:
            if ONLY.get(name, dataset) == dataset:
                yield from (Row(name, dataset, side) for side in sides)


def missing(document: dict[str, Any], options: Any) -> Iterator[Work]:
    """What is not in the file yet, the rows in their order."""
    sides = list(SIDES) if options.pyg else ["portgnn"]
    for row in rows(options.presets.split(","), options.datasets.split(","), sides):
        have = {one["seed"] for one in document["rows"].get(row.key, {}).get("seeds", [])}
        left = [seed for seed in range(options.seeds) if seed not in have]
        for at in range(0, len(left), SHARE):
            yield Work(row, tuple(left[at : at + SHARE]), options.backend, options.device, options.epochs)


def run(document: dict[str, Any], options: Any) -> bool:
    """Whether all is in the file now."""
    end = time.monotonic() + 60 * options.minutes
    todo, running = missing(document, options), dict[Future[Any], Work]()
    complete = True
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        while True:
            while len(running) < options.jobs and time.monotonic() < end and (work := next(todo, None)):
                running[pool.submit(done, work)] = work
            if not running:
                break
            for each in wait(running, return_when=FIRST_COMPLETED).done:
                work = running.pop(each)
                if each.exception():
                    complete = False
                    print(f"{work.row.key}: {type(each.exception()).__name__}: {each.exception()}", flush=True)
                    continue
                note(document, work, each.result())
                write(document, options.json)
    return complete and next(todo, None) is None


def note(document: dict[str, Any], work: Work, found: list[dict[str, Any]]) -> None:
    row = document["rows"].setdefault(work.row.key, {"seeds": []})
    row["seeds"] = sorted([*row["seeds"], *found], key=lambda one: one["seed"])
    row |= summary([one["accuracy"] for one in row["seeds"]])
    if work.row.side == "pyg":
        row["band"] = [row["mean"] - 3 * row["standard_error"], row["mean"] + 3 * row["standard_error"]]
    for one in found:
        print(
            f"{work.row.key}: seed {one['seed']} {one['accuracy']:.1f} {one['epochs']} epochs {one['s']} s", flush=True
        )


def summary(accuracies: list[float]) -> dict[str, Any]:
    """In percent. std: the sample's, and None for one seed."""
    std = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    error = (std or 0.0) / math.sqrt(len(accuracies))
    return {"count": len(accuracies), "mean": statistics.fmean(accuracies), "std": std, "standard_error": error}


def write(document: dict[str, Any], out: Path) -> None:
    """One line a row's seeds."""
    lines = [json.dumps({name: value for name, value in document.items() if name != "rows"})[:-1] + ', "rows": {']
    lines.append(",\n".join(f"{json.dumps(key)}: {json.dumps(row)}" for key, row in document["rows"].items()))
    partial = out.with_suffix(".partial")
    partial.write_text("\n".join([*lines, "}}\n"]))
    partial.replace(out)


def table(document: dict[str, Any]) -> str:
    """Markdown: a line a recipe and data set."""
    lines = ["| recipe | data set | portgnn | PyG's layers | band | published |", "|---|---|---|---|---|---|"]
    for row in rows(list(ORDER), list(DATASETS), ["portgnn"]):
        ours, pygs = (document["rows"].get(f"{row.preset} / {row.dataset} / {side}") for side in SIDES)
        if not ours and not pygs:
            continue
        band = "{:.1f} to {:.1f}".format(*pygs["band"]) if pygs else ""
        published = PUBLISHED.get(row.preset, ("", ""))[DATASETS.index(row.dataset)]
        lines.append(f"| `{row.preset}` | {row.dataset} | {_figure(ours)} | {_figure(pygs)} | {band} | {published} |")
    return "\n".join(lines)


def _figure(row: dict[str, Any] | None) -> str:
    if not row:
        return ""
    spread = "" if row["std"] is None else f" ± {row['std']:.1f}"
    return f"{row['mean']:.1f}{spread} ({row['count']} seeds)"


def environment(options: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"machine": machine(), "numpy": np.__version__}
    for name in ("torch", "torch_geometric"):
        try:
            module = __import__(name)
        except ImportError:
            continue
        facts[name] = module.__version__
        if name == "torch" and module.cuda.is_available():
            facts["gpu"] = module.cuda.get_device_name()
    return facts | {"backend": options.backend, "device": options.device}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    running = commands.add_parser("run")
    running.add_argument("--presets", default=",".join(name for name in ORDER if name in PRESETS))
    running.add_argument("--datasets", default=",".join(DATASETS))
    running.add_argument("--seeds", type=int, default=20)
    running.add_argument("--pyg", action="store_true", help="Train PyG's layers, too.")
    running.add_argument("--backend", default="torch")
    running.add_argument("--device", default=None, help="None: the backend's fastest.")
    running.add_argument("--jobs", type=int, default=1, help="Processes at a time.")
    running.add_argument("--epochs", type=int, default=None, help="In place of the recipes', to try the study out.")
    running.add_argument("--minutes", type=float, default=math.inf, help="Begin nothing after so many minutes.")
    for one in (running, commands.add_parser("table")):
        one.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    document: dict[str, Any] = {"what": "test accuracy in percent, by recipe, data set and who trained", "rows": {}}
    if options.json.exists():
        document = json.loads(options.json.read_text())
    if options.command == "table":
        print(table(document))
        return 0
    document["environment"] = environment(options)
    complete = run(document, options)
    print(table(document))
    return 0 if complete else 3


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
