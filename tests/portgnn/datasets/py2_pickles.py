"""Writes pickles as Python 2 and the NumPy and SciPy of 2016 wrote them, for tests to make files to taste."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp


class _Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Protocol 2, with bytes as Python 2's str: the public pickler would call `_codecs.encode` for them."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_bytes(self, obj: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(obj)) + obj)

    dispatch[bytes] = save_bytes


def dumps(value: Any) -> bytes:
    file = BytesIO()
    _Python2Pickler(file, protocol=2).dump(value)
    content = file.getvalue()
    for new, old in (
        (b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"),
        (b"cscipy.sparse._csr\n", b"cscipy.sparse.csr\n"),
    ):
        content = content.replace(new, old)
    return content


def global_call(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls module.name(argument) when an ordinary unpickler reads it."""
    return (
        b"\x80\x02c"
        + f"{module}\n{name}\n".encode()
        + b"(X"
        + struct.pack("<i", len(argument))
        + (argument.encode())
        + b"tR."
    )


def planetoid_parts() -> dict[str, Any]:
    """A small graph in Planetoid's layout: 4 nodes before the test nodes 4, 5, 7, 8; node 6 is missing.

    Node i has feature value i + 1 in column i % 3, and class i % 2.
    """

    def rows(nodes: list[int]) -> Any:
        dense = np.zeros((len(nodes), 3), dtype=np.float32)
        dense[np.arange(len(nodes)), [i % 3 for i in nodes]] = [i + 1 for i in nodes]
        return sp.csr_matrix(dense)

    def one_hot(nodes: list[int]) -> Any:
        return np.eye(2, dtype=np.int32)[[i % 2 for i in nodes]]

    test = [7, 4, 8, 5]
    return {
        "x": rows([0, 1]),
        "y": one_hot([0, 1]),
        "allx": rows([0, 1, 2, 3]),
        "ally": one_hot([0, 1, 2, 3]),
        "tx": rows(test),
        "ty": one_hot(test),
        "test.index": test,
        "graph": {0: [1, 1, 4], 1: [0], 2: [2, 7], 3: [], 4: [0], 5: [8], 6: [], 7: [2], 8: []},
    }


def write_planetoid(folder: Path, parts: Mapping[str, Any], name: str = "toy") -> dict[str, Path]:
    """bytes are written as they are, everything else in its layout."""
    paths = {}
    for part, value in parts.items():
        paths[part] = folder / f"ind.{name}.{part}"
        if isinstance(value, bytes):
            content = value
        elif part == "test.index":
            content = "".join(f"{node}\n" for node in value).encode()
        else:
            content = dumps(value)
        paths[part].write_bytes(content)
    return paths
