"""The whole recipe once more, in float64 NumPy and by hand: what every backend is held against.

It shares no code with the model, the objective, the loop, the optimizer or any adapter, and takes no short
cut: all nodes, gradients written out, Adam as Kingma & Ba (2015), Algorithm 1, prints it. Its own gradients
are held against finite differences by the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.graphs.graph import Graph
from portgnn.graphs.split import labels_at
from portgnn.presets import Config
from portgnn.protocol import Key, Keys
from portgnn.verification.measure import Floats
from portgnn.verification.oracle_optimizers import Adam as Adam
from portgnn.verification.oracle_optimizers import Optimizer

Values = dict[str, Floats]
Words = NDArray[np.uint64]

MODEL = "gcn"
"""The network that is stated here."""
_LOW = np.uint64(0xFFFFFFFF)


def hash_bits(key: tuple[int, int], index: NDArray[np.generic]) -> Words:
    """The dropout hash in 64-bit integers cut back to 32, as unsigned words."""
    x = (index.astype(np.int64).astype(np.uint64) + np.uint64(key[0])) & _LOW
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(0x7FEB352D)) & _LOW
    x ^= x >> np.uint64(15)
    x ^= np.uint64(key[1])
    x = (x * np.uint64(0x846CA68B)) & _LOW
    return x ^ (x >> np.uint64(16))


def signed(words: Words) -> NDArray[np.int32]:
    return words.astype(np.uint32).view(np.int32)


def mask(key: Key, index: NDArray[np.generic], rate: float) -> Floats:
    """1/(1 - rate) where the bits, read as a signed number, lie in the lowest 1 - rate of their range; else 0."""
    if not rate:
        return np.ones(index.shape)
    lifted = hash_bits((int(key[0]), int(key[1])), index) ^ np.uint64(1 << 31)
    return (lifted < np.uint64(round((1 - rate) * 2**32))) / (1 - rate)


def epoch_keys(seed: int, epoch: int, layers: int) -> NDArray[np.uint32]:
    words: NDArray[np.uint32] = np.random.SeedSequence([seed, epoch]).generate_state(2 * layers).astype(np.uint32)
    return words.reshape(layers, 2)


def log_softmax(x: Floats, axis: int = -1) -> Floats:
    shifted = x - x.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def initial(config: Config, widths: tuple[int, ...], seed: int) -> Values:
    """Glorot-uniform weights, a Philox stream each, and zero biases."""
    params: Values = {}
    for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
        stream = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, layer])))
        bound = (6.0 / (fan_in + fan_out)) ** 0.5
        params[f"weight{layer}"] = stream.uniform(-bound, bound, (fan_in, fan_out))
        if config.bias != "none":
            params[f"bias{layer}"] = np.zeros(fan_out)
    return params


def _normalized(features: sp.csr_array, config: Config) -> sp.csr_array:
    """Features by the recipe's rule; columns are centred where the recipe has them dense."""
    rule = config.normalize_features
    if rule == "auto":
        rule = "none" if features.nnz and features.data.min() < 0 else "row"
    if rule == "row":
        sums = features.sum(axis=1)
        return sp.csr_array(sp.diags_array(1 / np.where(sums == 0, 1, sums)) @ features)
    if rule == "none":
        return features
    values = features.toarray()
    deviation = np.where(np.ptp(values, axis=0) == 0, 1, values.std(axis=0))
    form = config.features
    if form == "auto":
        form = "sparse" if features.nnz < 0.1 * values.size else "dense"
    return sp.csr_array((values - (values.mean(axis=0) if form == "dense" else 0)) / deviation)


class Network:
    """One graph under one recipe. features: in the form, dense or sparse, whose elements dropout numbers.

    near: two logits so near, beside the largest, are a tie that rounding may decide.
    """

    near = 1e-3

    def __init__(self, graph: Graph, config: Config, sparse: bool) -> None:
        self.graph, self.config = graph, config
        loops = sp.diags_array((graph.adjacency.diagonal() == 0).astype(np.float64))
        with_loops = sp.csr_array(graph.adjacency + loops)
        root = sp.diags_array(1 / np.sqrt(with_loops.sum(axis=1)))
        self.adjacency = sp.csr_array(root @ with_loops @ root)
        features = _normalized(sp.csr_array(graph.features, dtype=np.float64), config)
        features.sort_indices()
        self.features: Any = features if sparse else features.toarray()
        hidden = (config.hidden,) * (config.layers - 1)
        self.widths = (graph.num_features, *hidden, graph.num_classes)

    def forward(self, params: Values, keys: Any = None) -> tuple[Floats, list[tuple[Any, Any, Floats]]]:
        """Logits [n, c] and, for each layer, its input after dropout, the mask (None on the features) and output."""
        config, trace = self.config, []
        hidden: Any = self.features
        for layer in range(config.layers):
            rate = (config.dropout if layer else config.input_dropout) if keys is not None else 0.0
            kept: Any = None
            if rate and sp.issparse(hidden):
                data = hidden.data * mask(keys[layer], np.arange(hidden.nnz), rate)
                hidden = sp.csr_array((data, hidden.indices, hidden.indptr), shape=hidden.shape)
            elif rate:
                kept = mask(keys[layer], np.arange(hidden.size), rate).reshape(hidden.shape)
                hidden = hidden * kept
            product = np.asarray(hidden @ params[f"weight{layer}"])
            if config.bias == "before":
                product = product + params[f"bias{layer}"]
            out = self.adjacency @ product
            if config.bias == "after":
                out = out + params[f"bias{layer}"]
            if keys is not None:
                out = self.settled(params, layer, hidden, out)
            trace.append((hidden, kept, out))
            hidden = np.maximum(out, 0.0)
        return out, trace

    def settled(self, params: Values, layer: int, hidden: Any, out: Floats) -> Floats:
        """A layer's output in training as the next layer takes it; hidden: the layer's input."""
        return out

    def loss(self, logits: Floats, params: Values, nodes: Any) -> float:
        """Mean cross-entropy over `nodes`, and l2/2 ||W0||^2."""
        data = -log_softmax(logits[nodes])[np.arange(len(nodes)), labels_at(self.graph, nodes)].mean()
        return float(data + self.config.l2 / 2 * (params["weight0"] ** 2).sum())

    def correct(self, logits: Floats, nodes: Any, near: float | None = None) -> tuple[int, int]:
        """How many of `nodes` are right, and how many are so close to a tie that rounding may decide them."""
        near = self.near if near is None else near
        rows = logits[nodes]
        ordered = np.sort(rows, axis=1)
        gap = ordered[:, -1] - ordered[:, -2] if rows.shape[1] > 1 else np.full(len(rows), np.inf)
        return int((rows.argmax(axis=1) == labels_at(self.graph, nodes)).sum()), int(
            (gap < near * np.abs(rows).max()).sum()
        )

    def gradient(self, params: Values, keys: Keys, nodes: object) -> tuple[float, Values]:
        """The training loss and its gradient, by hand."""
        loss, grads, _ = self._pulled(params, keys, nodes)
        return loss, grads

    def _pulled(
        self, params: Values, keys: Keys, nodes: Any
    ) -> tuple[float, Values, list[tuple[object, object, Floats]]]:
        config = self.config
        logits, trace = self.forward(params, keys)
        grad = np.zeros_like(logits)
        grad[nodes] = np.exp(log_softmax(logits[nodes]))
        grad[nodes, labels_at(self.graph, nodes)] -= 1.0
        grad /= len(nodes)
        grads: Values = {}
        for layer in reversed(range(config.layers)):
            hidden, kept, _ = trace[layer]
            if config.bias == "after":
                grads[f"bias{layer}"] = grad.sum(axis=0)
            grad = self.adjacency.T @ grad
            if config.bias == "before":
                grads[f"bias{layer}"] = grad.sum(axis=0)
            grads[f"weight{layer}"] = np.asarray(hidden.T @ grad)
            if layer:
                grad = grad @ params[f"weight{layer}"].T
                grad = (grad if kept is None else grad * kept) * (trace[layer - 1][2] > 0)
        grads["weight0"] = grads["weight0"] + config.l2 * params["weight0"]
        return self.loss(logits, params, nodes), grads, trace

    def train(self, seed: int, epochs: int) -> Course:
        """Training from a seed without early stopping."""
        config, graph = self.config, self.graph
        params = initial(config, self.widths, seed)
        optimizer = Optimizer(config, dict.fromkeys(params, config.weight_decay))
        course = Course([], [], [])
        for epoch in range(epochs):
            keys = epoch_keys(seed, epoch, config.layers)
            loss, grads, trace = self._pulled(params, keys, graph.train)
            course.margin = min([course.margin, *(_nearest_to_zero(out) for _, _, out in trace[:-1])])
            params = optimizer.step(params, grads)
            row, close = [loss], 0
            if graph.val is not None:
                logits, _ = self.forward(params)
                right, close = self.correct(logits, graph.val)
                row += [self.loss(logits, params, graph.val), float(right)]
            optimizer.observe(row[:2][-1])
            course.metrics.append(row)
            course.close.append(close)
            course.params.append(params)
        return course


@dataclass
class Course:
    """What training did: metrics a row an epoch, validation nodes near a tie, and parameters after each epoch.

    margin: how near 0 an input of ReLU came, as a share of the largest of its layer; inputs that are 0 aside.
    """

    metrics: list[list[float]]
    close: list[int]
    params: list[Values]
    margin: float = float("inf")

    def size(self, name: str) -> float:
        """What an error of a parameter is a share of: its largest element on the way, since a bias can pass 0."""
        return max(float(np.abs(each[name]).max(initial=0.0)) for each in self.params) or 1.0


def _nearest_to_zero(x: Floats) -> float:
    sizes = np.abs(x[x != 0])
    return float(sizes.min() / sizes.max()) if sizes.size else float("inf")


def ending(losses: list[float], config: Config) -> int | None:
    """The epoch after which the recipe ends training, by its validation losses; None where it goes to the last.

    "window" is tkipf/gcn's rule (train.py): the loss exceeds its mean over the `patience` epochs before. "patience":
    none of `patience` epochs in a row was better than all before it.
    """
    best, without = float("inf"), 0
    for epoch, loss in enumerate(losses):
        without = 0 if loss < best else without + 1
        best = min(best, loss)
        if not config.patience or epoch < int(config.stop_after * config.epochs):
            continue
        if config.stopping == "patience":
            ends = without >= config.patience
        else:
            ends = epoch > config.patience and loss > sum(losses[epoch - config.patience : epoch]) / config.patience
        if ends:
            return epoch
    return None


def best(losses: list[float]) -> int:
    """The first epoch of the lowest loss."""
    return min(enumerate(losses), key=lambda pair: (pair[1], pair[0]))[0]
