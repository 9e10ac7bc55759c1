"""Tasks of nodes by the command line: columns of tables, training, and predictions in files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portgnn import load_graph
from portgnn.cli import main


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """60 nodes with a price, and two columns of 0 and 1; some unknown."""
    random = np.random.default_rng(2)
    rows = ["id,label,split,size,age,price,wet,cold"]
    for node in range(60):
        size, age = random.standard_normal(2)
        price = "" if node > 55 else f"{1e5 * (3 + size - age):.1f}"
        part = ["train", "val", "test"][min(node // 20, 2)] if node <= 55 else ""
        rows.append(
            f"n{node},home,{part},{size:.3f},{age:.3f},{price},{int(size > 0)},{'' if node % 9 == 4 else int(age > 0)}"
        )
    folder = tmp_path / "homes"
    folder.mkdir()
    (folder / "nodes.csv").write_text("\n".join(rows) + "\n")
    (folder / "edges.csv").write_text("source,target\n" + "".join(f"n{i},n{i + 1}\n" for i in range(59)))
    return folder


def test_columns_become_targets(tables: Path) -> None:
    graph = load_graph(tables, target="price", ignore=["wet", "cold"])
    assert (graph.target_names, graph.feature_names, graph.labels) == (("price",), ("size", "age"), None)
    assert graph.targets is not None
    assert np.isnan(graph.targets[56:]).all()
    assert np.isfinite(graph.targets[:56]).all()
    labels = load_graph(tables, target=["wet", "cold"], ignore=["price"])
    assert labels.targets is not None
    assert np.isnan(labels.targets).sum() == 7


@pytest.mark.parametrize(
    ("target", "ignored", "task", "said"),
    [("price", "wet,cold", "regression", "value price"), ("wet,cold", "price", "labels", "probability wet")],
)
def test_the_shell_trains_and_predicts(
    tables: Path, tmp_path: Path, capsys: Any, target: str, ignored: str, task: str, said: str
) -> None:
    model, out = tmp_path / "model.safetensors", tmp_path / "nodes.csv"
    left_out = [word for name in ignored.split(",") for word in ("--ignore", name)]
    given = ["train", "--dataset", str(tables), "--target", target, *left_out, "--epochs", "5", "--save", str(model)]
    assert main(given) == 0
    shown = capsys.readouterr()
    assert {"regression": "mean absolute error", "labels": "ROC-AUC"}[task] in shown.out
    assert {"regression": "regression of 1 value a node", "labels": "several labels a node (2)"}[task] in shown.err
    assert main(["predict", str(model), "--dataset", str(tables), *left_out, "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["task"], list(document["parts"])) == (
        task,
        ["train", "validation", "test", *(["other"] if task == "labels" else [])],
    )
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == 60
    assert np.isfinite([float(row[said]) for row in rows]).all()
    for kind in (".npz", ".parquet"):
        assert (
            main(["predict", str(model), "--dataset", str(tables), *left_out, "--out", str(out.with_suffix(kind))]) == 0
        )


def test_what_is_no_target_is_refused(tables: Path, capsys: Any) -> None:
    assert main(["train", "--dataset", str(tables), "--target", "prize"]) == 2
    assert "has no column 'prize' to learn" in capsys.readouterr().err
    assert main(["train", "--dataset", str(tables), "--target", "label", "--ignore", "price", "--ignore", "cold"]) == 2
    assert "line 2, column 'label': 'home' is no number; a target is one, or empty" in capsys.readouterr().err


def test_no_confusion_is_drawn_of_values(tables: Path, tmp_path: Path, capsys: Any) -> None:
    model = tmp_path / "model.safetensors"
    read = ["--dataset", str(tables), "--ignore", "wet", "--ignore", "cold"]
    assert main(["train", *read, "--target", "price", "--epochs", "2", "--save", str(model)]) == 0
    capsys.readouterr()
    assert main(["plot", str(model), *read, "--kind", "confusion", "--out", str(tmp_path / "a.png")]) == 2
    said = capsys.readouterr().err
    assert "values of nodes, and no class of each" in said
    assert "Traceback" not in said
