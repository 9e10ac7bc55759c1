"""Training epochs without the tape: one step is recorded as the calls to NumPy that it was, then these are made again.

On a small graph the tape's and the model's Python take longer than the arithmetic. While a step is recorded its arrays
are `Traced`, NumPy arrays that write down what is done to them. The same functions are then called in the same order,
each into the array that it made when it was recorded, so the same bits come out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NoReturn, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from portgnn.parts import seen_equal
from portgnn.protocol import State, Step

WORTH_RECORDING = 8
"""Epochs in one call from which on a step is recorded. The training loop asks for few where an epoch is long, and
there is nothing to gain then: the arithmetic is what takes the time."""
LARGEST = 1 << 26
"""Bytes of results beyond which a step is not recorded, since each keeps its place."""

METADATA = frozenset((np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj))
"""Functions whose results depend on no values."""
METHODS = (
    "__getitem__", "argmax", "argmin", "astype", "copy", "cumsum", "diagonal", "flatten", "ravel", "repeat", "reshape",
    "squeeze", "swapaxes", "take", "trace", "transpose", "view",
)  # fmt: skip
"""Methods of arrays that call no ufunc, and are written down themselves."""

Make = Callable[[Any, NDArray[Any] | None], NDArray[Any]]
"""From a key's words to an array: a new one, or the one that is given to be filled."""

Function = TypeVar("Function", bound=Callable[..., Any])

_THREAD = threading.local()


class Unrecordable(Exception):
    """The step did something that cannot be done again from a list of calls."""


class Traced(np.ndarray[Any, Any]):
    """An array during a recording. `plain`, the array itself, is what NumPy's functions get."""

    plain: NDArray[Any]
    recorder: Recorder

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        if out is None and method in ("__call__", "reduce") and ufunc.nout == 1:
            return self.recorder.computed(function, inputs, options)
        if out is not None:
            options["out"] = out[0] if len(out) == 1 else out
        return self.recorder.call(function, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in METADATA:
            return function(*_plain(args), **_plain(kwargs))
        return self.recorder.call(function, args, kwargs)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.recorder.call(np.ndarray.__setitem__, (self, key, value), {})

    def fill(self, value: Any) -> None:
        self.recorder.call(np.ndarray.fill, (self, value), {})

    @property
    def T(self) -> Any:
        return self.recorder.call(np.ndarray.transpose, (self,), {})

    @property
    def mT(self) -> Any:
        return self.recorder.call(np.ndarray.swapaxes, (self, -1, -2), {})

    def _to_python(self, *_: Any) -> NoReturn:
        raise Unrecordable("a number is handed to Python")

    __bool__ = __float__ = __int__ = __index__ = __complex__ = __iter__ = item = tolist = _to_python


def _method(name: str) -> Callable[..., Any]:
    function = getattr(np.ndarray, name)
    return lambda self, *args, **options: self.recorder.call(function, (self, *args), options)


for _name in METHODS:
    setattr(Traced, _name, _method(_name))


def opaque(function: Function) -> Function:
    """The function as one call of a recording, whatever it does; for those that hand arrays to other code than NumPy's.

    What it writes, and an array that it returns, are among its arguments.
    """

    @wraps(function)
    def called(*args: Any) -> Any:
        recorder = getattr(_THREAD, "recorder", None)
        return function(*args) if recorder is None else recorder.call(function, args, {})

    return cast(Function, called)


def is_array(value: Any, own: NDArray[Any]) -> bool:
    """Whether a value is this array, or stands for it in a recording."""
    return value is own or getattr(value, "plain", None) is own


class RecordedKey:
    """A dropout key inside a recording. What is made from it is made anew in each epoch."""

    def __init__(self, recorder: Recorder, layer: int, words: Sequence[int]) -> None:
        self._recorder, self._layer, self._words = recorder, layer, words

    def __getitem__(self, at: int) -> NoReturn:
        raise Unrecordable("the words of a key are other ones in each epoch")

    def input(self, make: Make) -> Any:
        """What `make` makes of this key's words, now and of its like in every epoch to come."""
        out = make(self._words, None)
        return self._recorder.filled(out, f"{self._recorder.constant(make)}(keys[{self._layer}], {{}})")


def made(key: Any, make: Make) -> Any:
    """`make(key, None)`; inside a recording, in each of its epochs."""
    return key.input(make) if isinstance(key, RecordedKey) else make(key, None)


class Recorder:
    """Collects what is done to traced arrays, as lines of a function."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {}
        self._traced: dict[int, Traced] = {}  # by the id of the plain array, which they keep alive
        self._names: dict[int, str] = {}
        self._moving: set[str] = set()  # names of arrays that are made anew in each epoch
        self._roots: set[int] = set()
        self._bytes = 0

    def constant(self, value: Any) -> str:
        known = self._names.get(id(value))
        if known is None:
            known = self._names[id(value)] = f"c{len(self.constants)}"
            self.constants[known] = value
        return known

    def traced(self, plain: NDArray[Any]) -> Traced:
        """The array as one whose use is written down."""
        found = self._traced.get(id(plain))
        if found is None:
            found = self._traced[id(plain)] = plain.view(Traced)
            found.plain, found.recorder = plain, self
            self._roots.add(id(_root(plain)))
        return found

    def kept(self, value: Any, expression: str) -> Traced:
        """An array that an expression makes anew in each epoch."""
        plain = np.asarray(value)
        name = self._names[id(plain)] = f"t{len(self.lines)}"
        self._moving.add(name)
        self.lines.append(f"{name} = {expression}")
        return self.traced(plain)

    def filled(self, out: NDArray[Any], expression: str) -> Traced:
        """An array that an expression, in which its own name is left open, fills in each epoch."""
        self.lines.append(expression.format(self.constant(out)))
        return self.traced(out)

    def computed(self, function: Any, inputs: Any, options: Any) -> Traced:
        """What a ufunc gives; in each epoch it is written into the array that it is now."""
        out = np.asarray(function(*_plain(inputs), **_plain(options)))
        self._bytes += out.nbytes
        if self._bytes > LARGEST:
            raise Unrecordable("the results are too large to keep each in its place")
        found = self.traced(out)
        self.lines.append(self._expression(function, inputs, options | {"out": found}))
        return found

    def call(self, function: Any, args: Any, options: Any) -> Any:
        """What a function does or gives: nothing, one of its arguments, a view of one, or a new array."""
        plain, plain_options = _plain(args), _plain(options)
        _THREAD.recorder = None  # what the function itself calls is part of it
        try:
            result = function(*plain, **plain_options)
        finally:
            _THREAD.recorder = self
        expression = self._expression(function, args, options)
        arrays = [x for x in (*plain, *plain_options.values()) if isinstance(x, np.ndarray)]
        if result is None or any(result is x for x in arrays):
            self.lines.append(expression)
            return None if result is None else self.traced(result)
        if not isinstance(result, np.ndarray | np.generic):
            raise Unrecordable(f"{function} gives no array")
        owners = [x for x in arrays if isinstance(result, np.ndarray) and _root(x) is _root(result)]
        if owners and not any(self._names.get(id(x)) in self._moving for x in owners):
            return self.traced(cast(Any, result))  # a view of what stays where it is
        return self.kept(result, expression)

    def _expression(self, function: Any, args: Any, options: Any) -> str:
        parts = [self._written(value) for value in args]
        parts += [f"{name}={self._written(value)}" for name, value in options.items()]
        return f"{self.constant(function)}({', '.join(parts)})"

    def _written(self, value: Any) -> str:
        if isinstance(value, Traced):
            return self.constant(_plain(value))
        if isinstance(value, np.ndarray) and id(value) not in self._names and id(_root(value)) in self._roots:
            raise Unrecordable("an array is used under another name")
        if isinstance(value, tuple | list) and any(isinstance(x, Traced) for x in value):
            parts = ", ".join(map(self._written, value))
            return f"[{parts}]" if isinstance(value, list) else f"({parts},)"
        if isinstance(value, dict) and any(isinstance(x, Traced) for x in value.values()):
            return f"{{{', '.join(f'{name!r}: {self._written(x)}' for name, x in value.items())}}}"
        return repr(value) if value is None or type(value) in (bool, int) else self.constant(value)

    def program(self, metrics: Sequence[Any]) -> Callable[[Sequence[Any]], list[float]]:
        """A function of an epoch's keys that makes all calls again and gives the metrics.

        Python source rather than a list that is walked: for some fifty short calls the walk would cost a tenth of them.
        """
        returned = ", ".join(f"float({self._written(value)})" for value in metrics)
        source = "def program(keys):\n" + "".join(f"    {line}\n" for line in (*self.lines, f"return [{returned}]"))
        names = dict(self.constants)
        exec(compile(source, "<a recorded training step>", "exec"), names)
        made: Callable[[Sequence[Any]], list[float]] = names["program"]
        return made


def _plain(value: Any) -> Any:
    """A value, with the plain arrays for traced ones."""
    if isinstance(value, Traced):
        if "plain" not in value.__dict__:
            raise Unrecordable("an array came by another way than a call that was seen")
        return value.plain
    if isinstance(value, tuple | list):
        return type(value)(map(_plain, value)) if not hasattr(value, "_fields") else value
    if isinstance(value, dict):
        return {name: _plain(x) for name, x in value.items()}
    return value


def _root(array: Any) -> Any:
    """The array that owns an array's memory."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class Recording:
    """A step on arrays of its own, ready to be called again."""

    def __init__(self, step: Step, state: State, keys: Sequence[Any]) -> None:
        """state: nobody else's. keys: [layers, 2]. Raises Unrecordable, or what the step raises on traced arrays."""
        # As the optimizer likes its arrays to lie, which it decides in the first step.
        self.state = {name: np.asarray(value) for name, value in step(state, keys)[0].items()}
        recorder = _THREAD.recorder = Recorder()
        try:
            given = {name: recorder.traced(value) for name, value in self.state.items()}
            after, measured = step(given, [RecordedKey(recorder, at, words) for at, words in enumerate(keys)])
            if after.keys() != given.keys():
                raise Unrecordable("the state has other names after the step")
            changed = {name: value for name, value in after.items() if not is_array(value, self.state[name])}
            # Arrays may have changed places: none is written before all are read.
            apart = {
                name: value.copy() if any(is_array(value, own) for own in self.state.values()) else value
                for name, value in changed.items()
            }
            for name, value in apart.items():
                recorder.call(np.copyto, (given[name], value), {})
            self._program = recorder.program(measured)
            self.lines, self.names = recorder.lines, recorder.constants  # for those who look at what a step is
        finally:
            _THREAD.recorder = None

    def fill(self, state: State) -> None:
        for name, value in state.items():
            np.copyto(self.state[name], value)

    def __call__(self, keys: NDArray[np.uint32]) -> NDArray[np.float64]:
        """Epochs, one for each of keys [epochs, layers, 2]: changes `state`, returns the metrics of each."""
        return np.array([self._program(row) for row in keys.tolist()], dtype=np.float64)

    def copy(self) -> State:
        return _copied(self.state)


def recorded(step: Step, state: State, keys: NDArray[np.uint32]) -> Recording:
    """A recording of the step that was seen to give the step's own bits. Raises where there is none."""
    return seen_equal(Recording(step, _copied(state), keys.tolist()), step, keys, _same)


def _copied(state: State) -> State:
    return {name: np.array(value) for name, value in state.items()}


def _same(a: Any, b: Any) -> bool:
    return np.array_equal(a, b, equal_nan=True)
