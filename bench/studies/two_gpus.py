"""One GPU beside two on the same graph: are the losses the same, what does an epoch cost, and what takes the time?

    python bench/studies/two_gpus.py --json OUT                                      # two GPUs, NCCL
    python bench/studies/two_gpus.py --device cpu --nodes 20000 --edges 200000 --json OUT   # here, gloo

The graph is that of bench/studies/scaling_graphs.py, made once and shared by forks. Networks come in waves; of each
wave all processes place the graph and take their first steps side by side, and are then timed one after the other:
milliseconds an epoch, training and validation, the median of `--repeats` of `--epochs` epochs. An epoch's losses are
compared with one process's. With --profile, kernels of eight epochs are summed by name on each GPU.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from bench.studies.distributed import free_port
from bench.studies.scaling_graphs import community_graph
from portgnn import Graph, get_backend
from portgnn.placing.prepared import Prepared
from portgnn.presets import preset
from portgnn.random import dropout_keys

NAMES = {"sage": "sage-hamilton", "gat": "gat-velickovic"}
WAVES = "pyg:64,pyg:256;kipf:64,kipf:256;sage:64,sage:256"
PATIENCE = 200.0
"""Seconds that the processes of a wave wait for each other."""


def recipe(case: str) -> Any:
    name, hidden = case.split(":")
    options: dict[str, Any] = {"hidden": int(hidden), "patience": 0, "restore_best": False}
    return preset(NAMES.get(name, name), normalize_features="none", **options)


class Process:
    """One process of one case. turn: the barrier of all processes of the wave."""

    def __init__(self, graph: Graph, case: str, rank: int, world: int, arguments: argparse.Namespace) -> None:
        from portgnn.training.step import initial_state

        self.rank, self.world, self.arguments = rank, world, arguments
        clock = time.perf_counter()
        prepared = Prepared.of(graph, recipe(case))
        self.prepared_s = time.perf_counter() - clock
        self.group: Any = None
        self.engine = self._engine(prepared)
        clock = time.perf_counter()
        self.run = self.engine.make_run(validate=True)
        self.placed_s = time.perf_counter() - clock
        self.state = initial_state(self.engine.backend, prepared, 0)
        clock = time.perf_counter()
        self.losses = self._epochs(0, arguments.first)
        self.first_s = time.perf_counter() - clock
        self.done = arguments.first

    def _engine(self, prepared: Prepared) -> Any:
        from portgnn.training import WholeGraph

        arguments = self.arguments
        if self.world == 1:
            return WholeGraph(get_backend("torch", device=arguments.device, dtype=arguments.dtype), prepared)
        from portgnn.distributed.loop import Distributed
        from portgnn.distributed.watch import Watch
        from portgnn.loaders.source import InMemory
        from portgnn.registry import backend_class

        watch = Watch(PATIENCE)
        transport = "gloo" if arguments.device == "cpu" else "nccl"
        group = self.group = backend_class("torch").join(transport, PATIENCE, watch)  # type: ignore[attr-defined]
        if arguments.plain:
            group.compiled = False
        backend = get_backend("torch", device=group.device, dtype=arguments.dtype)
        return Distributed(backend, InMemory(prepared), group, watch)

    def _epochs(self, start: int, count: int) -> dict[str, list[float]]:
        from portgnn.models.layer import streams_of

        keys = dropout_keys(0, range(start, start + count), streams_of(self.engine.problem.layers))
        self.state, curves = self.run(self.state, keys)
        self.engine.backend.synchronize(*self.state.values())
        return {name: [float(each) for each in values] for name, values in curves.items()}

    def timed(self) -> list[float]:
        found = []
        for _ in range(self.arguments.repeats):
            clock = time.perf_counter()
            self._epochs(self.done, self.arguments.epochs)
            found.append((time.perf_counter() - clock) * 1e3 / self.arguments.epochs)
            self.done += self.arguments.epochs
        return found

    def profile(self) -> dict[str, Any]:
        """Milliseconds an epoch of each kernel, and of all, which may run side by side."""
        import torch
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            self._epochs(self.done, 8)
        spans, totals = [], dict[str, float]()
        for event in seen.events():
            if event.device_type == torch.autograd.DeviceType.CUDA:
                totals[event.name[:90]] = totals.get(event.name[:90], 0.0) + event.time_range.elapsed_us()
                spans.append((event.time_range.start, event.time_range.end))
        busy, last = 0.0, 0.0
        for start, end in sorted(spans):
            busy += max(0.0, end - max(start, last))
            last = max(last, end)
        span = (max(end for _, end in spans) - min(start for start, _ in spans)) if spans else 0.0
        longest = sorted(totals.items(), key=lambda item: -item[1])[:18]
        return {
            "busy_ms": busy / 8e3, "span_ms": span / 8e3, "kernels_ms": sum(totals.values()) / 8e3,
            "launches": len(spans) / 8, "longest_ms": {name: round(us / 8e3, 4) for name, us in longest},
        }  # fmt: skip


def child(
    graph: Graph, case: str, rank: int, world: int, port: int, arguments: argparse.Namespace, shared: Any
) -> None:
    """turns: how many are timed one after the other; turn: which of them this process's case is."""
    barrier, turn, turns, out = shared
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="2",
    )  # fmt: skip
    try:
        import torch

        torch.set_num_threads(arguments.threads)
        process = Process(graph, case, rank, world, arguments)
        document: dict[str, Any] = {
            "case": case, "rank": rank, "world": world, "prepared_s": process.prepared_s, "placed_s": process.placed_s,
            "first_s": process.first_s, "losses": process.losses,
        }  # fmt: skip
        for at in range(turns):
            barrier.wait(PATIENCE)
            if at != turn:
                continue
            document["epoch_ms"] = process.timed()
            if arguments.device != "cpu":
                document["memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
            if arguments.profile:
                document["profile"] = process.profile()
        out.put(document)
        if process.group is not None:
            process.run = None
            process.group.close()
    except BaseException as error:
        out.put({"case": case, "rank": rank, "world": world, "error": f"{type(error).__name__}: {error}"[:600]})
        traceback.print_exc()
        barrier.abort()
    out.close()
    out.join_thread()
    os._exit(0)


def wave(graph: Graph, cases: list[str], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All cases, in one process and in several."""
    fork = mp.get_context("fork")
    worlds = [int(word) for word in arguments.worlds.split(",")]
    jobs = [(case, world) for case in cases for world in worlds]
    barrier, out = fork.Barrier(sum(world for _, world in jobs)), fork.Queue()
    running = []
    for turn, (case, world) in enumerate(jobs):
        port = free_port(1) + 37 * turn
        for rank in range(world):
            given = (graph, case, rank, world, port, arguments, (barrier, turn, len(jobs), out))
            running.append(fork.Process(target=child, args=given))
            running[-1].start()
    found, limit = [], time.monotonic() + arguments.limit
    while len(found) < len(running) and time.monotonic() < limit:
        try:
            found.append(out.get(timeout=1.0))
        except Exception:
            if not any(each.is_alive() for each in running):
                break
    for each in running:
        each.join(3.0)
        each.kill()
    return found


def summed_up(found: list[dict[str, Any]], case: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One process beside the others."""
    own = [each for each in found if each["case"] == case]
    errors = [each["error"] for each in own if "error" in each]
    if errors:
        return {"case": case, "errors": errors}
    worlds = {each["world"]: each for each in own if each["rank"] == 0}
    document: dict[str, Any] = {"case": case}
    for world, first in sorted(worlds.items()):
        document[f"ms_{world}"] = float(np.median(first.get("epoch_ms", [np.nan])))
    if 1 in worlds and len(worlds) > 1:
        alone, many = worlds[1], worlds[max(worlds)]
        document["times_faster"] = document["ms_1"] / document[f"ms_{max(worlds)}"]
        for name, one in alone["losses"].items():
            if "loss" in name:
                difference = np.abs(np.array(one) - many["losses"][name]) / np.abs(one)
                document[f"{name}_difference"] = float(difference.max())
    document["processes"] = own
    return document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--edges", type=int, default=25_000_000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--waves", default=WAVES, help="NETWORK:HIDDEN,…;…")
    parser.add_argument("--worlds", default="1,2", help="numbers of processes")
    parser.add_argument("--first", type=int, default=24, help="epochs before the timed ones, whose losses are compared")
    parser.add_argument("--epochs", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=90.0, help="seconds a wave may take")
    parser.add_argument("--plain", action="store_true", help="steps of several processes without CUDA graphs")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path, help="append the results to this file, a JSON list")
    arguments = parser.parse_args()
    clock = time.perf_counter()
    graph = community_graph(arguments.nodes, arguments.edges, arguments.width)
    print(f"{graph.name}: {graph.adjacency.nnz} stored edges, {time.perf_counter() - clock:.1f} s", flush=True)
    results = json.loads(arguments.json.read_text()) if arguments.json and arguments.json.exists() else []
    for cases in arguments.waves.split(";"):
        clock = time.perf_counter()
        found = wave(graph, cases.split(","), arguments)
        for case in cases.split(","):
            document = summed_up(found, case, arguments) | {
                "kind": "two-gpus", "nodes": graph.num_nodes, "stored_edges": int(graph.adjacency.nnz),
                "width": arguments.width, "dtype": arguments.dtype, "device": arguments.device,
            }  # fmt: skip
            if arguments.device != "cpu":
                import torch  # no CUDA in this process before the forks: names only, by nvidia-smi

                document["torch"] = torch.__version__
            results.append(document)
            short = {key: value for key, value in document.items() if key not in ("processes", "kind")}
            print(json.dumps(short), flush=True)
        print(f"the wave took {time.perf_counter() - clock:.1f} s", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
