"""What a finished run leaves."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from portgnn.checkpoint import Model
from portgnn.training import History


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A finished run.

    model: the trained network, on the host. history: a value an epoch. best_epoch: the epoch, from 0, of the
    lowest validation loss (of the last epoch where nothing was validated). test_accuracy: None without a test
    split. rng: "portable" bits are the same on every backend. process: the number of this one among the `processes`
    that trained together, from 0; results are the same on all.
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
    process: int = 0
    processes: int = 1

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
            "processes": self.processes,
            "notes": list(self.notes),
            "config": asdict(self.model.config),
            "environment": self.environment,
        }
