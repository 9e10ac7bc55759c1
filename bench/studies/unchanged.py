"""Whether the published numbers moved: `kipf` and `pyg` on Cora and Citeseer, seeds 0 to 9, to the bit.

python bench/studies/unchanged.py take [--file bench/results/unchanged.json]      of a revision's own tree
python bench/studies/unchanged.py compare [--file bench/results/unchanged.json]   of this tree, with the file;
                                          [--out FILE] keeps what came out

A run's digest is that of its losses, its parameters and the epoch that they belong to. Sums of another processor or
library have other last bits, so digests are compared where both are the file's; accuracies are, everywhere.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import portgnn
from portgnn.benchmark.runner import git_revision
from portgnn.registry import backend_class
from portgnn.results.environment import machine

RESULTS = Path(__file__).resolve().parents[1] / "results" / "unchanged.json"
DATASETS, PRESETS, BACKENDS, SEEDS = ("cora", "citeseer"), ("kipf", "pyg"), ("numpy", "torch"), 10


def rows() -> list[str]:
    return [" / ".join(parts) for parts in ((d, p, b) for d in DATASETS for p in PRESETS for b in BACKENDS)]


def run(key: str, seed: int) -> tuple[float, str]:
    """Test accuracy and digest of one run in float32, as `portgnn.train` makes it."""
    dataset, preset, backend = key.split(" / ")
    result = portgnn.train(dataset, backend=backend, device="cpu", dtype="float32", preset=preset, seed=seed)
    digest = hashlib.sha256()
    for losses in (result.history.train_loss, result.history.val_loss, [float(result.best_epoch)]):
        digest.update(np.array(losses, dtype=np.float64).tobytes())
    for name, value in sorted(result.model.params.items()):
        digest.update(name.encode() + np.ascontiguousarray(value).tobytes())
    assert result.test_accuracy is not None
    return result.test_accuracy, digest.hexdigest()[:16]


def surroundings() -> dict[str, Any]:
    """What decides last bits: the processor and the libraries."""
    kept = {name: machine()[name] for name in ("machine", "processor")}
    return kept | {name: backend_class(name).environment()["version"] for name in BACKENDS}


def compared(document: dict[str, Any], chosen: list[tuple[str, int]]) -> Iterator[str]:
    """A line for each of the chosen runs that is not as in the file."""
    bits = document["surroundings"] == surroundings()
    for key, seed in chosen:
        accuracy, digest = run(key, seed)
        was = document["runs"][key][seed]
        if accuracy != was["accuracy"]:
            yield f"{key}, seed {seed}: accuracy {accuracy}, was {was['accuracy']}"
        elif bits and digest != was["digest"]:
            yield f"{key}, seed {seed}: the same accuracy, other bits"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("take", "compare"))
    parser.add_argument("--file", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, help="of compare: a file for the verdict")
    options = parser.parse_args()
    if options.command == "take":
        runs = {}
        for key in rows():
            pairs = [run(key, seed) for seed in range(SEEDS)]
            runs[key] = [{"accuracy": accuracy, "digest": digest} for accuracy, digest in pairs]
            print(f"{key}: mean accuracy {np.mean([accuracy for accuracy, _ in pairs]):.4f}", flush=True)
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in runs.items()]
        head = json.dumps({"format": "portgnn-unchanged", "surroundings": surroundings()})[:-1]
        options.file.write_text(f'{head}, "runs": {{\n' + ",\n".join(lines) + "}}\n")
        return 0
    document = json.loads(options.file.read_text())
    wrong = list(compared(document, [(key, seed) for key in rows() for seed in range(SEEDS)]))
    for line in wrong:
        print(line)
    to_the_bit = "to the bit" if document["surroundings"] == surroundings() else "by their accuracy alone"
    runs = len(rows()) * SEEDS
    print(f"{runs - len(wrong)} of {runs} runs are unchanged, {to_the_bit}")
    if options.out:
        found = {"format": "portgnn-unchanged-verdict", "made": datetime.now(UTC).isoformat(timespec="seconds")}
        found |= {"git": git_revision(), "surroundings": surroundings(), "runs": runs, "unchanged": runs - len(wrong)}
        options.out.write_text(json.dumps(found | {"compared": to_the_bit, "others": wrong}, indent=1) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
