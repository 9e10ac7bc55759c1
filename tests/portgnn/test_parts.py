"""What parts know of a backend, and threads on the host."""

from __future__ import annotations

import os
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn import get_backend
from portgnn.distributed._halo import partitioned
from portgnn.graphs.arrays import canonical_csr
from portgnn.parts import host_threads, in_threads, message_passing, provides, transposed_order
from portgnn.protocol import MessagePassing


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
