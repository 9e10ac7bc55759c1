"""Every check: drawn cases where cases can be drawn, else its full list (trajectories over all epochs)."""

from __future__ import annotations

from portgnn.protocol import Backend
from portgnn.testing._properties import hold, require
from portgnn.verification.check import Check
from portgnn.verification.draw import Draw


def test_drawn(drawn: Check, backend: Backend, examples: int, draw: Draw) -> None:
    hold(backend, drawn, examples, draw)


def test_fixed(fixed: Check, case: object, backend: Backend) -> None:
    require(backend, fixed, case)
