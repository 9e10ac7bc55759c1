"""Callbacks, loggers and log records: who is told what and when, and what happens where one of them fails."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import portgnn
from portgnn import Callback, TrainResult, logs, train
from portgnn.checkpoints.runs import load_run
from portgnn.errors import ConfigError, LoggerError
from portgnn.loggers import Logger, logger_of
from portgnn.results.callbacks import RunFacts
from portgnn.training import History, NonFiniteLossError

QUICK: dict[str, Any] = {"dataset": "karate", "epochs": 30, "patience": 0, "seed": 3}


class Told(Callback):
    """Writes down what it is told, and raises where it is asked to."""

    def __init__(self, fails_in: str = "", after: int = 0, error: type[BaseException] = OSError) -> None:
        self.fails_in, self.after, self.error = fails_in, after, error
        self.calls: list[tuple[str, Any]] = []

    def _note(self, method: str, what: Any, epochs: int = 0) -> None:
        self.calls.append((method, what))
        if method == self.fails_in and epochs >= self.after:
            raise self.error("the disk is full")

    def on_start(self, facts: RunFacts) -> None:
        self._note("on_start", facts)

    def on_epochs(self, history: History) -> None:
        self._note("on_epochs", history.copy(), len(history))

    def on_end(self, result: TrainResult) -> None:
        self._note("on_end", result)

    def on_error(self, error: BaseException) -> None:
        self._note("on_error", error)

    @property
    def methods(self) -> list[str]:
        """Each method once, in the order of their first calls."""
        return list(dict.fromkeys(method for method, _ in self.calls))


# callbacks


def test_a_callback_is_told_of_start_epochs_and_end() -> None:
    told = Told()
    lengths: list[int] = []
    result = train(**QUICK, callbacks=[told], on_chunk=lambda history: lengths.append(len(history)))
    assert told.methods == ["on_start", "on_epochs", "on_end"]
    facts = told.calls[0][1]
    assert (facts.dataset, facts.nodes, facts.edges, facts.seed) == ("karate", 34, 78, 3)
    assert (facts.backend, facts.device, facts.dtype, facts.epochs_done) == ("numpy", "cpu", "float32", 0)
    assert facts.config == result.model.config
    histories = [what for method, what in told.calls if method == "on_epochs"]
    assert [len(history) for history in histories] == lengths == sorted(set(lengths))
    assert histories[-1] == result.history
    assert len(result.history) == 30
    assert told.calls[-1] == ("on_end", result)


@pytest.mark.parametrize("method", ["on_start", "on_epochs", "on_end"])
def test_what_a_callback_raises_arrives_as_it_is_and_says_who_raised_it(method: str) -> None:
    first, failing, last = Told(), Told(method), Told()
    with pytest.raises(OSError, match=r"^the disk is full") as caught:
        train(**QUICK, callbacks=[first, failing, last])
    assert caught.value.__notes__ == [f"raised by Told.{method}, a callback of the run"]
    assert first.methods[-1] == ("on_end" if method == "on_end" else "on_error")
    if method == "on_start":  # it was never started, and neither was the one after it
        assert (failing.methods, last.methods) == (["on_start"], [])
    elif method == "on_epochs":
        assert failing.methods == ["on_start", "on_epochs", "on_error"]
        assert last.methods == ["on_start", "on_error"]
        assert last.calls[-1][1] is caught.value
    else:  # the run has succeeded, whatever one of its listeners says
        assert last.methods == ["on_start", "on_epochs", "on_end"]


def test_a_second_fault_does_not_hide_the_first() -> None:
    with pytest.raises(OSError, match="the disk is full") as caught:
        train(**QUICK, callbacks=[Told("on_epochs"), Told("on_error", error=KeyError)])
    assert "then KeyError('the disk is full') was raised by Told.on_error" in caught.value.__notes__[1]


def test_an_interruption_is_an_error_too() -> None:
    told = Told()
    with pytest.raises(KeyboardInterrupt):
        train(**QUICK, callbacks=[told, Told("on_epochs", error=KeyboardInterrupt)])
    assert isinstance(told.calls[-1][1], KeyboardInterrupt)


def test_callbacks_hear_of_errors_of_the_run_itself() -> None:
    told = Told()
    with pytest.raises(NonFiniteLossError):
        train("karate", epochs=50, learning_rate=1e300, callbacks=[told])
    assert told.methods[0] == "on_start"
    assert told.methods[-1] == "on_error"
    assert isinstance(told.calls[-1][1], NonFiniteLossError)


def test_a_checkpoint_is_whole_after_a_callback_has_failed(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    with pytest.raises(OSError, match="disk"):
        train(**QUICK, checkpoint=path, every=5, callbacks=[Told("on_epochs", after=12)])
    assert [each.name for each in tmp_path.iterdir()] == ["run.safetensors"]
    kept = load_run(path)[1]
    assert 0 < len(kept.history) < 30
    told = Told()
    resumed = train(resume=path, callbacks=[told])
    assert told.calls[0][1].epochs_done == len(kept.history)
    assert resumed.history.train_loss == train(**QUICK).history.train_loss


def test_no_checkpoint_is_made_where_a_callback_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk"):
        train(**QUICK, checkpoint=tmp_path / "run.safetensors", callbacks=[Told("on_start")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [print, Told, None])
def test_what_is_no_callback_is_refused_before_any_work(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"is no callback; give an object of a subclass of portgnn\.Callback"):
        train("nonesuch", callbacks=[wrong])


# log records


def test_the_logger_is_silent_by_itself() -> None:
    code = "import portgnn; portgnn.train('karate', epochs=3)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""


def test_records_hold_the_numbers_as_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "portgnn"):
        result = train(**QUICK)
    records: list[Any] = [record for record in caplog.records if record.name == "portgnn"]
    by_event: dict[str, list[Any]] = {}
    for record in records:
        by_event.setdefault(record.event, []).append(record)
    assert {event: {each.levelname for each in found} for event, found in by_event.items()} == {
        "message": {"INFO"},
        "start": {"INFO"},
        "epoch": {"DEBUG"},
        "end": {"INFO"},
    }
    assert "numpy runs on cpu" in by_event["message"][0].getMessage()
    assert [record.epoch for record in by_event["epoch"]] == list(range(30))
    for name in ("train_loss", "val_loss", "val_accuracy", "epoch_ms"):
        assert [getattr(record, name) for record in by_event["epoch"]] == getattr(result.history, name)
    assert by_event["start"][0].config["hidden"] == 16
    assert by_event["end"][0].test_accuracy == result.test_accuracy


def test_a_resumed_run_has_records_of_its_own_epochs(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    train(**QUICK, checkpoint=path)
    with caplog.at_level(logging.DEBUG, "portgnn"):
        train(resume=path, epochs=33)
    assert [record.epoch for record in caplog.records if hasattr(record, "epoch")] == [30, 31, 32]


def test_messages_go_to_announce_and_to_the_logger(caplog: pytest.LogCaptureFixture) -> None:
    messages: list[str] = []
    with caplog.at_level(logging.INFO, "portgnn"):
        train(**QUICK, announce=messages.append)
    assert any("numpy runs on cpu" in message for message in messages)
    logged = [record.getMessage() for record in caplog.records if getattr(record, "event", "") == "message"]
    assert logged == messages


def test_an_error_is_a_record(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(NonFiniteLossError):
        train("karate", epochs=50, learning_rate=1e300)
    last: Any = caplog.records[-1]
    assert (last.levelname, last.event, last.error) == ("ERROR", "error", "NonFiniteLossError")


def test_json_records_are_strict_json() -> None:
    record = logging.makeLogRecord({"name": "portgnn", "levelname": "INFO", "msg": "a %s", "args": ("b",)})
    record.train_loss, record.val_loss, record.where = 0.5, float("nan"), Path("x")
    document = json.loads(logs.JsonFormatter().format(record))
    assert document.pop("time").endswith("+00:00")
    assert document == {
        "level": "info",
        "logger": "portgnn",
        "message": "a b",
        "train_loss": 0.5,
        "val_loss": None,
        "where": "x",
    }


# loggers


def _reader(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    reader.Reload()
    return reader


def _scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard's own reader finds."""
    reader = _reader(folder)
    return {tag: [(point.step, point.value) for point in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def test_tensorboard_reads_back_the_history(tmp_path: Path) -> None:
    train(**QUICK | {"seed": 4}, callbacks=[logger_of(f"tensorboard:{tmp_path}")])  # hidden by the next
    result = train(**QUICK, callbacks=[logger_of(f"tensorboard:{tmp_path}")])
    found = _scalars(tmp_path)
    curves = {"loss/train": "train_loss", "loss/val": "val_loss", "accuracy/val": "val_accuracy"}
    for tag, name in curves.items():
        values = np.float32(getattr(result.history, name)).tolist()  # what the format holds
        assert found[tag] == list(enumerate(values))
    assert result.test_accuracy is not None
    assert found["accuracy/test"] == [(29, float(np.float32(result.test_accuracy)))]
    assert len(found["run/epoch_ms"]) == 30
    table = _reader(tmp_path).Tensors("run")[-1].tensor_proto.string_val[0].decode()
    assert '| preset | "kipf" |' in table.splitlines()
    assert "| seed | 3 |" in table.splitlines()


def test_mlflow_reads_back_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    logger = logger_of(f"mlflow:{uri}")
    result = train(**QUICK, callbacks=[logger])
    with pytest.raises(OSError, match="disk"):
        train(**QUICK, callbacks=[logger_of(f"mlflow:{uri}"), Told("on_epochs")])
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("portgnn")
    assert experiment is not None
    runs = {run.info.status: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"FINISHED", "FAILED"}
    run = runs["FINISHED"]
    assert run.data.params["learning_rate"] == "0.01"
    assert (run.data.params["dataset"], run.data.params["seed"]) == ("karate", "3")
    assert run.data.metrics["test_accuracy"] == result.test_accuracy
    for name in ("train_loss", "val_loss", "val_accuracy", "epoch_ms"):
        points = sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, name))
        assert points == list(enumerate(getattr(result.history, name)))


class ImitationOfWandB(SimpleNamespace):
    """Takes the calls that the logger makes; the real library needs a service of its own to run."""

    def __init__(self) -> None:
        super().__init__(project="", config={}, logged=[], summary={}, exit_code=None)

    def init(self, *, project: str, config: dict[str, Any]) -> ImitationOfWandB:
        self.project, self.config = project, config
        return self

    def log(self, values: dict[str, float], *, step: int) -> None:
        self.logged.append((step, values))

    def finish(self, *, exit_code: int) -> None:
        self.exit_code = exit_code


def test_wandb_is_given_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    run = ImitationOfWandB()
    monkeypatch.setitem(sys.modules, "wandb", run)  # type: ignore[arg-type]
    result = train(**QUICK, callbacks=[logger_of("wandb:graphs")])
    assert run.project == "graphs"
    assert run.config["weight_decay"] == 0.0
    assert [step for step, _ in run.logged] == list(range(30))
    assert [values["val_loss"] for _, values in run.logged] == result.history.val_loss
    assert run.summary["test_accuracy"] == result.test_accuracy
    assert run.exit_code == 0
    with pytest.raises(OSError, match="disk"):
        train(**QUICK, callbacks=[logger_of("wandb"), Told("on_epochs")])
    assert run.exit_code == 1


class Broken(Logger):
    """Fails in one of its verbs."""

    def __init__(self, verb: str) -> None:
        def fail(*arguments: Any, **options: Any) -> None:
            raise ConnectionError("nobody answers")

        for each in ("open", "write", "summarize", "close"):
            setattr(self, each, fail if each == verb else lambda *arguments, **options: None)


@pytest.mark.parametrize("verb", ["open", "write", "summarize", "close"])
def test_a_logger_that_fails_says_so_in_one_line(verb: str) -> None:
    with pytest.raises(LoggerError) as caught:
        train(**QUICK, callbacks=[Broken(verb)])
    assert str(caught.value) == "Broken cannot record the run: nobody answers"


def test_a_run_that_is_resumed_is_recorded_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    train(**QUICK, checkpoint=path)
    result = train(resume=path, epochs=40, callbacks=[logger_of(f"tensorboard:{tmp_path / 'events'}")])
    assert len(_scalars(tmp_path / "events")["loss/train"]) == len(result.history) == 40
    train(resume=path, callbacks=[logger_of(f"tensorboard:{tmp_path / 'again'}")])  # nothing is left to train
    assert len(_scalars(tmp_path / "again")["loss/train"]) == 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tensorbord:x", "there is no logger 'tensorbord'. Did you mean 'tensorboard'?"),
        ("mlflow:", "--logger mlflow: names nothing after the colon"),
        ("", "there is no logger ''"),
    ],
)
def test_a_logger_that_does_not_exist(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        logger_of(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "module"),
    [("tensorboard", "tensorboard.summary.writer.event_file_writer"), ("mlflow", "mlflow"), ("wandb", "wandb")],
)
def test_an_absent_library_says_what_to_install(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=rf'pip install "portgnn\[{name}\]"'):
        logger_of(name)


def test_a_logger_loads_no_framework(tmp_path: Path) -> None:
    code = (
        "import sys, portgnn; from portgnn.loggers import logger_of; "
        f"portgnn.train('karate', epochs=2, callbacks=[logger_of('tensorboard:{tmp_path}')]); "
        "assert not {'torch', 'jax', 'mlx', 'tensorflow'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_names_are_public() -> None:
    assert portgnn.Callback is Callback
