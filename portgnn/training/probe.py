"""What a first attempt at a network gets wrong: found on a few nodes before anything is trained, and said in a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import scipy.sparse as sp

from portgnn.errors import ConfigError
from portgnn.models import NETWORKS, Layer, Network, name_of
from portgnn.models.edges import Edges
from portgnn.models.initial import initial_values
from portgnn.models.layer import parameters_of
from portgnn.parts import message_passing
from portgnn.placing.edges import Looped
from portgnn.placing.forward import mapped
from portgnn.protocol import Array, Backend, Params

NODES, FEATURES, CLASSES = 7, 5, 3
MOVED = 2
"""The row that is changed, to see which others do; not the middle one, which stays where rows are turned around."""


def check_network(backend: Backend, network: Network) -> None:
    """Raises ConfigError, naming layer and method, for a network that cannot be trained as it is.

    Looked at are the layers' sizes and numbers, the shapes of what each method returns, rows that depend on others
    where none may, and parameters that the loss does not depend on. Networks that come with portgnn are not looked at.
    """
    if type(network) in NETWORKS.values():
        return
    name = name_of(type(network))
    layers = _called(f"{name}.built", lambda: network.built(FEATURES, CLASSES))
    _check_layers(name, layers)
    _called(f"{name}: parameters", lambda: parameters_of(layers))
    host = _called(f"{name}: initial values", lambda: _nudged(initial_values(layers, 0)))
    params = {key: backend.asarray(value) for key, value in host.items()}
    trial = _Trial(backend, network, layers)
    for row in (None, MOVED):  # the second time a row of each input is another, and others are to stay as they are
        trial.run(params, row)
    _check_use(backend, trial, params, name)


def _nudged(values: dict[str, Any]) -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {name: value + 0.3 * random.standard_normal(np.shape(value)) for name, value in values.items()}


def _check_layers(name: str, layers: object) -> None:
    if not isinstance(layers, tuple) or not layers or not all(isinstance(each, Layer) for each in layers):
        raise ConfigError(f"{name}.built must return a tuple of layers, at least one, and returned {layers!r:.80}")
    widths = [FEATURES, *(layer.fan_out for layer in layers)]
    for number, layer in enumerate(layers):
        if layer.number != number:
            raise ConfigError(f"{name}.built: {_named(layer)} stands at place {number}; layers are numbered from 0")
        if layer.fan_in != widths[number]:
            before = "there are features" if number == 0 else "the layer before gives"
            raise ConfigError(
                f"{name}.built: {_named(layer)} takes {layer.fan_in} columns, and {before} {widths[number]}"
            )
    if layers[-1].fan_out != CLASSES:
        raise ConfigError(f"{name}.built: the last layer gives {layers[-1].fan_out} columns for {CLASSES} classes")
    for layer in layers:
        _check_parameters(layer)


def _check_parameters(layer: Layer) -> None:
    for own, parameter in _called(f"{_named(layer)}.parameters", layer.parameters).items():
        if own[-1:].isdigit():
            raise ConfigError(f"{_named(layer)}: the parameter {own} ends in a digit, where its number will stand")
        if not all(isinstance(size, int) and size > 0 for size in parameter.shape):
            raise ConfigError(f"{_named(layer)}: the parameter {own} has the shape {parameter.shape!r}")


class _Trial:
    """The network on a few nodes, layer by layer; rows of the first run are kept to compare with."""

    def __init__(self, backend: Backend, network: Network, layers: tuple[Layer, ...]) -> None:
        self.backend, self.layers, self._prunable = backend, layers, network.prunable
        random = np.random.default_rng(1)
        ring = np.arange(NODES)
        edges = (np.ones(2 * NODES), (np.r_[ring, np.roll(ring, 1)], np.r_[np.roll(ring, 1), ring]))
        self._matrix = Looped.of(sp.csr_array(edges, shape=(NODES, NODES))).weighted(network.weighting)
        self._x = backend.asarray(random.standard_normal((NODES, FEATURES)))
        self._other = random.standard_normal(64)

    def run(self, params: Params, moved: int | None) -> Array:
        """The logits; raises ConfigError for what is wrong on the way. moved: the row to change before each method."""
        rows: tuple[Any, ...] = (self._x,)
        for layer in self.layers:
            own = layer.own(params)
            message: Callable[..., Any] = layer.message
            sent, kept = self._message(layer, own, rows)
            if moved is not None and self._prunable:
                others = tuple(self._changed(each, moved) for each in rows)
                self._compare(f"{_named(layer)}.message", (sent, kept), message(self.backend, own, *others), moved)
            total = sent if layer.along == "nothing" else self._aggregate(layer, own, sent, kept)
            output = self._update(layer, own, total, kept)
            if moved is not None and self._prunable:
                change = self._changed(total, moved), mapped(lambda each: self._changed(each, moved), kept)
                again = self._update(layer, own, *change)
                self._compare(f"{_named(layer)}.update", output, again, moved)
            rows = (layer.activate(self.backend, output[0]), *output[1:])
        return cast(Array, rows[0])

    def _message(self, layer: Layer, own: Params, rows: tuple[Any, ...]) -> tuple[Any, Any]:
        what, message = f"{_named(layer)}.message", layer.message
        found = _called(what, lambda: message(self.backend, own, *rows))
        if not isinstance(found, tuple) or len(found) != 2:
            raise ConfigError(f"{what} must return (sent, kept), and returned {_shown(found)}")
        sent, kept = found
        _has_rows(what, "sent", sent)
        if (kept is not None) != layer.keeps:
            have = (
                "keeps something, but the layer's keeps is False"
                if kept is not None
                else "keeps nothing, but keeps is True"
            )
            raise ConfigError(f"{what} {have}: they have to agree")
        mapped(lambda each: _has_rows(what, "kept", each), kept)
        return sent, kept

    def _aggregate(self, layer: Layer, own: Params, sent: Array, kept: object) -> Array:
        backend, what = self.backend, f"{_named(layer)}.aggregate"
        edges: Any = backend.csr(self._matrix)
        if layer.along == "edges":
            verbs = message_passing(backend)
            edges = Edges(verbs, verbs.edges(self._matrix), layer.edge_dropout)
        total = _called(what, lambda: layer.aggregate(backend, own, edges, sent, kept))
        _has_rows(what, "its result", total)
        return cast(Array, total)

    def _update(self, layer: Layer, own: Params, total: Array, kept: object) -> tuple[Any, ...]:
        what = f"{_named(layer)}.update"
        output = _called(what, lambda: layer.update(self.backend, own, total, kept))
        first, *carried = output if isinstance(output, tuple) else (output,)
        shape = _has_rows(what, "the output", first)
        if shape != (NODES, layer.fan_out):
            raise ConfigError(
                f"{what} returned {list(shape)} for {NODES} nodes; the layer's fan_out is {layer.fan_out}"
            )
        for each in carried:
            _has_rows(what, "what it carries on", each)
        return (first, *carried)

    def _changed(self, x: Array, row: int) -> Array:
        host = np.array(self.backend.to_numpy(x), dtype=np.float64)
        host[row] = np.resize(self._other, host.shape[1:])
        return self.backend.asarray(host)

    def _others(self, x: Array, row: int) -> Any:
        return np.delete(np.asarray(self.backend.to_numpy(x), dtype=np.float64), row, 0)

    def _compare(self, what: str, before: object, after: object, row: int) -> None:
        arrays: list[list[Any]] = [[], []]
        for found, each in zip(arrays, (before, after), strict=True):
            mapped(found.append, each)
        for one, other in zip(*arrays, strict=True):
            if not np.allclose(self._others(one, row), self._others(other, row), rtol=0.05, atol=1e-3, equal_nan=True):
                raise ConfigError(
                    f"{what} mixes rows: another row {row} changed others, and each may depend on its own alone; "
                    "sums over neighbours belong to aggregate (or say so: prunable = False)"
                )


def _check_use(backend: Backend, trial: _Trial, params: Params, name: str) -> None:
    weight = backend.asarray(np.random.default_rng(2).standard_normal((NODES, CLASSES)))

    def loss(given: Params) -> tuple[Array, None]:
        return backend.xp.sum(trial.run(given, None) * weight), None

    _, grads = _called(f"{name}: its gradient", lambda: backend.value_and_grad(loss)(params))
    unused = [key for key, grad in grads.items() if not np.asarray(backend.to_numpy(grad), dtype=np.float64).any()]
    if unused:
        raise ConfigError(
            f"{name}: the loss does not depend on the parameter {unused[0]}, or no gradient reaches it; use it in "
            "message, aggregate or update, or leave it out of parameters"
        )


def _called(what: str, function: Callable[[], object]) -> Any:
    try:
        return function()
    except ConfigError:
        raise
    except Exception as error:  # of the user's code
        text = " ".join(str(error).split())[:200]
        raise ConfigError(f"{what} failed: {type(error).__name__}: {text}") from error


def _has_rows(what: str, part: str, array: object) -> tuple[int, ...]:
    shape = getattr(array, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != NODES:
        found = _shown(array) if shape is None else f"the shape {list(shape)}"
        raise ConfigError(f"{what}: {part} must have two axes and a row for each of {NODES} nodes, not {found}")
    return tuple(shape)


def _shown(found: object) -> str:
    return f"a {type(found).__name__}"


def _named(layer: Layer) -> str:
    return f"layer {layer.number} ({type(layer).__name__})"
