"""What frameworks do otherwise than they should and portgnn works around: each with its number, and watched.

A test here passes as long as the fault is there. Where it fails, a newer framework has cured it: take the workaround
out of the file that its row names, and the row out of this one. What this machine cannot show stands in the table all
the same, and says where it was seen.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BACKENDS = Path(__file__).parents[2] / "backends"


@dataclass(frozen=True)
class Workaround:
    """what: the fault. upstream: issue or pull request; "" where none was found. seen: versions in which it was seen.
    where: the file under backends/ that works around it, and a text in it. shows: whether the installed version has the
    fault; None where no machine of the tests can tell, and `why` says what can.
    """

    what: str
    package: str
    upstream: str
    seen: str
    where: tuple[str, str]
    shows: Callable[[], bool] | None = None
    why: str = ""


def _gradient(function: Callable[..., Any], *at: float) -> list[float]:
    """MLX's derivatives of a function of numbers, in float64."""
    import mlx.core as mx

    with mx.stream(mx.cpu):
        numbers = [mx.array(x, mx.float64) for x in at]
        return [g.item() for g in mx.grad(function, argnums=list(range(len(at))))(*numbers)]


def mlx_exp() -> bool:
    import mlx.core as mx

    with mx.stream(mx.cpu):
        found = [float(f(mx.array([1.3], mx.float64)).item()) for f in (mx.exp, mx.sin, mx.cos)]
    return any(abs(x / y - 1) > 1e-10 for x, y in zip(found, map(_of, ("exp", "sin", "cos")), strict=True))


def _of(name: str) -> float:
    return float(getattr(math, name)(1.3))


def mlx_power() -> bool:
    return any(map(math.isnan, _gradient(lambda x, y: x**y, 0.0, 0.0)))


def mlx_division() -> bool:
    return _gradient(lambda x, y: x / y, 1e200, 1e200)[1] == 0.0


def mlx_maximum() -> bool:
    import mlx.core as mx

    return _gradient(mx.maximum, 2.0, 2.0) != [1.0, 1.0] and _gradient(mx.maximum, 2.0, 2.0) != [0.5, 0.5]


def mlx_sum() -> bool:
    """A million of equal numbers, one after the other."""
    import mlx.core as mx

    with mx.stream(mx.cpu):
        column = mx.full((2**20, 2), 0.1, mx.float32)
        total = float(mx.sum(column, axis=0)[0].item())
    return abs(total / (2**20 * float(np.float32(0.1))) - 1) > 1e-5


def mlx_dtype_equality() -> bool:
    """In a process of its own, since portgnn mends it in this one."""
    import subprocess
    import sys

    code = "import mlx.core as mx; mx.float32 == None"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode != 0


def mlx_adam() -> bool:
    import mlx.optimizers

    return inspect.signature(mlx.optimizers.Adam).parameters["bias_correction"].default is False


def mlx_eigh() -> bool:
    import mlx.core as mx

    try:
        with mx.stream(mx.cpu):
            mx.eval(mx.grad(lambda x: mx.linalg.eigh(x)[1].sum())(mx.eye(2)))
    except (ValueError, RuntimeError):
        return True
    return False


def jax_abs() -> bool:
    import jax

    return float(jax.grad(abs)(0.0)) != 0.0


def jax_division() -> bool:
    import jax

    return float(jax.grad(lambda x, y: x / y, argnums=1)(np.float32(1e30), np.float32(1e30))) == 0.0


def torch_slices() -> bool:
    import torch

    try:
        torch.arange(3)[::-1]
    except ValueError:
        return True
    return False


def torch_segment_reduce() -> bool:
    """By torch's own list of operations, which says for which devices an operation has a kernel."""
    return _lacks_mps("segment_reduce")


def torch_csr() -> bool:
    return _lacks_mps("_convert_indices_from_coo_to_csr")


def _lacks_mps(operation: str) -> bool:
    import torchgen
    import yaml

    path = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native" / "native_functions.yaml"
    rows = [
        row for row in yaml.safe_load(path.read_text()) if row["func"].partition("(")[0].partition(".")[0] == operation
    ]
    assert rows, f"torch lists no {operation}"
    return not any("MPS" in key for row in rows for key in row.get("dispatch", {}))


def tensorflow_fixed_sum() -> bool:
    import tensorflow as tf

    column = tf.fill([2**20, 2], tf.constant(0.1, tf.float32))
    total = float(tf.reduce_sum(column, axis=0)[0])
    return abs(total / (2**20 * float(np.float32(0.1))) - 1) > 1e-6


WORKAROUNDS = (
    Workaround("exp, sin and cos in float64 are of single precision", "mlx", "ml-explore/mlx#3047", "0.29 to 0.32",
               ("portgnn_mlx/array_api/precise.py", "issue 3047"), mlx_exp),
    Workaround("x**y has NaN as its gradient at 0, 0", "mlx", "ml-explore/mlx#628", "0.1 to 0.32",
               ("portgnn_mlx/backend.py", "MLX gives NaN for x**y at 0, 0"), mlx_power),
    Workaround("the gradient of a quotient divides by a square that overflows", "mlx", "", "0.29 to 0.32",
               ("portgnn_mlx/array_api/elementwise.py", "divides by x2²"), mlx_division),
    Workaround("of a tie, maximum gives one argument the whole gradient", "mlx", "", "0.29 to 0.32",
               ("portgnn_mlx/backend.py", "Of a tie MLX's maximum"), mlx_maximum),
    Workaround("sums on the CPU add one number after the other", "mlx", "", "0.29 to 0.32",
               ("portgnn_mlx/array_api/sums.py", "MLX adds one number after the other"), mlx_sum),
    Workaround("a dtype compared with None raises TypeError", "mlx", "data-apis/array-api-tests#447", "0.32",
               ("portgnn_mlx/array_api/upstream.py", "raises TypeError in MLX 0.32"), mlx_dtype_equality),
    Workaround("Adam corrects no bias unless asked", "mlx", "ml-explore/mlx#1640", "0.0.1 to 0.32",
               ("portgnn_mlx/backend.py", "leaves the bias correction off"), mlx_adam),
    Workaround("eigh and other decompositions have no gradient", "mlx", "", "0.29 to 0.32",
               ("portgnn_mlx/backend.py", "MLX has no gradient of eigh"), mlx_eigh),
    Workaround("float32 is multiplied in TF32 on CUDA and on M5", "mlx", "ml-explore/mlx#3860", "0.30 to 0.32",
               ("portgnn_mlx/__init__.py", "in TF32 on CUDA"), why="seen on an H100: verify's matmul, 3e-4"),
    Workaround("inputs of fewer than eight elements lie in another address space", "mlx", "", "0.29 to 0.32",
               ("portgnn_mlx/kernels.py", "fewer than eight elements"), why="tools/metal_kernels.py makes MLX's text"),
    Workaround("abs has the gradient 1 at 0", "jax", "", "0.6 to 0.10",
               ("portgnn_jax/backend.py", "JAX gives 1 for abs(x) at 0"), jax_abs),
    Workaround("the gradient of a quotient multiplies with an inverse square that underflows", "jax", "", "0.6 to 0.10",
               ("portgnn_jax/backend.py", "multiplies by the inverse square"), jax_division),
    Workaround("float32 is multiplied in TF32 on CUDA", "jax", "jax-ml/jax#4873", "0.2 to 0.11",
               ("portgnn_jax/backend.py", "JAX multiplies float32 in TF32"),
               why="seen on an H100: verify's matmul, 3e-4"),
    Workaround("slices of negative step are refused", "torch", "", "1.0 to 2.13",
               ("portgnn_torch/backend.py", "torch has no slices of negative step"), torch_slices),
    Workaround("MPS has no CSR matrices", "torch", "pytorch/pytorch#112849", "1.12 to 2.13",
               ("portgnn_torch/sparse.py", "MPS and some CPU builds have no CSR product"), torch_csr),
    Workaround("MPS has no segment_reduce", "torch", "pytorch/pytorch#197880", "1.12 to 2.13",
               ("portgnn_torch/edges.py", "MPS has no segment_reduce"), torch_segment_reduce),
    Workaround("MPS multiplies wrongly, by what was in memory before", "torch", "pytorch/pytorch#193487", "2.7 to 2.13",
               ("portgnn_torch/devices.py", "pytorch/pytorch#193487"), why="needs a Mac; portgnn doctor says it there"),
    Workaround("MPS of M1 and M2 multiplies wrongly where 32,767 numbers are summed", "torch", "pytorch/pytorch#195163",
               "up to 2.13", ("portgnn_torch/devices.py", "pytorch/pytorch#195163"),
               why="needs a Mac; portgnn doctor says it there"),
    Workaround("sums of columns add one number after the other", "tensorflow", "", "2.21",
               ("portgnn_tensorflow/sums.py", "one after the other"), tensorflow_fixed_sum),
)  # fmt: skip


@pytest.mark.parametrize("each", WORKAROUNDS, ids=[f"{each.package}: {each.what}" for each in WORKAROUNDS])
def test_a_workaround_is_still_needed(each: Workaround) -> None:
    assert each.where[1] in (BACKENDS / each.where[0]).read_text(encoding="utf-8"), f"{each.where[0]} has it no longer"
    assert each.shows is not None or each.why
    if each.shows is None or find_spec(each.package) is None:
        return  # what stands in the table is held to the files alone
    assert each.shows(), (
        f"{each.package} {version(each.package)} is right here ({each.upstream or each.what}): take the "
        "workaround out of "
        f"backends/{each.where[0]}"
    )
