"""Weights & Biases."""

from __future__ import annotations

from typing import Any

from portgnn.loggers._base import Epochs, Logger, library
from portgnn.results.callbacks import RunFacts


class WandB(Logger):
    """A run of a project. WANDB_MODE=offline keeps it on this machine; see W&B for its other settings."""

    def __init__(self, project: str = "portgnn") -> None:
        """Raises MissingLibraryError without wandb."""
        self.project = project
        self._wandb = library("wandb", "wandb", "wandb")

    def open(self, facts: RunFacts, parameters: dict[str, Any]) -> None:
        self._run = self._wandb.init(project=self.project, config=parameters)

    def write(self, epochs: Epochs) -> None:
        for epoch, values in epochs:
            self._run.log(values, step=epoch)

    def summarize(self, epoch: int, values: dict[str, float]) -> None:
        self._run.summary.update(values)

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))
