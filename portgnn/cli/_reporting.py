"""`portgnn report`: results as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from portgnn._system.files import check_writable, write_atomically
from portgnn.cli._output import print_json, print_line
from portgnn.errors import ConfigError
from portgnn.report.documents import read


def run(results: Sequence[Path], out: Path, as_json: bool) -> None:
    from portgnn.report import page

    if out.suffix not in (".html", ".htm"):
        raise ConfigError(f"--out {out} must end in .html")
    check_writable(out)
    documents = [read(path) for path in dict.fromkeys(results)]
    # A half of a surrogate pair, which JSON can spell, has no UTF-8.
    write_atomically(out, page(documents).encode("utf-8", "replace"))
    if as_json:
        print_json({"results": {document.name: document.kind for document in documents}, "out": str(out)})
    else:
        print_line(f"written to {out}")
