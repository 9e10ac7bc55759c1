"""What the tape and its functions take for an array: NumPy's, CuPy's, or a node of the tape."""

from __future__ import annotations

from typing import Any, TypeAlias

Array: TypeAlias = Any
