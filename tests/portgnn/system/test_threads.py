"""Loops over several threads: results in order, the caller's context, and its exceptions."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from portgnn._system import threads


@pytest.mark.parametrize("workers", [1, 4])
def test_results_come_in_order_and_exceptions_too(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "host_threads", lambda: workers)
    assert threads.mapped(lambda x: x * x, range(50)) == [x * x for x in range(50)]
    assert threads.mapped(str, []) == []
    with pytest.raises(ZeroDivisionError):
        threads.mapped(lambda x: 1 // x, [2, 1, 0])
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("error")
        assert np.isinf(threads.mapped(lambda x: np.float64(x) * 1e308, [1, 20, 30])[1:]).all()


def test_work_ahead_gives_its_result_or_raises_where_it_is_asked_for() -> None:
    found = threads.ahead(lambda: [1])
    assert found() is found()
    with pytest.raises(ZeroDivisionError):
        threads.ahead(lambda: 1 // 0)()
