"""Rules for features: what each computes, which one `auto` comes to, and that a model repeats it elsewhere."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn import Graph, Model, cli, get_backend, load_config, load_graph, predict, train
from portgnn.disk.folder import write_graph
from portgnn.errors import CheckpointError, ConfigError, GraphError
from portgnn.loaders.on_disk import OnDisk
from portgnn.placing.features import explained, moments_of, row_normalized, settled
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.presets import Config, preset
from portgnn.verification.oracle import Network

RULES = ("auto", "row", "standardize", "none")


def signed(nodes: int = 40, width: int = 4, seed: int = 0) -> Graph:
    """Two communities whose features are z-scores with the class in their sign."""
    random = np.random.default_rng(seed)
    labels = np.arange(nodes) % 2
    edges = random.integers(0, nodes, (6 * nodes, 2))
    edges = edges[(labels[edges[:, 0]] == labels[edges[:, 1]]) & (edges[:, 0] != edges[:, 1])]
    x = random.normal(size=(nodes, width)) + np.where(labels[:, None] == 1, 0.7, -0.7)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    order = random.permutation(nodes)
    return Graph.from_edges(edges, x, labels, train=order[: nodes // 4], val=order[nodes // 4 : nodes // 2],
                            test=order[nodes // 2 :], name="signed")  # fmt: skip


def test_z_scores_from_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph, folder = signed(600), tmp_path / "table"
    folder.mkdir()
    with (folder / "nodes.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "label", "a", "b", "c", "d"])
        rows.writerows([i, graph.labels[i], *graph.features[i]] for i in range(600))  # type: ignore[index]
    pairs = np.argwhere(np.triu(graph.adjacency.toarray()))
    (folder / "edges.csv").write_text("source,target\n" + "".join(f"{a},{b}\n" for a, b in pairs))
    command = ["train", "--dataset", str(folder), "--split", "random:20:30", "--json"]
    assert cli.main(command) == 0
    shown = capsys.readouterr()
    run = json.loads(shown.out)
    assert run["config"]["normalize_features"] == "none"
    assert run["test_accuracy"] > 0.95
    # One line says what was taken and why, while it trains and with the results.
    (note,) = (note for note in run["notes"] if note.startswith("features: "))
    assert "left as they are (auto), since 4 of 4 columns hold negative values" in note
    assert note in shown.err
    assert cli.main([*command, "--normalize-features", "row"]) == 0
    run = json.loads(capsys.readouterr().out)
    assert run["test_accuracy"] < 0.9
    assert "4 of 4 columns hold negative values: where a sum is near 0" in run["notes"][-1]


def test_breast_cancer_with_eight_neighbours() -> None:
    pytest.importorskip("sklearn")
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split
    from sklearn.neighbors import kneighbors_graph
    from sklearn.preprocessing import StandardScaler

    from portgnn.sklearn import GCNClassifier

    x, y = load_breast_cancer(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    near = kneighbors_graph(x, 8)
    graph = Graph.from_scipy(near.maximum(near.T), x, y)
    assert train(graph, split="random:20:30").test_accuracy == pytest.approx(0.957, abs=0.02)
    assert train(graph, split="random:20:30", normalize_features="row").test_accuracy < 0.8  # type: ignore[operator]
    nodes, others = train_test_split(np.arange(len(y)), test_size=0.5, stratify=y, random_state=0)
    fitted = GCNClassifier(graph, patience=0).fit(nodes, y[nodes])
    assert fitted.score(others, y[others]) > 0.94
    assert fitted.model_.config.normalize_features == "none"


@pytest.mark.parametrize("name", ["kipf", "pyg"])
def test_auto_takes_rows_where_no_feature_is_negative(name: str) -> None:
    graph = load_graph("karate")
    automatic = train(graph, preset=name, epochs=5)
    assert automatic.model.config.normalize_features == "row"
    assert automatic.notes[-1] == "features: each row divided by its sum (auto), since none is negative"
    asked = train(graph, preset=name, epochs=5, normalize_features="row")
    assert asked.history.train_loss == automatic.history.train_loss
    for key, value in asked.model.params.items():
        np.testing.assert_array_equal(automatic.model.params[key], value)


def test_one_negative_value_is_enough_and_negative_zero_is_none() -> None:
    base = np.ones((4, 3))
    for value, form in itertools.product((-0.0, -5e-324), (np.asarray, sp.csr_array)):
        x = base.copy()
        x[2, 1] = value
        graph = Graph.from_edges([[0, 1]], form(x), feature_names=("p", "q", "r"))
        config, _, note = explained(graph, Config())
        assert config.normalize_features == ("row" if value == 0 else "none")
        assert value == 0 or "column 'q' holds negative values" in note
        assert settled(graph, Config())[0] == config


def test_what_used_to_be_a_switch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [Config(normalize_features=value).normalize_features for value in (True, False, np.True_)] == [  # type: ignore[arg-type]
        "row", "none", "row"
    ]  # fmt: skip
    for words, rule in (
        (["--normalize-features"], "row"),
        (["--normalize-features", "--seed", "1"], "row"),
        (["--no-normalize-features"], "none"),
        (["--normalize-features", "standardize"], "standardize"),
        (["--normalize-features=auto"], "row"),
    ):
        assert cli.main(["train", "--dataset", "karate", "--epochs", "1", "--json", *words]) == 0
        assert json.loads(capsys.readouterr().out)["config"]["normalize_features"] == rule
    assert cli.main(["train", "--dataset", "karate", "--normalize-features", "rwo"]) == 2
    assert "normalize_features='rwo' is not one of auto, row, standardize, none" in capsys.readouterr().err
    assert cli.main(["config", "show", "--no-normalize-features"]) == 0
    assert 'normalize-features = "none"' in capsys.readouterr().out
    file = tmp_path / "run.toml"
    for text, rule in (("true", "row"), ("false", "none"), ('"standardize"', "standardize")):
        file.write_text(f"normalize-features = {text}\n")
        assert load_config(file) == {"normalize_features": rule}


@pytest.mark.parametrize("rule", [True, False])
def test_models_and_runs_of_the_first_version_are_read(rule: bool, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    def aged(path: Path, field: str) -> None:
        """The file as version 0.1 wrote it."""
        with safe_open(path, framework="numpy") as file:
            header = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys() if name != "split"}  # noqa: SIM118
        document = json.loads(header[field])
        (document if field == "config" else document["config"])["normalize_features"] = rule
        header |= {"version": "1", field: json.dumps(document)}
        header.pop("structure", None)
        save_file(tensors, path, header)

    run, model = tmp_path / "run", tmp_path / "m.safetensors"
    result = train("karate", epochs=8, patience=0, normalize_features=rule, checkpoint=run)
    result.save(model)
    logits = predict(result, "karate")
    for path, field in ((model, "config"), (run, "run")):
        aged(path, field)
    old = Model.load(model)
    assert old.config.normalize_features == ("row" if rule else "none")
    assert (old.split, old.structure) == (None, "")
    np.testing.assert_array_equal(predict(old, "karate"), logits)
    longer = train(resume=run, epochs=12, normalize_features=rule)
    assert longer.history.train_loss[:8] == result.history.train_loss
    with pytest.raises(ConfigError, match="would make it another run"):
        train(resume=run, normalize_features=not rule)


def test_a_resumed_run_settles_on_the_same_rule(tmp_path: Path) -> None:
    graph = signed()
    for rule in RULES:
        kept = tmp_path / rule
        options: dict[str, Any] = {"patience": 0, "normalize_features": rule}
        whole = train(graph, epochs=8, **options)
        train(graph, epochs=4, checkpoint=kept, **options)
        again = train(graph, resume=kept, epochs=8, normalize_features=rule)
        assert again.history.train_loss == whole.history.train_loss
        assert again.notes == whole.notes
        assert again.model.config == whole.model.config


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("trained_on_signed", [True, False])
def test_a_model_repeats_its_rule_on_a_graph_of_other_signs(rule: Any, trained_on_signed: bool, tmp_path: Path) -> None:
    one = signed()
    other = replace(signed(seed=5), features=np.abs(signed(seed=5).features) + 0.5, train=None, val=None, test=None)
    if not trained_on_signed:
        one = replace(one, features=np.abs(one.features) + 0.25)
        other = replace(other, features=other.features - 1.0)
    model = train(one, epochs=3, dtype="float64", normalize_features=rule).model
    x, new = np.asarray(one.features), np.asarray(other.features)
    outcome = {"auto": "none" if trained_on_signed else "row"}.get(rule, rule)
    assert model.config.normalize_features == outcome
    if outcome == "row":
        new = new / new.sum(axis=1, keepdims=True)
    elif outcome == "standardize":
        new = (new - x.mean(axis=0)) / x.std(axis=0)
    plain = replace(model, config=replace(model.config, normalize_features="none"), moments=None)
    expected = predict(plain, replace(other, features=new), dtype="float64")
    for again in (model, Model.load(model.save(tmp_path / "m.safetensors"))):
        np.testing.assert_allclose(predict(again, other, dtype="float64"), expected, rtol=1e-12, atol=1e-12)
    # Rows of a sparse graph are the same rows.
    stored = replace(other, features=sp.csr_array(other.features))
    np.testing.assert_allclose(predict(model, stored, dtype="float64"), expected, rtol=1e-12, atol=1e-12)


def test_a_centred_model_on_a_graph_of_few_values() -> None:
    graph = signed(width=30)
    model = train(graph, epochs=2, dtype="float64", normalize_features="standardize").model
    few = np.zeros((40, 30))
    few[3, 7] = 2.0
    dense = predict(model, replace(graph, features=few), dtype="float64")
    np.testing.assert_array_equal(predict(model, replace(graph, features=sp.csr_array(few)), dtype="float64"), dense)
    assert np.ptp(dense, axis=0).max() > 0


def test_standardised_columns() -> None:
    x = np.random.default_rng(0).normal(size=(500, 6)) * [1, 1e-3, 1e6, 1e-200, 1e200, 1] + [0, 5, 1e9, 0, 0, 0]
    x[:, 5] = 0.1  # a constant that float64 does not hold
    graph = Graph.from_edges([[0, 1]], x)
    config, moments = settled(graph, Config(normalize_features="standardize"))
    done = np.asarray(Prepared.of(graph, config, moments).features)
    np.testing.assert_allclose(done[:, :5].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(done[:, :5].std(axis=0), 1, rtol=1e-9)
    np.testing.assert_allclose(done[:, 5], 0, atol=1e-15)
    assert moments is not None
    assert moments.scale[5] == 1


def test_sparse_columns_are_scaled_and_not_centred() -> None:
    random = np.random.default_rng(0)
    stored = random.normal(size=(300, 40)) * (random.random((300, 40)) < 0.03)
    stored[:, 0] = 3.3
    x = sp.csr_array(stored)
    graph = Graph.from_edges([[0, 1]], x, np.arange(300) % 2, train=np.arange(100))
    config, moments, note = explained(graph, Config(normalize_features="standardize"))
    assert "not centred, since they are sparse; --features dense centres them too" in note
    assert moments is not None
    assert moments.mean is None
    prepared = Prepared.of(graph, config, moments)
    deviation = x.toarray().std(axis=0)
    constant = deviation < 1e-12
    assert constant[0]
    expected = x.toarray() / np.where(constant, 1, deviation)
    assert isinstance(prepared.features, sp.csr_array)
    assert prepared.features.nnz == x.nnz
    np.testing.assert_allclose(prepared.features.toarray(), expected, rtol=1e-12)
    config, moments, note = explained(graph, Config(normalize_features="standardize", features="dense"))
    assert "mean and deviation over all nodes" in note
    done = Prepared.of(graph, config, moments).features
    assert isinstance(done, np.ndarray)
    np.testing.assert_allclose(done.mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sparse", [True, False])
def test_disk_memory_and_the_reference_have_the_same_features(rule: Any, sparse: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    x = random.normal(size=(60, 20)) * (random.random((60, 20)) < (0.07 if sparse else 1.0))
    graph = replace(signed(60), features=x.astype(np.float32))
    config = Config(normalize_features=rule)
    prepared = Prepared.of(graph, config)
    disk = OnDisk(write_graph(graph, tmp_path / "a.graph"), config)
    nodes = np.arange(5, 50)
    rows, _ = disk.features(nodes)
    assert sp.issparse(rows) == sp.issparse(prepared.features) == sparse
    pair = [each.toarray() if sp.issparse(each) else each for each in (rows, prepared.features[nodes])]
    np.testing.assert_array_equal(*pair)
    reference = Network(graph, replace(config, features="sparse" if sparse else "dense"), sparse)
    found = reference.features[nodes]
    np.testing.assert_allclose(pair[0], found.toarray() if sparse else found, rtol=1e-9, atol=1e-12)
    # Where A X is taken before anything reaches the device, it is of the same features.
    backend = get_backend("numpy", dtype="float64")
    placed = place(backend, replace(prepared, config=replace(prepared.config, input_dropout=0.0)), None, False)
    product = placed.features if placed.adjacency[0] is None else None
    if product is not None and not sparse:
        np.testing.assert_allclose(product, prepared.adjacency @ prepared.features, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("loader", ["neighbor", "cluster"])
def test_batches_see_standardised_features(loader: Any, tmp_path: Path) -> None:
    graph = signed(width=8)
    options: dict[str, Any] = {"epochs": 3, "patience": 0, "dtype": "float64", "normalize_features": "standardize"}
    whole = train(graph, **options)
    batched = train(graph, loader=loader, fanout="all", batch_size=1000, **options)
    folder = tmp_path / "a.graph"
    write_graph(graph, folder)
    disk = train(folder, loader=loader, fanout="all", batch_size=1000, **options)
    np.testing.assert_allclose(batched.history.train_loss, whole.history.train_loss, rtol=1e-12)
    assert disk.history.train_loss == batched.history.train_loss
    for one, other in itertools.pairwise((whole.model.moments, batched.model.moments, disk.model.moments)):
        assert one is not None
        assert other is not None
        np.testing.assert_array_equal(one.mean, other.mean)
        np.testing.assert_array_equal(one.scale, other.scale)


def _damaged(**changes: Any) -> Callable[[Model], Model]:
    return lambda model: replace(model, **changes)


def test_moments_in_a_file_are_looked_at(tmp_path: Path) -> None:
    model = train(signed(), epochs=1, normalize_features="standardize").model
    assert model.moments is not None
    path, scale = tmp_path / "m", model.moments.scale
    for moments in (
        None,
        replace(model.moments, scale=scale * np.nan),
        replace(model.moments, scale=scale * 0),
        replace(model.moments, scale=scale[:-1]),
        replace(model.moments, mean=scale.astype(np.float32)),
    ):
        replace(model, moments=moments).save(path)
        with pytest.raises(CheckpointError):
            Model.load(path)
    for changes in ({"split": np.full(40, 4, np.uint8)}, {"split": np.zeros((2, 2), np.uint8)},
                    {"split": np.zeros(40)}, {"config": preset("kipf")}):  # fmt: skip
        replace(model, **changes).save(path)  # type: ignore[arg-type]
        with pytest.raises(CheckpointError):
            Model.load(path)


def test_columns_too_large_to_standardise_are_named() -> None:
    x = np.ones((3, 2))
    x[:, 1] = [1e308, -1e308, 0]
    with pytest.raises(GraphError, match=r"column 'big' of graph goes from -1e\+308 to 1e\+308, too large"):
        moments_of(Graph.from_edges([[0, 1]], x, feature_names=("ok", "big")), sparse=False)
    moments = moments_of(Graph.from_edges([[0, 1]], x * [1, 1e-320]), sparse=False)
    with pytest.raises(GraphError, match="too far from those that the model was trained on"):
        moments.applied(np.full((1, 2), 1e300))


def exact(row: np.ndarray) -> list[float]:
    """The quotients by the sum, in rationals."""
    from fractions import Fraction

    values = [Fraction(float(v)) for v in row]
    total = sum(values)
    return [float(v / total) for v in values] if total else [float(v) for v in row]


def test_rows_of_any_size_sum_to_one() -> None:
    """Fuzzed: from sums below the smallest normal number to sums beyond the largest; sparse, dense, float32."""
    random = np.random.default_rng(20)
    for _ in range(300):
        width, top = int(random.integers(1, 9)), float(random.integers(-1074, 1024))
        spread = random.integers(0, 60, (5, width))
        x = np.ldexp(random.random((5, width)) + 0.5, (top - spread - 1).astype(int))
        x *= random.random((5, width)) < 0.7
        if random.random() < 0.3:
            with np.errstate(over="ignore"):
                x = np.minimum(x.astype(np.float32), np.finfo(np.float32).max)
        for features in (x, sp.csr_array(x), np.asfortranarray(x)):
            got = row_normalized(features)
            got = got.toarray() if sp.issparse(got) else got
            np.testing.assert_allclose(got, [exact(row) for row in x], rtol=1e-13, atol=1e-300)


def test_rows_of_zeros_stay_and_sums_that_cancel_are_refused() -> None:
    np.testing.assert_array_equal(row_normalized(np.zeros((3, 2))), np.zeros((3, 2)))
    np.testing.assert_array_equal(row_normalized(np.array([[1.0, -1.0], [1.0, 3.0]])), [[1, -1], [0.25, 0.75]])
    large = np.array([[1.7e308, 1.7e308, -1.7e308, -1.7e308]])
    np.testing.assert_array_equal(row_normalized(large), large)
    with pytest.raises(GraphError, match="sum to 1e-290, and cannot be divided by that"):
        row_normalized(np.array([[1.0, -1.0, 1e-290], [1.0, 0.0, 0.0]]))
