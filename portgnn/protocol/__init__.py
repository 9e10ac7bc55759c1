"""The minimal tensor protocol: what an adapter provides so that portgnn's one model trains on it.

Everything that the array API standard names (sum, exp, argmax, operators, shapes) is taken from `Backend.xp`
under the standard's names and is not declared again here. The protocol adds the verbs that the standard
lacks. An adapter is a class that satisfies `BackendClass`; its instances satisfy `Backend`. It is registered
under the entry-point group `portgnn.backends`, and imports this module; nothing here imports an adapter.

Rules that hold for every verb:

- An instance is immutable: device and dtype are fixed when it is made. Two instances work side by side.
- Every floating array that an instance makes or returns has the instance's dtype and lies on its device.
- Verbs are pure. Only an optimizer's `step` and a compiled `run` may consume (donate) the state they are
  given: a caller does not use that state again.
- Shapes are written [rows, columns]; n is a number of nodes, f of features, c of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, overload, runtime_checkable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.protocol._arrays import Array as Array
from portgnn.protocol._arrays import BatchRun as BatchRun
from portgnn.protocol._arrays import BatchStep as BatchStep
from portgnn.protocol._arrays import Index as Index
from portgnn.protocol._arrays import Key as Key
from portgnn.protocol._arrays import Keys as Keys
from portgnn.protocol._arrays import LossFn as LossFn
from portgnn.protocol._arrays import Namespace as Namespace
from portgnn.protocol._arrays import Params as Params
from portgnn.protocol._arrays import Run as Run
from portgnn.protocol._arrays import State as State
from portgnn.protocol._arrays import Step as Step


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What an adapter can do on this machine, as data. Nothing else may be asked of a backend's identity."""

    lazy: bool
    """Arrays are promises until `synchronize` or `to_numpy`."""
    deterministic: bool
    """The same call gives the same bits twice."""
    forks: bool = False
    """A process that was forked (`os.fork`) after the backend has worked can use it, too: it has no threads, queues or
    device contexts that a fork would leave behind. Where not, portgnn refuses there in place of waiting without end."""


@runtime_checkable
class CSR(Protocol):
    """A sparse matrix on a device: an opaque handle that keeps what its backward product needs."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""

    @property
    def nnz(self) -> int:
        """Number of stored values."""


class Optimizer(Protocol):
    """A pure optimizer: all that changes is in the state that goes in and comes out."""

    def init(self, params: Params) -> State:
        """Zero state for these parameters: a flat dictionary of arrays."""

    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        """New parameters and state. Consumes `params` and `state`."""


class Backend(Protocol):
    """An adapter on one device in one dtype. See the module's docstring for the rules of all verbs."""

    name: str
    """The registered name."""
    device: str
    """The device of every array, for example "cpu", "cuda:1", "gpu"."""
    dtype: str
    """The dtype of every floating array: "float64", "float32" or "bfloat16"."""
    capabilities: Capabilities

    @property
    def xp(self) -> Namespace:
        """The array API standard's namespace for this backend's arrays, differentiable where used in a loss."""

    def asarray(self, x: NDArray[np.generic]) -> Array:
        """The only door in. Floats become `dtype`, integers int32, booleans stay. Copies."""

    def to_numpy(self, x: Array) -> NDArray[Any]:
        """The only door out. Waits for the value; bfloat16 becomes float32. Copies."""

    def csr(self, matrix: sp.csr_array, index: NDArray[np.uint32] | None = None) -> CSR:
        """Places a canonical CSR matrix [m, n] (sorted, no duplicates) on the device.

        index: one element number a stored value, for `dropout`; by default 0, 1, 2, … in storage order.
        """

    def matmul(self, a: Array | CSR, b: Array) -> Array:
        """a @ b; a: dense or a handle [m, k]; b: dense [k, n] -> [m, n]. float32 means float32, not TF32.

        Differentiable in both where dense; a handle is a constant.
        """

    def spmm(self, a: CSR, x: Array) -> Array:
        """Sparse times dense: a [m, k], x [k, n] -> [m, n], differentiable in x. Never densifies."""

    def relu(self, x: Array) -> Array:
        """max(x, 0), with gradient 0 at 0."""

    def log_softmax(self, x: Array) -> Array:
        """x - log(sum(exp(x))) over the last axis, without overflow."""

    def random_bits(self, key: Key, index: int | Array) -> Array:
        """int32 bits that equal `portgnn.random.random_bits` bit for bit.

        index: an int n for elements 0 to n-1, or int32 element numbers of any shape (modulo 2**32).
        """

    @overload
    def dropout(self, x: CSR, rate: float, key: Key, index: Array | None = None) -> CSR: ...
    @overload
    def dropout(self, x: Array, rate: float, key: Key, index: Array | None = None) -> Array: ...
    @overload
    def dropout(self, x: Array | CSR, rate: float, key: Key, index: Array | None = None) -> Array | CSR: ...
    def dropout(self, x: Array | CSR, rate: float, key: Key, index: Array | None = None) -> Array | CSR:
        """Keeps an element where its bits are below `keep_threshold(rate)`, scaled by 1/(1 - rate); else 0.

        On a handle it drops stored values only. index: element numbers of a dense x, of x's shape.
        """

    def value_and_grad(self, fn: LossFn) -> Callable[..., tuple[tuple[Array, Any], Params]]:
        """`value_and_grad(fn)(params, *args)` -> ((loss, aux), gradients of loss in params).

        Pure: nothing accumulates, and a parameter that the loss ignores gets zeros. Where a function has no derivative
        or several, the gradient is that of docs/gradients.md. Raises TypeError unless the loss is one real floating
        number as a 0-d array: not for an array of another shape, an integer, a boolean or a Python number
        (`portgnn.parts.checked_loss` does).
        """

    def adam(
        self,
        learning_rate: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: Mapping[str, float] | None = None,
    ) -> Optimizer:
        """Bias-corrected Adam (Kingma & Ba 2015, Algorithm 1), eps outside the root.

        weight_decay: parameter name -> coefficient; it is added to the gradient as coefficient * parameter
        (L2 as torch.optim.Adam has it, not AdamW).
        """

    def compile(self, step: Step) -> Run:
        """Makes a loop over `step`, as fast as the framework allows: jit, a graph, or a plain loop."""

    def synchronize(self, *arrays: Array) -> None:
        """Returns when the work on these arrays (and, where that is all a device offers, on all) is done."""


@runtime_checkable
class Batching(Protocol):
    """What an adapter may have beside the verbs of `Backend`; `portgnn.parts.plain_batches` serves those without."""

    def compile_batches(self, step: BatchStep) -> BatchRun:
        """The step, made fast and called with keys as a host array uint32 [layers, 2]. Batches come in a few shapes.

        May consume the state. Metrics may be promises, the state must be settled enough that no graph grows.
        """


@runtime_checkable
class Transposing(Protocol):
    """What an adapter may have for matrices that come with their transpose; `portgnn.parts.csr_pair` serves those
    without.
    """

    def csr_with_transpose(self, matrix: sp.csr_array, transposed: sp.csr_array) -> CSR:
        """As `Backend.csr`, of a matrix whose transpose is known; for a symmetric one the matrix itself.

        The arrays may be kept as they are: nobody changes them afterwards. Stored zeros may lie elsewhere in both. The
        handle is for products: none of its values is dropped out.
        """


@runtime_checkable
class Widening(Protocol):
    """What an adapter may have whose parameters can be bfloat16: room for an optimizer that computes in float32."""

    def widened(self, inner: Optimizer) -> Optimizer:
        """An optimizer of this instance's parameters that lets `inner` take the steps.

        With bfloat16 `inner` gets float32 copies, which the state keeps, and gradients in float32, as from
        `portgnn.parts.MasterWeights`; with a wider dtype the result is `inner` itself.
        """


EdgeHandle: TypeAlias = Any
"""Edges on a device, as `MessagePassing.edges` made them: opaque to all but their maker."""


@runtime_checkable
class MessagePassing(Protocol):
    """What an adapter may have for layers that compute something for each edge, such as attention.

    `portgnn.parts.PlainEdges` serves those without: it makes all of it from `Backend.csr`, `matmul` and the standard's
    functions. Sums go along edges in a fixed order: results are deterministic wherever products are. All but
    `edge_weights` are differentiable in their arrays.

    An edge is a stored value of a matrix [targets, sources]. Values of edges are arrays [edges, k], in storage order.
    """

    def edges(self, matrix: sp.csr_array) -> EdgeHandle:
        """Places the edges of a canonical CSR matrix [targets, sources], whose values are their weights."""

    def edge_weights(self, a: EdgeHandle) -> Array:
        """The weights, [edges]."""

    def gather(self, a: EdgeHandle, x: Array, end: str) -> Array:
        """Rows of x: each edge's source, x [sources, k], or target, x [targets, k] -> [edges, k]."""

    def segment_sum(self, a: EdgeHandle, values: Array) -> Array:
        """[edges, k] -> [targets, k]; 0 for a target without an edge."""

    def segment_max(self, a: EdgeHandle, values: Array) -> Array:
        """[edges, k] -> [targets, k]; 0 for a target without an edge. Equal values share the gradient evenly."""

    def edge_softmax(self, a: EdgeHandle, scores: Array) -> Array:
        """exp(score) / sum of exp(score) over the edges of the same target, without overflow: [edges, k]."""

    def edge_spmm(self, a: EdgeHandle, values: Array, x: Array) -> Array:
        """values [edges, heads], x [sources, heads * width] -> [targets, heads * width], head by head."""

    def dropout(self, x: Array, rate: float, key: Key, index: Array | None = None) -> Array:
        """That of `Backend`."""


class EdgeDropout(NamedTuple):
    """Dropout on values of edges: the arguments of `Backend.dropout` behind x."""

    rate: float
    key: Key
    numbers: Array | None = None


@runtime_checkable
class Attending(Protocol):
    """What an adapter with `MessagePassing` may have for attention without arrays [edges, heads * width]."""

    def attend(
        self, a: EdgeHandle, rows: Array, target: Array, weights: Array, slope: float,
        dropout: EdgeDropout | None = None, dynamic: bool = False,
    ) -> Array:  # fmt: skip
        """Sums of the sources' rows, each times its share by softmax over the edges of the same target, head by head:
        rows [sources, heads * width] -> [targets, heads * width], 0 for a target without an edge.

        The score of an edge from j to i in head h is lr(rows[j, h] . weights[h] + target[i, h]), with target [targets,
        heads]; where scores are `dynamic`, weights[h] . lr(rows[j, h] + target[i, h]), with target [targets, heads *
        width]. lr(x): x where x > 0, else slope * x, and the slope at 0. dropout: of the shares, [edges, heads].
        """


@runtime_checkable
class Fusing(Protocol):
    """What an adapter may have where it takes in one pass what `portgnn.parts` else makes of several."""

    def matmul_add(self, a: Array | CSR, b: Array, y: Array, scale: float = 1.0) -> Array:
        """scale * (a @ b) + y; a, b as in `Backend.matmul`, y of the product's shape or [columns]."""

    def propagated(self, a: Array | CSR, x: Array, first: Array, restart: float, times: int = 1) -> Array:
        """x after so many times x = (1 - restart) * (a @ x) + restart * first. a: square where there are several."""

    def elu(self, x: Array) -> Array:
        """x where it is above 0, else exp(x) - 1 to the last digits (Clevert et al. 2016, alpha 1); slope 1 at 0."""


Counts: TypeAlias = tuple[tuple[int, ...], ...]
"""counts[p][q]: how many rows process p hands to process q."""


Watch: TypeAlias = Callable[[], AbstractContextManager[None]]
"""Makes a context around a wait for other processes, so that it is known how long it takes."""


class Collectives(Protocol):
    """The processes that train together, as one of them sees them. All of them make the same calls in one order."""

    rank: int
    """The number of this process, from 0."""
    size: int
    """How many there are."""
    transport: str
    """What carries the messages: gloo, nccl, ring, mpi, ...; the names are the framework's."""
    device: str
    """The device that is this process's own."""
    restarts: int
    """How often the launcher has started the processes anew after one of them died."""
    compiled: bool
    """Whether `Backend.compile` can take a step that makes these calls."""

    def all_reduce(self, x: Array) -> Array:
        """The sum of all processes' x, of the same shape on each and with the same bits on each. No gradient."""

    def exchange(self, x: Array, counts: Counts) -> Array:
        """Hands consecutive rows of x [sum(counts[rank]), k] to process 0, 1, …; returns what came from 0, 1, ….

        Differentiable in x: gradients go back the way that the rows came.
        """

    def close(self) -> None:
        """Leaves the others, when all is done."""


RouteHandle: TypeAlias = Any
"""Rows that go out again and again, as `Routing.route` made them: opaque to all but their maker."""


@runtime_checkable
class Routing(Protocol):
    """What an adapter's `Collectives` may have beside their own verbs, for the exchanges of which a training is made.

    `portgnn.distributed.routes.PlainRoutes` serves those without. Gradients are summed in a fixed order.
    """

    def route(self, rows: NDArray[np.integer], counts: Counts) -> RouteHandle:
        """Which rows of an array go out. rows: [sum(counts[rank])], in the order in which they go.

        A row may go to several processes, and to none of them twice.
        """

    def fetched(self, route: RouteHandle, x: Array) -> Array:
        """`exchange(x[rows], counts)`, differentiable in x."""

    def product(self, route: RouteHandle, own: CSR, halo: CSR, x: Array) -> Array:
        """own @ x + halo @ fetched(route, x), differentiable in x; the rows may travel while own @ x is computed."""


@runtime_checkable
class Joining(Protocol):
    """What a `BackendClass` that can train in several processes has beside its own members."""

    def join(self, transport: str | None, timeout: float, watch: Watch) -> Collectives:
        """Joins the processes that the framework's launcher started. transport: None takes the fastest.

        timeout: seconds after which a call that another process does not answer fails, where the framework has that.
        watch: every wait for another process, in a backward pass too, is inside `with watch():`.
        Raises BackendError, saying what to type, where no launcher started this process.
        """

    def launch_environment(self, rank: int, size: int, port: int, folder: Path) -> dict[str, str]:
        """The variables that the framework's launcher sets for process `rank` of `size`, all on this machine.

        port: it and the `size` ports behind it are free. folder: for files that the variables name; the same for all.
        """


@runtime_checkable
class Troubled(Protocol):
    """What a `BackendClass` whose framework has known faults on some machines has beside its own members."""

    def troubles(self, machine: Mapping[str, Any]) -> tuple[str, ...]:
        """What is wrong with the installed version here: the versions, the upstream number, and what to do.

        machine: what `portgnn doctor --json` says under "machine"; on a Mac with "chip" and "macos".
        """


class BackendClass(Protocol):
    """What an entry point of `portgnn.backends` names: usually the class itself."""

    name: ClassVar[str]

    def __call__(self, device: str, dtype: str) -> Backend:
        """An instance. Called with one of `devices()` and one of `dtypes(device)`."""

    def devices(self) -> tuple[str, ...]:
        """Devices present on this machine, the fastest first; empty if there is none."""

    def dtypes(self, device: str) -> tuple[str, ...]:
        """Floating dtypes that the device has."""

    def environment(self) -> Mapping[str, object]:
        """Versions and settings that may change numbers or speed, for `doctor` and for results."""
