"""Scores against figures worked out by hand, and against scikit-learn's definitions written out."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from portgnn import Graph, Model, cli, load_graph, predict, train
from portgnn.errors import GraphError
from portgnn.prediction.evaluation import calibration_error, evaluate_parts, labels_for, part_names, score, softmax


def test_scores_by_hand() -> None:
    #            said a     said a     said b     said c
    shares = np.array([[0.8, 0.1, 0.1], [0.6, 0.4, 0.0], [0.2, 0.7, 0.1], [0.0, 0.1, 0.9]])
    found = score(shares, np.array([0, 1, 1, 2]), ("a", "b", "c"))
    assert (found.accuracy, found.nodes) == (0.75, 4)
    assert found.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert [(s.name, s.precision, s.recall, s.support, s.predicted) for s in found.classes] == [
        ("a", 0.5, 1.0, 1, 2),
        ("b", 1.0, 0.5, 2, 1),
        ("c", 1.0, 1.0, 1, 1),
    ]
    assert [s.f1 for s in found.classes] == pytest.approx([2 / 3, 2 / 3, 1.0])
    assert found.macro_f1 == pytest.approx(7 / 9)
    # Each in a bin of its own: |1 - .8|, |0 - .6|, |1 - .7|, |1 - .9|, a quarter each.
    assert found.calibration_error == pytest.approx((0.2 + 0.6 + 0.3 + 0.1) / 4)
    assert json.loads(json.dumps(found.to_dict()))["confusion"] == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]


def test_a_class_that_never_occurs_does_not_count() -> None:
    found = score(np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]), np.array([0, 1]), ("a", "b", "never"))
    assert found.macro_f1 == 1.0
    assert found.classes[2].f1 == 0.0
    missed = score(np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]), np.array([0, 2]), ("a", "b", "missed"))
    assert missed.macro_f1 == pytest.approx(1 / 3)


def test_calibration_in_shared_bins() -> None:
    sure = np.array([[0.75, 0.25]] * 4)
    assert calibration_error(sure, np.array([0, 0, 0, 1])) == 0.0
    assert calibration_error(sure, np.array([1, 1, 1, 1])) == 0.75
    assert calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0.0
    # On a border a value belongs to the bin below: (0.5, 1] does not hold 0.5.
    assert calibration_error(np.array([[0.5, 0.5], [0.9, 0.1]]), np.array([1, 0]), bins=2) == pytest.approx(0.3)


def test_softmax_neither_overflows_nor_loses_a_row() -> None:
    shares = softmax(np.array([[1e4, 0.0], [-1e4, 0.0], [0.0, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(shares, [[1, 0], [0, 1], [0.5, 0.5]])


def test_labels_are_matched_by_name() -> None:
    graph = replace(load_graph("karate"), class_names=("officer", "instructor"))
    assert graph.labels is not None
    np.testing.assert_array_equal(labels_for(graph, ("instructor", "other", "officer")), np.array([2, 0])[graph.labels])
    with pytest.raises(GraphError, match="has the class 'officer', which the model does not know"):
        labels_for(graph, ("instructor",))


def test_parts_are_scored_apart() -> None:
    #                  other  train  val    test   test   no label
    labels = np.array([0, 0, 1, 1, 0, -1])
    codes = np.array([0, 1, 2, 3, 3, 3], dtype=np.uint8)
    logits = np.eye(2)[[0, 0, 0, 1, 1, 1]]
    found = evaluate_parts(logits, labels, part_names(labels, codes), ("a", "b"))
    assert {part: (scores.nodes, scores.accuracy) for part, scores in found.items()} == {
        "train": (1, 1.0), "validation": (1, 0.0), "test": (2, 0.5), "other": (1, 1.0)
    }  # fmt: skip
    assert [scores.part for scores in found.values()] == ["train", "validation", "test", "other"]
    unknown = evaluate_parts(logits, labels, part_names(labels, codes * 0, known=False), ("a", "b"))
    assert {part: scores.nodes for part, scores in unknown.items()} == {"labelled": 5}
    assert evaluate_parts(logits, labels * 0 - 1, part_names(labels * 0 - 1, codes), ("a", "b")) == {}


def _unseen(features: tuple[str, ...] = ("p", "q"), names: tuple[str, ...] = ("x", "y")) -> Graph:
    n = 6
    return Graph.from_edges(
        [[0, 1], [2, 3], [4, 5]],
        np.eye(n)[:, : len(features)] + 1,
        np.arange(n) % len(names),
        train=[0, 1],
        val=[2],
        test=[3, 4],
        class_names=names,
        feature_names=features,
        name="new",
    )


def test_a_graph_that_does_not_fit_is_told_why() -> None:
    trained = train(_unseen(), epochs=2)
    assert predict(trained, replace(_unseen(), labels=None, train=None, val=None, test=None)).shape == (6, 2)
    with pytest.raises(GraphError, match="new lacks 'q'; the model does not know 'r'"):
        predict(trained, _unseen(("p", "r")))
    with pytest.raises(GraphError, match="another order, first at column 1: 'q' where the model expects 'p'"):
        predict(trained, _unseen(("q", "p")))
    with pytest.raises(GraphError, match="classes that the model does not know: 'z'; it knows 'x', 'y'"):
        predict(trained, _unseen(names=("x", "z")))
    with pytest.raises(GraphError, match="has 3 features a node"):
        predict(trained, replace(_unseen(), features=np.ones((6, 3)), feature_names=()))


def test_names_and_fingerprint_are_kept_in_the_model(tmp_path: Path) -> None:
    saved = train(_unseen(), epochs=2)
    back = Model.load(saved.save(tmp_path / "m"))
    assert (back.feature_names, back.class_names) == (("p", "q"), ("x", "y"))
    assert back.fingerprint == saved.model.fingerprint
    assert len(back.fingerprint) == 64
    changed = replace(_unseen(), features=np.asarray(_unseen().features) + 1)
    assert train(changed, epochs=2).model.fingerprint != back.fingerprint


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_predictions_of_a_users_graph_bear_its_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "nodes.csv").write_text("id,label,split,p\nann,x,train,1\nbob,y,train,0\nçelik,x,test,1\n")
    (tmp_path / "g" / "edges.csv").write_text("source,target\nann,çelik\n")
    model, out, data = str(tmp_path / "m"), tmp_path / f"out{suffix}", str(tmp_path / "g")
    assert cli.main(["train", "--dataset", data, "--epochs", "30", "--hidden", "4", "--save", model]) == 0
    assert cli.main(["predict", model, "--dataset", data, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "macro F1" in printed
    assert "expected calibration error" in printed
    if suffix == ".csv":
        with out.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["node"] for row in rows] == ["ann", "bob", "çelik"]
        assert {row["predicted"] for row in rows} <= {"x", "y"}
        for row in rows:
            assert float(row["probability"]) == float(row[f"probability {row['predicted']}"]) >= 0.5
    elif suffix == ".parquet":
        from pyarrow import parquet

        table = parquet.read_table(out).to_pydict()
        assert table["node"] == ["ann", "bob", "çelik"]
        assert all(share >= 0.5 for share in table["probability"])
    else:
        with np.load(out, allow_pickle=False) as arrays:
            assert arrays["node_ids"].tolist() == ["ann", "bob", "çelik"]
            assert arrays["class_names"].tolist() == ["x", "y"]


@pytest.mark.parametrize("trained_on", ["numpy", "torch", "mlx", "jax"])
def test_every_backend_predicts_for_every_other(trained_on: str) -> None:
    modules = {"torch": "torch", "mlx": "mlx.core", "jax": "jax"}
    if trained_on in modules:
        pytest.importorskip(modules[trained_on])
    result = train("csbm-cora", backend=trained_on, device="cpu", epochs=30)
    own = predict(result, "csbm-cora", backend=trained_on, device="cpu")
    for backend in ("numpy", *modules):
        if backend in modules:
            pytest.importorskip(modules[backend])
        logits = predict(result, "csbm-cora", backend=backend, device="cpu")
        assert np.abs(logits - own).max() <= 1e-5 * max(1.0, np.abs(own).max())
