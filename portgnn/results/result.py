"""What a finished run leaves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from portgnn import tasks
from portgnn.checkpoints.model import Model
from portgnn.metrics import EPOCH_MS
from portgnn.presets import Config
from portgnn.report.documents import RUN, RUN_OUTCOME
from portgnn.text import printable, shortened
from portgnn.training import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from portgnn.graphs.graph import Graph


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A finished run.

    model: the trained network, on the host. history: a value an epoch. scores: the metrics of the test nodes, by name
    ("accuracy"); empty without a test split. best_epoch: the epoch, from 0, of the lowest validation loss (of the last
    epoch where nothing was validated). rng: "portable" bits are the same on every backend. process: the number of this
    one among the `processes` that trained together, from 0; results are the same on all.
    """

    model: Model
    history: History
    scores: dict[str, float]
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

    def __repr__(self) -> str:
        """One screen: the histories have a value an epoch."""
        said = [each for each in tasks.of(self.config).headlines if each.name in self.scores]
        scores = ", ".join(f"test {each.words} {self.scores[each.name]:.4f}" for each in said)
        return (
            f"TrainResult: {self.model.config.preset} on {printable(shortened(self.dataset, 40))!r} "
            f"({self.nodes:,} nodes, {self.edges:,} edges), {self.backend} {self.device} {self.dtype}, "
            f"seed {self.seed}: {self.epochs_run} epochs, best {self.best_epoch}, "
            f"{scores or 'no test split'}, {self.median_train_ms:.3g} ms/epoch"
        )

    @property
    def test_accuracy(self) -> float | None:
        """Share of the test nodes that are classified as labelled; None without a test split, and of other tasks."""
        return self.scores.get("accuracy")

    @property
    def config(self) -> Config:
        return self.model.config

    @property
    def preset(self) -> str:
        return self.config.preset

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
        named = {name: values for name, values in self.history.curves.items() if name != EPOCH_MS}
        scores = {f"test_{each.name}": self.scores.get(each.name) for each in tasks.of(self.config).headlines}
        before, after = ({each.name: _plain(getattr(self, each.name)) for each in part} for part in (RUN, RUN_OUTCOME))
        return before | named | scores | {"scores": dict(self.scores)} | after

    def plot(
        self,
        kind: str = "curves",
        *,
        others: Sequence[TrainResult] = (),
        graph: Graph | None = None,
        map: str = "pca",
        ax: object = None,
        out: str | os.PathLike[str] | None = None,
    ) -> list[Axes]:
        """Draws the run with matplotlib and returns the Axes.

        kind: curves (losses and accuracy), compare (training losses of this run and `others` over each other, and
            their differences below), confusion, or map (the nodes by the hidden layer before the output).
        graph: for confusion and map; by default the dataset of the run's name. map: pca, tsne or umap.
        ax: the Axes to draw in: one for confusion and map, two for curves and compare; by default a new figure.
        out: a .png, .svg or .pdf to write.

        Raises ConfigError for what cannot be drawn, and without a library that it needs; CheckpointError where
        `out` cannot be written.
        """
        from portgnn.plots import draw_result

        runs = [one.to_dict() for one in (self, *others)]
        return draw_result(self.model, runs, kind, graph, map, ax, None if out is None else Path(out))

    def _repr_html_(self) -> str:
        """The run as a notebook shows it: a table, and its curves."""
        from portgnn.report.cells import run_cell

        return run_cell(self.to_dict())


def _plain(value: object) -> object:
    """As JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return list(value) if isinstance(value, tuple) else value
