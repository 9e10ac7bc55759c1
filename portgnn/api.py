"""The calls that most users need: `train` and `predict`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn import environment, model
from portgnn.checkpoint import Model
from portgnn.errors import ConfigError, GraphError
from portgnn.graph import Graph
from portgnn.operands import Prepared, place
from portgnn.presets import preset as named_preset
from portgnn.protocol import Backend
from portgnn.registry import get_backend
from portgnn.training import History, fit


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A finished run.

    model: the trained network, on the host. history: a value an epoch. best_epoch: the epoch, from 0, of the
    lowest validation loss (of the last epoch where nothing was validated). test_accuracy: None without a test
    split. rng: "portable" bits are the same on every backend.
    """

    model: Model
    history: History
    test_accuracy: float | None
    best_epoch: int
    stopped_early: bool
    dataset: str
    nodes: int
    edges: int
    backend: str
    device: str
    dtype: str
    seed: int
    notes: tuple[str, ...]
    environment: dict[str, Any]
    rng: str = "portable"

    @property
    def epochs_run(self) -> int:
        return len(self.history)

    @property
    def first_epoch_ms(self) -> float:
        """Milliseconds of the first epoch, compilation and warm-up included."""
        return self.history.epoch_ms[0]

    @property
    def median_train_ms(self) -> float:
        """Median milliseconds of an epoch after the first: training step and validation, as training ran them."""
        return float(np.median(self.history.epoch_ms[1:] or self.history.epoch_ms))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Saves the model as safetensors. Raises CheckpointError where the file cannot be written."""
        return self.model.save(path)

    def to_dict(self) -> dict[str, Any]:
        """The run as one JSON document."""
        return {
            "dataset": self.dataset,
            "nodes": self.nodes,
            "edges": self.edges,
            "backend": self.backend,
            "device": self.device,
            "dtype": self.dtype,
            "preset": self.model.config.preset,
            "seed": self.seed,
            "epochs_run": self.epochs_run,
            "best_epoch": self.best_epoch,
            "stopped_early": self.stopped_early,
            "train_loss": self.history.train_loss,
            "val_loss": self.history.val_loss,
            "val_accuracy": self.history.val_accuracy,
            "test_accuracy": self.test_accuracy,
            "median_train_ms": self.median_train_ms,
            "first_epoch_ms": self.first_epoch_ms,
            "rng": self.rng,
            "notes": list(self.notes),
            "config": asdict(self.model.config),
            "environment": self.environment,
        }


def train(
    dataset: str | os.PathLike[str] | Graph | None = None,
    *,
    backend: str | Backend = "numpy",
    device: str | None = None,
    dtype: str = "float32",
    preset: str = "kipf",
    seed: int = 0,
    epochs: int | None = None,
    patience: int | None = None,
    on_chunk: Callable[[History], None] | None = None,
    announce: Callable[[str], None] | None = None,
    **hyperparameters: Any,
) -> TrainResult:
    """Trains the GCN and tests it.

    dataset: a name, a path, a Graph, or None for Cora where it can be had (else a synthetic graph of its size).
    backend: a registered name with `device` (None: the fastest that works) and `dtype`, or a Backend.
    preset: the recipe; epochs, patience and every other field of `portgnn.presets.Config` replace its values.
    on_chunk: called with the history as training proceeds. announce: called with what the user should know.

    Raises PortgnnError (BackendError, ConfigError, DatasetError, GraphError) for what cannot be used.
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ConfigError(f"seed={seed!r} must be an integer, 0 or more")
    tell = announce or (lambda message: None)
    config = named_preset(preset, epochs=epochs, patience=patience, **hyperparameters)
    on = _resolve(backend, device, dtype)
    if device is None and isinstance(backend, str):
        tell(f"{on.name} runs on {on.device}, the fastest device here that passes its self-check.")
    graph = _load(dataset, tell)
    prepared = Prepared.of(graph, config)
    done = fit(on, prepared, seed, on_chunk)
    trained = Model(done.params, config, graph.class_names, graph.num_features, graph.name)
    accuracy = None
    if graph.test is not None:
        assert graph.labels is not None
        logits = _logits(on, trained, graph, prepared)
        accuracy = float(np.mean(logits[graph.test].argmax(axis=1) == graph.labels[graph.test]))
    return TrainResult(
        model=trained,
        history=done.history,
        test_accuracy=accuracy,
        best_epoch=done.best_epoch,
        stopped_early=done.stopped_early,
        dataset=graph.name,
        nodes=graph.num_nodes,
        edges=graph.num_edges,
        backend=on.name,
        device=on.device,
        dtype=on.dtype,
        seed=seed,
        notes=graph.notes,
        environment=environment.of(on),
    )


def predict(
    model_or_path: Model | TrainResult | str | os.PathLike[str],
    graph: Graph | str | os.PathLike[str],
    *,
    backend: str | Backend = "numpy",
    device: str | None = None,
    dtype: str = "float32",
) -> NDArray[Any]:
    """Logits [nodes, classes] of a trained model, on any backend, for the graph it was trained on or another.

    Raises GraphError where the graph's features do not fit the model, CheckpointError for an unreadable file.
    """
    if isinstance(model_or_path, TrainResult):
        trained = model_or_path.model
    elif isinstance(model_or_path, Model):
        trained = model_or_path
    else:
        trained = Model.load(model_or_path)
    target = _load(graph, lambda message: None)
    if target.num_features != trained.num_features:
        raise GraphError(
            f"{target.name} has {target.num_features} features a node; the model was trained on "
            f"{trained.dataset or 'a graph'} with {trained.num_features}"
        )
    return _logits(_resolve(backend, device, dtype), trained, target, Prepared.of(target, trained.config))


def _logits(backend: Backend, trained: Model, graph: Graph, prepared: Prepared) -> NDArray[Any]:
    operands = place(backend, prepared, None, training=False)
    params = {name: backend.asarray(value) for name, value in trained.params.items()}
    return backend.to_numpy(model.gcn(backend, params, operands, trained.config))


def _resolve(backend: str | Backend, device: str | None, dtype: str) -> Backend:
    if isinstance(backend, str):
        return get_backend(backend, device=device, dtype=dtype)
    return backend


def _load(dataset: str | os.PathLike[str] | Graph | None, announce: Callable[[str], None]) -> Graph:
    if isinstance(dataset, Graph):
        return dataset
    from portgnn.datasets import load_graph

    return load_graph(None if dataset is None else os.fspath(dataset), announce=announce)
