"""Which edges and features an answer comes from: gradients times inputs, and masks that are learned.

Masks are those of GNNExplainer (Ying et al. 2019, "GNNExplainer: generating explanations for graph neural networks"):
A ⊙ σ(M) in the place of the edges (eq. 5) and X ⊙ σ(F) in that of the features (section 4.2, with one mask for all
nodes), found by gradients of the loss of what the network says of the node (eq. 6), with penalties on the size and the
entropy of both. A mask multiplies the messages of all layers, and a node's own place in them has none. Rates, penalties
and first values are those of PyG's `GNNExplainer`, which leaves entries out of its penalties that have no gradient at
first; here these are the columns that are 0 throughout the neighbourhood.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from portgnn.explaining.neighbourhood import Neighbourhood
from portgnn.protocol import Array, Backend, Keys, Namespace, State
from portgnn.random import parameter_stream
from portgnn.training.state import join_state, parameters_of, split_state

Method = Literal["mask", "gradient"]
EDGE_SIZE, EDGE_ENTROPY = 0.005, 1.0
FEATURE_SIZE, FEATURE_ENTROPY = 1.0, 0.1
TINY = 1e-15
RATE = 0.01


@dataclass(frozen=True, eq=False)
class Scores:
    """edges: [m], of the neighbourhood's edges. features: [f]. nodes: [n], of the neighbourhood's nodes."""

    edges: NDArray[np.float64]
    features: NDArray[np.float64]
    nodes: NDArray[np.float64]


def gradients(around: Neighbourhood, row: int, answer: int) -> Scores:
    """Gradient × input of an answer (the logit of a class): of features, summed over the nodes that have them and over
    the features of a node, and of edges, whose input is that they are there.
    """
    backend = around.backend
    chosen = _chosen(around, row, answer)

    def answered(given: Any) -> tuple[Array, None]:
        outputs, _ = around.outputs(given["features"], given.get("edges"))
        return backend.xp.sum(outputs * chosen), None

    given = {"features": backend.asarray(around.features)}
    if len(around.edges):
        given["edges"] = backend.asarray(np.ones((len(around.edges), 1)))
    _, found = backend.value_and_grad(answered)(given)
    shares = np.asarray(backend.to_numpy(found["features"]), dtype=np.float64) * around.features
    edges = _host(backend, found["edges"]) if "edges" in found else np.zeros(0)
    return Scores(edges, shares.sum(axis=0), shares.sum(axis=1))


def masks(around: Neighbourhood, row: int, answer: int, epochs: int, rate: float, seed: int, classes: bool) -> Scores:
    """σ(M) and σ(F) after so many steps of Adam. classes: the answers are logits of one class; else values, that the
    masked network is to say again.
    """
    backend, xp = around.backend, around.backend.xp
    features = backend.asarray(around.features)
    active = (around.features != 0).any(axis=0)
    counted = backend.asarray(active.astype(np.float64)[None, :])
    chosen = _chosen(around, row, answer)
    said, _ = around.outputs(features)

    def loss(given: Any, _: Any = None) -> tuple[Array, None]:
        shares = _sigmoid(xp, given["features"])
        edges = _sigmoid(xp, given["edges"]) if "edges" in given else None
        outputs, _ = around.outputs(features * shares, edges)
        off = -backend.log_softmax(outputs) if classes else (outputs - said) * (outputs - said)
        total = xp.sum(off * chosen)
        if active.any():
            penalty = shares * FEATURE_SIZE + _entropy(xp, shares) * FEATURE_ENTROPY
            total = total + xp.sum(penalty * counted) / float(active.sum())
        if edges is not None:
            total = total + xp.sum(edges) * EDGE_SIZE + xp.mean(_entropy(xp, edges)) * EDGE_ENTROPY
        return total, None

    first = _first(around, seed)
    params = {name: backend.asarray(value) for name, value in first.items()}
    optimizer = backend.adam(rate)

    def step(state: State, keys: Keys) -> tuple[Any, tuple[Array, ...]]:
        own, moments = split_state(state)
        (value, _), found = backend.value_and_grad(loss)(own)
        return join_state(*optimizer.step(own, found, moments)), (value,)

    state = join_state(params, optimizer.init(params))
    state, _ = backend.compile(step)(state, np.zeros((epochs, 1, 2), dtype=np.uint32))
    found = {name: _host(backend, value) for name, value in parameters_of(state).items()}
    shares = np.where(active, 1 / (1 + np.exp(-found["features"])), 0.0)
    edges = 1 / (1 + np.exp(-found["edges"])) if "edges" in found else np.zeros(0)
    return Scores(edges, shares, np.abs(around.features) @ shares)


def answers_with(around: Neighbourhood, row: int, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The outputs [k] of a row where only some edges carry messages. kept: [m]."""
    backend = around.backend
    mask = backend.asarray(kept.astype(np.float64)[:, None]) if len(kept) else None
    outputs, _ = around.outputs(backend.asarray(around.features), mask)
    return np.asarray(backend.to_numpy(outputs)[row], dtype=np.float64)


def _chosen(around: Neighbourhood, row: int, answer: int) -> Array:
    """1 at the answer, 0 elsewhere: a product with it has the same order of sums on every backend."""
    width = around.layers[-1].fan_out
    chosen = np.zeros((len(around.rows), width))
    chosen[row, answer] = 1.0
    return around.backend.asarray(chosen)


def _first(around: Neighbourhood, seed: int) -> dict[str, NDArray[np.float64]]:
    """The masks' first values: of the seed alone, the same on every backend. Edges' have the deviation that PyG gives
    them, of the number of all nodes.
    """
    spread = np.sqrt(2.0) * np.sqrt(2.0 / (2.0 * around.whole))
    drawn = parameter_stream(seed, "mask of features").standard_normal((1, around.features.shape[1]))
    found = {"features": 0.1 * drawn}
    if len(around.edges):
        found["edges"] = spread * parameter_stream(seed, "mask of edges").standard_normal((len(around.edges), 1))
    return found


def _sigmoid(xp: Namespace, x: Array) -> Any:
    return 1.0 / (1.0 + xp.exp(-x))


def _entropy(xp: Namespace, share: Array) -> Any:
    return -share * xp.log(share + TINY) - (1.0 - share) * xp.log(1.0 - share + TINY)


def _host(backend: Backend, x: Array) -> NDArray[np.float64]:
    return np.asarray(backend.to_numpy(x), dtype=np.float64).ravel()
