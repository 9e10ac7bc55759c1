"""`portgnn study`: options, files, tables on stdout, and one line for each mistake."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from portgnn import cli
from portgnn.cli._study import seeds_of, time_left
from portgnn.errors import ConfigError
from portgnn.studies import Told
from portgnn.studies.file import read_study

Streams = pytest.CaptureFixture[str]
COMMAND = ["study", "--dataset", "karate", "--jobs", "1"]


def _fails(capsys: Streams, *arguments: str) -> str:
    capsys.readouterr()
    assert cli.main([*COMMAND, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err.splitlines()[-1]


def test_it_prints_tables_and_keeps_all_forms(tmp_path: Path, capsys: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([*COMMAND, "--model", "gcn,mlp", "--seeds", "3,5", "--set", "epochs=4", "--set", "hidden=2,4"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split()[:4] == ["dataset", "model", "chosen", "test"]
    assert "the test decided nothing" in out
    assert "Wilcoxon" in out
    assert out.splitlines()[-1].startswith("8 runs trained. Tables, runs and a page: study/")
    assert "8 of 8 runs, about 0:00:00 left; karate mlp" in err
    data = json.loads((tmp_path / "study" / "study.json").read_text())
    assert data["command"] == (
        "portgnn study --dataset karate --model gcn,mlp --set epochs=4 --set hidden=2,4 --seeds 3,5 --jobs 1"
    )
    rows = list(csv.DictReader((tmp_path / "study" / "table.csv").open()))
    assert [row["model"] for row in rows] == ["gcn", "mlp"]
    assert float(rows[0]["mean"]) == data["rows"][0]["summary"]["mean"]
    runs = list(csv.DictReader((tmp_path / "study" / "runs.csv").open()))
    assert [(run["model"], run["seed"]) for run in runs] == [("gcn", "3"), ("gcn", "5"), ("mlp", "3"), ("mlp", "5")]
    latex = (tmp_path / "study" / "table.tex").read_text()
    for word in ("\\toprule", "\\midrule", "\\bottomrule", "mlp & ", "decided nothing"):
        assert word in latex
    assert "Holm" not in latex  # of tests that a table of means does not show
    assert (tmp_path / "study" / "table.md").read_text().count("\n| gcn |") == 0
    assert "| karate | gcn |" in (tmp_path / "study" / "table.md").read_text()
    assert "<h2" in (tmp_path / "study" / "report.html").read_text()


def test_json_is_the_document(tmp_path: Path, capsys: Streams) -> None:
    folder = str(tmp_path / "s")
    assert cli.main([*COMMAND, "--seeds", "1", "--set", "epochs=3", "--folder", folder, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == json.loads((tmp_path / "s" / "study.json").read_text())


def test_a_study_as_a_file(tmp_path: Path, capsys: Streams) -> None:
    file = tmp_path / "study.toml"
    file.write_text(
        'dataset = "karate"\nmodel = ["gcn"]\nseeds = [1, 2]\njobs = 1\n[set]\nepochs = 3\nhidden = [2, 4]\n'
    )
    folder = str(tmp_path / "s")
    assert cli.main(["study", "--config", str(file), "--folder", folder, "--seeds", "1", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["seeds"] == [0]  # the shell's
    assert data["tried"] == {"epochs": [3], "hidden": [2, 4]}


WRONG_FILES = {
    "seeds = 'many'": "seeds = 'many' must be a number or a list of numbers",
    "datset = 'cora'": "datset is no option of a study. Did you mean 'dataset'",
    "jobs = true": "jobs = True must be a number",
    "set = 3": "set = 3 must be a table",
    "model = []": "must be a text or a list of texts",
    "each = 1": "each = 1 must be true or false",
    "set = 'hidden'": "must be NAME=VALUES",
    "a = ": "is not TOML",
}


@pytest.mark.parametrize("text", WRONG_FILES, ids=range(len(WRONG_FILES)))
def test_files_that_are_wrong(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(ConfigError, match=WRONG_FILES[text]) as caught:
        read_study(tmp_path / "s.toml")
    assert "s.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "hiden=3"), "Did you mean 'hidden'"),
        (("--set", "hidden="), "a value is missing"),
        (("--seeds", "ten"), "--seeds ten must be how many"),
        (("--model", ","), "--model lists nothing"),
        (("--splits", "4"), "--splits 4"),
        (("--sed", "4"), "Did you mean --seeds"),
        (("--folder", "/dev/null"), "is a file; name a folder"),
    ],
    ids=lambda given: given[0] if isinstance(given, tuple) else "",
)
def test_mistakes(arguments: tuple[str, ...], said: str, capsys: Streams, tmp_path: Path) -> None:
    more = () if "--folder" in arguments else ("--folder", str(tmp_path / "s"))
    assert said in _fails(capsys, *arguments, *more)
    assert not (tmp_path / "s").exists()


def test_seeds_and_times() -> None:
    found: list[Any] = [seeds_of(text) for text in ("20", "3,", "3, 7,9")]
    assert found == [20, [3], [3, 7, 9]]
    assert time_left(Told(1, 2, 0, 3725.4)) == "about 1:02:05 left"
    assert time_left(Told(0, 2, 0, None)) == "time left unknown"
