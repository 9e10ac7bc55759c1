"""Predictions with the model's split and in the model's order of classes, on its own graph and on others."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portgnn import Graph, Model, classify, cli, load_graph, predict, train
from portgnn.disk.folder import write_graph
from portgnn.errors import CheckpointError, ConfigError
from portgnn.plots import draw
from portgnn.prediction.evaluation import split_codes

Streams = pytest.CaptureFixture[str]
SPLIT = "fraction:0.6:0.2"


def _json(capsys: Streams, *arguments: object) -> tuple[Any, str]:
    assert cli.main([*map(str, arguments), "--json"]) == 0
    shown = capsys.readouterr()
    return json.loads(shown.out), shown.err


@pytest.fixture
def csbm() -> Graph:
    return load_graph("csbm-cora")


def test_the_command_tests_on_the_nodes_of_the_training(tmp_path: Path, capsys: Streams) -> None:
    model = tmp_path / "m.safetensors"
    run, _ = _json(capsys, "train", "--dataset", "csbm-cora", "--split", SPLIT, "--epochs", 60, "--save", model)
    found, said = _json(capsys, "predict", model, "--dataset", "csbm-cora", "--out", tmp_path / "out.csv")
    assert found["test_accuracy"] == run["test_accuracy"] == found["evaluation"]["accuracy"]
    assert (found["split"], found["evaluation"]["part"], found["notes"]) == ("model", "test", [])
    split = load_graph("csbm-cora", split=SPLIT)
    sizes = {part: scores["nodes"] for part, scores in found["parts"].items()}
    assert sizes == {"train": len(split.train), "validation": len(split.val), "test": len(split.test)}  # type: ignore[arg-type]
    assert found["parts"]["train"]["accuracy"] > found["test_accuracy"] + 0.02
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    tested = [row for row in rows if row["part"] == "test"]
    assert [int(row["node"]) for row in tested] == split.test.tolist()  # type: ignore[union-attr]
    assert np.mean([row["label"] == row["predicted"] for row in tested]) == pytest.approx(run["test_accuracy"])
    assert cli.main(["predict", str(model), "--dataset", "csbm-cora"]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = [line.split()[0] for line in lines if " accuracy " in line]
    assert words == ["training", "validation", "test"]
    assert f"test accuracy {run['test_accuracy']:.4f}" in "\n".join(lines)
    assert "trained on" not in said


def test_another_split_is_reported_with_what_was_trained_on(tmp_path: Path, capsys: Streams, csbm: Graph) -> None:
    model = tmp_path / "m.safetensors"
    result = train(csbm, split=SPLIT, epochs=5)
    result.save(model)
    found, said = _json(capsys, "predict", model, "--dataset", "csbm-cora", "--split", "random:20:30:4")
    assert found["split"] == "given"
    other = split_codes(load_graph("csbm-cora", split="random:20:30:4"))
    kept = split_codes(load_graph("csbm-cora", split=SPLIT))
    seen = ((kept == 1) & (other != 1)).sum()
    assert f"trained on {seen} nodes that are outside the training part here" in said
    assert found["parts"]["test"]["nodes"] == (other == 3).sum()
    same, said = _json(capsys, "predict", model, "--dataset", "csbm-cora", "--split", SPLIT)
    assert (same["test_accuracy"], same["notes"]) == (result.test_accuracy, [])
    assert cli.main(["predict", str(model), "--dataset", "csbm-cora", "--split", "thirds"]) == 2
    assert "unknown split 'thirds'" in capsys.readouterr().err


def test_the_models_split_goes_before_the_graphs_own(csbm: Graph) -> None:
    result = train(csbm, split="random:30:30:1", epochs=5)
    found = classify(result, csbm)
    assert (found.split, found.main.accuracy) == ("model", result.test_accuracy)  # type: ignore[union-attr]
    # The nodes are known by edges and features, whatever is known of their labels.
    hidden = np.where(np.arange(csbm.num_nodes) % 2, csbm.labels, -1)
    half = classify(result, replace(csbm, labels=hidden, train=None, val=None, test=None))
    assert half.split == "model"
    assert half.evaluations["test"].nodes == ((split_codes(csbm) >= 0) & (found.codes == 3) & (hidden >= 0)).sum()
    assert (half.parts[hidden < 0] == "").all()


def test_nodes_beside_the_split_are_others() -> None:
    karate = load_graph("karate")
    graph = karate.with_splits([0, 33], [1, 32], [2, 31])
    found = classify(train(graph, epochs=3), karate)
    assert {part: scores.nodes for part, scores in found.evaluations.items()} == {
        "train": 2, "validation": 2, "test": 2, "other": 28
    }  # fmt: skip
    bare = replace(graph, val=None, test=None)
    found = classify(train(bare, epochs=3), bare)
    assert found.main is not None
    assert (found.main.part, found.main.nodes) == ("other", 32)


def test_another_graph_is_told_from_the_one_of_the_training(csbm: Graph) -> None:
    model = train(csbm, split=SPLIT, epochs=2).model
    changed = replace(csbm, features=csbm.features * 2)
    found = classify(model, changed)
    assert found.split == "graph"
    assert "not the graph that the model was trained on (csbm-cora)" in found.notes[0]
    bare = replace(changed, train=None, val=None, test=None)
    assert list(classify(model, bare).evaluations) == ["labelled"]
    assert classify(model, replace(bare, labels=None, class_names=())).notes == ()
    heard: list[str] = []
    classify(model, changed, announce=heard.append)
    assert heard == [f"csbm-cora: {found.notes[0]}."]


def test_a_model_of_the_first_version_is_confirmed_by_the_graphs_fingerprint(csbm: Graph) -> None:
    result = train(csbm, split=SPLIT, epochs=2)
    old = replace(result.model, split=None, structure="")
    found = classify(old, csbm)
    assert "does not say which nodes it was trained on" in found.notes[0]
    assert "--split" in found.notes[0]
    given = classify(old, csbm, split=SPLIT)
    assert given.notes == ()
    assert given.evaluations["test"].accuracy == result.test_accuracy
    own = train(csbm, epochs=2)
    found = classify(replace(own.model, split=None, structure=""), csbm)
    assert (found.split, found.notes, found.evaluations["test"].accuracy) == ("graph", (), own.test_accuracy)


def test_a_split_that_does_not_fit_is_refused(csbm: Graph) -> None:
    model = train(csbm, epochs=1).model
    with pytest.raises(CheckpointError, match="the model keeps a split of 3 nodes for 2708 of them"):
        classify(replace(model, split=np.zeros(3, dtype=np.uint8)), csbm)


def test_training_from_disk_keeps_the_split(tmp_path: Path, csbm: Graph) -> None:
    folder = tmp_path / "a.graph"
    write_graph(load_graph("csbm-cora", split=SPLIT), folder)
    result = train(folder, loader="neighbor", epochs=2)
    for graph in (csbm, folder):
        found = classify(result, graph)
        assert found.split == "model"
        assert found.evaluations["test"].accuracy == pytest.approx(result.test_accuracy)


def test_directed_graphs_are_known_again() -> None:
    random = np.random.default_rng(0)
    graph = Graph.from_edges(random.integers(0, 50, (200, 2)), np.eye(50), np.arange(50) % 3,
                             undirected=False, train=np.arange(20), test=np.arange(30, 50))  # fmt: skip
    for undirected in (True, False):
        result = train(graph, epochs=3, undirected=undirected)
        found = classify(result, replace(graph, train=None, test=None))
        assert (found.split, found.main.accuracy) == ("model", result.test_accuracy)  # type: ignore[union-attr]


def _renamed(graph: Graph) -> Graph:
    """The same graph with its classes counted backwards."""
    assert graph.labels is not None
    return replace(graph, labels=graph.num_classes - 1 - graph.labels, class_names=graph.class_names[::-1])


def test_columns_in_the_order_of_the_graphs_classes() -> None:
    karate = load_graph("karate")
    model, other = train(karate, epochs=60).model, _renamed(karate)
    assert other.labels is not None
    assert karate.labels is not None
    right = (predict(model, karate).argmax(axis=1) == karate.labels).mean()
    assert right > 0.9
    logits = predict(model, other)
    assert (logits.argmax(axis=1) == other.labels).mean() < 0.1  # by number, in two orders
    ordered = predict(model, other, class_names=other.class_names)
    assert (ordered.argmax(axis=1) == other.labels).mean() == right
    np.testing.assert_array_equal(ordered, logits[:, ::-1])
    found = classify(model, other)
    assert found.class_names == model.class_names
    assert (found.predicted == found.labels).mean() == right
    assert found.split == "model"
    # Fewer classes: those that are named come first, the model's others after them.
    np.testing.assert_array_equal(predict(model, karate, class_names=karate.class_names[1:]), logits[:, ::-1])
    spaced = [f" {name}" for name in other.class_names]
    np.testing.assert_array_equal(predict(model, other, class_names=spaced), ordered)
    faults: list[tuple[Any, str]] = [
        (("nobody",), "'nobody' is none of its classes"),
        (karate.class_names[:1] * 2, "twice"),
        ([1, 2], "'1', '2' is none of its classes"),
        (karate.class_names[0], "must be a list of texts"),
        (7, "must be a list of texts"),
    ]
    for names, fault in faults:
        with pytest.raises(ConfigError, match=fault):
            predict(model, karate, class_names=names)


def test_files_say_the_order_of_their_classes(tmp_path: Path, capsys: Streams) -> None:
    karate = load_graph("karate")
    train(karate, epochs=40).save(tmp_path / "m")
    write_graph(_renamed(karate), tmp_path / "b.graph")
    found, _ = _json(capsys, "predict", tmp_path / "m", "--dataset", tmp_path / "b.graph", "--out", tmp_path / "o.npz")
    assert [each["name"] for each in found["classes"]] == list(karate.class_names)
    with np.load(tmp_path / "o.npz") as file:
        assert file["class_names"].tolist() == list(karate.class_names)
        np.testing.assert_array_equal(file["labels"], karate.labels)
        tested = file["parts"] == "test"
        assert (file["predicted"] == file["labels"])[tested].mean() == pytest.approx(found["test_accuracy"])


def test_a_run_goes_on_with_the_classes_that_it_has(tmp_path: Path) -> None:
    karate = load_graph("karate")
    train(karate, epochs=3, patience=0, checkpoint=tmp_path / "run")
    swapped = replace(karate, class_names=karate.class_names[::-1])
    with pytest.raises(CheckpointError, match="other names of the classes, or in another order"):
        train(swapped, resume=tmp_path / "run", epochs=5)
    assert train(karate, resume=tmp_path / "run", epochs=5).epochs_run == 5


def test_pictures_show_the_split_of_the_model() -> None:
    pytest.importorskip("matplotlib")
    result = train("karate", split="random:4:4", epochs=30)
    (axes,) = draw("confusion", model=result.model, graph=load_graph("karate"))
    assert axes.get_title() == f"karate: 18 test nodes, accuracy {result.test_accuracy:.3f}"
    (axes,) = result.plot("confusion")
    assert "18 test nodes" in axes.get_title()


def test_a_split_comes_back_from_a_file(tmp_path: Path) -> None:
    model = train("karate", split="random:4:4", epochs=1).model
    back = Model.load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(back.split, model.split)
    assert back.structure == model.structure
    assert np.bincount(back.split).tolist() == [0, 8, 8, 18]  # type: ignore[arg-type]
