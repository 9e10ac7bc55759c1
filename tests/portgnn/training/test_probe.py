"""What a first attempt at a network gets wrong, each in one line that names the layer and the method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

import portgnn
from portgnn import Layer, Network, Parameter, Stacked, get_backend
from portgnn.errors import ConfigError
from portgnn.models import NETWORKS
from portgnn.training.probe import check_network


@dataclass(frozen=True)
class Right(Layer):
    """A node's own row beside the mean of its neighbours'."""

    keeps = True

    def parameters(self) -> Mapping[str, Parameter]:
        weight = Parameter((self.fan_in, self.fan_out))
        return {"near": weight, "own": weight}

    def message(self, backend: Any, params: Any, x: Any, *carried: Any) -> Any:
        return backend.matmul(x, params["near"]), backend.matmul(x, params["own"])

    def update(self, backend: Any, params: Any, total: Any, kept: Any) -> Any:
        return total + kept


def _changed(**methods: Any) -> type[Layer]:
    """The right layer with some methods in place of its own."""
    return type("Wrong", (Right,), methods)


def _network(kind: type[Layer], **own: Any) -> type[Stacked]:
    return type("Mine", (Stacked,), {"layer": lambda self, **place: kind(**place), "weighting": "mean", **own})


def _weight(**more: Any) -> Any:
    return lambda self: {**Right.parameters(self), **more}


WRONG: dict[str, tuple[type[Layer], str]] = {
    "one value": (
        _changed(message=lambda self, b, p, x: b.matmul(x, p["near"])),
        r"layer 0 \(Wrong\)\.message must return \(sent, kept\), and returned a \w+",
    ),
    "keeps without saying so": (_changed(keeps=False), r"message keeps something, but the layer's keeps is False"),
    "keeps nothing": (
        _changed(message=lambda self, b, p, x: (b.matmul(x, p["near"]), None)),
        "message keeps nothing, but keeps is True",
    ),
    "fewer rows": (
        _changed(message=lambda self, b, p, x: (b.matmul(x, p["near"])[:3, :], b.matmul(x, p["own"]))),
        r"message: sent must have two axes and a row for each of 7 nodes, not the shape \[3, 16\]",
    ),
    "kept has one axis": (
        _changed(message=lambda self, b, p, x: (b.matmul(x, p["near"]), b.xp.sum(x, axis=1))),
        r"message: kept must have two axes and a row for each of 7 nodes, not the shape \[7\]",
    ),
    "a width too many": (
        _changed(update=lambda self, b, p, total, kept: b.xp.concat([total, kept], axis=1)),
        r"layer 0 \(Wrong\)\.update returned \[7, 32\] for 7 nodes; the layer's fan_out is 16",
    ),
    "update gives nothing": (_changed(update=lambda self, b, p, total, kept: None), "the output must have two axes"),
    "carries a number": (
        _changed(update=lambda self, b, p, total, kept: (total + kept, 3.0)),
        "what it carries on must have two axes and a row for each of 7 nodes, not a float",
    ),
    "message mixes rows": (
        _changed(
            message=lambda self, b, p, x: (
                b.matmul(x - b.xp.mean(x, axis=0, keepdims=True), p["near"]),
                b.matmul(x, p["own"]),
            )
        ),
        r"message mixes rows: another row 2 changed others.*sums over neighbours belong to aggregate",
    ),
    "update mixes rows": (
        _changed(update=lambda self, b, p, total, kept: total + b.xp.flip(kept, axis=0)),
        "update mixes rows",
    ),
    "a parameter without use": (
        _changed(parameters=_weight(more=Parameter((2, 2)))),
        "the loss does not depend on the parameter more0, or no gradient reaches it",
    ),
    "a name that ends in a digit": (
        _changed(parameters=_weight(w2=Parameter((2, 2)))),
        r"the parameter w2 ends in a digit, where its number will stand",
    ),
    "an empty shape": (_changed(parameters=_weight(more=Parameter((0, 2)))), r"more has the shape \(0, 2\)"),
    "an unknown parameter": (
        _changed(message=lambda self, b, p, x: (b.matmul(x, p["nera"]), b.matmul(x, p["own"]))),
        r"layer 0 \(Wrong\)\.message failed: KeyError: 'nera'",
    ),
    "aggregate fails": (
        _changed(aggregate=lambda self, b, p, edges, sent, kept: edges.max(sent)),
        r"layer 0 \(Wrong\)\.aggregate failed: AttributeError",
    ),
    "parameters fails": (_changed(parameters=lambda self: {"weight": 1 / 0}), "parameters.* failed: ZeroDivisionError"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_one_line(mistake: str) -> None:
    kind, message = WRONG[mistake]
    with pytest.raises(ConfigError, match=message) as caught:
        portgnn.train("karate", model=_network(kind), epochs=1)
    assert "\n" not in str(caught.value)


@dataclass(frozen=True)
class Two(Network):
    """Layers as they are given."""

    def built(self, features: int, classes: int) -> Any:
        return MADE[0](features, classes)


MADE: dict[int, Any] = {}


@pytest.mark.parametrize(
    ("built", "message"),
    [
        (lambda f, c: [Right(0, f, c)], "built must return a tuple of layers, at least one"),
        (lambda f, c: (), "built must return a tuple of layers"),
        (lambda f, c: (Right(1, f, c),), r"layer 1 \(Right\) stands at place 0; layers are numbered from 0"),
        (lambda f, c: (Right(0, f + 1, c),), r"layer 0 \(Right\) takes 6 columns, and there are features 5"),
        (lambda f, c: (Right(0, f, 4), Right(1, 3, c)), "takes 3 columns, and the layer before gives 4"),
        (lambda f, c: (Right(0, f, 4),), "the last layer gives 4 columns for 3 classes"),
        (lambda f, c: 1 / 0, "built failed: ZeroDivisionError"),
    ],
)
def test_layers_that_do_not_fit_are_named(monkeypatch: pytest.MonkeyPatch, built: Any, message: str) -> None:
    monkeypatch.setitem(MADE, 0, built)
    with pytest.raises(ConfigError, match=message):
        check_network(get_backend("numpy"), Two())


def test_a_lost_gradient_is_named() -> None:
    """Through NumPy's own function, in place of the standard's, no gradient comes back."""
    import numpy as np

    kind = _changed(update=lambda self, b, p, total, kept: total + b.asarray(np.abs(b.to_numpy(_plain(kept)))))
    with pytest.raises(ConfigError, match=r"failed|does not depend on the parameter own0"):
        check_network(get_backend("numpy"), _network(kind)())


def _plain(x: Any) -> Any:
    return getattr(x, "value", x)


def test_right_networks_pass_and_may_mix_rows_where_they_say_so() -> None:
    backend = get_backend("numpy")
    check_network(backend, _network(Right)())
    mixing = WRONG["message mixes rows"][0]
    check_network(backend, _network(mixing, prunable=False)())
    for kind in NETWORKS.values():
        check_network(backend, kind())
        check_network(backend, type("Same", (kind,), {})())  # of the user's own, and so looked at


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("gta", r"unknown network 'gta'\. Did you mean 'gat'.*package\.module:MyNet"),
        ("nowhere:Net", r"model=nowhere:Net: No module named 'nowhere'; is the module in this folder"),
        ("json:Net", "module json has no Net, which model=json:Net names"),
        ("json:JSONDecoder", r"json:JSONDecoder is JSONDecoder, and no portgnn\.Network"),
        ("portgnn.models.network:Stacked", "lacks layer"),
        (3, "model=3 must be a network's name, module:Class, or the class itself"),
        (dict, r"dict is dict, and no portgnn\.Network"),
    ],
)
def test_what_is_no_network_is_refused(model: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        portgnn.train("karate", model=model)
