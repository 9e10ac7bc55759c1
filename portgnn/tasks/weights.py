"""What each class weighs, in the order of a graph's classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from portgnn._weights import parsed
from portgnn.errors import ConfigError, near_matches


def given_weights(text: str, names: Sequence[str], what: str) -> NDArray[np.float64]:
    """A weight for each name, 1 where none is given. Raises ConfigError for one of a name that is none."""
    found = parsed(text)
    for name in found:
        if name not in names:
            raise ConfigError(f"class_weights names the {what} {name!r}, and there is none.{near_matches(name, names)}")
    return np.array([found.get(name, 1.0) for name in names])
