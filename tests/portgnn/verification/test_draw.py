"""What is drawn for the checks has something to check."""

from __future__ import annotations

import numpy as np
import pytest

from portgnn.registry import get_backend
from portgnn.verification import _batches
from portgnn.verification.draw import Draw, recipe


@pytest.mark.parametrize("seed", [443037759, *range(8)])
def test_no_drawn_network_is_dead(seed: int) -> None:
    for number in range(2):  # at the first seed the second of these gave all nodes the same logits
        drawn = recipe(Draw(seed, "float64"), "train", number, epochs=12, patience=0, rows="")
        logits = drawn.oracle.forward(drawn.course.params[-1])[0]
        assert np.ptp(logits, axis=0).max() > 0


@pytest.mark.parametrize("seed", [198, 1716, 1717, 468273040])
def test_no_drawn_gradient_is_rounding(seed: int) -> None:
    """Draws that accused a right backend: of a bias whose gradient cancelled, and of one that passed 0 on its way."""
    backend = get_backend("numpy", dtype="float64")
    for drawn in _batches._recipes(Draw(seed)):
        assert _batches.epochs(backend, drawn).error <= 1e-12
