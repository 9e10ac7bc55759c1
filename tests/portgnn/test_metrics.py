"""One edit a metric: a class and its name among the task's. Whatever shows, keeps or sends metrics then has it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portgnn import TrainResult, load_graph, predict, tasks, train
from portgnn.checkpoints.runs import load_run
from portgnn.cli import main
from portgnn.errors import CheckpointError
from portgnn.loaders.engine import Sampled
from portgnn.loaders.source import InMemory
from portgnn.metrics import ACCURACY, Measures, Metric
from portgnn.placing.prepared import Prepared
from portgnn.plots import draw
from portgnn.presets import Config
from portgnn.registry import get_backend
from portgnn.report import _charts, _tables, documents
from portgnn.report.cells import run_cell
from portgnn.tasks import Classes
from portgnn.training import Course, History, WholeGraph, fit

OF_TODAY = Path(__file__).parent / "checkpoints" / "files" / "run-of-fixed-columns.safetensors"
"""A run of 60 epochs that was left after 20, in the file of a version whose histories had four fixed columns."""
QUICK: dict[str, Any] = {"dataset": "karate", "epochs": 12, "patience": 0, "dtype": "float64"}


class Spread(Metric):
    """The deviation of the largest outputs: of two sums, and better where it is low."""

    def sums(self, xp: Any, outputs: Any, counted: Any) -> tuple[Any, ...]:
        largest = xp.max(outputs, axis=-1)
        kept = xp.where(counted.labels == -1, largest * 0, largest)
        return xp.sum(kept), xp.sum(kept * kept)

    def value(self, sums: Sequence[Any], count: int) -> Any:
        return np.sqrt(np.maximum(sums[1] / count - (sums[0] / count) ** 2, 0))


SPREAD = Spread("spread", "spread of logits", "logits", terms=2)


@pytest.fixture
def another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The edit."""
    monkeypatch.setattr(Classes, "metrics", (ACCURACY, SPREAD))


def _by_hand(result: TrainResult) -> float:
    graph = load_graph("karate")
    assert graph.test is not None
    return float(predict(result, graph, dtype="float64")[graph.test].max(axis=1).std())


def test_a_metric_more_is_in_history_result_and_document(another: None) -> None:
    result = train(**QUICK)
    assert list(result.history.curves) == ["train_loss", "val_loss", "val_accuracy", "val_spread", "epoch_ms"]
    assert len(result.history.val_spread) == 12
    assert result.scores["spread"] == pytest.approx(_by_hand(result), rel=1e-9)
    document = result.to_dict()
    assert document["val_spread"] == result.history.val_spread
    assert document["test_spread"] == result.scores["spread"]
    assert "test spread of logits" in repr(result)


def test_it_is_the_same_whole_and_in_batches(another: None, make_graph: Any) -> None:
    backend, graph = get_backend("numpy", dtype="float64"), make_graph(3, nodes=60)
    found = []
    for config in (Config(epochs=3), Config(epochs=3, loader="neighbor", fanout="all")):
        prepared = Prepared.of(graph, config)
        engine: Any = WholeGraph(backend, prepared) if config.loader == "full" else Sampled(backend, InMemory(prepared))
        done = fit(engine, 1)
        found.append([*done.history.val_spread, *engine.scores(done.params, graph.test).values()])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-10)


def test_it_is_drawn_tabled_and_logged(another: None, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    from portgnn.loggers import logger_of

    with caplog.at_level(logging.DEBUG, "portgnn"):
        result = train(**QUICK, callbacks=[logger_of(f"tensorboard:{tmp_path}")])
    document = json.loads(json.dumps(result.to_dict()))
    documents.recognise(document, "a run")
    losses, accuracies, spreads = draw("curves", runs=[document])
    assert (losses.get_ylabel(), accuracies.get_ylabel()) == ("loss (nats a node)", "accuracy (share of nodes)")
    assert spreads.get_ylabel() == "spread of logits (logits)"
    assert list(spreads.lines[0].get_ydata()) == result.history.val_spread
    assert len(_charts.training([document])) == 4
    assert len(_charts.curves(document)) == 3
    assert "test spread of logits" in run_cell(document)
    assert "test spread of logits" in "".join(_tables.runs_table([document]).itertext())
    ended = [record for record in caplog.records if getattr(record, "event", "") == "end"]
    assert getattr(ended[0], "test_spread") == result.scores["spread"]  # noqa: B009
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(tmp_path))
    reader.Reload()
    assert {"spread/val", "spread/test", "accuracy/val"} <= set(reader.Tags()["scalars"])


def test_it_is_on_the_command_line(another: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--dataset", "karate", "--epochs", "40", "--patience", "0"]) == 0
    said = capsys.readouterr()
    assert "test spread of logits" in said.out
    assert "val spread of logits" in said.err


def test_a_document_without_it_is_read_and_drawn_beside_one_that_has_it(another: None) -> None:
    new = train(**QUICK).to_dict()
    old = {name: value for name, value in new.items() if "spread" not in name}
    documents.recognise(old, "an older run")
    assert len(draw("curves", runs=[old, new])) == 3
    _tables.runs_table([old, new])


def test_a_run_with_it_goes_on_from_its_file(another: None, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    train(**QUICK, checkpoint=path)
    resumed, whole = train(resume=path, epochs=20), train(**QUICK | {"epochs": 20})
    assert resumed.history.val_spread == whole.history.val_spread
    assert resumed.scores == whole.scores


@pytest.mark.parametrize("wider", [False, True])
def test_a_file_of_fixed_columns_goes_on(wider: bool, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if wider:  # and where a metric came since, without it
        request.getfixturevalue("another")
    run, progress = load_run(OF_TODAY)
    assert list(progress.history.curves) == ["train_loss", "val_loss", "val_accuracy", "epoch_ms"]
    assert (len(progress.history), run.config.epochs) == (20, 60)
    resumed = train(resume=OF_TODAY, checkpoint=tmp_path / "on.safetensors")
    whole = train("karate", preset="pyg", hidden=2, epochs=60, seed=3, patience=0, dtype="float64")
    assert list(resumed.history.curves) == list(progress.history.curves)
    for name in ("train_loss", "val_loss", "val_accuracy"):  # another processor's last bits
        np.testing.assert_allclose(getattr(resumed.history, name), getattr(whole.history, name), rtol=1e-9)
    assert resumed.best_epoch == whole.best_epoch
    assert resumed.scores == whole.scores
    assert load_run(tmp_path / "on.safetensors")[1].history == resumed.history


def test_a_curve_that_is_not_measured_any_more_ends_nothing_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classes, "metrics", (ACCURACY, SPREAD))
        train(**QUICK, checkpoint=path)
        patch.setattr(Classes, "metrics", (ACCURACY,))
        patch.setitem(tasks.TASKS, "other", type("Other", (Classes,), {"metrics": (SPREAD,)}))  # known, of another task
        with pytest.raises(CheckpointError, match="has the curve val_spread, which this run does not measure"):
            train(resume=path, epochs=20)
    with pytest.raises(CheckpointError, match="the history holds"):
        train(resume=path, epochs=20)


@pytest.mark.parametrize("stopping", ["window", "patience"])
def test_a_task_says_which_way_is_better(stopping: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Monitored by accuracy, the first of the highest is the best, and runs stop by its mirror image."""
    monkeypatch.setattr(Classes, "measures", Measures((ACCURACY,), monitor="val_accuracy"))
    config = Config(epochs=60, patience=5, stopping=stopping, restore_best=True, learning_rate=0.05)
    prepared = Prepared.of(load_graph("karate"), config)
    course = Course(WholeGraph(get_backend("numpy", dtype="float64"), prepared), 0, None)
    while not course.ended:
        course.advance(range(len(course.history), min(len(course.history) + 7, config.epochs)))
    done, values = course.outcome(), course.history.val_accuracy
    assert done.best_epoch == int(np.argmax(values))
    assert done.best_epoch != int(np.argmin(course.history.val_loss))
    mirrored = [-value for value in values]
    ends = [at for at in range(len(values)) if config.stops(mirrored[: at + 1])]
    assert ends == ([len(values) - 1] if done.stopped_early else [])
    cut = replace(config, epochs=done.best_epoch + 1, patience=0, restore_best=False)
    again = fit(WholeGraph(get_backend("numpy", dtype="float64"), Prepared.of(prepared.graph, cut)), 0)
    for name, value in done.params.items():
        np.testing.assert_array_equal(value, again.params[name])


def test_histories_have_curves_by_name() -> None:
    history = History(train_loss=[2.0, 1.0], epoch_ms=[1.0, 1.0])
    assert history.val_loss == []
    history.extend({"train_loss": [0.5], "epoch_ms": [1.0], "val_unknown": [3.0]})
    assert history.train_loss == [2.0, 1.0, 0.5]
    assert history.at(2) == {"train_loss": 0.5, "epoch_ms": 1.0}
    with pytest.raises(AttributeError, match="has no curve 'val_acuracy'; it has train_loss, val_loss, epoch_ms"):
        _ = history.val_acuracy
    copied = history.copy()
    copied.cut(1)
    assert (len(history), len(copied)) == (3, 1)
    assert History().val_accuracy == []
