"""Results read back: what they are, what is wrong with them, and the command that makes them again."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import Any

import pytest
from results import RESULTS, benchmark, growth, run, verification

import portgnn
from portgnn import cli
from portgnn.errors import ConfigError
from portgnn.report.documents import command, differing, labels_of, number, read, recognise, relative_difference


@pytest.mark.parametrize(
    ("data", "kind"), [(run(), "train"), (verification(), "verify"), (benchmark(), "benchmark"), (growth(), "growth")]
)
def test_the_kind_is_told_by_the_content(data: dict[str, Any], kind: str) -> None:
    assert recognise(data, "x").kind == kind


def test_every_published_result_that_has_a_chart_is_read() -> None:
    for path in (*RESULTS.glob("verify/*.json"), *RESULTS.glob("cora-*.json")):
        assert read(path).kind in ("verify", "benchmark")


WRONG: list[tuple[Any, str]] = [
    ([], "holds neither"),
    ({"results": 1}, "holds neither"),
    ({"format": "portgnn-bench", "kind": "startup"}, "bench/table.py x"),
    ({k: v for k, v in run().items() if k != "seed"}, "x: the field 'seed' is missing"),
    (run(train_loss=[]), "train_loss holds no epoch"),
    (run(train_loss=[1.0, None]), "x: train_loss must be a list of numbers"),
    (run(train_loss=[1.0, math.inf]), "x: train_loss must be a list of numbers"),
    (run(val_loss=[1.0]), "val_loss holds 1 epochs, and train_loss 30"),
    (run(best_epoch=30), "best_epoch is 30"),
    (run(seed="0"), 'x: seed must be a whole number, and is "0"'),
    (verification(checks=[{"name": "x"}]), r"x: checks\[0\]: the field 'tolerance' is missing"),
    (verification(checks=3), "x: checks must be a list, and is 3"),
    (benchmark() | {"workers": {"a": 1}}, r"x: workers\[a\] must be an object"),
    (run(seed=10**400), "seed must be a whole number"),
    (growth(rows=[{"status": "timed"}]), r"x, rows\[0\]: the field 'title'"),
    (
        growth(rows=[growth()["rows"][0] | {"train_ms": {"median": 1, "q1": 0, "q3": 1}}]),
        r"rows\[0\]: train_ms: q1 must be a number above 0, and is 0",
    ),
]


@pytest.mark.parametrize(("data", "words"), WRONG)
def test_what_is_wrong_is_said_with_its_place(data: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        recognise(data, "x")


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with pytest.raises(ConfigError, match="No such file"):
        read(path)
    for content in (b"{", b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="is not JSON"):
            read(path)


def test_differences_are_relative_and_equality_is_zero() -> None:
    assert relative_difference([1.0, 3.0, 0.0, 1.0], [1.0, 2.0, 0.0, 0.0, 9.0]) == [0.0, 0.5, 0.0, math.inf]


def test_runs_are_meant_to_agree_unless_something_decides_otherwise() -> None:
    assert differing(run(), run(backend="x", device="y", dtype="float64")) == ""
    assert differing(run(), run(config=run()["config"] | {"rows": "all", "epochs": 5})) == ""
    assert differing(run(), run(seed=1)) == "seed: 0 and 1"
    assert differing(run(), run(config=run()["config"] | {"hidden": 8})) == "hidden: 16 and 8"
    assert "split" in differing(run(), run(notes=["split random:2:2, seed 0: 4/4/26 nodes"]))


def test_no_two_runs_have_one_name() -> None:
    assert labels_of([run(), run(seed=1)]) == ["seed 0, numpy cpu float32", "seed 1, numpy cpu float32"]
    assert labels_of([run(), run(dtype="float64")]) == ["numpy cpu float32", "numpy cpu float64"]
    assert labels_of([run(), run()]) == ["numpy cpu float32 (1)", "numpy cpu float32 (2)"]


def test_three_significant_digits() -> None:
    assert [number(v) for v in (0.0571, 1.234, 12.34, 123.4, 1234)] == ["0.057", "1.23", "12.3", "123", "1234"]


def test_the_command_of_a_run_gives_the_same_run(capsys: pytest.CaptureFixture[str]) -> None:
    first = portgnn.train("karate", preset="pyg", seed=3, epochs=5, hidden=4, undirected=False, split="random:2:2:7")
    line = command(recognise(first.to_dict(), "x"))
    words = shlex.split(line)
    assert words[0] == "portgnn"
    assert cli.main(words[1:]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["train_loss"] == first.history.train_loss
    assert again["config"] == first.to_dict()["config"]


def test_commands_of_verification_and_benchmark() -> None:
    assert (
        command(recognise(verification(), "x")) == "portgnn verify --backend fake --device cpu --dtype float32 --json"
    )
    line = command(recognise(benchmark(), "x"))
    assert line.startswith("python bench/run_all.py --datasets cora --recipes pyg --backends numpy,torch,mlx,jax ")
    assert "--growth --max-edges 1e6 " in command(recognise(growth(), "x"))


def test_a_command_quotes_what_a_file_says() -> None:
    line = command(recognise(run(dataset="x; rm -rf /"), "x"))
    assert "--dataset 'x; rm -rf /'" in line
