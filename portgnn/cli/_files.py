"""Where predictions go: a file, stdout, or rows of a JSON document."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn._system.files import check_writable, write_atomically
from portgnn.cli._grouped import STDOUT
from portgnn.errors import ConfigError


def check_out(out: Path | None, endings: Collection[str], as_json: bool = False) -> None:
    """Before any work. Raises ConfigError or CheckpointError for a file that could not be written at the end."""
    if is_stdout(out) and as_json:
        raise ConfigError("--out - and --json both write to stdout; --json --rows has the rows in the document")
    if out is not None and not is_stdout(out):
        if out.suffix not in endings:
            raise ConfigError(f"--out {out} must end in {', '.join(endings)}, or be - for stdout, as .csv")
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


def parquet_of(columns: Mapping[str, NDArray[np.generic]]) -> bytes:
    """A file of some columns. Raises ConfigError without pyarrow."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ConfigError('a .parquet file needs pyarrow. Install it with: pip install "portgnn[data]"') from None
    file = io.BytesIO()
    parquet.write_table(pa.table(dict(columns)), file)
    return file.getvalue()
