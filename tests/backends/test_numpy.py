"""The NumPy adapter's own short ways: its product, its Adam over all parameters at once, and what a step calls."""

from __future__ import annotations

import cProfile
import pstats
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn import Graph
from portgnn.parts import Adam
from portgnn.placing.prepared import Prepared
from portgnn.presets import preset
from portgnn.random import dropout_keys
from portgnn.training import initial_state, make_run
from portgnn_numpy import NumPyBackend, csr
from portgnn_numpy.optim import BLOCK, InPlaceAdam

RNG = np.random.default_rng(0)
RATES = (0.01, 0.9, 0.999, 1e-8)


def operands(dtype: str, columns: int) -> tuple[sp.csr_array, np.ndarray[Any, Any]]:
    matrix = sp.random_array((37, 23), density=0.2, format="csr", rng=np.random.default_rng(1), dtype=np.float64)
    return matrix.astype(dtype), RNG.standard_normal((23, columns)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [0, 1, 7, 16])
def test_the_product_has_the_bits_of_scipys(dtype: str, columns: int) -> None:
    matrix, x = operands(dtype, columns)
    for a, b in ((matrix, x), (matrix, np.asfortranarray(x)), (matrix.T, (matrix @ x)[::-1])):
        found = csr.product(a, b)
        assert found.dtype == b.dtype
        np.testing.assert_array_equal(found, a @ b)


def test_the_product_leaves_all_else_to_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, x = operands("float32", 4)
    assert csr.product(matrix, x.astype(np.float64)).dtype == np.float64
    np.testing.assert_array_equal(csr.product(matrix, x[:, 0]), matrix @ x[:, 0])
    with pytest.raises(ValueError, match="mismatch"):
        csr.product(matrix, x[1:])
    monkeypatch.setattr(csr, "_KERNELS", {"csr": None, "csc": None})  # a SciPy whose own module is elsewhere
    np.testing.assert_array_equal(csr.product(matrix, x), matrix @ x)


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    return {name: RNG.standard_normal(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    "shapes",
    [{"a": (3, 4), "b": (4,), "c": (4, 2), "d": (2,)}, {"a": (5,), "b": (BLOCK // 3, 7)}],
    ids=["small", "several blocks"],
)
@pytest.mark.parametrize("decay", [{}, {"a": 0.1, "b": 0.1, "c": 0.1, "d": 0.1}, {"a": 0.1, "b": 0.2}])
def test_adam_over_all_parameters_at_once_has_the_bits_of_one_after_the_other(
    shapes: dict[str, tuple[int, ...]], decay: dict[str, float]
) -> None:
    decay = {name: value for name, value in decay.items() if name in shapes}
    own, plain = (kind(np.zeros, np.sqrt, *RATES, decay) for kind in (InPlaceAdam, Adam))
    params = drawn(shapes)
    ours, theirs = dict(params), dict(params)
    state, expected = own.init(params), plain.init(params)
    for _ in range(3):
        grads = drawn({name: shape[::-1] for name, shape in shapes.items()})
        grads = {name: grad.T for name, grad in grads.items()}  # as those of a product with a transpose lie
        ours, state = own.step(ours, grads, state)
        theirs, expected = plain.step(theirs, grads, expected)
        assert list(ours) == list(theirs)
        for found, right in ((ours, theirs), (state, expected)):
            assert found.keys() == right.keys()
            for name in right:
                np.testing.assert_array_equal(found[name], right[name])


def test_adam_takes_up_another_state_and_leaves_those_before_alone() -> None:
    """A run that is rewound hands back copies of an earlier state, while the later one is still held."""
    shapes: dict[str, tuple[int, ...]] = {"a": (3, 4), "b": (4,)}
    own = InPlaceAdam(np.zeros, np.sqrt, *RATES, {"a": 0.1})
    params = drawn(shapes)
    kept = {name: value.copy() for name, value in params.items()}
    grads = drawn(shapes)
    first, state = own.step(params, grads, own.init(params))
    later, _ = own.step(first, grads, state)
    held = {name: value.copy() for name, value in later.items()}
    again, _ = own.step({name: value.copy() for name, value in kept.items()}, grads, own.init(kept))
    assert all(np.array_equal(later[name], held[name]) for name in held)
    assert all(np.array_equal(params[name], kept[name]) for name in kept)
    assert not any(np.array_equal(again[name], later[name]) for name in later)


MOST_CALLS = 560
"""Of one step on Cora's size, preset `pyg`; a hundred of 664 too many cost a fifteenth of its time."""


def test_a_step_makes_few_calls(csbm: Graph) -> None:
    backend, config = NumPyBackend(), preset("pyg")
    prepared = Prepared.of(csbm, config)
    run, keys = make_run(backend, prepared, validate=False), dropout_keys(0, range(4), config.layers)
    state, _ = run(initial_state(backend, prepared, 0), keys)
    profiler = cProfile.Profile()
    profiler.runcall(run, state, keys)
    calls = pstats.Stats(profiler).total_calls / len(keys)  # type: ignore[attr-defined]
    assert calls <= MOST_CALLS, f"{calls:.0f} calls a step"
