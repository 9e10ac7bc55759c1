"""Processes that train together hand over what they should, and compute what one does.

Collected where a backend's class can join processes (`portgnn.protocol.Joining`).
"""

from __future__ import annotations

from pathlib import Path

from portgnn.protocol import Backend
from portgnn.testing.joined import SIZE, together
from portgnn.verification.draw import Draw
from portgnn.verification.tolerances import tolerance


def test_two_processes_compute_what_one_does(backend: Backend, draw: Draw, tmp_path: Path) -> None:
    found = together(backend, draw.seed, tmp_path)
    assert len(found) == SIZE
    for rank, errors in enumerate(found):
        for what, error in errors.items():
            name = "compile.epochs" if what == "training" else "matmul.gradient"
            allowed = tolerance(name, backend.dtype, backend.device).value
            assert error <= allowed, f"process {rank}: {what} is off by {error:.1e} of its largest number"
