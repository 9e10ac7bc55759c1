"""A run held against the reference step by step, each from the backend's own parameters.

Adam divides a gradient by its own size. In its first steps an entry within rounding of 0 decides the direction of a
whole step, and two right runs stand a hundredth apart in one weight: no side of a relu is to blame, and no rounding of
a pre-activation reaches as far. A single step from given parameters has no such memory. So each epoch is computed anew
in float64 from the parameters that the backend had, with its sides of relu, and its loss and the parameters that it
leaves are held to what rounding of one gradient can do to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.graphs.split import labels_at, split
from portgnn.presets import Config
from portgnn.verification.kinks import ROUNDOFF, Following
from portgnn.verification.measure import Floats
from portgnn.verification.oracle import Values, epoch_keys, log_softmax

GRADIENT = 10.0
"""A gradient may be off by so many times the tolerance of a single operation, relative to its largest entry: terms that
cancel take their share. Entries are held to `ROUNDINGS` of their terms as well."""
LONGEST = 7.0
"""In learning rates: no step is longer than (1 - beta1) / sqrt(1 - beta2), 3.2 (Kingma & Ba 2015, section 2.1), and two
part by twice that at most."""
SHARE = 0.25
"""From the same parameters, rounding reaches so much of what `kinks.bound` allows after steps of its own."""


@dataclass(frozen=True)
class WrongStep:
    """The first thing that is not as rounding leaves it. place: a loss, or an entry of a parameter."""

    epoch: int
    place: str
    reference: float
    found: float
    allowed: float

    def __str__(self) -> str:
        return (
            f"from the same parameters, {self.place} departs at epoch {self.epoch}: {self.reference:.6e} in float64, "
            f"{self.found:.6e} here; rounding reaches {self.allowed:.0e}"
        )


class Steps:
    """Adam on the reference's gradients, and how far rounding of those gradients can move its steps."""

    def __init__(self, config: Config, unit: float) -> None:
        self._config, self._unit, self._t = config, unit, 0
        self._m: Values = {}
        self._v: Values = {}
        self._off_m: Values = {}
        self._off_v: Values = {}

    def take(self, params: Values, grads: Values, off: Values) -> dict[str, tuple[Floats, Floats]]:
        """Each parameter after the step, and how far from it rounding may end. off: of each entry of the gradients."""
        config, self._t = self._config, self._t + 1
        c1, c2 = 1 - config.beta1**self._t, 1 - config.beta2**self._t
        after = {}
        for name, value in params.items():
            grad = grads[name] + config.weight_decay * value
            error = off[name] + 8 * self._unit * (np.abs(grads[name]) + config.weight_decay * np.abs(value))
            m = self._m[name] = config.beta1 * self._m.get(name, 0.0) + (1 - config.beta1) * grad
            v = self._v[name] = config.beta2 * self._v.get(name, 0.0) + (1 - config.beta2) * grad**2
            off_m = self._off_m[name] = config.beta1 * self._off_m.get(name, 0.0) + (1 - config.beta1) * error
            # The root of v is a norm of the gradients: it moves by no more than the same norm of their errors.
            off_v = self._off_v[name] = config.beta2 * self._off_v.get(name, 0.0) + (1 - config.beta2) * error**2
            root, moved = np.sqrt(v / c2) + config.eps, np.sqrt(off_v / c2)
            step = m / c1 / root
            reach = (off_m / c1 + np.abs(step) * moved) / (np.maximum(root - config.eps - moved, 0.0) + config.eps)
            reach = config.learning_rate * (np.minimum(reach, LONGEST) + 16 * self._unit)
            after[name] = (value - config.learning_rate * step, reach + 4 * self._unit * np.abs(value))
        return after


class Stepping(Following):
    """One seed's run, every epoch from the backend's own parameters.

    wrong: the first loss or parameter that rounding does not explain. trained: the backend's parameters after each
    epoch. kinks, beyond: as of `Following`.
    """

    share = SHARE
    wrong: WrongStep | None = None
    trained: list[Values]

    def walk(self, seed: int, tolerance: float, floor: float) -> None:
        """Goes through all epochs, or to the first that is wrong. floor: what a loss may differ by absolutely."""
        config, graph = self.config, self.graph
        self._watched.start(seed)
        steps, self.trained = Steps(config, self._unit), []
        params = self._watched.params()
        for epoch in range(config.epochs):
            loss, grads = self.gradient(params, epoch_keys(seed, epoch, config.layers), graph.train)
            off = self._off(params, grads, GRADIENT * tolerance)
            metrics = self._watched.metrics[-1]
            self._hold("the training loss", loss, float(metrics[0]), max(tolerance * abs(loss), floor))
            taken = steps.take(params, grads, off)
            params = self._watched.params()
            self.trained.append(params)
            for name, (want, reach) in taken.items():
                excess = np.abs(params[name] - want) - reach
                at = np.unravel_index(int(np.argmax(excess)), excess.shape)
                place = f"{name}{[int(i) for i in at]}"
                self._hold(place, float(want[at]), float(params[name][at]), float(reach[at]))
            if graph.val is not None:
                loss = self.loss(self.forward(params)[0], params, graph.val)
                self._hold("the validation loss", loss, float(metrics[1]), max(tolerance * abs(loss), floor))
            if self.wrong or self.beyond:
                return

    def _hold(self, place: str, want: float, found: float, allowed: float) -> None:
        if self.wrong is None and not abs(found - want) <= allowed:
            self.wrong = WrongStep(self._epoch, place, want, found, allowed)

    def settled(self, params: Values, layer: int, hidden: Any, out: Floats) -> Floats:
        after = super().settled(params, layer, hidden, out)
        if layer == 0:
            self._inputs: list[Any] = []
            terms: Any = abs(hidden)
        else:
            terms = self._output * (hidden != 0) / (1.0 - self.config.dropout)
        self._inputs.append(terms)
        product = np.asarray(terms @ np.abs(params[f"weight{layer}"]))
        if self.config.bias == "before":
            product = product + np.abs(params[f"bias{layer}"])
        self._output: Floats = np.asarray(abs(self.adjacency) @ product)
        if self.config.bias == "after":
            self._output = self._output + np.abs(params[f"bias{layer}"])
        self._logits = after
        return after

    def _off(self, params: Values, grads: Values, share: float) -> Values:
        """How far rounding may move each entry of a gradient: by its terms, and by the gradient's largest entry."""
        config, train = self.config, split(self.graph, "train")
        nodes = train.nodes
        # The backward pass once more, with every number's size; what relu or dropout zeroed stays out.
        size = np.zeros_like(self._logits)
        size[nodes] = np.exp(log_softmax(self._logits[nodes]))
        size[nodes, labels_at(self.graph, nodes)] += 1.0
        size /= len(nodes)
        terms: Values = {}
        for layer in reversed(range(config.layers)):
            if config.bias == "after":
                terms[f"bias{layer}"] = size.sum(axis=0)
            size = abs(self.adjacency).T @ size
            if config.bias == "before":
                terms[f"bias{layer}"] = size.sum(axis=0)
            terms[f"weight{layer}"] = np.asarray(self._inputs[layer].T @ size)
            if layer:
                passed: NDArray[np.bool_] = self._inputs[layer] != 0
                size = (size @ np.abs(params[f"weight{layer}"]).T) * passed / (1.0 - config.dropout)
        terms["weight0"] = terms["weight0"] + config.l2 * np.abs(params["weight0"])
        largest = {name: float(np.abs(grad).max(initial=0.0)) for name, grad in grads.items()}
        return {name: np.minimum(self.allowed * terms[name], share * largest[name]) for name in grads}

    @property
    def _unit(self) -> float:
        return ROUNDOFF[self._dtype]
