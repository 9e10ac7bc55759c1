"""Every differentiable function of the array API standard, as data: what to call it on, and a slope to hold it against.

The slope is a central difference of eighth order of the same function on NumPy in float64. Values keep a distance from
every kink and pole that is larger than its steps, so that it is right to some 1e-12; a gradient computed in float64
has to agree to 1e-10. What happens at kinks is in `gradient_ties`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import array_api_compat.numpy as numpy_api
import numpy as np
from numpy.typing import NDArray

from portgnn.protocol import Backend, Namespace, Params

Floats = NDArray[np.float64]

STEP = 0.01
INF = float("inf")
WEIGHTS = ((1, 4 / 5), (2, -1 / 5), (3, 4 / 105), (4, -1 / 280))
"""Of the central difference of eighth order: (f(x + k h) - f(x - k h)) / h times the second number, added up."""


@dataclass(frozen=True)
class GradientCase:
    """`fn(xp, *arrays, *constants)` -> an array, or a list of arrays.

    name: the standard's name of the function, or "operator" and its sign, then what is special. low, high: the range
    of the arrays' values. apart: values of all arrays lie at least so many steps apart, for what compares them.
    constants: index arrays and masks, placed by the backend.
    """

    name: str
    fn: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    low: float = 0.6
    high: float = 1.4
    apart: int = 0
    constants: tuple[Any, ...] = ()

    @property
    def function(self) -> str:
        """The standard's name, or "operator" and its sign."""
        return self.name.partition(",")[0]

    def draw(self, seed: int) -> list[Floats]:
        """The arrays, the same for the same seed; float32 holds them exactly."""
        random = np.random.default_rng(seed)
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        values: NDArray[np.generic]
        if self.apart:
            values = random.permutation(np.arange(sum(sizes)) * self.apart * STEP) + self.low + random.uniform(0, STEP)
        else:
            values = random.uniform(self.low, self.high, sum(sizes))
        parts = np.split(values.astype(np.float32), np.cumsum(sizes)[:-1])
        return [part.reshape(shape).astype(np.float64) for part, shape in zip(parts, self.shapes, strict=True)]

    def placed(self, put: Callable[[NDArray[np.generic]], object]) -> list[Any]:
        """The constants as arrays: masks of `where`, else integers."""
        return [
            put(np.asarray(value, dtype=bool if self.function == "where" else np.int64)) for value in self.constants
        ]


def weighted_sum(xp: Namespace, results: object, weigh: Callable[[tuple[int, ...], int], object]) -> Any:
    """A loss in which each element of the results counts differently. weigh(shape, number): the factors."""
    parts = results if isinstance(results, Sequence) else [results]
    total: object = None
    for number, part in enumerate(parts):
        one = xp.sum(part * weigh(tuple(part.shape), number))
        total = one if total is None else total + one
    return total


def factors(shape: tuple[int, ...], number: int) -> Floats:
    """Between 0.5 and 1.5, no two alike."""
    counted = np.arange(1.0, int(np.prod(shape)) + 1).reshape(shape)
    return np.asarray(0.5 + (counted * 0.618034 + 0.1 * number) % 1.0)


def slope(loss: Callable[..., float], at: Sequence[Floats], way: Sequence[Floats]) -> float:
    """How fast `loss(*arrays)` grows from `at` along `way`, whose numbers are at most 1; by differences."""
    found = 0.0
    for steps, weight in WEIGHTS:
        for sign in (1, -1):
            moved = [array + sign * steps * STEP * d for array, d in zip(at, way, strict=True)]
            found += sign * weight * loss(*moved) / STEP
    return found


def slopes(loss: Callable[..., float], at: Sequence[Floats]) -> list[Floats]:
    """The whole gradient of `loss(*arrays)`, element by element."""
    found = [np.zeros(array.shape) for array in at]
    for which, array in enumerate(at):
        for place in np.ndindex(array.shape):
            way = [np.zeros(other.shape) for other in at]
            way[which][place] = 1.0
            found[which][place] = slope(loss, at, way)
    return found


def reference(case: GradientCase) -> Callable[..., float]:
    """A case's loss on NumPy in float64."""
    constants = case.placed(np.asarray)
    return lambda *arrays: float(weighted_sum(numpy_api, case.fn(numpy_api, *arrays, *constants), factors))


def gradient(backend: Backend, case: GradientCase, at: Sequence[Floats]) -> tuple[float, list[Floats]]:
    """A case's loss and its gradient in each array, as the backend has them."""
    xp, constants = backend.xp, case.placed(backend.asarray)

    def weigh(shape: tuple[int, ...], number: int) -> object:
        return backend.asarray(factors(shape, number))

    def loss(params: Params) -> tuple[Any, None]:
        return weighted_sum(xp, case.fn(xp, *params.values(), *constants), weigh), None

    params = {str(i): backend.asarray(array) for i, array in enumerate(at)}
    (value, _), grads = backend.value_and_grad(loss)(params)
    return float(backend.to_numpy(value)), [backend.to_numpy(grads[name]).astype(np.float64) for name in params]


def _one(name: str, low: float = 0.6, high: float = 1.4) -> GradientCase:
    return GradientCase(name, lambda xp, x: getattr(xp, name)(x), ((3, 2),), low, high)


def _two(name: str, fn: Callable[..., object], *, apart: int = 0, numbers: bool = True) -> list[GradientCase]:
    """A function of two arrays: of one shape, broadcast both ways, with one of no axes, and with a number."""
    cases = [
        GradientCase(name, fn, ((3, 2), (3, 2)), apart=apart),
        GradientCase(f"{name}, broadcast", fn, ((3, 1), (2, 1, 2)), apart=apart),
        GradientCase(
            f"{name}, a row and 0-d", lambda xp, a, b, c: fn(xp, fn(xp, a, b), c), ((2, 3), (3,), ()), 0.6, 2.0
        )
        if not apart
        else GradientCase(f"{name}, 0-d", fn, ((2, 3), ()), apart=10),
        GradientCase(f"{name}, with itself", lambda xp, a: fn(xp, a, 2.0 * a), ((4,),)),
    ]
    if numbers:
        cases += [
            GradientCase(f"{name}, a number right", lambda xp, a: fn(xp, a, 2.53), ((3, 2),)),
            GradientCase(f"{name}, a number left", lambda xp, a: fn(xp, 2.53, a), ((3, 2),)),
        ]
    return cases


_ELEMENTWISE = (
    *(_one(name) for name in ("abs", "asinh", "atan", "cos", "cosh", "exp", "expm1", "log", "log10", "log1p", "log2")),
    *(_one(name) for name in ("negative", "positive", "reciprocal", "sin", "sinh", "sqrt", "square", "tanh")),
    GradientCase("abs, below 0", lambda xp, x: xp.abs(x), ((3, 2),), -1.4, -0.6),
    *(_one(name, -0.5, 0.5) for name in ("acos", "asin", "atanh")),
    _one("acosh", 1.6, 2.4),
    _one("tan", 0.2, 0.8),
    *_two("add", lambda xp, a, b: xp.add(a, b)),
    *_two("atan2", lambda xp, a, b: xp.atan2(a, b)),
    *_two("copysign", lambda xp, a, b: xp.copysign(a, b), numbers=False),
    *_two("divide", lambda xp, a, b: xp.divide(a, b)),
    *_two("hypot", lambda xp, a, b: xp.hypot(a, b)),
    *_two("logaddexp", lambda xp, a, b: xp.logaddexp(a, b)),
    *_two("maximum", lambda xp, a, b: xp.maximum(a, b), apart=10, numbers=False),
    *_two("minimum", lambda xp, a, b: xp.minimum(a, b), apart=10, numbers=False),
    *_two("multiply", lambda xp, a, b: xp.multiply(a, b)),
    *_two("pow", lambda xp, a, b: xp.pow(a, b)),
    *_two("subtract", lambda xp, a, b: xp.subtract(a, b)),
    GradientCase("remainder", lambda xp, a, b: xp.remainder(a + 2.6, b), ((3, 2), (3, 2)), 1.05, 1.15),
    GradientCase("clip", lambda xp, x: xp.clip(x, 0.95, 1.55), ((3, 4),), apart=10),
    GradientCase("clip, arrays", lambda xp, x, a, b: xp.clip(x, a, b + 1.1), ((6,), (6,), (1,)), apart=20),
    GradientCase("where", lambda xp, a, b, c: xp.where(c, a, b), ((2, 3), (3,)), constants=([[1, 0, 1], [0, 1, 1]],)),
)

_OPERATORS = (
    *_two("operator +", lambda xp, a, b: a + b),
    *_two("operator -", lambda xp, a, b: a - b),
    *_two("operator *", lambda xp, a, b: a * b),
    *_two("operator /", lambda xp, a, b: a / b),
    *_two("operator **", lambda xp, a, b: a**b),
    GradientCase("operator **, below 0", lambda xp, a: a**2 + a**3 + a**-1 + a**0, ((4,),), -1.4, -0.6),
    GradientCase("operator **, a root", lambda xp, a: a**0.5 + a**-1.5, ((4,),)),
    GradientCase("operator unary -", lambda xp, a: -a, ((3, 2),)),
    GradientCase("operator unary +", lambda xp, a: +a, ((3, 2),)),
    GradientCase("operator abs", lambda xp, a: abs(a - 1.0), ((3, 2),), 1.3, 2.0),
    GradientCase("operator %", lambda xp, a, b: (a + 2.6) % b, ((3, 2), (3, 2)), 1.05, 1.15),
    GradientCase("operator @", lambda xp, a, b: a @ b, ((3, 4), (4, 2))),
    GradientCase("used twice", lambda xp, a, b: (a + b) * a - xp.exp(a) / (a @ a), ((3, 3), (3,))),
)

_INDEXING = (
    GradientCase("indexing, numbers", lambda xp, x: [x[1], x[-1, 0], x[0, 1, 1]], ((2, 3, 2),)),
    GradientCase("indexing, slices", lambda xp, x: [x[1:, ::2], x[1, 1:3], x[:, -2:]], ((3, 4),)),
    GradientCase("indexing, slices backwards", lambda xp, x: x[::-1, 2:0:-1], ((3, 4),)),
    GradientCase("indexing, None and ...", lambda xp, x: [x[None, ..., 0], x[..., None], x[:, None, 1]], ((3, 4),)),
    GradientCase("indexing, integer arrays", lambda xp, x, i: x[i], ((4, 2),), constants=([0, 2, 2, 1],)),
    GradientCase(
        "indexing, integer arrays of two axes", lambda xp, x, i, j: x[i, j], ((3, 4),),
        constants=([[0, 2], [2, 2]], [[1, 3], [3, 0]]),
    ),
    GradientCase(
        "take", lambda xp, x, i: [xp.take(x, i, axis=0), xp.take(x, i, axis=-1)], ((3, 3),), constants=([0, 2, 2, 1],)
    ),
    GradientCase(
        "take_along_axis",
        lambda xp, x, i: [xp.take_along_axis(x, i, axis=1), xp.take_along_axis(x, i, axis=-1)],
        ((2, 4),), constants=([[3, 0, 3], [1, 1, 2]],),
    ),
)  # fmt: skip

_MOVEMENT = (
    GradientCase("astype", lambda xp, x: xp.astype(x, x.dtype, copy=True), ((3,),)),
    GradientCase("broadcast_to", lambda xp, x: xp.broadcast_to(x, (2, 3, 4)), ((3, 1),)),
    GradientCase("broadcast_arrays", lambda xp, a, b: xp.broadcast_arrays(a, b)[0] * b + a, ((3, 1), (1, 4))),
    GradientCase("concat", lambda xp, a, b: xp.concat([a, b, a], axis=0), ((2, 3), (1, 3))),
    GradientCase("concat, last axis", lambda xp, a, b: xp.concat((a, b), axis=-1), ((2, 3), (2, 1))),
    GradientCase("concat, flat", lambda xp, a, b: xp.concat((a, b), axis=None), ((2, 3), (2,))),
    GradientCase("diff", lambda xp, x: [xp.diff(x), xp.diff(x, axis=0, n=2)], ((4, 3),)),
    GradientCase("expand_dims", lambda xp, x: [xp.expand_dims(x, axis=1), xp.expand_dims(x, axis=-1)], ((2, 3),)),
    GradientCase("flip", lambda xp, x: [xp.flip(x), xp.flip(x, axis=1), xp.flip(x, axis=(0, -1))], ((2, 3),)),
    GradientCase("matrix_transpose", lambda xp, x: xp.matrix_transpose(x), ((2, 3, 4),)),
    GradientCase("meshgrid", lambda xp, a, b: list(xp.meshgrid(a, b)), ((2,), (3,))),
    GradientCase("meshgrid, ij", lambda xp, a, b: list(xp.meshgrid(a, b, indexing="ij")), ((2,), (3,))),
    GradientCase("moveaxis", lambda xp, x: [xp.moveaxis(x, 0, -1), xp.moveaxis(x, (0, 1), (2, 0))], ((2, 3, 4),)),
    GradientCase("permute_dims", lambda xp, x: xp.permute_dims(x, (2, 0, 1)), ((2, 3, 4),)),
    GradientCase("repeat", lambda xp, x: [xp.repeat(x, 2), xp.repeat(x, 3, axis=1)], ((2, 3),)),
    GradientCase("reshape", lambda xp, x: [xp.reshape(x, (3, -1)), xp.reshape(x, (-1,))], ((2, 3),)),
    GradientCase("roll", lambda xp, x: [xp.roll(x, 2), xp.roll(x, (1, -2), axis=(0, 1))], ((2, 4),)),
    GradientCase("squeeze", lambda xp, x: [xp.squeeze(x, axis=0), xp.squeeze(x, axis=(0, 2))], ((1, 3, 1),)),
    GradientCase("stack", lambda xp, a, b: [xp.stack([a, b]), xp.stack((a, b), axis=-1)], ((2, 3), (2, 3))),
    GradientCase("tile", lambda xp, x: [xp.tile(x, (2, 3)), xp.tile(x, (2, 1, 2))], ((2, 3),)),
    GradientCase("tril", lambda xp, x: [xp.tril(x), xp.tril(x, k=-1)], ((3, 3),)),
    GradientCase("triu", lambda xp, x: [xp.triu(x), xp.triu(x, k=1)], ((2, 3, 3),)),
    GradientCase("unstack", lambda xp, x: [a * a for a in (*xp.unstack(x), *xp.unstack(x, axis=1))], ((2, 3),)),
    GradientCase("sort", lambda xp, x: [xp.sort(x), xp.sort(x, axis=0)], ((3, 4),), apart=10),
    GradientCase("sort, descending", lambda xp, x: xp.sort(x, descending=True), ((3, 4),), apart=10),
)


def _reduction(name: str, apart: int = 0, *, several: bool = True) -> list[GradientCase]:
    def call(xp: Namespace, x: object, **options: object) -> Any:
        return getattr(xp, name)(x, **options)

    two = (0, 2) if several else 0
    return [
        GradientCase(name, call, ((3, 2),), apart=apart),
        GradientCase(
            f"{name}, axis", lambda xp, x: [call(xp, x, axis=0), call(xp, x, axis=-1)], ((3, 4),), apart=apart
        ),
        GradientCase(f"{name}, two axes", lambda xp, x: call(xp, x, axis=two), ((2, 2, 3),), apart=apart),
        GradientCase(f"{name}, keepdims", lambda xp, x: call(xp, x, axis=1, keepdims=True) * x, ((3, 2),), apart=apart),
    ]


_REDUCTIONS = (
    *(case for name in ("sum", "mean", "prod") for case in _reduction(name)),
    *(case for name in ("var", "std") for case in _reduction(name, apart=60)),  # far from a spread of 0, a kink
    *(case for name in ("max", "min") for case in _reduction(name, apart=10)),
    GradientCase("var, correction", lambda xp, x: xp.var(x, axis=1, correction=1.0), ((2, 4),), apart=60),
    GradientCase("std, correction", lambda xp, x: xp.std(x, axis=0, correction=1.0), ((4, 2),), apart=60),
    GradientCase("cumulative_sum", lambda xp, x: xp.cumulative_sum(x), ((5,),)),
    GradientCase(
        "cumulative_sum, axis",
        lambda xp, x: [xp.cumulative_sum(x, axis=0), xp.cumulative_sum(x, axis=-1, include_initial=True)], ((3, 4),),
    ),
    GradientCase("cumulative_prod", lambda xp, x: xp.cumulative_prod(x), ((5,),)),
    GradientCase(
        "cumulative_prod, axis",
        lambda xp, x: [xp.cumulative_prod(x, axis=0), xp.cumulative_prod(x, axis=-1, include_initial=True)], ((3, 4),),
    ),
)  # fmt: skip

_PRODUCTS = (
    GradientCase("matmul", lambda xp, a, b: xp.matmul(a, b), ((3, 4), (4, 2))),
    GradientCase("matmul, vectors", lambda xp, a, b: xp.matmul(a, b), ((4,), (4,))),
    GradientCase("matmul, vector left", lambda xp, a, b: xp.matmul(a, b), ((3,), (2, 3, 2))),
    GradientCase("matmul, vector right", lambda xp, a, b: xp.matmul(a, b), ((2, 2, 3), (3,))),
    GradientCase("matmul, stacks", lambda xp, a, b: xp.matmul(a, b), ((2, 1, 2, 3), (3, 3, 2))),
    GradientCase("matmul, a matrix and a stack", lambda xp, a, b: xp.matmul(a, b), ((2, 3), (4, 3, 2))),
    GradientCase("matmul, with itself", lambda xp, a: xp.matmul(a, a), ((3, 3),)),
    GradientCase("vecdot", lambda xp, a, b: xp.vecdot(a, b), ((3, 4), (3, 4))),
    GradientCase("vecdot, broadcast", lambda xp, a, b: xp.vecdot(a, b), ((2, 1, 3), (4, 3))),
    GradientCase("tensordot", lambda xp, a, b: xp.tensordot(a, b, axes=2), ((2, 3, 2), (3, 2, 4))),
    GradientCase("tensordot, axes", lambda xp, a, b: xp.tensordot(a, b, axes=((0, 2), (1, 0))), ((2, 3, 4), (4, 2, 2))),
    GradientCase("tensordot, outer", lambda xp, a, b: xp.tensordot(a, b, axes=0), ((2,), (3,))),
)


EYE = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
LADDER = [[4, 0, 0], [0, 7, 0], [0, 0, 10]]


def _regular(xp: Namespace, x: Any, eye: object) -> object:
    """A well-conditioned matrix."""
    return x + 2.0 * xp.astype(eye, x.dtype)


def _definite(xp: Namespace, x: Any, ladder: object) -> object:
    """A symmetric one with positive eigenvalues well apart."""
    return 0.3 * (x + xp.matrix_transpose(x)) + xp.astype(ladder, x.dtype)


def _projector(xp: Namespace, x: object, ladder: object) -> object:
    """Of the two largest eigenvalues: it does not depend on the eigenvectors' signs."""
    vectors = xp.linalg.eigh(_definite(xp, x, ladder))[1][:, 1:]
    return vectors @ xp.matrix_transpose(vectors)


def _of_regular(name: str, fn: Callable[..., object], *shapes: tuple[int, ...]) -> GradientCase:
    """linalg's function of a well-conditioned matrix, and of what else there is."""
    return GradientCase(
        f"linalg.{name}", lambda xp, x, *rest: fn(xp.linalg, _regular(xp, x, rest[-1]), *rest[:-1]),
        shapes or ((3, 3),), constants=(EYE,),
    )  # fmt: skip


def _of_definite(name: str, fn: Callable[..., object]) -> GradientCase:
    return GradientCase(
        f"linalg.{name}", lambda xp, x, c: fn(xp.linalg, _definite(xp, x, c)), ((3, 3),), constants=(LADDER,)
    )  # fmt: skip


_LINALG = (
    _of_definite("cholesky", lambda la, x: [la.cholesky(x), la.cholesky(x, upper=True)]),
    GradientCase("linalg.cross", lambda xp, a, b: xp.linalg.cross(a, b), ((2, 3), (2, 3))),
    _of_regular("det", lambda la, x: la.det(x), (2, 3, 3)),
    GradientCase("linalg.diagonal", lambda xp, x: [xp.linalg.diagonal(x), xp.linalg.diagonal(x, offset=1)], ((3, 4),)),
    GradientCase("linalg.eigh", _projector, ((3, 3),), constants=(LADDER,)),
    _of_definite("eigvalsh", lambda la, x: la.eigvalsh(x)),
    _of_regular("inv", lambda la, x: la.inv(x), (2, 3, 3)),
    GradientCase("linalg.matmul", lambda xp, a, b: xp.linalg.matmul(a, b), ((2, 3), (3, 2))),
    _of_regular("matrix_norm", lambda la, x: [la.matrix_norm(x[:, :2], ord=o) for o in ("fro", "nuc", 2)]),
    GradientCase(
        "linalg.matrix_norm, sums",
        lambda xp, a, b: [xp.linalg.matrix_norm(x, ord=o, keepdims=True) for x in (a, b) for o in (1, -1, INF)],
        ((1, 3), (3, 1)), apart=10,
    ),
    _of_regular("matrix_power", lambda la, x: [la.matrix_power(x, 3), la.matrix_power(x, -2)]),
    GradientCase("linalg.matrix_transpose", lambda xp, x: xp.linalg.matrix_transpose(x), ((2, 3, 4),)),
    GradientCase("linalg.outer", lambda xp, a, b: xp.linalg.outer(a, b), ((2,), (3,))),
    _of_regular("pinv", lambda la, x: la.pinv(x[:, :2])),
    _of_regular("qr", lambda la, x: [part * part for part in la.qr(x)]),
    _of_regular("slogdet", lambda la, x: la.slogdet(x)[1], (2, 3, 3)),
    _of_regular("solve", lambda la, a, b: la.solve(a, b), (3, 3), (3, 2)),
    _of_regular("solve, a vector", lambda la, a, b: la.solve(a, b), (3, 3), (3,)),
    _of_regular("svdvals", lambda la, x: la.svdvals(x)),
    GradientCase("linalg.tensordot", lambda xp, a, b: xp.linalg.tensordot(a, b, axes=1), ((2, 3), (3, 2))),
    GradientCase("linalg.trace", lambda xp, x: [xp.linalg.trace(x), xp.linalg.trace(x, offset=1)], ((2, 3, 3),)),
    GradientCase("linalg.vecdot", lambda xp, a, b: xp.linalg.vecdot(a, b), ((2, 3), (2, 3))),
    GradientCase(
        "linalg.vector_norm", lambda xp, x: [xp.linalg.vector_norm(x), xp.linalg.vector_norm(x, axis=0)], ((3, 2),)
    ),
    GradientCase(
        "linalg.vector_norm, orders",
        lambda xp, x: [xp.linalg.vector_norm(x, axis=1, keepdims=True, ord=o) for o in (1, 3, INF)],
        ((2, 3),), apart=10,
    ),
)  # fmt: skip

GRADIENT_CASES: tuple[GradientCase, ...] = (
    *_ELEMENTWISE, *_OPERATORS, *_INDEXING, *_MOVEMENT, *_REDUCTIONS, *_PRODUCTS, *_LINALG,
)  # fmt: skip

LEAST = frozenset(
    case.name
    for case in GRADIENT_CASES
    if case.name in ("sum", "sum, axis", "sqrt")
    or case.function in ("operator +", "operator -", "operator *", "operator /")
)
"""What an `xp` is held to that does not say it is the standard's."""
