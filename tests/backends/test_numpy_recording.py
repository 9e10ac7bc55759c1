"""The recorded step of the NumPy adapter: the plain loop's bits, or the plain loop itself."""

from __future__ import annotations

import cProfile
import pstats
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn import Graph
from portgnn.placing.prepared import Prepared
from portgnn.presets import preset
from portgnn.random import dropout_keys
from portgnn.training import initial_state, make_run
from portgnn_numpy import NumPyBackend, recording
from portgnn_numpy.recording import WORTH_RECORDING, opaque

KEYS = dropout_keys(0, range(2 * WORTH_RECORDING), 2)


def copied(state: dict[str, Any]) -> dict[str, Any]:
    return {name: np.array(value) for name, value in state.items()}


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


CASES: list[tuple[str, dict[str, Any]]] = [
    ("kipf", {}),
    ("pyg", {}),
    ("pyg", {"rows": "all", "bias": "before"}),
    ("pyg", {"optimizer": "adamw", "schedule": "cosine", "clip_norm": 0.1}),
    ("pyg", {"optimizer": "sgd", "momentum": 0.9, "norm": "layer", "layers": 3}),
    ("pyg", {"label_smoothing": 0.1, "activation": "gelu", "features": "dense", "input_dropout": 0.5}),
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("recipe", "fields"), CASES)
def test_a_recording_gives_the_bits_of_the_plain_loop(csbm: Graph, dtype: str, recipe: str, fields: Any) -> None:
    backend = NumPyBackend(dtype=dtype)
    prepared = Prepared.of(csbm, preset(recipe, **fields))
    keys = dropout_keys(0, range(2 * WORTH_RECORDING), prepared.config.layers)
    run: Any = make_run(backend, prepared, validate=True)
    state = initial_state(backend, prepared, 0)
    after, metrics = run(copied(state), keys)
    assert run.__wrapped__.program is not None
    held = copied(after)
    expected, plain = run.__wrapped__.plain(copied(state), keys)
    np.testing.assert_array_equal(metrics, plain)
    assert_equal(after, expected)
    # The recording serves another start as well, and leaves what it handed out alone.
    again, other = run(copied(state), keys[::-1])
    assert (other != metrics).any()
    assert_equal(after, held)
    assert any((again[name] != after[name]).any() for name in again)


def test_a_recorded_step_makes_few_calls(csbm: Graph) -> None:
    """Of Python's, one for each of NumPy's functions and for what is around a product, a mask and Adam."""
    backend = NumPyBackend()
    prepared = Prepared.of(csbm, preset("pyg"))
    run = make_run(backend, prepared, validate=False)
    state, _ = run(initial_state(backend, prepared, 0), KEYS)
    profiler = cProfile.Profile()
    profiler.runcall(run, state, KEYS)
    calls = pstats.Stats(profiler).total_calls / len(KEYS)  # type: ignore[attr-defined]
    assert calls <= 160, f"{calls:.0f} calls a step"


def test_few_epochs_are_not_recorded_and_large_results_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(state: Any, keys: Any) -> Any:
        return {"x": state["x"] + 1}, (state["x"].sum(),)

    run: Any = NumPyBackend().compile(step)
    run({"x": np.zeros(3)}, KEYS[: WORTH_RECORDING - 1])
    assert run.__wrapped__.program is None
    monkeypatch.setattr(recording, "LARGEST", 20)
    run({"x": np.zeros(3)}, KEYS)
    assert run.__wrapped__.program is None


def reads_a_value(state: Any, keys: Any) -> Any:
    x = state["x"]
    return {"x": x + 1.0 if x.sum() < 12 else x - 1.0}, (x.sum(),)


def reads_a_key(state: Any, keys: Any) -> Any:
    x = state["x"] + float(keys[0][0]) / 2**32
    return {"x": x}, (x.sum(),)


def leaves_numpy(state: Any, keys: Any) -> Any:
    x = np.asarray(state["x"] + 1.0)
    return {"x": x * 1.0}, (x.sum(),)


def writes_into_its_own(state: Any, keys: Any) -> Any:
    total = np.zeros(3)
    np.add.at(total, np.array([0, 1, 1]), state["x"])
    return {"x": state["x"] + total / 3}, (total.sum(),)


def multiplies_by_another_way(state: Any, keys: Any) -> Any:
    x = sp.csr_array(np.eye(3)[[1, 2, 0]]) @ (state["x"] * 2.0)
    return {"x": np.minimum(x, 10.0)}, (state["x"].sum(),)


def swaps(state: Any, keys: Any) -> Any:
    return {"x": state["y"], "y": state["x"]}, (state["x"].sum(),)


def moves_and_picks(state: Any, keys: Any) -> Any:
    x = state["x"]
    picked = x[np.array([2, 0, 1])]
    picked[1:] *= 0.5  # a view of what is made anew in each epoch
    both = np.concatenate([picked, x])[None, :].T.reshape(2, 3)
    x = np.where(both[0] > 1.0, both[0], both[1] + x[0])
    return {"x": x}, (x.sum(), x[1])


@opaque
def halved(x: Any, out: Any) -> Any:
    out[:] = x
    halved_once_more(out)
    return out


@opaque
def halved_once_more(out: Any) -> None:
    out *= 0.5


def calls_opaque_functions(state: Any, keys: Any) -> Any:
    x = halved(state["x"] + 3.0, np.empty(3))
    halved_once_more(x)
    return {"x": x + 1.0}, (x.sum(),)


@pytest.mark.parametrize(
    ("step", "recorded"),
    [
        (reads_a_value, False), (reads_a_key, False), (leaves_numpy, False), (writes_into_its_own, False),
        (multiplies_by_another_way, False), (swaps, True), (moves_and_picks, True),
        (calls_opaque_functions, True),
    ],
)  # fmt: skip
def test_other_steps_give_what_they_give_in_a_plain_loop(step: Any, recorded: bool) -> None:
    run: Any = NumPyBackend(dtype="float64").compile(step)
    state = {"x": np.arange(3.0)} | ({"y": np.ones(3)} if step is swaps else {})
    keys = KEYS[1:]  # an odd number: after an even one, arrays that change places are where they were
    after, metrics = run(copied(state), keys)
    assert (run.__wrapped__.program is not None) == recorded
    expected, rows = copied(state), []
    for row in keys.tolist():
        expected, measured = step(expected, row)
        rows.append([float(value) for value in measured])
    np.testing.assert_array_equal(metrics, rows)
    assert_equal(after, expected)


CALLS: list[int] = []


def depends_on_the_host(state: Any, keys: Any) -> Any:
    CALLS.append(1)
    x = state["x"] + float(len(CALLS))
    return {"x": x}, (x.sum(),)


def test_a_recording_with_a_value_of_the_host_in_it_is_found_out() -> None:
    run: Any = NumPyBackend().compile(depends_on_the_host)
    run({"x": np.zeros(3)}, KEYS)
    assert run.__wrapped__.program is None
