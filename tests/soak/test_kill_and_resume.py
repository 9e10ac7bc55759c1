"""The script for some kills; `python tests/soak/kill_and_resume.py` does more."""

from __future__ import annotations

import os
from pathlib import Path

import kill_and_resume
import pytest


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
@pytest.mark.slow
def test_killed_runs_end_bit_for_bit(tmp_path: Path) -> None:
    done = kill_and_resume.run(tmp_path, "numpy", "float64", "csbm-cora", 5, seed=1)
    assert (done.kills, done.unreadable, done.largest_difference, done.same_history) == (5, 0, 0.0, True)
