"""What the shell offers after Tab. Only names: a framework takes seconds to import, and a shell cannot wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from portgnn.presets import PRESETS


def backends(incomplete: str) -> list[str]:
    from portgnn.registry import registered_names

    return _beginning_with(incomplete, registered_names())


def datasets(incomplete: str) -> list[str]:
    """Names alone; where none fits, a shell goes on with files."""
    from portgnn.datasets import dataset_names

    return _beginning_with(incomplete, dataset_names())


def dtypes(incomplete: str) -> list[str]:
    from portgnn.registry import DTYPES

    return _beginning_with(incomplete, DTYPES)


def presets(incomplete: str) -> list[str]:
    return _beginning_with(incomplete, PRESETS)


def choices(names: Iterable[str]) -> Callable[[str], list[str]]:
    """A completion of fixed words."""

    def complete(incomplete: str) -> list[str]:
        return _beginning_with(incomplete, names)

    return complete


def _beginning_with(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
