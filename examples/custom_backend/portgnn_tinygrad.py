"""tinygrad as a portgnn backend; docs/write-a-backend.md builds this module up step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from tinygrad import Device, Tensor, TinyJit, UOp, dtypes, function

from portgnn.parts import Adam, checked_loss
from portgnn.protocol import Capabilities, Key, LossFn, Params, Run, State, Step
from portgnn.random import MULTIPLIER_1, MULTIPLIER_2, SHIFTS, keep_threshold


def cut(ends: NDArray[Any], width: int = 4) -> Iterator[NDArray[Any]]:
    """Which elements make a piece of a row, then which pieces a longer one, until there is one a row."""
    pieces = np.array([2])
    while pieces.max(initial=1) != 1:
        pieces = np.maximum(-(-np.diff(ends) // width), 1)
        at = np.concatenate([[0], np.cumsum(pieces)])
        slots = np.repeat(ends[:-1] - width * at[:-1], pieces)[:, None] + np.arange(width * at[-1]).reshape(-1, width)
        yield np.where(slots < np.repeat(ends[1:], pieces)[:, None], slots, ends[-1])  # empty: one past the last
        ends = at


def product(values: Tensor, pieces: tuple[Tensor, ...], x: Tensor) -> Tensor:
    places, slots, *sums = pieces
    y = (x[places] * values[slots].unsqueeze(-1)).sum(1)
    for slots in sums:
        y = y.pad(((0, 1), (0, 0))).contiguous()[slots].sum(1)
    return y


@dataclass(frozen=True, eq=False)
class Sparse:  # stored values with a zero at the end, their numbers for dropout, and how rows and columns sum them
    shape: tuple[int, int]
    nnz: int
    values: Tensor
    numbers: Tensor
    rows: tuple[Tensor, ...]
    columns: tuple[Tensor, ...]


def total(x: Tensor, *axis: Any, mean: bool = False, keepdims: bool = False, **options: Any) -> Tensor:
    blocks = x.flatten().pad(((0, -x.numel() % 32),)).reshape(-(-x.numel() // 32), 32).sum(1).contiguous()
    whole = not (axis or keepdims or options or x.numel() <= 32)
    y = total(blocks) if whole else x.sum(*axis, keepdim=keepdims, **options)
    return y * (y.numel() / x.numel()) if mean else y


STANDARD: dict[str, Any] = {  # what tinygrad calls otherwise
    "sum": total, "mean": lambda *a, **k: total(*a, mean=True, **k), "astype": Tensor.cast,
    "permute_dims": Tensor.permute, "concat": lambda x, axis=0: x[0].cat(*x[1:], dim=axis),
    "take": lambda x, at, axis=0: x[(slice(None),) * axis + (at,)], "finfo": lambda t: np.finfo(f"f{t.itemsize}"),
    "unstack": lambda x, axis=0: [part.squeeze(axis) for part in x.split(1, axis)],
}  # fmt: skip


class TinygradBackend:
    name = "tinygrad"
    xp: Any = type("Functions", (Tensor,), STANDARD)
    relu, log_softmax = staticmethod(Tensor.relu), staticmethod(Tensor.log_softmax)

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        self.device, self.dtype, self._float = device, dtype, getattr(dtypes, dtype)
        self.capabilities = Capabilities(lazy=True, deterministic=True)

    devices = staticmethod(lambda: tuple(dict.fromkeys((Device.DEFAULT.lower(), "cpu"))))
    dtypes = staticmethod(lambda device: ("float32",) if device == "metal" else ("float64", "float32"))
    environment = staticmethod(lambda: {"version": version("tinygrad"), "by": type(Device.default.renderer).__name__})

    def asarray(self, x: NDArray[Any]) -> Tensor:
        kind = {"f": self.dtype, "b": "bool"}.get(x.dtype.kind, "int32")
        return Tensor(x.astype(kind), device=self.device).clone().realize()

    def to_numpy(self, x: Tensor) -> NDArray[Any]:
        return np.array(x.numpy())

    def csr(self, matrix: sp.csr_array, index: NDArray[np.uint32] | None = None) -> Sparse:
        def pieces(order: sp.csr_array) -> tuple[Tensor, ...]:
            slots, *sums = cut(order.indptr)
            held = np.append(order.indices, 0)[slots], np.append(order.data, order.nnz)[slots]
            return tuple(map(self.asarray, (*held, *sums)))

        order = sp.csr_array((np.arange(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)
        values, index = self.asarray(np.append(matrix.data, 0.0)), np.append(order.data if index is None else index, 0)
        return Sparse(matrix.shape, matrix.nnz, values, self.asarray(index), pieces(order), pieces(order.T.tocsr()))

    def matmul(self, a: Any, b: Tensor) -> Tensor:
        return self.spmm(a, b) if isinstance(a, Sparse) else a.matmul(b).contiguous()

    def spmm(self, a: Sparse, x: Tensor) -> Tensor:
        def pull(grad: UOp, call: UOp) -> tuple[UOp | None, ...]:
            return product(a.values, a.columns, Tensor(grad)).uop, *[None] * (len(call.src) - 2)

        return function(lambda x: product(a.values, a.rows, x), allow_implicit=True, grad_fxn=pull)(x)

    def random_bits(self, key: Key, index: int | Tensor) -> Tensor:
        words = key if isinstance(key, Tensor) else Tensor(np.array(key, np.uint32), device=self.device)
        x = Tensor.arange(index, dtype=dtypes.int32, device=self.device) if isinstance(index, int) else index
        x = x.bitcast(dtypes.uint32) + words[0]
        x = (x ^ (x >> SHIFTS[0])) * MULTIPLIER_1
        x = ((x ^ (x >> SHIFTS[1])) ^ words[1]) * MULTIPLIER_2
        return (x ^ (x >> SHIFTS[2])).bitcast(dtypes.int32)

    def dropout(self, x: Any, rate: float, key: Key, index: Tensor | None = None) -> Any:
        if rate == 0.0:
            return x
        sparse = isinstance(x, Sparse)
        numbers = x.numbers if sparse else x.numel() if index is None else index
        kept = (self.random_bits(key, numbers) < keep_threshold(rate)).cast(self._float)
        mask = (kept * (1.0 / (1.0 - rate))).contiguous()  # once, not once for each column of the next product
        return replace(x, values=(x.values * mask).contiguous()) if sparse else x * mask.reshape(x.shape)

    def value_and_grad(self, fn: LossFn) -> Callable[..., tuple[tuple[Tensor, Any], Params]]:
        def call(params: Params, *args: Any) -> tuple[tuple[Tensor, Any], Params]:
            loss, aux = checked_loss(fn(params, *args))
            grads = loss.gradient(*params.values())
            Tensor.realize(loss, *grads)
            return (loss, aux), dict(zip(params, grads, strict=True))

        return call

    def adam(self, learning_rate: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8,
             weight_decay: Mapping[str, float] | None = None) -> Adam:  # fmt: skip
        return Adam(lambda n: self.asarray(np.zeros(n)), Tensor.sqrt, learning_rate, beta1, beta2, eps, weight_decay)

    def compile(self, step: Step) -> Run:
        @TinyJit  # each call writes to the arrays that the last one returned
        def epoch(keys: Tensor, **state: Tensor) -> tuple[State, Tensor]:
            after, metrics = step(state, keys)
            return {name: x.clone() for name, x in after.items()}, Tensor.stack(*(x.cast(self._float) for x in metrics))

        def run(state: State, keys: NDArray[np.uint32]) -> tuple[State, NDArray[np.float64]]:
            rows = []
            for row in keys:
                state, metrics = epoch(Tensor(row, device=self.device), **state)
                rows.append(metrics.numpy())
            return {name: x.clone().realize() for name, x in state.items()}, np.array(rows, dtype=np.float64)

        return run

    def synchronize(self, *arrays: Tensor) -> None:
        Tensor.realize(*arrays)
        Device[self.device].synchronize()
