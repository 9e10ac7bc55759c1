"""Runs as TOML: what a file holds, what wins, what is refused, and that a configuration written out is the run."""

from __future__ import annotations

import inspect
import json
import logging
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import portgnn
from portgnn import cli, recipe
from portgnn.cli._app import train as command
from portgnn.configuration import LEVELS, OPTIONS, as_toml, effective, read_options
from portgnn.errors import ConfigError
from portgnn.loggers.tensorboard import TensorBoard
from portgnn.presets import PRESETS, preset

Streams = pytest.CaptureFixture[str]


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str | bytes) -> str:
        path = tmp_path / "run.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def _json(capsys: Streams, *arguments: str) -> Any:
    capsys.readouterr()
    assert cli.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def _fails(capsys: Streams, *arguments: str) -> str:
    capsys.readouterr()
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    return err.strip()


def test_the_table_of_options_is_the_commands_and_the_functions() -> None:
    parameters = inspect.signature(command).parameters
    own = {"json" if name == "as_json" else name for name in parameters} - {"config", "setting"}
    assert own == set(OPTIONS) | set(recipe.known())
    of_train = inspect.signature(portgnn.train).parameters
    known = {name for name, option in OPTIONS.items() if not option.shell_only} - {"logger"}
    assert known | {"epochs", "patience", "callbacks", "on_chunk", "announce", "hyperparameters"} == set(of_train)
    for name in ("every", "timeout", "distributed"):
        assert OPTIONS[name].default == of_train[name].default
    (log_level,) = parameters["log_level"].annotation.__metadata__
    assert log_level.metavar == "|".join(LEVELS)


def test_a_file_gives_options_and_the_shell_wins(capsys: Streams, write: Any) -> None:
    path = write('dataset = "karate"\npreset = "pyg"\nlearning-rate = 0.02\nbatch_size = 9\nepochs = 7\nseed = 4\n')
    document = _json(capsys, "train", "--config", path, "--epochs", "3", "--no-restore-best")
    config = document["config"]
    assert (document["dataset"], document["seed"], document["epochs_run"]) == ("karate", 4, 3)
    assert (config["preset"], config["learning_rate"], config["batch_size"]) == ("pyg", 0.02, 9)
    assert config["restore_best"] is False  # of the shell, against the preset's
    python = portgnn.train(**portgnn.load_config(path) | {"epochs": 3, "restore_best": False})
    assert python.history.train_loss == document["train_loss"]


def test_json_and_save_may_stand_in_the_file(capsys: Streams, write: Any, tmp_path: Path) -> None:
    path = write(f'dataset = "karate"\nepochs = 2\njson = true\nsave = "{tmp_path}/m.safetensors"\n')
    assert cli.main(["train", "--config", path]) == 0
    assert json.loads(capsys.readouterr().out)["epochs_run"] == 2
    assert portgnn.Model.load(tmp_path / "m.safetensors").dataset.startswith("karate")
    assert set(portgnn.load_config(path)) == {"dataset", "epochs"}


def test_loggers_of_the_file_are_callbacks(write: Any, tmp_path: Path) -> None:
    path = write(f'dataset = "karate"\nepochs = 2\nlogger = "tensorboard:{tmp_path}/a"\n')
    logger = portgnn.load_config(path)["callbacks"][0]
    assert isinstance(logger, TensorBoard)
    assert logger.folder == f"{tmp_path}/a"
    assert cli.main(["train", "--config", path]) == 0
    assert len(list((tmp_path / "a").iterdir())) == 1
    assert cli.main(["train", "--config", path, "--logger", f"tensorboard:{tmp_path}/b"]) == 0  # in place of the file's
    assert len(list((tmp_path / "a").iterdir())) == len(list((tmp_path / "b").iterdir())) == 1


# config show


@pytest.mark.parametrize(
    "options",
    [
        ["--dataset", "karate"],
        ["--dataset", "karate", "--preset", "article", "--seed", "5", "--dtype", "float64"],
        ["--dataset", "karate", "--loader", "neighbor", "--fanout", "3,all", "--eps", "1e-7", "--directed"],
        ["--dataset", "csbm-cora", "--split", "random:20:30:7", "--epochs", "20", "--l2", "0.1"],
    ],
)
def test_a_configuration_written_out_is_the_same_run(capsys: Streams, write: Any, options: list[str]) -> None:
    assert cli.main(["config", "show", *options]) == 0
    shown = capsys.readouterr().out
    path = write(shown)
    direct, again = _json(capsys, "train", *options), _json(capsys, "train", "--config", path)
    for name in ("train_loss", "val_loss", "val_accuracy", "test_accuracy", "config", "seed", "dtype", "dataset"):
        assert again[name] == direct[name], name
    capsys.readouterr()
    assert cli.main(["config", "show", "--config", path]) == 0
    assert capsys.readouterr().out == shown


def test_config_alone_shows_its_help(capsys: Streams) -> None:
    assert cli.main(["config"]) == 0
    assert "portgnn config show --dataset karate" in capsys.readouterr().out


def test_show_is_complete(capsys: Streams) -> None:
    assert cli.main(["config", "show", "--preset", "article"]) == 0
    shown = capsys.readouterr().out
    document = {key.replace("-", "_"): value for key, value in tomllib.loads(shown).items()}
    assert {name: document[name] for name in asdict(PRESETS["article"])} == asdict(PRESETS["article"])
    absent = {line.split(":")[0].removeprefix("# ").replace("-", "_") for line in shown.splitlines() if line[0] == "#"}
    assert set(document) | absent == set(OPTIONS) | set(recipe.known("gcn"))
    assert "# device: not given; the fastest that passes a self-check" in shown.splitlines()
    assert _json(capsys, "config", "show", "--preset", "article") == effective({"preset": "article"})


def test_a_resumed_run_shows_the_options_that_it_keeps(capsys: Streams, write: Any, tmp_path: Path) -> None:
    kept = str(tmp_path / "run.ckpt")
    assert cli.main(["train", "--dataset", "karate", "--preset", "pyg", "--seed", "6", "--epochs", "5",
                     "--dtype", "float64", "--checkpoint", kept]) == 0  # fmt: skip
    capsys.readouterr()
    assert cli.main(["config", "show", "--resume", kept, "--epochs", "9"]) == 0
    path = write(capsys.readouterr().out)
    shown = tomllib.loads(Path(path).read_text())
    assert (shown["preset"], shown["seed"], shown["epochs"], shown["dtype"]) == ("pyg", 6, 9, "float64")
    assert _json(capsys, "train", "--config", path)["epochs_run"] == 9
    assert _json(capsys, "train", "--resume", kept)["seed"] == 6  # no default of a new run stands against it


@pytest.mark.parametrize("text", ['a "b" \\ c', "tab\tnew\nline\x7f\x01", "Zoë 🙂", "'''"])
def test_any_text_comes_back(text: str, write: Any) -> None:
    options = effective({"dataset": text, "logger": [text, "x"], "save": Path(text)})
    again = read_options(Path(write(as_toml(options))))
    assert (again["dataset"], again["logger"], again["save"]) == (text, [text, "x"], Path(text))


def test_a_name_that_toml_cannot_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="TOML cannot hold"):
        as_toml(effective({"dataset": "\udc80"}))


# what is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning-rat = 0.1", "learning-rat is no option of a run. Did you mean 'learning-rate'?"),
        (
            "zzzzzz = 0.1",
            "zzzzzz is no option of a run. Known: accumulate, activation, adjacency, aggregator, alpha",
        ),
        ("[net]\nhidden = 3", "[net] is a table; keys stand at the top level"),
        ("[model]\nhidden = 3", "must be a string"),
        ("hidden = 16.0", "hidden=16.0 must be an integer"),
        ('hidden = "16"', "hidden='16' must be an integer"),
        ("layers = true", "layers=True must be an integer"),
        ("hidden = 0", "hidden=0 must be at least 1"),
        ("dropout = 1.5", "dropout=1.5 must be at least 0 and below 1"),
        ("undirected = 1", "undirected=1 must be True or False"),
        ('bias = "befor"', "bias='befor' is not one of none, after, before. Did you mean 'before'?"),
        (
            'preset = "kpif"',
            f"preset = \"kpif\" is not one of {', '.join(PRESETS)}. Did you mean 'kipf'?",
        ),
        ('seed = "1"', 'seed = "1" must be an integer'),
        ("seed = true", "seed = true must be an integer"),
        ("dataset = 2026-01-01", "dataset = 2026-01-01 must be a string"),
        ("distributed = 1", "distributed = 1 must be true or false"),
        ("logger = [1]", "logger = [1] must be a string or a list of strings"),
        ('log-level = "loud"', 'log-level = "loud" is not one of debug, info, warning, error.'),
        ("batch-size = 1\nbatch_size = 2", "batch_size is there twice, with a dash and with an underscore"),
        ("seed = 1\nseed = 2\n\n", "is not TOML: Cannot overwrite a value (at line 2, column 9)"),
        ("seed = 1\nhidden = \n", "is not TOML: Invalid value (at line 2, column 10)"),
        (b"dataset = '\xff'", "is not UTF-8 (byte 11)"),
        ("a = " + "[" * 10_000, "is nested too deeply"),
        ('logger = "tensorbord"', "there is no logger 'tensorbord'. Did you mean 'tensorboard'?"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_key(capsys: Streams, write: Any, text: str | bytes, message: str) -> None:
    path = write(text)
    said = _fails(capsys, "train", "--config", path)
    assert message in said
    if "logger" not in message:
        assert said.startswith(f"error: {path}")
        assert _fails(capsys, "config", "show", "--config", path) == said
    with pytest.raises(ConfigError):
        portgnn.load_config(path)


def test_a_file_that_is_not_there(capsys: Streams, tmp_path: Path) -> None:
    said = _fails(capsys, "train", "--config", str(tmp_path / "none.toml"))
    assert said == f"error: {tmp_path}/none.toml cannot be read: No such file or directory"
    assert "is a folder, not a file" in _fails(capsys, "train", "--config", str(tmp_path))


# records


def test_records_of_a_run_as_json_lines(capsys: Streams, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    options = ["train", "--dataset", "karate", "--epochs", "5", "--log-file", str(path)]
    result = _json(capsys, *options, "--log-level", "debug")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    epochs = [record for record in records if record["event"] == "epoch"]
    assert [record["train_loss"] for record in epochs] == result["train_loss"]
    assert records[-1]["test_accuracy"] == result["test_accuracy"]
    assert {record["level"] for record in records} == {"debug", "info"}
    _json(capsys, *options)  # appends, without epochs; and the handler of the first run is gone
    events = [json.loads(line)["event"] for line in path.read_text().splitlines()[len(records) :]]
    assert events == ["message", "message", "start", "end"]
    assert logging.getLogger("portgnn").level == logging.NOTSET


@pytest.mark.parametrize("options", [["--log-file", "-"], ["--log-level", "info"]])
def test_records_may_go_to_stderr(capsys: Streams, options: list[str]) -> None:
    assert cli.main(["train", "--dataset", "karate", "--epochs", "2", "--json", *options]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert [json.loads(line)["event"] for line in lines] == ["message", "message", "start", "end"]


def test_records_that_cannot_be_kept_end_it_before_training(capsys: Streams, tmp_path: Path) -> None:
    said = _fails(capsys, "train", "--dataset", "karate", "--log-file", str(tmp_path / "no" / "run.jsonl"))
    assert said == f"error: cannot write {tmp_path}/no/run.jsonl: No such file or directory"
    assert "there is no level 'loud'" in _fails(capsys, "train", "--dataset", "karate", "--log-level", "loud")
    assert "there is no logger 'x'" in _fails(capsys, "train", "--dataset", "karate", "--logger", "x")


def test_a_logger_that_fails_at_the_end_does_not_cost_the_model(
    capsys: Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(TensorBoard, "summarize", fail)
    model = tmp_path / "model.safetensors"
    options = ["--dataset", "karate", "--logger", f"tensorboard:{tmp_path}/a", "--save", str(model), "--json"]
    assert cli.main(["train", *options]) == 2
    assert "error: TensorBoard cannot record the run: nobody answers" in capsys.readouterr().err
    assert portgnn.Model.load(model).dataset.startswith("karate")


def test_a_logger_that_cannot_write_is_one_line(capsys: Streams, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = tmp_path / "run.ckpt"
    said = cli.main(
        ["train", "--dataset", "karate", "--logger", f"tensorboard:{tmp_path}/file", "--checkpoint", str(kept)]
    )
    assert said == 2
    assert "error: TensorBoard cannot record the run: " in capsys.readouterr().err
    assert not kept.exists()


@pytest.mark.parametrize("name", PRESETS)
def test_the_command_trains_the_network_of_a_recipe(capsys: Streams, write: Any, name: str) -> None:
    wanted = preset(name, epochs=1).model
    shell = _json(capsys, "train", "--dataset", "karate", "--preset", name, "--epochs", "1")
    assert shell["config"]["model"] == wanted
    file = write(f'dataset = "karate"\npreset = "{name}"\nepochs = 1\n')
    assert _json(capsys, "train", "--config", file)["config"] == shell["config"]
