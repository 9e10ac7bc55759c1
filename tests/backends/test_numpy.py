"""The NumPy adapter's own short ways: its product, its Adam over all parameters at once, and what a step calls."""

from __future__ import annotations

import cProfile
import platform
import pstats
import threading
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn import Graph
from portgnn.parts import Adam, compiled
from portgnn.placing.prepared import Prepared
from portgnn.presets import preset
from portgnn.random import HASH, dropout_keys, dropout_mask, keep_threshold
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
    monkeypatch.setattr(csr, "_KERNELS", {})  # a SciPy whose own module is elsewhere
    np.testing.assert_array_equal(csr.product(matrix, x), matrix @ x)


def assert_same(found: Any, right: Any) -> None:
    """To the bit where SciPy's own loops round each product and each sum; its builds for ARM may round both once."""
    if platform.machine() in ("x86_64", "AMD64"):
        np.testing.assert_array_equal(found, right)
    else:
        np.testing.assert_allclose(found, right, rtol=1e-4 if found.dtype == np.float32 else 1e-12, atol=1e-6)


needs_llvm = pytest.mark.skipif(not compiled.usable(), reason="llvmlite is not installed, or compiles nothing here")


@needs_llvm
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_products_have_the_bits_of_scipys(dtype: str) -> None:
    """Sums go in the same order, and no product and sum are rounded once where SciPy rounds twice."""
    matrix, _ = operands(dtype, 1)
    matrix.data[::5] = -matrix.data[::5]
    for columns in (0, 1, 7, 16, compiled.WIDEST, 2 * compiled.WIDEST + 3):
        x, y = (RNG.standard_normal((n, columns)).astype(dtype) for n in (23, 37))
        for threads in (1, 2, 3):
            for each, operand, total in (
                (matrix, x, np.empty((37, columns), dtype)),
                (matrix.T, y, np.zeros((23, columns), dtype)),
            ):
                compiled.product(each.format, (each.indptr, each.indices, each.data), operand, total, threads)
                assert_same(total, each @ operand)


@needs_llvm
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_masks_are_those_of_the_reference(dtype: str) -> None:
    numbers = RNG.integers(0, 2**32, 1003, dtype=np.uint32)
    for key, rate in (((0, 0), 0.5), ((2**32 - 1, 2**31), 0.1), ((12345, 7), 0.999)):
        for index in (1003, numbers):
            for threads in (1, 3):
                found = np.empty(1003, dtype=dtype)
                given = None if isinstance(index, int) else index
                compiled.mask(found, given, key, keep_threshold(rate), 1.0 / (1.0 - rate), HASH, threads)
                np.testing.assert_array_equal(found, dropout_mask(key, index, rate, dtype))


@needs_llvm
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("recipe", ["kipf", "pyg"])
def test_a_training_has_the_same_bits_with_compiled_loops(
    csbm: Graph, recipe: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They begin in the midst of it, after so many multiplications; and a processor's other cores share in them."""
    backend, config = NumPyBackend(dtype=dtype), preset(recipe)
    prepared, keys = Prepared.of(csbm, config), dropout_keys(3, range(6), 2)
    found = []
    for pays_after, shared in ((10**12, 10**12), (3_000_000, 10**12), (0, 0)):
        monkeypatch.setattr(compiled, "WORK", compiled.Work())
        monkeypatch.setattr(compiled, "PAYS_AFTER", pays_after)
        monkeypatch.setattr(compiled, "SHARED", shared)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        state, metrics = make_run(backend, prepared, validate=True)(initial_state(backend, prepared, 3), keys)
        assert compiled.WORK.ready == (pays_after < 10**12)
        found.append({name: np.array(value) for name, value in state.items()} | {"metrics": metrics})
    for other in found[1:]:
        for name, value in found[0].items():
            assert_same(other[name], value)


def test_a_compiler_that_fails_leaves_the_work_to_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise OSError("no such processor")

    monkeypatch.setattr(compiled, "_compiled", broken)
    for kept in (compiled.usable, compiled._product):
        monkeypatch.setattr(compiled, kept.__name__, kept.__wrapped__)
    monkeypatch.setattr(compiled, "WORK", compiled.Work())
    monkeypatch.setattr(compiled, "PAYS_AFTER", 0)
    matrix, x = operands("float32", 4)
    np.testing.assert_array_equal(csr.product(matrix, x), matrix @ x)
    assert compiled.WORK.refused
    assert "compiles none" in NumPyBackend.environment()["loops"]


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    return {name: RNG.standard_normal(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    "shapes",
    [{"a": (3, 4), "b": (4,), "c": (4, 2), "d": (2,)}, {"a": (5,), "b": (BLOCK // 3, 7)}],
    ids=["small", "several blocks"],
)
@pytest.mark.parametrize("decay", [{}, {"a": 0.1, "b": 0.1, "c": 0.1, "d": 0.1}, {"a": 0.1, "b": 0.2}])
@pytest.mark.parametrize("by", ["NumPy", pytest.param("LLVM", marks=needs_llvm)])
def test_adam_over_all_parameters_at_once_has_the_bits_of_one_after_the_other(
    shapes: dict[str, tuple[int, ...]], decay: dict[str, float], by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = compiled.Work()
    work.ready = by == "LLVM"
    monkeypatch.setattr(compiled, "WORK", work)
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


MOST_CALLS = 570
"""Of one step on Cora's size, preset `pyg`; a hundred of 664 too many cost a fifteenth of its time."""


def test_a_step_makes_few_calls(csbm: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "WORK", compiled.Work())  # as in a process that has done little
    backend, config = NumPyBackend(), preset("pyg")
    prepared = Prepared.of(csbm, config)
    run, keys = make_run(backend, prepared, validate=False), dropout_keys(0, range(4), config.layers)
    state, _ = run(initial_state(backend, prepared, 0), keys)
    profiler = cProfile.Profile()
    profiler.runcall(run, state, keys)
    calls = pstats.Stats(profiler).total_calls / len(keys)  # type: ignore[attr-defined]
    assert calls <= MOST_CALLS, f"{calls:.0f} calls a step"


@needs_llvm
def test_loops_are_compiled_where_no_interrupt_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first thread Ctrl-C ended in a `__del__` of LLVM's, lost, or took the process with it."""
    seen = []
    built = compiled._built
    monkeypatch.setattr(compiled, "_built", lambda *given: (seen.append(threading.current_thread()), built(*given))[1])
    compiled._product.__wrapped__("csr", 3, "f")
    assert len(seen) == 1
    assert seen[0] is not threading.main_thread()
