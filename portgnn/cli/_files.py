"""Where predictions go: a file, stdout, or rows of a JSON document."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn._system.files import check_writable, write_atomically
from portgnn.cli._grouped import STDOUT
from portgnn.errors import ConfigError
from portgnn.text import inert

FORMS = (".csv", ".npz", ".parquet")
"""How files of predictions end."""


def check_out(out: Path | None, as_json: bool = False) -> None:
    """Before any work. Raises ConfigError or CheckpointError for a file that could not be written at the end."""
    if is_stdout(out) and as_json:
        raise ConfigError("--out - and --json both write to stdout; --json --rows has the rows in the document")
    if out is not None and not is_stdout(out):
        if out.suffix not in FORMS:
            raise ConfigError(f"--out {out} must end in {', '.join(FORMS)}, or be - for stdout, as .csv")
        check_writable(out)


def is_stdout(out: Path | None) -> bool:
    return out is not None and str(out) == STDOUT


def form_of(out: Path) -> str:
    """Which of the forms of files is written: on stdout, text."""
    return ".csv" if is_stdout(out) else out.suffix


def deliver(out: Path, content: bytes) -> None:
    """Into the file or, where nothing else is printed, on stdout."""
    if is_stdout(out):
        print(content.decode(), end="")
    else:
        write_atomically(out, content)


def rows_of(columns: Mapping[str, NDArray[np.generic]]) -> list[dict[str, Any]]:
    """A row of some columns each, for JSON."""
    lists = [column.tolist() for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


@dataclass(frozen=True)
class Table:
    """What is written of a prediction. columns: of .csv and .parquet, by their heads. texts: heads of columns of names.
    arrays: of .npz, which needs no pickle.
    """

    columns: Mapping[str, NDArray[np.generic]]
    texts: Collection[str]
    arrays: Mapping[str, NDArray[np.generic]]

    def written(self, form: str, safe: bool = True) -> bytes:
        """A file of one of FORMS. safe: in a .csv, names that a spreadsheet would take for formulas get a '
        (`portgnn.text.inert`); numbers stay numbers, and NaN is empty.

        Raises ConfigError for .parquet without pyarrow.
        """
        return {".csv": lambda: self._csv(safe), ".npz": self._npz, ".parquet": self._parquet}[form]()

    def _csv(self, safe: bool) -> bytes:
        cells = {
            name: ["" if value != value else value for value in each.tolist()] for name, each in self.columns.items()
        }
        if safe:
            cells |= {name: [inert(text) for text in cells[name]] for name in self.texts}
        file = io.StringIO(newline="")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(inert(name) if safe else name for name in cells)
        writer.writerows(zip(*cells.values(), strict=True))
        return file.getvalue().encode()

    def _npz(self) -> bytes:
        file = io.BytesIO()
        arrays: dict[str, Any] = dict(self.arrays)
        np.savez(file, **arrays)
        return file.getvalue()

    def _parquet(self) -> bytes:
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError:
            raise ConfigError('a .parquet file needs pyarrow. Install it with: pip install "portgnn[data]"') from None
        file = io.BytesIO()
        parquet.write_table(pa.table(dict(self.columns)), file)
        return file.getvalue()

    def rows(self) -> list[dict[str, Any]]:
        """A record a row, for JSON."""
        return rows_of(self.columns)
