"""No figure without a proof: a program's losses against the NumPy reference in float64, before it is timed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from portgnn.random import dropout_keys
from portgnn.registry import get_backend
from portgnn.training import initial_state, make_run

if TYPE_CHECKING:
    from bench.own import OwnProgram

TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 5e-2}
"""Largest relative difference of an epoch's loss. float32 agrees to a few 1e-7 over 200 epochs on Cora."""


def verify_program(program: OwnProgram, epochs: int) -> dict[str, Any]:
    """The verdict as data: passed, and where it failed by how much."""
    program.reset(0)
    found = np.array(program.losses(epochs))
    found_val = program.validation()
    reference = get_backend("numpy", dtype="float64")
    run = make_run(reference, program.prepared, validate=True)
    keys = dropout_keys(0, range(epochs), program.config.layers)
    _, expected = run(initial_state(reference, program.prepared, 0), keys)
    error = np.abs(found - expected[:, 0]) / np.abs(expected[:, 0])
    val_error = abs(found_val[0] - expected[-1, 1]) / abs(expected[-1, 1])
    tolerance = TOLERANCES[program.backend.dtype]
    verdict: dict[str, Any] = {
        "method": f"{epochs} epochs of training loss and the validation loss after them, against NumPy in float64",
        "tolerance": tolerance,
        "largest_error": float(np.max(error)),
        "validation_error": float(val_error),
    }
    bad = np.flatnonzero(~(error <= tolerance))
    if len(bad):
        verdict["reason"] = f"the training loss of epoch {bad[0]} differs by {error[bad[0]]:.1e} (allowed {tolerance})"
    elif not val_error <= tolerance * 10:
        verdict["reason"] = f"the validation loss differs by {val_error:.1e} (allowed {tolerance * 10:.0e})"
    return verdict | {"passed": "reason" not in verdict}
