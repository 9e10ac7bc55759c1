"""The folder of a study: one file a run, whole or not there, by what decides the run's numbers.

So an interrupted study goes on where it was, and one with another grid trains only what is new.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portgnn._system.files import check_writable, exists, is_folder, reason, state_of, write_atomically
from portgnn._system.lock import locked
from portgnn._system.untrusted import content
from portgnn.errors import ConfigError
from portgnn.report.documents import recognise
from portgnn.studies.plan import Plan

MARK, FORMAT = "folder.json", "portgnn-study-folder"
RUNS = "runs"
FAILED = "failed"
"""Of a run's file: why it has no numbers, where its loss diverged."""


@dataclass(frozen=True)
class Folder:
    """path: of the study's folder, which need not be there yet."""

    path: Path

    def file(self, key: str) -> Path:
        return self.path / RUNS / f"{key}.json"

    @contextmanager
    def opened(self, plan: Plan) -> Iterator[None]:
        """Holds the folder while the block runs; makes it where it is not there.

        Raises ConfigError where it is something else, or another study's, or one that another process works on.
        """
        identities = [row.identity for row in plan.rows]
        known = self._known()
        if known and not any(each in known for each in identities):
            raise ConfigError(
                f"{self.path} holds another study ({_named(known[0])} and {len(known) - 1} rows more), and none of its "
                "runs belongs to this one; name a folder of its own: --folder NAME"
            )
        try:
            (self.path / RUNS).mkdir(parents=True, exist_ok=True)
            check_writable(self.path / MARK)
            with locked(self.path / ".lock", time.monotonic()) as lock:
                if lock.holder:
                    raise ConfigError(f"{self.path} is in use by {lock.holder}; wait for it, or name another --folder")
                rows = [*known, *(each for each in identities if each not in known)]
                document = json.dumps({"format": FORMAT, "rows": rows}, indent=1)
                write_atomically(self.path / MARK, document.encode())
                yield
        except OSError as error:
            raise ConfigError(f"cannot write into {self.path}: {reason(error)}") from None

    def _known(self) -> list[dict[str, str]]:
        """The rows that the folder was used for; none where it is new or empty."""
        there = state_of(self.path, ConfigError)
        if there is None:
            return []
        if not is_folder(self.path, ConfigError):
            raise ConfigError(f"--folder {self.path} is a file; name a folder")
        if not exists(self.path / MARK, ConfigError):
            if any(self.path.iterdir()):
                raise ConfigError(f"--folder {self.path} holds something else than a study; name a new one")
            return []
        document = _json(self.path / MARK)
        if not isinstance(document, dict) or document.get("format") != FORMAT or not isinstance(document["rows"], list):
            raise ConfigError(f"{self.path / MARK} is of no study of this version; name a new --folder")
        return document["rows"]

    def get(self, key: str) -> dict[str, Any] | None:
        """A run's document, None where it has not been trained. Raises ConfigError for a file that is none."""
        path = self.file(key)
        if not exists(path, ConfigError):
            return None
        document = _json(path)
        if isinstance(document, dict) and isinstance(document.get(FAILED), str):
            return document
        recognise(document, str(path))
        return dict(document)


def _named(row: dict[str, str]) -> str:
    return f"{row.get('model')} on {row.get('dataset')}, {row.get('backend')}"


def put(path: Path, document: dict[str, object]) -> None:
    """Writes a run, whole or not at all."""
    write_atomically(path, json.dumps(document).encode())


def _json(path: Path) -> Any:
    try:
        return json.loads(content(path, ConfigError).decode())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from None
    except ConfigError:
        raise
    except (ValueError, RecursionError):
        raise ConfigError(f"{path} is not JSON; delete it, and its run is trained again") from None


def written(folder: Path, files: dict[str, str]) -> Sequence[Path]:
    """Writes the outcome's files, each whole, and says which."""
    for name, text in files.items():
        write_atomically(folder / name, text.encode("utf-8", "replace"))
    return [folder / name for name in files]
