"""Epochs in one persistent kernel beside the same as CUDA graphs: times, and how far apart their losses are.

    python bench/studies/persistent.py [--rounds 15] [--json bench/results/persistent-h100.json]

One row for each recipe of a network on Cora (and recipe `pyg` on Citeseer, with more columns, with every row computed),
with and without validation: ms an epoch of each, in chunks of 64 epochs as the training loop asks for them, copies of
the state in and out included, four calls of each in turn; the largest difference of their losses over 64 epochs; if
the kernel gives the same bits twice; seconds of the first call, which compiles what is not in Triton's cache (point
TRITON_CACHE_DIR at an empty folder); and why there is no kernel where there is none.

Needs torch with CUDA and Triton, cuda-bindings, and the citation graphs (PORTGNN_DATA).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import numpy as np
import torch

from portgnn import load_graph
from portgnn.benchmark.runner import git_revision
from portgnn.models.layer import streams_of
from portgnn.parts import FasterRun
from portgnn.placing.prepared import Prepared
from portgnn.presets import preset
from portgnn.random import dropout_keys
from portgnn.results.environment import machine
from portgnn.training import initial_state, make_run
from portgnn_torch import TorchBackend

CHUNK = 64
CALLS = 4
"""In one go, as in training: the first after other work waits for its instructions."""
ROWS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("pyg", {}),
    ("pyg", {"rows": "all"}),
    ("pyg", {"hidden": 64, "rows": "all"}),
    ("pyg", {"hidden": 128, "layers": 3}),
    ("kipf", {}),
    ("kipf", {"rows": "all"}),
    ("sage-hamilton", {}),
    ("gin-xu", {}),
    ("sgc-wu", {}),
    ("appnp-klicpera", {}),
    ("mlp", {}),
    ("cheb-defferrard", {}),
    ("gat-velickovic", {}),
    ("article", {}),
)


def compared(
    dataset: str, recipe: str, fields: dict[str, Any], validate: bool, dtype: str, rounds: int
) -> dict[str, Any]:
    backend = TorchBackend("cuda", dtype)
    prepared = Prepared.of(load_graph(dataset), preset(recipe, **fields))
    persistent: Any = make_run(backend, prepared, validate=validate)
    assert isinstance(persistent, FasterRun)
    state = initial_state(backend, prepared, 0)
    keys = dropout_keys(0, range(CHUNK), streams_of(prepared.layers))
    ways = {"kernel": persistent, "graphs": persistent.plain}
    first, losses = {}, {}
    for name, way in ways.items():
        began = time.perf_counter()
        _, losses[name] = way(dict(state), keys)
        first[name] = time.perf_counter() - began
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            torch.cuda.synchronize()
            began = time.perf_counter()
            for _ in range(CALLS):
                way(dict(state), keys)
            torch.cuda.synchronize()
            times[name].append((time.perf_counter() - began) * 1e3 / CHUNK / CALLS)
    ms = {name: statistics.median(taken) for name, taken in times.items()}
    if persistent.refused is not None:
        del ms["kernel"], first["kernel"]
    return {
        "dataset": dataset, "recipe": recipe, "fields": fields, "validate": validate, "dtype": dtype,
        "refused": persistent.refused, "ms": ms, "first_s": first,
        "losses_apart": float(np.abs(losses["kernel"] - losses["graphs"]).max()),
        "repeats": bool((persistent(dict(state), keys)[1] == losses["kernel"]).all()),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    asked = [("cora", recipe, fields, validate, "float32") for recipe, fields in ROWS for validate in (False, True)]
    asked += [("cora", "pyg", {}, True, "float64"), ("citeseer", "pyg", {}, True, "float32")]
    rows = []
    for each in asked:
        row = compared(*each, given.rounds)
        rows.append(row)
        how = " ".join(f"{name} {value:.4f}" for name, value in row["ms"].items())
        print(
            f"{each[0]:9} {each[1]:16} {each[2]} {'with validation' if each[3] else '':16}{how} {row['refused'] or ''}"
        )
    if given.json:
        document = {
            "kind": "persistent", "revision": git_revision(), "taken": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine() | TorchBackend.environment(), "chunk": CHUNK, "rounds": given.rounds, "rows": rows,
        }  # fmt: skip
        given.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
