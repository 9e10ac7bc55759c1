"""Faults planted in collectives are seen by the kit's trial of two processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portgnn.testing.joined import together
from portgnn_torch import TorchBackend


class Faulty:
    """Collectives of which three things are wrong."""

    compiled = False

    def __init__(self, right: Any) -> None:
        self._right = right
        self.rank, self.size, self.transport, self.device = right.rank, right.size, right.transport, right.device
        self.restarts = right.restarts

    def all_reduce(self, x: Any) -> Any:
        """The second process keeps its own part to itself."""
        return self._right.all_reduce(x * 0 if self.rank == 1 else x)

    def exchange(self, x: Any, counts: Any) -> Any:
        """Rows go where they should, and gradients do not come back."""
        return self._right.handed(x, counts) + 0 * x.sum()

    def close(self) -> None:
        self._right.close()


class TorchForgets(TorchBackend):
    @staticmethod
    def join(transport: str | None, timeout: float, watch: Any) -> Any:
        return Faulty(TorchBackend.join(transport, timeout, watch))


class OwnRows(Faulty):
    def all_reduce(self, x: Any) -> Any:
        """In place: the caller's array is another afterwards."""
        total = self._right.all_reduce(x)
        x += 1
        return total

    def exchange(self, x: Any, counts: Any) -> Any:
        """What came stands in the order of the last process first. Training asks for rows in the same way, so that two
        wrongs are a right: only the trial of the verb itself sees it.
        """
        return self._right.exchange(x, counts).flip(0)


class TorchMixes(TorchBackend):
    @staticmethod
    def join(transport: str | None, timeout: float, watch: Any) -> Any:
        return OwnRows(TorchBackend.join(transport, timeout, watch))


@pytest.mark.parametrize(
    ("backend", "wrong"),
    [
        (TorchForgets, {"all_reduce", "gradient of exchange, all", "gradient of exchange, none to itself", "training"}),
        (TorchMixes, {"all_reduce leaves its argument", "exchange, all", "gradient of exchange, all"}),
    ],
)
def test_what_is_wrong_is_named(backend: type[TorchBackend], wrong: set[str], tmp_path: Path) -> None:
    found = together(backend("cpu", "float64"), 7, tmp_path)
    seen = {what for errors in found for what, error in errors.items() if not error <= 1e-9}
    assert wrong <= seen
    assert "exchange, all" not in seen or backend is TorchMixes
