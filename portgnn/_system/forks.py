"""Forked processes: a fork copies memory and not the threads, which a framework waits for without end.

Measured on Linux: after a training in the parent process, one in a forked child did not end on PyTorch, MLX and JAX. So
a backend that has worked in one process is refused in its forks, unless it says that it can be used there.
"""

from __future__ import annotations

import os

from portgnn.errors import BackendError
from portgnn.protocol import Backend

_first: dict[str, int] = {}
"""The process in which each backend that no fork can use worked first. A fork has its parent's dictionary."""


def check(name: str) -> None:
    """Raises BackendError where the backend worked in the process that this one was forked from."""
    if _first.get(name, os.getpid()) != os.getpid():
        raise BackendError(
            f"this process was forked from one in which the {name} backend had worked, and would wait for its threads "
            'without end; start it another way: multiprocessing.get_context("spawn")'
        )


def working(backend: Backend) -> None:
    """Notes that the backend works in this process from now on. Raises as `check` does."""
    check(backend.name)
    if not backend.capabilities.forks:
        _first.setdefault(backend.name, os.getpid())
