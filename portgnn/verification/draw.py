"""What a run of the checks draws: sizes, rates and hyperparameters, from one seed that is printed with the result.

A seed of its own for each run meets in time what a fixed list would never hold; edge sizes are in every run.
"""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from portgnn.errors import ConfigError
from portgnn.text import shown
from portgnn.verification.cases import ADJACENCIES, FORMS, PRESETS, Case, Recipe

EDGE_ROWS = (2**16 - 1, 2**16, 2**16 + 1)
"""Where a block of rows, a grid of a GPU or a 16-bit counter ends."""
EDGE_COLUMNS = (65, 127, 128, 129)
"""Past 64 columns, and around the next power of two."""
EDGE_SIZES = (63, 64, 65, 127, 128, 129)


def fresh_seed() -> int:
    """A seed that was not used before; short, since people type it.

    PORTGNN_DRAW sets it, for a build that must not pass or fail by luck. Raises ConfigError where that is no number.
    """
    given = os.environ.get("PORTGNN_DRAW")
    if not given:
        return secrets.randbelow(10**9)
    if not given.isascii() or not given.isdigit() or len(given) > 9:
        raise ConfigError(f"PORTGNN_DRAW={shown(given)} is no whole number of at most nine digits: set it to one, as 7")
    return int(given)


@dataclass(frozen=True)
class Draw:
    """seed: what is printed. dtype: of the backend, since bfloat16 admits milder hyperparameters alone."""

    seed: int
    dtype: str = "float32"

    def stream(self, purpose: str) -> np.random.Generator:
        """A stream for each purpose, so that a check that is left out changes no other."""
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode())])


Cases: TypeAlias = tuple[Any, ...] | Callable[[Draw], tuple[Any, ...]]
"""What a check runs on: a fixed list, or what a draw makes of it."""


def _seed(stream: np.random.Generator) -> int:
    return int(stream.integers(2**32))


def shapes(draw: Draw) -> tuple[Case, ...]:
    """A square, in which most mistakes can be told apart; one of everything; an edge size of wide rows; as many rows
    as 16 bits count, or one off; and nothing: no row, no inner column, no column, no stored value.
    """
    stream = draw.stream("shapes")
    edge, side = (int(stream.choice(EDGE_SIZES)), int(stream.integers(20, 41)))
    return (
        Case(side, side, int(stream.choice([7, 8, 9])), density=0.1, seed=_seed(stream)),
        Case(1, 1, 1, density=1.0, seed=_seed(stream)),
        Case(edge, int(stream.integers(20, 90)), int(stream.choice(EDGE_COLUMNS)), density=0.1, seed=_seed(stream)),
        Case(int(stream.choice(EDGE_ROWS)), int(stream.integers(2, 4)), 2, density=0.4, seed=_seed(stream)),
        Case(0, 3, 2, seed=_seed(stream)),
        Case(3, 0, 2, seed=_seed(stream)),
        Case(3, 2, 0, seed=_seed(stream)),
        Case(2, 3, 2, density=0.0, seed=_seed(stream)),
    )


def rows(draw: Draw) -> tuple[Case, ...]:
    """The shapes of which each row has something in it: what looks for the largest of a row needs one."""
    return tuple(case for case in shapes(draw) if case.columns)


def small_shapes(draw: Draw) -> tuple[Case, ...]:
    """Two small ones, for checks that take many steps."""
    stream = draw.stream("small shapes")
    sizes = (int(stream.integers(2, 9)), int(stream.integers(2, 9)), int(stream.integers(1, 5)))
    return Case(*sizes, density=float(stream.choice([0.3, 0.6])), seed=_seed(stream)), Case(8, 6, 5, seed=_seed(stream))


def rates(stream: np.random.Generator) -> tuple[float, ...]:
    """Dropout rates: a rare one, a common one, and one near 1; of each kind another in each run."""
    rare = float(stream.choice([0.01, 0.02, 0.05, round(float(stream.uniform(0.005, 0.05)), 4)]))
    common = float(stream.choice([0.1, 0.5, round(float(stream.uniform(0.1, 0.8)), 3)]))
    return rare, common, float(stream.choice([0.9, 0.95]))


def betas(stream: np.random.Generator) -> dict[str, float]:
    """Hyperparameters of Adam, none of them at its default."""
    return {
        "learning_rate": float(stream.choice([0.003, 0.02, 0.03])),
        "beta1": float(stream.choice([0.8, 0.85, 0.95])),
        "beta2": float(stream.choice([0.95, 0.98, 0.995])),
        "eps": float(stream.choice([1e-4, 1e-3, 1e-5])),
    }


def _options(stream: np.random.Generator, dtype: str, preset: str, layers: int) -> tuple[tuple[str, object], ...]:
    """Hyperparameters that a preset leaves at its own values, drawn."""
    options: dict[str, Any] = {"layers": layers}
    if dtype == "bfloat16":  # eight bits of weights: a large rate or momentum leaves nothing to compare
        return tuple(options.items())
    options |= betas(stream)
    rare, common, _ = rates(stream)
    options["dropout"] = float(stream.choice([rare, common, common]))
    options["input_dropout"] = common if preset == "kipf" else float(stream.choice([rare, common, 0.0]))
    options["l2"] = float(stream.choice([0.0, 5e-4, 0.02]))
    options["weight_decay"] = float(stream.choice([0.0, 5e-4, 0.02]))
    return tuple(options.items())


_TURN = (("kipf", "csr", "sparse"), ("pyg", "dense", "sparse"), ("article", "csr", "dense"), ("pyg", "csr", "dense"))


def recipe(draw: Draw, purpose: str, number: int, **fixed: object) -> Recipe:
    """A recipe whose training stays clear of the kinks of ReLU, on a graph whose loss does not read every node.

    number: which of several; their presets and forms differ.
    """
    stream = draw.stream(f"{purpose} {number}")
    first = int(stream.integers(4)) if purpose else 0
    for _ in range(50):
        preset, adjacency, form = _TURN[(first + number) % 4]
        widens = bool(number % 2)
        drawn = Recipe(
            preset,
            adjacency,
            form,
            nodes=int(stream.integers(24, 70)),
            width=int(stream.integers(5, 20)),
            classes=int(stream.integers(5, 9) if widens else stream.integers(2, 6)),
            hidden=int(stream.integers(2, 5) if widens else stream.integers(4, 12)),
            epochs=12,
            seed=_seed(stream),
            options=_options(stream, draw.dtype, preset, int(stream.integers(1, 4)) if number == 3 else 2 + number % 2),
            rows=str(stream.choice(["needed", "all"])) if number else "needed",
            sparse_graph=True,
        ).but(**fixed)
        if _clear(drawn, draw.dtype) and _alive(drawn):
            return drawn
    raise AssertionError("no recipe stays clear of the kinks")  # pragma: no cover


def _clear(recipe: Recipe, dtype: str) -> bool:
    """Whether training stays clear of the kinks; a run that meets one early is not gone through to its end."""
    if dtype == "bfloat16":
        return True
    few = recipe.epochs // 5
    return (not few or recipe.but(epochs=few).margin > KINK) and recipe.margin > KINK


def _alive(recipe: Recipe) -> bool:
    """Whether nodes get different logits after training, and the last bias a gradient that is no rounding.

    Where relu has turned all of a layer off, of all nodes or of those in training alone, gradients cancel to rounding:
    a class's chances sum to its share of the nodes. Adam's first step, the rate times g / (|g| + eps), makes much of
    it.
    """
    config, course = recipe.config, recipe.course
    logits = recipe.oracle.forward(course.params[-1])[0]
    bias = course.params[0].get(f"bias{config.layers - 1}", np.full(1, np.inf))  # from 0, so that this is the step
    least = config.learning_rate * SHARE / (SHARE + config.eps)
    return bool(np.ptp(logits, axis=0).max() > NOISE and np.abs(bias).min() > least)


NOISE = 1e-6
"""A smaller spread of logits may be made of rounding."""
SHARE = 1e-4
"""A smaller gradient of the last bias, a difference of shares near 1, may be made of rounding in four digits of it."""

KINK = 1e-5
"""How near 0, beside the largest of its layer, an input of ReLU may come: of nearer ones rounding decides the side."""


def drawn_recipes(purpose: str, count: int, **fixed: object) -> Callable[[Draw], tuple[Recipe, ...]]:
    """Cases: so many recipes."""
    return lambda draw: tuple(recipe(draw, purpose, number, **fixed) for number in range(count))


__all__ = [
    "ADJACENCIES",
    "FORMS",
    "PRESETS",
    "Cases",
    "Draw",
    "drawn_recipes",
    "fresh_seed",
    "rates",
    "recipe",
    "shapes",
]
