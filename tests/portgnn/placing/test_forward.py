"""The forward pass: layers that go on with one another are computed at once, and to the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from portgnn import get_backend, load_graph
from portgnn.models import propagation
from portgnn.models.propagation import Propagation
from portgnn.parts import propagated
from portgnn.placing import forward
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.presets import preset
from portgnn.training import initial_state
from portgnn.training.state import parameters_of


@pytest.mark.parametrize(("rows", "runs"), [("all", [10]), ("needed", [6, 1, 1, 1, 1])])
def test_steps_over_the_same_edges_are_taken_at_once(
    rows: str, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = get_backend("numpy", dtype="float64")
    prepared = Prepared.of(load_graph("karate"), preset(model="appnp", rows=rows))
    params = parameters_of(initial_state(backend, prepared, 0))
    taken: list[int] = []

    def counted(*given: Any) -> Any:
        taken.append(given[-1])
        return propagated(*given)

    monkeypatch.setattr(propagation, "propagated", counted)
    operands = place(backend, prepared, np.array([9]), training=False)
    at_once = forward.outputs(backend, prepared.layers, params, operands)
    assert sum(taken) == 10
    assert taken == runs
    monkeypatch.setattr(Propagation, "goes_on", lambda *_: False)
    taken.clear()
    step_by_step = forward.outputs(backend, prepared.layers, params, operands)
    assert taken == [1] * 10
    np.testing.assert_allclose(at_once, step_by_step, rtol=1e-14)
