"""The check of sums: what adds one number after the other is found, whatever it adds them in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from portgnn.verification import run_check
from portgnn.verification._reductions import along_axes, reductions
from portgnn_numpy import NumPyBackend
from portgnn_numpy.tape import value_of


class _Sums(NumPyBackend):
    """NumPy whose sum over everything is another."""

    name = "sums"

    def __init__(self, dtype: str, total: Callable[[Any], Any]) -> None:
        super().__init__("cpu", dtype)
        right = self.xp

        class Namespace:
            def __getattr__(self, name: str) -> Any:
                return getattr(right, name)

            def sum(self, x: Any, **options: Any) -> Any:
                return total(value_of(x)).reshape(()) if not options else right.sum(x, **options)

        self.xp = Namespace()


def _in_a_row(x: Any) -> Any:
    return np.cumsum(x.ravel())[-1]


def _in_lanes(x: Any) -> Any:
    """Eight at a time, as a loop of vector instructions adds."""
    flat = x.ravel()
    whole = flat.size // 8 * 8
    return np.cumsum(flat[:whole].reshape(-1, 8), axis=0)[-1].sum() + flat[whole:].sum()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("total", [_in_a_row, _in_lanes])
def test_a_sum_whose_error_grows_with_n_is_found(total: Callable[[Any], Any], dtype: str) -> None:
    result = run_check(_Sums(dtype, total), reductions, (2**16 + 1,))
    assert not result.passed
    assert result.max_error is not None
    assert result.max_error > 2
    assert "add them in pairs" in result.hint


def test_a_sum_that_leaves_numbers_out_is_found() -> None:
    result = run_check(_Sums("float32", lambda x: x.ravel()[:-1].sum()), reductions, (2**16 + 1,))
    assert not result.passed


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_pairs_pass(dtype: str) -> None:
    result = run_check(_Sums(dtype, lambda x: x.sum()), reductions, reductions.full or ())
    assert result.passed, result


class _Columns(NumPyBackend):
    """NumPy's own sums along axes, which add rows one after the other."""

    def __init__(self, dtype: str) -> None:
        super().__init__("cpu", dtype)
        right = self.xp

        class Namespace:
            def __getattr__(self, name: str) -> Any:
                return getattr(right, name)

            def sum(self, x: Any, *, axis: Any = None) -> Any:
                return right.sum(x) if axis is None else np.sum(value_of(x), axis=axis)

        self.xp = Namespace()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_sum_of_columns_whose_error_grows_with_n_is_found(dtype: str) -> None:
    result = run_check(_Columns(dtype), along_axes, (2**16 + 1,))
    assert not result.passed
    assert "the sum of the columns" in result.hint


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_gradient_of_a_bias_whose_error_grows_with_n_is_found(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from portgnn_numpy import sums

    monkeypatch.setattr(sums, "of_columns", lambda xp, x, rows=0: np.add.reduce(x, axis=0))
    monkeypatch.setattr(sums, "as_it_lies", lambda *_: True)
    result = run_check(NumPyBackend("cpu", dtype), along_axes, (2**16 + 1,))
    assert not result.passed


@pytest.mark.parametrize("shape", [(3000, 5), (129, 1, 4), (40, 50, 60), (2000, 2)])
def test_sums_along_axes_are_numpys(shape: tuple[int, ...]) -> None:
    xp = NumPyBackend("cpu", "float64").xp
    x = np.random.default_rng(1).standard_normal(shape)
    shown = np.broadcast_to(np.float64(0.1), shape)
    for array in (x, np.asfortranarray(x), x[..., ::-1], shown, x.astype(np.complex128)):
        for axis in (None, 0, -1, (0, 1), tuple(range(len(shape)))):
            for keepdims in (False, True):
                got = xp.sum(array, axis=axis, keepdims=keepdims)
                np.testing.assert_allclose(got, np.sum(array, axis=axis, keepdims=keepdims), rtol=1e-11, atol=1e-11)
                if array.dtype.kind == "f":
                    got = xp.std(array, axis=axis, correction=1, keepdims=keepdims)
                    want = np.std(array, axis=axis, ddof=1, keepdims=keepdims)
                    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
