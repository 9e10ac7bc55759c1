"""Columns that are what to learn: every command that reads a table leaves them out of the features."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import portgnn
from portgnn import cli

Streams = pytest.CaptureFixture[str]


@pytest.fixture
def homes(tmp_path: Path) -> Path:
    folder = tmp_path / "homes"
    folder.mkdir()
    random = np.random.default_rng(0)
    rows = [f"h{n},{random.random():.3f},{random.random():.3f},{100 * random.random():.2f}" for n in range(30)]
    (folder / "nodes.csv").write_text("\n".join(["id,rooms,age,price", *rows]) + "\n")
    edges = [f"h{n},h{(n + step) % 30}" for n in range(30) for step in (1, 4)]
    (folder / "edges.csv").write_text("\n".join(["source,target", *edges]) + "\n")
    return folder


def _ran(capsys: Streams, *arguments: str) -> str:
    assert cli.main([*arguments]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_convert_keeps_targets_apart_and_training_reads_them(homes: Path, tmp_path: Path, capsys: Streams) -> None:
    out = str(tmp_path / "homes.graph")
    document = json.loads(
        _ran(capsys, "convert", str(homes), out, "--target", "price", "--split", "fraction:0.5:0.2", "--json")
    )
    assert document["features"] == 2
    graph = portgnn.load_graph(out)
    assert graph.target_names == ("price",)
    assert graph.feature_names == ("rooms", "age")
    options = ["--epochs", "3", "--batch-size", "8", "--dtype", "float64", "--json"]
    batches = ("train", "--dataset", out, "--loader", "neighbor", "--fanout", "all", *options)
    found = json.loads(_ran(capsys, *batches))
    assert found["config"]["task"] == "regression"
    again = json.loads(_ran(capsys, *batches, "--target", "price"))
    assert again["train_loss"] == found["train_loss"]
    assert cli.main([*batches, "--target", "age"]) == 2
    said = capsys.readouterr().err
    assert "has the targets price in its files; convert the graph with --target age" in said
    assert "Traceback" not in said


def test_pictures_of_a_model_of_targets_read_its_table_as_training_did(
    homes: Path, tmp_path: Path, capsys: Streams
) -> None:
    pytest.importorskip("matplotlib")
    model, out = tmp_path / "m.safetensors", tmp_path / "x.svg"
    split = ["--split", "fraction:0.5:0.2"]
    _ran(capsys, "train", "--dataset", str(homes), "--target", "price", *split, "--epochs", "3", "--save", str(model))
    for kind in ("estimates", "map"):
        _ran(capsys, "plot", str(model), "--dataset", str(homes), "--kind", kind, "--out", str(out))
        assert "price, estimated" in out.read_text()
    assert cli.main(["plot", str(model), "--dataset", str(homes), "--kind", "confusion", "--out", str(out)]) == 2
    assert "the model says values of nodes, and no class of each" in capsys.readouterr().err


def test_links_of_a_table_with_targets_leave_them_out(homes: Path, tmp_path: Path, capsys: Streams) -> None:
    model = tmp_path / "m.safetensors"
    options = ["--task", "link", "--target", "price", "--epochs", "2"]
    _ran(capsys, "train", "--dataset", str(homes), *options, "--save", str(model))
    found = json.loads(
        _ran(capsys, "predict", str(model), "--dataset", str(homes), "--links-of", "h3", "--k", "2", "--json")
    )
    assert len(found["links"]) == 2
    assert len(portgnn.predict_links(model, str(homes), [["h0", "h9"]]).pairs) == 1
    assert cli.main(["plot", str(model), "--dataset", str(homes), "--out", str(tmp_path / "x.svg")]) == 2
    assert "the model says something of pairs, and a map is of nodes" in capsys.readouterr().err
