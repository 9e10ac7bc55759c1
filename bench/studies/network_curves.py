"""Each network trained in every way that must not matter: the largest difference of its losses from NumPy's.

    python bench/studies/network_curves.py run --json bench/results/network-curves.json [--models gat gcn2]
    python bench/studies/network_curves.py table bench/results/network-curves.json

Each network is trained by its first recipe, without early stopping: on NumPy, where each epoch computes the rows that
the loss needs; on the other backends; with all rows computed; in one batch of sampled neighbourhoods that takes every
neighbour; and in two processes (torch, gloo). The relative difference of training and validation loss is the largest of
all epochs. `run` writes after each row, and leaves out what the file has.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import portgnn
from bench.studies.distributed import train as launched
from portgnn.results.environment import machine

ALONE: dict[str, dict[str, Any]] = {
    "torch": {"backend": "torch"},
    "mlx": {"backend": "mlx"},
    "jax": {"backend": "jax"},
    "all rows": {"backend": "numpy", "rows": "all"},
    "one batch": {"backend": "numpy", "loader": "neighbor", "fanout": "all", "batch_size": 1_000_000},
}
TWO = "two processes"
WAYS = (*ALONE, TWO)
CURVES = ("train_loss", "val_loss")


def losses(document: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[2, epochs]."""
    return np.array([document[name] for name in CURVES])


def trained(dataset: str, preset: str, dtype: str, epochs: int, **way: Any) -> dict[str, Any]:
    """A result document of a run on the CPU in this process."""
    asked: dict[str, Any] = {"device": "cpu", "dtype": dtype, "epochs": epochs, "patience": 0} | way
    return portgnn.train(dataset, preset=preset, seed=0, **asked).to_dict()


def in_two(dataset: str, preset: str, dtype: str, epochs: int) -> dict[str, Any]:
    options = ["--dataset", dataset, "--preset", preset, "--dtype", dtype, "--epochs", str(epochs)]
    return launched([*options, "--patience", "0", "--seed", "0"], "gloo", 2)


def run(given: argparse.Namespace) -> None:
    document: dict[str, Any] = json.loads(given.json.read_text()) if given.json.exists() else {"rows": []}
    document |= {"format": "portgnn-network-curves", "machine": machine()}
    done = {(row["model"], row["way"]) for row in document["rows"]}
    for facts in portgnn.models():
        missing = [way for way in WAYS if (facts.name, way) not in done]
        if (given.models and facts.name not in given.models) or not missing:
            continue
        asked = given.dataset, facts.presets[0], given.dtype, given.epochs
        wanted = losses(trained(*asked, backend="numpy"))
        for way in missing:
            clock = time.perf_counter()
            found = losses(in_two(*asked) if way == TWO else trained(*asked, **ALONE[way]))
            row = {
                "model": facts.name, "preset": facts.presets[0], "dataset": given.dataset, "dtype": given.dtype,
                "epochs": given.epochs, "way": way, "difference": float(np.max(np.abs(found - wanted) / wanted)),
                "seconds": time.perf_counter() - clock, "made": datetime.now(UTC).isoformat(timespec="seconds"),
            }  # fmt: skip
            document["rows"].append(row)
            given.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            print(f"{row['model']} {way}: {row['difference']:.1e} in {row['seconds']:.0f} s", flush=True)


def table(document: dict[str, Any]) -> str:
    """A row a network, a column a way."""
    found = {(row["model"], row["way"]): row["difference"] for row in document["rows"]}
    lines = [f"| network | {' | '.join(WAYS)} |", f"|---|{'---:|' * len(WAYS)}"]
    for model in dict.fromkeys(row["model"] for row in document["rows"]):
        cells = (f"{found[model, way]:.1e}" if (model, way) in found else "" for way in WAYS)
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    taking = commands.add_parser("run")
    taking.add_argument("--models", nargs="+", default=[])
    taking.add_argument("--dataset", default="cora")
    taking.add_argument("--dtype", default="float64")
    taking.add_argument("--epochs", type=int, default=200)
    taking.add_argument("--json", type=Path, required=True)
    commands.add_parser("table").add_argument("file", type=Path)
    given = parser.parse_args()
    if given.command == "run":
        run(given)
    else:
        print(table(json.loads(given.file.read_text())))


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
