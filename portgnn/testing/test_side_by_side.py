"""Two backends in one process, taking turns: neither may disturb the other's device, dtype or state."""

from __future__ import annotations

import numpy as np

from portgnn.protocol import Backend
from portgnn.random import dropout_keys
from portgnn.registry import available_backends, backend_class
from portgnn.training import initial_state, make_run
from portgnn.verification.cases import Recipe
from portgnn.verification.measure import fetch
from portgnn.verification.tolerances import tolerance

RECIPE = Recipe("pyg", nodes=24, width=17, classes=3, hidden=4, epochs=6)


def others(backend: Backend) -> list[Backend]:
    """Every backend that works here, in each dtype of its first device, this one's included."""
    return [
        backend_class(name)(devices[0], dtype)
        for name, devices in available_backends().items()
        for dtype in backend_class(name).dtypes(devices[0])
        if dtype in ("float64", "float32")
    ]


def test_taking_turns_with_every_other_backend(backend: Backend) -> None:
    partners = [backend, *others(backend)]
    assert len(partners) > 1
    runs = [make_run(one, RECIPE.prepared, validate=True) for one in partners]
    states = [initial_state(one, RECIPE.prepared, 0) for one in partners]
    want = np.array(RECIPE.course.metrics)
    for epoch in range(RECIPE.epochs):
        keys = dropout_keys(0, range(epoch, epoch + 1), RECIPE.config.layers)
        for i, one in enumerate(partners):
            states[i], metrics = runs[i](states[i], keys)
            allowed = tolerance("compile.epochs", one.dtype, one.device).value
            error = np.abs(metrics[0, :2] / want[epoch, :2] - 1).max()
            assert error <= allowed, f"{one.name} in {one.dtype} is off by {error:.3g} at epoch {epoch}"
    for one, state in zip(partners, states, strict=True):
        fetch(one, state["param.weight0"], f"a parameter of {one.name}")
