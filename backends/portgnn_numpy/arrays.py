"""What the tape and its functions take for an array: NumPy's, CuPy's, or a node of the tape."""

from __future__ import annotations

from typing import Any, TypeAlias

from array_api_compat import array_namespace

Array: TypeAlias = Any

_NAMESPACES: dict[type, Any] = {}


def namespace_of(x: Array) -> Any:
    """The array API standard's namespace of a library's own array, looked up once for each type."""
    found = _NAMESPACES.get(type(x))
    if found is None:
        found = _NAMESPACES[type(x)] = array_namespace(x)
    return found
