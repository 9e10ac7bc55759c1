"""`portgnn report`: results as one HTML page, and as PDF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from portgnn._system.files import check_writable, write_atomically
from portgnn.cli._output import print_json, print_line
from portgnn.errors import ConfigError
from portgnn.report.documents import read


def run(results: Sequence[Path], out: Path, pdf: Path | None, as_json: bool) -> None:
    from portgnn.report import page
    from portgnn.report.printing import browser, printed

    if out.suffix not in (".html", ".htm"):
        raise ConfigError(f"--out {out} must end in .html")
    check_writable(out)
    if pdf is not None:
        if pdf.suffix != ".pdf":
            raise ConfigError(f"--pdf {pdf} must end in .pdf")
        check_writable(pdf)
        browser()  # before anything is read or written
    documents = [read(path) for path in dict.fromkeys(results)]
    # A half of a surrogate pair, which JSON can spell, has no UTF-8.
    made = page(documents).encode("utf-8", "replace")
    write_atomically(out, made)
    if pdf is not None:
        write_atomically(pdf, printed(made))
    if as_json:
        kinds = {document.name: document.kind for document in documents}
        print_json({"results": kinds, "out": str(out), "pdf": None if pdf is None else str(pdf)})
    else:
        print_line(f"written to {out}" if pdf is None else f"written to {out} and {pdf}")
