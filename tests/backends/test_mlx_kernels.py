"""What happens where one of MLX's GPU kernels does not work; no GPU is needed for that."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

mx = pytest.importorskip("mlx.core")

from portgnn_mlx import MLXBackend  # noqa: E402
from portgnn_mlx import backend as adapter  # noqa: E402
from portgnn_mlx.kernels import right_or_warned  # noqa: E402
from portgnn_mlx.sparse import host_csr  # noqa: E402


def test_a_kernel_that_is_right_is_used_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert right_or_warned("sparse", "a slower product", lambda: True)


def test_a_kernel_that_is_wrong_is_left_out_with_a_warning() -> None:
    with pytest.warns(
        UserWarning, match="portgnn's Adam kernel computes wrong numbers on this GPU; the plain one is used"
    ):
        assert not right_or_warned("Adam", "the plain one", lambda: False)


def test_a_kernel_that_does_not_compile_is_left_out_with_its_error() -> None:
    def broken() -> bool:
        raise RuntimeError("no compiler")

    with pytest.warns(UserWarning, match=r"does not run \(no compiler\)"):
        assert not right_or_warned("sparse", "a slower product", broken)


class Recording:
    """A matrix that keeps the operands of its products, and gives them back."""

    dtype = np.dtype("float32")

    def __init__(self) -> None:
        self.operands: list[Any] = []
        self.T = self

    def __matmul__(self, x: Any) -> Any:
        self.operands.append(x)
        return x


def test_a_product_on_shared_memory_reads_mlx_arrays_where_they_lie() -> None:
    matrix, x = Recording(), mx.random.normal((64, 32))
    handle = host_csr(matrix, None)  # type: ignore[arg-type]
    mx.eval(x, mx.grad(lambda x: (handle.product(x) * 2.0).sum())(x))
    assert len(matrix.operands) == 2  # forwards and backwards
    assert np.shares_memory(matrix.operands[0], np.array(x, copy=False))
    assert not any(operand.flags.owndata for operand in matrix.operands)


def test_random_bits_and_masks_are_made_once_on_shared_memory() -> None:
    """MLX copies what NumPy made, which it must: its memory is the GPU's, too. Nothing else is copied."""
    backend = MLXBackend("cpu", "float32")
    numbers = backend.asarray(np.arange(4096))
    seen: list[Any] = []

    def bits(key: Any, index: Any) -> Any:
        seen.append(index)
        return np.zeros(4096, np.int32)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(adapter, "random_bits", bits)
        backend.random_bits((1, 2), numbers)
    assert np.shares_memory(seen[0], np.array(numbers, copy=False))


@pytest.mark.parametrize(
    ("version", "machine", "said"),
    [
        ("0.32.4", {"chip": "Apple M5", "macos": "26.5"}, 0),
        ("0.31.2.dev20260527+b9effaf6", {"chip": "Apple M5 Pro", "macos": "26.5"}, 1),
        ("0.31.2.dev20260527+b9effaf6", {"chip": "Apple M5 Pro", "macos": "15.6"}, 0),
        ("0.31.2.dev20260527+b9effaf6", {}, 0),
    ],
)
def test_builds_that_are_wrong_on_a_mac(
    monkeypatch: pytest.MonkeyPatch, version: str, machine: dict[str, str], said: int
) -> None:
    monkeypatch.setattr(adapter, "version", lambda _: version)
    monkeypatch.setenv("MLX_ENABLE_TF32", "0")
    assert len(MLXBackend.troubles(machine)) == said
    monkeypatch.setenv("MLX_ENABLE_TF32", "1")
    assert len(MLXBackend.troubles(machine)) == said + machine.get("chip", "").startswith("Apple M5")
