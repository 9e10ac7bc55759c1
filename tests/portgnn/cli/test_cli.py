"""The command: options, JSON, progress, files, and one line for every mistake."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portgnn
from portgnn import Graph, cli, load_graph, predict, registry
from portgnn.cli._output import print_json
from portgnn.recipe import known

Streams = pytest.CaptureFixture[str]
COMMAND = [sys.executable, "-m", "portgnn"]


def _json(capsys: Streams, *arguments: str) -> Any:
    capsys.readouterr()
    assert cli.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def _fails(capsys: Streams, *arguments: str) -> str:
    """The one error line of a command that must fail."""
    capsys.readouterr()
    status = cli.main(arguments)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert status == 2
    assert out == ""
    assert "Traceback" not in err
    assert errors == lines[-1:], err
    return errors[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "karate.safetensors"
    assert cli.main(["train", "--dataset", "karate", "--epochs", "40", "--save", str(path)]) == 0
    return str(path)


# train


def test_train_writes_one_json_document(capsys: Streams) -> None:
    document = _json(capsys, "train", "--dataset", "karate", "--epochs", "7", "--hidden", "4", "--seed", "2")
    expected = portgnn.train("karate", epochs=7, hidden=4, seed=2).to_dict()
    timed = {"median_train_ms", "first_epoch_ms"}
    assert {k: v for k, v in document.items() if k not in timed} == {
        k: v for k, v in json.loads(json.dumps(expected)).items() if k not in timed
    }


OTHERS: tuple[dict[str, Any], ...] = (
    {
        "optimizer": "sgd",
        "momentum": 0.9,
        "schedule": "step",
        "schedule_factor": 0.25,
        "schedule_every": 7,
        "warmup": 2,
    },
    {"optimizer": "rmsprop", "rho": 0.75, "schedule": "plateau", "schedule_patience": 4, "schedule_threshold": 0.01},
    {"schedule": "cosine", "min_learning_rate": 0.001, "clip_norm": 1.5},
    {"clip_value": 0.5, "loader": "cluster", "accumulate": 2},
    {"task": "classes", "class_weights": "balanced", "label_smoothing": 0.125, "monitor": "val_accuracy"},
    {"task": "regression", "target": "a,b", "loss": "huber", "huber_delta": 0.5, "readout": "none"},
    {"task": "link", "embedding": 9, "decoder": "mlp", "link_val": 0.125, "link_test": 0.25, "link_apart": 0.25},
    {"task": "link", "link_seed": 3, "negatives": 2, "hits_k": 5},
)
"""Hyperparameters that do not go with each other, in groups that do."""


def test_every_hyperparameter_is_an_option(capsys: Streams) -> None:
    options: dict[str, Any] = {
        "layers": 3,
        "hidden": 5,
        "input_dropout": 0.1,
        "dropout": 0.2,
        "bias": "after",
        "l2": 0.001,
        "weight_decay": 0.01,
        "learning_rate": 0.02,
        "beta1": 0.8,
        "beta2": 0.99,
        "activation": "elu",
        "norm": "layer",
        "residual": "linear",
        "jumping": "cat",
        "eps": 1e-7,
        "epochs": 4,
        "stopping": "patience",
        "patience": 3,
        "stop_after": 0.25,
        "features": "dense",
        "adjacency": "csr",
        "rows": "all",
        "loader": "neighbor",
        "batch_size": 7,
        "fanout": "5,4,all",
    }
    flags = ["--no-normalize-features", "--restore-best", "--directed"]
    given = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    config = _json(capsys, "train", "--dataset", "karate", *given, *flags)["config"]
    expected = options | {"normalize_features": "none", "restore_best": True, "undirected": False}
    assert expected.items() <= config.items()
    named = set(expected)
    for group in OTHERS:
        shown = _json(
            capsys, "config", "show", *(f"--{name.replace('_', '-')}={value}" for name, value in group.items())
        )
        assert group.items() <= shown.items()
        named |= set(group)
    switched = _json(
        capsys, "config", "show", "--optimizer=sgd", "--momentum=0.5", "--nesterov", "--no-standardize-targets"
    )
    assert (switched["nesterov"], switched["standardize_targets"]) == (True, False)
    assert named | {"nesterov", "standardize_targets"} == set(known("gcn"))


def test_an_option_that_is_not_given_leaves_the_presets_value(capsys: Streams) -> None:
    config = _json(capsys, "train", "--dataset", "karate", "--preset", "pyg", "--epochs", "2")["config"]
    assert (config["weight_decay"], config["restore_best"], config["epochs"]) == (5e-4, True, 2)
    config = _json(capsys, "train", "--dataset", "karate", "--preset", "pyg", "--no-restore-best")["config"]
    assert config["restore_best"] is False


def test_save_is_checked_before_training(capsys: Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portgnn.api.train", lambda **_: pytest.fail("training began"))
    for path in (tmp_path / "none" / "m.safetensors", tmp_path):
        assert "cannot write" in _fails(capsys, "train", "--dataset", "karate", "--save", str(path))
    assert list(tmp_path.iterdir()) == []


def test_the_default_dataset_is_replaced_loudly(
    capsys: Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTGNN_DATA", str(tmp_path))
    monkeypatch.setenv("PORTGNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PORTGNN_OFFLINE", "1")
    assert cli.main(["train", "--epochs", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["dataset"] == "csbm-cora"
    assert "NOT cora" in err
    assert "NOT cora" in " ".join(json.loads(out)["notes"])
    _fails(capsys, "train", "--dataset", "cora", "--epochs", "1")


def test_json_has_null_where_python_has_nan(capsys: Streams) -> None:
    print_json({"a": [math.nan, math.inf, 1.5], "b": (-math.inf, {"c": math.nan})})
    text = capsys.readouterr().out
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name)) == {
        "a": [None, None, 1.5],
        "b": [None, {"c": None}],
    }
    assert text.count("\n") == 1


@pytest.mark.published_data
def test_training_on_cora_takes_seconds() -> None:
    def seconds() -> float:
        """Of the processor: other processes of a busy machine do not count."""
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [*COMMAND, "train", "--dataset", "cora", "--backend", "numpy", "--json"]
        done = subprocess.run(command, capture_output=True, check=True)
        assert json.loads(done.stdout)["test_accuracy"] > 0.8
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        return end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime

    assert min(seconds() for _ in range(3)) < 3


# predict


def test_predict_reports_accuracy_and_counts(capsys: Streams, model: str) -> None:
    document = _json(capsys, "predict", model, "--dataset", "karate")
    logits = predict(model, "karate")
    counts = np.bincount(logits.argmax(axis=1), minlength=2).tolist()
    assert document["classes"] == [
        {"name": "instructor", "nodes": counts[0]},
        {"name": "officer", "nodes": counts[1]},
    ]
    graph = load_graph("karate")
    assert graph.test is not None
    assert graph.labels is not None
    expected = np.mean(logits.argmax(axis=1)[graph.test] == graph.labels[graph.test])
    assert document["test_accuracy"] == expected > 0.8
    assert cli.main(["predict", model, "--dataset", "karate"]) == 0
    assert f"test accuracy {expected:.4f}" in capsys.readouterr().out


def test_predict_writes_npz(capsys: Streams, model: str, tmp_path: Path) -> None:
    out = tmp_path / "nodes.npz"
    assert _json(capsys, "predict", model, "--dataset", "karate", "--out", str(out))["out"] == str(out)
    with np.load(out, allow_pickle=False) as file:
        logits = predict(model, "karate")
        np.testing.assert_array_equal(file["logits"], logits)
        np.testing.assert_allclose(file["probabilities"].sum(axis=1), 1)
        np.testing.assert_allclose(np.diff(np.log(file["probabilities"])), np.diff(logits), rtol=1e-5)
        np.testing.assert_array_equal(file["predicted"], logits.argmax(axis=1))
        assert file["class_names"].tolist() == ["instructor", "officer"]
        assert file["node_ids"].tolist() == [str(i) for i in range(34)]


def test_predict_writes_csv(capsys: Streams, model: str, tmp_path: Path) -> None:
    out = tmp_path / "nodes.csv"
    _json(capsys, "predict", model, "--dataset", "karate", "--out", str(out))
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    logits = predict(model, "karate")
    assert len(rows) == 34
    for row, values in zip(rows, logits, strict=True):
        assert row["predicted"] == ("instructor", "officer")[int(values.argmax())]
        assert float(row["probability instructor"]) + float(row["probability officer"]) == pytest.approx(1)
        assert np.float32(row["logit officer"]) == values[1]


def test_predict_names_the_classes_that_the_model_does_not_know(
    capsys: Streams, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def renamed(name: str, **options: Any) -> Graph:
        from dataclasses import replace

        return replace(load_graph(name), class_names=("one", "two"))

    monkeypatch.setattr("portgnn.datasets.load_graph", renamed)
    message = _fails(capsys, "predict", model, "--dataset", "karate")
    assert "classes that the model does not know: 'one', 'two'; it knows 'instructor', 'officer'" in message


def test_a_failed_prediction_leaves_the_old_file(
    capsys: Streams, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "nodes.npz"
    out.write_bytes(b"before")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in _fails(capsys, "predict", model, "--dataset", "karate", "--out", str(out))
    assert out.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [out]


# backends, datasets, doctor


def test_backends_are_listed(capsys: Streams) -> None:
    found = {record["name"]: record for record in _json(capsys, "backends")}
    assert set(found) == set(registry.registered_names())
    assert found["numpy"]["devices"] == {"cpu": ["float64", "float32"]}
    assert found["numpy"]["environment"]["version"] == np.__version__
    assert found["torch"]["install"] == 'pip install "portgnn[torch]"'
    assert cli.main(["backends"]) == 0
    out = capsys.readouterr().out
    for name in found:
        assert re.search(rf"^{name} ", out, re.MULTILINE)


def test_an_absent_backend_is_listed_with_its_command() -> None:
    done = _without("torch", "backends")
    assert done.returncode == 0
    line = next(line for line in done.stdout.splitlines() if line.startswith("torch"))
    assert line.endswith('not installed: pip install "portgnn[torch]"')
    document = json.loads(_without("torch", "doctor", "--json").stdout)
    torch = next(record for record in document["backends"] if record["name"] == "torch")
    assert (torch["available"], torch["problem"]) == (False, "not installed")
    assert not [problem for problem in document["problems"] if "torch" in problem]


def test_datasets_are_listed(capsys: Streams) -> None:
    found = {record["name"]: record for record in _json(capsys, "datasets")}
    assert {"cora", "citeseer", "karate", "csbm-cora"} <= set(found)
    assert (found["karate"]["nodes"], found["karate"]["at_hand"]) == (34, "bundled")
    assert cli.main(["datasets"]) == 0
    assert re.search(r"^karate +34 +78 ", capsys.readouterr().out, re.MULTILINE)


def test_doctor_examines_machine_and_backends(capsys: Streams) -> None:
    document = _json(capsys, "doctor")
    assert document["machine"]["bits"] == 64
    assert document["machine"]["executable"] == sys.executable
    assert document["settings"]["OMP_NUM_THREADS"] == os.environ["OMP_NUM_THREADS"]
    found = {record["name"]: record for record in document["backends"]}
    assert found["numpy"]["checks"] == {"cpu": "ok"}
    assert "openblas" in found["numpy"]["environment"]["blas"].lower() or found["numpy"]["environment"]["blas"]
    assert "tf32" in found["torch"]["environment"]
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "device cpu" in out
    assert ("PROBLEM" in out) == bool(document["problems"])


def test_doctor_names_rosetta_as_the_mistake_it_is(capsys: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portgnn.results.environment.runs_under_rosetta", lambda: True)
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "PROBLEM: This Python was built for x86-64 and macOS translates it (Rosetta)" in out
    assert "arm64" in out


def test_doctor_reports_a_device_that_computes_wrongly(capsys: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    from portgnn_numpy import NumPyBackend

    monkeypatch.setattr(NumPyBackend, "relu", lambda self, x: x)
    monkeypatch.setattr(NumPyBackend, "spmm", lambda self, a, x: x)
    document = _json(capsys, "doctor")
    assert any(problem.startswith("numpy on cpu fails") for problem in document["problems"])


# mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "nunpy"], "unknown backend 'nunpy'. Did you mean 'numpy'"),
        (["--device", "gpu9"], "the numpy backend has no device 'gpu9' here; it has cpu"),
        (["--dtype", "flaot64"], "unknown dtype 'flaot64'. Did you mean 'float64'"),
        (["--dtype", "bfloat16"], "no numpy device here (cpu) has bfloat16"),
        (["--preset", "kpif"], "unknown preset 'kpif'. Did you mean 'kipf'"),
        (["--dataset", "karete"], "karate"),
        (["--dataset", ""], "dataset"),
        (["--dataset", "/"], "/"),
        (["--seed", "-1"], "seed=-1 must be an integer, 0 or more"),
        (["--epochs", "0"], "epochs=0 must be at least 1"),
        (["--hidden", "0"], "hidden=0 must be at least 1"),
        (["--dropout", "1"], "dropout=1.0 must be at least 0 and below 1"),
        (["--learning-rate", "nan"], "learning_rate=nan must be finite and above 0"),
        (["--learning-rate", "1e200"], "the validation loss is"),
        (["--learning-rate", "1e200", "--loader", "neighbor"], "the validation loss is"),
        (["--learning-rate", "1e38", "--dtype", "float32"], "the validation loss is"),
        (["--bias", "both"], "bias='both' is not one of none, after, before"),
        (["--hidden", "many"], "--hidden"),
        (["--hiden", "3"], "--hiden"),
        (["stray"], "stray"),
    ],
)
@pytest.mark.filterwarnings("error::RuntimeWarning")  # a line of NumPy's beside the one
def test_mistakes_of_train_are_one_line(capsys: Streams, arguments: list[str], message: str) -> None:
    assert message in _fails(capsys, "train", "--dataset", "karate", *arguments)
    assert message in _fails(capsys, "train", "--dataset", "karate", *arguments, "--json")


def test_mistakes_of_predict_are_one_line(capsys: Streams, model: str, tmp_path: Path) -> None:
    (tmp_path / "foreign").write_bytes(b"not a model")
    for arguments, message in [
        ([str(tmp_path / "none"), "--dataset", "karate"], "there is no model file"),
        ([str(tmp_path / "foreign"), "--dataset", "karate"], "not a readable safetensors file"),
        ([model, "--dataset", "csbm-cora"], "csbm-cora has 1433 features a node; the model was trained on karate"),
        ([model, "--dataset", "karate", "--out", str(tmp_path / "x.txt")], "must end in .csv, .npz, .parquet"),
        ([model, "--dataset", "karate", "--out", str(tmp_path / "no" / "x.csv")], "cannot write"),
        ([model, "--dataset", "karate", "--backend", "nunpy"], "unknown backend"),
        ([model], "--dataset"),
        ([], "MODEL"),
    ]:
        assert message in _fails(capsys, "predict", *arguments)


def test_an_unknown_command_is_one_line(capsys: Streams) -> None:
    assert "No such command 'trian'" in _fails(capsys, "trian")


def _without(framework: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in an interpreter in which a framework cannot be imported."""
    code = f"import sys; sys.modules[{framework!r}] = None; from portgnn.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("framework", ["torch", "mlx"])
def test_a_framework_that_is_not_installed_is_one_line(framework: str) -> None:
    done = _without(framework, "train", "--dataset", "karate", "--backend", framework, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        rf"error: The {framework} backend is not installed\. Install it with: pip install \"portgnn\[{framework}\]\"\. "
        r"Available here: (\w+, )*numpy(, \w+)*\.\n",
        done.stderr,
    ), done.stderr


def test_a_missing_dtype_of_a_device_is_one_line(capsys: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    from portgnn_numpy import NumPyBackend

    monkeypatch.setattr(NumPyBackend, "devices", staticmethod(lambda: ("metal", "cpu")))
    monkeypatch.setattr(
        NumPyBackend, "dtypes", staticmethod(lambda device: ("float32",) if device == "metal" else ("float64",))
    )
    arguments = ("train", "--dataset", "karate", "--device", "metal", "--dtype", "float64")
    assert _fails(capsys, *arguments) == "error: numpy on metal has no float64; it has float32"


def test_interrupting_gives_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("portgnn.api.train", interrupted)
    assert cli.main(["train", "--dataset", "karate"]) == 130


def test_a_fault_of_our_own_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("portgnn.api.train", broken)
    with pytest.raises(RuntimeError, match="a fault"):
        cli.main(["train", "--dataset", "karate"])


# the command as such


def test_version_and_help(capsys: Streams) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"portgnn {portgnn.__version__}\n"
    assert cli.main([]) == 0
    out = capsys.readouterr().out
    for command in ("train", "predict", "backends", "datasets", "doctor"):
        assert re.search(rf"^  {command} ", out, re.MULTILINE)
        assert cli.main([command, "--help"]) == 0
    assert "--learning-rate" in capsys.readouterr().out


def test_the_module_and_the_script_are_the_same_command() -> None:
    script = Path(sys.executable).with_name("portgnn")
    for command in (COMMAND, [str(script)]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"portgnn {portgnn.__version__}\n"
    failed = subprocess.run([*COMMAND, "train", "--hidden", "0"], capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stderr) == (2, "error: hidden=0 must be at least 1\n")
