"""What follows a layer, element by element: values and slopes against torch's, which are not made by these formulas."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from portgnn import get_backend
from portgnn.models.activations import Activation, activated, leaky_relu


@pytest.mark.parametrize("name", get_args(Activation))
def test_activations_are_torchs(name: Activation) -> None:
    torch = pytest.importorskip("torch")
    theirs = {
        "relu": torch.nn.functional.relu,
        "elu": torch.nn.functional.elu,
        "leaky_relu": torch.nn.functional.leaky_relu,
        "gelu": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    }[name]
    x = np.concatenate([np.linspace(-30, 30, 41), [-800.0, -1e-9, 1e-9, 800.0]])
    x = x[x != 0]  # where slopes differ on both sides, the convention decides: below
    weight = np.cos(np.arange(len(x)))
    tensor = torch.tensor(x, requires_grad=True)
    want = theirs(tensor)
    (want * torch.tensor(weight)).sum().backward()
    backend = get_backend("numpy", dtype="float64")

    def loss(params: Any) -> tuple[Any, Any]:
        got = activated(backend, params["x"], name)
        return backend.xp.sum(got * weight), got

    (_, got), grads = backend.value_and_grad(loss)({"x": x})
    np.testing.assert_allclose(backend.to_numpy(got), want.detach().numpy(), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(grads["x"], tensor.grad.numpy(), rtol=1e-12, atol=1e-15)
    assert np.isfinite(grads["x"]).all()


def test_slopes_at_zero_are_the_smallest() -> None:
    backend, zero = get_backend("numpy", dtype="float64"), np.zeros((1, 1))
    for function, slope in (
        (lambda x: activated(backend, x, "relu"), 0.0),
        (lambda x: leaky_relu(backend, x, 0.2), 0.2),
        (lambda x: activated(backend, x, "elu"), 1.0),
        (lambda x: activated(backend, x, "gelu"), 0.5),
    ):
        _, grads = backend.value_and_grad(lambda p, f=function: (backend.xp.sum(f(p["x"])), None))({"x": zero})
        assert grads["x"].item() == slope
