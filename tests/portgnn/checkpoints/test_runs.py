"""A run that is cut off goes on to the same numbers, and no file of it is lost, half written or believed blindly."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save

from portgnn import TrainResult, cli, train, training
from portgnn.checkpoints import runs
from portgnn.checkpoints.runs import load_run
from portgnn.errors import CheckpointError, ConfigError, OutOfMemoryError
from portgnn.training import NonFiniteLossError

RULES: dict[str, dict[str, Any]] = {
    "window": {"stopping": "window", "patience": 5},
    "patience, restored": {"stopping": "patience", "patience": 9, "restore_best": True},
    "to the end, restored": {"patience": 0, "restore_best": True},
    "to the end": {"patience": 0},
}
RECIPE: dict[str, Any] = {"hidden": 8, "learning_rate": 0.1, "epochs": 60, "l2": 0.0, "dtype": "float64", "seed": 4}


class Cut(Exception):
    """Stands for whatever ends a process."""


def _cut_off(path: Path, at: int, **options: Any) -> None:
    """Trains until epoch `at`, with a checkpoint after each."""

    def stop(history: training.History) -> None:
        if len(history) > at:
            raise Cut

    with pytest.raises(Cut):
        train("karate", checkpoint=path, every=1, on_chunk=stop, **options)


def _same(one: TrainResult, other: TrainResult) -> None:
    for name in ("train_loss", "val_loss", "val_accuracy"):
        assert getattr(one.history, name) == getattr(other.history, name)
    assert (one.best_epoch, one.stopped_early) == (other.best_epoch, other.stopped_early)
    assert one.test_accuracy == other.test_accuracy
    for name, value in one.model.params.items():
        np.testing.assert_array_equal(value, other.model.params[name])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("at", [0, 1, 7, 11])
def test_a_resumed_run_ends_as_if_it_had_never_stopped(tmp_path: Path, rule: str, at: int) -> None:
    options = RECIPE | RULES[rule]
    whole = train("karate", **options)
    _cut_off(tmp_path / "run", at, **options)
    assert len(load_run(tmp_path / "run")[1].history) == at
    _same(train(resume=tmp_path / "run"), whole)
    # Of a run that is over, nothing is left to do.
    _same(train(resume=tmp_path / "run"), whole)


def test_cutting_it_off_again_and_again_changes_nothing(tmp_path: Path) -> None:
    options = RECIPE | RULES["to the end, restored"]
    _cut_off(tmp_path / "run", 3, **options)
    for at in (4, 11, 30, 59):

        def stop(history: training.History, at: int = at) -> None:
            if len(history) > at:
                raise Cut

        with pytest.raises(Cut):
            train(resume=tmp_path / "run", every=1, on_chunk=stop)
    _same(train(resume=tmp_path / "run"), train("karate", **options))


@pytest.mark.parametrize("every", [1, 7, 50, 1000])
def test_checkpoints_change_no_number(tmp_path: Path, every: int) -> None:
    options = RECIPE | RULES["patience, restored"]
    _same(train("karate", checkpoint=tmp_path / "run", every=every, **options), train("karate", **options))


def test_a_run_is_kept_every_so_many_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    write = runs.save_run
    monkeypatch.setattr(
        runs, "save_run", lambda path, run, progress: kept.append(len(progress.history)) or write(path, run, progress)
    )
    train("karate", checkpoint=tmp_path / "run", every=25, epochs=60, patience=0)
    assert kept == [0, 25, 50, 60]


def test_more_epochs_may_be_added_and_nothing_else_changed(tmp_path: Path) -> None:
    options = RECIPE | RULES["to the end"]
    train("karate", checkpoint=tmp_path / "run", **(options | {"epochs": 30}))
    for wrong in ({"hidden": 16}, {"seed": 1}, {"preset": "pyg"}, {"dtype": "float32"}, {"split": "random:1:1"}):
        with pytest.raises(ConfigError, match="would make it another run"):
            train(resume=tmp_path / "run", **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="would cut it short"):
        train(resume=tmp_path / "run", epochs=20)
    _same(train(resume=tmp_path / "run", epochs=60, seed=4, hidden=8), train("karate", **options))


def test_another_graph_is_found_out(tmp_path: Path) -> None:
    train("karate", checkpoint=tmp_path / "run", epochs=3)
    with pytest.raises(CheckpointError, match="belongs to another graph"):
        train("csbm-cora", resume=tmp_path / "run")


def test_a_file_in_the_way_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"hours of work")
    with pytest.raises(CheckpointError, match=r"exists already; continue it with --resume"):
        train("karate", checkpoint=tmp_path / "run", epochs=3)
    assert (tmp_path / "run").read_bytes() == b"hours of work"


def test_what_cannot_be_written_is_found_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []

    def count(history: training.History) -> None:
        trained.append(len(history))

    with pytest.raises(CheckpointError, match="cannot write"):
        train("karate", checkpoint=tmp_path / "none" / "run", on_chunk=count)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(CheckpointError, match="too little room: a checkpoint takes up to"):
        train("karate", checkpoint=tmp_path / "run", on_chunk=count)
    assert trained == []


def test_leftovers_of_a_killed_process_are_swept_away(tmp_path: Path) -> None:
    stale, other = tmp_path / ".run.0123456789ab.part", tmp_path / ".run.mine.part"
    stale.touch()
    other.touch()
    train("karate", checkpoint=tmp_path / "run", epochs=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".run.mine.part", "run"]


@pytest.mark.parametrize("backend", ["torch", "mlx", "jax"])
def test_other_backends_resume_too(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend if backend != "mlx" else "mlx.core")
    options = RECIPE | RULES["patience, restored"] | {"backend": backend, "device": "cpu"}
    whole = train("karate", **options)
    _cut_off(tmp_path / "run", 9, **options)
    resumed = train(resume=tmp_path / "run", device="cpu")
    np.testing.assert_allclose(resumed.history.val_loss, whole.history.val_loss, rtol=1e-12)
    for name, value in whole.model.params.items():
        np.testing.assert_allclose(resumed.model.params[name], value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("backend", ["numpy", "torch", "mlx"])
def test_a_run_that_stopped_or_was_resumed_can_be_resumed_again(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend if backend != "mlx" else "mlx.core")
    options = RECIPE | RULES["patience, restored"] | {"backend": backend, "device": "cpu"}
    whole = train("karate", checkpoint=tmp_path / "run", every=5, **options)
    assert whole.stopped_early
    again = train(resume=tmp_path / "run", device="cpu")
    assert again.history.val_loss == whole.history.val_loss
    _cut_off(tmp_path / "other", 4, **options)
    for _ in range(2):

        def stop(history: training.History) -> None:
            raise Cut

        with pytest.raises(Cut):
            train(resume=tmp_path / "other", device="cpu", on_chunk=stop, checkpoint=tmp_path / "other", every=1)
    resumed = train(resume=tmp_path / "other", device="cpu")
    np.testing.assert_allclose(resumed.history.val_loss, whole.history.val_loss, rtol=1e-12)


def test_a_count_of_steps_in_float32_of_the_first_format_is_read(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "run"
    options = RECIPE | RULES["patience, restored"] | {"backend": "torch", "device": "cpu"}
    whole = train("karate", checkpoint=path, every=5, **options)
    with safe_open(path, framework="numpy") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    found["best.steps"] = found["best.steps"].astype(np.float32)
    path.write_bytes(save(found, metadata | {"version": "1"}))
    assert train(resume=path, device="cpu").history.val_loss == whole.history.val_loss


# what is not believed


def _rewritten(path: Path, header: dict[str, Any], **tensors: Any) -> None:
    with safe_open(path, framework="numpy") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    document = json.loads(metadata["run"]) | header
    content = {name: value for name, value in (found | tensors).items() if value is not None}
    path.write_bytes(save(content, metadata | {"run": json.dumps(document)}))


@pytest.mark.parametrize(
    ("header", "tensors", "message"),
    [
        ({"seed": -1}, {}, "damaged header"),
        ({"seed": True}, {}, "damaged header"),
        ({"stopped": 1}, {}, "damaged header"),
        ({"config": {"layers": 10**9}}, {}, "layers=1000000000 must be at most 10000"),
        ({"best_start": 99}, {}, "does not fit"),
        ({"config": {"wings": 1}}, {}, "does not know"),
        ({"class_names": ["\ud800"]}, {}, "damaged header"),
        ({"dataset": 3}, {}, "damaged header"),
        ({}, {"history.train_loss": np.zeros(2)}, "different lengths"),
        ({}, {"history.val_loss": None}, "history holds"),
        ({}, {"state.param.weight0": np.zeros((2, 2))}, "the recipe needs"),
        ({}, {"other.x": np.zeros(2)}, "damaged header"),
        ({}, {"state.param.weight1": np.full((16, 2), np.nan, np.float32)}, "not finite"),
    ],
)
def test_a_damaged_run_is_refused(
    tmp_path: Path, header: dict[str, Any], tensors: dict[str, Any], message: str
) -> None:
    path = tmp_path / "run"
    train("karate", checkpoint=path, epochs=3)
    _rewritten(path, header, **tensors)
    with pytest.raises(CheckpointError, match=message):
        train(resume=path)


def test_a_state_of_another_optimizer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train("karate", checkpoint=path, epochs=3)
    _rewritten(path, {}, **{"state.c1": None, "best.c1": None})
    with pytest.raises(CheckpointError, match=r"optimizer state does not fit the numpy backend \(c1 differ\)"):
        train(resume=path)


def test_runs_and_models_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    from portgnn import Model

    train("karate", checkpoint=tmp_path / "run", epochs=3).save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="not a model; finish it with: portgnn train --resume"):
        Model.load(tmp_path / "run")
    with pytest.raises(CheckpointError, match="holds a trained model, not a run"):
        train(resume=tmp_path / "model")
    with pytest.raises(CheckpointError, match="there is no run file"):
        train(resume=tmp_path / "none")


def test_a_header_without_end_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match="its header claims 1099511627776 bytes"):
        load_run(tmp_path / "run")


# failing well


def test_a_diverging_run_keeps_its_last_finite_state(tmp_path: Path) -> None:
    kept = "The last finite state is kept: .* epoch 0"
    with np.errstate(all="ignore"), pytest.raises(NonFiniteLossError, match=kept):
        train("karate", learning_rate=1e200, checkpoint=tmp_path / "run", every=1)
    _, progress = load_run(tmp_path / "run")
    assert all(np.isfinite(value).all() for value in progress.state.values())


def test_a_last_step_that_spoils_the_parameters_is_found_out() -> None:
    from dataclasses import replace

    from portgnn import load_graph

    graph = replace(load_graph("karate"), val=None)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteLossError, match="no longer finite after epoch 0"):
        train(graph, epochs=1, learning_rate=1.7e308, beta1=0.0)


class OutOfMemoryErrorOfALibrary(RuntimeError):
    pass


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 3.00 TiB"),
        OutOfMemoryErrorOfALibrary("x"),
        RuntimeError("RESOURCE_EXHAUSTED: no"),
        RuntimeError("CUDA error: out of memory"),
    ],
)
def test_out_of_memory_says_what_would_fit(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("portgnn.training.WholeGraph.make_run", full)
    wanted = r"out of memory on numpy \(cpu, float64\): this run needs about"
    with pytest.raises(OutOfMemoryError, match=wanted) as caught:
        train("csbm-cora", preset="article", dtype="float64")
    message = str(caught.value)
    for option in ("--adjacency csr", "--features sparse", "--dtype float32"):
        assert option in message
    assert isinstance(caught.value.__cause__, type(error))


def test_other_faults_are_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("portgnn.training.WholeGraph.make_run", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        train("karate")


# signals

LONG = ("--dataset", "csbm-cora", "--hidden", "8", "--epochs", "100000", "--patience", "0", "--device", "cpu")


def _started(path: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "portgnn", "train", *LONG, "--checkpoint", str(path), *more]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    return process


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_the_run_before_it_ends(tmp_path: Path, number: signal.Signals, status: int) -> None:
    process = _started(tmp_path / "run", "--every", "100000")
    process.send_signal(number)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == status
    assert "Traceback" not in errors
    epochs = len(load_run(tmp_path / "run")[1].history)
    assert epochs > 0
    assert f"holds epoch {epochs}; continue with: portgnn train --resume" in errors


def test_training_in_a_thread_needs_no_signals(tmp_path: Path) -> None:
    done: list[TrainResult] = []
    thread = threading.Thread(target=lambda: done.append(train("karate", epochs=3, checkpoint=tmp_path / "run")))
    thread.start()
    thread.join(60)
    assert len(done) == 1


def test_handlers_are_put_back(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    train("karate", epochs=3, checkpoint=tmp_path / "run")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_the_command_resumes_with_the_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "run")
    options = ["--dataset", "karate", "--split", "random:3:3", "--epochs", "20", "--patience", "0", "--seed", "2"]
    assert cli.main(["train", *options, "--checkpoint", path, "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert cli.main(["train", "--resume", path, "--json"]) == 0
    other = json.loads(capsys.readouterr().out)
    assert one["val_loss"] == other["val_loss"]
    assert one["notes"] == other["notes"]
    assert cli.main(["train", *options, "--checkpoint", path]) == 2
    assert "exists already" in capsys.readouterr().err
