"""A GPU's text as a library of this machine: compiled by g++, with a header of ours that says what its words mean."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent


class CompileError(Exception):
    """What the compiler says to a text."""


def has_compiler() -> bool:
    return shutil.which("g++") is not None


def compiled(text: str, folder: Path, name: str = "program", *options: str) -> ctypes.CDLL:
    """`text` as C++17, with the headers of this folder. Raises CompileError with the compiler's first errors."""
    source, library = folder / f"{name}.cpp", folder / f"{name}.so"
    source.write_text(text, encoding="utf-8")
    fixed = ["-std=c++17", "-O0", "-shared", "-fPIC", "-Wno-unknown-pragmas", f"-I{HERE}"]
    command = ["g++", *fixed, *options, "-o", str(library), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.replace(f"{source}:", "line ") for line in done.stderr.splitlines()]
        raise CompileError("\n".join([line for line in lines if "error:" in line][:3] or lines[:3]))
    return ctypes.CDLL(str(library))
