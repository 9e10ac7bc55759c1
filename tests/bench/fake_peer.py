"""A contender for the tests of the protocol: it prints where it should not, counts, and fails when asked to."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from portgnn.benchmark.contender import Recipe, Unsupported
from portgnn.benchmark.graphs import BenchGraph


class FakeProgram:
    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options | {"form": "fake", "rows": "all"}
        self.trained = 0

    def reset(self, seed: int) -> None:
        self.trained = 0

    def train(self, epochs: int) -> None:
        print("noise on standard output")
        os.write(1, b"noise past Python's own buffers\n")
        time.sleep(0.0005 * epochs)
        self.trained += epochs

    def evaluate(self) -> None:
        pass

    def test_accuracy(self) -> float:
        return self.trained / 1000


def environment() -> dict[str, Any]:
    return {"fake": "1.0"}


def devices() -> tuple[str, ...]:
    return ("cpu",)


def build(graph: BenchGraph, recipe: Recipe, device: str, options: dict[str, Any]) -> FakeProgram:
    if options.get("refuse"):
        raise Unsupported("not this one")
    return FakeProgram(options)


def crash() -> None:
    sys.stderr.write("a last word\n")
    sys.stderr.flush()
    os._exit(3)


def hang() -> None:
    time.sleep(60)
