"""The example without a graph: one source, the same losses on every installed backend."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "examples" / "array_api" / "two_models.py"
BACKENDS = ("numpy", "torch", "mlx", "jax")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("two_models", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_trains_to_the_same_numbers_everywhere(example: ModuleType) -> None:
    """1e-12: 25 steps of float64 amplify its rounding to some 1e-15."""
    found = example.compare(BACKENDS, 25)
    for model, curves in found.items():
        assert list(curves) == list(BACKENDS)
        assert all(losses[-1] < 0.9 * losses[0] for losses in curves.values()), model
        assert max(example.distances(curves).values()) <= 1e-12, example.table(found)


def test_its_gradient_is_right(example: ModuleType) -> None:
    """The first step of gradient descent, against central differences on NumPy."""
    on = example.resolve("numpy", "cpu", "float64")
    x, y = example.moons()
    for loss, sizes in example.MODELS.values():
        params = example.start(sizes)
        (_, _), grads = on.value_and_grad(lambda given, loss=loss: (loss(on, given, x, y), None))(params)
        for name, value in params.items():
            for place in np.ndindex(value.shape):
                sides = []
                for sign in (1, -1):
                    moved = value.copy()
                    moved[place] += sign * 1e-6
                    sides.append(float(loss(on, params | {name: moved}, x, y)))
                assert abs((sides[0] - sides[1]) / 2e-6 - grads[name][place]) < 1e-8, (name, place)


def test_its_command(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, picture = tmp_path / "out.json", tmp_path / "curves.svg"
    command = ["two_models.py", "--backends", "numpy", "--steps", "3", "--json", str(out), "--picture", str(picture)]
    monkeypatch.setattr(sys, "argv", command)
    assert example.main() == 0
    assert len(json.loads(out.read_text())["network"]["numpy"]) == 3
    assert picture.read_text().count("<path") > 10
    monkeypatch.setattr(sys, "argv", ["two_models.py", "--backends", "nothing"])
    assert example.main() == 2
    assert "error: " in capsys.readouterr().err
