"""Networks against what their papers state, a drawn sample: `portgnn verify --model all` has every variant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from portgnn import get_backend
from portgnn.models import NETWORKS, papers
from portgnn.verification import _models
from portgnn.verification.draw import Draw
from portgnn.verification.measure import Departure

TOLERANCE = 1e-12
"""float64; the largest error of a sweep over all variants was 2e-14."""


def _checks(name: str) -> dict[str, object]:
    return {check.name.rpartition(".")[2]: check for check in _models.checks(name)}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_what_its_paper_states(name: str) -> None:
    backend, trials = get_backend("numpy", dtype="float64"), _models._trials(NETWORKS[name])(Draw(5))
    assert len(trials) >= 1
    for trial in trials:
        assert _models.values(backend, trial).error <= TOLERANCE
    one = trials[np.random.default_rng(list(name.encode())).integers(len(trials))]
    for check in (_models.gradients, _models.parts, _models.course):
        assert check(backend, one).error <= TOLERANCE, (check.__name__, one.options)


def test_every_network_has_a_statement_and_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(papers.STATEMENTS) == set(NETWORKS)
    backend = get_backend("numpy", dtype="float64")
    right = papers.STATEMENTS["gat"]
    monkeypatch.setitem(papers.STATEMENTS, "gat", lambda network, p, *rest: right(network, p | _moved(p), *rest))
    trial = _models.Trial(NETWORKS["gat"], 3)
    assert _models.values(backend, trial).error > 1e-4
    assert _models.gradients(backend, trial).error > 1e-4


def _moved(params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"source0": params["source0"] + 0.01}


def test_options_reach_the_network() -> None:
    trial = _models.Trial(NETWORKS["gat"], 3, (("heads", 3), ("output_heads", 2)))
    assert (trial.config().heads, trial.params["source0"].shape[0], trial.params["source1"].shape[0]) == (3, 3, 2)
    other = replace(trial, options=())
    assert other.config().heads == 2


def test_a_network_of_ones_own_without_a_statement_is_held_to_its_slopes() -> None:
    """A gradient that is not the loss's is found where there is nothing to compare values with."""
    kind = type("Own", (NETWORKS["sage"],), {"__module__": __name__})
    trial = _models.Trial(kind, 3)
    assert trial.stated is None
    backend = get_backend("numpy", dtype="float64")
    assert _models.gradients(backend, trial).error == 0.0

    class Wrong(type(backend)):  # type: ignore[misc]
        def value_and_grad(self, function):  # type: ignore[no-untyped-def]
            def both(*arguments):  # type: ignore[no-untyped-def]
                value, grads = super(Wrong, self).value_and_grad(function)(*arguments)
                return value, {name: grad * 1.001 for name, grad in grads.items()}

            return both

    with pytest.raises(Departure, match="the gradient along a direction is"):
        _models.gradients(Wrong("cpu", "float64"), trial)
