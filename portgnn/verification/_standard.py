"""The array API standard's elementwise functions, as data: NumPy's name for each, and where to try it.

Special values follow the standard's tables (2024.12, "elementwise functions"), which NumPy's functions keep in float64;
what the standard leaves open is left out here. Sizes of arguments are such that results stay within float32's range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.verification.measure import Floats

SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 2.5, -2.5, 0.5, -0.5, 3.5)
PAIRED = (0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 2.0, 3.5)


@dataclass(frozen=True)
class Function:
    """low, high: where arguments lie. near: whether also near 0, down to 1e-20 of either sign.

    floor: the size of a result beside which errors are taken, where its own is smaller. zeros: whether the standard
    says which of the two zeros comes of a zero. bits: whether results are exact.
    """

    name: str
    of: Callable[..., Any]
    low: float = -30.0
    high: float = 30.0
    near: bool = True
    floor: float = 0.0
    zeros: bool = True
    exact: bool = False
    logarithmic: bool = False

    def arguments(self, random: np.random.Generator, count: int) -> Floats:
        """[count]: drawn between the bounds, by size where the range is logarithmic, and near 0."""
        if self.logarithmic:
            x = np.exp(random.uniform(np.log(self.low), np.log(self.high), count))
        else:
            x = random.uniform(self.low, self.high, count)
            # Half of them of moderate size, where most of what a network computes lies.
            middle = slice(0, count // 2)
            x[middle] = np.clip(random.standard_normal(len(x[middle])), self.low, self.high)
        if self.near:
            small = 10.0 ** random.uniform(-20, -1, count // 4)
            x[: len(small)] = small * (np.where(random.random(len(small)) < 0.5, -1, 1) if self.low < 0 else 1)
        return np.asarray(x)


def _unary() -> tuple[Function, ...]:
    def exact(name: str, of: Callable[..., object], **more: Any) -> Function:
        return Function(name, of, exact=True, **more)

    return (
        exact("abs", np.abs),
        Function("acos", np.arccos, -1.0, 1.0, floor=1e-2),
        Function("acosh", np.arccosh, 1.0, 1e6, near=False, logarithmic=True, floor=1e-2),
        Function("asin", np.arcsin, -1.0, 1.0),
        Function("asinh", np.arcsinh, -1e4, 1e4),
        Function("atan", np.arctan, -1e4, 1e4),
        Function("atanh", np.arctanh, -0.99, 0.99),
        exact("ceil", np.ceil),
        Function("cos", np.cos, -1e4, 1e4, floor=1.0),
        Function("cosh", np.cosh),
        Function("exp", np.exp, -80.0, 80.0),
        Function("expm1", np.expm1, -60.0, 80.0),
        exact("floor", np.floor),
        exact("isfinite", np.isfinite),
        exact("isinf", np.isinf),
        exact("isnan", np.isnan),
        Function("log", np.log, 1e-30, 1e30, near=False, logarithmic=True, floor=1.0),
        Function("log1p", np.log1p, -0.99, 1e4),
        Function("log2", np.log2, 1e-30, 1e30, near=False, logarithmic=True, floor=1.0),
        Function("log10", np.log10, 1e-30, 1e30, near=False, logarithmic=True, floor=1.0),
        exact("negative", np.negative),
        exact("positive", np.positive),
        Function("reciprocal", np.reciprocal, 1e-3, 1e6, near=False, logarithmic=True),
        exact("round", np.round),
        exact("sign", np.sign, zeros=False),
        exact("signbit", np.signbit),
        Function("sin", np.sin, -1e4, 1e4, floor=1e-3),
        Function("sinh", np.sinh),
        Function("square", np.square, near=False),
        Function("sqrt", np.sqrt, 1e-30, 1e30, near=False, logarithmic=True),
        Function("tan", np.tan, -1.5, 1.5),
        Function("tanh", np.tanh, -1e3, 1e3),
        exact("trunc", np.trunc),
    )


UNARY = _unary()

BINARY = (
    Function("add", np.add, zeros=False),
    Function("atan2", np.arctan2),
    Function("copysign", np.copysign, exact=True),
    Function("divide", np.divide, near=False, floor=1e-30),
    Function("equal", np.equal, exact=True),
    Function("floor_divide", np.floor_divide, exact=True),
    Function("greater", np.greater, exact=True),
    Function("greater_equal", np.greater_equal, exact=True),
    Function("hypot", np.hypot),
    Function("less", np.less, exact=True),
    Function("less_equal", np.less_equal, exact=True),
    Function("logaddexp", np.logaddexp, floor=1.0, zeros=False),
    Function("maximum", np.maximum, exact=True, zeros=False),
    Function("minimum", np.minimum, exact=True, zeros=False),
    Function("multiply", np.multiply, near=False),
    Function("nextafter", np.nextafter, zeros=False),
    Function("not_equal", np.not_equal, exact=True),
    Function("pow", np.power, zeros=False),
    Function("remainder", np.remainder, exact=True),
    Function("subtract", np.subtract, zeros=False),
)

ROUNDED = ("floor_divide", "remainder")
"""Their results jump: arguments are multiples of a quarter, and the standard leaves their special values open."""

LOGICAL = {"logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor}

INTEGER: dict[str, Callable[..., object]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "equal": np.equal,
    "less": np.less,
    "greater_equal": np.greater_equal,
}
INTEGER_UNARY: dict[str, Callable[..., object]] = {
    "abs": np.abs,
    "bitwise_invert": np.invert,
    "negative": np.negative,
    "sign": np.sign,
    "square": np.square,
}
SHIFTS: dict[str, Callable[..., object]] = {
    "bitwise_left_shift": np.left_shift,
    "bitwise_right_shift": np.right_shift,
}

REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "mean": np.mean,
    "var": np.var,
    "std": np.std,
}
LOGICAL_REDUCTIONS: dict[str, Callable[..., object]] = {"all": np.all, "any": np.any}
POSITIONS: dict[str, Callable[..., Any]] = {"argmax": np.argmax, "argmin": np.argmin}
CUMULATIVE: dict[str, Callable[..., Any]] = {"cumulative_sum": np.cumsum, "cumulative_prod": np.cumprod}

NEEDED = ("sum", "exp", "sqrt", "argmax")
"""What the library itself takes from every namespace; without the others a backend has a gap with their names."""


def pairs(function: Function, random: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Arguments of a function of two, [count] each."""
    if function.name in ROUNDED:
        a = random.integers(-200, 200, count) / 4.0
        return a, np.where(random.random(count) < 0.5, -1, 1) * random.integers(1, 40, count) / 4.0
    a, b = function.arguments(random, count), function.arguments(random, count)
    if function.name == "pow":
        return np.exp(random.uniform(-3, 3, count)), random.uniform(-5, 5, count)
    if function.exact:  # equal arguments as well
        b[::5] = a[::5]
    return a, b


def special_pairs(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All pairs of special values of which the standard says what comes out."""
    if name in ROUNDED or name == "nextafter":
        return np.zeros(0), np.zeros(0)
    a, b = (grid.ravel() for grid in np.meshgrid(PAIRED, PAIRED, indexing="ij"))
    if name == "pow":  # 1 to the NaN is C's 1, of which the standard says nothing
        kept = ~((a == 1) & np.isnan(b))
        a, b = a[kept], b[kept]
    return a, b
