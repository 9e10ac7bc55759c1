"""The check of sums: what adds one number after the other is found, whatever it adds them in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from portgnn.verification import run_check
from portgnn.verification._reductions import reductions
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
