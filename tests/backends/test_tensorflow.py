"""The TensorFlow adapter, where TensorFlow is installed (`make test-tensorflow`): curves, memory, programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

tf = pytest.importorskip("tensorflow", reason="TensorFlow has an environment of its own: make test-tensorflow")

from portgnn import load_graph, train  # noqa: E402
from portgnn_tensorflow import TensorFlowBackend  # noqa: E402


@pytest.mark.parametrize("preset", ["kipf", "pyg", "article"])
def test_curves_agree_with_numpy(preset: str) -> None:
    options: dict[str, Any] = {"preset": preset, "dtype": "float64", "device": "cpu", "epochs": 60, "patience": 0}
    here, there = (train(load_graph("karate"), backend=name, **options) for name in ("tensorflow", "numpy"))
    np.testing.assert_allclose(here.history.train_loss, there.history.train_loss, rtol=1e-12)


@pytest.mark.parametrize("network", ["gat", "sage", "gin", "appnp"])
def test_networks_agree_with_numpy(network: str) -> None:
    options: dict[str, Any] = {"model": network, "dtype": "float64", "device": "cpu", "epochs": 10, "patience": 0}
    here, there = (train(load_graph("karate"), backend=name, **options) for name in ("tensorflow", "numpy"))
    np.testing.assert_allclose(here.history.train_loss, there.history.train_loss, rtol=1e-12)


def test_an_array_that_entered_is_a_copy() -> None:
    host = np.ones((4, 4))
    placed = TensorFlowBackend("cpu", "float64").asarray(host)
    host[:] = 7.0
    assert float(tf.reduce_max(placed)) == 1.0


def test_an_epoch_is_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, traced = TensorFlowBackend("cpu", "float64"), []

    def step(state: Any, keys: Any) -> tuple[Any, tuple[Any, ...]]:
        traced.append(1)
        return {"w": state["w"] * 0.5}, (tf.reduce_sum(state["w"]), backend.random_bits(keys[0], 1)[0])

    run = backend.compile(step)
    keys = np.arange(12, dtype=np.uint32).reshape(6, 1, 2)
    state, metrics = run({"w": backend.asarray(np.ones(4))}, keys)
    run(state, keys[:2])
    assert len(traced) == 1
    assert metrics[:, 0].tolist() == [4.0, 2.0, 1.0, 0.5, 0.25, 0.125]
    assert len(set(metrics[:, 1])) == 6


def test_products_with_nothing_in_them_are_zeros() -> None:
    backend = TensorFlowBackend("cpu", "float32")
    empty = backend.csr(sp.csr_array((3, 4)))
    assert backend.to_numpy(backend.spmm(empty, backend.asarray(np.ones((4, 2))))).tolist() == [[0.0, 0.0]] * 3
    some = backend.csr(sp.csr_array(np.eye(3, 4)))
    assert backend.spmm(some, backend.asarray(np.ones((4, 0)))).shape == (3, 0)


def test_numbers_are_not_rounded_to_float32_on_the_way() -> None:
    """As `tf.cast(0.01, tf.float64)` does."""
    xp, x = TensorFlowBackend.xp, tf.constant([1.0], tf.float64)
    assert float(xp.clip(x, None, 0.01)[0]) == 0.01
    assert float(xp.clip(-x, -0.01, None)[0]) == -0.01
    assert float(xp.full_like(x, 0.1)[0]) == 0.1
    assert float(xp.where(x > 2, x, 0.1)[0]) == 0.1
