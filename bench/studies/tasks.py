"""Curves of 200 epochs of each task of nodes, float64, against NumPy's: `bench/results/tasks.json`.

    python bench/studies/tasks.py [--epochs 200] [--out bench/results/tasks.json]
    python bench/studies/tasks.py --processes 2

The first: on every backend. The second: torch's, by so many processes (torchrun with gloo) beside one of torch's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import portgnn
from portgnn import Graph

BACKENDS = ("numpy", "torch", "jax", "mlx")
RECIPES: dict[str, dict[str, Any]] = {
    "classes": {},
    "classes, balanced and smoothed": {"class_weights": "balanced", "label_smoothing": 0.1, "monitor": "val_macro_f1"},
    "labels": {},
    "labels, balanced": {"class_weights": "balanced", "monitor": "val_roc_auc"},
    "regression, squared": {"loss": "squared"},
    "regression, absolute": {"loss": "absolute"},
    "regression, huber": {"loss": "huber", "huber_delta": 0.5, "monitor": "val_r2"},
}


def graph_of(kind: str, nodes: int = 200) -> Graph:
    """A drawn graph whose labels or targets depend on the features, some of them unknown."""
    random = np.random.default_rng(7)
    features = random.standard_normal((nodes, 8))
    signal = features @ random.standard_normal((8, 3)) + 0.3 * random.standard_normal((nodes, 3))
    given: Any = signal.argmax(axis=1)
    if kind == "labels":
        given = (signal > 0.5).astype(float)
        given[::9, 1] = np.nan
    elif kind == "regression":
        given = signal[:, :2] * [1e5, 1.0] + [1e6, 0.0]
        given[::9, 1] = np.nan
    parts = {"train": range(100), "val": range(100, 150), "test": range(150, nodes)}
    return Graph.from_edges(random.integers(0, nodes, (3 * nodes, 2)), features, given, **parts)


def curves(name: str, backend: str, epochs: int, **how: Any) -> dict[str, list[float]]:
    recipe: dict[str, Any] = {"patience": 0, "dtype": "float64", "normalize_features": "none"} | RECIPES[name]
    result = portgnn.train(graph_of(name.split(",")[0]), backend=backend, epochs=epochs, **recipe, **how)
    measured = {each: values for each, values in result.history.curves.items() if each != "epoch_ms"}
    return measured | {f"test_{each}": [value] for each, value in result.scores.items()}


def differences(name: str, epochs: int) -> dict[str, dict[str, float]]:
    """By backend and curve, the largest difference from NumPy's, relative to the curve's largest value."""
    first, *others = BACKENDS
    want, found = curves(name, first, epochs), {}
    for backend in others:
        got = curves(name, backend, epochs)
        found[backend] = {
            each: float(np.abs(np.array(got[each]) - values).max() / max(np.abs(values).max(), 1e-300))
            for each, values in want.items()
        }
    return found


def together(epochs: int, processes: int) -> dict[str, dict[str, float]]:
    """By task and curve, the largest difference of a run in several processes from one in one, relative as above."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--standalone"]
    found = {}
    for name in RECIPES:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "curves.json"
            asked = ["--epochs", str(epochs), "--child", str(out), "--recipe", name]
            subprocess.run([*launcher, __file__, *asked], check=True)
            got = json.loads(out.read_text())
        found[name] = {
            each: float(np.abs(np.array(got[each]) - values).max() / max(np.abs(values).max(), 1e-300))
            for each, values in curves(name, "torch", epochs).items()
        }
    return found


def child(name: str, epochs: int, out: Path) -> None:
    """One of the processes; the first writes."""
    found = curves(name, "torch", epochs, distributed=True, transport="gloo")
    if os.environ["RANK"] == "0":
        out.write_text(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--recipe", help=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("bench/results/tasks.json"))
    options = parser.parse_args()
    if options.child:
        child(options.recipe, options.epochs, options.child)
        return
    if options.processes:
        both = together(options.epochs, options.processes)
        largest = max(value for each in both.values() for value in each.values())
        kept = json.loads(options.out.read_text()) if options.out.exists() else {}
        kept["processes"] = {"processes": options.processes, "worst": largest, "differences": both}
        options.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        print(f"worst relative difference of {options.processes} processes from one: {largest:.2g}")
        return
    found = {name: differences(name, options.epochs) for name in RECIPES}
    worst = max(value for each in found.values() for one in each.values() for value in one.values())
    kept = json.loads(options.out.read_text()) if options.out.exists() else {}
    document = kept | {"epochs": options.epochs, "dtype": "float64", "nodes": 200, "worst": worst, "differences": found}
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"worst relative difference of {len(RECIPES)} trainings from NumPy's: {worst:.2g}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from bench.harness.ending import ended

    ended(main)
