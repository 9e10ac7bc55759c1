"""What MLX's namespace computes in float64, how it sums, and its gradients: against mpmath, float64 and differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

pytest.importorskip("mlx.core")

import mlx.core as mx

from portgnn.testing.gradient_ties import TIES, Tie, at_the_edge
from portgnn_mlx import MLXBackend
from portgnn_mlx import array_api as xp


@pytest.fixture(autouse=True)
def on_the_cpu() -> Any:
    with mx.stream(mx.cpu):
        yield


def drawn(*parts: tuple[str, float, float]) -> Any:
    """Numbers from ranges, and from ranges of exponents of ten with both signs."""
    draw = np.random.default_rng(11)
    made = []
    for kind, low, high in parts:
        numbers = draw.uniform(low, high, 150)
        made.append(numbers if kind == "even" else 10.0**numbers * draw.choice([-1.0, 1.0], 150))
    return np.concatenate(made)


SMALLEST = [5e-324, -5e-324, 1.5e-323, -1e-310, 2.2e-308]
ANGLES = drawn(("even", -30, 30), ("tens", -323, 0), ("tens", 0, 15), ("tens", 15, 300))
ANGLES = np.concatenate([ANGLES, np.arange(1, 60) * (np.pi / 2), SMALLEST])
POSITIVE = np.abs(drawn(("tens", -300, 300), ("even", 0.5, 1.5), ("even", 0, 100)))
UNIT = drawn(("even", -1, 1), ("tens", -323, -1))
MODERATE = drawn(("even", -20, 20), ("tens", -323, 0), ("even", -700, 700))
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "exp": (mpmath.exp, MODERATE), "expm1": (mpmath.expm1, MODERATE), "log": (mpmath.log, POSITIVE),
    "log1p": (mpmath.log1p, POSITIVE), "log2": (lambda x: mpmath.log(x, 2), POSITIVE),
    "log10": (mpmath.log10, POSITIVE),
    "sqrt": (mpmath.sqrt, POSITIVE), "sin": (mpmath.sin, ANGLES), "cos": (mpmath.cos, ANGLES),
    "tan": (mpmath.tan, ANGLES), "asin": (mpmath.asin, UNIT), "acos": (mpmath.acos, UNIT),
    "atan": (mpmath.atan, ANGLES),
    "sinh": (mpmath.sinh, MODERATE), "cosh": (mpmath.cosh, MODERATE), "tanh": (mpmath.tanh, MODERATE),
    "asinh": (mpmath.asinh, ANGLES), "acosh": (mpmath.acosh, POSITIVE[POSITIVE >= 1]), "atanh": (mpmath.atanh, UNIT),
    "reciprocal": (lambda x: 1 / x, POSITIVE),
}  # fmt: skip


def worst(got: Any, want: list[Any]) -> float:
    """The largest relative error."""
    return max(
        float(abs((mpmath.mpf(float(g)) - w) / w)) if w else abs(float(g)) for g, w in zip(got, want, strict=True)
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_functions_are_right_to_1e_14(name: str) -> None:
    """MLX's own exp, sin and cos are off by 4.6e-7, 9.8e-5 and 3.4e-4."""
    exact, x = FUNCTIONS[name]
    with mpmath.workdps(400):
        want = [exact(mpmath.mpf(float(value))) for value in x]
    assert worst(np.array(getattr(xp, name)(xp.asarray(x))), want) < 1e-14


def test_float64_functions_of_two_are_right_to_1e_14() -> None:
    draw = np.random.default_rng(12)
    x, y = draw.normal(size=(2, 300)) * 10.0 ** draw.uniform(-3, 2, (2, 300))
    with mpmath.workdps(400):
        a, b = ([mpmath.mpf(float(value)) for value in each] for each in (x, y))
        wanted = {
            "logaddexp": [mpmath.log(mpmath.exp(p) + mpmath.exp(q)) for p, q in zip(a, b, strict=True)],
            "hypot": [mpmath.hypot(p, q) for p, q in zip(a, b, strict=True)],
            "atan2": [mpmath.atan2(p, q) for p, q in zip(a, b, strict=True)],
        }
        powers = [abs(p) ** q for p, q in zip(a, b, strict=True)]
    for name, want in wanted.items():
        # logaddexp passes through 0, where its terms, and not it, have a size.
        got = np.array(getattr(xp, name)(xp.asarray(x), xp.asarray(y)))
        keep = [i for i, value in enumerate(want) if abs(value) > 0.1]
        assert worst(got[keep], [want[i] for i in keep]) < 1e-14, name
    assert worst(np.array(xp.pow(xp.abs(xp.asarray(x)), xp.asarray(y))), powers) < 1e-14


SLOPES = dict.fromkeys(("log", "log1p", "log2", "log10", "sqrt", "reciprocal"), (0.3, 2.9)) | {
    "asin": (-0.9, 0.8),
    "acos": (-0.9, 0.8),
    "atanh": (-0.9, 0.8),
    "acosh": (1.2, 3.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_gradients(name: str) -> None:
    """MLX's own for tan, log2 and log10, for example, are of single precision."""
    x = np.linspace(*SLOPES.get(name, (-1.7, 1.9)), 7)
    with mpmath.workdps(60):
        want = [mpmath.diff(FUNCTIONS[name][0], mpmath.mpf(float(value))) for value in x]
    function = getattr(xp, name)
    assert worst(np.array(mx.grad(lambda x: xp.sum(function(x)))(xp.asarray(x))), want) < 1e-14
    twice = mx.grad(lambda x: xp.sum(mx.grad(lambda y: xp.sum(function(y)))(x)))(xp.asarray(x))
    with mpmath.workdps(60):
        second = [float(mpmath.diff(FUNCTIONS[name][0], mpmath.mpf(float(value)), 2)) for value in x]
    np.testing.assert_allclose(np.array(twice), second, rtol=1e-12, atol=1e-12)


MATRIX_SLOPES: dict[str, Callable[[Any], Any]] = {
    "inv": lambda x: xp.linalg.inv(x),
    "solve": lambda x: xp.linalg.solve(x, x[0, :] * x[0, :]),
    "det": lambda x: xp.linalg.det(x),
    "cholesky": lambda x: xp.linalg.cholesky(xp.matmul(x, xp.matrix_transpose(x))),
    "eigvalsh": lambda x: xp.linalg.eigvalsh(x + xp.matrix_transpose(x)),
    "vector_norm": lambda x: xp.linalg.vector_norm(x, axis=1),
    "std": lambda x: xp.std(x, axis=0),
    "var": lambda x: xp.var(x),
    "cumulative_prod": lambda x: xp.cumulative_prod(x, axis=1),
    "sort": lambda x: xp.sort(x, axis=0, descending=True),
}


@pytest.mark.parametrize("name", MATRIX_SLOPES)
def test_float64_gradients_of_matrices(name: str) -> None:
    x = np.random.default_rng(13).normal(size=(3, 3)) + 2 * np.eye(3)
    weights = np.random.default_rng(14).normal(size=np.array(MATRIX_SLOPES[name](xp.asarray(x))).shape)

    def loss(x: Any) -> Any:
        return xp.sum(MATRIX_SLOPES[name](x) * xp.asarray(weights))

    want = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        values = []
        for k in (-2, -1, 1, 2):
            moved = x.copy()
            moved[place] += k * 1e-3
            values.append(float(loss(xp.asarray(moved))))
        want[place] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / 12e-3
    np.testing.assert_allclose(np.array(mx.grad(loss)(xp.asarray(x))), want, rtol=1e-8, atol=1e-9)


OPERATORS = {"operator **, base 0", "operator **, 0 to the number 0", "operator /, large"}
"""MLX's operators are its own: x**0 has gradient NaN at 0 there, and a division squares its divisor."""


def cases(dtype: str) -> list[Tie]:
    return [each for each in (*TIES, *at_the_edge(dtype)) if each.name not in OPERATORS]


@pytest.mark.parametrize(
    ("tie", "dtype"), [(each, dtype) for dtype in ("float64", "float32") for each in cases(dtype)],
    ids=lambda each: each if isinstance(each, str) else each.name,
)  # fmt: skip
def test_gradients_at_ties(tie: Tie, dtype: str) -> None:
    at = [xp.asarray(np.array(each), dtype=getattr(xp, dtype)) for each in tie.at]

    def loss(*at: Any) -> Any:
        made = tie.fn(xp, *at)
        return xp.sum(made * xp.asarray(np.array(tie.weights), dtype=made.dtype) if tie.weights else made)

    found = mx.grad(loss, argnums=list(range(len(at))))(*at)
    gradients = found if isinstance(found, list | tuple) else (found,)
    for got, want in zip(gradients, tie.want, strict=True):
        np.testing.assert_allclose(np.array(got), want, rtol=1e-6 if dtype == "float32" else 1e-12, err_msg=tie.says)


SHAPES = [
    (65,),
    (1000,),
    (4097,),
    (2**15 + 1,),
    (1433, 16),
    (2708, 7),
    (999_983,),
    (70_001, 3),
    (10_000_000,),
    (2500, 4000),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_whole_sums_are_within_their_bound(shape: tuple[int, ...], dtype: str) -> None:
    """At 10**7 numbers MLX's own float32 sum is off by 1 %."""
    host = np.random.default_rng(15).uniform(0.0, 1.0, shape).astype(dtype)
    x = xp.asarray(host)
    exact = float(np.sum(host, dtype=np.longdouble))
    levels = np.ceil(np.log(host.size) / np.log(64)) if dtype == "float64" else 1
    bound = 64 * levels * (2.0**-24 if dtype == "float32" else 2.0**-53)
    assert abs(float(xp.sum(x)) - exact) <= bound * exact
    assert abs(float(xp.mean(x)) * host.size - exact) <= (bound + 1e-7 * (dtype == "float32")) * exact
    spread = float(np.sum((host - host.mean(dtype=np.longdouble)) ** 2, dtype=np.longdouble))
    assert abs(float(xp.var(x)) * host.size - spread) <= 8 * bound * spread
    if host.size < 2**17:
        assert np.array_equal(np.array(mx.grad(lambda x: 3.0 * xp.sum(x))(x)), np.full(shape, 3.0))


@pytest.mark.parametrize("axis", [0, 1, 2, (0, 1), (0, 2), (1, 2), None])
@pytest.mark.parametrize("keepdims", [False, True])
def test_sums_along_axes(axis: Any, keepdims: bool) -> None:
    host = np.random.default_rng(16).uniform(0.0, 1.0, (67, 130, 71)).astype(np.float32)
    x = xp.asarray(host)
    got, want = xp.sum(x, axis=axis, keepdims=keepdims), np.sum(host, axis=axis, keepdims=keepdims, dtype=np.float64)
    assert got.dtype == xp.float32
    assert got.shape == want.shape
    assert (np.abs(np.array(got) - want) <= 64 * 2.0**-24 * want).all()
    weights = np.random.default_rng(17).normal(size=want.shape).astype(np.float32)
    gradient = mx.grad(lambda x: xp.sum(xp.sum(x, axis=axis, keepdims=keepdims) * xp.asarray(weights)))(x)
    spread = weights if keepdims else np.expand_dims(weights, tuple(range(3)) if axis is None else axis)
    np.testing.assert_array_equal(np.array(gradient), np.broadcast_to(spread, host.shape))


def test_half_precision_is_summed_in_more() -> None:
    x = xp.ones(100_000, dtype=xp.bfloat16)
    assert abs(float(xp.sum(x)) - 100_000) <= 100_000 * 2.0**-8
    assert xp.sum(x).dtype == xp.bfloat16


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_relu_keeps_nan_and_has_gradient_0_at_0(dtype: str) -> None:
    backend = MLXBackend("cpu", dtype)
    x = backend.asarray(np.array([np.nan, -1.0, -0.0, 0.0, 2.0, np.inf, -np.inf]))
    assert np.array_equal(backend.to_numpy(backend.relu(x)), [np.nan, 0, 0, 0, 2, np.inf, 0], equal_nan=True)
    (_, _), gradient = backend.value_and_grad(lambda p: (mx.sum(backend.relu(p["x"])[1:5]), None))({"x": x})
    assert backend.to_numpy(gradient["x"])[1:5].tolist() == [0.0, 0.0, 0.0, 1.0]


def test_the_backend_hands_out_the_namespace() -> None:
    assert MLXBackend("cpu", "float64").xp is xp
