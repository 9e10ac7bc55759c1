"""The estimator: scikit-learn's own tools work with it, and it computes what portgnn.train computes."""

from __future__ import annotations

import inspect
import pickle
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import portgnn
from portgnn import Graph, load_graph
from portgnn.errors import ConfigError, GraphError
from portgnn.models.sage import SAGE
from portgnn.recipe import known
from portgnn.sklearn import GCNClassifier, GCNRegressor

COLOURS = np.array(["blue", "green", "red"])


@pytest.fixture(scope="module")
def parts() -> tuple[Graph, np.ndarray[Any, Any]]:
    """Three groups of 30 nodes, joined within mostly, whose features say little by themselves; and their labels."""
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(3), 30)
    chance = np.where(groups[:, None] == groups[None], 0.25, 0.01)
    matrix = np.triu(draw.random((90, 90)) < chance, 1)
    features = draw.random((90, 6)) + 0.4 * np.eye(3)[groups].repeat(2, axis=1)
    return Graph.from_edges(np.argwhere(matrix), features, name="groups"), COLOURS[groups]


@pytest.fixture(scope="module")
def graph(parts: Any) -> Graph:
    return parts[0]


@pytest.fixture(scope="module")
def y(parts: Any) -> np.ndarray[Any, Any]:
    return parts[1]


NODES = np.arange(90)
TRAIN, REST = NODES[::3], np.setdiff1d(NODES, NODES[::3])


def _quick(graph: Any, **more: Any) -> GCNClassifier:
    return GCNClassifier(graph, **{"epochs": 30, "learning_rate": 0.05} | more)


def test_every_hyperparameter_is_a_parameter(graph: Graph) -> None:
    own = {
        "graph",
        "node_features",
        "preset",
        "model",
        "random_state",
        "validation_fraction",
        "backend",
        "device",
        "dtype",
    }
    assert set(GCNClassifier().get_params()) == own | set(known())
    defaults = {name: each.default for name, each in inspect.signature(GCNClassifier).parameters.items()}
    assert all(defaults[name] is None for name in known())
    model = GCNClassifier(graph).set_params(hidden=5, preset="pyg", restore_best=False, epochs=3)
    config = model.fit(TRAIN, COLOURS[TRAIN % 3]).model_.config
    assert (config.hidden, config.preset, config.restore_best, config.epochs) == (5, "pyg", False, 3)


def test_fit_and_predict(graph: Graph, y: Any) -> None:
    model = _quick(graph)
    assert model.fit(TRAIN, y[TRAIN]) is model
    assert model.classes_.tolist() == ["blue", "green", "red"]
    assert (model.n_features_in_, model.n_iter_) == (1, 30)
    shares = model.predict_proba(REST)
    assert shares.shape == (60, 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-12)
    predicted = model.predict(REST)
    assert predicted.tolist() == model.classes_[shares.argmax(axis=1)].tolist()
    assert model.score(REST, y[REST]) == accuracy_score(y[REST], predicted) > 0.8


def test_it_is_portgnn_train(graph: Graph, y: Any) -> None:
    model = _quick(graph, random_state=7, dtype="float64").fit(TRAIN, y[TRAIN], eval_set=(REST[:20], y[REST[:20]]))
    codes = np.searchsorted(COLOURS, y)
    whole = Graph(graph.adjacency, graph.features, codes, train=TRAIN, val=REST[:20], test=REST[20:])
    result = portgnn.train(whole, epochs=30, learning_rate=0.05, seed=7, dtype="float64")
    assert model.result_.history.train_loss == result.history.train_loss
    assert model.result_.history.val_loss == result.history.val_loss
    assert model.score(REST[20:], y[REST[20:]]) == result.test_accuracy


def test_labels_outside_x_are_not_seen(parts: Any, y: Any) -> None:
    lying = Graph(parts[0].adjacency, parts[0].features, np.zeros(90, np.int64), train=REST, test=TRAIN)
    honest = _quick(parts[0]).fit(TRAIN, y[TRAIN])
    misled = _quick(lying).fit(TRAIN, y[TRAIN])
    assert (misled.predict_proba(NODES) == honest.predict_proba(NODES)).all()
    assert (misled.graph_.labels[REST] == -1).all()


@pytest.mark.parametrize("kind", ["adjacency", "dense adjacency", "edges", "directed"])
def test_the_graph_may_be_edges_or_an_adjacency(graph: Graph, y: Any, kind: str) -> None:
    matrix = graph.to_scipy()
    given = {
        "adjacency": matrix,
        "dense adjacency": matrix.toarray(),
        "edges": np.argwhere(sp.triu(matrix).toarray()),
        "directed": sp.triu(matrix),
    }[kind]
    model = _quick(given, node_features=graph.features).fit(TRAIN, y[TRAIN])
    assert (model.predict_proba(REST) == _quick(graph).fit(TRAIN, y[TRAIN]).predict_proba(REST)).all()


@pytest.mark.parametrize("shape", ["column", "mask", "mask and all labels", "floats", "list"])
def test_nodes_in_every_form(graph: Graph, y: Any, shape: str) -> None:
    mask = np.isin(NODES, TRAIN)
    x = {"column": TRAIN[:, None], "floats": TRAIN * 1.0, "list": TRAIN.tolist()}.get(shape, mask)
    labels = y if shape == "mask and all labels" else y[TRAIN]
    model, plain = _quick(graph).fit(x, labels), _quick(graph).fit(TRAIN, y[TRAIN])
    assert (model.predict(x) == plain.predict(TRAIN)).all()
    assert model.score(x, labels) == plain.score(TRAIN, y[TRAIN])


@pytest.mark.parametrize("labels", [[10, -3, 7], [True, False, True], [0.0, 1.0, 2.0], ["b", "c", "a"]])
def test_labels_of_any_type(graph: Graph, labels: list[Any]) -> None:
    y = np.array(labels)[np.repeat(np.arange(3), 30)]
    model = _quick(graph).fit(TRAIN, y[TRAIN])
    assert model.classes_.tolist() == sorted(set(labels))
    predicted = model.predict(REST)
    assert predicted.dtype == y.dtype
    assert accuracy_score(y[REST], predicted) > 0.8


# scikit-learn's tools


def test_grid_search_over_node_numbers(graph: Graph, y: Any) -> None:
    search = GridSearchCV(_quick(graph), {"hidden": [4, 8], "learning_rate": [1e-6, 0.05]}, cv=3)
    search.fit(TRAIN, y[TRAIN])
    assert search.best_params_["learning_rate"] == 0.05
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.score(REST, y[REST]) > 0.8


def test_grid_search_over_masks(graph: Graph, y: Any) -> None:
    """A fixed split, such as a published one: numbers of the nodes of two masks."""
    train, val = np.isin(NODES, TRAIN), np.isin(NODES, REST[:30])
    split = [(np.flatnonzero(train), np.flatnonzero(val))]
    search = GridSearchCV(_quick(graph), {"hidden": [2, 8]}, cv=split, refit=False).fit(NODES, y)
    alone = [_quick(graph, hidden=hidden).fit(train, y).score(val, y) for hidden in (2, 8)]
    assert search.cv_results_["mean_test_score"].tolist() == alone


def test_cross_validation(graph: Graph, y: Any) -> None:
    scores = cross_val_score(_quick(graph), NODES[:, None], y, cv=3, scoring="roc_auc_ovr")
    assert scores.shape == (3,)
    assert (scores > 0.9).all()
    predicted = cross_val_predict(_quick(graph), NODES, y, cv=3, method="predict_proba")
    assert (COLOURS[predicted.argmax(axis=1)] == y).mean() > 0.8


def test_pipelines_and_wrappers(graph: Graph, y: Any) -> None:
    pipeline = make_pipeline(FunctionTransformer(), _quick(graph))
    search = GridSearchCV(pipeline, {"gcnclassifier__hidden": [4]}, cv=2).fit(TRAIN, y[TRAIN])
    assert search.best_estimator_[-1].model_.config.hidden == 4
    calibrated = CalibratedClassifierCV(_quick(graph), cv=2).fit(TRAIN[:, None], y[TRAIN])
    assert calibrated.predict_proba(REST[:, None]).shape == (60, 3)


def test_clones_share_the_graph_and_nothing_else(graph: Graph, y: Any) -> None:
    state = np.random.RandomState(3)
    model = _quick(graph, hidden=5, random_state=state).fit(TRAIN, y[TRAIN])
    twin = clone(model)
    assert twin.graph is graph
    assert twin.hidden == 5
    assert twin.random_state is not state
    assert not hasattr(twin, "model_")
    assert "hidden=5" in repr(twin)


def test_a_pickle_predicts_the_same(graph: Graph, y: Any) -> None:
    model = _quick(graph).fit(TRAIN, y[TRAIN])
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict_proba(REST) == model.predict_proba(REST)).all()
    assert again.get_params()["hidden"] is None


# early stopping and seeds


def test_some_nodes_may_be_set_aside_for_early_stopping(graph: Graph, y: Any) -> None:
    options: dict[str, Any] = {"validation_fraction": 0.3, "epochs": 300, "stopping": "patience", "patience": 5}
    model = _quick(graph, **options).fit(TRAIN, y[TRAIN])
    assert model.graph_.train is not None
    assert model.graph_.val is not None
    assert sorted([*model.graph_.train, *model.graph_.val]) == TRAIN.tolist()
    assert np.bincount(model.graph_.labels[model.graph_.val]).tolist() == [3, 3, 3]  # evenly from the classes
    assert model.n_iter_ == len(model.result_.history.val_loss) < 300
    assert (
        model.fit(TRAIN, y[TRAIN]).graph_.val.tolist()
        == _quick(graph, **options).fit(TRAIN, y[TRAIN]).graph_.val.tolist()
    )


def test_the_recipe_that_needs_validation_says_so(graph: Graph, y: Any) -> None:
    with pytest.raises(ConfigError, match=r"give validation_fraction=0\.1, or eval_set to fit, or restore_best=False"):
        _quick(graph, preset="pyg").fit(TRAIN, y[TRAIN])
    assert _quick(graph, preset="pyg", validation_fraction=0.2).fit(TRAIN, y[TRAIN]).model_.config.restore_best


def test_random_state(graph: Graph, y: Any) -> None:
    def shares(state: Any) -> Any:
        return _quick(graph, random_state=state).fit(TRAIN, y[TRAIN]).predict_proba(REST)

    assert (shares(1) == shares(np.int64(1))).all()
    assert (shares(1) != shares(2)).any()
    assert (shares(np.random.RandomState(5)) == shares(np.random.RandomState(5))).all()
    assert (shares(None) != shares(None)).any()


# mistakes


@pytest.mark.parametrize(
    ("x", "labels", "message"),
    [
        (np.ones((5, 3)), ["a"] * 5, "node numbers, [n] or [n, 1], or a mask over all nodes, and not shape [5, 3]"),
        (np.array([True, False]), ["a"], "a mask needs an entry for each of the graph's 90 nodes and has 2"),
        ([0.5, 1.0], ["a", "b"], "X holds node numbers, and 0.5 is none"),
        ([np.nan, 1.0], ["a", "b"], "X holds node numbers, and nan is none"),
        (["x", "y"], ["a", "b"], "X holds node numbers, and not values of type <U1"),
        ([0, 90], ["a", "b"], "X names node 90; nodes go from 0 to 89"),
        ([0, -1], ["a", "b"], "X names node -1"),
        ([0, 1, 2], ["a", "b"], "X holds 3 nodes and y 2 labels"),
        ([0, 1], None, "y is missing"),
        (
            [1, 1],
            ["a", "b"],
            "X names node 1 more than once, and a graph has it once; BaggingClassifier needs bootstrap=False",
        ),
        ([1, 2], [0.5, 0.25], "Unknown label type"),
    ],
)
def test_bad_samples(graph: Graph, x: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        _quick(graph).fit(x, labels)


def test_bad_parameters(graph: Graph, y: Any) -> None:
    with pytest.raises(GraphError, match=r"give graph=Graph\(…\), or edges or an adjacency as graph"):
        GCNClassifier().fit(TRAIN, y[TRAIN])
    with pytest.raises(ConfigError, match="hidden=0 must be at least 1"):
        _quick(graph, hidden=0).fit(TRAIN, y[TRAIN])
    with pytest.raises(GraphError, match="eval_set holds the class 'red', which is not among the labels to train on"):
        _quick(graph).fit([0, 1, 30], y[[0, 1, 30]], eval_set=([60], ["red"]))
    with pytest.raises(NotFittedError):
        _quick(graph).predict(TRAIN)


def test_without_scikit_learn_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['sklearn.base'] = None\n"
        "from portgnn.errors import ConfigError\n"
        "try:\n    import portgnn.sklearn\n"
        "except ImportError as error:\n    assert isinstance(error, ConfigError); print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 'Install it with: pip install "portgnn[sklearn]"' in said


@pytest.mark.published_data
def test_cora_is_what_train_makes_of_it(cora: Graph) -> None:
    assert cora.labels is not None
    y = np.array(cora.class_names)[cora.labels]
    result = portgnn.train(cora, seed=3)
    model = GCNClassifier(cora, random_state=3).fit(cora.train, y[cora.train], eval_set=(cora.val, y[cora.val]))
    assert model.score(cora.test, y[cora.test]) == result.test_accuracy
    assert result.test_accuracy is not None
    assert result.test_accuracy > 0.79


def test_a_scaler_before_it_is_refused() -> None:
    karate = load_graph("karate")
    with pytest.raises(GraphError, match="a scaler before the classifier is of no use"):
        make_pipeline(StandardScaler(), GCNClassifier(karate)).fit(np.arange(34)[:, None], karate.labels)


@dataclass(frozen=True)
class Halved(SAGE):
    """A network of one's own with a hyperparameter that no other has."""

    share: float = 0.5


def test_a_network_of_ones_own_brings_its_hyperparameters(graph: Graph, y: np.ndarray[Any, Any]) -> None:
    model = _quick(graph, model=Halved, share=0.25)
    assert clone(model).get_params()["share"] == 0.25
    assert clone(model).fit(TRAIN, y[TRAIN]).model_.config.share == 0.25
    search = GridSearchCV(_quick(graph, model=Halved), {"share": [0.25, 0.75]}, cv=3).fit(NODES, y)
    assert {each["share"] for each in search.cv_results_["params"]} == {0.25, 0.75}
    assert _quick(graph).set_params(share=0.75, model=Halved).share == 0.75
    with pytest.raises(TypeError, match="no parameter 'share'"):
        _quick(graph, share=0.25)
    with pytest.raises(ValueError, match="Invalid parameter 'share'"):
        _quick(graph).set_params(share=0.25)


def test_values_of_nodes_are_estimated(graph: Graph) -> None:
    random = np.random.default_rng(0)
    features = random.standard_normal((60, 3))
    value = 500 + 40 * (features @ [1.0, -1.0, 2.0])
    own = {"graph": [(0, 1)], "node_features": features, "model": "mlp", "normalize_features": "none", "epochs": 200}
    own |= {"restore_best": False}
    own |= {"dropout": 0.0, "input_dropout": 0.0, "l2": 0.0}
    train, test = np.arange(45), np.arange(45, 60)
    made = GCNRegressor(**own).fit(train, value[train])
    assert made.predict(test).shape == (15,)
    assert made.score(test, value[test]) > 0.9
    assert made.score(test, value[test]) == pytest.approx(r2_score(value[test], made.predict(test)))
    both = clone(made).fit(train, np.stack([value, -value], axis=1)[train])
    assert both.predict(test).shape == (15, 2)
    scores = cross_val_score(GCNRegressor(**own | {"validation_fraction": 0.2}), np.arange(60), value, cv=3)
    assert scores.min() > 0.5
    masked = np.zeros(60, dtype=bool)
    masked[train] = True
    np.testing.assert_array_equal(GCNRegressor(**own).fit(masked, value).predict(test), made.predict(test))
    for y, message in ((["a"] * 45, "no number"), (value, "45 nodes and y 60"), (np.zeros((45, 1, 1)), "needs")):
        with pytest.raises(GraphError, match=message):
            GCNRegressor(**own).fit(train, y)


def test_an_estimator_is_of_its_own_task(graph: Graph, y: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ConfigError, match="task='link' is not what GCNClassifier is for, which is 'classes'"):
        _quick(graph, task="link").fit(TRAIN, y[TRAIN])
    with pytest.raises(ConfigError, match="task='classes' is not what GCNRegressor is for"):
        GCNRegressor(graph, task="classes").fit(TRAIN, np.arange(30.0))


@pytest.fixture(scope="module")
def rings_and_stars() -> tuple[list[Graph], list[str]]:
    """Graphs of 5 to 9 nodes that all look the same but for their edges, and what each is."""
    graphs, names = [], []
    for number in range(24):
        size, ring = 5 + number % 5, number % 2 == 0
        edges = [(at, (at + 1) % size) if ring else (0, at) for at in range(0 if ring else 1, size)]
        graphs.append(Graph.from_edges(edges, np.ones((size, 2)), name=f"g{number}"))
        names.append("ring" if ring else "star")
    return graphs, names


OF_GRAPHS: dict[str, Any] = {
    "model": "gin", "epochs": 30, "learning_rate": 0.02, "batch_size": 8, "patience": 0, "restore_best": False,
    "dropout": 0.0, "input_dropout": 0.0, "normalize_features": "none", "readout": "mean",
}  # fmt: skip


def _of_graphs(**more: Any) -> GCNClassifier:
    return GCNClassifier(**OF_GRAPHS | more)


def test_graphs_are_samples_too(rings_and_stars: Any) -> None:
    graphs, names = rings_and_stars
    made = _of_graphs().fit(graphs[:16], names[:16])
    assert made.classes_.tolist() == ["ring", "star"]
    assert made.predict(graphs[16:]).tolist() == names[16:]
    shares = made.predict_proba(graphs[16:])
    assert shares.shape == (8, 2)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert made.score(graphs[16:], names[16:]) == 1.0
    # It is portgnn.train on the set of these graphs, and a set is a list of its graphs.
    known = portgnn.GraphSet.of(graphs[:16], [int(name == "star") for name in names[:16]], train=range(16))
    same = portgnn.train(known, **OF_GRAPHS)
    assert made.result_.history.train_loss == same.history.train_loss
    of_a_set = _of_graphs().fit(portgnn.GraphSet.of(graphs[:16]), names[:16])
    assert (of_a_set.predict_proba(portgnn.GraphSet.of(graphs[16:])) == shares).all()


def test_cross_validation_and_search_over_graphs(rings_and_stars: Any) -> None:
    graphs, names = rings_and_stars
    scores = cross_val_score(_of_graphs(), graphs, names, cv=3)
    assert scores.shape == (3,)
    assert scores.mean() > 0.9
    search = GridSearchCV(_of_graphs(), {"epochs": [1, 20]}, cv=2).fit(graphs, names)
    assert search.best_params_ == {"epochs": 20}


def test_graphs_may_be_held_out(rings_and_stars: Any) -> None:
    graphs, names = rings_and_stars
    given = _of_graphs(epochs=5, restore_best=True).fit(graphs[:16], names[:16], eval_set=(graphs[16:], names[16:]))
    assert len(given.graph_) == 24
    assert given.graph_.val.tolist() == list(range(16, 24))
    assert len(given.result_.history.val_loss) == 5
    drawn = _of_graphs(epochs=5, validation_fraction=0.25).fit(graphs, names)
    assert (len(drawn.graph_.train), len(drawn.graph_.val)) == (18, 6)


def test_values_of_graphs_are_estimated(rings_and_stars: Any) -> None:
    graphs, _ = rings_and_stars
    sizes = np.array([float(graph.num_nodes) for graph in graphs])
    options = OF_GRAPHS | {"model": "mlp", "epochs": 150, "readout": "sum", "standardize_targets": False}
    made = GCNRegressor(**options).fit(graphs[:16], sizes[:16])
    assert made.predict(graphs[16:]).shape == (8,)
    assert made.score(graphs[16:], sizes[16:]) == r2_score(sizes[16:], made.predict(graphs[16:])) > 0.9
    assert GCNRegressor(**options | {"epochs": 1}).fit(graphs, np.stack([sizes, -sizes], 1)).predict(graphs).shape == (
        24,
        2,
    )


def test_mistakes_with_graphs_are_said(rings_and_stars: Any, graph: Graph) -> None:
    graphs, names = rings_and_stars
    fitted = _of_graphs(epochs=1).fit(graphs, names)
    for call, told in (
        (lambda: _of_graphs().fit(graphs[0], names), "X is one graph; samples are a list of graphs"),
        (lambda: _of_graphs().fit([*graphs[:3], 4], names[:4]), "graph 3 is a int and no portgnn.Graph"),
        (lambda: _of_graphs().fit(graphs, names[:5]), "X holds 24 graphs and y 5 labels"),
        (lambda: _of_graphs().fit(graphs, None), "y is missing: the labels of the graphs X"),
        (lambda: _quick(graph).fit(graphs, names), "X holds graphs, and graph= is one whose nodes are samples"),
        (lambda: fitted.predict([0, 1]), "was fitted to graphs, and X holds something else"),
        (lambda: _of_graphs().fit([0, 1], ["a", "b"]), "or X as a list of graphs"),
        (lambda: _of_graphs().fit(graphs, names, eval_set=([1], ["ring"])), "X holds graphs and eval_set does not"),
        (lambda: GCNRegressor().fit(graphs, names), "y holds something that is no number"),
    ):
        with pytest.raises(GraphError, match=re.escape(told)):
            call()
