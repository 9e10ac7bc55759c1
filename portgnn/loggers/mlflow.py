"""MLflow, by its client alone: nothing is set for the process, and no other run is touched."""

from __future__ import annotations

import time
from typing import Any

from portgnn.loggers._base import Epochs, Logger, library
from portgnn.results.callbacks import RunFacts

BATCH = 1000
"""Metrics that MLflow takes in one call at most."""


class MLflow(Logger):
    """A run of an experiment in a tracking store.

    uri: of a server or a store, as http://host:5000 or sqlite:///mlflow.db; by default MLflow's own choice, which
    MLFLOW_TRACKING_URI sets. run_id: the run, once training has begun.
    """

    def __init__(self, uri: str | None = None, experiment: str = "portgnn") -> None:
        """Raises MissingLibraryError without MLflow."""
        self.uri, self.experiment = uri, experiment
        self.run_id: str | None = None
        self._mlflow = library("mlflow", "mlflow", "mlflow")
        self._entities = library("mlflow.entities", "mlflow", "mlflow")

    def open(self, facts: RunFacts, parameters: dict[str, Any]) -> None:
        self._client = self._mlflow.MlflowClient(tracking_uri=self.uri)
        known = self._client.get_experiment_by_name(self.experiment)
        number = known.experiment_id if known else self._client.create_experiment(self.experiment)
        name = f"{facts.dataset}, {facts.config.preset}, {facts.backend}, seed {facts.seed}"
        self.run_id = self._client.create_run(number, run_name=name).info.run_id
        entries = [self._entities.Param(name, str(value)) for name, value in parameters.items()]
        self._client.log_batch(self.run_id, params=entries)

    def write(self, epochs: Epochs) -> None:
        now = int(time.time() * 1000)
        metrics = [
            self._entities.Metric(name, value, now, epoch) for epoch, values in epochs for name, value in values.items()
        ]
        for start in range(0, len(metrics), BATCH):
            self._client.log_batch(self.run_id, metrics=metrics[start : start + BATCH])

    def summarize(self, epoch: int, values: dict[str, float]) -> None:
        self.write([(epoch, values)])

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")
