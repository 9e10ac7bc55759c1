"""Sampled epochs with the batches drawn where the graph lies, beside those that the host draws.

    python bench/studies/device_sampling.py --json OUT
    python bench/studies/device_sampling.py --device cpu --batches 1024 --epochs 1 --json OUT   # the host's alone

The graph has ogbn-arxiv's numbers, preset `pyg`, fan-out 15,10, hidden 128, exact validation after each epoch. The
time of one is the median of `--repeats` times `--epochs` epochs, in seeds a second; the device is busy for as long as
its kernels take by torch's profiler. Before anything is timed, both ways' losses are compared over two epochs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from portgnn import Graph, get_backend
from portgnn.benchmark.graphs import arxiv_size
from portgnn.loaders.engine import Sampled
from portgnn.loaders.on_device import SampledOnDevice, sampled
from portgnn.loaders.source import InMemory
from portgnn.placing.prepared import Prepared
from portgnn.presets import preset
from portgnn.random import dropout_keys
from portgnn.training import initial_state


class Run:
    """An engine's epochs, one after the other."""

    def __init__(self, engine: Sampled) -> None:
        self._run, self._streams = engine.make_run(True), len(engine.problem.layers)
        self.state, self.epoch = initial_state(engine.backend, engine.problem, 0), 0

    def __call__(self, epochs: int) -> dict[str, Any]:
        keys = dropout_keys(0, range(self.epoch, self.epoch + epochs), self._streams)
        self.state, curves = self._run(self.state, keys)
        self.epoch += epochs
        return curves


def busy(run: Run, epochs: int) -> tuple[float, list[tuple[str, float, int]]]:
    """Milliseconds of kernels and copies an epoch, and the ten names that take most."""
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        run(epochs)
    found = sorted(profile.key_averages(), key=lambda each: -each.self_device_time_total)
    rows = [(each.key[:60], each.self_device_time_total / 1e3 / epochs, each.count // epochs) for each in found]
    return sum(row[1] for row in rows), rows[:10]


def measured(run: Run, epochs: int, repeats: int, seeds: int, on_gpu: bool) -> dict[str, Any]:
    times = []
    for _ in range(repeats):
        clock = time.perf_counter()
        run(epochs)
        times.append((time.perf_counter() - clock) / epochs)
    epoch = float(np.median(times))
    result: dict[str, Any] = {"epoch_ms": 1e3 * epoch, "seeds_per_s": seeds / epoch, "all_ms": [1e3 * t for t in times]}
    if on_gpu:
        kernels, names = busy(run, epochs)
        result |= {"kernel_ms": kernels, "busy": kernels / (1e3 * epoch), "kernels": names}
    return result


def case(graph: Any, batch: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One batch size. The host's way is timed over one epoch: it takes seconds."""
    changes = {"loader": "neighbor", "batch_size": batch, "fanout": arguments.fanout, "hidden": arguments.hidden}
    config = preset(arguments.preset, features="dense", normalize_features="none", **changes)
    backend = get_backend("torch", device=arguments.device)
    source = InMemory(Prepared.of(graph, config))
    seeds, on_gpu = len(graph.train), arguments.device != "cpu"
    result: dict[str, Any] = {"batch": batch, "fanout": arguments.fanout, "preset": arguments.preset, "seeds": seeds}
    clock, engine = time.perf_counter(), sampled(backend, source)
    runs = {"device": Run(engine)} if isinstance(engine, SampledOnDevice) else {}
    runs["host"] = Run(Sampled(backend, source))
    curves = {name: run(2) for name, run in runs.items()}
    result["first_two_epochs_s"] = time.perf_counter() - clock
    if len(runs) == 2:
        result["apart"] = {
            name: float(np.max(np.abs(curve / curves["host"][name] - 1))) for name, curve in curves["device"].items()
        }
    for name, run in runs.items():
        epochs, repeats = (arguments.epochs, arguments.repeats) if name == "device" else (1, 1)
        result[name] = measured(run, epochs, repeats, seeds, on_gpu)
        print(batch, name, {key: value for key, value in result[name].items() if key != "kernels"}, flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batches", type=int, nargs="+", default=[1024, 8192])
    parser.add_argument("--fanout", default="15,10")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--preset", default="pyg")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    made = arxiv_size()
    parts: dict[str, Any] = {"train": made.train, "val": made.val, "test": made.test}
    graph = Graph(made.adjacency, made.features, made.labels, name=made.name, **parts)
    found = [case(graph, batch, arguments) for batch in arguments.batches]
    device = arguments.device
    if device != "cpu":
        import torch

        device = torch.cuda.get_device_name()
    result = {"kind": "device-sampling", "graph": graph.name, "nodes": graph.num_nodes, "stored": graph.adjacency.nnz,
              "hidden": arguments.hidden, "device": device, "cases": found}  # fmt: skip
    if arguments.json:
        kept = json.loads(arguments.json.read_text()) if arguments.json.exists() else []
        arguments.json.write_text(json.dumps([*kept, result], indent=1) + "\n")


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
