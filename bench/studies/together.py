"""What a seed costs where seeds train together, beside one call of `portgnn.train` after the other.

    python bench/studies/together.py --json bench/results/together.json

In turns, on one core and by the time that this process computed (`time.process_time`), so that what else runs on the
machine counts little: `portgnn.train("cora", seed=s)`; the same from the graph in memory; and a study's job of several
seeds, by which a process of `portgnn study` trains them. Each seed's curves are compared with its own run's. Processes
beside each other multiply what is here by the cores that are free.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import portgnn
from portgnn.presets import preset
from portgnn.results.environment import machine
from portgnn.studies.plan import Reading
from portgnn.studies.work import Job, Seed, Trainer

RESULTS = Path(__file__).parents[1] / "results" / "together.json"


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    clock = time.process_time()
    found = call()
    return time.process_time() - clock, found


def row(dataset: str, recipe: str, backend: str, dtype: str, seeds: int, rounds: int) -> dict[str, Any]:
    graph, options = (
        portgnn.load_graph(dataset),
        {"preset": recipe, "backend": backend, "device": "cpu", "dtype": dtype},
    )
    train = Trainer([dataset], Reading())
    times: dict[str, list[float]] = {"by name": [], "in memory": [], "study": []}
    furthest = 0.0
    with tempfile.TemporaryDirectory() as folder:

        def job(first: int) -> dict[int, Any]:
            runs = tuple(Seed(seed, Path(folder) / f"{seed}.json", {}) for seed in range(first, first + seeds))
            found: dict[int, Any] = {}
            train(
                Job(0, None, preset(recipe), backend, "cpu", dtype, runs),
                lambda each, document: found.update({each.seed: document}),
            )
            return found

        job(0)  # what is compiled and read once
        for at in range(rounds):
            taken, found = timed(lambda at=at: job(at * seeds))  # type: ignore[misc]
            times["study"].append(taken / seeds)
            for seed in (at * seeds, at * seeds + seeds - 1):
                taken, _ = timed(lambda seed=seed: portgnn.train(dataset, seed=seed, **options))  # type: ignore[misc]
                times["by name"].append(taken)
                taken, alone = timed(lambda seed=seed: portgnn.train(graph, seed=seed, **options))  # type: ignore[misc]
                times["in memory"].append(taken)
                curves = alone.history.curves
                differences = [
                    np.abs(np.subtract(found[seed][name], curves[name])).max() for name in ("train_loss", "val_loss")
                ]
                furthest = max(furthest, *map(float, differences))
    low = {name: float(np.percentile(values, 10)) for name, values in times.items()}
    return {
        "dataset": dataset, "recipe": recipe, "backend": backend, "dtype": dtype, "together": seeds,
        "seconds": {name: statistics.median(values) for name, values in times.items()}, "low": low,
        "of one by name": low["by name"] / low["study"], "of one in memory": low["in memory"] / low["study"],
        "largest difference": furthest,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default="numpy,torch")
    parser.add_argument("--recipes", default="pyg,kipf")
    parser.add_argument("--dtypes", default="float32,float64")
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    document: dict[str, Any] = {"what": __doc__, "machine": machine(), "rows": []}
    if options.json.exists():
        document = json.loads(options.json.read_text())
    for dtype in options.dtypes.split(","):
        for backend in options.backends.split(","):
            for recipe in options.recipes.split(","):
                found = row("cora", recipe, backend, dtype, options.seeds, options.rounds)
                print(
                    f"{recipe} {backend} {dtype}: {found['of one by name']:.2f} x by name, "
                    f"{found['of one in memory']:.2f} x in memory, difference {found['largest difference']:.1e}",
                    flush=True,
                )
                same = ("dataset", "recipe", "backend", "dtype")
                document["rows"] = [each for each in document["rows"] if any(each[n] != found[n] for n in same)] + [
                    found
                ]
                options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
