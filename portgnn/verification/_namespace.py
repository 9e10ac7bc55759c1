"""Checks of `Backend.xp`: every elementwise function and reduction of the array API standard against NumPy in float64.

In range, near 0, at large arguments, and at zeros of both signs, infinities and NaN, where the result has to be exactly
what the standard says. A name that a namespace lacks is a gap, and is named; one that it has must be right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.protocol import Backend
from portgnn.verification import _standard
from portgnn.verification.cases import Case
from portgnn.verification.check import check
from portgnn.verification.draw import Draw
from portgnn.verification.gaps import name_gap
from portgnn.verification.measure import Departure, Floats, Measured, dtype_name, fetch, worst
from portgnn.verification.tolerances import tolerance

COUNT = 200
ABSOLUTE = {"float64": 2.0**-980, "float32": 2.0**-100, "bfloat16": 2.0**-100}
"""Beside these sizes errors are absolute: a device may take numbers near the smallest ones for 0."""


def _case(draw: Draw) -> tuple[Case, ...]:
    return (Case(1, 1, 1, seed=draw.seed),)


class Walk:
    """Tries names one after the other, and remembers which are missing and which are wrong."""

    def __init__(self, backend: Backend, check: str) -> None:
        self._backend, self._check = backend, check
        self._missing: list[str] = []
        self._found: dict[str, Measured] = {}

    def __call__(self, name: str, measure: Callable[[Any], Measured]) -> None:
        """measure: what to do with the function of this name."""
        function = getattr(self._backend.xp, name, None)
        if function is None:
            if name in _standard.NEEDED:
                raise Departure(f"xp has no {name}")
            if name not in self._missing:
                self._missing.append(name)
            return
        try:
            measured = measure(function)
        except Departure as departure:
            reason = str(departure)
            measured = Measured(float("inf"), lambda: reason)
        # An adapter may fail in any way; that is a finding of this name, and the others are looked at as well.
        except Exception as error:
            said = f"xp.{name}: {type(error).__name__}: {error}"[:300]
            measured = Measured(float("inf"), lambda: said)
        self._found[name] = worst(self._found.get(name, measured), measured)

    def result(self) -> Measured:
        allowed = tolerance(self._check, self._backend.dtype, self._backend.device).value
        row = name_gap(self._backend, self._check)
        known = set(row.names) if row else set()
        closed = sorted(name for name in known if name in self._found and self._found[name].error <= allowed / 100)
        if row and closed:
            raise Departure(f"{', '.join(closed)} of xp: right by now, and can leave the row of gaps ({row.reason})")
        counted = {name: one for name, one in self._found.items() if name not in known}
        wrong = [name for name, one in counted.items() if not one.error <= allowed]
        most = worst(Measured(0.0), *counted.values())
        notes = [f"xp lacks {', '.join(self._missing)}"] if self._missing else []
        notes += [f"known: {', '.join(sorted(known))} ({row.reason})"] if row else []

        def explain() -> str:
            said = most.explain()
            others = [name for name in wrong if counted[name] is not most]
            return said + (f"; also wrong: {', '.join(others)}" if others else "")

        return Measured(most.error, explain, "; ".join(notes))


def _placed(backend: Backend, x: Floats) -> tuple[Any, Floats]:
    """On the device, and what the device made of it, in float64."""
    placed = backend.asarray(x)
    return placed, backend.to_numpy(placed).astype(np.float64)


def _at(name: str, arguments: tuple[Floats, ...], place: int) -> str:
    return f"xp.{name} at {', '.join(f'{x[place]:.9g}' for x in arguments)}"


def _values(
    backend: Backend,
    function: _standard.Function,
    got: NDArray[np.generic],
    want: NDArray[np.generic],
    arguments: tuple[Floats, ...],
) -> Measured:
    """Errors of values beside the size of each result; infinite where a special value or a zero's sign differs."""
    if want.dtype == np.bool_ or got.dtype == np.bool_:
        if got.dtype != np.bool_:
            raise Departure(f"xp.{function.name} gives {got.dtype}, not booleans")
        wrong = np.flatnonzero(got != want)
        if len(wrong):
            raise Departure(f"{_at(function.name, arguments, wrong[0])} is {got[wrong[0]]}, not {want[wrong[0]]}")
        return Measured(0.0)
    result = got.astype(np.float64)
    special = ~np.isfinite(want)
    same = np.where(np.isnan(want), np.isnan(result), result == want)
    wrong = np.flatnonzero(special & ~same | ~special & ~np.isfinite(result))
    if not len(wrong) and function.zeros:
        of_zero = np.all([(x == 0) | ~np.isfinite(x) for x in arguments], axis=0) & (want == 0) & (result == 0)
        wrong = np.flatnonzero(of_zero & (np.signbit(want) != np.signbit(result)))
    if len(wrong):
        raise Departure(f"{_at(function.name, arguments, wrong[0])} is {result[wrong[0]]}, not {want[wrong[0]]}")
    size = np.maximum(np.abs(np.where(special, 1.0, want)), max(function.floor, ABSOLUTE[backend.dtype]))
    if function.exact:
        size = np.where(special, 1.0, np.maximum(np.abs(want), ABSOLUTE[backend.dtype])) * EXACT[backend.dtype]
    with np.errstate(all="ignore"):
        error = np.where(special, 0.0, np.abs(result - np.where(special, 0.0, want)) / size)
    place = int(np.argmax(error))
    return Measured(
        float(error[place]),
        lambda: f"{_at(function.name, arguments, place)} is {result[place]:.17g}, not {want[place]:.17g}",
    )


EXACT = {"float64": 1e-2, "float32": 1e-2, "bfloat16": 1.0}
"""Functions that round nothing: their errors count a hundredfold."""


def _unary(backend: Backend, function: _standard.Function, random: np.random.Generator) -> Callable[[Any], Measured]:
    def measure(found: Any) -> Measured:
        placed, x = _placed(backend, np.concatenate([function.arguments(random, COUNT), _standard.SPECIAL]))
        with np.errstate(all="ignore"):
            want = np.asarray(function.of(x))
        kind = "bool" if want.dtype == np.bool_ else "float"
        return _values(backend, function, fetch(backend, found(placed), f"xp.{function.name}", kind), want, (x,))

    return measure


def _binary(backend: Backend, function: _standard.Function, random: np.random.Generator) -> Callable[[Any], Measured]:
    def measure(found: Any) -> Measured:
        drawn, special = _standard.pairs(function, random, COUNT), _standard.special_pairs(function.name)
        left, a = _placed(backend, np.concatenate([drawn[0], special[0]]))
        right, b = _placed(backend, np.concatenate([drawn[1], special[1]]))
        with np.errstate(all="ignore"):
            # The next number is the next one of the dtype.
            own = backend.dtype if function.name == "nextafter" else "float64"
            want = np.asarray(function.of(a.astype(own), b.astype(own)))
        want = want if want.dtype == np.bool_ else want.astype(np.float64)
        kind = "bool" if want.dtype == np.bool_ else "float"
        got = fetch(backend, found(left, right), f"xp.{function.name}", kind)
        return _values(backend, function, got, want, (a, b))

    return measure


@check("xp.elementwise", cases=_case, full=_case)
def elementwise(backend: Backend, case: Case) -> Measured:
    """Every elementwise function of the standard on floats."""
    walk = Walk(backend, "xp.elementwise")
    for function in _standard.UNARY:
        walk(function.name, _unary(backend, function, case.random(function.name)))
    for function in _standard.BINARY:
        if function.name == "nextafter" and backend.dtype == "bfloat16":
            continue  # NumPy has no such numbers to compare with
        walk(function.name, _binary(backend, function, case.random(function.name)))
    _clip_and_where(backend, walk, case)
    return walk.result()


def _clip_and_where(backend: Backend, walk: Walk, case: Case) -> None:
    placed, x = _placed(backend, np.concatenate([case.array("x", COUNT), [np.inf, -np.inf, np.nan, 0.0]]))
    other, y = _placed(backend, case.array("y", len(x)))
    positive = backend.asarray(x > 0)
    free = _standard.Function("clip", np.clip, zeros=False, exact=True)

    def clip(found: Any) -> Measured:
        return _values(
            backend, free, fetch(backend, found(placed, -0.5, 0.75), "xp.clip"), np.clip(x, -0.5, 0.75), (x,)
        )

    def where(found: Any) -> Measured:
        kind = _standard.Function("where", np.where, zeros=False, exact=True)
        got = fetch(backend, found(positive, placed, other), "xp.where")
        return _values(backend, kind, got, np.where(x > 0, x, y), (x, y))

    walk("clip", clip)
    walk("where", where)


def _same(backend: Backend, name: str, got: Any, want: NDArray[np.generic], kind: str) -> Measured:
    host = fetch(backend, got, f"xp.{name}", kind)
    if host.shape != want.shape or (host.astype(np.int64) != want.astype(np.int64)).any():
        raise Departure(f"xp.{name} of {'booleans' if kind == 'bool' else 'integers'} is wrong")
    return Measured(0.0)


@check("xp.integers", cases=_case, full=_case)
def integers(backend: Backend, case: Case) -> Measured:
    """Functions of int32, which wrap around, and of booleans."""
    walk, random = Walk(backend, "xp.integers"), case.random("integers")
    a, b = random.integers(-(2**31), 2**31, (2, COUNT)).astype(np.int32)
    small = np.where(random.random(COUNT) < 0.5, -1, 1).astype(np.int32) * random.integers(1, 100, COUNT).astype(
        np.int32
    )
    b[::4] = a[::4]
    shift = random.integers(0, 31, COUNT).astype(np.int32)
    x, y, divisor, by = (backend.asarray(one) for one in (a, b, small, shift))

    def two(name: str, of: Any, left: Any, right: Any, hosts: tuple[Any, Any]) -> None:
        with np.errstate(over="ignore"):
            want = of(*hosts)
        kind = "bool" if want.dtype == np.bool_ else "int32"
        walk(name, lambda found: _same(backend, name, found(left, right), want, kind))

    for name, of in _standard.INTEGER.items():
        divides = name in _standard.ROUNDED
        two(name, of, x, divisor if divides else y, (a, small if divides else b))
    for name, of in _standard.SHIFTS.items():
        two(name, of, x, by, (a, shift))
    for name, of in _standard.INTEGER_UNARY.items():
        with np.errstate(over="ignore"):
            want = of(a)
        walk(name, lambda found, name=name, want=want: _same(backend, name, found(x), want, "int32"))  # type: ignore[misc]
    first, second = a > 0, b > 0
    p, q = backend.asarray(first), backend.asarray(second)
    for name, of in _standard.LOGICAL.items():
        two(name, of, p, q, (first, second))
    walk("logical_not", lambda found: _same(backend, "logical_not", found(p), ~first, "bool"))
    return walk.result()


def _reductions(x: Floats) -> Iterator[tuple[str, dict[str, Any], Floats, Floats]]:
    """Name, arguments, what NumPy gives, and the size of what is added up, of every reduction to try."""
    for name, of in _standard.REDUCTIONS.items():
        given = np.exp(x / 8) if name == "prod" else x
        for options in ({}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, 1)}):
            size = np.asarray(np.max(np.abs(given)) if name in ("max", "min") else np.abs(of(given, **options)))
            if name in ("sum", "mean"):
                size = np.asarray(of(np.abs(given), **options))
            yield name, options, np.asarray(of(given, **options)), size
        if name in ("var", "std"):
            want = np.asarray(of(x, axis=0, ddof=1))
            yield name, {"axis": 0, "correction": 1}, want, want


@check("xp.statistics", cases=_case, full=_case)
def statistics(backend: Backend, case: Case) -> Measured:
    """Sums, products, extremes, moments and positions, over all axes and over some; of many terms; of NaN."""
    walk = Walk(backend, "xp.statistics")
    placed, x = _placed(backend, case.array("x", 5, 33))
    grown, positive = _placed(backend, np.exp(x / 8))

    def one(name: str, options: dict[str, Any], want: Floats, size: Floats) -> Callable[[Any], Measured]:
        def measure(found: Any) -> Measured:
            got = fetch(backend, found(grown if name == "prod" else placed, **options), f"xp.{name}")
            if got.shape != want.shape:
                raise Departure(f"xp.{name} with {options} has shape {list(got.shape)}, not {list(want.shape)}")
            error = float(np.max(np.abs(got.astype(np.float64) - want) / size))
            return Measured(error, lambda: f"xp.{name} with {options} is off by {error:.1e}")

        return measure

    for name, options, want, size in _reductions(x):
        if name == "prod":
            want = np.asarray(np.prod(positive, **options))
            size = np.abs(want)
        walk(name, one(name, options, want, size))
    _of_booleans(backend, walk, case)
    _along(backend, walk, placed, x, grown, positive)
    _of_special_values(backend, walk)
    _of_nothing(backend, walk)
    _of_many(backend, walk, case)
    return walk.result()


def _of_booleans(backend: Backend, walk: Walk, case: Case) -> None:
    flags = case.array("flags", 4, 3) > -0.3
    flags[0] = True
    flags[1] = False
    placed = backend.asarray(flags)
    for name, of in _standard.LOGICAL_REDUCTIONS.items():
        for options in ({}, {"axis": -1}):
            want = np.asarray(of(flags, **options))
            walk(
                name,
                lambda found, name=name, options=options, want=want: _same(  # type: ignore[misc]
                    backend, name, found(placed, **options), want, "bool"
                ),
            )


def _along(backend: Backend, walk: Walk, placed: Any, x: Floats, grown: Any, positive: Floats) -> None:
    """Positions of extremes, and running sums and products."""
    for name, of in _standard.POSITIONS.items():
        for axis in (0, -1):

            def measure(found: Any, name: str = name, of: Any = of, axis: int = axis) -> Measured:
                got = found(placed, axis=axis)
                return _same(backend, name, got, of(x, axis=axis), _whole(backend, got))

            walk(name, measure)
    for name, of in _standard.CUMULATIVE.items():
        sums = name == "cumulative_sum"
        want = of(x if sums else positive, axis=-1)

        def running(found: Any, name: str = name, sums: bool = sums, want: Floats = want) -> Measured:
            got = fetch(backend, found(placed if sums else grown, axis=-1), f"xp.{name}").astype(np.float64)
            size = np.abs(x).sum() / len(x) if sums else np.abs(want)
            error = float(np.max(np.abs(got - want) / size))
            return Measured(error, lambda: f"xp.{name} is off by {error:.1e}")

        walk(name, running)


def _of_nothing(backend: Backend, walk: Walk) -> None:
    """The sum of nothing is 0, the product 1; all of it is true, and none of it."""
    host = np.zeros((0, 3))
    placed, flags = backend.asarray(host), backend.asarray(host > 0)
    both: dict[str, Callable[..., Any]] = {"sum": np.sum, "prod": np.prod}
    whole = both | _standard.LOGICAL_REDUCTIONS
    for name, of in whole.items():
        logical = name in _standard.LOGICAL_REDUCTIONS
        for options in ({}, {"axis": 0}):
            want = np.asarray(of(host > 0 if logical else host, **options))

            def measure(found: Any, name: str = name, options: Any = options, want: Any = want) -> Measured:
                kind = "bool" if want.dtype == np.bool_ else "float"
                got = fetch(backend, found(flags if kind == "bool" else placed, **options), f"xp.{name}", kind)
                if not np.array_equal(got, want):
                    raise Departure(f"xp.{name} of nothing with {options} is {got.tolist()}, not {want.tolist()}")
                return Measured(0.0)

            walk(name, measure)


def _of_special_values(backend: Backend, walk: Walk) -> None:
    """A NaN is the largest and the smallest of all."""
    host = np.array([[1.0, np.nan, 2.0], [np.inf, 1.0, 0.0]])
    placed = backend.asarray(host)
    for name in ("sum", "max", "min", "mean", "prod"):
        with np.errstate(all="ignore"):
            want = _standard.REDUCTIONS[name](host, axis=-1)

        def measure(found: Any, name: str = name, want: Floats = want) -> Measured:
            got = fetch(backend, found(placed, axis=-1), f"xp.{name}").astype(np.float64)
            if not np.array_equal(got, want, equal_nan=True):
                raise Departure(f"xp.{name} of rows with NaN and infinity is {got.tolist()}, not {want.tolist()}")
            return Measured(0.0)

        walk(name, measure)


MANY = (2**16 + 1, 3)


def _of_many(backend: Backend, walk: Walk, case: Case) -> None:
    """Many terms of one sign: an error that grows with their number shows."""
    placed, x = _placed(backend, np.abs(case.array("many", *MANY)) + 0.125)
    for name, axis in (("sum", None), ("mean", None), ("sum", 0)):
        # NumPy's own sum down the columns is the plain one.
        sums = np.array([math.fsum(column) for column in x.T])
        want = sums if axis == 0 else np.asarray(math.fsum(sums) / (x.size if name == "mean" else 1))

        def measure(found: Any, name: str = name, axis: Any = axis, want: Floats = want) -> Measured:
            got = fetch(backend, found(placed, axis=axis), f"xp.{name}").astype(np.float64)
            error = float(np.max(np.abs(got - want) / want))
            return Measured(error, lambda: f"xp.{name} of {x.size} numbers is off by {error:.1e}")

        walk(name, measure)


def _whole(backend: Backend, x: Any) -> str:
    """The dtype of an integer array, which the standard leaves to the library."""
    name = dtype_name(backend, x)
    if not name.startswith(("int", "uint")):
        raise Departure(f"a whole number has dtype {name or 'none'}")
    return name
