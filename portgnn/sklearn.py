"""Scikit-learn estimators whose samples are the nodes of one graph, or whole graphs: a classifier and a regressor.

They need `pip install "portgnn[sklearn]"`.
"""

from __future__ import annotations

import inspect
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from portgnn.api import predict, train
from portgnn.errors import ConfigError, GraphError, MissingLibraryError, near_matches
from portgnn.graphs.graph import UNLABELLED, Graph
from portgnn.graphs.sets import GraphSet
from portgnn.prediction.evaluation import members_of, noun_of, softmax
from portgnn.presets import preset as named_preset
from portgnn.protocol import Params
from portgnn.recipe import known

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d
except ImportError as error:
    raise MissingLibraryError(
        'portgnn.sklearn needs scikit-learn. Install it with: pip install "portgnn[sklearn]"'
    ) from error

if TYPE_CHECKING:
    from portgnn.checkpoints.model import Model
    from portgnn.results.result import TrainResult

RECIPE = known()
"""The hyperparameters of all networks and of training, which the estimator has as parameters."""
_OF_RUNS = ("backend", "device", "dtype")
_OWN = ("graph", "node_features", "preset", "model", "random_state", "validation_fraction", *_OF_RUNS)


class _NodeEstimator(BaseEstimator):  # type: ignore[misc]
    """What the estimators share: parameters, the graph or graphs, and a training."""

    _task = "classes"
    graph_: Graph | GraphSet
    model_: Model
    result_: TrainResult

    def __init__(
        self,
        graph: Any = None,
        *,
        node_features: Any = None,
        preset: str | None = None,
        model: Any = None,
        random_state: Any = 0,
        validation_fraction: float | None = None,
        backend: str = "numpy",
        device: str | None = None,
        dtype: str = "float32",
        **hyperparameters: object,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "hyperparameters")}
        names = [*RECIPE, *_of_own(model)]
        unknown = [name for name in hyperparameters if name not in names]
        if unknown:
            raise TypeError(f"{type(self).__name__} has no parameter {unknown[0]!r}.{near_matches(unknown[0], names)}")
        for name, value in (given | dict.fromkeys(names) | hyperparameters).items():
            setattr(self, name, value)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All parameters by name, the hyperparameters of a network of one's own among them."""
        found: dict[str, Any] = super().get_params(deep)
        return found | {name: getattr(self, name, None) for name in _of_own(self.model)}

    def set_params(self, **params: Params) -> Self:
        """Sets parameters by name; the network first, whose own hyperparameters may follow."""
        if "model" in params:
            super().set_params(model=params.pop("model"))
        super().set_params(**params)
        return self

    def _samples(
        self, X: Any, y: Any, eval_set: Any, numbered: Any
    ) -> tuple[Graph | GraphSet, tuple[NDArray[np.int64], NDArray[np.generic]], Any]:
        """What samples are of, those to train on and those held out or None: numbers, and what is known, of each.

        numbered: makes a pair of them of X, y and what they are of.
        """
        graphs = _graphs_in(X)
        if graphs is None:
            graph = self._graph()
            return graph, numbered(X, y, graph), None if eval_set is None else numbered(*eval_set, graph)
        if self.graph is not None:
            raise GraphError("X holds graphs, and graph= is one whose nodes are samples; leave one of the two out")
        here = np.arange(len(graphs))
        trained = numbered(here, y, graphs)
        if eval_set is None:
            return graphs, trained, None
        others = _graphs_in(eval_set[0])
        if others is None:
            raise GraphError("X holds graphs and eval_set does not; give graphs and what is known of them")
        held_out = numbered(np.arange(len(others)), eval_set[1], others)
        both = GraphSet.of([each[at] for each in (graphs, others) for at in range(len(each))])
        return both, trained, (held_out[0] + len(graphs), held_out[1])

    def _fit(
        self, graph: Graph | GraphSet, nodes: NDArray[np.int64], y: NDArray[np.generic], held_out: Any, stratified: bool
    ) -> None:
        """Trains on these nodes, or graphs, with what `_known` makes of y. held_out: samples, or None."""
        _check_once(nodes)
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31)
        if held_out is None and self.validation_fraction is not None:
            nodes, val_nodes, y, val_y = train_test_split(
                nodes, y, test_size=self.validation_fraction, stratify=y if stratified else None,
                random_state=seed % 2**32,
            )  # fmt: skip
            held_out = val_nodes, val_y
        recipe = {name: value for name, value in self.get_params(deep=False).items() if name not in _OWN}
        given, own = recipe.get("task"), self._task
        if given not in (None, "auto", own):
            raise ConfigError(
                f"task={given!r} is not what {type(self).__name__} is for, which is {own!r}; leave it out"
            )
        recipe["task"] = own
        config = named_preset(self.preset, self.model, **recipe)
        if held_out is None and config.restore_best:
            raise ConfigError(
                f"the {config.preset} recipe returns the best epoch's parameters, which takes nodes to validate on; "
                "give validation_fraction=0.1, or eval_set to fit, or restore_best=False"
            )
        said: dict[str, Any] = {"labels": None, "class_names": (), "targets": None, "target_names": ()}
        said |= {"stored_splits": ()} if isinstance(graph, Graph) else {}
        parts = {"train": nodes, "val": None if held_out is None else held_out[0], "test": None}
        self.graph_ = replace(graph, **(said | parts | self._known(members_of(graph), nodes, y, held_out)))
        runs = {name: getattr(self, name) for name in _OF_RUNS}
        self.result_ = train(self.graph_, preset=self.preset, model=self.model, seed=int(seed), **runs, **recipe)
        self.model_, self.n_iter_, self.n_features_in_ = self.result_.model, self.result_.epochs_run, 1

    def _known(self, n: int, nodes: NDArray[np.int64], y: NDArray[np.generic], held_out: Any) -> dict[str, Any]:
        """What is known of the graph's nodes, as fields of `Graph`."""
        raise NotImplementedError

    def _outputs(self, X: Any) -> NDArray[np.floating]:
        check_is_fitted(self)
        runs = {name: getattr(self, name) for name in _OF_RUNS}
        graphs = _graphs_in(X)
        if (graphs is None) == isinstance(self.graph_, GraphSet):
            kind = "graphs" if graphs is None else "nodes of one graph"
            raise GraphError(f"the estimator was fitted to {kind}, and X holds something else")
        if graphs is not None:
            of_graphs: NDArray[np.floating] = predict(self.model_, graphs, **runs)
            return of_graphs
        nodes = _nodes(X, members_of(self.graph_))
        found: NDArray[np.floating] = predict(self.model_, self.graph_, **runs)[nodes]
        return found

    def _graph(self) -> Graph:
        if isinstance(self.graph, Graph):
            return self.graph
        if self.graph is None or self.node_features is None:
            raise GraphError(
                "give graph=Graph(…), or edges or an adjacency as graph and features as node_features; or X as a list "
                "of graphs, where these are the samples"
            )
        nodes = np.shape(self.node_features)[0]
        if sp.issparse(self.graph) or np.shape(self.graph) == (nodes, nodes):
            return Graph.from_scipy(sp.csr_array(self.graph), self.node_features)
        return Graph.from_edges(self.graph, self.node_features, undirected=self.undirected is not False)

    def __sklearn_clone__(self) -> Self:
        # All clones share one graph: it is never changed, and a search would copy it for each candidate.
        shared = ("graph", "node_features")
        parameters = self.get_params(deep=False).items()
        return type(self)(**{name: value if name in shared else deepcopy(value) for name, value in parameters})


class GCNClassifier(ClassifierMixin, _NodeEstimator):  # type: ignore[misc]
    """The GCN as an estimator whose samples are the nodes of one graph, or whole graphs.

    Without graph, X is a list of graphs (`Graph`) or a `GraphSet`, and y their labels: a network is trained on batches
    of graphs, which are read off their nodes (`readout`), and what is said of nodes below is said of graphs. With
    graph, X is a list of node numbers, [n] or [n, 1], or a mask over all nodes; y their labels, of any type that NumPy
    sorts. Cross-validation then splits nodes. Training sees the features and edges of all nodes, and the labels of X
    alone (transductive learning, as in Kipf & Welling 2017). Labels that a `Graph` brings are not used.

    graph: a `Graph`, edges [m, 2] of node numbers, or an adjacency [nodes, nodes] of SciPy or NumPy with the weight of
        an edge from i to j at (i, j). Edges and adjacency need node_features [nodes, f].
    random_state: an int, a NumPy RandomState, or None for another one at each fit. It is the seed of
        `portgnn.train`, and of the nodes set aside for validation.
    validation_fraction: share of X, drawn evenly from the classes, that is not trained on and decides when to stop;
        None: all nodes of X are trained on, and the recipe's early stopping has nothing to watch unless `fit` is
        given `eval_set`.
    preset, backend, device, dtype and all that follow: as in `portgnn.train`; None leaves the preset's value.

    After fit: classes_ [c], model_, result_ (what `portgnn.train` returned), graph_ (with the labels of X alone),
    n_features_in_ (1: a node's number), n_iter_ (epochs).
    """

    classes_: NDArray[np.generic]

    def fit(self, X: Any, y: Any, eval_set: tuple[Any, Any] | None = None) -> GCNClassifier:
        """Trains on the nodes X [n], or graphs, with labels y [n].

        eval_set: nodes and labels that are not trained on and decide when to stop, in place of validation_fraction.

        Raises GraphError for nodes and labels that do not fit the graph, ConfigError for parameters that cannot be
        used, and what `portgnn.train` raises.
        """
        graph, (nodes, labels), held_out = self._samples(X, y, eval_set, _labelled)
        check_classification_targets(labels)
        self._fit(graph, nodes, labels, held_out, stratified=True)
        return self

    def _known(self, n: int, nodes: NDArray[np.int64], y: NDArray[np.generic], held_out: Any) -> dict[str, Any]:
        self.classes_, codes = np.unique(y, return_inverse=True)
        known = np.full(n, UNLABELLED)
        known[nodes] = codes
        if held_out is not None:
            known[held_out[0]] = self._codes(held_out[1])
        return {"labels": known, "class_names": tuple(str(each) for each in self.classes_)}

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities [n, c] of the classes_ for the nodes, or graphs, X [n]."""
        return softmax(self._outputs(X))

    def predict(self, X: Any) -> NDArray[np.generic]:
        """The likeliest class [n] of the nodes, or graphs, X [n]."""
        shares = self.predict_proba(X)
        best: NDArray[np.generic] = self.classes_[shares.argmax(axis=1)]
        return best

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Share of the nodes, or graphs, X that are classified as y says."""
        graph, (nodes, labels), _ = self._samples(X, y, None, _labelled)
        return float(super().score(graph if isinstance(graph, GraphSet) else nodes, labels, sample_weight))

    def _codes(self, labels: NDArray[np.generic]) -> NDArray[np.int64]:
        unknown = np.setdiff1d(labels, self.classes_).tolist()
        if unknown:
            raise GraphError(f"eval_set holds the class {unknown[0]!r}, which is not among the labels to train on")
        return np.searchsorted(self.classes_, labels)


class GCNRegressor(RegressorMixin, _NodeEstimator):  # type: ignore[misc]
    """The same of values: X as of `GCNClassifier`, y numbers [n], or [n, k] of k values a node, NaN where unknown.

    Parameters as of `GCNClassifier`; validation nodes are drawn evenly from X. After fit: model_, result_, graph_ (with
    the values of X alone), n_features_in_ (1), n_iter_ (epochs).
    """

    _task = "regression"

    def fit(self, X: Any, y: Any, eval_set: tuple[Any, Any] | None = None) -> GCNRegressor:
        """Trains on the nodes, or graphs, X with values y.

        eval_set: nodes and values that are not trained on and decide when to stop, in place of validation_fraction.

        Raises GraphError for nodes and values that do not fit the graph, ConfigError for parameters that cannot be
        used, and what `portgnn.train` raises.
        """
        graph, (nodes, values), held_out = self._samples(X, y, eval_set, _valued)
        self._flat = values.ndim == 1
        self._fit(graph, nodes, values, held_out, stratified=False)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The values of the nodes, or graphs, X, [n] or [n, k], as y was."""
        found = np.asarray(self._outputs(X), dtype=np.float64)
        return found[:, 0] if self._flat else found

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """R² of the nodes, or graphs, X."""
        graph, (nodes, values), _ = self._samples(X, y, None, _valued)
        return float(super().score(graph if isinstance(graph, GraphSet) else nodes, values, sample_weight))

    def _known(self, n: int, nodes: NDArray[np.int64], y: NDArray[np.generic], held_out: Any) -> dict[str, Any]:
        columns = y.reshape(len(y), -1)
        known = np.full((n, columns.shape[1]), np.nan)
        known[nodes] = columns
        if held_out is not None:
            known[held_out[0]] = held_out[1].reshape(len(held_out[1]), -1)
        return {"targets": known}


def _of_own(model: Any) -> list[str]:
    """The hyperparameters that a network of the user's own has beside all others; none for what is no network."""
    try:
        return [] if model is None else [name for name in known(model) if name not in RECIPE]
    except ConfigError:
        return []  # `fit` says what is wrong


def _with_recipe(constructor: Any) -> inspect.Signature:
    """The constructor's signature with each hyperparameter by its name: scikit-learn reads the parameters from it."""
    own = inspect.signature(constructor)
    kept = [each for each in own.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in RECIPE]
    return own.replace(parameters=[*kept, *added])


_NodeEstimator.__init__.__signature__ = _with_recipe(_NodeEstimator.__init__)  # type: ignore[attr-defined]


def _graphs_in(X: Any) -> GraphSet | None:
    """The graphs that X holds, in its order; None for none. Raises GraphError for one graph, and for a mixture."""
    if isinstance(X, GraphSet):
        return X
    if isinstance(X, Graph):
        raise GraphError("X is one graph; samples are a list of graphs, or numbers of the nodes of graph=")
    listed = isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1)
    return GraphSet.of(X) if listed and any(isinstance(each, Graph) for each in X) else None


def _labelled(X: Any, y: Any, graph: Graph | GraphSet) -> tuple[NDArray[np.int64], NDArray[np.generic]]:
    """Numbers of nodes, or graphs, and their labels. Under a mask, y may hold a label for each node of the graph."""
    num_nodes, noun = members_of(graph), noun_of(graph)
    nodes = _nodes(X, num_nodes)
    if y is None:
        raise GraphError(f"y is missing: the labels of the {noun}s X")
    labels = column_or_1d(y, warn=True)
    if len(labels) == num_nodes and np.asarray(X).dtype == np.bool_:
        labels = labels[nodes]
    if len(labels) != len(nodes):
        raise GraphError(f"X holds {len(nodes)} {noun}s and y {len(labels)} labels")
    return nodes, labels


def _valued(X: Any, y: Any, graph: Graph | GraphSet) -> tuple[NDArray[np.int64], NDArray[np.generic]]:
    """Numbers of nodes, or graphs, and their values, [n] or [n, k]; under a mask as of `_labelled`."""
    num_nodes, noun = members_of(graph), noun_of(graph)
    nodes = _nodes(X, num_nodes)
    if y is None:
        raise GraphError(f"y is missing: the values of the {noun}s X")
    try:
        values = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        raise GraphError("y holds something that is no number; for classes there is GCNClassifier") from None
    if values.ndim not in (1, 2):
        raise GraphError(f"y has shape {list(values.shape)}; it needs [{noun}s] or [{noun}s, values]")
    if len(values) == num_nodes and np.asarray(X).dtype == np.bool_:
        values = values[nodes]
    if len(values) != len(nodes):
        raise GraphError(f"X holds {len(nodes)} {noun}s and y {len(values)} values")
    return nodes, values


def _check_once(nodes: NDArray[np.int64]) -> None:
    """A node has one place in the graph, so it cannot count twice as a sample drawn with replacement would."""
    different, counts = np.unique(nodes, return_counts=True)
    if len(different) < len(nodes):
        twice = int(different[counts > 1][0])
        raise GraphError(
            f"X names node {twice} more than once, and a graph has it once; BaggingClassifier needs bootstrap=False, "
            "and other resampling has to draw without replacement"
        )


def _nodes(X: Any, num_nodes: int) -> NDArray[np.int64]:
    array = np.asarray(X)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise GraphError(
            f"X holds node numbers, [n] or [n, 1], or a mask over all nodes, and not shape {list(array.shape)}; "
            "features belong to the graph"
        )
    if array.dtype == np.bool_:
        if len(array) != num_nodes:
            raise GraphError(
                f"a mask needs an entry for each of the graph's {num_nodes} nodes and has {len(array)}; in "
                "cross-validation give node numbers, as np.flatnonzero(mask)"
            )
        return np.flatnonzero(array)
    if array.dtype.kind not in "iuf":
        raise GraphError(f"X holds node numbers, and not values of type {array.dtype}")
    broken = array[array != np.floor(array)]  # a transformer may have made floats of them
    if len(broken):
        raise GraphError(f"X holds node numbers, and {broken[0]} is none; a scaler before the classifier is of no use")
    wrong = array[(array < 0) | (array >= num_nodes)]
    if len(wrong):
        raise GraphError(f"X names node {wrong[0]}; nodes go from 0 to {num_nodes - 1}")
    return array.astype(np.int64)
