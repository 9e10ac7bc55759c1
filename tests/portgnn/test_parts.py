"""What parts know of a backend."""

from __future__ import annotations

from typing import Any

import pytest

from portgnn import get_backend
from portgnn.distributed._halo import partitioned
from portgnn.parts import message_passing, provides
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
