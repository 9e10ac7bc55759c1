"""No figure without a proof: a program's losses against the NumPy reference in float64, before it is timed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from portgnn.placing.prepared import Prepared
from portgnn.presets import Config
from portgnn.protocol import Backend
from portgnn.random import dropout_keys
from portgnn.registry import get_backend
from portgnn.training import initial_state, make_run
from portgnn.verification import verify
from portgnn.verification.seeds import Comparison

TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 5e-2}
"""Largest relative difference of an epoch's loss. float32 agrees to a few 1e-7 over 200 epochs on Cora."""

KINK = 100
"""So many tolerances are the most by which a run parts where it first goes through a kink of relu."""


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


_verdicts: dict[tuple[object, ...], dict[str, object]] = {}


def verify_operations(backend: Backend, form: str = "") -> dict[str, object]:
    """`portgnn verify` of a backend: the number of checks, known gaps, and the first failure that is not one.

    form: what the backend was told beyond device and dtype. One verdict serves all programs of that kind.
    """
    key = (type(backend), backend.device, backend.dtype, form)
    if key not in _verdicts:
        _verdicts[key] = _operations(backend)
    return dict(_verdicts[key])


def _operations(backend: Backend) -> dict[str, object]:
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


def verify_program(program: Verifiable, epochs: int, operations: bool = True) -> dict[str, object]:
    """The verdict as data: passed, and where it failed by how much.

    operations: first every operation of the backend (`portgnn verify`), which can take minutes. In any case this very
    program on its own graph: an adapter may be right on small matrices and wrong on the one that is timed.
    """
    found_first = verify_operations(program.backend, program.options.get("form", "")) if operations else {}
    if "reason" in found_first:
        return found_first | {"passed": False}
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
    verdict: dict[str, object] = found_first | {
        "method": f"{'portgnn verify, then ' if operations else ''}{epochs} epochs of training loss and the validation "
        "loss after them, against NumPy in float64",
        "tolerance": tolerance,
        "largest_error": float(np.max(error)),
        "validation_error": float(val_error),
    }
    bad, reason, near = np.flatnonzero(~(error <= tolerance)), "", False
    if len(bad):
        near = bool(error[bad[0]] <= KINK * tolerance)
        reason = f"the training loss of epoch {bad[0]} differs by {error[bad[0]]:.1e} (allowed {tolerance})"
    elif not val_error <= tolerance * 10:
        near = bool(val_error <= KINK * tolerance * 10)
        reason = f"the validation loss differs by {val_error:.1e} (allowed {tolerance * 10:.0e})"
    if near and explained(program, epochs, found):
        verdict["explained"] = f"{reason}, at a kink of relu, as `portgnn verify --seeds` explains it"
    elif reason:
        verdict["reason"] = reason
    return verdict | {"passed": "reason" not in verdict}


def explained(program: Verifiable, epochs: int, losses: np.ndarray) -> bool:
    """Whether the losses part from the reference's by kinks of relu alone, as those of whole trainings may.

    The run is followed with validation, as `portgnn verify --seeds` does it; the timed program must have had its
    losses.
    """
    graph, config = program.prepared.graph, replace(program.config, epochs=epochs)
    comparison = Comparison(program.backend, Prepared.of(graph, config))
    watched = comparison.found(0)[:, 0]
    same = bool((np.abs(watched - losses) <= TOLERANCES[program.backend.dtype] * np.abs(watched)).all())
    return same and comparison.result(0).passed
