"""The recorded step of the torch adapter: the plain loop's bits, or the plain loop itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

torch = pytest.importorskip("torch")

from portgnn.datasets import load_graph  # noqa: E402
from portgnn.placing.prepared import Prepared  # noqa: E402
from portgnn.presets import preset  # noqa: E402
from portgnn.random import dropout_keys  # noqa: E402
from portgnn.training import initial_state, make_run  # noqa: E402
from portgnn_torch import TorchBackend  # noqa: E402
from portgnn_torch.recording import WORTH_RECORDING  # noqa: E402

KEYS = dropout_keys(0, range(2 * WORTH_RECORDING), 2)


def copied(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value.clone() for name, value in state.items()}


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("csr", [None, False])
@pytest.mark.parametrize(("recipe", "fields"), [("kipf", {}), ("pyg", {}), ("pyg", {"rows": "all", "bias": "before"})])
def test_a_recording_gives_the_bits_of_the_plain_loop(dtype: str, csr: Any, recipe: str, fields: Any) -> None:
    backend = TorchBackend("cpu", dtype, csr=csr)
    prepared = Prepared.of(load_graph("csbm-cora"), preset(recipe, **fields))
    run: Any = make_run(backend, prepared, validate=True)
    state = initial_state(backend, prepared, 0)
    after, metrics = run(copied(state), KEYS)
    assert run.__wrapped__.program is not None
    expected, plain = run.__wrapped__.plain(copied(state), KEYS)
    np.testing.assert_array_equal(metrics, plain)
    assert all(torch.equal(after[name], expected[name]) for name in expected)
    # The recording serves another start as well, and leaves what it handed out alone.
    again, other = run(copied(state), KEYS[::-1])
    assert (other != metrics).any()
    assert all(torch.equal(after[name], expected[name]) for name in expected)
    assert any(not torch.equal(again[name], after[name]) for name in again)


def test_few_epochs_are_not_recorded() -> None:
    backend = TorchBackend("cpu")
    run: Any = backend.compile(lambda state, keys: ({"x": state["x"] + 1}, (state["x"].sum(),)))
    run({"x": torch.zeros(3)}, KEYS[: WORTH_RECORDING - 1])
    assert run.__wrapped__.program is None


def reads_a_value(state: Any, keys: Any) -> Any:
    x = state["x"]
    return {"x": x + 1.0 if x.sum().item() < 12 else x - 1.0}, (x.sum(),)


def reads_a_key(state: Any, keys: Any) -> Any:
    x = state["x"] + float(keys[0][0]) / 2**32
    return {"x": x}, (x.sum(),)


CALLS: list[int] = []


def depends_on_the_host(state: Any, keys: Any) -> Any:
    CALLS.append(1)
    x = state["x"] + torch.tensor(float(len(CALLS)))
    return {"x": x}, (x.sum(),)


def swaps(state: Any, keys: Any) -> Any:
    return {"x": state["y"], "y": state["x"]}, (state["x"].sum(),)


def aliases_by_numpy(state: Any, keys: Any) -> Any:
    x = state["x"] + 1.0
    return {"x": torch.from_numpy(x.numpy()) * 1.0}, (x.sum(),)


@pytest.mark.parametrize(
    ("step", "recorded"), [(reads_a_value, False), (reads_a_key, False), (aliases_by_numpy, False), (swaps, True)]
)
def test_other_steps_give_what_they_give_in_a_plain_loop(step: Any, recorded: bool) -> None:
    run: Any = TorchBackend("cpu").compile(step)
    state = {"x": torch.arange(3.0)} | ({"y": torch.ones(3)} if step is swaps else {})
    keys = KEYS[1:]  # an odd number: after an even one, arrays that change places are where they were
    after, metrics = run(copied(state), keys)
    assert (run.__wrapped__.program is not None) == recorded
    expected, rows = copied(state), []
    for row in keys.tolist():
        expected, measured = step(expected, row)
        rows.append([float(value) for value in measured])
    np.testing.assert_array_equal(metrics, rows)
    assert all(torch.equal(after[name], expected[name]) for name in expected)


def test_a_recording_with_a_value_of_the_host_in_it_is_found_out() -> None:
    run: Any = TorchBackend("cpu").compile(depends_on_the_host)
    run({"x": torch.zeros(3)}, KEYS)
    assert run.__wrapped__.program is None


def _batch(rows: int, seed: int, shared: bool = True) -> Any:
    """Features, a matrix twice (one handle or two), element numbers and None."""
    draw = np.random.default_rng(seed)
    backend = TorchBackend("cpu", "float64")
    matrix = sp.csr_array(draw.normal(size=(rows, rows)))
    handle = backend.csr(matrix)
    numbers = backend.asarray(draw.permutation(3 * rows).astype(np.uint32))
    other = handle if shared else backend.csr(matrix)
    return backend.asarray(draw.normal(size=(rows, 3))), (handle, other), numbers, None


def _batch_step(state: Any, keys: Any, batch: Any) -> Any:
    backend = TorchBackend("cpu", "float64")
    features, (first, second), numbers, _ = batch

    def loss(params: Any) -> Any:
        x = backend.dropout(backend.dropout(features, 0.4, keys[0], numbers), 0.2, keys[1])
        rows = backend.spmm(second, torch.relu(backend.spmm(first, x) @ params["w"]))
        return (rows * rows).sum(), None

    (value, _), grads = backend.value_and_grad(loss)({"w": state["w"]})
    state["count"].add_(1)
    return {"w": state["w"] - 0.01 * grads["w"], "count": state["count"]}, (value,)


def _run_batches(step: Any, batches: Any, keys: Any) -> tuple[dict[str, Any], list[float]]:
    state = {"w": torch.eye(3, dtype=torch.float64), "count": torch.zeros(())}
    values = []
    for key, batch in zip(keys, batches, strict=True):
        state, (value,) = step(state, key, batch)
        values.append(float(value))
    return state, values


def test_recorded_batches_give_the_bits_of_the_step() -> None:
    """Of several shapes in turn, and whether a matrix is there once or twice: each batch has its own numbers."""
    step: Any = TorchBackend("cpu", "float64").compile_batches(_batch_step)
    batches = [_batch(4 + at % 3, at, shared=at % 2 == 0) for at in range(24)]
    keys = dropout_keys(1, range(24), 2)
    after, values = _run_batches(step, batches, keys)
    expected, plain = _run_batches(lambda state, key, batch: _batch_step(state, key.tolist(), batch), batches, keys)
    assert values == plain
    assert all(torch.equal(after[name], expected[name]) for name in expected)
    programs = step.__wrapped__._programs
    assert len(programs) == 6
    assert all(programs.values())
    assert not step.__wrapped__._first


def _of_the_first_batch(state: Any, keys: Any, batch: Any) -> Any:
    x = batch[0] * float(batch[0].numpy().sum())
    return state, (x.sum(),)


def test_a_batch_step_that_reads_values_on_the_host_is_found_out() -> None:
    step: Any = TorchBackend("cpu", "float64").compile_batches(_of_the_first_batch)
    batches = [_batch(4, at) for at in range(4)]
    _, values = _run_batches(step, batches, KEYS[:4])
    assert values == [_of_the_first_batch(None, None, batch)[1][0].item() for batch in batches]
    assert list(step.__wrapped__._programs.values()) == [None]
