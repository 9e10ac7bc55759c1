"""The networks as a list for people: `portgnn models`, and `portgnn.models()`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from portgnn.models import NETWORKS


@dataclass(frozen=True)
class ModelFacts:
    """name: for `model=`. about: in one line. paper: authors, year, title. hyperparameters: their defaults.

    presets: the recipes that train it, its own first.
    """

    name: str
    about: str
    paper: str
    hyperparameters: dict[str, Any]
    presets: tuple[str, ...]


def models() -> list[ModelFacts]:
    """One record for each network that comes with portgnn."""
    from portgnn.presets import PRESETS
    from portgnn.recipe import network_hyperparameters

    return [
        ModelFacts(
            name,
            (kind.__doc__ or "").partition("\n")[0],
            kind.paper,
            {each: one.default for each, one in network_hyperparameters(kind).items()},
            tuple(preset for preset, config in PRESETS.items() if type(config).network_class is kind),
        )
        for name, kind in NETWORKS.items()
    ]
