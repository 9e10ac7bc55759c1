"""What parts know of a backend, and threads on the host."""

from __future__ import annotations

import os
from typing import Any

import pytest

from portgnn import get_backend
from portgnn.distributed._halo import partitioned
from portgnn.parts import host_threads, in_threads, message_passing, provides
from portgnn.protocol import Batching, MessagePassing


class Before:
    """Stands before a backend and hands all on."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


def test_verbs_are_seen_through_those_who_hand_them_on() -> None:
    """From Python 3.12 on `isinstance` of a protocol does not see them."""
    pytest.importorskip("torch")
    backend = get_backend("torch", device="cpu")
    before = Before(backend)
    for each in (backend, before, partitioned(backend)):
        assert provides(each, MessagePassing)
        assert not provides(each, Batching)
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
