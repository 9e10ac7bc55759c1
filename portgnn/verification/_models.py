"""Checks of whole networks against what their papers state, and of one way of computing them against another.

`portgnn verify --model NAME` runs them, `--model all` for every network that comes with portgnn. A network of the
user's own that has no `statement` is held against differences of its own loss, and its batches, chunks and pruned rows
against its whole graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import ConfigError
from portgnn.graphs.graph import Graph
from portgnn.loaders import neighbor
from portgnn.loaders.batch import as_tree, assemble, from_tree, place_batch
from portgnn.loaders.inference import Inference
from portgnn.loaders.source import InMemory
from portgnn.models import NETWORKS, Network, name_of, network_class
from portgnn.models.initial import initial_values
from portgnn.models.layer import streams_of
from portgnn.models.papers import STATEMENTS, Statement
from portgnn.placing import forward
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.presets import preset
from portgnn.protocol import Backend, Params
from portgnn.random import dropout_keys
from portgnn.recipe import Config, known
from portgnn.training import WholeGraph, initial_state, make_loss, objective
from portgnn.training.probe import check_network
from portgnn.verification import oracle
from portgnn.verification.check import Check
from portgnn.verification.draw import Draw
from portgnn.verification.measure import Departure, Floats, Measured, compare, fetch, worst

EPOCHS = 20
STEP = 1e-30
"""Of the derivatives: far below any number's last digit, and its square is not used."""
STEPS = (1e-5, 1e-6, 1e-7)
"""Of differences: where a kink lies within the first, a smaller one is on one side of it. A wrong slope fits none."""
AT_ONCE = 64
"""Derivatives that are taken together."""

DRESSES: tuple[dict[str, object], ...] = (
    {},
    {"norm": "layer", "residual": "linear", "jumping": "cat", "activation": "elu"},
    {"norm": "batch", "residual": "add", "activation": "gelu", "layers": 3},
    {"jumping": "max", "activation": "leaky_relu", "layers": 3},
    {"jumping": "sum", "residual": "add"},
)
"""Options of networks that have them, beside those that they begin with."""
SMALL: dict[str, object] = {"hidden": 4, "heads": 2, "hops": 3, "layers": 2}


@dataclass(frozen=True)
class Trial:
    """A network with some options, on a small graph. options: as pairs, so that a trial can be a key."""

    kind: type[Network]
    seed: int
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        """As a test is named."""
        return ",".join(f"{name}={value}" for name, value in self.options) or "plain"

    @cached_property
    def name(self) -> str:
        return name_of(self.kind)

    def config(self, **more: Any) -> Config:
        names = known(self.kind)
        own = {name: value for name, value in SMALL.items() if name in names}
        # eps: a gradient that vanishes but for rounding is not to be made a step of full size.
        training = {"weight_decay": 0.01, "l2": 0.02, "normalize_features": "none", "features": "dense", "eps": 1e-4}
        return preset(None, self.kind, **training | own | dict(self.options) | more)

    @cached_property
    def graph(self) -> Graph:
        return _graph(self.seed)

    def prepared(self, **more: object) -> Prepared:
        return Prepared.of(self.graph, self.config(**more))

    @cached_property
    def params(self) -> dict[str, Floats]:
        """Parameters, none of them 0, as they would be after some training; as float32 has them."""
        random = np.random.default_rng(self.seed)
        start = initial_values(self.prepared().layers, self.seed)
        return {
            name: np.asarray(value + 0.2 * random.standard_normal(value.shape), np.float32).astype(np.float64)
            for name, value in start.items()
        }

    @cached_property
    def keys(self) -> NDArray[np.uint32]:
        keys: NDArray[np.uint32] = dropout_keys(self.seed, range(1), streams_of(self.prepared().layers))[0]
        return keys

    @cached_property
    def stated(self) -> Stated | None:
        statement = getattr(self.kind, "statement", None) or STATEMENTS.get(self.name)
        return None if statement is None else Stated(statement, self)


@dataclass(frozen=True, eq=False)
class Masks:
    """Dropout as the documentation numbers its elements; of no epoch where keys is None."""

    keys: NDArray[np.uint32] | None
    rates: dict[int, float]
    edge_rates: dict[int, float]

    def rows(self, layer: int, x: Any) -> Any:
        rate = self.rates.get(layer, 0.0)
        if self.keys is None or not rate:
            return x
        n, k = x.shape[-2:]
        return x * oracle.mask(self.keys[layer], np.arange(n * k), rate).reshape(n, k)

    def edges(self, layer: int, values: Any) -> Any:
        rate = self.edge_rates.get(layer, 0.0)
        if self.keys is None or not rate:
            return values
        n, _, k = values.shape[-3:]
        key = self.keys[len(self.keys) // 2 + layer]
        return values * oracle.mask(key, np.arange(n * n * k), rate).reshape(n, n, k)


class Stated:
    """The loss of a trial as the network's paper has it, its gradient and its training, in float64."""

    def __init__(self, statement: Statement, trial: Trial) -> None:
        self._statement, self._trial, self._config = statement, trial, trial.config()
        prepared = trial.prepared()
        self._x = np.asarray(prepared.features, dtype=np.float64)
        self._a = trial.graph.adjacency.toarray()
        layers = prepared.layers
        self._rates = {layer.number: layer.dropout for layer in layers}
        self._edge_rates = {layer.number: layer.edge_dropout for layer in layers}
        self._penalties = objective.penalties(self._config, layers)
        self._decays = objective.decays(self._config, layers)

    def logits(self, params: Params, keys: NDArray[np.uint32] | None = None) -> Any:
        drop = Masks(keys, self._rates, self._edge_rates)
        return self._statement(self._config.network, params, self._x, self._a, drop)

    def loss(self, params: Params, keys: NDArray[np.uint32] | None = None) -> Any:
        """Of one or, where parameters have an axis in front, of several sets of them."""
        graph, logits = self._trial.graph, self.logits(params, keys)
        assert graph.train is not None
        assert graph.labels is not None
        rows = logits[..., graph.train, :]
        shifted = rows - rows.real.max(axis=-1, keepdims=True)
        log_shares = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        chosen = log_shares[..., np.arange(len(graph.train)), graph.labels[graph.train]]
        total = -chosen.mean(axis=-1)
        for name, l2 in self._penalties.items():
            axes = tuple(range(-self._trial.params[name].ndim, 0))
            total = total + l2 / 2 * (params[name] ** 2).sum(axis=axes)
        return total

    def gradient(self, params: dict[str, Floats], keys: NDArray[np.uint32] | None) -> dict[str, Floats]:
        grads = {}
        for name, value in params.items():
            found = np.empty(value.size)
            for start in range(0, value.size, AT_ONCE):
                at = np.arange(start, min(start + AT_ONCE, value.size))
                moved = np.broadcast_to(value.ravel(), (len(at), value.size)).astype(np.complex128)
                moved[np.arange(len(at)), at] += 1j * STEP
                several: dict[str, NDArray[np.generic]] = {key: each[None] for key, each in params.items()}
                several[name] = moved.reshape(len(at), *value.shape)
                found[at] = self.loss(several, keys).imag / STEP
            grads[name] = found.reshape(value.shape)
        return grads

    def course(self, seed: int, epochs: int) -> list[float]:
        """The losses of the first epochs."""
        config = self._config
        adam = oracle.Adam(config.learning_rate, config.beta1, config.beta2, config.eps, self._decays)
        params = initial_values(self._trial.prepared().layers, seed)
        losses = []
        for epoch in range(epochs):
            keys = dropout_keys(seed, range(epoch, epoch + 1), len(self._trial.keys))[0]
            losses.append(float(self.loss(params, keys)))
            params = adam.step(params, self.gradient(params, keys))
        return losses


def checks(models: str | type[Network] | list[str | type[Network]]) -> tuple[Check, ...]:
    """The checks of a network, of several, or of "all" that come with portgnn."""
    given = models if isinstance(models, list) else [models]
    kinds = [kind for each in given for kind in (list(NETWORKS.values()) if each == "all" else [network_class(each)])]
    found: list[Check] = []
    for kind in dict.fromkeys(kinds):
        first = () if kind in NETWORKS.values() else (("sound", sound),)
        for what, function in (
            *first,
            ("forward", values),
            ("gradient", gradients),
            ("parts", parts),
            ("epochs", course),
        ):
            trials = _trials(kind, what == "parts")
            found.append(Check(f"model.{name_of(kind)}.{what}", function, trials, trials, _ALL))
    return tuple(found)


_ALL = ("float64", "float32", "bfloat16")


def _trials(kind: type[Network], few: bool = False) -> Any:
    """Every variant of the network, and the dresses that it can wear, on graphs of the draw.

    few: the network as it is and one variant, by the draw: batches have shapes of their own, which a compiler compiles
    for each.
    """

    def cases(draw: Draw) -> tuple[Trial, ...]:
        names = set(known(kind))
        dresses = [each for each in DRESSES if set(each) <= names]
        variants = [*dresses, *kind.variants]
        if few and len(variants) > 1:
            other = int(draw.stream(f"variant of {name_of(kind)}").integers(1, len(variants)))
            variants = [variants[0], variants[other]]
        return tuple(Trial(kind, draw.seed + number, tuple(each.items())) for number, each in enumerate(variants))

    return cases


def sound(backend: Backend, trial: Trial) -> Measured:
    """Shapes, rows that depend on their own alone, and no parameter without use; of a network of the user's."""
    try:
        check_network(backend, trial.config().network)
    except ConfigError as error:
        raise Departure(str(error)) from None
    return Measured(0.0)


def values(backend: Backend, trial: Trial) -> Measured:
    """Logits of all nodes, without dropout."""
    prepared = trial.prepared(rows="all")
    got = fetch(backend, _outputs(backend, prepared, trial), "logits")
    if trial.stated is None:
        if not np.isfinite(got).all():
            raise Departure("logits are not finite")
        return Measured(0.0)
    return compare("logits", got, trial.stated.logits(trial.params), _size(got))


def gradients(backend: Backend, trial: Trial) -> Measured:
    """Loss and gradients with dropout: of all rows, and of the needed ones alone."""
    return worst(*(_gradient(backend, trial, rows) for rows in ("all", "needed")))


def _gradient(backend: Backend, trial: Trial, rows: str) -> Measured:
    assert trial.graph.train is not None
    prepared = trial.prepared(rows=rows)
    loss, grads = _graded(backend, prepared, trial, place(backend, prepared, trial.graph.train, training=True))
    stated = trial.stated
    if stated is None:
        return _slopes(backend, trial, prepared, grads)
    want = stated.gradient(trial.params, trial.keys)
    found = [compare("the loss", np.asarray(loss), np.asarray(stated.loss(trial.params, trial.keys)), abs(loss))]
    scale = max(float(np.abs(value).max()) for value in want.values())
    found += [compare(f"the gradient of {name}", grads[name], want[name], scale) for name in want]
    return worst(*found)


def _slopes(backend: Backend, trial: Trial, prepared: Prepared, grads: dict[str, Floats]) -> Measured:
    """Gradients along a drawn direction against differences of the loss; where numbers are too short for it, none."""
    if backend.dtype != "float64":
        return Measured(0.0)
    random = np.random.default_rng(trial.seed)
    operands = place(backend, prepared, trial.graph.train, training=True)
    loss = make_loss(backend, operands, prepared)
    direction = {name: random.standard_normal(value.shape) for name, value in trial.params.items()}

    def at(step: float) -> float:
        moved = {name: backend.asarray(value + step * direction[name]) for name, value in trial.params.items()}
        return float(backend.to_numpy(loss(moved, trial.keys.tolist())[0]))

    along = sum(float((grads[name] * direction[name]).sum()) for name in grads)
    slopes = [(8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h) for h in STEPS]
    slope = min(slopes, key=lambda each: abs(along - each))
    error = abs(along - slope) / max(abs(slope), abs(along), 1e-12)
    if error > 1e-5:
        raise Departure(f"the gradient along a direction is {along:.9g}, and the loss's slope {slope:.9g}")
    return Measured(0.0)


def parts(backend: Backend, trial: Trial) -> Measured:
    """Batches of all neighbours add up to the whole graph, and inference in chunks gives its logits."""
    whole = trial.prepared(rows="all")
    if not whole.config.network.prunable:
        return Measured(0.0)
    graph = trial.graph
    assert graph.train is not None
    loss, want = _graded(backend, whole, trial, place(backend, whole, graph.train, training=True))
    source = InMemory(trial.prepared(loader="neighbor", fanout="all", batch_size=4))
    total, summed = 0.0, dict.fromkeys(want, np.zeros(()))
    for block in neighbor.batches(source, graph.train, np.random.default_rng(trial.seed)):
        placed = from_tree(as_tree(place_batch(backend, assemble(source, block))))
        share = len(block.nodes) / len(graph.train)
        part, grads = _graded(backend, source, trial, placed)
        total += share * part
        summed = {name: summed[name] + share * grads[name] for name in want}
    scale = max(float(np.abs(value).max()) for value in want.values())
    found = [compare("the loss of all batches", np.asarray(total), np.asarray(loss), abs(loss))]
    found += [compare(f"the batches' gradient of {name}", summed[name], want[name], scale) for name in want]
    logits = fetch(backend, _outputs(backend, whole, trial), "logits")
    params = {name: backend.asarray(value) for name, value in trial.params.items()}
    some = np.array([0, 3, graph.num_nodes - 1])
    for nodes in (None, some):
        got = np.asarray(Inference(backend, source, nodes, chunk=40).logits(params), dtype=np.float64)
        found.append(compare("logits in chunks", got, logits if nodes is None else logits[nodes], _size(logits)))
    return worst(*found)


def course(backend: Backend, trial: Trial) -> Measured:
    """Losses of compiled epochs: few where numbers are short, since Adam divides by a gradient's size."""
    epochs = EPOCHS if backend.dtype == "float64" else 3
    prepared = trial.prepared(epochs=EPOCHS)
    run = WholeGraph(backend, prepared).make_run(False)
    state = initial_state(backend, prepared, trial.seed)
    _, metrics = run(state, dropout_keys(trial.seed, range(epochs), len(trial.keys)))
    got = np.asarray(metrics["train_loss"], dtype=np.float64)
    if trial.stated is None:
        if not np.isfinite(got).all():
            raise Departure("a loss is not finite")
        return Measured(0.0)
    want = np.array(trial.stated.course(trial.seed, epochs))
    return compare("the losses", got, want, float(np.abs(want).max()))


def _outputs(backend: Backend, prepared: Prepared, trial: Trial) -> Any:
    params = {name: backend.asarray(value) for name, value in trial.params.items()}
    return forward.outputs(backend, prepared.layers, params, place(backend, prepared, None, training=False))


def _graded(backend: Backend, task: Any, trial: Trial, operands: Any) -> tuple[float, dict[str, Floats]]:
    params = {name: backend.asarray(value) for name, value in trial.params.items()}
    (loss, _), grads = backend.value_and_grad(make_loss(backend, operands, task))(params, trial.keys.tolist())
    host = {name: fetch(backend, grad, f"the gradient of {name}").astype(np.float64) for name, grad in grads.items()}
    return float(backend.to_numpy(loss)), host


def _size(array: Any) -> float:
    return max(float(np.abs(array).max(initial=0.0)), 1e-3)


def _graph(seed: int) -> Graph:
    """18 nodes: weights, some loops, one node without an edge, one with most."""
    random = np.random.default_rng([seed, 18])
    n, f, classes = 18, 6, 3
    edges = random.integers(0, n - 1, (2, 26))
    hub = np.stack([np.zeros(9, dtype=np.int64), random.permutation(np.arange(1, n - 1))[:9]])
    ends = np.concatenate([edges, hub], axis=1)
    weights = random.integers(1, 5, ends.shape[1]) / 2.0
    features = np.where(random.random((n, f)) < 0.6, random.integers(-8, 9, (n, f)) / 4.0, 0.0)
    labels = random.integers(0, classes, n)
    labels[:classes] = np.arange(classes)
    graph = Graph.from_edges(ends.T, features, weights=weights, labels=labels)
    order = random.permutation(n)
    return Graph(
        graph.adjacency, graph.features, labels=labels, train=np.sort(order[:7]), val=order[7:11], test=order[11:],
        name="trial",
    )  # fmt: skip
