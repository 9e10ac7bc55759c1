"""A small reverse-mode tape over any array-API namespace.

`Var` wraps an array and remembers how it was made; operators and the functions of `TapeNamespace` record.
Operations on plain arrays pass straight through, so the same model code evaluates without a tape when none
of its inputs is a `Var`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

from portgnn.protocol import Array

Vjp = Callable[[Array], tuple[Array | None, ...]]


class Var:
    """A recorded array: `value`, the Vars it was made from, and the rule that pulls a gradient back to them.

    tape: all Vars of one function in the order in which they were made, which is an order for the way back too.
    """

    __slots__ = ("parents", "tape", "value", "vjp")
    tape: list[Var]
    __array_ufunc__ = None  # makes `ndarray * Var` call Var.__rmul__ and not broadcast over objects

    def __init__(self, value: Array, parents: tuple[Var, ...], vjp: Vjp) -> None:
        self.value, self.parents, self.vjp = value, parents, vjp
        self.tape = parents[0].tape
        self.tape.append(self)

    @classmethod
    def leaf(cls, value: Array, tape: list[Var]) -> Var:
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
    def dtype(self) -> Any:
        return self.value.dtype

    def __add__(self, other: Any) -> Var:
        return _binary(self, other, lambda a, b: a + b, lambda g, a, b: g, lambda g, a, b: g)

    def __sub__(self, other: Any) -> Var:
        return _binary(self, other, lambda a, b: a - b, lambda g, a, b: g, lambda g, a, b: -g)

    def __rsub__(self, other: Any) -> Var:
        return _binary(other, self, lambda a, b: a - b, lambda g, a, b: g, lambda g, a, b: -g)

    def __mul__(self, other: Any) -> Var:
        return _binary(self, other, lambda a, b: a * b, lambda g, a, b: g * b, lambda g, a, b: g * a)

    def __truediv__(self, other: Any) -> Var:
        return _binary(self, other, lambda a, b: a / b, lambda g, a, b: g / b, lambda g, a, b: -g * a / (b * b))

    def __rtruediv__(self, other: Any) -> Var:
        return _binary(other, self, lambda a, b: a / b, lambda g, a, b: g / b, lambda g, a, b: -g * a / (b * b))

    def __pow__(self, power: float) -> Var:
        x = self.value
        return Var(x**power, (self,), lambda g: (g * (power * x ** (power - 1)),))

    def __neg__(self) -> Var:
        return Var(-self.value, (self,), lambda g: (-g,))

    def __matmul__(self, other: Any) -> Any:
        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return matmul(other, self)

    __radd__ = __add__
    __rmul__ = __mul__


def value_of(x: Any) -> Any:
    return x.value if isinstance(x, Var) else x


def _no_gradients(grad: Array) -> tuple[Array | None, ...]:
    return ()


def _unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sums a gradient over the axes along which an operand of `shape` was broadcast."""
    if grad.shape == shape:
        return grad
    extra = len(grad.shape) - len(shape)
    if len(shape) == 1 and extra == 1 and shape[0] == grad.shape[1]:
        # The gradient of a bias. As a product it takes NumPy a seventh of the time of its sum over rows.
        ones = array_namespace(grad).ones(grad.shape[0], dtype=grad.dtype)
        return ones @ grad
    axes = (*range(extra), *(extra + i for i, n in enumerate(shape) if n == 1 and grad.shape[extra + i] != 1))
    return grad.sum(axis=axes).reshape(shape) if axes else grad


def _binary(
    left: Any,
    right: Any,
    forward: Callable[[Any, Any], Array],
    to_left: Callable[[Array, Any, Any], Array],
    to_right: Callable[[Array, Any, Any], Array],
) -> Var:
    a, b = value_of(left), value_of(right)
    sides = [(rule, x) for rule, x in ((to_left, left), (to_right, right)) if isinstance(x, Var)]

    def vjp(grad: Array) -> tuple[Array | None, ...]:
        return tuple(_unbroadcast(rule(grad, a, b), x.value.shape) for rule, x in sides)

    return Var(forward(a, b), tuple(x for _, x in sides), vjp)


def matmul(a: Any, b: Any) -> Any:
    """a @ b for 2-d operands of which any may be recorded."""
    x, y = value_of(a), value_of(b)
    sides = [(i, v) for i, v in enumerate((a, b)) if isinstance(v, Var)]
    if not sides:
        return x @ y
    rules = (lambda g: g @ y.T, lambda g: x.T @ g)
    return Var(x @ y, tuple(v for _, v in sides), lambda g: tuple(rules[i](g) for i, _ in sides))


def unary(x: Any, value: Array, pull: Callable[[Array], Array]) -> Any:
    """`value` as a function of x alone, whose gradient is `pull`; not recorded where x is not."""
    return Var(value, (x,), lambda g: (pull(g),)) if isinstance(x, Var) else value


def backward(loss: Var, wanted: dict[str, Var], zeros_like: Callable[[Array], Array]) -> dict[str, Array]:
    """Gradients of a 0-d loss in the wanted Vars, zeros where the loss does not depend on one. Uses the tape up."""
    grads: dict[int, Array] = {id(loss): zeros_like(loss.value) + 1}
    while loss.tape:
        node = loss.tape.pop()
        grad = grads.pop(id(node), None)
        if grad is None:
            continue
        for parent, pulled in zip(node.parents, node.vjp(grad), strict=True):
            held = grads.get(id(parent))
            grads[id(parent)] = pulled if held is None else held + pulled
    return {name: grads[id(var)] if id(var) in grads else zeros_like(var.value) for name, var in wanted.items()}


class TapeNamespace:
    """The array API standard's functions, recording where an argument is a `Var`.

    Functions without a gradient (comparisons, argmax, creation) are the namespace's own. One that has a
    gradient but no rule here raises TypeError from the namespace when it meets a Var, never a wrong number.
    """

    def __init__(self, xp: Any) -> None:
        self._xp = xp

    def __getattr__(self, name: str) -> Any:
        return getattr(self._xp, name)

    def exp(self, x: Any) -> Any:
        value = self._xp.exp(value_of(x))
        return unary(x, value, lambda g: g * value)

    def log(self, x: Any) -> Any:
        raw = value_of(x)
        return unary(x, self._xp.log(raw), lambda g: g / raw)

    def sqrt(self, x: Any) -> Any:
        value = self._xp.sqrt(value_of(x))
        return unary(x, value, lambda g: g / (2 * value))

    def abs(self, x: Any) -> Any:
        raw = value_of(x)
        return unary(x, self._xp.abs(raw), lambda g: g * self._xp.sign(raw))

    def sum(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        raw = value_of(x)
        value = self._xp.sum(raw, axis=axis, keepdims=keepdims)

        def pull(grad: Array) -> Array:
            if axis is not None and not keepdims:
                grad = self._xp.expand_dims(grad, axis=axis)
            return self._xp.broadcast_to(grad, raw.shape)

        return unary(x, value, pull)

    def mean(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        total = self.sum(x, axis=axis, keepdims=keepdims)
        count = value_of(x).size / max(value_of(total).size, 1)
        return total / count
