"""Kinks: places where a backend's relu stands on the other side of 0 than the float64 reference's.

relu's gradient jumps at 0. Where rounding carries a pre-activation across, one element of a gradient is present in one
run and absent in the other, and from there on both train on slightly different parameters: a departure that no
arithmetic of finite precision escapes, and no mistake. It is told from a mistake in two steps. The reference follows
the backend epoch by epoch, and takes the backend's side of each element that lies within rounding of 0, and of no
other; then its losses must agree with the backend's to the tolerance of operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.graphs.graph import Graph
from portgnn.graphs.split import split
from portgnn.metrics import ACCURACY
from portgnn.placing import forward
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place, receptive_field
from portgnn.presets import Config
from portgnn.protocol import Array, Backend, Keys, Params, Run, State
from portgnn.random import dropout_keys
from portgnn.training import initial_state, join_state, make_optimizer, objective, split_state
from portgnn.verification.measure import Floats
from portgnn.verification.oracle import Network, Values

ROUNDINGS = 256
"""How far from 0 a kink may lie: so many roundings of the sum of its terms' sizes.

One forward pass needs a few; parameters that drifted apart by the rounding of a hundred steps before need more.
"""
ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "bfloat16": 2.0**-8}
"""The largest relative error of one rounding."""
_ABOVE = float(np.finfo(np.float64).tiny)
_SEEN = "relu."
"""What the names begin with under which a watched state keeps what relu saw."""


def bound(dtype: str) -> float:
    """The largest |pre-activation| / (sum of its terms' sizes) of a kink: `ROUNDINGS` unit roundoffs of the dtype."""
    return ROUNDINGS * ROUNDOFF[dtype]


@dataclass(frozen=True)
class Kink:
    """One element of a hidden layer, in one epoch's training pass, whose relu decided otherwise than the reference's.

    reference, found: the pre-activation in the reference and in the backend. terms: the sum of the sizes of the terms
    that add up to it, of which rounding takes its share.
    """

    epoch: int
    layer: int
    node: int
    unit: int
    reference: float
    found: float
    terms: float

    @property
    def distance(self) -> float:
        """How far from 0 the reference stands, relative to the terms."""
        return abs(self.reference) / self.terms if self.terms else float("inf" if self.reference else 0.0)

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch}, layer {self.layer}, element ({self.node}, {self.unit}): "
            f"{self.reference:.1e} in float64, {self.found:.1e} here"
        )


class Watched:
    """A backend that remembers what goes into its relu and what comes out of it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.seen: list[tuple[Array, Array]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def relu(self, x: Array) -> Array:
        after = self._backend.relu(x)
        self.seen.append((x, after))
        return after


Side = tuple[NDArray[np.int64], NDArray[np.generic], NDArray[np.bool_]]
"""Of one hidden layer: its nodes, their pre-activations and whether relu let them pass [nodes, width]."""


class WatchedRun:
    """A backend's epochs, compiled as training compiles them, whose state also carries what relu saw and gave.

    On NumPy, PyTorch, MLX and JAX on a CPU the losses have the same bits as those of a run that is not watched.
    """

    def __init__(self, backend: Backend, prepared: Prepared) -> None:
        self._backend, self._prepared = backend, prepared
        self._hidden = receptive_field(prepared, split(prepared.graph, "train").nodes)[1:-1]
        self._run = self._compiled()
        self.metrics: list[Floats] = []

    def _compiled(self) -> Run:
        backend, prepared, config = self._backend, self._prepared, self._prepared.config
        train, val = prepared.graph.train, prepared.graph.val
        operands = place(backend, prepared, train, training=True)
        held_out = None if val is None else place(backend, prepared, val, training=False)
        layers, penalties = prepared.layers, objective.penalties(config, prepared.layers)
        optimizer = make_optimizer(backend, prepared)
        watched: Any = Watched(backend)

        def loss(params: Params, keys: Keys) -> tuple[Array, Any]:
            watched.seen = []
            logits = forward.outputs(watched, layers, params, operands, keys)
            return objective.loss(backend, prepared.task, logits, operands, params, penalties), tuple(watched.seen)

        value_and_grad = backend.value_and_grad(loss)

        def step(state: State, keys: Keys) -> tuple[State, tuple[Array, ...]]:
            params, moments = split_state({name: value for name, value in state.items() if name[: len(_SEEN)] != _SEEN})
            (value, seen), grads = value_and_grad(params, keys)
            params, moments = optimizer.step(params, grads, moments)
            after = join_state(params, moments)
            for layer, (before, passed) in enumerate(seen):
                after |= {f"{_SEEN}before{layer}": before, f"{_SEEN}after{layer}": passed}
            if held_out is None:
                return after, (value,)
            logits = forward.outputs(backend, layers, params, held_out)
            val_loss = objective.loss(backend, prepared.task, logits, held_out, params, penalties)
            return after, (value, val_loss, *ACCURACY.sums(backend.xp, logits, held_out))

        return backend.compile(step)

    def start(self, seed: int) -> None:
        """Back to a seed's initial parameters."""
        self._seed, self.metrics = seed, []
        self._state = initial_state(self._backend, self._prepared, seed)
        for layer, nodes in enumerate(self._hidden):
            zeros = np.zeros((len(nodes), self._prepared.layers[layer].fan_out))
            for name in ("before", "after"):
                self._state[f"{_SEEN}{name}{layer}"] = self._backend.asarray(zeros)

    def advance(self) -> list[Side]:
        """One more epoch, and what its training pass's relu saw, a hidden layer each."""
        epochs = range(len(self.metrics), len(self.metrics) + 1)
        self._state, metrics = self._run(self._state, dropout_keys(self._seed, epochs, self._prepared.config.layers))
        self.metrics.append(metrics[0])

        def host(name: str) -> NDArray[np.floating]:
            return self._backend.to_numpy(self._state[_SEEN + name])

        return [(nodes, host(f"before{i}"), host(f"after{i}") > 0) for i, nodes in enumerate(self._hidden)]

    def params(self) -> Values:
        """The parameters that the next epoch starts from, as they are, in float64."""
        params, _ = split_state(self._state)
        return {name: self._backend.to_numpy(value).astype(np.float64) for name, value in params.items()}


class Following(Network):
    """The reference, with the backend's side of each element that is within rounding of 0.

    kinks: those elements. beyond: the first element on the other side that rounding does not explain; from its epoch
    on no side is taken.
    """

    share = 1.0

    def __init__(self, graph: Graph, config: Config, sparse: bool, backend: Backend, watched: WatchedRun) -> None:
        super().__init__(graph, config, sparse)
        self.allowed, self._watched, self._epoch = self.share * bound(backend.dtype), watched, -1
        self._dtype = backend.dtype
        self._found: list[Side] = []
        self.kinks: list[Kink] = []
        self.beyond: Kink | None = None

    def settled(self, params: Values, layer: int, hidden: Array, out: Floats) -> Floats:
        """The output with the elements put across 0 that are kinks."""
        if layer == 0:
            self._found = self._watched.advance()
            self._epoch += 1
        if layer == self.config.layers - 1 or self.beyond is not None:
            return out
        nodes, before, side = self._found[layer]
        rows, units = np.nonzero((out[nodes] > 0) != side)
        if not len(rows):
            return out
        out = out.copy()
        terms = self._terms(params, layer, hidden, nodes[rows])[np.arange(len(rows)), units]
        for row, unit, size in zip(rows.tolist(), units.tolist(), terms.tolist(), strict=True):
            node = int(nodes[row])
            kink = Kink(self._epoch, layer, node, unit, float(out[node, unit]), float(before[row, unit]), size)
            if not kink.distance <= self.allowed:
                self.beyond = kink
                break
            self.kinks.append(kink)
            out[node, unit] = _ABOVE if side[row, unit] else 0.0
        return out

    def _terms(self, params: Values, layer: int, hidden: Any, nodes: NDArray[np.int64]) -> Floats:
        """Sums of the sizes of what adds up to each pre-activation of some nodes, [nodes, width]."""
        rows = self.adjacency[nodes]
        needed = np.unique(rows.indices)
        sizes = np.asarray(abs(hidden[needed]) @ np.abs(params[f"weight{layer}"]))
        if self.config.bias == "before":
            sizes = sizes + np.abs(params[f"bias{layer}"])
        total: Floats = np.asarray(abs(rows[:, needed]) @ sizes)
        return total + np.abs(params[f"bias{layer}"]) if self.config.bias == "after" else total
