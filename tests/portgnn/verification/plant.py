"""How a broken backend, or a broken part of the library, is planted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from portgnn_numpy import NumPyBackend
from portgnn_numpy.tape import value_of

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Planted:
    """first: names of which the first failure of `verify` is one. hint: words that its hint must hold."""

    name: str
    first: str
    backend: Callable[[str], Any] = lambda dtype: NumPyBackend("cpu", dtype)
    patch: Patch = lambda monkeypatch: None
    hint: str = ""
    dtype: str = "float32"


PLANTED: list[Planted] = []


def adapter(name: str, first: str, hint: str = "", dtype: str = "float32") -> Callable[[type], type]:
    def add(kind: type) -> type:
        PLANTED.append(Planted(name, first, lambda dtype: kind("cpu", dtype), hint=hint, dtype=dtype))
        return kind

    return add


def library(name: str, first: str, hint: str = "", dtype: str = "float32") -> Callable[[Patch], Patch]:
    def add(patch: Patch) -> Patch:
        PLANTED.append(Planted(name, first, patch=patch, hint=hint, dtype=dtype))
        return patch

    return add


def everywhere(monkeypatch: pytest.MonkeyPatch, right: Any, wrong: Any) -> None:
    """Puts `wrong` where the library has `right` by name, so that a plant need not know which modules use it."""
    library = [module for name, module in list(sys.modules.items()) if f"{name}.".startswith("portgnn.")]
    found = [(module, name) for module in library for name, value in vars(module).items() if value is right]
    assert found, right
    for module, name in found:
        monkeypatch.setattr(module, name, wrong)


def with_value(product: Any, value: Any) -> Any:
    """A product with another value and the right gradient."""
    if product is value_of(product):
        return value
    product.value = value
    return product


class Replaced:
    """A namespace with some functions in place of its own."""

    def __init__(self, inner: Any, **replaced: Any) -> None:
        self.__dict__ = replaced | {"_inner": inner}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
