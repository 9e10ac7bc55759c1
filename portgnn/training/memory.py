"""Running out of memory, told apart from other faults, with an estimate of the need and of what would need less."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from portgnn.errors import OutOfMemoryError
from portgnn.models.layer import Layer, parameters_of, widths_of
from portgnn.placing.features import SPARSE_BELOW
from portgnn.placing.field import computes_all
from portgnn.placing.prepared import Prepared
from portgnn.protocol import Backend
from portgnn.training.engine import Problem

_SIGNS = re.compile(
    r"out of memory|resource_exhausted|unable to allocate|failed to allocate|cannot allocate|attempting to allocate"
    r"|can't allocate|std::bad_alloc",
    re.IGNORECASE,
)

_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2}


def check_parameters(layers: tuple[Layer, ...]) -> None:
    """Raises OutOfMemoryError where the parameters alone, float64 on the host, are more than this machine has.

    An operating system hands out memory that it does not have, and kills the process that uses it.
    """
    need = 8 * _count(layers)
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not POSIX: the allocation itself fails there
        return
    if need > there > 0:
        raise OutOfMemoryError(
            f"out of memory: the weights of a network of {len(layers)} layers, at most {max(widths_of(layers))} wide, "
            f"take {_readable(need)}, and this machine has {_readable(there)}; less would do: a smaller --hidden"
        )


def is_exhaustion(error: BaseException) -> bool:
    """Whether an error of whatever library says that memory ran out: by its type, its name or its words."""
    named = any("OutOfMemory" in kind.__name__ for kind in type(error).__mro__)
    return (
        isinstance(error, MemoryError)
        or named
        or (isinstance(error, RuntimeError) and _SIGNS.search(str(error)) is not None)
    )


def estimate(prepared: Prepared, dtype: str, *, adjacency: str = "", features: str = "", rows: str = "") -> int:
    """Bytes that training needs on the device, to within a factor of about two.

    Counted are the matrices, each layer's activations with mask and gradient, and four copies of the parameters
    (value, gradient, two moments). adjacency, features, rows: replace the recipe's.
    """
    config, graph, item = prepared.config, prepared.graph, _BYTES[dtype]
    n, f = graph.num_nodes, graph.num_features
    stored = prepared.adjacency.nnz
    dense = (adjacency or config.adjacency) == "dense"
    total = n * n * item if dense else 2 * (stored * (item + 4) + 4 * n)
    held = _stored(prepared)
    form = features or ("sparse" if prepared.has_sparse_features else "dense")
    total += held * (item + 4) * 2 if form == "sparse" else n * f * item * (2 if prepared.layers[0].dropout else 1)
    counted = 0 if graph.train is None else len(graph.train)
    everything = dense or (rows == "all" if rows else computes_all(config))
    for layer in prepared.layers:
        # Of the last layer only the counted rows are computed; further down the neighbourhood soon is everything.
        height = n if everything or not layer.is_last else counted
        total += 4 * height * layer.fan_out * item
    return int(total + 4 * item * _count(prepared.layers))


def _count(layers: tuple[Layer, ...]) -> int:
    """Numbers in all parameters."""
    return sum(parameter.size for parameter in parameters_of(layers).values())


def advice(prepared: Prepared, dtype: str) -> str:
    """What the run needs by estimate, and each option that would need clearly less, smallest first."""
    config = prepared.config
    need = estimate(prepared, dtype)
    sparse_features = prepared.has_sparse_features
    share = (
        1.0 if sparse_features else _stored(prepared) / max(prepared.graph.num_nodes * prepared.graph.num_features, 1)
    )
    options: list[tuple[int, str]] = []
    if config.adjacency == "dense":
        options.append((estimate(prepared, dtype, adjacency="csr"), "--adjacency csr"))
    # Standardised features would be others if they were sparse.
    if not sparse_features and share < SPARSE_BELOW and prepared.moments is None:
        options.append((estimate(prepared, dtype, features="sparse"), "--features sparse"))
    if config.rows == "all":
        options.append((estimate(prepared, dtype, rows="needed"), "--rows needed"))
    for smaller in ("float32", "bfloat16"):
        if _BYTES[smaller] < _BYTES[dtype]:
            options.append((estimate(prepared, smaller), f"--dtype {smaller}"))
    if len(prepared.layers) > 1 and getattr(config, "hidden", 1) > 1:
        half = replace(prepared, config=config.with_(hidden=config.hidden // 2))
        options.append((estimate(half, dtype), f"--hidden {config.hidden // 2}"))
    smaller_ones = [f"{option} (about {_readable(size)})" for size, option in sorted(options) if size < 0.9 * need]
    text = f"this run needs about {_readable(need)} on its device, by estimate"
    if config.adjacency != "dense":
        # No estimate: what a batch needs depends on the graph's hubs, and hardly on its size.
        smaller_ones.append("--loader neighbor, which trains in batches")
    return f"{text}. Less would do: {', '.join(smaller_ones)}" if smaller_ones else text


def _stored(prepared: Prepared) -> int:
    """Features that are not 0; those of the graph, since memory for normalised ones may just have run out."""
    features = prepared.graph.features
    return int(features.nnz if isinstance(features, sp.csr_array) else np.count_nonzero(features))


@contextmanager
def told(problem: Problem, backend: Backend) -> Iterator[None]:
    """Raises OutOfMemoryError, with what would need less, in place of a framework's own error of the block."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_exhaustion(error):
            raise
        raise _translated(
            error, problem, f"{backend.name} ({backend.device}, {backend.dtype})", backend.dtype
        ) from error


def _translated(error: BaseException, problem: Problem, where: str, dtype: str) -> OutOfMemoryError:
    """where: backend and device, for the message."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if problem.config.loader != "full":
        less = f"less would do: --batch-size {max(problem.config.batch_size // 2, 1)}, or a smaller --fanout"
    elif isinstance(problem, Prepared):
        less = advice(problem, dtype)
    else:
        less = "more processes would need less each"
    return OutOfMemoryError(f"out of memory on {where}: {less}. The device said: {reason}")


def _readable(size: float) -> str:
    units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.0f} {units[0]}" if size >= 10 or units[0] == "bytes" else f"{size:.1f} {units[0]}"
