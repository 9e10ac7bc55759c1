"""Gradients through the array API: slopes of every differentiable function, the conventions where there is none.

An `xp` that says it is the standard's (it has `__array_api_version__`) is held to all of it. Another one is held to
what docs/write-a-backend.md asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portgnn.protocol import Backend
from portgnn.testing.gradient_cases import Floats, GradientCase, gradient, reference, slope
from portgnn.testing.gradient_ties import Tie, gradient_at
from portgnn.verification.tolerances import tolerance


def _off(backend: Backend, case: GradientCase, seed: int) -> tuple[float, str]:
    """How far a case's value and its slope along a drawn way are off, and which is further."""
    at, random = case.draw(seed), np.random.default_rng([seed, 1])
    # No element is nearly left out, and none moves further than a step.
    way = [random.choice((-1.0, 1.0), x.shape) * random.uniform(0.5, 1.0, x.shape) for x in at]
    loss = reference(case)
    want, steep = loss(*at), slope(loss, at, way)
    value, grads = gradient(backend, case, at)
    for x, grad in zip(at, grads, strict=True):
        assert grad.shape == x.shape, f"{case.name}: a gradient has shape {list(grad.shape)}, not {list(x.shape)}"
    terms = [g * d for g, d in zip(grads, way, strict=True)]
    size = max(1.0, abs(steep), sum(float(np.abs(x).sum()) for x in terms))
    of_value = abs(value - want) / max(1.0, abs(want))
    of_slope = abs(sum(float(x.sum()) for x in terms) - steep) / size
    return max((of_value, "value"), (of_slope, "gradient"))


def test_slopes(smooth: GradientCase, backend: Backend, examples: int) -> None:
    allowed = tolerance("gradient.slope", backend.dtype, backend.device).value

    @settings(
        max_examples=max(1, examples // 4), deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.integers(0, 2**32 - 1))
    def holds(seed: int) -> None:
        error, what = _off(backend, smooth, seed)
        assert error <= allowed, (
            f"the {what} of {smooth.name}, seed {seed}, is off by {error:.3g}; {allowed:g} is allowed"
        )

    holds()


def test_conventions(tie: Tie, backend: Backend) -> None:
    """Exact but for the rounding of the last digit."""
    allowed = tolerance("gradient.convention", backend.dtype, backend.device).value
    for got, want in zip(gradient_at(backend, tie), tie.want, strict=True):
        wanted = np.asarray(want)
        assert np.allclose(got, wanted, rtol=allowed, atol=0.0, equal_nan=True), (
            f"the gradient of {tie.name} is {got.tolist()}, not {wanted.tolist()}: {tie.says}"
        )


Losses = dict[str, Callable[[Any, Any], Any]]

NO_LOSS: Losses = {
    "an array of shape [1]": lambda xp, x: xp.sum(x * x) + x[:1],
    "an array": lambda xp, x: x * x,
    "a matrix": lambda xp, x: x[:, None] * x,
    "an integer": lambda xp, x: xp.argmax(x),
    "a boolean": lambda xp, x: xp.sum(x) > 0,
    "a Python number": lambda xp, x: 1.0,
    "nothing": lambda xp, x: None,
}


@pytest.mark.parametrize("what", NO_LOSS)
def test_what_is_no_loss_is_refused(what: str, backend: Backend) -> None:
    call = backend.value_and_grad(lambda params: (NO_LOSS[what](backend.xp, params["x"]), None))
    with pytest.raises(TypeError, match="a loss is"):
        call({"x": backend.asarray(np.array([1.0, 2.0, 3.0]))})


def test_a_loss_without_aux_is_refused(backend: Backend) -> None:
    with pytest.raises(TypeError, match=r"return loss, None"):
        backend.value_and_grad(lambda params: backend.xp.sum(params["x"]))({"x": backend.asarray(np.ones(2))})


def test_gradients_have_the_dtype_of_their_parameters(backend: Backend) -> None:
    host: Floats = np.array([1.0, 2.0])
    _, grads = backend.value_and_grad(lambda params: (backend.xp.sum(params["x"] * params["x"]), None))(
        {"x": backend.asarray(host)}
    )
    assert np.array_equal(backend.to_numpy(grads["x"]), 2 * host)
    assert grads["x"].dtype == backend.asarray(host).dtype
