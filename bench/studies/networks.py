"""Milliseconds a training step of every network, beside PyTorch Geometric's own layers, in one run.

python bench/studies/networks.py [--networks all|gat,sage] [--dataset cora|arxiv-size] [--device cuda|cpu]
    [--backends torch,jax,numpy] [--peers eager,compiled,csr,captured,compiled+captured] [--rounds 7] [--epochs 64]
    [--json bench/results/...]

Each network has its own recipe (`portgnn.presets`), in float32. A turn is so many epochs of training steps; turns of
all programs are interleaved, and the figure is the median over the rounds. portgnn computes the rows that it does by
itself (rows="auto": those that the loss reads, unless these are most) and, as NAME:all, every node's, as PyG does, or
as NAME:needed no other. `csr` is PyG with the adjacency as torch's CSR tensor, for the layers that take one, and
`captured` its whole step, on CUDA, in a graph that is replayed. Needs torch and torch_geometric.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch

from bench.peers.pyg_networks import PyGNetwork
from portgnn import Graph, get_backend, load_graph
from portgnn.benchmark.graphs import arxiv_size
from portgnn.models import NETWORKS
from portgnn.models.layer import streams_of
from portgnn.placing.prepared import Prepared
from portgnn.presets import preset
from portgnn.random import dropout_keys
from portgnn.recipe import Config
from portgnn.results.environment import machine
from portgnn.training import WholeGraph, initial_state

Turn = Callable[[int], None]


def graph_of(name: str) -> Graph:
    if name != "arxiv-size":
        return load_graph(name)
    made = arxiv_size()
    split = {"train": made.train, "val": made.val, "test": made.test}
    return Graph(made.adjacency, made.features, labels=made.labels, name=made.name, **split)


def own(graph: Graph, config: Config, backend: str, device: str) -> Turn:
    name, _, rows = backend.partition(":")
    made = get_backend(name, device={"mlx": "gpu" if device != "cpu" else "cpu"}.get(name, device), dtype="float32")
    prepared = Prepared.of(graph, config.with_(rows=rows or "auto"))
    run = WholeGraph(made, prepared).make_run(False)
    held = [initial_state(made, prepared, 0)]
    streams = streams_of(prepared.layers)

    def turn(epochs: int) -> None:
        held[0], _ = run(held[0], dropout_keys(0, range(epochs), streams))
        made.synchronize(*held[0].values())

    return turn


def peer(graph: Graph, config: Config, how: str, device: str) -> Turn:
    from torch_geometric.utils import to_torch_csr_tensor

    features = Prepared.of(graph, config.with_(features="dense", adjacency="auto")).features
    x = torch.tensor(np.asarray(features), dtype=torch.float32, device=device)
    matrix = graph.adjacency.tocoo()
    edges = torch.tensor(np.stack([matrix.col, matrix.row]).astype(np.int64), device=device)
    given: Any = edges
    if how == "csr":
        given = to_torch_csr_tensor(edges, size=(graph.num_nodes, graph.num_nodes)).t()
    assert graph.train is not None
    assert graph.labels is not None
    train = torch.tensor(graph.train, device=device)
    labels = torch.tensor(graph.labels.astype(np.int64), device=device)[train]
    module = PyGNetwork(config, graph.num_features, graph.num_classes).to(device).train()
    captured = "captured" in how
    rates = {"weight_decay": config.weight_decay, "capturable": captured}
    optimizer = torch.optim.Adam(module.parameters(), config.learning_rate, **rates)
    called: Any = torch.compile(module, dynamic=False) if "compiled" in how else module

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(called(x, given)[train], labels).backward()
        optimizer.step()

    once = replayed(step) if captured else step

    def turn(epochs: int) -> None:
        for _ in range(epochs):
            once()
        if device != "cpu":
            torch.cuda.synchronize()

    return turn


def replayed(step: Callable[[], None]) -> Callable[[], None]:
    """The step as a CUDA graph, which reads the arrays that the step holds."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def again(held: Callable[[], None] = step) -> None:
        graph.replay()

    return again


@contextmanager
def held(lock: Path | None, alone: bool) -> Iterator[None]:
    """Holds a lock that several processes of this study share a device by: they compile together, and time alone."""
    if lock is None:
        yield
        return
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def measured(graph: Graph, network: str, options: Any) -> dict[str, Any]:
    """One row: milliseconds a step of each program, or why it did not run."""
    config = preset(None, network)
    programs: dict[str, Turn] = {}
    failed: dict[str, str] = {}
    makers: dict[str, Callable[[], Turn]] = {}
    for how in filter(None, options.peers.split(",")):
        makers[f"pyg-{how}"] = partial(peer, graph, config, how, options.device)
    for name in filter(None, options.backends.split(",")):
        makers[name] = partial(own, graph, config, name, options.device)
    with held(options.lock, alone=False):
        for name, make in makers.items():
            try:
                turn = make()
                clock = time.perf_counter()
                turn(options.epochs)
                first = time.perf_counter() - clock
                while time.perf_counter() - clock < min(1.0, 3 * first):  # warm
                    turn(options.epochs)
                programs[name] = turn
            except Exception as error:
                failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
                if options.device != "cpu":
                    torch.cuda.empty_cache()
    times: dict[str, list[float]] = {name: [] for name in programs}
    with held(options.lock, alone=True):
        for number in range(options.rounds + (options.lock is not None)):
            for name, turn in programs.items():
                clock = time.perf_counter()
                turn(options.epochs)
                if number or options.lock is None:  # what was made warm has waited for the lock
                    times[name].append((time.perf_counter() - clock) / options.epochs * 1e3)
    medians = {name: statistics.median(values) for name, values in times.items()}
    best = min((value for name, value in medians.items() if name.startswith("pyg-")), default=None)
    ratios = {name: best / value for name, value in medians.items() if best and not name.startswith("pyg-")}
    return {"network": network, "preset": config.preset, "ms": medians, "all_ms": times, "times_pygs_best": ratios,
            "failed": failed}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="all")
    parser.add_argument("--dataset", default="cora")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backends", default="torch,torch:all")
    parser.add_argument("--peers", default="eager,compiled")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--lock", type=Path, help="a file, for several processes on one device: each then times alone")
    options = parser.parse_args(arguments)
    asked = list(NETWORKS) if options.networks == "all" else options.networks.split(",")
    warnings.filterwarnings("ignore")
    graph = graph_of(options.dataset)
    facts = machine() | {"torch": torch.__version__, "threads": torch.get_num_threads()}
    if options.device != "cpu":
        facts["gpu"] = torch.cuda.get_device_name()
    document = {"kind": "networks", "dataset": options.dataset, "device": options.device, "machine": facts,
                "rounds": options.rounds, "epochs": options.epochs, "rows": []}  # fmt: skip
    for network in asked:
        row = measured(graph, network, options)
        document["rows"].append(row)
        said = "  ".join(f"{name} {value:.3f}" for name, value in row["ms"].items())
        ratios = "  ".join(f"{name} {value:.2f}x" for name, value in row["times_pygs_best"].items())
        print(f"{network:7} ms: {said}  |  {ratios}  {row['failed'] or ''}", flush=True)
        if options.json:
            options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
