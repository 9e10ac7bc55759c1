"""What the shell offers after Tab; typer keeps what fits the beginning that was typed.

Names alone: a framework takes seconds to import, and a shell cannot wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from portgnn.models import NETWORKS
from portgnn.presets import PRESETS


def backends() -> list[str]:
    from portgnn.registry import registered_names

    return list(registered_names())


def datasets() -> list[str]:
    """Names; where none fits, a shell goes on with files."""
    from portgnn.datasets import dataset_names, graph_set_names

    return [*dataset_names(), *graph_set_names()]


def dtypes() -> list[str]:
    from portgnn.registry import DTYPES

    return list(DTYPES)


def presets() -> list[str]:
    return list(PRESETS)


def networks() -> list[str]:
    return list(NETWORKS)


def forms() -> list[str]:
    from portgnn.exports.leaving import exporters

    return list(exporters())


def choices(names: Iterable[str]) -> Callable[[], list[str]]:
    """A completion of fixed words."""
    return lambda: list(names)
