"""Compiled loops under torch: its own bits, plainly, in a recording and in batches, whenever they begin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

torch = pytest.importorskip("torch")

from portgnn.parts import compiled  # noqa: E402
from portgnn.placing.prepared import Prepared  # noqa: E402
from portgnn.presets import preset  # noqa: E402
from portgnn.random import dropout_keys, dropout_mask  # noqa: E402
from portgnn.training import initial_state, make_run  # noqa: E402
from portgnn_torch import TorchBackend, loops  # noqa: E402
from portgnn_torch.recording import WORTH_RECORDING  # noqa: E402

pytestmark = pytest.mark.skipif(not compiled.usable(), reason="llvmlite is not installed, or compiles nothing here")
KEYS = dropout_keys(3, range(2 * WORTH_RECORDING), 2)
DRAW = np.random.default_rng(0)


def begins(monkeypatch: pytest.MonkeyPatch, after: int, shared: int = 10**12) -> None:
    """Loops are compiled after so many multiplications, and shared from so many on."""
    monkeypatch.setattr(compiled, "WORK", compiled.Work())
    monkeypatch.setattr(compiled, "PAYS_AFTER", after)
    monkeypatch.setattr(compiled, "SHARED", shared)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [0, 1, 7, 2 * compiled.WIDEST + 3])
def test_products_have_the_bits_of_torchs(dtype: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = sp.random_array((37, 23), density=0.2, format="csr", rng=np.random.default_rng(1), dtype=np.float64)
    backend = TorchBackend(dtype=dtype)
    handle, x = backend.csr(matrix), backend.asarray(DRAW.standard_normal((23, columns)))
    begins(monkeypatch, 10**12)
    expected = handle.product(x)
    for shared in (10**12, 0):
        begins(monkeypatch, 0, shared)
        assert torch.equal(handle.product(x), expected)
        assert torch.equal(handle.product(x.T.contiguous().T), expected)
        assert compiled.WORK.ready


@pytest.mark.parametrize(("recipe", "dtype"), [("kipf", "float32"), ("pyg", "float64")])
def test_a_training_has_the_same_bits_whenever_they_begin(
    csbm: Any, recipe: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, prepared = TorchBackend(dtype=dtype), Prepared.of(csbm, preset(recipe))
    found: list[Any] = []
    for after in (10**12, 4_000_000, 0):
        begins(monkeypatch, after)
        run: Any = make_run(backend, prepared, validate=True)
        for _ in range(2):
            state, metrics = run(initial_state(backend, prepared, 3), KEYS)
        assert run.__wrapped__.program is not None
        assert compiled.WORK.ready == (after < 10**12)
        found.append((state, metrics))
    for state, metrics in found[1:]:
        np.testing.assert_array_equal(metrics, found[0][1])
        assert all(torch.equal(state[name], value) for name, value in found[0][0].items())


def test_what_a_step_gives_back_is_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorded product fills one array in each epoch; not where an epoch's metric is a number of it."""
    begins(monkeypatch, 0)
    backend = TorchBackend()
    handle = backend.csr(sp.csr_array(np.eye(3) * 2.0))

    def step(state: Any, keys: Any) -> Any:
        x = state["x"] + 1.0
        return {"x": x}, (backend.spmm(handle, x)[0, 0],)

    run: Any = backend.compile(step)
    state = {"x": torch.zeros(3, 2)}
    _, metrics = run(state, KEYS)
    assert run.__wrapped__.program is not None
    np.testing.assert_array_equal(metrics[:, 0], 2.0 * np.arange(1, len(KEYS) + 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_masks_are_those_of_the_reference(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = DRAW.integers(0, 2**32, (101, 3), dtype=np.uint32)
    words = KEYS[:, 0].reshape(-1, 2, 1)
    for index, several in ((303, (words[:, 0], words[:, 1])), (numbers, (words[:, 0, :, None], words[:, 1, :, None]))):
        for key in (several, (5, 2**32 - 1)):
            begins(monkeypatch, 0)
            assert compiled.WORK.counts(1)
            found = loops.masks(key, index, 0.4, dtype)
            np.testing.assert_array_equal(found.numpy(), dropout_mask(key, index, 0.4, dtype))


def test_loops_with_other_bits_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    begins(monkeypatch, 0)
    monkeypatch.setattr(loops, "agrees", lambda real, width: False)
    monkeypatch.setattr(compiled, "product_at", lambda *_: pytest.fail("the loop was taken"))
    matrix = sp.csr_array(np.arange(6.0).reshape(2, 3))
    product = TorchBackend().csr(matrix).product(torch.ones(3, 2))
    np.testing.assert_array_equal(product.numpy(), matrix @ np.ones((3, 2)))
