"""Pictures: the numbers in them are the results', and nothing is cut off."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import results
from results import benchmark, growth, run, trained

import portgnn
from portgnn import Graph, cli, embed, load_graph, predict
from portgnn.errors import ConfigError
from portgnn.placing.edges import normalized_adjacency
from portgnn.placing.features import row_normalized
from portgnn.plots._embedding import project
from portgnn.plots.nodes import graph_of
from portgnn.prediction.predict import classify

pytest.importorskip("matplotlib", reason="pictures need the extra plot")
from matplotlib.figure import Figure
from matplotlib.image import imread

from portgnn.plots import KINDS, PANELS, draw, image

Streams = pytest.CaptureFixture[str]


def _drawn(kind: str, **given: Any) -> list[Any]:
    runs = {"benchmark": [benchmark()], "growth": [growth()]}.get(kind, [run(), run(backend="x"), run(seed=0)])
    model = trained().model
    if kind == "estimates":
        graph = _of_values(2)
        given = {"model": portgnn.train(graph, epochs=3, patience=0).model, "graph": graph} | given
    return draw(kind, **({"runs": runs, "model": model, "graph": load_graph("karate")} | given))


def _of_values(count: int, labels: bool = False) -> Graph:
    """With a value in three unknown."""
    random = np.random.default_rng(3)
    features = random.standard_normal((30, 4))
    values = features[:, :count] * 100 + 20
    values = (values > 20).astype(float) if labels else values
    values[::3, 0] = np.nan
    edges = random.integers(0, 30, (60, 2))
    names = [f"value {at}" for at in range(count)]
    return Graph.from_edges(edges, features, values, train=range(15), test=range(15, 30), target_names=names)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_touches_the_edge_of_a_picture(kind: str, tmp_path: Path) -> None:
    """Text that were cut off would."""
    path = tmp_path / "x.png"
    # A figure of our own making, and one of somebody who left no room for text.
    rows, columns = PANELS.get(kind, (1, 1)) if kind != "estimates" else (2, 2)
    narrow = Figure(figsize=(3, 2)).subplots(rows, columns)
    for ax in (None, narrow):
        path.write_bytes(image(_drawn(kind, ax=ax), ".png"))
        pixels = imread(path)[..., :3]
        assert pixels.min() < 0.5
        for edge in (pixels[:4], pixels[-4:], pixels[:, :4], pixels[:, -4:]):
            assert edge.min() == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_every_axis_says_what_it_is(kind: str) -> None:
    shared = _drawn(kind)
    for axes in shared:
        assert axes.get_ylabel() or kind == "benchmark"
        assert axes.get_xlabel() or (kind == "compare" and axes is shared[0])


def test_a_picture_is_the_same_every_time() -> None:
    for form, begins in ((".svg", b"<?xml"), (".pdf", b"%PDF"), (".png", b"\x89PNG")):
        first, second = (image(_drawn("curves"), form) for _ in range(2))
        assert first == second
        assert first.startswith(begins)


def test_curves_are_the_history() -> None:
    result = trained()
    losses, accuracies = draw("curves", runs=[result.to_dict()])
    lines = {line.get_label(): line for line in losses.lines}
    assert list(lines["training"].get_ydata()) == result.history.train_loss
    assert list(lines["validation"].get_ydata()) == result.history.val_loss
    assert list(lines["training"].get_xdata()) == list(range(1, 31))
    ring = lines["lowest validation loss"]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (result.best_epoch + 1, min(result.history.val_loss))
    assert list(accuracies.lines[0].get_ydata()) == result.history.val_accuracy
    assert accuracies.lines[1].get_ydata()[0] == result.test_accuracy


def test_a_run_without_validation_and_test_has_a_curve() -> None:
    losses, accuracies = draw("curves", runs=[run(val_loss=[], val_accuracy=[], test_accuracy=None)])
    assert len(losses.lines) == 1
    assert not accuracies.lines


def test_the_comparison_shows_relative_differences() -> None:
    narrow, wide = trained("float32"), trained("float64")
    above, below = draw("compare", runs=[wide.to_dict(), narrow.to_dict()])
    assert [list(line.get_ydata()) for line in above.lines] == [wide.history.train_loss, narrow.history.train_loss]
    truth, found = np.array(wide.history.train_loss), np.array(narrow.history.train_loss)
    gaps = np.abs(found - truth) / truth
    shown = below.lines[0].get_ydata()
    np.testing.assert_allclose(shown[gaps > 0], gaps[gaps > 0])
    assert np.isnan(shown[gaps == 0]).all()
    assert below.get_yscale() == "log"
    assert 0 < gaps.max() < 1e-5
    epsilon = below.lines[1]
    assert (epsilon.get_label(), epsilon.get_ydata()[0]) == ("float32 ε", np.finfo(np.float32).eps)


def test_equal_runs_have_no_line_below_and_the_legend_says_so() -> None:
    _, below = draw("compare", runs=[run(), run(backend="other")])
    assert np.isnan(below.lines[0].get_ydata()).all()
    assert below.lines[0].get_label() == "other cpu float32: at most 0.0e+00, 30 of 30 equal"


def test_runs_that_are_not_meant_to_agree_are_not_compared() -> None:
    with pytest.raises(ConfigError, match="differ in seed: 0 and 1"):
        draw("compare", runs=[run(), run(seed=1)])
    with pytest.raises(ConfigError, match="at least two"):
        draw("compare", runs=[run()])


def test_the_confusion_matrix_holds_the_counts() -> None:
    model, graph = trained().model, load_graph("karate")
    (axes,) = draw("confusion", model=model, graph=graph)
    scores = classify(model, graph).main
    assert scores is not None
    shown = {(text.get_position()[1], text.get_position()[0]): int(text.get_text()) for text in axes.texts}
    assert shown == dict(np.ndenumerate(scores.confusion))
    shares = axes.images[0].get_array()
    np.testing.assert_allclose(shares.sum(axis=1), 1)


@pytest.mark.parametrize("preset", ["kipf", "pyg", "article"])
def test_the_output_layer_on_the_embedding_gives_the_logits(preset: str) -> None:
    model, graph = trained(preset=preset).model, load_graph("karate")
    hidden = embed(model, graph)
    assert hidden.shape == (34, 16)
    assert hidden.min() == 0
    last = model.config.layers - 1
    product = hidden @ model.params[f"weight{last}"]
    bias = model.params.get(f"bias{last}", np.zeros(product.shape[1]))
    adjacency = normalized_adjacency(graph.adjacency)
    logits = adjacency @ (product + bias) if model.config.bias == "before" else adjacency @ product + bias
    np.testing.assert_allclose(logits, predict(model, graph), rtol=1e-5, atol=1e-6)


def test_the_embedding_of_a_sampled_run_and_of_one_layer() -> None:
    graph = load_graph("karate")
    sampled = portgnn.train(graph, epochs=2, loader="neighbor", fanout="3,2")
    features = row_normalized(graph.features)
    expected = normalized_adjacency(graph.adjacency) @ (features @ sampled.model.params["weight0"])
    np.testing.assert_allclose(embed(sampled.model, graph), np.maximum(expected, 0), rtol=1e-5, atol=1e-6)
    with pytest.raises(ConfigError, match="one layer"):
        embed(portgnn.train(graph, epochs=2, layers=1).model, graph)


def test_principal_components() -> None:
    points = np.random.default_rng(0).normal(size=(50, 5)) * [5.0, 3.0, 1.0, 0.5, 0.1] + 7.0
    places, (first, second) = project(points, "pca")
    values, vectors = np.linalg.eigh(np.cov(points.T))
    expected = (points - points.mean(axis=0)) @ vectors[:, [-1, -2]]
    for column in range(2):
        signs = places[:, column] / expected[:, column]
        np.testing.assert_allclose(signs, signs[0])
        assert abs(signs[0]) == pytest.approx(1)
    assert f"{values[-1] / values.sum():.0%}" in first
    assert f"{values[-2] / values.sum():.0%}" in second
    np.testing.assert_array_equal(project(points, "pca")[0], places)


@pytest.mark.parametrize("points", [np.ones((5, 3)), np.arange(5.0)[:, None], np.ones((1, 4))])
def test_points_without_a_plane_are_drawn_all_the_same(points: Any) -> None:
    places, _ = project(points, "pca")
    assert places.shape == (len(points), 2)
    assert np.isfinite(places).all()


def test_tsne_keeps_groups_together_and_repeats_itself() -> None:
    pytest.importorskip("sklearn", reason="t-SNE is scikit-learn's")
    draws = np.random.default_rng(0)
    points = np.concatenate([draws.normal(size=(15, 8)), draws.normal(size=(15, 8)) + 20])
    places, _ = project(points, "tsne")
    own = np.linalg.norm(places[:15] - places[:15].mean(axis=0), axis=1).max()
    assert np.linalg.norm(places[:15].mean(axis=0) - places[15:].mean(axis=0)) > own
    np.testing.assert_array_equal(project(points, "tsne")[0], places)


def test_the_map_shows_every_node_in_its_class() -> None:
    model, graph = trained().model, load_graph("karate")
    (axes,) = draw("map", model=model, graph=graph)
    assert graph.labels is not None
    places, _ = project(embed(model, graph), "pca")
    for number, points in enumerate(axes.collections):
        np.testing.assert_allclose(points.get_offsets(), places[graph.labels == number])
    assert len({points.get_facecolor()[0].tobytes() for points in axes.collections}) == len(axes.collections)


def test_the_map_counts_what_lies_far_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = load_graph("csbm-cora")
    far = np.random.default_rng(0).normal(size=(graph.num_nodes, 4))
    far[:3] = 1000.0
    monkeypatch.setattr("portgnn.plots.nodes.embed", lambda model, graph: far)
    (axes,) = draw("map", model=portgnn.train(graph, epochs=1).model, graph=graph)
    assert [text.get_text() for text in axes.texts] == ["3 nodes outside the frame"]
    assert axes.get_xlim()[1] < 500


@pytest.mark.parametrize(("classes", "named"), [(3, True), (50, True), (51, False)])
def test_as_many_classes_as_a_legend_has_room_for_are_named(classes: int, named: bool) -> None:
    labels = np.arange(4 * classes) % classes
    graph = Graph.from_edges(
        np.stack([labels, labels + classes], 1), np.eye(4 * classes), labels, train=labels[:classes]
    )
    (axes,) = portgnn.train(graph, epochs=1).plot("map", graph=graph, ax=Figure().subplots())
    legend = axes.get_legend()
    assert (legend is not None) == named
    if legend:
        assert [text.get_text() for text in legend.get_texts()] == [f"{name} (4)" for name in graph.class_names]
    else:
        assert axes.get_title().endswith(", 51 classes")


def test_names_that_look_like_formulas_and_long_ones() -> None:
    names = ("$x^$", "a" * 200)
    graph = Graph.from_edges(
        [[0, 1], [1, 2], [2, 3]], np.eye(4), [0, 1, 0, 1], train=[0, 1], test=[2, 3], class_names=names
    )
    result = portgnn.train(graph, epochs=2)
    for kind in ("map", "confusion"):
        axes = result.plot(kind, graph=graph, ax=Figure().subplots())
        assert image(axes, ".png")


def test_values_are_beside_the_known_and_their_residuals_below_zero_where_too_much_is_said() -> None:
    graph = _of_values(2)
    model = portgnn.train(graph, epochs=5, patience=0).model
    axes = draw("estimates", model=model, graph=graph)
    assert len(axes) == 4
    said = portgnn.estimate(model, graph).answers
    for at in range(2):
        nodes = [n for n in range(15, 30) if not np.isnan(graph.targets[n, at])]
        assert len(nodes) == (15, 10)[at == 0]
        truth = graph.targets[nodes, at]
        beside, residuals = axes[2 * at : 2 * at + 2]
        np.testing.assert_allclose(beside.collections[0].get_offsets(), np.stack([truth, said[nodes, at]], axis=1))
        off = np.stack([said[nodes, at], truth - said[nodes, at]], axis=1)
        np.testing.assert_allclose(residuals.collections[0].get_offsets(), off)
        assert beside.get_xlabel() == f"value {at}, known"
    (colours,) = draw("map", model=model, graph=graph)[0].collections
    np.testing.assert_allclose(colours.get_array(), said[:, 0])
    many = _of_values(4)
    many = replace(many, targets=np.tile(many.targets, 2)[:, :7], target_names=tuple("abcdefg"))
    with pytest.raises(ConfigError, match="room for 6 values a node, and the model says 7"):
        draw("estimates", model=portgnn.train(many, epochs=1, patience=0).model, graph=many)


def test_labels_have_a_curve_each_and_counts() -> None:
    from sklearn.metrics import auc

    graph = _of_values(3, labels=True)
    result = portgnn.train(graph, epochs=5, patience=0)
    curves, counts = draw("estimates", model=result.model, graph=graph)
    lines = [line for line in curves.lines if line.get_label().startswith("value")]
    areas = [auc(line.get_xdata(), line.get_ydata()) for line in lines]
    assert np.mean(areas) == pytest.approx(result.scores["roc_auc"])
    assert [line.get_label() for line in lines] == [f"value {at} ({area:.3f})" for at, area in enumerate(areas)]
    heights = [bar.get_height() for bar in counts.patches]
    assert heights[:3] == [np.nansum(graph.targets[15:, at]) for at in range(3)]
    with pytest.raises(ConfigError, match="no labels or values of nodes"):
        trained().plot("estimates")
    with pytest.raises(ConfigError, match="nothing known of its nodes"):
        result.plot("estimates", graph=replace(graph, targets=None, target_names=(), train=None, test=None))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "loss (nats a node)"),
        ({"task": "classes", "readout": "sum"}, "loss (nats a graph)"),
        ({"task": "labels"}, "loss (nats a label)"),
        ({"task": "link"}, "loss (nats a pair)"),
        ({"task": "regression", "loss": "squared"}, "loss (deviations of the target, squared)"),
        ({"task": "regression", "loss": "absolute", "standardize_targets": False}, "loss (units of the target)"),
        ({"task": "regression", "loss": "huber"}, "loss (Huber's function of deviations of the target)"),
    ],
)
def test_a_loss_is_in_the_unit_of_its_task(config: dict[str, Any], said: str) -> None:
    runs = [run(config=config), run(config=config, backend="x")]
    assert draw("curves", runs=runs)[0].get_ylabel() == said
    assert draw("compare", runs=runs)[0].get_ylabel() == f"training {said}"
    others = [run(config=config), run(config={"task": "link"})]
    assert draw("curves", runs=others)[0].get_ylabel() in (said, f"{said[:-1]}; nats a pair)")


def test_result_plot_draws_where_it_is_told(tmp_path: Path) -> None:
    result = trained()
    target = Figure().subplots(1, 2)
    assert result.plot(ax=target) == list(target)
    assert target[0].lines
    out = tmp_path / "compare.svg"
    result.plot("compare", others=[trained("float64")], out=out)
    assert "numpy cpu float64" in out.read_text()
    result.plot("map", out=tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="needs 2 Axes, and ax holds 1"):
        result.plot(ax=Figure().subplots())
    with pytest.raises(ConfigError, match="Did you mean 'curves'"):
        result.plot("curve")
    with pytest.raises(ConfigError, match=r"must end in \.png"):
        result.plot(out=tmp_path / "x.gif")
    with pytest.raises(ConfigError, match="has no growth"):
        result.plot("growth")


def test_result_plot_in_a_notebook_is_pyplots(monkeypatch: pytest.MonkeyPatch) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    before = pyplot.get_fignums()
    axes = trained().plot()
    assert len(pyplot.get_fignums()) == len(before) + 1
    pyplot.close(axes[0].figure)


def test_a_graph_without_a_name_must_be_given() -> None:
    graph = Graph.from_edges([[0, 1], [1, 2]], np.eye(3), [0, 1, 0], train=[0, 1], name="mine")
    with pytest.raises(ConfigError, match="'mine', is no dataset that has a name"):
        portgnn.train(graph, epochs=2).plot("map")
    split = replace(portgnn.train("karate", epochs=2, split="random:2:2").model, split=None)  # as of version 0.1
    with pytest.raises(ConfigError, match="another split of karate"):
        graph_of(split)


def test_without_the_libraries_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, how in (("sklearn.manifold", "tsne"), ("umap", "umap")):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ConfigError, match="pip install"):
            project(np.zeros((9, 3)), how)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r'pip install "portgnn\[plot\]"'):
        draw("curves", runs=[run()])


# The command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, one in (("a", run()), ("b", run(dtype="float64")), ("c", run(seed=1)), ("v", results.verification())):
        (tmp_path / f"{name}.json").write_text(results.json.dumps(one))
    trained().save("m.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "title"),
    [
        ("a.json", "karate, kipf, seed 0"),
        ("a.json b.json", r"\|Δ loss\| / loss"),
        ("a.json c.json", "accuracy"),
        ("m.safetensors", "hidden layer before the output"),
        ("m.safetensors --kind confusion --dataset karate", "predicted class"),
    ],
)
def test_the_command_chooses_a_picture(folder: Path, arguments: str, title: str, capsys: Streams) -> None:
    assert cli.main(["plot", *arguments.split(), "--out", "x.svg"]) == 0
    assert capsys.readouterr().out == "written to x.svg\n"
    assert re.search(title, (folder / "x.svg").read_text())


def test_the_command_answers_in_json(folder: Path, capsys: Streams) -> None:
    assert cli.main(["plot", "a.json", "b.json", "--out", "x.svg", "--json"]) == 0
    assert results.json.loads(capsys.readouterr().out) == {"kind": "compare", "out": "x.svg"}
    assert cli.main(["report", "a.json", "v.json", "a.json", "--json"]) == 0
    found = results.json.loads(capsys.readouterr().out)
    assert found == {"results": {"a.json": "train", "v.json": "verify"}, "out": "report.html", "pdf": None}
    assert (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("v.json", "type: portgnn report v.json"),
        ("a.json --kind map", "a map is drawn from a model"),
        ("a.json m.safetensors", "m.safetensors is a model"),
        ("m.safetensors m.safetensors", "a map shows one model, and 2 are given"),
        ("a.json v.json --kind curves", "v.json holds a verification"),
        ("a.json c.json --kind compare", "differ in seed"),
        ("a.json --kind x", "unknown kind"),
        ("m.safetensors --map x", "unknown map"),
        ("m.safetensors --dataset csbm-cora", "features"),
        ("a.json --out no/x.png", "cannot write no/x.png"),
        ("a.json --out x.bmp", "must end in .png"),
    ],
)
def test_a_wrong_call_is_one_line(folder: Path, arguments: str, words: str, capsys: Streams) -> None:
    extra = [] if "--out" in arguments else ["--out", "x.png"]
    assert cli.main(["plot", *arguments.split(), *extra]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1
    assert not (folder / "x.png").exists()


def test_names_are_no_formulas_and_hold_no_control_characters() -> None:
    from portgnn.plots.style import words

    assert words("a$x$\x1b[31m") == r"a\$x\$\x1b[31m"
    (panel,) = _drawn("curves", runs=[run(dataset=r"$\frac$")])[:1]
    assert panel.get_title().startswith(r"\$\frac\$")
