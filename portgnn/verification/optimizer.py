"""Checks of Adam against Algorithm 1, step by step and parameter by parameter."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from portgnn.protocol import Backend
from portgnn.verification import oracle
from portgnn.verification.cases import Case
from portgnn.verification.check import check
from portgnn.verification.measure import Departure, Floats, Measured, compare, fetch, worst

RATE = 0.01
MISTAKES: dict[str, dict[str, Any]] = {
    "Adam without bias correction": {"corrected": False},
    "Adam adds eps inside the square root": {"eps_inside": True},
    "weight decay is decoupled (AdamW), not added to the gradient": {"decoupled": True},
}
SIZES = {"large": 1.0, "small": 1e-4, "tiny": 1e-7}
"""Gradients near eps show where it is added; weight decay acts on "large" alone."""
CASES = (Case(7, 5, 3, seed=1), Case(1, 1, 1, seed=3))


def _start(case: Case) -> dict[str, Floats]:
    return {name: case.array(f"start of {name}", case.rows, case.columns) for name in SIZES}


def _gradients(case: Case, step: int) -> dict[str, Floats]:
    found = {}
    for name, size in SIZES.items():
        exact = case.array(f"{name} at step {step}", case.rows, case.columns).astype(np.float32) * np.float32(size)
        found[name] = exact.astype(np.float64)
        if step % 7 == 3:
            found[name][0] = 0.0
    return found


def _expected(case: Case, steps: int, decay: dict[str, float], **mistake: Any) -> dict[str, Floats]:
    optimizer, params = oracle.Adam(RATE, decay=decay, **mistake), _start(case)
    for step in range(steps):
        params = optimizer.step(params, _gradients(case, step))
    return params


def _one(name: str, case: Case, steps: int, decay: dict[str, float], mistake: dict[str, Any]) -> Floats:
    return _expected(case, steps, decay, **mistake)[name]


def _steps(backend: Backend, case: Case, steps: int, decay: dict[str, float], through_host: bool = False) -> Any:
    optimizer = backend.adam(RATE, weight_decay=decay)
    params = {name: backend.asarray(value) for name, value in _start(case).items()}
    state = optimizer.init(params)
    for step in range(steps):
        grads = {name: backend.asarray(value) for name, value in _gradients(case, step).items()}
        params, state = optimizer.step(params, grads, state)
        if through_host:
            optimizer = backend.adam(RATE, weight_decay=decay)
            params, state = (
                {name: backend.asarray(backend.to_numpy(value)) for name, value in part.items()}
                for part in (params, state)
            )
    if set(params) != set(SIZES):
        raise Departure(f"a step gives {sorted(params)}, not {sorted(SIZES)}")
    return params


def _measure(backend: Backend, case: Case, params: Any, steps: int, decay: dict[str, float]) -> Measured:
    """The error of how far the parameters moved: the size of a step is what Adam decides."""
    start, want = _start(case), _expected(case, steps, decay)
    measured = []
    for name in SIZES:
        suspects = {reason: partial(_one, name, case, steps, decay, kind) for reason, kind in MISTAKES.items()}
        if decay:
            everywhere = dict.fromkeys(SIZES, max(decay.values()))
            suspects["weight decay is missing"] = partial(_one, name, case, steps, {}, {})
            suspects["weight decay acts on parameters that have none"] = partial(
                _one, name, case, steps, everywhere, {}
            )
        got = fetch(backend, params[name], f"the parameter after {steps} steps")
        # Storing a parameter of size 1 costs more than computing its step of size 0.01.
        scale = max(float(np.abs(want[name] - start[name]).max()), float(np.abs(start[name]).max()))
        measured.append(compare(f"the parameter with {name} gradients", got, want[name], scale, suspects))
    return worst(*measured)


@check("adam.first-step", cases=CASES)
def first_step(backend: Backend, case: Case) -> Measured:
    """One step of size rate: all that is wrong with the bias correction shows here."""
    return _measure(backend, case, _steps(backend, case, 1, {}), 1, {})


@check("adam.50-steps", cases=CASES)
def fifty_steps(backend: Backend, case: Case) -> Measured:
    return _measure(backend, case, _steps(backend, case, 50, {}), 50, {})


@check("adam.weight-decay", cases=CASES)
def weight_decay(backend: Backend, case: Case) -> Measured:
    """On one parameter and not on the others."""
    decay = {"large": 0.05, "small": 0.0}
    return _measure(backend, case, _steps(backend, case, 50, decay), 50, decay)


@check("adam.state", cases=CASES)
def state(backend: Backend, case: Case) -> Measured:
    """State holds all that there is to remember: it survives the host and a new optimizer between any two steps."""
    measured = _measure(backend, case, _steps(backend, case, 12, {}, through_host=True), 12, {})
    return Measured(measured.error, lambda: measured.explain() or "the optimizer remembers more than its state holds")
