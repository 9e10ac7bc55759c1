"""What classes weigh in a loss, as a recipe has it in one text. Without NumPy, as recipes are."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from portgnn.errors import ConfigError
from portgnn.hyperparameters import plain_number


def as_text(given: object) -> object:
    """A text as `parsed` reads it; a mapping of names to weights becomes JSON, with its keys in their order.

    Raises ConfigError.
    """
    text = given
    if isinstance(given, Mapping):
        text = json.dumps({str(name): plain_number(weight) for name, weight in given.items()}, default=str)
    parsed(text)
    return text


def parsed(text: Any) -> dict[str, float]:
    """NAME=WEIGHT,NAME=WEIGHT, or JSON of names and weights; empty for "none" and "balanced". Raises ConfigError."""
    if text in ("none", "balanced"):
        return {}
    try:
        if str(text).startswith("{"):
            found = {str(name): float(weight) for name, weight in json.loads(text).items()}
        else:
            parts = [part.rpartition("=") for part in str(text).split(",")]
            found = {name.strip(): float(weight) for name, _, weight in parts}
    except (ValueError, TypeError, AttributeError):
        found = {}
    if not found or not all(name and math.isfinite(weight) and weight > 0 for name, weight in found.items()):
        raise ConfigError(
            f"class_weights={str(text)[:80]!r} must be none, balanced, or a finite weight above 0 for each class that "
            "weighs other than 1, as in spam=5,other=0.5"
        )
    return found
