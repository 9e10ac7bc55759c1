"""Checks of Adam against Algorithm 1, step by step and parameter by parameter."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from portgnn.protocol import Backend, Keys, Params, State
from portgnn.verification import oracle
from portgnn.verification.cases import Case
from portgnn.verification.check import check
from portgnn.verification.draw import EDGE_ROWS, EDGE_SIZES, Draw, betas
from portgnn.verification.measure import Departure, Floats, Measured, compare, fetch, worst

MISTAKES: dict[str, dict[str, object]] = {
    "Adam without bias correction": {"corrected": False},
    "Adam adds eps inside the square root": {"eps_inside": True},
    "weight decay is decoupled (AdamW), not added to the gradient": {"decoupled": True},
}
SIZES = {"large": 1.0, "small": 1e-4, "tiny": 1e-7}
"""Gradients near eps show where it is added; weight decay acts on "large" alone."""
DEFAULTS: dict[str, float] = {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
"""What an adapter takes where only the rate is given."""


def _shapes(draw: Draw) -> tuple[Case, ...]:
    stream = draw.stream("adam")
    edge = int(stream.choice(EDGE_SIZES))
    return (
        Case(int(stream.integers(2, 9)), 1, int(stream.integers(1, 5)), seed=draw.seed),
        Case(edge, 1, 1, seed=draw.seed + 1),
    )


def _large(draw: Draw) -> tuple[Case, ...]:
    return (Case(int(draw.stream("adam").choice(EDGE_ROWS)), 1, 1, seed=draw.seed),)


def _adam(backend: Backend, given: dict[str, float], decay: dict[str, float] | None = None) -> Any:
    return backend.adam(**given, weight_decay=decay)


def _settings(case: Case) -> dict[str, float]:
    return betas(case.random("settings"))


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


def _stated(settings: dict[str, float], **more: Any) -> oracle.Adam:
    return oracle.Adam(settings["learning_rate"], settings["beta1"], settings["beta2"], settings["eps"], **more)


def _expected(
    case: Case, steps: int, decay: dict[str, float], settings: dict[str, float], **mistake: object
) -> dict[str, Floats]:
    optimizer, params = _stated(settings, decay=decay, **mistake), _start(case)
    for step in range(steps):
        params = optimizer.step(params, _gradients(case, step))
    return params


def _one(
    name: str, case: Case, steps: int, decay: dict[str, float], settings: dict[str, float], mistake: dict[str, object]
) -> Floats:
    return _expected(case, steps, decay, settings, **mistake)[name]


def _steps(
    backend: Backend,
    case: Case,
    steps: int,
    decay: dict[str, float],
    settings: dict[str, float],
    through_host: bool = False,
) -> Any:
    def fresh() -> Any:
        # The rate alone, so that an adapter's own defaults are looked at as well.
        given = settings if settings != DEFAULTS else {"learning_rate": settings["learning_rate"]}
        return _adam(backend, given, decay)

    optimizer = fresh()
    params = {name: backend.asarray(value) for name, value in _start(case).items()}
    state = optimizer.init(params)
    for step in range(steps):
        grads = {name: _placed(backend, value, step % 2 == 1) for name, value in _gradients(case, step).items()}
        params, state = optimizer.step(params, grads, state)
        if through_host:
            optimizer = fresh()
            _same_through_the_doors(backend, state)
            params, state = (
                {name: backend.asarray(backend.to_numpy(value)) for name, value in part.items()}
                for part in (params, state)
            )
    if set(params) != set(SIZES):
        raise Departure(f"a step gives {sorted(params)}, not {sorted(SIZES)}")
    return params


def _placed(backend: Backend, value: Floats, turned: bool) -> Any:
    """The array on the device; turned: as that of a weight which a layer transposes, whose rows lie across memory."""
    return backend.xp.permute_dims(backend.asarray(value.T.copy()), (1, 0)) if turned else backend.asarray(value)


def _same_through_the_doors(backend: Backend, state: State) -> None:
    """Raises Departure for a part of the state that a kept run would bring back in another dtype."""
    for name, value in state.items():
        host = backend.to_numpy(value)
        back = backend.to_numpy(backend.asarray(host))
        if back.dtype != host.dtype:
            raise Departure(
                f"{name} of the optimizer's state is {host.dtype}, and {back.dtype} when it comes back from the host: "
                "keep it in the backend's dtype, or as int32"
            )


def _measure(
    backend: Backend, case: Case, params: Params, steps: int, decay: dict[str, float], settings: dict[str, float]
) -> Measured:
    """The error of how far the parameters moved: the size of a step is what Adam decides."""
    start, want = _start(case), _expected(case, steps, decay, settings)
    measured = []
    for name in SIZES:
        suspects = {
            reason: partial(_one, name, case, steps, decay, settings, kind) for reason, kind in MISTAKES.items()
        }
        for setting, default in DEFAULTS.items():
            if settings[setting] != default:
                other = settings | {setting: default}
                suspects[f"Adam ignores {setting}"] = partial(_one, name, case, steps, decay, other, {})
        if decay:
            everywhere = dict.fromkeys(SIZES, max(decay.values()))
            suspects["weight decay is missing"] = partial(_one, name, case, steps, {}, settings, {})
            suspects["weight decay acts on parameters that have none"] = partial(
                _one, name, case, steps, everywhere, settings, {}
            )
        got = fetch(backend, params[name], f"the parameter after {steps} steps")
        # Storing a parameter of size 1 costs more than computing its step of size 0.01.
        scale = max(float(np.abs(want[name] - start[name]).max()), float(np.abs(start[name]).max()))
        measured.append(compare(f"the parameter with {name} gradients", got, want[name], scale, suspects))
    return worst(*measured)


@check("adam.first-step", cases=_shapes)
def first_step(backend: Backend, case: Case) -> Measured:
    """One step of size rate, by the defaults: all that is wrong with the bias correction shows here."""
    return _measure(backend, case, _steps(backend, case, 1, {}, DEFAULTS), 1, {}, DEFAULTS)


@check("adam.50-steps", cases=_shapes)
def fifty_steps(backend: Backend, case: Case) -> Measured:
    """By the defaults, and by other values of each hyperparameter."""
    return worst(
        *(_measure(backend, case, _steps(backend, case, steps, {}, settings), steps, {}, settings)
          for steps, settings in ((50, DEFAULTS), (25, _settings(case))))
    )  # fmt: skip


@check("adam.weight-decay", cases=_shapes)
def weight_decay(backend: Backend, case: Case) -> Measured:
    """On one parameter and not on the others."""
    decay, settings = {"large": 0.05, "small": 0.0}, _settings(case)
    return _measure(backend, case, _steps(backend, case, 50, decay, settings), 50, decay, settings)


@check("adam.state", cases=_shapes)
def state(backend: Backend, case: Case) -> Measured:
    """State holds all that there is to remember: it survives the host and a new optimizer between any two steps."""
    settings = _settings(case)
    measured = _measure(backend, case, _steps(backend, case, 12, {}, settings, through_host=True), 12, {}, settings)
    return Measured(measured.error, lambda: measured.explain() or "the optimizer remembers more than its state holds")


@check("adam.large", cases=_large)
def large(backend: Backend, case: Case) -> Measured:
    """Few steps on parameters of as many rows as 16 bits count, or one off."""
    decay, settings = {"large": 0.05}, _settings(case)
    return _measure(backend, case, _steps(backend, case, 3, decay, settings), 3, decay, settings)


LONG = 1100
"""Steps past the thousandth, where counters, powers and decimated moments may go wrong."""


def _one_shape(draw: Draw) -> tuple[Case, ...]:
    """Which of the two, by the draw: the steps take their time."""
    return (_shapes(draw)[draw.seed % 2],)


@check("adam.1100-steps", cases=_one_shape)
def long(backend: Backend, case: Case) -> Measured:
    """Compiled steps with one gradient, as training compiles them, and then a few with others."""
    settings = _settings(case) if case.rows > 9 else DEFAULTS
    optimizer = _adam(backend, settings)
    first = {name: backend.asarray(value) for name, value in _gradients(case, 0).items()}

    def step(state: State, keys: Keys) -> Any:
        params = {name: state[f"param.{name}"] for name in SIZES}
        moments = {name: value for name, value in state.items() if not name.startswith("param.")}
        params, moments = optimizer.step(params, first, moments)
        after = {f"param.{name}": value for name, value in params.items()} | moments
        return after, (backend.xp.sum(params["large"]),)

    params = {name: backend.asarray(value) for name, value in _start(case).items()}
    start = {f"param.{name}": value for name, value in params.items()} | optimizer.init(params)
    state, _ = backend.compile(step)(start, np.zeros((LONG, 1, 2), dtype=np.uint32))
    params = {name: state.pop(f"param.{name}") for name in SIZES}
    stated, want = _stated(settings), _start(case)
    for _ in range(LONG):
        want = stated.step(want, _gradients(case, 0))
    before = want
    for number in range(1, 9):
        grads = _gradients(case, number)
        params, state = optimizer.step(params, {name: backend.asarray(one) for name, one in grads.items()}, state)
        want = stated.step(want, grads)
    far = settings["learning_rate"] * LONG
    return worst(
        *(compare(f"the parameter with {name} gradients", fetch(backend, params[name], name), want[name],
                  max(far, float(np.abs(before[name]).max()))) for name in SIZES)
    )  # fmt: skip
