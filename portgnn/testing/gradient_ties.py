"""Gradients where a function has none, several or an infinite one: what every backend's `xp` gives there, as data.

One rule makes most of them: of all gradients that the place allows, taken over all arguments together, the smallest.
That is what shares the gradient of `max` evenly between equal values, halves it between the two of `maximum`, and makes
it 0 for `abs` and norms at 0. docs/gradients.md tells the rest, and which frameworks differ by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.protocol import Backend, Namespace, Params

Row = list[float]
INF, NAN = float("inf"), float("nan")


@dataclass(frozen=True)
class Tie:
    """The gradient of sum(fn(xp, *at) * weights) in each argument at one place. NaN in `want` means NaN.

    name: the function of the standard, and what is special about the place. at, want: one list for each argument.
    weights: of the results, 1 where empty.
    """

    name: str
    says: str
    fn: Callable[..., Any]
    at: tuple[Any, ...]
    want: tuple[Any, ...]
    weights: tuple[float, ...] = ()

    @property
    def function(self) -> str:
        """The standard's name, or "operator" and its sign."""
        return self.name.partition(",")[0]


def _where_of_root(xp: Namespace, x: Any) -> object:
    return xp.where(x > 0.0, xp.sqrt(x), 0.0 * x)


def _where_of_safe_root(xp: Namespace, x: Any) -> object:
    return xp.where(x > 0.0, xp.sqrt(xp.where(x > 0.0, x, x * 0.0 + 1.0)), 0.0 * x)


EVEN = "equal values share the gradient evenly"
HALF = "each of two equal values gets half of the gradient"
BOUNDS = "as minimum(maximum(x, min), max): at a bound, half to x and half to the bound"
OTHERS = "the product of the other values, also where values are 0"
STEP = "0 everywhere: a step has no slope, and its jumps are not seen"
LEAST = "0 where all is 0: the smallest slope of a cone"

TIES: tuple[Tie, ...] = (
    Tie("abs, 0", LEAST, lambda xp, x: xp.abs(x), ([-1.0, 0.0, 2.0],), ([-1.0, 0.0, 1.0],)),
    Tie("operator abs, 0", LEAST, lambda xp, x: abs(x), ([-1.0, 0.0, 2.0],), ([-1.0, 0.0, 1.0],)),
    Tie("max, equal values", EVEN, lambda xp, x: xp.max(x), ([1.0, 3.0, 3.0, 2.0],), ([0.0, 0.5, 0.5, 0.0],)),
    Tie("max, all equal", EVEN, lambda xp, x: xp.max(x), ([2.0, 2.0, 2.0, 2.0],), ([0.25, 0.25, 0.25, 0.25],)),
    Tie(
        "max, equal values of a row", EVEN, lambda xp, x: xp.max(x, axis=-1),
        ([[1.0, 3.0, 3.0], [4.0, 0.0, 1.0]],), ([[0.0, 0.5, 0.5], [3.0, 0.0, 0.0]],), (1.0, 3.0),
    ),
    Tie("max, NaN", "NaN everywhere, as the value", lambda xp, x: xp.max(x), ([1.0, NAN, 2.0],), ([NAN, NAN, NAN],)),
    Tie("min, equal values", EVEN, lambda xp, x: xp.min(x), ([1.0, 3.0, 1.0, 2.0],), ([0.5, 0.0, 0.5, 0.0],)),
    Tie(
        "maximum, equal values", HALF, lambda xp, a, b: xp.maximum(a, b),
        ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]), ([0.0, 0.5, 1.0], [1.0, 0.5, 0.0]),
    ),
    Tie(
        "minimum, equal values", HALF, lambda xp, a, b: xp.minimum(a, b),
        ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]), ([1.0, 0.5, 0.0], [0.0, 0.5, 1.0]),
    ),
    Tie(
        "maximum, equal to a number", HALF, lambda xp, x: xp.maximum(x, xp.zeros_like(x)),
        ([-1.0, 0.0, 1.0],), ([0.0, 0.5, 1.0],),
    ),
    Tie(
        "clip, bounds", BOUNDS, lambda xp, x: xp.clip(x, -1.0, 1.0),
        ([-2.0, -1.0, 0.0, 1.0, 2.0],), ([0.0, 0.5, 1.0, 0.5, 0.0],),
    ),
    Tie(
        "clip, bounds that are arrays", BOUNDS, lambda xp, x, a, b: xp.clip(x, a, b),
        ([-2.0, -1.0, 0.0, 1.0, 2.0], [-1.0] * 5, [1.0] * 5),
        ([0.0, 0.5, 1.0, 0.5, 0.0], [1.0, 0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.5, 1.0]),
    ),
    Tie("clip, one bound", BOUNDS, lambda xp, x: xp.clip(x, min=0.0), ([-1.0, 0.0, 1.0],), ([0.0, 0.5, 1.0],)),
    Tie(
        "where, NaN on the other side", "the side that is not taken gets 0, whatever it holds",
        lambda xp, x, y: xp.where(x > 0.0, x, y), ([1.0, -1.0], [NAN, 2.0]), ([1.0, 0.0], [0.0, 1.0]),
    ),
    Tie(
        "where, an infinite slope on the other side",
        "NaN: 0 from `where` times an infinite slope. Make the argument safe by a `where` of its own, as the next row",
        _where_of_root, ([0.0, 4.0],), ([NAN, 0.25],),
    ),
    Tie("where, a safe argument", "0 and no NaN", _where_of_safe_root, ([0.0, 4.0],), ([0.0, 0.25],)),
    Tie("sqrt, 0", "infinity, the limit", lambda xp, x: xp.sqrt(x), ([0.0, 4.0],), ([INF, 0.25],)),
    Tie("log, 0", "infinity, the limit", lambda xp, x: xp.log(x), ([0.0, 4.0],), ([INF, 0.25],)),
    Tie("prod, one zero", OTHERS, lambda xp, x: xp.prod(x), ([2.0, 0.0, 3.0],), ([0.0, 6.0, 0.0],)),
    Tie("prod, two zeros", OTHERS, lambda xp, x: xp.prod(x), ([2.0, 0.0, 3.0, 0.0],), ([0.0, 0.0, 0.0, 0.0],)),
    Tie(
        "cumulative_prod, one zero", OTHERS, lambda xp, x: xp.cumulative_prod(x, axis=0),
        ([2.0, 0.0, 3.0, 4.0],), ([1.0, 32.0, 0.0, 0.0],),
    ),
    Tie(
        "pow, base 0", "in the base: 0 for exponent 0, 1 for 1, infinity below 1; in the exponent: 0",
        lambda xp, x, y: xp.pow(x, y),
        ([0.0, 0.0, 0.0, 0.0, 2.0], [0.0, 1.0, 2.0, 0.5, 3.0]),
        ([0.0, 1.0, 0.0, INF, 12.0], [0.0, 0.0, 0.0, 0.0, 5.545177444479562]),
    ),
    Tie(
        "operator **, base 0", "as pow", lambda xp, x, y: x**y,
        ([0.0, 0.0, 0.0, 0.0, 2.0], [0.0, 1.0, 2.0, 0.5, 3.0]),
        ([0.0, 1.0, 0.0, INF, 12.0], [0.0, 0.0, 0.0, 0.0, 5.545177444479562]),
    ),
    Tie("operator **, base 0 and a number", "as pow", lambda xp, x: x**2 + x**1, ([0.0, 2.0],), ([1.0, 5.0],)),
    Tie("operator **, 0 to the number 0", "as pow", lambda xp, x: x**0, ([0.0, 2.0],), ([0.0, 0.0],)),
    Tie(
        "hypot, 0", LEAST, lambda xp, a, b: xp.hypot(a, b), ([0.0, 3.0, 0.0], [0.0, 4.0, 2.0]),
        ([0.0, 0.6, 0.0], [0.0, 0.8, 1.0]),
    ),
    Tie(
        "hypot, equal values", "as anywhere: there is nothing special", lambda xp, a, b: xp.hypot(a, b),
        ([3.0], [3.0]), ([0.7071067811865476], [0.7071067811865476]),
    ),
    Tie(
        "atan2, 0", "NaN: it has no slope there of any kind", lambda xp, a, b: xp.atan2(a, b),
        ([0.0, 1.0], [0.0, 1.0]), ([NAN, 0.5], [NAN, -0.5]),
    ),
    Tie("var, equal values", "0", lambda xp, x: xp.var(x), ([2.0, 2.0, 2.0],), ([0.0, 0.0, 0.0],)),
    Tie("std, equal values", LEAST, lambda xp, x: xp.std(x), ([2.0, 2.0, 2.0],), ([0.0, 0.0, 0.0],)),
    Tie(
        "copysign, 0", "sign(a) * sign(b), which is 0 where a is", lambda xp, a, b: xp.copysign(a, b),
        ([0.0, 3.0, -3.0], [1.0, -1.0, -1.0]), ([0.0, -1.0, 1.0], [0.0, 0.0, 0.0]),
    ),
    Tie(
        "logaddexp, infinities", "half each of two equal ones, else 1 for the greater",
        lambda xp, a, b: xp.logaddexp(a, b),
        ([1.0, -INF, INF, INF, -INF], [1.0, -INF, INF, 1.0, 1.0]),
        ([0.5, 0.5, 0.5, 1.0, 0.0], [0.5, 0.5, 0.5, 0.0, 1.0]),
    ),
    Tie(
        "remainder, multiples", "1, and -floor(a / b)", lambda xp, a, b: xp.remainder(a, b),
        ([4.0, 5.0, -5.0, 5.0], [2.0, 3.0, 3.0, -3.0]), ([1.0, 1.0, 1.0, 1.0], [-2.0, -1.0, 2.0, 2.0]),
    ),
    Tie(
        "operator %, multiples", "1, and -floor(a / b)", lambda xp, a, b: a % b,
        ([4.0, 5.0, -5.0, 5.0], [2.0, 3.0, 3.0, -3.0]), ([1.0, 1.0, 1.0, 1.0], [-2.0, -1.0, 2.0, 2.0]),
    ),
    *(
        Tie(f"{name}, a jump", STEP, lambda xp, x, f=name: getattr(xp, f)(x) + x, ([0.0, 0.5, 1.2],), ([1.0] * 3,))
        for name in ("floor", "ceil", "round", "trunc", "sign")
    ),
    Tie(
        "floor_divide, a jump", STEP, lambda xp, a, b: xp.floor_divide(a, b) + a + b,
        ([4.0, 5.0], [2.0, 3.0]), ([1.0, 1.0], [1.0, 1.0]),
    ),
    Tie(
        "sort, equal values", "equal values keep their order", lambda xp, x: xp.sort(x),
        ([2.0, 1.0, 1.0],), ([100.0, 1.0, 10.0],), (1.0, 10.0, 100.0),
    ),
    Tie(
        "sort, equal values descending", "equal values keep their order", lambda xp, x: xp.sort(x, descending=True),
        ([1.0, 2.0, 2.0],), ([100.0, 1.0, 10.0],), (1.0, 10.0, 100.0),
    ),
    Tie("linalg.vector_norm, 0", LEAST, lambda xp, x: xp.linalg.vector_norm(x), ([0.0, 0.0],), ([0.0, 0.0],)),
)  # fmt: skip


def gradient_at(backend: Backend, tie: Tie) -> list[NDArray[np.generic]]:
    """What a backend gives there, one array for each argument."""
    factors = backend.asarray(np.asarray(tie.weights, dtype=np.float64)) if tie.weights else 1.0

    def loss(params: Params) -> tuple[Any, None]:
        return backend.xp.sum(tie.fn(backend.xp, *params.values()) * factors), None

    params = {str(i): backend.asarray(np.asarray(value, dtype=np.float64)) for i, value in enumerate(tie.at)}
    _, grads = backend.value_and_grad(loss)(params)
    return [backend.to_numpy(grads[name]) for name in params]


def at_the_edge(dtype: str) -> tuple[Tie, ...]:
    """Arguments whose squares overflow in a dtype: a gradient that divides by a square there would be 0 unseen."""
    big = 2.0**600 if dtype == "float64" else 2.0**80
    root, says = big**0.5, "as anywhere, though the square of the argument overflows"
    divided = ([root], [big]), ([1 / big], [-root / big / big])
    return (
        Tie("divide, large", says, lambda xp, a, b: xp.divide(a, b), *divided),
        Tie("operator /, large", says, lambda xp, a, b: a / b, *divided),
        Tie("atan2, large", says, lambda xp, a, b: xp.atan2(a, b), ([big], [big]), ([0.5 / big], [-0.5 / big])),
        Tie("hypot, large", says, lambda xp, a, b: xp.hypot(a, b), ([0.75 * big], [big]), ([0.6], [0.8])),
        Tie("asinh, large", says, lambda xp, x: xp.asinh(x), ([big, -big],), ([1 / big, 1 / big],)),
        Tie("acosh, large", says, lambda xp, x: xp.acosh(x), ([big],), ([1 / big],)),
    )
