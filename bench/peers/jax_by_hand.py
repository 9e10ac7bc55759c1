"""What a careful user of JAX writes: one jitted scan over epochs, with the adjacency as BCOO or as segment sums.

And the same around jraph's `GraphConvolution`, which normalises in every call, as it ships. Adam is written out, so
that nothing but JAX is needed for the first two.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from portgnn.benchmark.contender import Program, Recipe, Unsupported
from portgnn.benchmark.graphs import BenchGraph

Layer = Callable[[Any, Any], Any]
"""Rows and a weight to the sums over neighbours of rows @ weight."""


class ByHand:
    """how: "bcoo", "segments" or "jraph"."""

    def __init__(self, how: str) -> None:
        self._how = how
        if how == "jraph":
            import jraph  # noqa: F401

    def environment(self) -> dict[str, Any]:
        facts = {"jax": jax.__version__, "platform": jax.default_backend()}
        return facts | ({"jraph": version("jraph")} if self._how == "jraph" else {})

    def devices(self) -> tuple[str, ...]:
        return ("cpu",) if jax.default_backend() == "cpu" else ("cuda", "cpu")

    def build(self, graph: BenchGraph, recipe: Recipe, device: str, options: dict[str, Any]) -> Program:
        if recipe.bias == "before":
            raise Unsupported("written with the bias after the propagation")
        if recipe.l2:
            raise Unsupported("written with weight decay on all parameters")
        on = jax.devices("cpu" if device == "cpu" else None)[0]
        with jax.default_device(on):
            return Scanned(graph, recipe, LAYERS[self._how](graph), self._how, on)


class Scanned:
    """Parameters, moments and a key go through `lax.scan`; the state is donated."""

    def __init__(self, graph: BenchGraph, recipe: Recipe, layer: Layer, how: str, device: Any) -> None:
        self._graph, self._recipe, self._device = graph, recipe, device
        self.options = {"form": how, "rows": "all", "features": "dense", "optimizer": "Adam, written out"}
        self._x = jnp.asarray(graph.dense_features(recipe.normalize_features))
        self._index = {split: jnp.asarray(getattr(graph, split)) for split in ("train", "val", "test")}
        self._labels = jnp.asarray(graph.labels)
        self._layer = layer
        self._run = jax.jit(self._epochs, static_argnums=2, donate_argnums=0)
        self._evaluate = jax.jit(self._measured, static_argnums=2)
        self.reset(0)

    def reset(self, seed: int) -> None:
        with jax.default_device(self._device):
            key, params = jax.random.key(seed), []
            for fan_in, fan_out in zip(*(self._recipe.dimensions(self._graph)[i:] for i in (0, 1)), strict=False):
                key, own = jax.random.split(key)
                bound = float(np.sqrt(6.0 / (fan_in + fan_out)))
                weight = jax.random.uniform(own, (fan_in, fan_out), minval=-bound, maxval=bound)
                params.append((weight, jnp.zeros(fan_out)))
            zeros = jax.tree.map(jnp.zeros_like, params)
            self._state: Any = (params, zeros, jax.tree.map(jnp.zeros_like, params), jnp.zeros(()), key)

    def train(self, epochs: int) -> None:
        self._state = jax.block_until_ready(self._run(self._state, self._x, epochs))

    def evaluate(self) -> None:
        loss, right = self._evaluate(self._state[0], self._x, "val")
        float(loss), float(right)

    def test_accuracy(self) -> float:
        return float(self._evaluate(self._state[0], self._x, "test")[1])

    def _forward(self, params: Any, x: Any, key: Any) -> Any:
        recipe = self._recipe
        for number, (weight, bias) in enumerate(params):
            rate = recipe.dropout if number else recipe.input_dropout
            if key is not None and rate:
                key, own = jax.random.split(key)
                x = jnp.where(jax.random.bernoulli(own, 1 - rate, x.shape), x / (1 - rate), 0.0)
            x = self._layer(x, weight)
            x = x if recipe.bias == "none" else x + bias
            x = jax.nn.relu(x) if number + 1 < len(params) else x
        return x

    def _loss(self, params: Any, x: Any, key: Any, split: str) -> tuple[Any, Any]:
        index = self._index[split]
        logits, labels = self._forward(params, x, key)[index], self._labels[index]
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
        return -picked.mean(), (logits.argmax(axis=1) == labels).mean()

    def _measured(self, params: Any, x: Any, split: str) -> tuple[Any, Any]:
        return self._loss(params, x, None, split)

    def _epochs(self, state: Any, x: Any, epochs: int) -> Any:
        rate, decay = self._recipe.learning_rate, self._recipe.weight_decay

        def step(state: Any, _: Any) -> tuple[Any, None]:
            params, first, second, count, key = state
            key, own = jax.random.split(key)
            grads = jax.grad(lambda p: self._loss(p, x, own, "train")[0])(params)
            grads = jax.tree.map(lambda g, p: g + decay * p, grads, params)
            count = count + 1
            first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
            second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, grads)
            scale = rate * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
            # Epsilon as Kingma and Ba's algorithm has it, after the corrections.
            epsilon = 1e-8 * jnp.sqrt(1 - 0.999**count)
            moved = jax.tree.map(lambda p, m, v: p - scale * m / (jnp.sqrt(v) + epsilon), params, first, second)
            return (moved, first, second, count, key), None

        return jax.lax.scan(step, state, None, length=epochs)[0]


def bcoo(graph: BenchGraph) -> Layer:
    from jax.experimental import sparse

    matrix = sparse.BCOO.from_scipy_sparse(graph.normalised())
    return lambda x, weight: matrix @ (x @ weight)


def segments(graph: BenchGraph) -> Layer:
    adjacency = graph.normalised().tocoo()
    source, target = jnp.asarray(adjacency.col), jnp.asarray(adjacency.row)
    weight = jnp.asarray(adjacency.data)[:, None]
    total = partial(jax.ops.segment_sum, segment_ids=target, num_segments=graph.nodes, indices_are_sorted=True)
    return lambda x, w: total(weight * (x @ w)[source])


def of_jraph(graph: BenchGraph) -> Layer:
    import jraph

    source, target = graph.edge_index()
    loop = np.arange(graph.nodes)
    made = jraph.GraphsTuple(
        nodes=None, edges=None, globals=None,
        senders=jnp.asarray(np.concatenate([source, loop])), receivers=jnp.asarray(np.concatenate([target, loop])),
        n_node=jnp.asarray([graph.nodes]), n_edge=jnp.asarray([len(source) + graph.nodes]),
    )  # fmt: skip

    def layer(x: Any, weight: Any) -> Any:
        # Self-loops are in the edges already, once.
        return jraph.GraphConvolution(lambda nodes: nodes @ weight, symmetric_normalization=True)(
            made._replace(nodes=x)
        ).nodes

    return layer


LAYERS: dict[str, Callable[[BenchGraph], Layer]] = {"bcoo": bcoo, "segments": segments, "jraph": of_jraph}


def contender(argument: str | None) -> ByHand:
    return ByHand(argument or "bcoo")
