"""What parts know of a backend, and threads on the host."""

from __future__ import annotations

import os
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn import get_backend
from portgnn.distributed._halo import partitioned
from portgnn.graphs.arrays import canonical_csr
from portgnn.parts import (
    FasterRun,
    host_threads,
    in_threads,
    message_passing,
    plain_loop,
    provides,
    seen_equal,
    transposed_order,
)
from portgnn.protocol import MessagePassing, State


class Before:
    """Stands before a backend and hands all on."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


@runtime_checkable
class Unheard(Protocol):
    """What no backend has."""

    def verb_of_no_backend(self) -> None: ...


def test_verbs_are_seen_through_those_who_hand_them_on() -> None:
    """From Python 3.12 on `isinstance` of a protocol does not see them."""
    pytest.importorskip("torch")
    backend = get_backend("torch", device="cpu")
    before = Before(backend)
    for each in (backend, before, partitioned(backend)):
        assert provides(each, MessagePassing)
        assert not provides(each, Unheard)
        assert message_passing(each) is each


def test_an_error_in_a_thread_is_raised_where_it_was_started() -> None:
    done = []

    def fails() -> None:
        raise MemoryError("no room")

    for shares in ([fails, lambda: done.append(1)], [lambda: done.append(2), fails]):
        with pytest.raises(MemoryError, match="no room"):
            in_threads(shares)
    assert done == [1, 2]


def test_threads_are_as_many_as_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for said, threads in (("3", 3), ("4,2", 4)):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert host_threads() == threads
    for said in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert 1 <= host_threads() <= (os.cpu_count() or 1)


def test_the_order_of_a_transpose_is_that_of_a_stable_sort_by_column() -> None:
    for shape in ((7, 11), (11, 7), (1, 1), (5, 5)):
        matrix = canonical_csr(sp.random_array(shape, density=0.4, rng=np.random.default_rng(3), format="csr"))
        np.testing.assert_array_equal(transposed_order(matrix), np.argsort(matrix.indices, kind="stable"))
        np.testing.assert_array_equal(matrix.data[transposed_order(matrix)], matrix.T.tocsr().data)


class _Doubled:
    """A program beside the step below; wrong in its state, in what it measures, or in nothing."""

    def __init__(self, state: State, wrong: str = "") -> None:
        self.state, self.wrong = {"x": np.array(state["x"])}, wrong

    def fill(self, state: State) -> None:
        np.copyto(self.state["x"], state["x"])

    def __call__(self, keys: NDArray[np.uint32]) -> NDArray[np.float64]:
        rows = []
        for key in keys[:, 0, 0]:
            self.state["x"] *= 2.0 if self.wrong != "state" or key % 2 else 3.0
            rows.append([float(self.state["x"].sum()) + (self.wrong == "metric") * 1e-12])
        return np.array(rows)

    def copy(self) -> State:
        return {"x": self.state["x"].copy()}


def _double(state: State, keys: Any) -> Any:
    after = {"x": state["x"] * 2.0}
    return after, (after["x"].sum(),)


_KEYS = np.arange(8, dtype=np.uint32).reshape(4, 1, 2) * 2
_PLAIN = plain_loop(_double, lambda metrics: np.array(metrics, dtype=np.float64), lambda *_: None)


@pytest.mark.parametrize("wrong", ["", "state", "metric"])
def test_a_program_is_used_where_it_was_seen_to_do_what_the_step_does(wrong: str) -> None:
    def make(state: State, keys: NDArray[np.uint32]) -> _Doubled:
        return seen_equal(_Doubled(state, wrong), _double, keys, np.array_equal)

    run, start = FasterRun(make, _PLAIN), {"x": np.arange(3.0)}
    for _ in range(2):
        after, metrics = run(start, _KEYS)
        np.testing.assert_array_equal(after["x"], 16 * start["x"])
        np.testing.assert_array_equal(metrics[:, 0], [6, 12, 24, 48])
    assert (run.program is None) == bool(wrong)
    assert (run.refused or "") == {
        "": "",
        "state": "its state after an epoch is not the step's",
        "metric": "what it measures of an epoch is not what the step does",
    }[wrong]


def test_what_a_program_gives_stays_when_it_is_called_again() -> None:
    run = FasterRun(lambda state, keys: _Doubled(state), _PLAIN)
    first, _ = run({"x": np.ones(2)}, _KEYS)
    run({"x": np.full(2, 5.0)}, _KEYS)
    assert first["x"].tolist() == [16.0, 16.0]


def test_few_epochs_make_no_program_and_a_failure_is_kept() -> None:
    tries: list[int] = []

    def make(state: State, keys: NDArray[np.uint32]) -> _Doubled:
        tries.append(len(keys))
        raise OSError("no compiler")

    run = FasterRun(make, _PLAIN, fewest=4)
    run({"x": np.ones(2)}, _KEYS[:3])
    assert (tries, run.refused) == ([], None)
    for _ in range(2):
        after, _ = run({"x": np.ones(2)}, _KEYS)
        assert after["x"].tolist() == [16.0, 16.0]
    assert (tries, run.refused) == ([1], "no compiler")
