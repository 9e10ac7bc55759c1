"""Arrays without elements: shapes, dtypes and values of the namespaces are NumPy's, and gradients are empty too.

Each backend runs in a process of its own: MLX 0.32 reduces nothing to a wrong number, to an error, to the end of the
process, or to no end.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as reference
import numpy as np
import pytest

from portgnn import get_backend
from portgnn.protocol import Backend
from portgnn.verification import _standard

SHAPES = ((0,), (0, 3), (3, 0), (2, 0, 3))
Call = Callable[[Any, Any], Any]


def _elementwise() -> dict[str, Call]:
    unary = {one.name: lambda xp, x, name=one.name: getattr(xp, name)(x) for one in _standard.UNARY}
    names = [one.name for one in _standard.BINARY] + ["maximum", "less"]
    return unary | {name: lambda xp, x, name=name: getattr(xp, name)(x, x) for name in names}


def _along_axes() -> dict[str, Call]:
    calls: dict[str, Call] = {}
    reductions = ("sum", "prod", "mean", "var", "max", "argmax", "argmin", "all", "any", "count_nonzero")
    for axis in (None, 0, -1):
        for keepdims in (False, True):
            given = {"axis": axis, "keepdims": keepdims}
            for name in reductions:
                calls[f"{name} {given}"] = lambda xp, x, n=name, g=given: getattr(xp, n)(x, **g)
    for name in ("cumulative_sum", "cumulative_prod", "sort", "argsort", "diff", "flip"):
        for axis in (0, -1):
            calls[f"{name} {axis}"] = lambda xp, x, n=name, a=axis: getattr(xp, n)(x, axis=a)
    return calls


OTHERS: dict[str, Call] = {
    "roll": lambda xp, x: xp.roll(x, 1, axis=0),
    "reshape": lambda xp, x: xp.reshape(x, (0,)),
    "concat": lambda xp, x: xp.concat([x, x], axis=0),
    "stack": lambda xp, x: xp.stack([x, x], axis=0),
    "tile": lambda xp, x: xp.tile(x, (2,) * x.ndim),
    "repeat": lambda xp, x: xp.repeat(x, 2, axis=0),
    "where": lambda xp, x: xp.where(x > 0, x, x),
    "clip": lambda xp, x: xp.clip(x, 0.0, 1.0),
    "take": lambda xp, x: xp.take(x, xp.astype(xp.reshape(x, (0,)), xp.int64), axis=0),
    "take_along_axis": lambda xp, x: xp.take_along_axis(x, xp.astype(x, xp.int64), axis=0),
    "searchsorted": lambda xp, x: xp.searchsorted(xp.reshape(x, (0,)), xp.asarray([1.0, 2.0], dtype=x.dtype)),
    "unique_counts": lambda xp, x: xp.unique_counts(x)[1],
    "nonzero": lambda xp, x: xp.nonzero(x)[0],
    "broadcast_to": lambda xp, x: xp.broadcast_to(x, (2, *x.shape)),
    "matmul": lambda xp, x: xp.matmul(x, xp.matrix_transpose(x) if x.ndim > 1 else x),
    "matmul of integers": lambda xp, x: xp.matmul(*2 * (xp.astype(xp.reshape(x, (0,)), xp.int32),)),
    "vecdot": lambda xp, x: xp.vecdot(x, x),
    "vector_norm": lambda xp, x: xp.linalg.vector_norm(x, axis=-1),
    "a row that is added": lambda xp, x: xp.add(x, xp.sum(x, axis=0)),
}


def _differences(backend: Backend) -> list[str]:
    """Where the backend's namespace has another result than NumPy's, or a gradient of another shape."""
    found = []
    for name, call in (_elementwise() | _along_axes() | OTHERS).items():
        for shape in SHAPES:
            host = np.zeros(shape)
            try:
                want = np.asarray(call(reference, host))
            except ValueError:  # the largest of nothing, and the like
                continue
            try:
                got = backend.to_numpy(call(backend.xp, backend.asarray(host)))
                same = got.shape == want.shape and got.dtype.kind == want.dtype.kind
                if not same or not np.array_equal(got, want, equal_nan=want.dtype.kind == "f"):
                    found.append(f"{name} of {shape}: {got!r}, not {want!r}")
                elif want.dtype.kind == "f" and name not in ("nextafter", "unique_counts"):
                    found += [f"{name} of {shape}: gradient {each}" for each in _gradient(backend, call, host)]
            except Exception as error:
                found.append(f"{name} of {shape}: {type(error).__name__}: {error}")
    return found


def _gradient(backend: Backend, call: Call, host: Any) -> list[tuple[int, ...]]:
    """The gradient's shape where it is not the parameter's."""
    xp = backend.xp
    call_it = backend.value_and_grad(lambda p: (xp.sum(call(xp, p["x"]) * 2.0), None))
    shape = backend.to_numpy(call_it({"x": backend.asarray(host)})[1]["x"]).shape
    return [] if shape == host.shape else [shape]


@pytest.mark.parametrize("backend", ["numpy", "torch", "mlx", pytest.param("jax", marks=pytest.mark.sweep)])
def test_of_nothing_comes_what_numpy_makes_of_it(backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import test_nothing, sys; test_nothing.main(sys.argv[1])", backend],
        cwd=Path(__file__).parent, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def main(name: str) -> None:
    """In a process of its own: prints what differs, and ends with 1 where anything does."""
    warnings.simplefilter("ignore")
    found = _differences(get_backend(name, device="cpu", dtype="float64"))
    print("\n".join(found))
    sys.exit(bool(found))
