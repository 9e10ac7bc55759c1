"""A process of a distributed run, for the tests: trains, and the first one writes what came out as JSON.

    launched.py OUT BACKEND DTYPE PARTITION DATASET RECIPES

PARTITION: "ranges" of nodes, or "random", which gives each node to a process drawn at random. RECIPES: trained one
after the other, as JSON: [[preset, {hyperparameter: value}], …].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from judged import judged

from portgnn import get_backend, load_graph
from portgnn.distributed.loop import Distributed
from portgnn.distributed.partition import Partition
from portgnn.distributed.watch import Watch
from portgnn.graphs.split import split
from portgnn.loaders.source import InMemory
from portgnn.placing.prepared import Prepared
from portgnn.presets import preset
from portgnn.registry import backend_class
from portgnn.training import fit

out, name, dtype, how, dataset, recipes = sys.argv[1:]
watch = Watch(20.0)
collectives = backend_class(name).join(None, 20.0, watch)  # type: ignore[attr-defined]
graph = load_graph(dataset)
partition = Partition(bounds=np.linspace(0, graph.num_nodes, collectives.size + 1).astype(np.int64))
if how == "random":
    drawn = np.random.default_rng(3).integers(0, collectives.size, graph.num_nodes).astype(np.int32)
    partition = Partition(owner=drawn)


def trained(recipe: str, options: dict[str, Any]) -> dict[str, Any]:
    whole = judged(graph, options)
    source = InMemory(Prepared.of(whole, preset(recipe, **{"epochs": 25, **options})))
    engine = Distributed(get_backend(name, device="cpu", dtype=dtype), source, collectives, watch, partition)
    done = fit(engine, 3)
    parts = [engine._place(split(whole, name).nodes, training=name == "train") for name in ("train", "val")]
    assert whole.test is not None
    metrics = {name: values for name, values in done.history.curves.items() if name.startswith("val_")}
    return {
        "train_loss": done.history.train_loss,
        "val_loss": done.history.val_loss,
        "metrics": {name: values for name, values in metrics.items() if name != "val_loss"},
        "scores": engine.scores(done.params, whole.test),
        "multiplied": [[matrix is None for matrix in part.adjacency] for part in parts],
        "params": {key: value.tolist() for key, value in done.params.items()},
    }


documents = [trained(recipe, options) for recipe, options in json.loads(recipes)]
Path(f"{out}.{collectives.rank}").write_text(json.dumps(documents))
collectives.close()
