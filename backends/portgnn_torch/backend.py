"""PyTorch as a portgnn backend: eager autograd on an explicit device, in an explicit dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, wraps
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch.utils.weak import WeakIdKeyDictionary

from portgnn.parts import FasterRun, MasterWeights, attended, checked_loss, compiled, plain_batches, plain_loop
from portgnn.protocol import (
    BatchRun,
    BatchStep,
    Capabilities,
    EdgeDropout,
    Key,
    LossFn,
    Optimizer,
    Params,
    Run,
    Step,
    Watch,
)
from portgnn.random import MULTIPLIER_1, MULTIPLIER_2, SHIFTS, keep_threshold, random_bits
from portgnn_torch import array_api, columns, devices, loops
from portgnn_torch.attention_host import AttendByHead
from portgnn_torch.batches import RecordedBatches
from portgnn_torch.collectives import TorchCollectives, join, launch_environment
from portgnn_torch.columns import ShiftedProduct
from portgnn_torch.edges import EdgeProduct, EdgeSoftmax, Gather, SegmentMax, SegmentSum, TorchEdges, place_edges
from portgnn_torch.graphs import GraphRun
from portgnn_torch.optim import FusedAdam, KernelAdam
from portgnn_torch.recording import WORTH_RECORDING, RecordedKey, on_host, recorded
from portgnn_torch.sampling import DrawsHere
from portgnn_torch.sparse import (
    Form,
    Propagate,
    SpMM,
    SpMMAdd,
    TorchCSR,
    best_form,
    place,
    place_pair,
    placed,
    stored_dtype,
)

Function = TypeVar("Function", bound=Callable[..., Any])

WORTH_FUSING = 1 << 18
"""Numbers of a sum behind a product from which on both are taken in one pass. The steps of smaller graphs are traced as
plain operations, of which one kernel is made."""


def recordable(function: Function) -> Function:
    """The function outside a caller's `torch.inference_mode`, in which nothing has a gradient and arrays never will."""

    @wraps(function, assigned=("__doc__", "__name__"), updated=())
    def called(*args: Any, **options: Any) -> Any:
        if not torch.is_inference_mode_enabled():
            return function(*args, **options)
        with torch.inference_mode(False):
            return function(*args, **options)

    return cast(Function, called)


class TorchBackend(DrawsHere):
    """PyTorch on one device.

    csr: True takes torch's own CSR product, False edge lists (as on MPS), None the fastest form that works here.
    """

    name = "torch"
    xp: Any = array_api
    gaps: ClassVar = {"gradient.indexing, slices backwards": "torch has no slices of negative step: use xp.flip"}

    def __init__(self, device: str = "cpu", dtype: str = "float32", csr: bool | None = None) -> None:
        self.device, self.dtype = device, dtype
        self._device = torch.device(device)
        devices.announce_fallback(self._device)
        self._float: torch.dtype = getattr(torch, dtype)
        self._on_host = self._device.type == "cpu"
        self._form = (
            best_form(self._device, stored_dtype(self._float)) if csr is None else (Form.CSR if csr else Form.EDGES)
        )
        self._counters: dict[int, Any] = {}
        self._firsts: Any = WeakIdKeyDictionary()
        self.capabilities = Capabilities(
            lazy=not self._on_host,
            deterministic=self._on_host or self._form is Form.KERNEL,
        )

    @staticmethod
    def devices() -> tuple[str, ...]:
        return devices.names()

    @staticmethod
    def dtypes(device: str) -> tuple[str, ...]:
        return devices.dtypes(device)

    @staticmethod
    def troubles(machine: Mapping[str, Any]) -> tuple[str, ...]:
        return devices.troubles(machine)

    @staticmethod
    def join(transport: str | None, timeout: float, watch: Watch) -> TorchCollectives:
        return join(transport, timeout, watch)

    @staticmethod
    def launch_environment(rank: int, size: int, port: int, folder: Path) -> dict[str, str]:
        return launch_environment(rank, size, port)

    @staticmethod
    def environment() -> dict[str, Any]:
        facts: dict[str, Any] = {
            "version": torch.__version__,
            "threads": torch.get_num_threads(),
            "tf32": torch.backends.cuda.matmul.allow_tf32,
            "loops": compiled.described(),
        }
        return facts | devices.facts()

    @recordable
    def asarray(self, x: NDArray[Any]) -> torch.Tensor:
        host = np.asarray(x)
        kind = {"f": self._float, "i": torch.int32, "u": torch.int32, "b": torch.bool}[host.dtype.kind]
        if host.dtype.kind == "u":
            host = host.astype(np.uint32, copy=False).view(np.int32)
        return placed(self._device, host, kind)

    def to_numpy(self, x: torch.Tensor) -> NDArray[Any]:
        host = x.detach().to("cpu", torch.float32 if x.dtype == torch.bfloat16 else x.dtype)
        return np.array(host.numpy(), copy=True)

    @recordable
    def csr(self, matrix: sp.csr_array, index: NDArray[np.uint32] | None = None) -> TorchCSR:
        return place(matrix, index, stored_dtype(self._float), self._device, self._form)

    def csr_with_transpose(self, matrix: sp.csr_array, transposed: sp.csr_array) -> TorchCSR:
        """See `portgnn.protocol.Transposing`."""
        return place_pair(matrix, transposed, stored_dtype(self._float), self._device, self._form)

    def matmul(self, a: Any, b: torch.Tensor) -> torch.Tensor:
        return self.spmm(a, b) if isinstance(a, TorchCSR) else a @ b

    def spmm(self, a: TorchCSR, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, SpMM.apply(a, x))

    def matmul_add(self, a: Any, b: torch.Tensor, y: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        is_sparse = isinstance(a, TorchCSR)
        if a.shape[0] * b.shape[-1] < WORTH_FUSING or a.shape[0] == 0 or (is_sparse and y.ndim == 1):
            product = self.matmul(a, b)
            return columns.add(product if scale == 1.0 else product * scale, y)
        if not is_sparse and y.ndim == 1 and self._form is Form.KERNEL:
            return cast(torch.Tensor, ShiftedProduct.apply(a, b, y, scale))
        if not is_sparse:
            return torch.addmm(y, a, b, alpha=scale)
        total: torch.Tensor = SpMMAdd.apply(a, b, y, scale)
        return total

    def propagated(self, a: Any, x: torch.Tensor, first: torch.Tensor, restart: float, times: int = 1) -> torch.Tensor:
        if first is x and isinstance(a, TorchCSR):
            total: torch.Tensor = Propagate.apply(a, x, restart, times, x.numel() >= WORTH_FUSING)
            return total
        share = restart * first
        for _ in range(times):
            x = self.matmul_add(a, x, share, 1.0 - restart)
        return x

    def edges(self, matrix: sp.csr_array) -> TorchEdges:
        return place_edges(matrix, self._float, stored_dtype(self._float), self._device, self._form)

    def edge_weights(self, a: TorchEdges) -> torch.Tensor:
        return a.weights

    def gather(self, a: TorchEdges, x: torch.Tensor, end: str) -> torch.Tensor:
        numbers, summed = (a.columns, a.out_of) if end == "source" else (a.rows, a.into)
        gathered: torch.Tensor = Gather.apply(x, numbers, summed)
        return gathered

    def segment_sum(self, a: TorchEdges, values: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = SegmentSum.apply(a, values)
        return total

    def segment_max(self, a: TorchEdges, values: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = SegmentMax.apply(a, values)
        return found

    def edge_softmax(self, a: TorchEdges, scores: torch.Tensor) -> torch.Tensor:
        shares: torch.Tensor = EdgeSoftmax.apply(a, scores)
        return shares

    def edge_spmm(self, a: TorchEdges, values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = EdgeProduct.apply(a, values, x)
        return total

    def attend(
        self,
        a: TorchEdges,
        rows: torch.Tensor,
        target: torch.Tensor,
        weights: torch.Tensor,
        slope: float,
        dropout: EdgeDropout | None = None,
        dynamic: bool = False,
    ) -> torch.Tensor:
        if dropout is not None and dropout.rate == 0.0:
            dropout = None
        if self._form is Form.CSR and self._on_host and self.dtype != "bfloat16":
            mask = None
            if dropout is not None:
                shape = (len(a.rows), len(weights))
                index = shape[0] * shape[1] if dropout.numbers is None else cast(Any, dropout.numbers)
                mask = self._mask(dropout.key, index, dropout.rate).reshape(shape).T.contiguous()
            found: torch.Tensor = AttendByHead.apply(a, rows, target, weights, slope, mask, dynamic)
            return found
        if self._form is not Form.KERNEL:
            return cast(torch.Tensor, attended(self, a, rows, target, weights, slope, dropout, dynamic))
        from portgnn_torch.attention_cuda import Attend, Attention

        key = None if dropout is None else self._placed_key(dropout.key)
        index = None if dropout is None else cast(Any, dropout.numbers)
        if index is not None and index.shape[1] > 1:
            index = self._first_numbers(index)
        drawn = (0.0 if dropout is None else dropout.rate, key, index)
        heads, width = weights.shape
        one = Attention(a, heads, width, slope, dynamic, *drawn)
        out: torch.Tensor = Attend.apply(one, rows, target, weights)
        return out

    def _placed_key(self, key: Key) -> torch.Tensor:
        if isinstance(key, torch.Tensor):
            return key
        return torch.tensor([_signed(key[0]), _signed(key[1])], dtype=torch.int32, device=self._device)

    def relu(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x)

    def elu(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.elu(x)

    def log_softmax(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype == torch.bfloat16:
            return torch.log_softmax(x, dim=-1, dtype=torch.float32).to(x.dtype)
        return torch.log_softmax(x, dim=-1)

    def random_bits(self, key: Key, index: int | torch.Tensor) -> torch.Tensor:
        if self._on_host:
            return _made(key, index, lambda words, at: torch.from_numpy(self._host_bits(words, at)))
        if isinstance(index, int):
            index = self._counter(index)
        x = index + _signed(key[0])
        x = x ^ _shifted(x, SHIFTS[0])
        x = x * MULTIPLIER_1
        x = x ^ _shifted(x, SHIFTS[1])
        x = x ^ _signed(key[1])
        x = x * _signed(MULTIPLIER_2)
        return torch.bitwise_xor(x, _shifted(x, SHIFTS[2]))

    def _counter(self, n: int) -> Any:
        if n not in self._counters:
            if self._on_host:
                self._counters[n] = np.arange(n, dtype=np.uint32)
            else:
                self._counters[n] = torch.arange(n, dtype=torch.int32, device=self._device)
        return self._counters[n]

    def _host_bits(self, key: Key, index: int | torch.Tensor) -> NDArray[np.int32]:
        """On the CPU tensors share memory with NumPy, whose integer loops are the faster ones."""
        ids = self._counter(index) if isinstance(index, int) else index.numpy().view(np.uint32)
        return random_bits(_words(key, np.ndim(ids)), ids)

    def dropout(self, x: Any, rate: float, key: Key, index: torch.Tensor | None = None) -> Any:
        if rate == 0.0:
            return x
        if self._form is Form.KERNEL:
            return self._dropout_by_kernel(x, rate, key, index)
        if isinstance(x, TorchCSR):
            where = x.nnz if x.index is None else x.index
            return x.with_values(x.values * self._mask(key, where, rate))
        mask = self._mask(key, x.numel() if index is None else index, rate)
        return x * mask.reshape(x.shape)

    def _dropout_by_kernel(self, x: Any, rate: float, key: Key, index: torch.Tensor | None) -> Any:
        from portgnn_torch.row_kernels import Dropout, dropped

        key = self._placed_key(key)
        if isinstance(x, TorchCSR):
            flipped = dropped(x.transposed.values, rate, key, x.turned_index)
            return x.with_values(dropped(x.values, rate, key, x.index), flipped)
        if index is not None and index.dim() == 2 and index.shape[1] > 1:
            index = self._first_numbers(index)
        return Dropout.apply(x, rate, key, index)

    def _first_numbers(self, index: torch.Tensor) -> torch.Tensor:
        """The numbers of each row's first element, [rows, 1], where those of the others follow; else all of them.

        Looked at once, outside of a recording: a kernel that reads a number for each element moves half as much again.
        """
        if index not in self._firsts and not torch.cuda.is_current_stream_capturing():
            follow = index[:, :1] + torch.arange(index.shape[1], dtype=torch.int32, device=index.device)
            self._firsts[index] = index[:, :1].contiguous() if torch.equal(index, follow) else None
        first = self._firsts.get(index)
        return index if first is None else first

    def _mask(self, key: Key, index: int | torch.Tensor, rate: float) -> torch.Tensor:
        scale = 1.0 / (1.0 - rate)
        if self._on_host and self.dtype != "bfloat16":
            return _made(key, index, lambda words, at: self._host_mask(words, at, rate))
        return (self.random_bits(key, index) < keep_threshold(rate)).to(self._float) * scale

    def _host_mask(self, key: Key, index: int | torch.Tensor, rate: float) -> torch.Tensor:
        ids = index if isinstance(index, int) else index.numpy().view(np.uint32)
        return loops.masks(_words(key, np.ndim(ids) or 1), ids, rate, self.dtype)

    def value_and_grad(self, fn: LossFn) -> Callable[..., tuple[tuple[torch.Tensor, Any], Params]]:
        @recordable
        def wrapped(params: Params, *args: Any) -> tuple[tuple[torch.Tensor, Any], Params]:
            leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
            with torch.enable_grad():
                loss, aux = checked_loss(fn(leaves, *args))
            if not loss.requires_grad:
                return (loss, aux), {name: torch.zeros_like(value) for name, value in params.items()}
            grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
            return (loss.detach(), _detached(aux)), dict(zip(leaves, grads, strict=True))

        return wrapped

    def adam(
        self,
        learning_rate: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: Mapping[str, float] | None = None,
    ) -> Optimizer:
        rates = (learning_rate, beta1, beta2, eps, weight_decay)
        return self.widened(KernelAdam(*rates) if self._form is Form.KERNEL else FusedAdam(*rates))

    def widened(self, inner: Optimizer) -> Optimizer:
        if self._float != torch.bfloat16:
            return inner
        bits = (lambda x: x.view(torch.int32), lambda x: x.view(torch.float32))
        return MasterWeights(inner, lambda x: x.float(), lambda x: x.to(self._float), *bits)

    def compile(self, step: Step) -> Run:
        def fetch(metrics: list[tuple[torch.Tensor, ...]]) -> NDArray[np.float64]:
            if self._on_host:
                return on_host(metrics)
            rows = torch.stack([torch.stack([value.to(self._float) for value in row]) for row in metrics])
            return self.to_numpy(rows).astype(np.float64)

        if self._device.type == "cuda":
            graphs = GraphRun(step, self._device, self._float)
            if self._form is not Form.KERNEL:
                return graphs
            from portgnn_torch.persistent.launch import Persistent

            return FasterRun(partial(Persistent, step), graphs)
        plain = plain_loop(step, fetch, lambda *_: None)
        return recordable(FasterRun(partial(recorded, step), plain, WORTH_RECORDING) if self._on_host else plain)

    def compile_batches(self, step: BatchStep) -> BatchRun:
        if self._device.type == "cuda" and self._form is Form.KERNEL:
            from portgnn_torch.batches_cuda import CapturedBatches

            return CapturedBatches(step)
        if not self._on_host:
            return plain_batches(cast(Any, self), step)
        return cast(BatchRun, recordable(RecordedBatches(step)))

    def synchronize(self, *arrays: torch.Tensor) -> None:
        accelerator = torch.accelerator.current_accelerator()
        if accelerator is not None and accelerator.type == self._device.type:
            torch.accelerator.synchronize(self._device)


def _words(key: Any, axes: int) -> tuple[Any, Any]:
    """The two words of a key; of keys [epochs, 2], as arrays that broadcast against an index of so many axes."""
    if not isinstance(key, np.ndarray):
        return int(key[0]), int(key[1])
    words = key.reshape(-1, 2, *(1,) * axes)
    return words[:, 0], words[:, 1]


def _made(key: Any, index: int | torch.Tensor, make: Callable[[Any, Any], torch.Tensor]) -> torch.Tensor:
    """`make(key, index)`; inside a recording, in each of its epochs."""
    if not isinstance(key, RecordedKey):
        return make(key, index)
    if isinstance(index, int):
        return key.input(lambda words, _: make(words, index), None)
    return key.input(make, index)


def _detached(aux: Any) -> Any:
    """What a loss gave beside itself, without the way that it came by."""
    if isinstance(aux, torch.Tensor):
        return aux.detach()
    if isinstance(aux, dict):
        return {name: _detached(value) for name, value in aux.items()}
    return type(aux)(map(_detached, aux)) if type(aux) in (tuple, list) else aux


def _signed(word: Any) -> Any:
    """A word below 2**32 as the signed 32-bit integer with the same bits; device scalars are so already."""
    return word - 2**32 if isinstance(word, int) and word >= 2**31 else word


def _shifted(x: torch.Tensor, by: int) -> torch.Tensor:
    """A logical right shift: torch's is arithmetic, so the sign it drags in is masked off."""
    return (x >> by) & ((1 << (32 - by)) - 1)
