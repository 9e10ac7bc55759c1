"""Training epochs on the CPU without autograd: one step is recorded as the operations that it was, then they are
called again.

On a small graph autograd's bookkeeping and the model's Python take longer than the arithmetic. The recording is to
the CPU what a CUDA graph is to the GPU (`portgnn_torch.graphs`): the same operations, in the same order, on the same
arrays, so the same bits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NoReturn, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

from portgnn.parts import seen_equal
from portgnn.protocol import State, Step
from portgnn.random import BLOCK

WORTH_RECORDING = 8
"""Epochs in one call from which on a step is recorded. The training loop asks for few where an epoch is long, and
there is nothing to gain then: the arithmetic is what takes the time."""

Make = Callable[[NDArray[np.uint32], torch.Tensor | None], torch.Tensor]
"""From keys [epochs, 2] and the numbers of elements, if it needs any, to one input an epoch, [epochs, …]."""

VALUELESS = (torch.ops.aten.ones_like.default,)
"""Operations whose result does not depend on values: computed once. Nothing writes into what these made."""


_ATEN = torch.ops.aten
SHORT = {
    _ATEN.add.Tensor: torch.add,
    _ATEN.add_.Tensor: torch.Tensor.add_,
    _ATEN.argmax.default: torch.argmax,
    _ATEN.eq.Tensor: torch.eq,
    _ATEN.mm.default: torch.mm,
    _ATEN.mul.Tensor: torch.mul,
    _ATEN.relu.default: torch.relu,
    _ATEN.sub.Tensor: torch.sub,
    _ATEN.sum.default: torch.sum,
    _ATEN.sum.dim_IntList: torch.sum,
    _ATEN.t.default: torch.t,
    _ATEN.view.default: torch.Tensor.view,
    _ATEN._log_softmax.default: torch._log_softmax,
    _ATEN._log_softmax_backward_data.default: torch._log_softmax_backward_data,
}
"""Operations -> functions that do the same of the same positional arguments, and are called in half the time."""

Function = TypeVar("Function", bound=Callable[..., torch.Tensor])
Bind = Callable[..., Callable[..., torch.Tensor] | None]
"""From the arguments of a function, None for the tensors that are others in each epoch, and what it gave of them, to
what does the same of those tensors alone and may give the same array each time; None where there is no such thing."""

_THREAD = threading.local()


class Unrecordable(Exception):
    """The step did something that cannot be called again from a list of operations."""


class RecordedKey:
    """A dropout key inside a recording. What is made from it is an input, made anew for each epoch."""

    def __init__(self, recorder: Recorder, layer: int, words: NDArray[np.uint32]) -> None:
        self._recorder, self._layer, self._words = recorder, layer, words

    def __getitem__(self, at: int) -> NoReturn:
        raise Unrecordable("the words of a key are other ones in each epoch")

    def input(self, make: Make, index: torch.Tensor | None) -> torch.Tensor:
        """What `make` makes of this key and of numbers of elements, now and of their like in every epoch to come."""
        self._recorder.listening = False
        tensor = make(self._words[None], index)[0]
        self._recorder.listening = True
        self._recorder.inputs.append((self._layer, make, index))
        self._recorder.input_sizes.append(tensor.numel())
        self._recorder.name(tensor, f"i{len(self._recorder.inputs) - 1}")
        return tensor


def opaque(bind: Bind) -> Callable[[Function], Function]:
    """The function of tensors and constants as one operation of a recording, whatever it does; it returns a new tensor.

    bind: see `Bind`.
    """

    def made(function: Function) -> Function:
        @wraps(function)
        def called(*args: Any) -> torch.Tensor:
            recorder = getattr(_THREAD, "recorder", None)
            return (
                function(*args) if recorder is None or not recorder.listening else recorder.called(function, args, bind)
            )

        return cast(Function, called)

    return made


class Recorder(TorchDispatchMode):
    """Collects the operations that torch executes, as lines of a function."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch.compile is not at work here, and what keeps it off takes a second to import.
        return False

    def __init__(self) -> None:
        super().__init__()
        self.listening = True
        self.inputs: list[tuple[int, Make, torch.Tensor | None]] = []
        self.input_sizes: list[int] = []
        self.lines: list[tuple[str, tuple[str, ...], str]] = []  # (names set, names read, expression)
        self.constants: dict[str, Any] = {}
        self._names: dict[int, str] = {}
        self._kept: list[Any] = []  # what has a name stays alive, or another could get its address
        self._storages: set[int] = set()
        self._bound: dict[int, str] = {}  # other expressions for lines, by number
        self._held: set[int] = set()  # storages that these give each time

    def __enter__(self) -> Any:
        _THREAD.recorder = self
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        _THREAD.recorder = None
        super().__exit__(*error)

    def called(self, function: Callable[..., torch.Tensor], args: Any, bind: Bind) -> torch.Tensor:
        """What a function gives, which is called again as one."""
        read: list[str] = []
        parts = [self._expression(x, read) for x in args]
        moving = [part for part in parts if part in read and part not in self.constants]
        self.listening = False
        try:
            out = function(*args)
            bound = bind([None if part in moving else x for part, x in zip(parts, args, strict=True)], out)
        finally:
            self.listening = True
        number = len(self.lines)
        if bound is not None:
            self._bound[number] = f"{self.constant(bound)}({', '.join(moving)})"
            self._held.add(out.untyped_storage().data_ptr())
        self.name(out, f"t{number}_0")
        self.lines.append((f"t{number}_0", tuple(read), f"{self.constant(function)}({', '.join(parts)})"))
        return out

    def name(self, tensor: torch.Tensor, name: str) -> None:
        self._names[id(tensor)] = name
        self._kept.append(tensor)
        if tensor.layout is torch.strided:
            self._storages.add(tensor.untyped_storage().data_ptr())

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        if isinstance(value, torch.Tensor):
            self._names[id(value)] = name
        self._kept.append(value)
        return name

    def read(self, tensor: torch.Tensor) -> str:
        """The name of a tensor; one that was there before the step is a constant."""
        known = self._names.get(id(tensor))
        if known is not None:
            return known
        # An alias that came by another way than an operation would be frozen at this epoch's values.
        if tensor.layout is torch.strided and tensor.untyped_storage().data_ptr() in self._storages:
            raise Unrecordable("an array reached an operation under another name")
        return self.constant(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not self.listening:
            return out
        if func is _ATEN.detach.default or (func is _ATEN.view.default and _is_laid_out_as(out, args[0])):
            self.name(out, self.read(args[0]))  # without autograd, its input
            return out
        made = list(out) if isinstance(out, tuple | list) else [out]
        if any(x is not None and not isinstance(x, torch.Tensor) for x in made):
            raise Unrecordable(f"{func} hands a number to Python")
        read: list[str] = []
        parts = [self._expression(x, read) for x in args]
        parts += [f"{name}={self._expression(x, read)}" for name, x in (kwargs or {}).items()]
        fixed = bool(read) and all(name in self.constants for name in read)
        if (func.is_view and fixed and isinstance(out, torch.Tensor)) or func in VALUELESS:
            self.constant(out)
            return out
        # In place: the result is the array that came in, and has its name.
        fresh = [x for x in made if x is not None and id(x) not in self._names]
        number = len(self.lines)
        for at, x in enumerate(fresh):
            self.name(x, f"t{number}_{at}")
        targets = ", ".join("_" if x is None else self._names[id(x)] for x in made)
        if isinstance(out, tuple | list) and made:
            targets += ","
        function = func if kwargs else SHORT.get(func, func)
        line = f"{self.constant(function)}({', '.join(parts)})"
        self.lines.append((targets if fresh else "", tuple(read), line))
        return out

    def _expression(self, value: Any, read: list[str]) -> str:
        if isinstance(value, torch.Tensor):
            read.append(self.read(value))
            return read[-1]
        if isinstance(value, tuple | list) and any(isinstance(x, torch.Tensor) for x in value):
            return f"[{', '.join(self._expression(x, read) for x in value)}]"
        return repr(value) if value is None or type(value) in (bool, int) else self.constant(value)

    def program(
        self, results: Sequence[torch.Tensor], arguments: Sequence[str] = ()
    ) -> Callable[..., list[torch.Tensor]]:
        """A function of `arguments`, by their names, and the inputs that calls all operations again and returns the
        results.

        Python source rather than a list that is walked: for some forty short operations the walk would cost a tenth
        of the step. Arrays are let go after their last use, as in the step itself.
        """
        returned = [self.read(x) for x in results]
        # What is given back must be no array that the next epoch writes into.
        is_apart = all(x.layout is torch.strided and x.untyped_storage().data_ptr() not in self._held for x in results)
        bound = self._bound if is_apart and not arguments else {}
        last = {name: at for at, (_, read, _) in enumerate(self.lines) for name in read}
        body = []
        for at, (targets, read, expression) in enumerate(self.lines):
            expression = bound.get(at, expression)
            body.append(f"{targets} = {expression}" if targets else expression)
            done = {x for x in (*read, *targets.rstrip(",").split(", ")) if x[:1] == "t" and last.get(x, at) == at}
            body += [f"del {', '.join(sorted(done - set(returned)))}"] if done - set(returned) else []
        given = ", ".join([*arguments, *(f"i{at}" for at in range(len(self.inputs)))])
        body.append(f"return [{', '.join(returned)}]")
        source = f"def program({given}):\n" + "".join(f"    {line}\n" for line in body)
        names = dict(self.constants)
        exec(compile(source, "<a recorded training step>", "exec"), names)
        made: Callable[..., list[torch.Tensor]] = names["program"]
        return made


class Recording:
    """A step on arrays of its own, ready to be called again."""

    def __init__(self, step: Step, state: State, keys: NDArray[np.uint32]) -> None:
        """keys: [layers, 2]. Raises Unrecordable, or what the step raises where it cannot work with recorded keys."""
        self.state = {name: value.clone() for name, value in state.items()}
        recorder = Recorder()
        with recorder:
            after, measured = step(self.state, [RecordedKey(recorder, at, words) for at, words in enumerate(keys)])
            if after.keys() != self.state.keys():
                raise Unrecordable("the state has other names after the step")
            changed = {name: value for name, value in after.items() if value is not self.state[name]}
            # Arrays may have changed places: none is written before all are read.
            apart = {name: value.clone() if _is_any(value, self.state) else value for name, value in changed.items()}
            for name, value in apart.items():
                self.state[name].copy_(value)
        self._inputs = recorder.inputs
        self._program = recorder.program(measured)
        # Epochs whose inputs are made together: as many as stay in a core's cache.
        self._together = max(1, BLOCK // max([1, *recorder.input_sizes]))

    def fill(self, state: State) -> None:
        for name, value in state.items():
            self.state[name].copy_(value)

    def __call__(self, keys: NDArray[np.uint32]) -> NDArray[np.float64]:
        """Epochs, one for each of keys [epochs, layers, 2]: changes `state`, returns the metrics of each."""
        metrics: list[list[torch.Tensor]] = []
        with torch.no_grad():
            for start in range(0, len(keys), self._together):
                part = keys[start : start + self._together]
                made = [make(part[:, layer], index).unbind() for layer, make, index in self._inputs]
                metrics += [self._program(*[each[epoch] for each in made]) for epoch in range(len(part))]
        return on_host(metrics)

    def copy(self) -> State:
        return {name: value.clone() for name, value in self.state.items()}


def recorded(step: Step, state: State, keys: NDArray[np.uint32]) -> Recording:
    """A recording of the step that was seen to give the step's own bits. Raises where there is none."""
    # Outside the recording once: what is made on its first use, as a large transpose, is no part of a step.
    step({name: value.clone() for name, value in state.items()}, keys.tolist())
    return seen_equal(Recording(step, state, keys), step, keys, same_tensors)


def on_host(metrics: Sequence[Sequence[torch.Tensor]]) -> NDArray[np.float64]:
    """Metrics of epochs, 0-d tensors of the CPU, as [epochs, number of metrics]."""
    return np.array([[value.item() for value in row] for row in metrics], dtype=np.float64)


def _is_laid_out_as(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and a.stride() == b.stride()


def _is_any(value: torch.Tensor, state: State) -> bool:
    return any(value is each for each in state.values())


def same_tensors(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether both have the same bits, or NaN at the same places."""
    return a.dtype == b.dtype and a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())
