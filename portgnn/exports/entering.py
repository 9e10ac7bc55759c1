"""A model out of another library's weights."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn import tasks
from portgnn._request import load, settle
from portgnn._system.files import is_file, is_folder
from portgnn.checkpoints.model import Model
from portgnn.errors import CheckpointError, ConfigError
from portgnn.exports.counterparts import entered
from portgnn.exports.leaving import exporter
from portgnn.graphs.graph import Graph
from portgnn.graphs.sets import GraphSet
from portgnn.models import Network
from portgnn.prediction.evaluation import split_codes

FORM = "state-dict"
FACTS = "model.json"
"""What an exported folder says of itself."""


def import_model(  # long: the docstring says what each argument is, and a record has a line a field
    state: Mapping[str, Any] | str | os.PathLike[str],
    model: str | type[Network] | None = None,
    graph: Graph | str | os.PathLike[str] | None = None,
    *,
    preset: str | None = None,
    split: str | None = None,
    unknown: str | Sequence[str] | None = None,
    ignore: str | Sequence[str] | None = None,
    announce: Callable[[str], None] | None = None,
    **hyperparameters: object,
) -> Model:
    """A model out of a state_dict of PyTorch Geometric's layers.

    state: the dictionary, of arrays or tensors, or a file that `torch.save` or safetensors wrote of it, or a folder of
        `portgnn.export(…, "pyg")`, which says all that follows by itself. Layers may have any names; they are taken in
        the order in which the file has them.
    model, preset, hyperparameters: the network, as for `portgnn.train`. graph: the one that it was trained on (None:
        that which such a folder names), for its features' number and names, its classes and its split.

    What was done to the features before belongs to the recipe: normalize_features. Raises ConfigError, naming the
    array, where the weights are not of this network, and CheckpointError for a file that cannot be read.
    """
    given = state if isinstance(state, Mapping) else None
    facts = {} if isinstance(state, Mapping) else _facts(Path(state))
    if facts and model is None and preset is None:
        model, graph = facts["model"], facts["trained_on"] or None if graph is None else graph
        own = {name: value for name, value in facts["recipe"].items() if name not in ("preset", "model", "task")}
        hyperparameters = own | hyperparameters
        preset = facts["recipe"]["preset"]
    if model is None or graph is None:
        missing = "network, as in model='gcn' (--model gcn)" if model is None else "graph (--dataset)"
        raise ConfigError(f"weights do not say what they are of: name the {missing}")
    arrays = _arrays(given) if given is not None else _read(Path(state))  # type: ignore[arg-type]
    tell = announce or (lambda message: None)
    hyperparameters.setdefault("task", "auto")
    request = settle(
        graph, preset, model, hyperparameters, seed=None, split=split, unknown=unknown, ignore=ignore, backend=None,
        device=None, dtype=None, resume=None, checkpoint=None,
    )  # fmt: skip
    loaded = load(request, False, tell)
    graph_ = loaded.graph
    task = tasks.of(loaded.config, graph_)
    if isinstance(graph_, GraphSet) or task.about != "nodes":
        raise ConfigError("weights of another library become networks that say something of nodes, and no others")
    layers = loaded.config.network.built(graph_.num_features, task.width(task.outputs))
    params = entered(layers, arrays)
    wide = any(value.dtype == np.float64 for value in arrays.values())
    trained = Model(
        {name: value.astype(np.float64 if wide else np.float32) for name, value in params.items()},
        loaded.config,
        task.names,
        graph_.num_features,
        graph_.name,
        loaded.fingerprint,
        graph_.feature_names,
        loaded.moments,
        split_codes(graph_),
        loaded.structure,
        task.constants(),
    )
    try:
        trained.check()
    except CheckpointError as error:
        raise ConfigError(f"the weights make no model: {error}") from None
    return trained


def _facts(source: Path) -> dict[str, Any]:
    """What a folder that `portgnn export` wrote says of its weights; {} for any other file."""
    if not is_folder(source, CheckpointError):
        return {}
    try:
        found = json.loads((source / FACTS).read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not isinstance(found["recipe"], dict):
            raise ValueError("it says nothing of a recipe")
        return found | {"model": str(found["model"]), "trained_on": str(found["trained_on"])}
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{source} is no folder of portgnn export: {str(error)[:150]}") from None


def _read(source: Path) -> dict[str, NDArray[np.floating]]:
    if source.suffix == ".safetensors" and is_file(source, CheckpointError):
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return _arrays(load_file(source))
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{source} is not a readable safetensors file: {str(error)[:150]}") from None
    if not is_folder(source, CheckpointError) and not is_file(source, CheckpointError):
        raise CheckpointError(f"there is no file of weights {source}")
    try:
        return _arrays(exporter(FORM).read(source))
    except (ValueError, OSError) as error:
        if isinstance(error, ConfigError):
            raise
        raise CheckpointError(f"{source}: {str(error)[:300]}") from None


def _arrays(given: Mapping[str, object]) -> dict[str, NDArray[np.floating]]:
    """Arrays of a dictionary whose values may be tensors of a framework, on the host."""
    found = {}
    for name, value in given.items():
        value = value.detach() if hasattr(value, "detach") else value
        array = np.asarray(value.cpu() if hasattr(value, "cpu") else value)
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ConfigError(f"{str(name)[:60]} is no array of finite floating numbers")
        found[str(name)] = array
    return found
