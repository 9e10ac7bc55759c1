"""Matrices that come with their transpose give the products and gradients of those that do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import portgnn
from portgnn import get_backend
from portgnn.parts import csr_pair

BACKENDS = [name for name in ("numpy", "torch", "jax", "mlx") if name in portgnn.available_backends()]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("name", BACKENDS)
def test_a_known_transpose_is_the_transpose(name: str, symmetric: bool) -> None:
    draw = np.random.default_rng(3)
    dense = draw.normal(size=(7, 7)) * (draw.random((7, 7)) < 0.4)
    matrix = sp.csr_array(dense + dense.T if symmetric else dense)
    turned = matrix if symmetric else sp.csr_array(matrix.T.tocsr())
    backend: Any = get_backend(name, device="cpu", dtype="float64")
    x, w = backend.asarray(draw.normal(size=(7, 3))), backend.asarray(draw.normal(size=(7, 3)))
    found = []
    for handle in (backend.csr(matrix), csr_pair(backend, matrix, turned)):

        def loss(params: Any, handle: Any = handle) -> Any:
            return backend.xp.sum(backend.spmm(handle, params["x"]) * w), None

        (value, _), grads = backend.value_and_grad(loss)({"x": x})
        found.append((float(backend.to_numpy(value)), backend.to_numpy(grads["x"])))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-14)
    np.testing.assert_allclose(found[1][1], matrix.T @ backend.to_numpy(w), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-13, atol=1e-14)
