"""The link task: its curves on every backend, Cora's links beside the published, and runs that are killed and go on.

    python bench/studies/links.py curves --json bench/results/links.json [--backends torch mlx jax]
    python bench/studies/links.py accuracy --json bench/results/links.json [--seeds 10] [--preset gae-kipf] [--split 0]
    python bench/studies/links.py kills --json bench/results/links.json [--kills 20]
    python bench/studies/links.py table bench/results/links.json

curves: the recipe `gae` on Cora for 200 epochs in float64, with either decoder, the second with dropout, edges that are
asked for alone, and two negative pairs an edge, and with every pair; the largest difference of any curve from NumPy's,
and of the test's metrics. accuracy: test metrics over seeds, each with a split of its own, beside the graph
auto-encoder's in table 2 of Kipf & Welling 2016, Variational graph auto-encoders; with --split, all seeds share one,
as theirs do. kills: a run that kills itself (SIGKILL) at drawn epochs and goes on from its file after each;
whether parameters and curves are those of an undisturbed run, bit for bit.

Each writes into its part of the file and leaves the others.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import portgnn
from portgnn.metrics import EPOCH_MS
from portgnn.results.environment import machine

PUBLISHED = {"roc_auc": 91.0, "average_precision": 92.0}
"""In percent: GAE on Cora."""
DATASET = "cora"
RECIPES: dict[str, dict[str, Any]] = {
    "dot": {},
    "mlp": {"decoder": "mlp", "dropout": 0.5, "input_dropout": 0.5, "link_apart": 0.2, "negatives": 2},
    "every pair": {"preset": "gae-kipf"},
}
EPOCHS, KILLED_EPOCHS, EVERY = 200, 100, 3


def trained(recipe: str, **options: Any) -> portgnn.TrainResult:
    asked = {"dataset": DATASET, "preset": "gae", "device": "cpu", "dtype": "float64", "epochs": EPOCHS, "seed": 0}
    return portgnn.train(**(asked | RECIPES[recipe] | options))


def curves_of(result: portgnn.TrainResult) -> dict[str, list[float]]:
    return {name: values for name, values in result.history.curves.items() if name != EPOCH_MS}


def curves(given: argparse.Namespace) -> None:
    rows = read(given.json).get("curves", [])
    for recipe in RECIPES:
        done = {row["backend"] for row in rows if row["recipe"] == recipe}
        wanted = [name for name in given.backends if name not in done]
        if not wanted:
            continue
        reference = trained(recipe, backend="numpy")
        for backend in wanted:
            ours = trained(recipe, backend=backend)
            differences = {
                name: float(np.abs(np.array(curves_of(ours)[name]) - values).max())
                for name, values in curves_of(reference).items()
            }
            test = {name: abs(ours.scores[name] - value) for name, value in reference.scores.items()}
            rows.append({"recipe": recipe, "backend": backend, "epochs": EPOCHS, "curves": differences, "test": test})
            write(given.json, curves=rows)
            print(recipe, backend, max(differences.values()), max(test.values()), flush=True)


def accuracy(given: argparse.Namespace) -> None:
    rows = read(given.json).get("accuracy", {}).get("rows", [])
    negatives = None if given.preset == "gae-kipf" else given.negatives
    for seed in range(given.seeds):
        what = {"seed": seed, "preset": given.preset, "negatives": negatives or 0, "split": given.split}
        if any(what.items() <= row.items() for row in rows):
            continue
        options: dict[str, Any] = {"link_seed": given.split, "backend": given.backends[0], "dtype": given.dtype}
        result = trained("dot", preset=given.preset, seed=seed, negatives=negatives, **options)
        rows.append(what | {"backend": given.backends[0], "dtype": given.dtype, **result.scores})
        print(rows[-1], flush=True)
        write(given.json, accuracy={"dataset": DATASET, "published": PUBLISHED, "rows": rows})


def kills(given: argparse.Namespace) -> None:
    """One run of KILLED_EPOCHS epochs, in as many processes as it is killed and one more."""
    draw = np.random.default_rng(given.draw)
    at = np.sort(draw.choice(np.arange(1, KILLED_EPOCHS), given.kills, replace=False)).tolist()
    undisturbed = trained("mlp", backend="numpy", epochs=KILLED_EPOCHS)
    with tempfile.TemporaryDirectory() as folder:
        kept, model, found = (Path(folder) / name for name in ("run.ckpt", "model.safetensors", "curves.json"))
        ends = []
        for epoch in [*at, 0]:
            command = [sys.executable, __file__, "child", str(kept), str(epoch), str(model), str(found)]
            ends.append(subprocess.run(command, check=False).returncode)
        params = portgnn.Model.load(model).params
        same = all((params[name] == value).all() for name, value in undisturbed.model.params.items())
        same_curves = json.loads(found.read_text()) == curves_of(undisturbed) | {"scores": undisturbed.scores}
    killed = ends.count(-signal.SIGKILL)
    outcome = {"kills": killed, "at": at, "kept_every": EVERY, "same_parameters": same, "same_curves": same_curves}
    print(outcome)
    write(
        given.json, kills=outcome | {"draw": given.draw, "dataset": DATASET, "recipe": "mlp", "epochs": KILLED_EPOCHS}
    )


def child(given: argparse.Namespace) -> None:
    """Trains, or goes on, and kills itself when it has done so many epochs; 0: goes on to the end."""

    def on_chunk(history: Any) -> None:
        if given.epoch and len(history) >= given.epoch:
            os.kill(os.getpid(), signal.SIGKILL)

    if given.kept.exists():
        result = portgnn.train(resume=given.kept, on_chunk=on_chunk, every=EVERY)
    else:
        options = {"epochs": KILLED_EPOCHS, "checkpoint": given.kept, "every": EVERY, "on_chunk": on_chunk}
        result = trained("mlp", backend="numpy", **options)
    result.save(given.model)
    given.found.write_text(json.dumps(curves_of(result) | {"scores": result.scores}))


def table(given: argparse.Namespace) -> None:
    document = read(given.file)
    for row in document.get("curves", []):
        largest = max(row["curves"].values())
        print(f"{row['recipe']:5} {row['backend']:6} {row['epochs']} epochs  curves {largest:.1e}  ", end="")
        print(f"test {max(row['test'].values()):.1e}")
    rows = document.get("accuracy", {"rows": []})["rows"]
    for what in dict.fromkeys((row["preset"], row["negatives"], row["split"]) for row in rows):
        found = [row for row in rows if (row["preset"], row["negatives"], row["split"]) == what]
        for name, published in PUBLISHED.items():
            values = 100 * np.array([row[name] for row in found])
            said = f"{values.mean():.1f} ± {values.std(ddof=1):.1f} of {len(values)} seeds, published {published}"
            print(f"{what[0]:8} {what[1]:2} negatives an edge, split {what[2]:2} (-1: the seed's): {name:18} {said}")
    if "kills" in document:
        outcome = document["kills"]
        print(f"{outcome['kills']} kills: parameters {outcome['same_parameters']}, curves {outcome['same_curves']}")


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def write(path: Path, **parts: Any) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    document = read(path) | {"format": "portgnn-links", "machine": machine(), "when": now} | parts
    path.write_text(json.dumps(document, indent=1) + "\n")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for function in (curves, accuracy, kills):
        command = commands.add_parser(function.__name__)
        command.add_argument("--json", type=Path, required=True)
        command.set_defaults(run=function)
        command.add_argument("--backends", nargs="+", default=["torch", "mlx", "jax"])
        command.add_argument("--seeds", type=int, default=10)
        command.add_argument("--negatives", type=int, default=1)
        command.add_argument("--preset", choices=("gae", "gae-kipf"), default="gae")
        command.add_argument("--split", type=int, default=-1)
        command.add_argument("--dtype", default="float64")
        command.add_argument("--kills", type=int, default=20)
        command.add_argument("--draw", type=int, default=0)
    command = commands.add_parser("child")
    command.add_argument("kept", type=Path)
    command.add_argument("epoch", type=int)
    command.add_argument("model", type=Path)
    command.add_argument("found", type=Path)
    command.set_defaults(run=child)
    command = commands.add_parser("table")
    command.add_argument("file", type=Path)
    command.set_defaults(run=table)
    given = parser.parse_args(arguments)
    given.run(given)


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main, sys.argv[1:])
