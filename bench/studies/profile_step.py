"""What one training step of a backend spends its time on.

    python bench/studies/profile_step.py --backend torch [--device cuda] [--dataset cora] [--preset pyg] [--top 20]

torch is asked through torch.profiler (on CUDA: the kernels of the replayed graph), NumPy by the processor's time of
each call of its recorded step, every other backend through cProfile, which sees Python and the calls that it makes. All
make short calls look longer than they are: the first line gives the step's time without them (on the CPU the
processor's, whoever else uses the machine), and the shares are what to read.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import numpy as np

from portgnn import load_graph
from portgnn.placing.prepared import Prepared
from portgnn.presets import preset
from portgnn.random import dropout_keys
from portgnn.registry import get_backend
from portgnn.training import initial_state, make_run

CHUNK = 64

Row = tuple[str, float, float]
"""Name, calls a step, µs a step."""


def by_torch(run: Callable[[], None], steps: int, device: str) -> list[Row]:
    from torch.profiler import ProfilerActivity, profile

    on_cpu = device == "cpu"
    with profile(activities=[ProfilerActivity.CPU if on_cpu else ProfilerActivity.CUDA]) as profiler:
        run()
    rows = [
        (each.key, each.count / steps, (each.self_cpu_time_total if on_cpu else each.self_device_time_total) / steps)
        for each in profiler.key_averages()
    ]
    return [row for row in rows if row[2] > 0]


def by_cprofile(run: Callable[[], None], steps: int) -> list[Row]:
    profiler = cProfile.Profile()
    profiler.runcall(run)
    # The rows of pstats, which its stubs leave out: (file, line, function) -> (calls, …, own seconds, …).
    found = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    return [(_named(*where), calls / steps, own * 1e6 / steps) for where, (calls, _, own, _, _) in found.items()]


def by_call(recording: Any, keys: Any) -> list[Row]:
    """Of a step recorded by the NumPy backend, each call: where the fastest tenth of its times begins."""
    names = dict(recording.names) | {"keys": keys.tolist()}
    calls = [compile(line, "<call>", "exec") for line in recording.lines]
    times = np.empty((200, len(calls) + 1))
    for turn in times:
        for at, call in enumerate((*calls, compile("None", "<nothing>", "exec"))):
            before = time.process_time_ns()
            exec(call, names)
            turn[at] = time.process_time_ns() - before
    *found, nothing = np.quantile(times, 0.1, axis=0) / 1e3
    return [
        (_described(line, names), 1, max(one - nothing, 0.0)) for line, one in zip(recording.lines, found, strict=True)
    ]


def _described(line: str, names: dict[str, Any]) -> str:
    """A call with its function's name and its arrays' shapes."""

    def described(match: re.Match[str]) -> str:
        value = names[match[0]]
        shape = getattr(value, "shape", None)
        return str(getattr(value, "__name__", "") or ("×".join(map(str, shape)) if shape else "·"))

    return re.sub(r"\bc\d+", described, line)


def _named(file: str, line: int, function: str) -> str:
    return f"{Path(file).parent.name}/{Path(file).name}:{function}" if line else function


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--device")
    parser.add_argument("--dataset", default="cora")
    parser.add_argument("--preset", default="pyg")
    parser.add_argument("--validate", action="store_true", help="epochs with validation")
    parser.add_argument("--chunks", type=int, default=5, help=f"of {CHUNK} steps")
    parser.add_argument("--top", type=int, default=20)
    given = parser.parse_args()

    backend = get_backend(given.backend, device=given.device)
    config = preset(given.preset)
    prepared = Prepared.of(load_graph(given.dataset), config)
    train = make_run(backend, prepared, validate=given.validate)
    state = initial_state(backend, prepared, 0)
    keys = dropout_keys(0, range(CHUNK), config.layers)

    def run() -> None:
        nonlocal state
        for _ in range(given.chunks):
            state, _ = train(state, keys)
        backend.synchronize(*state.values())

    run()
    steps = given.chunks * CHUNK
    clock = time.process_time if backend.device == "cpu" else time.perf_counter
    before = clock()
    run()
    undisturbed = (clock() - before) * 1e6 / steps
    recording = getattr(getattr(train, "__wrapped__", None), "recording", None)
    if given.backend == "torch":
        rows = by_torch(run, steps, backend.device)
    else:
        rows = by_call(recording, keys[0]) if recording is not None else by_cprofile(run, steps)
    rows.sort(key=lambda row: -row[2])
    total = sum(row[2] for row in rows)
    print(
        f"{given.backend} on {backend.device}, {given.dataset}, {given.preset}: {undisturbed:.0f} µs a step undisturbed"
    )
    print(f"{'share':>6} {'µs':>8} {'calls':>6}  of {total:.0f} µs under the profiler")
    for name, calls, microseconds in rows[: given.top]:
        print(f"{microseconds / total:6.1%} {microseconds:8.1f} {calls:6.1f}  {name[:90]}")


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
