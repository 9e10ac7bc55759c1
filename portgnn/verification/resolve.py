"""Which backend is meant."""

from __future__ import annotations

import importlib
from typing import Any, cast

from portgnn._system import forks
from portgnn.errors import BackendError
from portgnn.protocol import Backend
from portgnn.registry import backend_of, dtype_name


def resolve(backend: str | Backend, device: str | None = None, dtype: object = "float32") -> Backend:
    """A backend from an instance, a registered name, or "package.module:Class" before it is registered.

    Raises BackendError where it cannot be had.
    """
    if not isinstance(backend, str) or ":" not in backend:
        return backend_of(backend, device, dtype)
    module, _, attribute = backend.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BackendError(f"there is no backend class {backend}: {error}") from None
    dtype = dtype_name(dtype)
    devices = found.devices()
    place = device or next((one for one in devices if dtype in found.dtypes(one)), None)
    if place not in devices or dtype not in found.dtypes(place):
        raise BackendError(f"{backend} has no {dtype} on {device or 'any device'}; devices: {', '.join(devices)}")
    made = cast(Backend, found(place, dtype))
    forks.working(made)
    return made
