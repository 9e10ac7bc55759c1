"""What one training step computes, as a list of operations on arrays: traced once, while the step runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode

from portgnn.protocol import State, Step

Function = TypeVar("Function", bound=Callable[..., Any])
Shape = tuple[int, ...]
aten = torch.ops.aten


class Untraceable(Exception):
    """The step does something that no persistent kernel is generated for; the message says what."""


def traced(name: str) -> Callable[[Function], Function]:
    """Marks a function that is one operation of a trace, whatever torch or Triton calls it makes."""

    def marked(function: Function) -> Function:
        @wraps(function)
        def called(*args: Any, **options: Any) -> Any:
            mode = _get_current_dispatch_mode()
            if not isinstance(mode, Tracer) or not mode.listening:
                return function(*args, **options)
            mode.listening = False
            try:
                out = function(*args, **options)
            finally:
                mode.listening = True
            mode.whole(name, args, options, out)
            return out

        return cast(Function, called)

    return marked


@dataclass(eq=False)
class Value:
    """Numbers in row-major order: constants, state, or what an operation makes of others.

    rows, columns: how an operation's tasks are laid over it, a row each. tensor: the array that was traced, which holds
    the numbers where they are constant or state, and gives the size where they are not.
    """

    rows: int
    columns: int
    tensor: torch.Tensor
    made_by: Operation | None = None
    state: str | None = None
    superseded: bool = False
    """A later operation has written over its memory."""


@dataclass(frozen=True)
class Operand:
    """A value as an operation reads it: the shape it is seen in, and whether as its own transpose."""

    value: Value
    shape: Shape
    transposed: bool = False


@dataclass(eq=False)
class Operation:
    """rowwise: operands of which row r of the output reads row r alone. whole: those it reads anywhere."""

    name: str
    rowwise: tuple[Operand, ...]
    whole: tuple[Operand, ...]
    outputs: tuple[Value, ...]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return self.outputs[0].rows


@dataclass(frozen=True)
class Key:
    """A dropout key: which of an epoch's."""

    number: int


@dataclass(frozen=True)
class Trace:
    """operations: in the order in which they were called. streams: dropout keys an epoch. metrics: 0-d values."""

    operations: tuple[Operation, ...]
    streams: int
    metrics: tuple[Value, ...]
    state: dict[str, Value]


ELEMENTWISE = {
    aten.add.Tensor: "add",
    aten.sub.Tensor: "sub",
    aten.mul.Tensor: "mul",
    aten.div.Tensor: "div",
    aten.eq.Tensor: "eq",
    aten.relu.default: "relu",
    aten.neg.default: "neg",
    aten.threshold_backward.default: "threshold_backward",
}
SAME = {
    aten.detach.default, aten.alias.default, aten.view.default, aten._unsafe_view.default, aten.expand.default,
    aten.unsqueeze.default, aten.squeeze.dim, aten._reshape_alias.default, aten.lift_fresh.default, aten.clone.default,
}  # fmt: skip
"""Operations that change no number and no order of numbers."""


class Tracer(TorchDispatchMode):
    """Collects operations. Where one has no counterpart, `refused` says so, and the rest is not looked at."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __init__(self, state: State, keys: torch.Tensor) -> None:
        super().__init__()
        self.listening = True
        self.refused: str | None = None
        self.operations: list[Operation] = []
        self._seen: dict[int, Operand | Key] = {}
        self._kept: list[Any] = [keys]  # what has an entry stays alive, or another could get its address
        self._keys = keys
        self._changing: set[int] = set()  # the memory of all that is not constant
        self.state = {name: self._named(tensor, name) for name, tensor in state.items()}

    def _named(self, tensor: torch.Tensor, name: str) -> Value:
        value = Value(*_laid_out(tuple(tensor.shape)), tensor, state=name)
        self._remember(tensor, Operand(value, tuple(tensor.shape)))
        return value

    def _remember(self, tensor: torch.Tensor, seen: Operand | Key) -> None:
        self._seen[id(tensor)] = seen
        self._kept.append(tensor)
        if isinstance(seen, Key) or seen.value.made_by is not None or seen.value.state is not None:
            self._changing.add(tensor.untyped_storage().data_ptr())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if self.listening and self.refused is None:
            try:
                self._record(func, args, kwargs or {}, out)
            except Untraceable as reason:
                self.refused = str(reason)
        return out

    def whole(self, name: str, args: Any, options: Any, out: Any) -> None:
        """Records a call of a function that is marked by `traced`."""
        if self.refused is not None:
            return
        self.listening = False
        try:
            getattr(self, f"_{name}")(*args, **options, out=out)
        except Untraceable as reason:
            self.refused = str(reason)
        finally:
            self.listening = True

    # What is read.

    def operand(self, tensor: torch.Tensor) -> Operand:
        seen = self._seen.get(id(tensor))
        if isinstance(seen, Key):
            raise Untraceable("arithmetic on a dropout key")
        if seen is None:
            # An alias that came by another way than an operation would be frozen at this epoch's values.
            if tensor.untyped_storage().data_ptr() in self._changing:
                raise Untraceable("an array reached an operation under another name")
            if tensor.dtype is torch.bool or tensor.dim() > 2:
                raise Untraceable(f"a constant {tensor.dtype} of shape {tuple(tensor.shape)}")
            value = Value(*_laid_out(tuple(tensor.shape)), tensor.contiguous())
            seen = Operand(value, tuple(tensor.shape))
            self._remember(tensor, seen)
        if seen.value.superseded:
            raise Untraceable("an array is read after another was written over it")
        return seen

    def _scalar(self, number: float) -> Operand:
        like = self.state[next(iter(self.state))].tensor
        return self.operand(torch.full((), float(number), dtype=like.dtype, device=like.device))

    # What is recorded.

    def _add(self, operation: Operation, tensors: Sequence[torch.Tensor]) -> None:
        for value, tensor in zip(operation.outputs, tensors, strict=True):
            value.made_by = operation
            self._remember(tensor, Operand(value, tuple(tensor.shape)))
        self.operations.append(operation)

    def _record(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        if func in ELEMENTWISE:
            self._elementwise(ELEMENTWISE[func], args, kwargs, out)
        elif func in SAME:
            self._same(args[0], out)
        elif func in OTHERS:
            OTHERS[func](self, args, out)
        else:
            raise Untraceable(str(func))

    def _transposed(self, args: Any, out: torch.Tensor) -> None:
        if out.dim() != 2:
            raise Untraceable(f"a permutation of {out.dim()} axes")
        seen = self.operand(args[0])
        self._remember(out, Operand(seen.value, tuple(out.shape), not seen.transposed))

    def _selected(self, args: Any, out: torch.Tensor) -> None:
        if args[0] is not self._keys:
            raise Untraceable("a row that is picked")
        self._remember(out, Key(int(args[2])))

    def _ones(self, args: Any, out: torch.Tensor) -> None:
        """Constants, found so when they are read."""
        if out.dim() != 0:
            raise Untraceable(f"ones of shape {tuple(out.shape)}")

    def _added_in_place(self, args: Any, out: torch.Tensor) -> None:
        if out.dim() != 0:
            raise Untraceable("an addition in place")
        self._in_place("add", args[0], self._read(args[1]))

    def _argmax(self, args: Any, out: torch.Tensor) -> None:
        if args[1:2] not in ((-1,), (1,)) or args[0].dim() != 2:
            raise Untraceable("an argmax of another axis")
        seen = self._straight(args[0])
        self._add(Operation("argmax", (seen,), (), (Value(seen.shape[0], 1, out),)), [out])

    def _same(self, before: torch.Tensor, after: torch.Tensor) -> None:
        if isinstance(self._seen.get(id(before)), Key):
            raise Untraceable("a dropout key in another shape")
        seen = self.operand(before)
        if seen.transposed and after.numel() > 1:
            raise Untraceable("another shape of a transpose")
        if after.numel() != before.numel() and before.numel() != 1:
            raise Untraceable("rows expanded to a matrix")
        self._remember(after, Operand(seen.value, tuple(after.shape) if after.numel() == before.numel() else ()))

    def _straight(self, tensor: torch.Tensor) -> Operand:
        seen = self.operand(tensor)
        if seen.transposed:
            raise Untraceable("a transpose outside a product")
        return seen

    def _read(self, x: Any) -> Operand:
        return self._straight(x) if isinstance(x, torch.Tensor) else self._scalar(x)

    def _in_place(self, name: str, tensor: torch.Tensor, other: Operand) -> None:
        seen = self._straight(tensor)
        value = self._next_of(seen.value)
        self._add(Operation(name, (seen, other), (), (value,)), [tensor])

    def _next_of(self, value: Value) -> Value:
        """The value that is written over another's memory."""
        value.superseded = True
        after = Value(value.rows, value.columns, value.tensor, state=value.state)
        if value.state is not None:
            self.state[value.state] = after
        return after

    def _elementwise(self, name: str, args: Any, kwargs: Any, out: torch.Tensor) -> None:
        if kwargs.get("alpha", 1) != 1 or out.dim() > 2:
            raise Untraceable(f"{name} with {kwargs} of shape {tuple(out.shape)}")
        if name == "threshold_backward":
            if args[2] != 0:
                raise Untraceable("a threshold other than 0")
            args = args[:2]
        read = [self._read(x) for x in args]
        self._add(Operation(name, tuple(read), (), (Value(*_like(out, read), out),)), [out])

    def _product_of_two(self, args: Any, out: torch.Tensor) -> None:
        left, right = (self.operand(each) for each in args)
        value = Value(out.shape[0], out.shape[1], out)
        if left.transposed:
            if right.transposed:
                raise Untraceable("a product of two transposes")
            self._add(Operation("transposed_matmul", (), (left, right), (value,)), [out])
        else:
            self._add(Operation("matmul", (left,), (right,), (value,)), [out])

    def _log_softmax(self, args: Any, out: torch.Tensor) -> None:
        self._along_rows("log_softmax", args[:1], args[1], out)

    def _log_softmax_backward(self, args: Any, out: torch.Tensor) -> None:
        self._along_rows("log_softmax_backward", args[:2], args[2], out)

    def _along_rows(self, name: str, args: Any, axis: int, out: torch.Tensor) -> None:
        if out.dim() != 2 or axis not in (-1, 1):
            raise Untraceable("a softmax of another axis")
        read = tuple(self._straight(x) for x in args)
        self._add(Operation(name, read, (), (Value(out.shape[0], out.shape[1], out),)), [out])

    def _sum(self, args: Any, out: torch.Tensor) -> None:
        seen = self._straight(args[0])
        axes = tuple(args[1]) if len(args) > 1 and args[1] is not None else ()
        if len(axes) == 0 or out.numel() == 1:
            self._add(Operation("sum", (), (seen,), (Value(1, 1, out),)), [out])
        elif len(seen.shape) == 2 and axes == (0,):
            self._add(Operation("column_sums", (), (seen,), (Value(1, seen.shape[1], out),)), [out])
        elif len(seen.shape) == 2 and axes in ((1,), (-1,)):
            self._add(Operation("row_sum", (seen,), (), (Value(seen.shape[0], 1, out),)), [out])
        else:
            raise Untraceable(f"a sum over {axes}")

    # Functions that are marked by `traced`.

    def _spmm(self, handle: Any, x: torch.Tensor, out: torch.Tensor) -> None:
        dropped = self._seen.get(id(handle.values))
        options = {"handle": handle, "dropped": None}
        if isinstance(dropped, Operand) and dropped.value.made_by is not None:
            operation = dropped.value.made_by
            if operation.name != "dropout" or operation.rowwise[0].value.made_by is not None:
                raise Untraceable("a sparse matrix whose values are computed")
            options["dropped"] = operation
        read = self._straight(x)
        self._add(Operation("spmm", (), (read,), (Value(out.shape[0], out.shape[1], out),), options), [out])

    def _dropout(self, x: torch.Tensor, rate: float, key: Any, index: torch.Tensor | None, out: torch.Tensor) -> None:
        number = self._seen.get(id(key))
        if not isinstance(number, Key):
            raise Untraceable("dropout by a key that is not the epoch's")
        seen = self._straight(x)
        options = {"rate": rate, "key": number.number, "index": index}
        self._add(Operation("dropout", (seen,), (), (Value(*_like(out, [seen]), out),), options), [out])

    def _adam(self, params: Any, steps: torch.Tensor, rates: dict[str, float], out: Any) -> None:
        counted = self._straight(steps)
        factors = [steps.new_empty(()), steps.new_empty(())]
        values = tuple(Value(1, 1, factor) for factor in factors)
        self._add(Operation("corrections", (counted,), (), values, dict(rates)), factors)
        for param, grad, m, v, decay in params:
            seen = self.operand(grad)
            if seen.transposed:
                raise Untraceable("the gradient is a transpose")
            read = (self._straight(param), seen, self._straight(m), self._straight(v))
            laid = (seen.value.rows, seen.value.columns)
            after = tuple(self._next_of(each.value) for each in (read[0], read[2], read[3]))
            for value in after:
                value.rows, value.columns = laid
            corrected = tuple(Operand(value, ()) for value in values)
            made = Operation("adam", (*read, *corrected), (), after, {**rates, "decay": decay})
            self._add(made, [param, m, v])


OTHERS: dict[Any, Callable[[Tracer, Any, torch.Tensor], None]] = {
    aten.t.default: Tracer._transposed,
    aten.transpose.int: Tracer._transposed,
    aten.permute.default: Tracer._transposed,
    aten.select.int: Tracer._selected,
    aten.ones_like.default: Tracer._ones,
    aten.add_.Tensor: Tracer._added_in_place,
    aten.mm.default: Tracer._product_of_two,
    aten._log_softmax.default: Tracer._log_softmax,
    aten._log_softmax_backward_data.default: Tracer._log_softmax_backward,
    aten.sum.default: Tracer._sum,
    aten.sum.dim_IntList: Tracer._sum,
    aten.argmax.default: Tracer._argmax,
}


def trace(step: Step, state: State, keys: torch.Tensor) -> Trace:
    """The operations of `step(state, keys)`, which changes state. keys: int32 [streams, 2] on the device.

    Raises Untraceable.
    """
    tracer = Tracer(state, keys)
    with tracer:
        after, measured = step(state, keys)
    if tracer.refused is not None:
        raise Untraceable(tracer.refused)
    if after.keys() != state.keys() or any(value is not state[name] for name, value in after.items()):
        raise Untraceable("the state is not changed in place")
    metrics = tuple(tracer.operand(each).value for each in measured)
    return Trace(tuple(tracer.operations), len(keys), metrics, tracer.state)


def _laid_out(shape: Shape) -> tuple[int, int]:
    """Rows and columns of an array that no operation made: a vector is one row."""
    if len(shape) == 2:
        return shape[0], shape[1]
    return 1, shape[0] if shape else 1


def _like(out: torch.Tensor, read: Sequence[Operand]) -> tuple[int, int]:
    """Rows and columns of an elementwise result. A vector is laid out as those that it is made of."""
    if out.dim() == 2:
        return out.shape[0], out.shape[1]
    for operand in read:
        if operand.value.made_by is not None and operand.value.tensor.numel() == out.numel():
            return operand.value.rows, operand.value.columns
    return _laid_out(tuple(out.shape))
