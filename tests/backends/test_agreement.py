"""Whole training runs: every backend's curves against NumPy's, and the published accuracies."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from portgnn import Graph, TrainResult, load_graph, train

FRAMEWORKS = ("torch", "mlx", "jax")

# Largest relative difference of a loss over 200 epochs. Measured on x86-64 Linux: 5e-15 and 4e-6 (both MLX; torch
# and JAX 6e-16 and 4e-7). The rest is room for other BLAS builds and thread counts, which add in another order.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


@cache
def _graph(dataset: str) -> Graph:
    return load_graph(dataset)


@cache
def _run(dataset: str, backend: str, dtype: str, preset: str) -> TrainResult:
    # No early stopping: a stop moved by one epoch by the last bit would compare different lengths.
    return train(
        _graph(dataset), backend=backend, device="cpu", dtype=dtype, preset=preset, patience=0, restore_best=False
    )


def _agree(dataset: str, backend: str, dtype: str, preset: str) -> None:
    reference, other = _run(dataset, "numpy", dtype, preset), _run(dataset, backend, dtype, preset)
    assert other.epochs_run == 200
    for name in ("train_loss", "val_loss"):
        np.testing.assert_allclose(
            getattr(other.history, name), getattr(reference.history, name), rtol=TOLERANCE[dtype], err_msg=name
        )
    assert other.test_accuracy == reference.test_accuracy


@pytest.mark.parametrize("preset", ["kipf", "pyg"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", FRAMEWORKS)
def test_curves_agree_on_the_bundled_graph(backend: str, dtype: str, preset: str) -> None:
    _agree("csbm-cora", backend, dtype, preset)


@pytest.mark.published_data
@pytest.mark.parametrize("preset", ["kipf", "pyg"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", FRAMEWORKS)
def test_curves_agree_on_cora(backend: str, dtype: str, preset: str) -> None:
    _agree("cora", backend, dtype, preset)


@pytest.mark.parametrize("backend", FRAMEWORKS)
def test_three_dense_layers_agree(backend: str) -> None:
    """The article's form on a small graph: its dense products of Cora's size take minutes."""
    runs = [
        train(load_graph("karate"), backend=name, device="cpu", dtype="float64", preset="article", patience=0)
        for name in ("numpy", backend)
    ]
    np.testing.assert_allclose(runs[1].history.train_loss, runs[0].history.train_loss, rtol=1e-12)
    np.testing.assert_allclose(runs[1].history.val_loss, runs[0].history.val_loss, rtol=1e-12)
    assert runs[1].best_epoch == runs[0].best_epoch


@pytest.mark.parametrize("preset", ["kipf", "pyg"])
def test_float32_follows_float64(preset: str) -> None:
    one, other = (_run("csbm-cora", "numpy", dtype, preset) for dtype in ("float32", "float64"))
    np.testing.assert_allclose(one.history.train_loss, other.history.train_loss, rtol=1e-4)


def _mean_accuracy(dataset: str, backend: str) -> float:
    runs = [train(_graph(dataset), backend=backend, device="cpu", seed=seed) for seed in range(10)]
    return float(np.mean([run.test_accuracy for run in runs]))


@pytest.mark.slow
@pytest.mark.published_data
@pytest.mark.parametrize("backend", ["numpy", *FRAMEWORKS])
def test_cora_reaches_the_published_accuracy(backend: str) -> None:
    """Kipf & Welling 2017 report 0.815 as a mean over seeds."""
    assert 0.808 <= _mean_accuracy("cora", backend) <= 0.825


@pytest.mark.slow
@pytest.mark.published_data
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_citeseer_reaches_the_published_accuracy(backend: str) -> None:
    """Kipf & Welling 2017 report 0.703."""
    assert 0.69 <= _mean_accuracy("citeseer", backend) <= 0.715
