"""A study as a TOML file: the options of `portgnn study`, lists as lists, and hyperparameters in a table [set].

dataset = ["cora", "citeseer"]
seeds = 20
[set]
hidden = [16, 64]
learning-rate = "1e-4..1e-1 log"
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portgnn.configuration import document
from portgnn.errors import ConfigError, nearest
from portgnn.studies.space import read
from portgnn.text import shown

FOLDER = "study"
"""Where the command keeps a study that names no folder."""
LISTS = ("dataset", "split", "model", "preset", "backend", "dtype", "unknown", "ignore")
TEXTS = ("device", "metric", "select", "folder")
NUMBERS = ("splits", "search", "jobs")


def read_study(path: Path) -> dict[str, Any]:
    """The arguments of `portgnn.study` that the file holds. Raises ConfigError naming the file and the key."""
    found: dict[str, Any] = {}
    for key, value in document(path).items():
        try:
            name, checked = _checked(key.replace("-", "_"), value)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
        found[name] = checked
    return found


def _checked(name: str, value: object) -> tuple[str, Any]:
    if name == "set":
        return "values", _values(value)
    if name == "seeds" and (_is_whole(value) or (isinstance(value, list) and all(map(_is_whole, value)))):
        return name, value
    if name in LISTS:
        texts = value if isinstance(value, list) else [value]
        if texts and all(isinstance(each, str) for each in texts):
            return name, texts
        raise ConfigError(f"{name} = {shown(value)} must be a text or a list of texts")
    if name in TEXTS and isinstance(value, str):
        return name, value
    if name in NUMBERS and _is_whole(value):
        return name, value
    if name == "each" and isinstance(value, bool):
        return name, value
    known = (*LISTS, *TEXTS, *NUMBERS, "seeds", "each", "set")
    if name in known:
        wanted = {"each": "true or false", "seeds": "a number or a list of numbers"}.get(name)
        raise ConfigError(f"{name} = {shown(value)} must be {wanted or ('a text' if name in TEXTS else 'a number')}")
    raise ConfigError(f"{name} is no option of a study{nearest(name, known) or '. Known: ' + ', '.join(sorted(known))}")


def _values(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        return dict(read(value))
    if not isinstance(value, dict):
        raise ConfigError(f"set = {shown(value)} must be a table: [set]")
    return {key.replace("-", "_"): each for key, each in value.items()}


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
