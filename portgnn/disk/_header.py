"""The header of a NAME.graph folder and the writing of its arrays; `portgnn.disk.folder` says what they hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn._system.files import exists
from portgnn._system.untrusted import content, opened
from portgnn.disk._mapped import Hashing, Mapped
from portgnn.errors import DatasetError, PortgnnError
from portgnn.graphs.checks import checked_classes
from portgnn.text import shown

FORMAT = "portgnn-graph"
VERSION = 2
"""Version 1, of portgnn 0.1, had no checksums, the names as NumPy's padded text, and one network's scales in place of
the graph's sums; it can be loaded, and so converted, and not be read in batches."""
MAX_HEADER = 64 << 20
MAX_NODES = 2**31
_TYPES: Mapping[str, type] = {
    "name": str, "structure": str, "fingerprint": str, "nodes": int, "features": int, "edges": int, "undirected": bool,
    "weighted": bool, "sparse_features": bool, "class_names": list, "feature_names": list, "notes": list,
    "target_names": list,
}  # fmt: skip


def save_array(path: Path, array: NDArray[np.generic]) -> str:
    """Writes an array as it lies in memory; the file's checksum."""
    file = Hashing(path)
    try:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    finally:
        checksum = file.close()
    return checksum


def padded_ids(path: Path, num_nodes: int) -> NDArray[np.generic] | None:
    """The names as version 1 has them."""
    if not exists(path):
        return None
    try:
        with opened(path) as file:
            np.lib.format.read_magic(file)
            dtype = np.lib.format.read_array_header_1_0(file)[2]
    except Exception:
        raise DatasetError(f"{path} cannot be read; convert the graph again") from None
    found = Mapped(path, (f"U{dtype.itemsize // 4}",), (num_nodes,))
    if dtype.kind != "U" or not dtype.itemsize:
        found.damaged("it holds no text")
    found.within(found.array.view(np.uint32), 0, 0x110000)
    return found.array


def read_header(folder: Path) -> dict[str, Any]:
    """The header, each field of its type. Raises DatasetError."""
    try:
        raw = content(folder / "header.json", most=MAX_HEADER)
        header: dict[str, object] = json.loads(raw)
        if isinstance(header, dict) and header.get("version") == 1:
            header.setdefault("structure", "")  # which nodes these are, whatever their labels, it did not say
        _check_header(header)
    except FileNotFoundError:
        raise DatasetError(
            f"{folder} is not a folder that portgnn convert wrote: it has no header.json. Was the conversion "
            "interrupted? Remove the folder and convert again"
        ) from None
    except (OSError, ValueError, RecursionError, PortgnnError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)[:200]
        raise DatasetError(f"{folder} is not a folder that portgnn convert wrote: {reason}") from None
    return header | {"checksums": header["checksums"] if header["version"] == VERSION else None}


def _check_header(header: object) -> None:
    """Raises ValueError for a header that is not of this format, or has a field of another type."""
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError("its header names another format")
    if type(header.get("version")) is not int or header["version"] not in (1, VERSION):
        raise ValueError(f"its header says version {shown(header.get('version'))}, and this portgnn reads 1 and 2")
    header.setdefault("target_names", [])  # there since graphs have targets
    for name, kind in _TYPES.items():
        if type(header.get(name)) is not kind:
            raise ValueError(f"its header's {name} is {shown(header.get(name))}")
    for name in ("class_names", "feature_names", "notes", "target_names"):
        if not all(type(text) is str for text in header[name]):
            raise ValueError(f"its header's {name} is not a list of texts")
    header["class_names"] = list(checked_classes(header["class_names"]))
    if not (0 < header["nodes"] < MAX_NODES and 0 < header["features"] < MAX_NODES and header["edges"] >= 0):
        raise ValueError("its header counts no nodes, no features or a negative number of edges")
    if header["version"] == VERSION and not _are_checksums(header.get("checksums")):
        raise ValueError("its header lists no arrays with their checksums")
    # Half of a surrogate pair is a character to JSON and to no terminal or file.
    json.dumps(header, ensure_ascii=False).encode()


def _are_checksums(found: object) -> bool:
    return isinstance(found, dict) and all(type(text) is str and len(text) == 64 for text in found.values())
