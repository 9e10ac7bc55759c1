"""In bfloat16 the reference goes beside the backend: kinks of relu raise no alarm there, and faults still do."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from portgnn.verification import verify
from portgnn_torch import TorchBackend


@pytest.mark.parametrize(("draw", "name"), [(1019, "model.gradient"), (1018, "train"), (1020, "train")])
def test_kinks_raise_no_alarm(draw: int, name: str) -> None:
    report = verify("torch", device="cpu", dtype="bfloat16", draw=draw, only=lambda check: check == name)
    assert report.passed, report.checks


class Drops(TorchBackend):
    """relu's gradient is 0 for each layer's largest number, which no rounding explains."""

    def relu(self, x: Any) -> Any:
        largest = x.detach() == x.detach().max()
        return torch.where(largest, super().relu(x).detach() * 0.0, super().relu(x))


class Fast(TorchBackend):
    """Adam takes twice the learning rate."""

    def adam(self, learning_rate: float, *given: Any, **more: Any) -> Any:
        return super().adam(2 * learning_rate, *given, **more)


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [(Drops, "model.gradient", "farther from it than rounding"), (Drops, "train", "farther from it than rounding"),
     (Fast, "train", "from the same parameters"), (Fast, "compile.epochs", "from the same parameters")],
)  # fmt: skip
def test_faults_do(kind: type[TorchBackend], name: str, hint: str) -> None:
    report = verify(kind("cpu", "bfloat16"), draw=3, only=lambda check: check == name)
    assert not report.passed
    assert hint in report.checks[0].hint
