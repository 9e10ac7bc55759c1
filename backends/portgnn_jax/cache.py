"""What XLA compiled, kept for later processes in the user's cache folder.

A training on a small graph is there in the time that XLA takes to compile it. JAX keeps programs by what they are, the
versions and the device; they lie in a folder of the processor's features, since a home may be on several machines.
"""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import jax

LARGEST = 256 << 20
"""Bytes that are kept; what was used longest ago goes first."""
LEAST_SECONDS = 0.1
"""Of compiling, from which on a program is worth a file."""


@cache
def keep_compiled() -> Path | None:
    """Has JAX keep what it compiles from now on, once a process; where, or None where it does not.

    PORTGNN_COMPILED names another folder, or is "off". Nothing is done where JAX has a cache already (JAX's own
    JAX_COMPILATION_CACHE_DIR), without filelock, by which JAX keeps to the size, and where no folder can be made.
    """
    asked = os.environ.get("PORTGNN_COMPILED", "").strip()
    if asked.lower() in ("off", "0", "no", "false") or not find_spec("filelock"):
        return None
    if getattr(jax.config, "jax_compilation_cache_dir", None):
        return None
    try:
        folder = (Path(asked).expanduser() if asked else _user_folder()) / _processor()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # or no home is known
        return None
    if not os.access(folder, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", LARGEST)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)
    return folder


def _user_folder() -> Path:
    named = os.environ.get("PORTGNN_CACHE", "")
    if named:
        return Path(named).expanduser() / "jax"
    from platformdirs import user_cache_path

    return user_cache_path("portgnn") / "jax"


def _processor() -> str:
    """A name for what the processor can do."""
    told = f"{platform.machine()} {platform.processor()}"
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line for line in file if line.startswith(("model name", "flags", "Features"))]
        told += "".join(sorted(set(lines)))
    except OSError:  # not Linux
        pass
    return hashlib.sha256(told.encode()).hexdigest()[:16]
