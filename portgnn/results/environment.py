"""What a reader of a result must know about the machine and software behind it."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

from portgnn._system import apple
from portgnn._version import __version__
from portgnn.errors import BackendError
from portgnn.protocol import Backend
from portgnn.registry import backend_class


def machine() -> dict[str, Any]:
    """Interpreter, operating system and processor; `rosetta` where an x86 Python runs translated on Apple silicon."""
    return {
        "portgnn": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "rosetta": runs_under_rosetta(),
    }


def of(backend: Backend) -> dict[str, Any]:
    """The machine, and the versions and settings of one backend's framework.

    A backend that was made and handed over need not be registered: what its class says is asked first.
    """
    own = getattr(backend, "environment", None)
    try:
        return machine() | {backend.name: (own or backend_class(backend.name).environment)()}
    except BackendError:  # neither its class nor the registry knows: no reason to lose a run that is done
        return machine() | {backend.name: {}}


def runs_under_rosetta() -> bool:
    """Whether macOS translates this process: the wrong Python, and MLX and MPS do not work in it."""
    if sys.platform != "darwin":
        return False
    import ctypes

    translated = ctypes.c_int(0)
    size = ctypes.c_size_t(ctypes.sizeof(translated))
    library = ctypes.CDLL(None)
    failed = library.sysctlbyname(
        b"sysctl.proc_translated", ctypes.byref(translated), ctypes.byref(size), None, ctypes.c_size_t(0)
    )
    return not failed and translated.value == 1


def _processor() -> str:
    if sys.platform == "darwin" and (chip := apple.chip()):
        return chip
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
