"""Streams that are closed, full or of another encoding; foreign text; numbers too large; wrong options."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portgnn import Model, cli, load_graph, train
from portgnn.cli._examples import EXAMPLES
from portgnn.cli._streams import Guard
from portgnn.errors import ConfigError, OutOfMemoryError, PortgnnError
from portgnn.text import encodable, printable, shortened

Streams = pytest.CaptureFixture[str]
TRAIN = ("train", "--dataset", "karate", "--epochs", "3")
ESCAPES = "\x1b]0;owned\x07\x1b[2J\u202e\u2066\x9b31m"


def _shell(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line of bash in which `portgnn` is this one."""
    variables = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"} | environment
    return subprocess.run(["bash", "-c", command], env=variables, capture_output=True, check=False)


class _Full(io.StringIO):
    """A file on a disk that takes `room` characters more."""

    encoding = "utf-8"

    def __init__(self, room: int = 0, error: OSError | None = None) -> None:
        super().__init__()
        self.room, self.error = room, error or OSError(28, "No space left on device")

    def write(self, text: str) -> int:
        if len(text) > self.room:
            raise self.error
        self.room -= len(text)
        return super().write(text)

    def fileno(self) -> int:
        raise io.UnsupportedOperation


# closed and full


@pytest.mark.parametrize("command", ["train --dataset karate --epochs 3 --save m.st", "backends"])
def test_a_stdout_that_cannot_take_a_result_is_found_before_the_work(command: str, tmp_path: Path) -> None:
    for where, why in ((">&-", "it is closed"), (">/dev/full", "No space left on device"), ("1</dev/null", "closed")):
        done = _shell(f"cd {tmp_path} && portgnn {command} {where}")
        assert done.returncode == 2
        assert re.fullmatch(f"error: cannot write to stdout: .*{why}\n", done.stderr.decode())
        assert list(tmp_path.iterdir()) == []


def test_a_stderr_that_takes_nothing_changes_nothing(tmp_path: Path) -> None:
    plain = _shell(f"cd {tmp_path} && portgnn train --dataset karate --epochs 25 --json").stdout
    for where in ("2>&- 0<&-", "2>/dev/full"):
        done = _shell(f"cd {tmp_path} && portgnn train --dataset karate --epochs 25 --json --save m.st {where}")
        assert done.returncode == 0
        assert json.loads(done.stdout)["train_loss"] == json.loads(plain)["train_loss"]
        assert Model.load(tmp_path / "m.st").dataset == "karate"
        (tmp_path / "m.st").unlink()


def test_a_result_that_stdout_does_not_take_is_put_into_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Streams
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for room in (0, 40):
        for arguments in ((*TRAIN, "--save", str(tmp_path / "m.st")), (*TRAIN, "--json")):
            with monkeypatch.context() as patch:
                patch.setattr(sys, "stdout", _Full(room))
                assert cli.main(arguments) == 2
            line = capsys.readouterr().err.splitlines()[-1]
            found = re.fullmatch(
                r"error: cannot write to stdout: No space left on device; the result is in (\S+\.(json|txt))", line
            )
            assert found, line
            text = Path(found[1]).read_text()
            if "--json" in arguments:
                assert len(json.loads(text)["train_loss"]) == 3
            else:
                assert re.search(r"^test accuracy 0\.\d{4}\nsaved to", text, re.MULTILINE)
                assert Model.load(tmp_path / "m.st").num_features == 34


def test_where_no_file_can_be_made_the_result_goes_to_stderr(monkeypatch: pytest.MonkeyPatch, capsys: Streams) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    monkeypatch.setattr(sys, "stdout", _Full())
    assert cli.main(TRAIN) == 2
    err = capsys.readouterr().err
    assert re.search(r"^test accuracy 0\.\d{4}$", err, re.MULTILINE)
    assert err.splitlines()[-1] == "error: cannot write to stdout: No space left on device"


def test_a_list_whose_reader_has_left_ends_quietly() -> None:
    done = _shell("set -o pipefail; portgnn datasets | true")
    assert (done.returncode, b"error" in done.stderr, b"Traceback" in done.stderr) == (141, False, False)


def test_a_log_that_its_disk_does_not_take_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Streams
) -> None:
    arguments = ("train", "--dataset", "karate", "--epochs", "60", "--save", str(tmp_path / "m.st"))
    for options in (("--log-file", "/dev/full", "--log-level", "debug"), ("--log-file", "/dev/full", "--json")):
        assert cli.main([*arguments, *options]) == 2
        out, err = capsys.readouterr()
        assert "train_loss" in out or "test accuracy" in out
        assert Model.load(tmp_path / "m.st").dataset == "karate"
        assert "Traceback" not in err
        assert err.count("/dev/full") == 2
        assert "/dev/full takes no more records: No space left on device. The run goes on without them." in err
        assert err.splitlines()[-1].startswith("error: /dev/full took no more records (No space left on device)")
        assert len(err.splitlines()) < 16
    monkeypatch.setattr(sys, "stderr", _Full())  # records on stderr
    assert cli.main([*arguments, "--log-file", "-", "--log-level", "debug"]) == 0


def test_a_guard_asks_a_stream_no_more_once_it_has_failed() -> None:
    stream = _Full(3)
    guard = Guard(stream, keep=True)
    for text in ("one", "two", "3"):
        guard.write(text)
    guard.flush()
    assert (stream.getvalue(), "".join(guard.kept or []), guard.fault) == ("one", "onetwo3", "No space left on device")
    assert not Guard(None).isatty()
    assert Guard(None).fault


# encodings and foreign text


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A graph whose classes no code page has, in a folder whose name none has either."""
    folder = tmp_path / "grüße 日本"
    folder.mkdir()
    rows = [f"n{i},{'naïve' if i % 2 else '日本 €'},{('train', 'val', 'test')[i % 3]},{i % 2},{i}" for i in range(12)]
    (folder / "nodes.csv").write_text("\n".join(["id,label,split,a,b", *rows]) + "\n", encoding="utf-8")
    (folder / "edges.csv").write_text("source,target\n" + "".join(f"n{i},n{i + 1}\n" for i in range(11)))
    return folder


def _written(patch: pytest.MonkeyPatch, encoding: str, *arguments: str) -> tuple[int, bytes, bytes]:
    """Exit status and what a command writes to strict streams of an encoding."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", write_through=True) for _ in "oe"]
    with patch.context() as replaced:
        replaced.setattr(sys, "stdout", streams[0])
        replaced.setattr(sys, "stderr", streams[1])
        status = cli.main(arguments)
    return (status, *(stream.buffer.getvalue() for stream in streams))  # type: ignore[attr-defined]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_names_that_an_encoding_lacks_are_escaped(encoding: str, named: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = str(named / "m.st")
    status, _, _ = _written(monkeypatch, encoding, "train", "--dataset", str(named), "--epochs", "3", "--save", model)
    assert status == 0
    status, out, _ = _written(monkeypatch, encoding, "predict", model, "--dataset", str(named))
    assert status == 0
    name = {"utf-8": "日本 €", "cp1252": r"\u65e5\u672c €", "ascii": r"\u65e5\u672c \u20ac"}[encoding]
    assert f"class {name}: " in out.decode(encoding)
    assert re.search(rf"^{re.escape(name)} +\d", out.decode(encoding), re.MULTILINE)
    status, _, err = _written(monkeypatch, encoding, "train", "--dataset", f"{named}/none")
    assert status == 2
    assert "\nerror: There is no dataset" in err.decode(encoding)


def test_a_process_of_another_encoding_ends_well(named: Path) -> None:
    where = {"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"}
    line = f"portgnn config show --dataset '{named}' --epochs 3 > '{named}/run.toml'; "
    done = _shell(f"{line} portgnn train --config '{named}/run.toml'", **where)
    assert done.returncode == 0, done.stderr
    assert b"gr\\xfc\\xdfe \\u65e5\\u672c: 12 nodes" in done.stdout


def test_a_configuration_is_toml_on_any_stream(named: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding in ("ascii", "cp1252", "utf-8"):
        for name in (str(named), "a\x7f\x85\u2028\u202eb \U0001f600"):
            _, out, _ = _written(monkeypatch, encoding, "config", "show", "--dataset", name)
            assert tomllib.loads(out.decode("utf-8"))["dataset"] == name


def test_every_help_can_be_written_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in EXAMPLES:
        status, out, _ = _written(monkeypatch, "ascii", *command.split(), "--help")
        assert status == 0
        assert b"Examples:" in out


def test_foreign_text_gives_a_terminal_no_orders(tmp_path: Path, capsys: Streams) -> None:
    graph = load_graph("karate")
    evil = replace(graph, class_names=(f"a{ESCAPES}", "b\ntest accuracy 1.0000"), name=f"k{ESCAPES}")
    model = train(evil, epochs=2).save(tmp_path / "m.st")
    assert cli.main(["predict", str(model), "--dataset", "karate"]) == 2
    assert cli.main(["train", "--dataset", f"none{ESCAPES}"]) == 2
    assert cli.main(["plot", str(tmp_path / f"{ESCAPES}.json"), "--out", str(tmp_path / "a.png")]) == 2
    folder = tmp_path / f"f{ESCAPES}"
    folder.mkdir()
    assert cli.main(["train", "--dataset", str(folder)]) == 2
    assert cli.main(["convert", "karate", str(folder / "a.graph")]) == 0
    assert cli.main(["train", "--dataset", str(folder / "a.graph"), "--epochs", "2"]) == 0
    assert cli.main(["config", "show", "--dataset", str(folder)]) == 0
    with pytest.raises(PortgnnError) as caught:
        train(f"none{ESCAPES}")
    shown = "".join(capsys.readouterr()) + str(caught.value) + str(evil) + repr(evil)
    assert "owned" in shown
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", shown)
    assert not re.search(r"^test accuracy 1\.0", shown, re.MULTILINE)


def test_what_is_printable_stays_as_it_is() -> None:
    for text in ("naïve 日本 \U0001f600", "a\u200db", "شماره\u200cها", "C:\\x1b"):
        assert printable(text) == text
    assert printable("a\tb\nc\x1b\ud800") == r"a\tb\nc\x1b\ud800"
    assert printable("a\tb\nc\x1b", lines=True) == "a\tb\nc\\x1b"
    assert encodable("naïve 日", "latin-1") == "naïve \\u65e5"
    assert shortened("x" * 1000, 11) == "xxxxx…xxxxx"


# numbers too large


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("hidden", 5_000_000_000, "hidden=5000000000 must be below 2"),
        ("hidden", 10**5000, "hidden=a number of 16610 bits must be below"),
        ("layers", 5_000_000_000, "layers=5000000000 must be at most 10000"),
        ("epochs", 10**20, "epochs=100000000000000000000 must be below"),
        ("patience", 10**20, "patience=100000000000000000000 must be below"),
        ("batch_size", 10**20, "batch_size=100000000000000000000 must be below"),
        ("fanout", "9" * 20, "must be numbers above 0 and below 2"),
        ("fanout", "9" * 5000, "must be numbers above 0 and below 2"),
        ("fanout", "²", "must be numbers above 0 and below 2"),
        ("seed", 2**63, "seed=9223372036854775808 must be below"),
        ("seed", 10**5000, "seed=a number of 16610 bits must be below"),
        ("every", 10**20, "every=100000000000000000000 must be below"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "large",
)
def test_numbers_too_large_are_one_line(option: str, value: Any, message: str, capsys: Streams) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        train("karate", **{option: value})
    assert len(str(caught.value)) < 300
    if isinstance(value, str) or value < 10**1000:
        assert cli.main(["train", "--dataset", "karate", f"--{option.replace('_', '-')}", str(value)]) == 2
        assert message in capsys.readouterr().err


def test_weights_that_no_machine_holds_are_refused_before_they_are_made() -> None:
    with pytest.raises(OutOfMemoryError, match=r"2000000000 wide, take \d+ TiB, and this machine has"):
        train("karate", hidden=2_000_000_000, layers=3)


def test_numpys_integers_are_integers() -> None:
    expected = train("karate", seed=3, epochs=2).history.train_loss
    for kind in (np.int64, np.uint8, np.int32):
        assert train("karate", seed=kind(3), epochs=kind(2)).history.train_loss == expected
    for wrong in (np.float64(3), 3.0, True, np.True_, "3", -1, np.int64(-1), np.arange(2)):
        with pytest.raises(ConfigError, match="seed="):
            train("karate", seed=wrong)
    for wrong in (np.arange(2), 10**5000, [1]):
        with pytest.raises(ConfigError, match="l2="):
            train("karate", l2=wrong)


# what to type


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("train", "karate"),
            "place for 'karate'. Did you mean --dataset karate? Type: portgnn train --help",
        ),
        (("predict", "m.st", "karate", "--dataset", "x"), "--dataset karate? Type: portgnn predict --help"),
        (("verify", "torch"), "--backend torch? Type: portgnn verify --help"),
        (("train", "--lr", "1"), "No such option: --lr. Did you mean --learning-rate? Type: portgnn train --help"),
        (("train", "--hiden", "1"), "No such option: --hiden. Did you mean --hidden? Type: portgnn train --help"),
        (("train", "--num-layers", "1"), "Did you mean --layers?"),
        (("config", "show", "--wd", "1"), "Did you mean --weight-decay? Type: portgnn config show --help"),
        (("trian",), "No such command 'trian'. Did you mean 'train'? Type: portgnn --help"),
        (("plot",), "Missing argument 'RESULT...'. Type: portgnn plot --help"),
        (("train", "--hidden", "9" * 5000), "Type: portgnn train --help"),
        (("train", "--seed", "x" * 5000), "Type: portgnn train --help"),
    ],
)
def test_a_wrong_option_names_the_right_one_and_its_own_help(
    arguments: tuple[str, ...], said: str, capsys: Streams
) -> None:
    assert cli.main(arguments) == 2
    line = capsys.readouterr().err
    assert line.endswith(f"{said}\n"[-len(line) :]) or said in line
    assert line.count("\n") == 1
    assert len(line) < 400
    assert not re.search(r"[?!]\.|\.\.", line.replace("...", ""))


@pytest.mark.parametrize(
    ("name", "meant"), [("lr", "learning_rate"), ("wd", "weight_decay"), ("bs", "batch_size"), ("n_layers", "layers"),
                        ("hidden_dim", "hidden"), ("max_epochs", "epochs"), ("learning_rat", "learning_rate")],
)  # fmt: skip
def test_a_hyperparameter_by_another_librarys_name(name: str, meant: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"unknown hyperparameter '{name}'. Did you mean '{meant}'"):
        train("karate", **{name: 1})
    (tmp_path / "run.toml").write_text(f"{name} = 1\n")
    assert cli.main(["train", "--config", str(tmp_path / "run.toml")]) == 2
