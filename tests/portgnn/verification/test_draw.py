"""What is drawn for the checks has something to check."""

from __future__ import annotations

import numpy as np
import pytest

from portgnn.verification.draw import Draw, recipe


@pytest.mark.parametrize("seed", [443037759, *range(8)])
def test_no_drawn_network_is_dead(seed: int) -> None:
    for number in range(2):  # at the first seed the second of these gave all nodes the same logits
        drawn = recipe(Draw(seed, "float64"), "train", number, epochs=12, patience=0, rows="")
        logits = drawn.oracle.forward(drawn.course.params[-1])[0]
        assert np.ptp(logits, axis=0).max() > 0
