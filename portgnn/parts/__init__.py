"""Ready-made parts for adapters, written over the array API alone. An adapter takes them or brings its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.parts._edges import (
    EdgeVerbs as EdgeVerbs,
)
from portgnn.parts._edges import (
    PlainEdges as PlainEdges,
)
from portgnn.parts._edges import (
    attended as attended,
)
from portgnn.parts._edges import (
    by_head as by_head,
)
from portgnn.parts._edges import (
    elu as elu,
)
from portgnn.parts._edges import (
    matmul_add as matmul_add,
)
from portgnn.parts._edges import (
    message_passing as message_passing,
)
from portgnn.parts._edges import (
    propagated as propagated,
)
from portgnn.parts._edges import (
    provides as provides,
)
from portgnn.parts._faster import (
    EpochProgram as EpochProgram,
)
from portgnn.parts._faster import (
    FasterRun as FasterRun,
)
from portgnn.parts._faster import (
    other_keys as other_keys,
)
from portgnn.parts._faster import (
    seen_equal as seen_equal,
)
from portgnn.protocol import CSR, Backend, BatchRun, BatchStep, Optimizer, Params, Run, State, Step, Transposing

Array: TypeAlias = Any
"""An adapter's own array: whoever takes a part here has its framework's."""


class Adam:
    """Bias-corrected Adam (Kingma & Ba 2015, Algorithm 1) as pure functions of array-API operators.

    The corrections 1 - beta**t are carried in the state by c <- beta * c + (1 - beta): a sum of positive
    terms, where 1 - beta**t itself would lose four digits of float32 in the first steps.
    """

    def __init__(
        self,
        zeros: Callable[[tuple[int, ...]], Array],
        sqrt: Callable[[Array], Array],
        learning_rate: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: Mapping[str, float] | None,
    ) -> None:
        """zeros: makes zeros of a shape on the device. sqrt: the namespace's square root."""
        self._zeros, self._sqrt = zeros, sqrt
        self._rate, self._beta1, self._beta2, self._eps = learning_rate, beta1, beta2, eps
        self._decay = {name: value for name, value in (weight_decay or {}).items() if value}

    def init(self, params: Params) -> State:
        state = {f"m.{name}": self._zeros(value.shape) for name, value in params.items()}
        state |= {f"v.{name}": self._zeros(value.shape) for name, value in params.items()}
        return state | {"c1": self._zeros(()), "c2": self._zeros(())}

    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        c1, c2 = self._corrections(state)
        rate = self._rate / c1
        after: State = {"c1": c1, "c2": c2}
        updated: Params = {}
        for name, value in params.items():
            grad = grads[name]
            if name in self._decay:
                grad = grad + self._decay[name] * value
            m = state[f"m.{name}"] * self._beta1 + grad * (1.0 - self._beta1)
            v = state[f"v.{name}"] * self._beta2 + (grad * grad) * (1.0 - self._beta2)
            updated[name] = value - (m * rate) / (self._sqrt(v / c2) + self._eps)
            after[f"m.{name}"], after[f"v.{name}"] = m, v
        return updated, after

    def _corrections(self, state: State) -> tuple[Array, Array]:
        """1 - beta1**t and 1 - beta2**t after this step."""
        c1 = state["c1"] * self._beta1 + (1.0 - self._beta1)
        return c1, state["c2"] * self._beta2 + (1.0 - self._beta2)


def checked_loss(result: Any) -> tuple[Array, Any]:
    """What a `portgnn.protocol.LossFn` returned, after a look; for an adapter's `value_and_grad`.

    Raises TypeError, saying what came and what to do, unless it is (loss, aux) with one real floating number as a 0-d
    array. Frameworks take more, each something else, and what they then return is no gradient of a loss.
    """
    if not isinstance(result, tuple) or len(result) != 2:
        found = f"{len(result)} values" if isinstance(result, tuple) else f"a {type(result).__name__}"
        raise TypeError(f"a loss function returns (loss, aux), and this one gave {found}: return loss, None")
    loss = result[0]
    shape, dtype = getattr(loss, "shape", None), getattr(loss, "dtype", None)
    if shape is None or dtype is None:
        raise TypeError(
            f"a loss is a 0-d array, and this one is the {type(loss).__name__} {loss!r:.40}: make it from arrays, as "
            "xp.sum(x) or xp.mean(x)"
        )
    if len(shape):
        raise TypeError(
            f"a loss is a 0-d array, and this one has shape {list(shape)}: reduce it, as xp.sum(loss) or xp.mean(loss)"
        )
    if not _is_floating(dtype):
        raise TypeError(
            f"a loss is real and floating, and this one is of dtype {dtype}: compute it from floating arrays"
        )
    return loss, result[1]


@lru_cache(maxsize=64)
def _is_floating(dtype: object) -> bool:
    """Kept: a loss is looked at in each step, and NumPy takes as long to name a dtype as to add two matrices."""
    # Written out, some are <dtype: 'float32'>, whose name is float32.
    return str(getattr(dtype, "name", dtype)).rpartition(".")[2].startswith(("float", "bfloat", "half", "double"))


def host_threads() -> int:
    """How many threads work on the host may take: as many as BLAS is told to (OMP_NUM_THREADS), or the cores it has."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isdigit() and int(asked):
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(shares: Sequence[Callable[[], None]]) -> None:
    """Calls each of the functions in a thread, the first in this one. Threads end with the call: a fork finds none.

    An error of one is raised, when all are done.
    """
    errors: list[BaseException] = []

    def work(share: Callable[[], None]) -> None:
        try:
            share()
        except BaseException as error:  # a thread of its own would print it and go on
            errors.append(error)

    threads = [threading.Thread(target=work, args=(share,)) for share in shares[1:]]
    for thread in threads:
        thread.start()
    for share in shares[:1]:
        work(share)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class MasterWeights:
    """An optimizer for parameters stored in bfloat16: it works on float32 copies, which its state keeps.

    A step changes a weight by less than bfloat16 can show, and a second moment in bfloat16 never decays. The state
    holds float32 as the int32 with the same bits, because a backend's doors make every float its own dtype.
    """

    def __init__(
        self,
        inner: Optimizer,
        widen: Callable[[Array], Array],
        narrow: Callable[[Array], Array],
        as_bits: Callable[[Array], Array],
        from_bits: Callable[[Array], Array],
    ) -> None:
        """inner: works in float32; widen, narrow: to float32 and back; as_bits, from_bits: to int32 and back."""
        self._inner, self._widen, self._narrow = inner, widen, narrow
        self._as_bits, self._from_bits = as_bits, from_bits

    def init(self, params: Params) -> State:
        masters = {name: self._widen(value) for name, value in params.items()}
        return self._packed(masters, self._inner.init(masters))

    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        wide = {name: self._from_bits(value) for name, value in state.items()}
        masters = {name: wide.pop(f"master.{name}") for name in params}
        masters, rest = self._inner.step(masters, {name: self._widen(grads[name]) for name in params}, wide)
        return {name: self._narrow(value) for name, value in masters.items()}, self._packed(masters, rest)

    def _packed(self, masters: Params, rest: State) -> State:
        named = rest | {f"master.{name}": value for name, value in masters.items()}
        return {name: self._as_bits(value) for name, value in named.items()}


@dataclass(frozen=True)
class FloatInfo:
    """The limits of a floating dtype as Python numbers (array API standard 2024.12, "finfo")."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: object


@dataclass(frozen=True)
class IntegerInfo:
    """The limits of an integer dtype as Python numbers (array API standard 2024.12, "iinfo")."""

    bits: int
    max: int
    min: int
    dtype: object


def plain_loop(
    step: Step, fetch: Callable[[list[tuple[Array, ...]]], NDArray[np.float64]], settle: Callable[..., None]
) -> Run:
    """A `Run` that calls `step` once an epoch with keys as Python ints.

    fetch: brings a chunk's metrics to the host together. settle: called with the new state after each step,
    for lazy frameworks whose graph would otherwise grow.
    """

    def run(state: State, keys: NDArray[np.uint32]) -> tuple[State, NDArray[np.float64]]:
        metrics = []
        for row in keys.tolist():
            state, measured = step(state, row)
            settle(state, measured)
            metrics.append(measured)
        return state, fetch(metrics)

    return run


def plain_batches(backend: Backend, step: BatchStep) -> BatchRun:
    """Calls `step` with keys as Python ints, and settles lazy arrays after each batch."""

    def run(state: State, keys: NDArray[np.uint32], batch: Any) -> tuple[State, tuple[Array, ...]]:
        state, measured = step(state, keys.tolist(), batch)
        if backend.capabilities.lazy:
            backend.synchronize(*state.values(), *measured)
        return state, measured

    return run


def csr_pair(backend: Backend, matrix: sp.csr_array, transposed: sp.csr_array | None) -> CSR:
    """`Backend.csr` of a matrix whose transpose may be known."""
    if transposed is None or not provides(backend, Transposing):
        return backend.csr(matrix)
    return cast(Transposing, backend).csr_with_transpose(matrix, transposed)


def transposed_order(matrix: sp.csr_array) -> NDArray[np.integer]:
    """[stored values]: which of a canonical matrix's values each of its transpose's is, both row by row.

    That of a stable sort by column, in a tenth of its time.
    """
    numbers = np.arange(matrix.nnz, dtype=np.int32 if matrix.nnz < 2**31 else np.int64)
    order: NDArray[np.integer] = sp.csr_array((numbers, matrix.indices, matrix.indptr), shape=matrix.shape).tocsc().data
    return order
