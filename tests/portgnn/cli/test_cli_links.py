"""`portgnn predict` of a model of links: scores in each form of file, what it prints, and what it refuses in a line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portgnn
from portgnn import cli
from portgnn.prediction.links import predict_links

Streams = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "links.safetensors"
    return str(portgnn.train("karate", task="link", epochs=8, seed=2).save(path))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text("target,note,source\n1,one,0\n33,,5\n")
    return path


def _fails(capsys: Streams, *arguments: str) -> str:
    assert cli.main([*arguments]) == 2
    message = capsys.readouterr().err.strip()
    assert len(message.splitlines()) == 1
    return message


def test_pairs_of_a_file_are_scored_in_its_order(capsys: Streams, model: str, pairs: Path, tmp_path: Path) -> None:
    found = predict_links(model, "karate", [[0, 1], [5, 33]])
    out = tmp_path / "scores.csv"
    assert cli.main(["predict", model, "--dataset", "karate", "--pairs", str(pairs), "--out", str(out)]) == 0
    assert "test ROC-AUC" in capsys.readouterr().out
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["source"], row["target"], row["edge"]) for row in rows] == [("0", "1", "1"), ("5", "33", "0")]
    assert [np.float32(row["logit"]) for row in rows] == found.scores.tolist()
    assert [float(row["probability"]) for row in rows] == found.probabilities.tolist()
    # What was written can be asked for again.
    again = tmp_path / "again.parquet"
    assert cli.main(["predict", model, "--dataset", "karate", "--pairs", str(out), "--out", str(again)]) == 0
    assert cli.main(["predict", model, "--dataset", "karate", "--pairs", str(again), "--out", str(out)]) == 0
    with out.open(newline="") as file:
        assert list(csv.DictReader(file)) == rows


def test_the_best_new_links_of_a_node_as_json_and_npz(capsys: Streams, model: str, tmp_path: Path) -> None:
    out = tmp_path / "links.npz"
    command = ["predict", model, "--dataset", "karate", "--links-of", "3", "-k", "4", "--json", "--out", str(out)]
    assert cli.main(command) == 0
    document: Any = json.loads(capsys.readouterr().out)
    best = predict_links(model, "karate", node=3, k=4)
    assert [row["target"] for row in document["links"]] == [str(at) for at in best.pairs[:, 1]]
    assert all(row["edge"] == 0 for row in document["links"])
    assert set(document["held_out"]["test"]) == {"roc_auc", "average_precision", "mrr", "hits"}
    with np.load(out, allow_pickle=False) as file:
        assert (file["pairs"] == best.pairs).all()
        assert (file["logit"] == best.scores).all()


def test_what_cannot_be_asked_is_said_in_a_line(capsys: Streams, model: str, pairs: Path, tmp_path: Path) -> None:
    asked = ["predict", model, "--dataset", "karate"]
    strange, other = tmp_path / "strange.csv", tmp_path / "other.csv"
    strange.write_text("source,target\n0,1\n5,77\n")
    other.write_text("from,to\n0,1\n")
    assert "line 3, column 'target': node '77' is not in karate" in _fails(capsys, *asked, "--pairs", str(strange))
    assert "its first line must be source,target" in _fails(capsys, *asked, "--pairs", str(other))
    assert "leave one of them out" in _fails(capsys, *asked, "--pairs", str(pairs), "--links-of", "3")
    assert "there are 17 candidates" in _fails(capsys, *asked, "--links-of", "0", "-k", "18")
    assert "node 'x' is not in karate" in _fails(capsys, *asked, "--links-of", "x")
    assert "leave --split out" in _fails(capsys, *asked, "--split", "random:2:2")
    assert "must end in .csv, .npz, .parquet" in _fails(capsys, *asked, "--out", str(tmp_path / "x.txt"))
    nodes = str(portgnn.train("karate", epochs=1).save(tmp_path / "nodes.safetensors"))
    assert "train one with --task link" in _fails(capsys, "predict", nodes, "--dataset", "karate", "--links-of", "3")


def test_the_end_of_a_training_says_what_to_type_next(capsys: Streams, tmp_path: Path) -> None:
    path = str(tmp_path / "links.safetensors")
    assert cli.main(["train", "--dataset", "karate", "--task", "link", "--epochs", "2", "--save", path]) == 0
    streams = capsys.readouterr()
    assert "test ROC-AUC" in streams.out
    assert f"portgnn predict {path} --dataset karate --links-of NODE" in streams.err
