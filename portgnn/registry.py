"""Finds backends by the entry-point group `portgnn.backends`, ours and other people's alike.

An entry point names a `BackendClass`. The extra in its brackets (`name = "module:Class [extra]"`) is what
installs the framework that it needs, so that an error can say what to type.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import cast

import numpy as np
import scipy.sparse as sp

from portgnn._system import forks
from portgnn.errors import BackendError, near_matches
from portgnn.protocol import Array, Backend, BackendClass, Params
from portgnn.text import shortened

GROUP = "portgnn.backends"

DTYPES = ("float64", "float32", "bfloat16")


@dataclass(frozen=True)
class Registered:
    """A backend that is known here, and whether it can be used."""

    name: str
    devices: tuple[str, ...]
    """Devices present, the fastest first; empty where the backend cannot be used."""
    problem: str = ""
    """Why it cannot be used, in one line."""
    install: str = ""
    """The command that installs what it needs."""

    @property
    def available(self) -> bool:
        return bool(self.devices)


def registered_names() -> tuple[str, ...]:
    """Names of all registered backends, usable or not, sorted."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def registered_backends() -> tuple[Registered, ...]:
    """Every registered backend. Imports their frameworks, which can take seconds."""
    return tuple(map(registered_backend, registered_names()))


def registered_backend(name: str) -> Registered:
    """One of `registered_names`, and whether it can be used. Imports its framework."""
    return _examine(_entry_point(name))


def available_backends() -> dict[str, tuple[str, ...]]:
    """Backends that work here and their devices, the fastest device first."""
    return {found.name: found.devices for found in registered_backends() if found.available}


def backend_class(name: str) -> BackendClass:
    """The class that a name stands for. Raises BackendError where it is unknown or not installed."""
    if name not in registered_names():
        raise BackendError(f"unknown backend {name!r}.{near_matches(name, registered_names())}")
    point = _entry_point(name)
    try:
        return cast(BackendClass, point.load())
    except ImportError as error:
        if is_absent(error):
            advice = f"The {name} backend is not installed. Install it with: {install_command(point)}."
        else:
            advice = f"The {name} backend is installed but cannot be imported: {error}."
    except Exception as error:  # another package's module can fail in any way it likes
        advice = f"The {name} backend is installed but cannot be imported: {error}."
    others = ", ".join(sorted(available_backends())) or "none"
    raise BackendError(f"{advice} Available here: {others}.")


def dtype_name(dtype: object) -> str:
    """The name of a dtype that is given as text, or as NumPy's or a framework's own object (np.float32, torch.float32).

    Known by how it prints, so that no framework is imported. Python's float is float64, as it is to NumPy.
    """
    if isinstance(dtype, str):
        return dtype
    if dtype is float:
        return "float64"
    for said in (getattr(dtype, "__name__", None), getattr(dtype, "name", None), str(dtype)):
        if isinstance(said, str) and said.rpartition(".")[2] in DTYPES:
            return said.rpartition(".")[2]
    return shortened(str(dtype))


def get_backend(name: str = "numpy", *, device: str | None = None, dtype: object = "float32") -> Backend:
    """A backend on one device in one dtype: an immutable object, passed on explicitly.

    dtype: float64, float32 or bfloat16, as text or as an object of that name (np.float32, torch.float32).
    device: None takes the fastest device that is present and passes a small product and gradient check.
    Raises BackendError for a backend, device or dtype that cannot be had here, saying what can.
    """
    forks.check(name)
    found = backend_class(name)
    try:
        devices = found.devices()
    except Exception as error:  # and so can a driver
        raise BackendError(f"the {name} backend cannot look for devices: {error}") from error
    if not devices:
        raise BackendError(f"the {name} backend finds no device on this machine")
    dtype = dtype_name(dtype)
    if dtype not in DTYPES:
        raise BackendError(f"unknown dtype {dtype!r}.{near_matches(dtype, DTYPES)}")
    if device is None:
        return _fastest(name, found, devices, dtype)
    if device not in devices:
        raise BackendError(f"the {name} backend has no device {device!r} here; it has {', '.join(devices)}")
    if dtype not in found.dtypes(device):
        raise BackendError(f"{name} on {device} has no {dtype}; it has {', '.join(found.dtypes(device))}")
    backend = found(device, dtype)
    forks.working(backend)
    return backend


def _fastest(name: str, found: BackendClass, devices: Sequence[str], dtype: str) -> Backend:
    """A backend on the first device, of those that it names from the fastest on, that passes its self-check."""
    candidates = [candidate for candidate in devices if dtype in found.dtypes(candidate)]
    if not candidates:
        raise BackendError(f"no {name} device here ({', '.join(devices)}) has {dtype}")
    faults = []
    for candidate in candidates:
        try:
            backend = found(candidate, dtype)
            self_check(backend)
            return backend
        # A driver can fail in any way it likes, and the next device may still work.
        except Exception as error:
            faults.append(f"{candidate}: {error}")
    raise BackendError(f"no {name} device passes its self-check: {'; '.join(faults)}")


def backend_of(backend: str | Backend, device: str | None, dtype: object) -> Backend:
    """A backend by its name, as `get_backend` has it, or the one that was given. Raises BackendError."""
    if isinstance(backend, str):
        return get_backend(backend, device=device, dtype=dtype)
    forks.working(backend)
    return backend


def self_check(backend: Backend) -> None:
    """A sparse product, its gradient and a softmax against NumPy in float64. Raises BackendError if one differs."""
    forks.working(backend)
    matrix = sp.csr_array(np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]]))
    weight = np.array([[0.5, -1.0], [0.25, 2.0], [-0.75, 1.5]])
    handle = backend.csr(matrix)

    def fn(params: Params) -> tuple[Array, None]:
        logits = backend.spmm(handle, params["weight"])
        return backend.xp.sum(logits * backend.log_softmax(logits)), None

    (loss, _), grads = backend.value_and_grad(fn)({"weight": backend.asarray(weight)})
    logits = matrix @ weight
    shifted = logits - logits.max(axis=1, keepdims=True)
    logp = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    expected = matrix.T @ (logp + logits - np.exp(logp) * logits.sum(axis=1, keepdims=True))
    loose = 1e-2 if backend.dtype == "bfloat16" else 1e-4
    if abs(float(backend.to_numpy(loss)) - (logits * logp).sum()) > loose * 10 or not np.allclose(
        backend.to_numpy(grads["weight"]), expected, rtol=loose, atol=loose * 10
    ):
        raise BackendError(f"{backend.name} on {backend.device} computes a wrong product or gradient")


def _entry_point(name: str) -> EntryPoint:
    return next(iter(entry_points(group=GROUP, name=name)))


def _examine(point: EntryPoint) -> Registered:
    try:
        devices = tuple(point.load().devices())
    except ImportError as error:
        problem = "not installed" if is_absent(error) else f"cannot be imported: {error}"
        return Registered(point.name, (), problem, install_command(point))
    except Exception as error:  # a broken driver or plug-in must not hide the backends that work
        return Registered(point.name, (), f"fails: {error}", install_command(point))
    return Registered(point.name, devices, "" if devices else "finds no device", install_command(point))


def is_absent(error: ImportError) -> bool:
    """Whether the import failed because the package is not there, rather than broken inside."""
    return isinstance(error, ModuleNotFoundError) and error.name is not None and not _importable(error.name)


def _importable(name: str) -> bool:
    try:
        importlib.import_module(name.partition(".")[0])
    except ImportError:
        return False
    return True


def install_command(point: EntryPoint) -> str:
    """What installs an entry point's package with the extra that it names."""
    package = point.dist.name if point.dist is not None else point.module.partition(".")[0]
    extras = f"[{','.join(point.extras)}]" if point.extras else ""
    return f'pip install "{package}{extras}"'
