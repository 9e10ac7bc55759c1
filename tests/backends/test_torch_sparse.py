"""Transposes of torch's sparse matrices, which large ones have only when a gradient asks for them."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn.graphs.arrays import canonical_csr

torch = pytest.importorskip("torch")
sparse = pytest.importorskip("portgnn_torch.sparse")


def drawn(seed: int, rows: int, columns: int) -> sp.csr_array:
    return canonical_csr(sp.random_array((rows, columns), density=0.2, rng=np.random.default_rng(seed), format="csr"))


def _parts(matrix: Any) -> list[np.ndarray]:
    return [matrix.indptr.numpy(), matrix.indices.numpy(), matrix.values.numpy()]


@pytest.mark.parametrize("form", ["CSR", "EDGES"])
@pytest.mark.parametrize("late", [False, True])
def test_transposes_are_scipys(form: str, late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "AT_ONCE", -1 if late else 1 << 20)
    for seed, (rows, columns) in enumerate([(9, 14), (14, 9), (1, 1), (12, 12)]):
        matrix = drawn(seed, rows, columns)
        placed = sparse.place(matrix, None, torch.float64, torch.device("cpu"), sparse.Form[form])
        assert ("transposed" in vars(placed)) != late
        want = canonical_csr(matrix.T)
        for got, part in zip(_parts(placed.transposed), (want.indptr, want.indices, want.data), strict=True):
            np.testing.assert_array_equal(got, part)
        np.testing.assert_array_equal(placed.values[placed.to_transposed], want.data)
        x = torch.ones(rows, 2, dtype=torch.float64)
        np.testing.assert_allclose(placed.transposed.product(x), want @ x.numpy(), rtol=1e-14)
        doubled = placed.with_values(placed.values * 2)
        np.testing.assert_allclose(doubled.transposed.product(x), 2 * (want @ x.numpy()), rtol=1e-14)


def test_a_transpose_by_sorting_is_that_of_the_host() -> None:
    for seed, (rows, columns) in enumerate([(9, 14), (14, 9), (1, 1), (300, 200)]):
        parts = _parts(
            sparse.place(drawn(seed, rows, columns), None, torch.float32, torch.device("cpu"), sparse.Form.CSR)
        )
        given = ((rows, columns), *map(torch.from_numpy, parts))
        for one, other in zip(sparse.turned(*given), sparse.turned_by_sorting(*given), strict=True):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)


def test_a_symmetric_matrix_is_held_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "AT_ONCE", -1)
    half = drawn(0, 30, 30)
    placed = sparse.place(canonical_csr(half + half.T), None, torch.float32, torch.device("cpu"), sparse.Form.CSR)
    assert placed.transposed.values is placed.values
    assert placed.transposed.indices is placed.indices
    other = sparse.place(half, None, torch.float32, torch.device("cpu"), sparse.Form.CSR)
    assert other.transposed.values is not other.values
    # The same columns and values, one after the other, and still not its own transpose.
    odd = sp.csr_array((np.ones(2), [0, 1], [0, 2, 2]), shape=(2, 2))
    turned = sparse.place(odd, None, torch.float32, torch.device("cpu"), sparse.Form.CSR).transposed
    np.testing.assert_array_equal(turned.indptr, [0, 1, 2])


def test_a_recorded_step_finds_a_late_transpose(monkeypatch: pytest.MonkeyPatch) -> None:
    from portgnn import get_backend, load_graph
    from portgnn.placing.prepared import Prepared
    from portgnn.presets import preset
    from portgnn.random import dropout_keys
    from portgnn.training import initial_state, make_run

    runs = []
    for most in (1 << 20, -1):
        monkeypatch.setattr(sparse, "AT_ONCE", most)
        backend, prepared = (
            get_backend("torch", device="cpu"),
            Prepared.of(load_graph("karate"), preset("pyg", hidden=4)),
        )
        run = make_run(backend, prepared, validate=False)
        _, rows = run(initial_state(backend, prepared, 0), dropout_keys(0, range(12), 2))
        runs.append(rows)
    np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize("form", ["CSR", "EDGES"])
@pytest.mark.parametrize("fused", [False, True])
def test_the_gradient_of_steps_is_that_of_each_in_turn(form: str, fused: bool) -> None:
    matrix = drawn(3, 20, 20)
    placed = sparse.place(matrix, None, torch.float64, torch.device("cpu"), sparse.Form[form])
    dense = torch.from_numpy(matrix.toarray())
    random = torch.Generator().manual_seed(0)
    x, seen = (torch.randn(20, 3, dtype=torch.float64, generator=random) for _ in range(2))
    grads = []
    for way in ("steps", "each in turn"):
        began = x.clone().requires_grad_()
        if way == "steps":
            found = sparse.Propagate.apply(placed, began, 0.1, 4, fused)
        else:
            found = began
            for _ in range(4):
                found = 0.9 * dense @ found + 0.1 * began
        grads.append((found.detach(), *torch.autograd.grad((found * seen).sum(), began)))
    for got, want in zip(*grads, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-13, atol=1e-13)


def test_what_is_added_to_all_rows_has_their_sum_for_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    from portgnn_torch.columns import Shifted, ShiftedProduct

    stand_in = types.ModuleType("portgnn_torch.column_kernels")
    vars(stand_in).update(column_sums=lambda x: x.sum(0))
    monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    random = torch.Generator().manual_seed(0)
    shapes = ((7, 4), (4, 3), (3,))
    a, b, shift = (torch.randn(*shape, dtype=torch.float64, generator=random).requires_grad_() for shape in shapes)
    assert torch.autograd.gradcheck(lambda *given: ShiftedProduct.apply(*given, 0.75), (a, b, shift))
    assert torch.autograd.gradcheck(Shifted.apply, ((a @ b).detach().requires_grad_(), shift))
