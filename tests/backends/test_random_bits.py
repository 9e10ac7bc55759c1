"""The same dropout bits on every backend and on each of its code paths, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn import get_backend
from portgnn.random import dropout_keys, keep_threshold, random_bits

KEYS = [(0, 0), (2**32 - 1, 2**32 - 1), (2**31, 2**31 - 1), (1, 2**31), *dropout_keys(5, range(3), 2).reshape(-1, 2)]
N = 4097


def _torch_device_path(dtype: str) -> Any:
    """What a GPU runs, on the CPU: 32-bit signed tensor arithmetic."""
    backend: Any = get_backend("torch", device="cpu", dtype=dtype)
    backend._on_host = False
    return backend


def _mlx(shared_memory: bool) -> Callable[[str], Any]:
    def make(dtype: str) -> Any:
        from portgnn_mlx import MLXBackend

        return MLXBackend("cpu", dtype, shared_memory=shared_memory)

    return make


PATHS: dict[str, Callable[[str], Any]] = {
    "numpy": lambda dtype: get_backend("numpy", device="cpu", dtype=dtype),
    "torch on the host": lambda dtype: get_backend("torch", device="cpu", dtype=dtype),
    "torch on a device": _torch_device_path,
    "mlx in shared memory": _mlx(True),
    "mlx on a device": _mlx(False),
    "jax": lambda dtype: get_backend("jax", device="cpu", dtype=dtype),
}


@pytest.mark.parametrize("path", PATHS)
def test_bits_of_a_count(path: str) -> None:
    backend = PATHS[path]("float32")
    for key in KEYS:
        words = (int(key[0]), int(key[1]))
        got = backend.to_numpy(backend.random_bits(words, N))
        assert got.dtype == np.int32
        np.testing.assert_array_equal(got, random_bits(words, np.arange(N, dtype=np.uint32)))


@pytest.mark.parametrize("path", PATHS)
def test_bits_of_element_numbers(path: str) -> None:
    """Numbers up to 2**32 - 1, which a signed index holds as negative ones."""
    index = np.random.default_rng(0).integers(0, 2**32, size=(50, 7), dtype=np.uint64).astype(np.uint32)
    index[0, :3] = 0, 2**31, 2**32 - 1
    backend = PATHS[path]("float32")
    for key in KEYS:
        words = (int(key[0]), int(key[1]))
        got = backend.to_numpy(backend.random_bits(words, backend.asarray(index)))
        np.testing.assert_array_equal(got, random_bits(words, index))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("path", PATHS)
def test_dropout_is_the_reference_mask(path: str, dtype: str, rate: float) -> None:
    backend, key = PATHS[path](dtype), (123456789, 4000000000)
    x = np.random.default_rng(1).normal(size=(30, 11)).astype(dtype)
    index = np.random.default_rng(2).permutation(330).astype(np.uint32).reshape(30, 11)
    for ids in (None, index):
        numbers = np.arange(330, dtype=np.uint32).reshape(30, 11) if ids is None else ids
        kept = random_bits(key, numbers) < keep_threshold(rate)
        expected = np.where(kept, x * np.asarray(1 / (1 - rate), dtype), 0)
        at = None if ids is None else backend.asarray(ids)
        got = backend.to_numpy(backend.dropout(backend.asarray(x), rate, key, at))
        assert got.dtype == np.dtype(dtype)
        np.testing.assert_allclose(got, expected, rtol=2e-7 if dtype == "float32" else 1e-15, atol=0)


@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_dropout_on_a_handle_drops_stored_values(path: str, numbered: bool) -> None:
    """Seen through a product with the identity, forward and backward: the transpose must drop the same values."""
    backend, key, rate = PATHS[path]("float32"), (77, 88), 0.4
    matrix = sp.random_array((9, 6), density=0.5, rng=np.random.default_rng(3), format="csr")
    matrix.sort_indices()
    numbers = np.arange(matrix.nnz, dtype=np.uint32)
    index = numbers[::-1] + np.uint32(2**31) if numbered else None
    kept = random_bits(key, numbers if index is None else index) < keep_threshold(rate)
    expected = sp.csr_array((matrix.data * kept / (1 - rate), matrix.indices, matrix.indptr), shape=(9, 6)).toarray()
    handle = backend.dropout(backend.csr(matrix, index), rate, key)
    got = backend.to_numpy(backend.spmm(handle, backend.asarray(np.eye(6))))
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)
    weight = np.random.default_rng(4).normal(size=(9, 2))

    def loss(params: dict[str, Any]) -> tuple[Any, None]:
        return backend.xp.sum(backend.spmm(handle, params["x"]) * backend.asarray(weight)), None

    _, gradients = backend.value_and_grad(loss)({"x": backend.asarray(np.ones((6, 2)))})
    np.testing.assert_allclose(backend.to_numpy(gradients["x"]), expected.T @ weight, rtol=1e-5, atol=1e-6)
