"""No figure without a proof: a program's losses against the NumPy reference in float64, before it is timed."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from portgnn.placing.prepared import Prepared
from portgnn.presets import Config
from portgnn.protocol import Backend
from portgnn.random import dropout_keys
from portgnn.registry import get_backend
from portgnn.training import initial_state, make_run
from portgnn.verification import verify

TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 5e-2}
"""Largest relative difference of an epoch's loss. float32 agrees to a few 1e-7 over 200 epochs on Cora."""


class Verifiable(Protocol):
    """A program on one of portgnn's backends whose losses can be held against the reference's."""

    backend: Backend
    config: Config
    prepared: Prepared
    options: dict[str, Any]

    def reset(self, seed: int) -> None:
        """Starts afresh from a seed."""

    def losses(self, epochs: int) -> np.ndarray:
        """Trains, and returns the loss of each epoch."""

    def validation(self) -> np.ndarray:
        """Loss and number of right answers on the validation split."""


_verdicts: dict[tuple[Any, ...], dict[str, Any]] = {}


def verify_operations(backend: Backend, form: str = "") -> dict[str, Any]:
    """`portgnn verify` of a backend: the number of checks, known gaps, and the first failure that is not one.

    form: what the backend was told beyond device and dtype. One verdict serves all programs of that kind.
    """
    key = (type(backend), backend.device, backend.dtype, form)
    if key not in _verdicts:
        _verdicts[key] = _operations(backend)
    return dict(_verdicts[key])


def _operations(backend: Backend) -> dict[str, Any]:
    checks = verify(backend).checks
    failed = [check for check in checks if not check.passed]
    known = [f"{check.name}: {check.hint}" for check in failed if check.hint.startswith("known:")]
    unknown = [check for check in failed if not check.hint.startswith("known:")]
    facts: dict[str, Any] = {"checks": len(checks), "known_gaps": known}
    if unknown:
        facts["reason"] = f"portgnn verify: {unknown[0].name}: {unknown[0].hint}"
    elif not checks:
        facts["reason"] = "portgnn verify ran no check"
    return facts


def verify_program(program: Verifiable, epochs: int) -> dict[str, Any]:
    """The verdict as data: passed, and where it failed by how much.

    First every operation of the backend (`portgnn verify`), then this very program on its own graph: an adapter
    may be right on small matrices and wrong on the one that is timed.
    """
    operations = verify_operations(program.backend, program.options.get("form", ""))
    if "reason" in operations:
        return operations | {"passed": False}
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
    verdict: dict[str, Any] = operations | {
        "method": f"portgnn verify, then {epochs} epochs of training loss and the validation loss after them, against "
        "NumPy in float64",
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
