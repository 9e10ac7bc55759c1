"""Which values of hyperparameters a study tries: lists for a grid, and ranges that a search draws from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from portgnn.errors import ConfigError, near_matches
from portgnn.hyperparameters import Hyperparameter, hyperparameters, meant
from portgnn.recipe import Config, alone
from portgnn.text import shown

LOGARITHMIC = " log"
EXAMPLE = "hidden=16,64; dropout=0.3,0.5"


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included. logarithmic: drawn evenly by their logarithm."""

    low: float
    high: float
    logarithmic: bool = False
    whole: bool = False


Choices: TypeAlias = tuple[Any, ...] | Range
Space: TypeAlias = dict[str, Choices]
"""What is tried of each hyperparameter, by name."""


def read(text: str) -> dict[str, str]:
    """`hidden=16,64; dropout=0.3,0.5` as names and what is said of each. Raises ConfigError for another form."""
    found: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        name, sign, values = part.partition("=")
        name = name.strip().replace("-", "_")
        if not sign or not name:
            raise ConfigError(f'--set {part} must be NAME=VALUES, as in --set "{EXAMPLE}"')
        if name in found:
            raise ConfigError(f"--set names {name} twice; give all its values at once: {name}=VALUE,VALUE")
        found[name] = values.strip()
    return found


def space(given: Mapping[str, object], known: Mapping[str, Hyperparameter]) -> Space:
    """What is to be tried, checked. given: of each name a value, several, a `Range`, or a text such as "16,64" or
    "1e-4..1e-1 log". known: the hyperparameters that the study's networks have.

    Raises ConfigError for a name that none of them has, no value, or one that the hyperparameter does not take.
    """
    found: Space = {}
    for name, values in given.items():
        one = known.get(meant(known, name))
        if one is None:
            raise ConfigError(f"--set {name}: there is no hyperparameter {name!r}.{near_matches(name, known)}")
        if one.name in found:
            raise ConfigError(f"--set names {one.name} twice; give all its values at once")
        found[one.name] = _range(one, values) or _listed(one, values)
    return found


def _range(one: Hyperparameter, values: Any) -> Range | None:
    """The range that is meant; None where values are listed."""
    if isinstance(values, str) and ".." in values and one.kind in (int, float) and "," not in values:
        body = values.removesuffix(LOGARITHMIC)
        low, _, high = body.partition("..")
        ends = _checked(one, one.read(low.strip())), _checked(one, one.read(high.strip()))
        values = Range(*ends, logarithmic=body != values)
    if not isinstance(values, Range):
        return None
    if one.kind not in (int, float):
        raise ConfigError(f"--set {one.name}: only numbers have a range; list the values: {one.name}=A,B")
    low, high = _checked(one, values.low), _checked(one, values.high)
    if not low < high:
        raise ConfigError(f"--set {one.name}={low}..{high}: a range goes from a number to a larger one")
    if values.logarithmic and low <= 0:
        raise ConfigError(f"--set {one.name}={low}..{high} log: a logarithm needs numbers above 0")
    return Range(low, high, values.logarithmic, one.kind is int)


def _listed(one: Hyperparameter, values: Any) -> tuple[object, ...]:
    if isinstance(values, str):
        words = [word.strip() for word in values.split(",")]
        if not all(words):
            raise ConfigError(f'--set {one.name}={values}: a value is missing; list them, as in --set "{EXAMPLE}"')
        listed: Sequence[object] = [one.read(word) for word in words]
    else:
        listed = list(values) if isinstance(values, list | tuple) or hasattr(values, "tolist") else [values]
    if not listed:
        raise ConfigError(f"--set {one.name} lists no value; leave it out, or name one")
    return tuple(dict.fromkeys(_checked(one, value) for value in listed))


def _checked(one: Hyperparameter, value: object) -> Any:
    try:
        return alone(one.name, value) if one.name in hyperparameters(Config) else one.checked(value)
    except TypeError:  # what cannot be a key or compared
        raise ConfigError(f"--set {one.name}: {shown(value)} cannot be used") from None


def grid(tried: Space) -> Iterator[dict[str, object]]:
    """Every combination. Raises ConfigError for a range, which has no end of them."""
    for name, values in tried.items():
        if isinstance(values, Range):
            raise ConfigError(
                f"--set {name}={values.low}..{values.high} is a range, which --search N draws from; for a grid list "
                f"values: {name}={values.low},{values.high}"
            )
    lists = [values for values in tried.values() if isinstance(values, tuple)]
    for chosen in itertools.product(*lists):
        yield dict(zip(tried, chosen, strict=True))
