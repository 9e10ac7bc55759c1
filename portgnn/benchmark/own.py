"""portgnn's backends as contenders: the library's own training loop body, on one registered or given adapter."""

from __future__ import annotations

import importlib
import inspect
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from portgnn.benchmark.contender import Program, Recipe, Unsupported
from portgnn.benchmark.graphs import BenchGraph
from portgnn.graphs.graph import Graph
from portgnn.graphs.split import split
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.presets import Config
from portgnn.protocol import Backend, Keys, State
from portgnn.random import dropout_keys
from portgnn.registry import backend_class, registered_backend
from portgnn.training import WholeGraph, initial_state, make_measure, make_run, parameters_of

EDGE_OPTIONS: dict[str, object] = {"csr": False, "shared_memory": False}
"""Constructor arguments by which an adapter is told to multiply with edge lists; an adapter has one or none."""

COPIED_BYTES = 2**28
"""Size of the plain copy that bandwidths are held against: far beyond any cache of a CPU."""


class OwnProgram:
    """A prepared run on one backend. `rows`, `features` and `adjacency` are portgnn's options of these names."""

    def __init__(self, backend: Backend, graph: Graph, config: Config, options: dict[str, object]) -> None:
        self.backend, self.config, self.options = backend, config, options
        self.prepared = Prepared.of(graph, config)
        self._run = make_run(backend, self.prepared, validate=False)
        self._evaluation: Any = None
        self.reset(0)

    def reset(self, seed: int) -> None:
        self._seed, self._epoch = seed, 0
        self._state = initial_state(self.backend, self.prepared, seed)
        self.backend.synchronize(*self._state.values())

    def train(self, epochs: int) -> None:
        self.losses(epochs)

    def losses(self, epochs: int) -> np.ndarray:
        """Trains and returns the loss of each epoch. Keys are made inside the clock, as in `portgnn.train`."""
        keys = dropout_keys(self._seed, range(self._epoch, self._epoch + epochs), self.config.layers)
        self._state, metrics = self._run(self._state, keys)
        self.backend.synchronize(*self._state.values())
        self._epoch += epochs
        losses: np.ndarray = metrics[:, 0]
        return losses

    def evaluate(self) -> None:
        self.validation()

    def validation(self) -> np.ndarray:
        """Loss and number of right answers on the validation split."""
        if self._evaluation is None:
            self._evaluation = self._make_evaluation()
        # One at a time: a loop over the same parameters is a loop that a compiler may take the work out of.
        keys = np.zeros((1, self.config.layers, 2), dtype=np.uint32)
        self._state, metrics = self._evaluation(self._state, keys)
        self.backend.synchronize(*self._state.values())
        found: np.ndarray = metrics[0]
        return found

    def test_accuracy(self) -> float:
        host = {name: self.backend.to_numpy(value) for name, value in parameters_of(self._state).items()}
        return WholeGraph(self.backend, self.prepared).scores(host, split(self.prepared.graph, "test").nodes)[
            "accuracy"
        ]

    def verify(self, epochs: int, operations: bool = True) -> dict[str, object]:
        """Whether this very program computes what the reference computes; afterwards it starts afresh."""
        # Here: a worker that only times holds no checks, which would be in its peak of memory.
        from portgnn.benchmark.verification import verify_program

        verdict = verify_program(self, epochs, operations)
        self.reset(0)
        return verdict

    def _make_evaluation(self) -> Any:
        held_out = place(self.backend, self.prepared, self.prepared.graph.val, training=False)
        measure = make_measure(self.backend, held_out, self.prepared)

        def step(state: State, keys: Keys) -> tuple[dict[str, Any], tuple[Any, ...]]:
            return state, measure(parameters_of(state))

        return self.backend.compile(step)


class OwnContender:
    """One adapter, by its registered name or as `module:Class`."""

    def __init__(self, name: str) -> None:
        if ":" in name:
            module, _, attribute = name.partition(":")
            self._class: Any = getattr(importlib.import_module(module), attribute)
        else:
            found = registered_backend(name)
            if not found.available:
                raise ImportError(f"{found.problem}; {found.install}" if found.install else found.problem)
            self._class = backend_class(name)

    def environment(self) -> dict[str, Any]:
        return dict(self._class.environment())

    def devices(self) -> tuple[str, ...]:
        return tuple(self._class.devices())

    def build(self, graph: BenchGraph, recipe: Recipe, device: str, options: dict[str, object]) -> Program:
        backend = self._backend(device, options)
        config = config_of(recipe, options)
        return OwnProgram(backend, graph_of(graph), config, options | {"chunked": True})

    def spmm_bandwidth(self, graph: str, device: str, columns: int, seconds: float) -> dict[str, object]:
        """Time of A_hat @ X in float32, its bytes, and a plain copy on the same device in the same process."""
        backend = self._backend(device, {})
        adjacency = BenchGraph.load(graph).normalised()
        rows, nnz = int(adjacency.shape[0]), int(adjacency.nnz)
        host = np.random.default_rng(0).standard_normal((rows, columns), dtype=np.float32)
        handle, x = backend.csr(sp.csr_array(adjacency.astype(np.float64))), backend.asarray(host)
        copy = host_copy() if device == "cpu" else device_copy(backend)
        index = 4 * (rows + 1) + 4 * nnz
        return {
            "rows": rows,
            "nnz": nnz,
            "columns": columns,
            "spmm_seconds": _median_seconds(lambda: backend.synchronize(backend.spmm(handle, x)), seconds),
            # Each input read once and the output written once: what no implementation can avoid.
            "compulsory_bytes": index + 4 * nnz + 2 * 4 * rows * columns,
            # One row of X read for every stored value, as if no cache helped.
            "gathered_bytes": index + 4 * nnz + 4 * nnz * columns + 4 * rows * columns,
            "copy_seconds": _median_seconds(copy, seconds),
            "copy_bytes": 2 * COPIED_BYTES,
        }

    def _backend(self, device: str, options: dict[str, object]) -> Backend:
        dtype = options.get("dtype", "float32")
        if device not in self._class.devices():
            raise Unsupported(f"no device {device} here")
        if dtype not in self._class.dtypes(device):
            raise Unsupported(f"no {dtype} on {device}")
        extra: dict[str, Any] = {}
        if options.get("form") == "edges":
            known = inspect.signature(self._class).parameters
            extra = {name: value for name, value in EDGE_OPTIONS.items() if name in known}
            if not extra:
                raise Unsupported("the adapter has no switch for edge lists")
        backend: Backend = self._class(device, dtype, **extra)
        return backend


def contender(argument: str | None) -> OwnContender:
    assert argument is not None
    return OwnContender(argument)


def graph_of(graph: BenchGraph) -> Graph:
    return Graph(
        graph.adjacency,
        graph.features,
        graph.labels,
        graph.train,
        graph.val,
        graph.test,
        name=graph.name,
        class_names=tuple(str(c) for c in range(graph.classes)),
    )


def config_of(recipe: Recipe, options: dict[str, Any]) -> Config:
    """portgnn's Config of a recipe in one of the forms csr, dense or edges."""
    fields = recipe.to_dict()
    preset = fields.pop("name")
    config = Config(preset=preset, patience=0, restore_best=False, **fields)
    form = options.get("form", "csr")
    if form == "dense":
        return replace(config, features="dense", adjacency="dense", rows="all")
    return replace(config, features="auto", adjacency="csr", rows=options.get("rows", "needed"))


def host_copy() -> Callable[[], None]:
    """A copy of memory on all cores into memory that is there already: no page is touched for the first time."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    source, target = np.ones(COPIED_BYTES // 8), np.ones(COPIED_BYTES // 8)
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))
    pool = ThreadPoolExecutor(threads)

    def copy() -> None:
        list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))

    return copy


def device_copy(backend: Backend) -> Callable[[], None]:
    """x * 1 on a device whose allocator hands out the same memory again: one read, one write."""
    source = backend.asarray(np.ones(COPIED_BYTES // 4, dtype=np.float32))
    return lambda: backend.synchronize(source * 1)


def _median_seconds(action: Any, seconds: float) -> float:
    action()
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(taken) < 3:
        started = time.perf_counter()
        action()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))
