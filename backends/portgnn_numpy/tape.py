"""A small reverse-mode tape over any array-API namespace.

`Var` wraps an array and remembers how it was made; operators and the functions of `TapeNamespace` record.
Operations on plain arrays pass straight through, so the same model code evaluates without a tape when none
of its inputs is a `Var`.

Here stand the recorded array with its operators, indexing among them, and the way back. The rules of functions are in
`elementwise`, `movement`, `reductions` and `products`; `namespace` makes the array API of them, and refuses what has no
rule. It imports this module: what a Var's namespace is, its tape knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from array_api_compat import array_namespace

from portgnn_numpy import sums
from portgnn_numpy.arrays import Array, namespace_of

Vjp = Callable[[Array], tuple[Array | None, ...]]


class Tape(list["Var"]):
    """All Vars of one function in the order in which they were made, which is an order for the way back too.

    over: makes the recording form of a library's namespace, which is what a Var's `__array_namespace__` gives.
    """

    def __init__(self, over: Callable[[Any], Any]) -> None:
        super().__init__()
        self.over = over


class Var:
    """A recorded array: `value`, the Vars it was made from, and the rule that pulls a gradient back to them.

    tape: where the Vars of one function stand. Comparisons give plain arrays. What would lose the record (float, bool,
    NumPy's own functions, item assignment) raises TypeError.
    """

    __slots__ = ("parents", "tape", "value", "vjp")
    tape: Tape
    __array_ufunc__ = None  # makes `ndarray * Var` call Var.__rmul__ and not broadcast over objects
    __hash__ = object.__hash__

    def __init__(self, value: Array, parents: tuple[Var, ...], vjp: Vjp) -> None:
        self.value, self.parents, self.vjp = value, parents, vjp
        self.tape = parents[0].tape
        self.tape.append(self)

    @classmethod
    def leaf(cls, value: Array, tape: Tape) -> Var:
        var = cls.__new__(cls)
        var.value, var.parents, var.vjp, var.tape = value, (), _no_gradients, tape
        return var

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.value.shape
        return shape

    @property
    def ndim(self) -> int:
        return len(self.value.shape)

    @property
    def size(self) -> int:
        return int(self.value.size)

    @property
    def dtype(self) -> Any:
        return self.value.dtype

    @property
    def device(self) -> Any:
        return self.value.device

    @property
    def T(self) -> Any:
        return self.__array_namespace__().permute_dims(self, (1, 0))

    @property
    def mT(self) -> Any:
        return self.__array_namespace__().matrix_transpose(self)

    def to_device(self, device: Any, /, *, stream: Any = None) -> Var:
        if device != self.device:
            raise TypeError(f"a recorded array stays on its device, {self.device}: move the data before the loss")
        return self

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return self.tape.over(array_namespace(self.value, api_version=api_version))

    def __add__(self, other: Any) -> Var:
        return binary(self, other, lambda a, b: a + b, lambda g, a, b: g, lambda g, a, b: g)

    def __sub__(self, other: Any) -> Var:
        return binary(self, other, lambda a, b: a - b, lambda g, a, b: g, lambda g, a, b: -g)

    def __rsub__(self, other: Any) -> Var:
        return binary(other, self, lambda a, b: a - b, lambda g, a, b: g, lambda g, a, b: -g)

    def __mul__(self, other: Any) -> Var:
        return binary(self, other, lambda a, b: a * b, lambda g, a, b: g * b, lambda g, a, b: g * a)

    # Not g * a / (b * b): the square of b may overflow, and the gradient would be 0 without a word.
    def __truediv__(self, other: Any) -> Var:
        return binary(self, other, lambda a, b: a / b, lambda g, a, b: g / b, lambda g, a, b: -g * (a / b) / b)

    def __rtruediv__(self, other: Any) -> Var:
        return binary(other, self, lambda a, b: a / b, lambda g, a, b: g / b, lambda g, a, b: -g * (a / b) / b)

    def __neg__(self) -> Var:
        return Var(-self.value, (self,), lambda g: (-g,))

    def __matmul__(self, other: Any) -> Any:
        return self.__array_namespace__().matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return self.__array_namespace__().matmul(other, self)

    __radd__ = __add__
    __rmul__ = __mul__

    def __pos__(self) -> Var:
        return self

    def __abs__(self) -> Any:
        return self.__array_namespace__().abs(self)

    def __pow__(self, power: Any) -> Any:
        return self.__array_namespace__().pow(self, power)

    def __rpow__(self, base: Any) -> Any:
        return self.__array_namespace__().pow(base, self)

    def __mod__(self, other: Any) -> Any:
        return self.__array_namespace__().remainder(self, other)

    def __rmod__(self, other: Any) -> Any:
        return self.__array_namespace__().remainder(other, self)

    def __floordiv__(self, other: Any) -> Any:
        return self.value // value_of(other)

    def __rfloordiv__(self, other: Any) -> Any:
        return other // self.value

    def __lt__(self, other: Any) -> Any:
        return self.value < value_of(other)

    def __le__(self, other: Any) -> Any:
        return self.value <= value_of(other)

    def __gt__(self, other: Any) -> Any:
        return self.value > value_of(other)

    def __ge__(self, other: Any) -> Any:
        return self.value >= value_of(other)

    def __eq__(self, other: Any) -> Any:
        return self.value == value_of(other)

    def __ne__(self, other: Any) -> Any:
        return self.value != value_of(other)

    def __getitem__(self, key: Any) -> Any:
        return getitem(self, key)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a 0-d array has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return iter([self[i] for i in range(len(self))])

    def __repr__(self) -> str:
        return f"<recorded {self.value!r}>"

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise TypeError(
            "a recorded array cannot be written to: make a new one, as xp.where(mask, new, old) or xp.concat(parts)"
        )

    def _to_python(self, *_: Any) -> NoReturn:
        raise TypeError(
            "a recorded array is no Python number, and as one it would have no gradient: compute with xp's functions, "
            "branch with xp.where, and return what is to be looked at beside the loss, as (loss, aux)"
        )

    __bool__ = __float__ = __int__ = __complex__ = __index__ = _to_python

    def _to_numpy(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            "a recorded array is no NumPy array, and as one it would have no gradient: use the functions of "
            "backend.xp, as xp.exp(x) for numpy.exp(x), and return what is to be looked at as (loss, aux)"
        )

    __array__ = __array_function__ = __dlpack__ = _to_numpy

    def __getattr__(self, name: str) -> NoReturn:
        hint = "" if name.startswith("_") else f": the array API has functions for methods, as xp.{name}(x)"
        raise AttributeError(f"a recorded array has no attribute {name!r}{hint}")


def value_of(x: Any) -> Any:
    return x.value if isinstance(x, Var) else x


def _no_gradients(grad: Array) -> tuple[Array | None, ...]:
    return ()


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sums a gradient over the axes along which an operand of `shape` was broadcast."""
    if grad.shape == shape:
        return grad
    extra = len(grad.shape) - len(shape)
    xp = namespace_of(grad)
    if len(shape) == 1 and extra == 1 and shape[0] == grad.shape[1]:
        return sums.of_columns(xp, grad, sums.BIAS)  # the gradient of a bias
    axes = (*range(extra), *(extra + i for i, n in enumerate(shape) if n == 1 and grad.shape[extra + i] != 1))
    return xp.reshape(sums.along(xp, grad, axes, keepdims=False), shape) if axes else grad


def binary(
    left: Any,
    right: Any,
    forward: Callable[[Any, Any], Array],
    to_left: Callable[[Array, Any, Any], Array],
    to_right: Callable[[Array, Any, Any], Array],
) -> Var:
    """An elementwise function of two operands, of which one at least is recorded; they broadcast."""
    if not isinstance(right, Var):
        value, shape = left.value, left.value.shape
        return Var(forward(value, right), (left,), lambda g: (unbroadcast(to_left(g, value, right), shape),))
    if not isinstance(left, Var):
        value, shape = right.value, right.value.shape
        return Var(forward(left, value), (right,), lambda g: (unbroadcast(to_right(g, left, value), shape),))
    a, b = left.value, right.value

    def vjp(grad: Array) -> tuple[Array | None, ...]:
        return unbroadcast(to_left(grad, a, b), a.shape), unbroadcast(to_right(grad, a, b), b.shape)

    return Var(forward(a, b), (left, right), vjp)


def unary(x: Any, value: Array, pull: Callable[[Array], Array]) -> Any:
    """`value` as a function of x alone, whose gradient is `pull`; not recorded where x is not."""
    return Var(value, (x,), lambda g: (pull(g),)) if isinstance(x, Var) else value


def add_up(xp: Any, grad: Array, places: Array, shape: tuple[int, ...]) -> Array:
    """Zeros of a shape, to which the gradient is added at element numbers; those that come twice get both."""
    size = 1
    for n in shape:
        size *= n
    total = xp.zeros(size, dtype=grad.dtype)
    # The standard has no such sum. NumPy's and CuPy's ufuncs do.
    xp.add.at(total, xp.reshape(places, (-1,)), xp.reshape(grad, (-1,)))
    return xp.reshape(total, shape)


def moved(xp: Any, x: Any, move: Callable[[Array], Array]) -> Any:
    """`move(x)`, where move takes any array of x's shape and only moves its elements."""
    raw = value_of(x)

    def pull(grad: Array) -> Array:
        return add_up(xp, grad, move(xp.reshape(xp.arange(raw.size), raw.shape)), raw.shape)

    return unary(x, move(raw), pull)


def getitem(x: Var, key: Any) -> Any:
    """x[key] for every index of the standard: numbers, slices, None, ..., and arrays of integers or booleans."""
    keys = key if isinstance(key, tuple) else (key,)
    plain = tuple(value_of(k) for k in keys)
    xp = namespace_of(x.value)
    if any(hasattr(k, "dtype") or isinstance(k, list) for k in plain):
        return moved(xp, x, lambda raw: raw[plain])
    raw = x.value

    def pull(grad: Array) -> Array:
        out = xp.zeros_like(raw, dtype=grad.dtype)
        out[plain] = grad  # no element comes twice
        return out

    return unary(x, xp.asarray(raw[plain]), pull)


def backward(loss: Var, wanted: dict[str, Var], zeros_like: Callable[[Array], Array]) -> dict[str, Array]:
    """Gradients of a 0-d loss in the wanted Vars, zeros where the loss does not depend on one. Uses the tape up."""
    one = namespace_of(loss.value).ones((), dtype=loss.value.dtype, device=loss.value.device)
    grads: dict[int, Array] = {id(loss): one}
    while loss.tape:
        node = loss.tape.pop()
        grad = grads.pop(id(node), None)
        if grad is None:
            continue
        for parent, pulled in zip(node.parents, node.vjp(grad), strict=True):
            held = grads.get(id(parent))
            grads[id(parent)] = pulled if held is None else held + pulled
    return {name: _as_of(var, grads.get(id(var)), name, zeros_like) for name, var in wanted.items()}


def _as_of(var: Var, grad: Array | None, name: str, zeros_like: Callable[[Array], Array]) -> Array:
    """A gradient in its parameter's own dtype, which constants of another one may have changed on the way."""
    if grad is None:
        return zeros_like(var.value)
    if grad.dtype == var.value.dtype:
        return grad
    xp = namespace_of(grad)
    if xp.isdtype(grad.dtype, "complex floating"):
        raise TypeError(
            f"the loss depends on {name!r} through complex numbers, of which the tape takes no gradients: "
            "compute real and imaginary parts apart"
        )
    return xp.astype(grad, var.value.dtype)
