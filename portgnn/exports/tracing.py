"""A backend that computes nothing and writes down what is asked of it: a network becomes a program.

A network is functions of the protocol and of the standard's namespace, and so is its forward pass. Both run here as
they are, on arrays that know their shape alone: no network says anywhere how it leaves, a user's own neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from portgnn.errors import ConfigError
from portgnn.programs import APART, BINARY, EDGES, FEWEST, GIVEN, NODES, UNARY, Count, Instruction, Kind, Operand, Value
from portgnn.protocol import Key

TRUTHS = BINARY[BINARY.index("equal") :]
"""Those whose outcome is true or false."""


class Traced:
    """An array of a program that is being written."""

    __hash__ = object.__hash__
    __array_priority__ = 1000.0

    def __init__(self, tape: Tape, value: Value) -> None:
        self.tape, self.value = tape, value

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def ndim(self) -> int:
        return len(self.value.shape)

    @property
    def dtype(self) -> Any:
        kinds = {"int": np.dtype(np.int64), "bool": np.dtype(bool)}
        return kinds.get(self.value.kind) or self.tape.dtype

    @property
    def T(self) -> Traced:
        return self.tape.permuted(self, tuple(reversed(range(self.ndim))))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: object, **named: object) -> object:
        if method != "__call__" or named:
            raise unknown(f"numpy.{ufunc.__name__}.{method}")
        return self.tape.called_by_name(ufunc.__name__, *inputs)

    def __array_function__(self, function: Any, types: object, given: Any, named: Any) -> object:
        return self.tape.called_by_name(function.__name__, *given, **named)

    def __getitem__(self, key: Key) -> Traced:
        if isinstance(key, Traced):
            return self.tape.taken(self, key)
        return self.tape.indexed(self, key if isinstance(key, tuple) else (key,))

    def __bool__(self) -> bool:
        raise ConfigError("the network decides by the values of an array, and a file that leaves has one way for all")

    def __float__(self) -> float:
        return float(bool(self))


def _operators() -> None:
    pairs = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "pow"}
    pairs |= {"and": "logical_and", "or": "logical_or", "matmul": "matmul"}
    for short, op in pairs.items():
        setattr(Traced, f"__{short}__", lambda x, y, op=op: x.tape.called_by_name(op, x, y))
        setattr(Traced, f"__r{short}__", lambda x, y, op=op: x.tape.called_by_name(op, y, x))
    compared = {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater"}
    for short, op in (compared | {"ge": "greater_equal"}).items():
        setattr(Traced, f"__{short}__", lambda x, y, op=op: x.tape.called_by_name(op, x, y))
    for short, op in {"neg": "negative", "abs": "abs", "invert": "logical_not"}.items():
        setattr(Traced, f"__{short}__", lambda x, op=op: x.tape.called_by_name(op, x))


_operators()


class Unworded(ConfigError, AttributeError):
    """What a network uses and no exported form can say; whoever asks whether a backend has it is told no."""


def unknown(name: str) -> Unworded:
    return Unworded(f"the network uses {name}, for which no exported form has a word")


class Tape:
    """What is written down, in order. dtype: of floating arrays."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.instructions: list[Instruction] = []
        self.constants: dict[str, NDArray[np.floating]] = {}
        self._known: dict[tuple[object, ...], Value] = {}

    def add(self, op: str, size: Sequence[int], *operands: object, kind: Kind = "float", **details: object) -> Traced:
        """The outcome of an instruction; the one that is there already, where the same was written before."""
        held = tuple(self.operand(each) for each in operands)
        key = (op, held, repr(details))
        if key not in self._known:
            self._known[key] = Value(tuple(size), kind)
            self.instructions.append(Instruction(op, held, self._known[key], details))
        return Traced(self, self._known[key])

    def operand(self, given: object) -> Operand:
        if isinstance(given, Traced):
            return given.value
        if isinstance(given, np.ndarray) and given.ndim:
            return self.constant(given).value
        if isinstance(given, int | float | np.generic | np.ndarray):
            return float(given)
        raise unknown(f"{type(given).__name__} among its arrays")

    def constant(self, array: NDArray[np.floating]) -> Traced:
        name = f"constant{len(self.constants)}"
        self.constants[name] = array.astype(self.dtype) if array.dtype.kind == "f" else array
        kind: Kind = {"f": "float", "b": "bool"}.get(array.dtype.kind, "int")  # type: ignore[assignment]
        return Traced(self, Value(array.shape, kind, name))

    def called_by_name(self, name: str, *given: object, **named: object) -> Any:
        """A function of the standard, or of NumPy's that is called the same."""
        if name == "power":
            name = "pow"
        if name == "absolute":
            name = "abs"
        function = getattr(self.namespace, name, None)
        if function is None:
            raise unknown(f"xp.{name}")
        return function(*given, **named)

    @property
    def namespace(self) -> Namespace:
        return Namespace(self)

    def unary(self, op: str, x: object) -> object:
        if not isinstance(x, Traced):
            return getattr(np, {"abs": "absolute"}.get(op, op))(x)
        return self.add(op, x.shape, x, kind="bool" if op == "logical_not" else x.value.kind)

    def binary(self, op: str, x: object, y: object) -> Any:
        kinds = [each.value.kind for each in (x, y) if isinstance(each, Traced)]
        kind: Kind = "bool" if op in TRUTHS else "int" if set(kinds) == {"int"} else "float"
        if not kinds:
            return getattr(np, op)(x, y)
        return self.add(op, broadcast(x, y), x, y, kind=kind)

    def reduced(self, op: str, x: Traced, axis: object, keepdims: bool) -> Traced:
        axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        chosen = tuple(sorted(each % x.ndim for each in axes))
        shape = [1 if at in chosen else size for at, size in enumerate(x.shape) if keepdims or at not in chosen]
        return self.add(op, shape, x, axes=chosen, keep=keepdims)

    def taken(self, x: Traced, index: Traced) -> Traced:
        return self.add("take", (*index.shape, *x.shape[1:]), x, index, kind=x.value.kind)

    def permuted(self, x: Traced, axes: Sequence[int]) -> Traced:
        axes = tuple(each % x.ndim for each in axes)
        return self.add("permute", [x.shape[each] for each in axes], x, axes=axes, kind=x.value.kind)

    def reshaped(self, x: Traced, shape: Any) -> Traced:
        wanted = list(shape if isinstance(shape, tuple | list) else (shape,))
        size = math.prod(x.shape)
        for at, each in enumerate(wanted):
            if each == -1:
                rest = size // math.prod(other for other in wanted if other != -1)
                wanted[at] = next((count for count in (NODES, EDGES, GIVEN, APART) if rest == count), rest)
        open_ended = [at for at, each in enumerate(wanted) if each >= FEWEST]
        if math.prod(wanted) != size or len(open_ended) > 1:
            raise unknown(f"reshape to {list(shape)}")
        written = [-1 if at in open_ended else int(each) for at, each in enumerate(wanted)]
        return self.add("reshape", wanted, x, shape=tuple(written), kind=x.value.kind)

    def indexed(self, x: Traced, key: tuple[Any, ...]) -> Traced:
        """Slices, whole numbers, None and an ellipsis, as the protocol's `Index` has them."""
        if any(each is Ellipsis for each in key):
            at = next(place for place, each in enumerate(key) if each is Ellipsis)
            filled = sum(each is not None and each is not Ellipsis for each in key)
            key = (*key[:at], *(slice(None),) * (x.ndim - filled), *key[at + 1 :])
        axis, shape, found = 0, list[int](), x
        for each in key:
            if each is None:
                shape.append(1)
                continue
            size = x.shape[axis]
            whole = isinstance(each, slice)
            start, stop, step = (each if whole else slice(each, each + 1 or None)).indices(size)
            if step != 1 or (isinstance(size, Count) and (start, stop) != (0, size)):
                raise unknown(f"rows {each} of an array")
            if (start, stop) != (0, size):
                cut = [*found.shape[:axis], stop - start, *found.shape[axis + 1 :]]
                kind = x.value.kind
                found = self.add("slice", cut, found, axis=axis, start=start, stop=stop, kind=kind)
            if whole:
                shape.append(found.shape[axis])
            axis += 1
        shape += found.shape[axis:]
        return found if tuple(shape) == found.shape else self.reshaped(found, tuple(shape))


def broadcast(*arrays: Any) -> tuple[int, ...]:
    """The shape of several arrays and numbers together, as the standard has it."""
    shapes = [each.shape if isinstance(each, Traced) else np.shape(each) for each in arrays]
    depth = max(map(len, shapes))
    padded = [(1,) * (depth - len(shape)) + tuple(shape) for shape in shapes]
    found = []
    for sizes in zip(*padded, strict=True):
        wide = {size for size in sizes if size != 1}
        if len(wide) > 1:
            raise unknown(f"arrays of shapes {' and '.join(str(list(shape)) for shape in shapes)} together")
        found.append(next((size for size in sizes if size != 1), 1))
    return tuple(found)


class Namespace:
    """The standard's functions, as far as an exported form has words for them."""

    float32, float64, int64 = np.dtype("float32"), np.dtype("float64"), np.dtype("int64")
    pi, inf = math.pi, math.inf
    finfo = staticmethod(np.finfo)

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def __getattr__(self, name: str) -> Callable[..., object]:
        if name in UNARY:
            return partial(self._tape.unary, name)
        if name in BINARY:
            return partial(self._tape.binary, name)
        if name in ("sum", "mean", "max", "min"):
            return partial(self._reduced, name)
        if name.startswith("__"):
            raise AttributeError(name)
        raise unknown(f"xp.{name}")

    def _reduced(self, op: str, x: Traced, /, *, axis: object = None, keepdims: bool = False) -> Traced:
        return self._tape.reduced(op, x, axis, keepdims)

    def square(self, x: Traced, /) -> Traced:
        return self._tape.binary("multiply", x, x)  # type: ignore[no-any-return]

    def positive(self, x: Traced, /) -> Traced:
        return x

    def clip(self, x: object, /, min: object = None, max: object = None) -> object:
        above = x if min is None else self._tape.binary("maximum", x, min)
        return above if max is None else self._tape.binary("minimum", above, max)

    def where(self, condition: object, x: object, y: object, /) -> Traced:
        kinds = {each.value.kind for each in (x, y) if isinstance(each, Traced)}
        return self._tape.add("where", broadcast(condition, x, y), condition, x, y,
                              kind="int" if kinds == {"int"} else "float")  # fmt: skip

    def zeros_like(self, x: Traced, /) -> Traced:
        return self.full_like(x, 0.0)

    def ones_like(self, x: Traced, /) -> Traced:
        return self.full_like(x, 1.0)

    def full_like(self, x: Traced, value: float, /) -> Traced:
        # Not x * 0 + value, which is not a number where x is none.
        always = self._tape.add("equal", x.shape, x, x, kind="bool")
        return self._tape.add("where", x.shape, always, value, value)

    def reshape(self, x: Traced, /, shape: object) -> Traced:
        return self._tape.reshaped(x, shape)

    def permute_dims(self, x: Traced, /, axes: Sequence[int]) -> Traced:
        return self._tape.permuted(x, axes)

    def matrix_transpose(self, x: Traced, /) -> Traced:
        return self._tape.permuted(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))

    def expand_dims(self, x: Traced, /, *, axis: int = 0) -> Traced:
        at = axis % (x.ndim + 1)
        return self._tape.reshaped(x, (*x.shape[:at], 1, *x.shape[at:]))

    def squeeze(self, x: Traced, /, axis: object) -> Traced:
        gone = {each % x.ndim for each in (axis if isinstance(axis, tuple) else (axis,))}
        return self._tape.reshaped(x, tuple(size for at, size in enumerate(x.shape) if at not in gone))

    def concat(self, arrays: Sequence[Traced], /, *, axis: int = 0) -> Traced:
        first = arrays[0]
        at = axis % first.ndim
        size = sum(each.shape[at] for each in arrays)
        shape = [*first.shape[:at], size, *first.shape[at + 1 :]]
        return self._tape.add("concat", shape, *arrays, axis=at, kind=first.value.kind)

    def stack(self, arrays: Sequence[Traced], /, *, axis: int = 0) -> Traced:
        return self.concat([self.expand_dims(each, axis=axis) for each in arrays], axis=axis)

    def unstack(self, x: Traced, /, *, axis: int = 0) -> tuple[Traced, ...]:
        before = (slice(None),) * (axis % x.ndim)
        return tuple(x[(*before, at)] for at in range(x.shape[axis]))

    def matmul(self, x: Any, y: Any, /) -> Traced:
        shape = (*x.shape[:-1], *y.shape[:-2], *y.shape[-1:])
        return self._tape.add("matmul", shape, x, y)

    def astype(self, x: Traced, dtype: DTypeLike, /, *, copy: bool | None = None) -> Traced:
        kinds: dict[str, Kind] = {"f": "float", "b": "bool", "i": "int"}
        return self._tape.add("cast", x.shape, x, kind=kinds[np.dtype(dtype).kind])
