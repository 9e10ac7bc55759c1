"""Checksums that a user accepted, of published files of which portgnn knows none: trust on first use.

They are kept in the cache folder, in `checksums.json`: the file's folder and name -> "sha256:<hex>". Whoever may write
there may write the cached files, too; a line taken out of it makes portgnn ask again.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from portgnn._system.files import is_file, write_atomically
from portgnn._system.lock import locked
from portgnn._system.untrusted import content
from portgnn.errors import CheckpointError, DatasetError

FILE = "checksums.json"
_MOST = 1 << 20
_PATIENCE = 10.0
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")

_accepting: ContextVar[bool] = ContextVar("portgnn_accept_checksum", default=False)


@contextmanager
def accepting(wanted: bool) -> Iterator[None]:
    """Within it, the checksum of a file of which none is known is accepted and pinned."""
    token = _accepting.set(wanted)
    try:
        yield
    finally:
        _accepting.reset(token)


def accepts() -> bool:
    return _accepting.get()


def pinned(cache: Path, name: str) -> str:
    """The checksum that was accepted of a file; "" where none was. Raises DatasetError where they cannot be read."""
    return _read(cache / FILE).get(name, "")


def pin(cache: Path, name: str, checksum: str) -> None:
    """Keeps a checksum. Raises DatasetError where that cannot be written."""
    path = cache / FILE
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{FILE}.lock"), time.monotonic() + _PATIENCE):
            known = _read(path) | {name: checksum}
            write_atomically(path, (json.dumps(known, indent=1, sort_keys=True) + "\n").encode())
    except (OSError, CheckpointError) as error:
        raise DatasetError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from None


def _read(path: Path) -> dict[str, str]:
    if not is_file(path):
        return {}
    try:
        found = json.loads(content(path, most=_MOST))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        found = None
    texts = isinstance(found, dict) and all(
        isinstance(each, str) and _CHECKSUM.fullmatch(each) for each in found.values()
    )
    if not texts:
        raise DatasetError(f"{path} does not hold accepted checksums, name -> sha256:HEX; move it away to begin anew")
    return dict(found)
