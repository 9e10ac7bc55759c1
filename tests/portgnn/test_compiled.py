"""Compiled loops outside of any adapter: what they say of matrices, and constant products."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn import Graph
from portgnn.graphs.arrays import canonical_csr, is_symmetric
from portgnn.parts import compiled
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import dense_product
from portgnn.presets import preset

pytestmark = pytest.mark.skipif(not compiled.usable(), reason="llvmlite is not installed, or compiles nothing here")


def begins(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    monkeypatch.setattr(compiled, "WORK", compiled.Work())
    monkeypatch.setattr(compiled, "PAYS_AFTER", after)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_symmetric_is_what_equals_its_transpose(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small matrices of all densities, half of them symmetric and a third of those but for one value."""
    begins(monkeypatch, 0)
    draw = np.random.default_rng(5)
    outcomes = []
    for trial in range(400):
        n = int(draw.integers(1, 9))
        dense = ((draw.random((n, n)) < draw.random()) * draw.integers(1, 3, (n, n))).astype(dtype)
        if trial % 2:
            dense = np.triu(dense) + np.triu(dense, 1).T
        if trial % 3 == 0:
            dense[draw.integers(n), draw.integers(n)] = draw.integers(0, 3)
        matrix = canonical_csr(dense, dtype)
        outcomes.append(bool((dense == dense.T).all()))
        assert compiled.is_symmetric(matrix.indptr, matrix.indices, matrix.data) == outcomes[-1], dense
        assert is_symmetric(matrix) == outcomes[-1]
    assert 100 < sum(outcomes) < 300


def test_wide_indices_are_left_to_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    begins(monkeypatch, 0)
    matrix = sp.csr_array(np.eye(3))
    parts = (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data)
    assert compiled.is_symmetric(*parts) is None
    assert is_symmetric(sp.csr_array((parts[2], parts[1], parts[0]), shape=(3, 3)))


def test_constant_products_have_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(2)
    edges, features = draw.integers(0, 40, (300, 2)), draw.standard_normal((40, 21)).astype(np.float32)
    graph = Graph.from_edges(edges, features, draw.integers(0, 3, 40), train=range(9))
    prepared = Prepared.of(graph, preset("pyg"))
    found = []
    for after in (10**12, 0):
        begins(monkeypatch, after)
        blocks = [prepared.adjacency, prepared.adjacency[:7]]
        found.append([dense_product(blocks, prepared, np.arange(40), dtype) for dtype in ("float32", "float64")])
        assert compiled.WORK.ready == (after == 0)
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-12 if one.dtype == np.float64 else 1e-6, atol=1e-14)
