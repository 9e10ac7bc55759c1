"""`portgnn report --pdf`: by which browser, and what is said where there is none or it fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from results import run

from portgnn import cli
from portgnn.errors import ConfigError
from portgnn.report import printing

Streams = pytest.CaptureFixture[str]


@pytest.fixture
def result(tmp_path: Path) -> Path:
    import json

    path = tmp_path / "run.json"
    path.write_text(json.dumps(run()))
    return path


def program(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


PRINTS = """for word in "$@"; do
  case "$word" in --print-to-pdf=*) out=${word#*=};; file://*) page=${word#file://};; esac
done
{ printf '%%PDF-1.4 '; cat "$page"; } > "$out" """


def test_the_page_is_what_is_printed(result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(printing.VARIABLE, program(tmp_path / "browser", PRINTS))
    html, pdf = tmp_path / "page.html", tmp_path / "page.pdf"
    assert cli.main(["report", str(result), "--out", str(html), "--pdf", str(pdf)]) == 0
    assert pdf.read_bytes() == b"%PDF-1.4 " + html.read_bytes()


@pytest.mark.parametrize(
    ("body", "said"),
    [("exit 0", "printed no PDF"), (PRINTS.replace("%%PDF-1.4", "error"), "printed something that is no PDF")],
)
def test_a_browser_that_fails_is_named(
    body: str, said: str, result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Streams
) -> None:
    monkeypatch.setenv(printing.VARIABLE, program(tmp_path / "browser", body))
    pdf = tmp_path / "page.pdf"
    assert cli.main(["report", str(result), "--out", str(tmp_path / "page.html"), "--pdf", str(pdf)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert str(tmp_path / "browser") in err
    assert err.count("\n") == 1
    assert not pdf.exists()


def test_without_a_browser_nothing_is_written(
    result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Streams
) -> None:
    monkeypatch.delenv(printing.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(printing, "APPLICATIONS", ())
    html = tmp_path / "page.html"
    assert cli.main(["report", str(result), "--out", str(html), "--pdf", str(tmp_path / "page.pdf")]) == 2
    assert "no Chromium, Chrome or Edge is on PATH" in capsys.readouterr().err
    assert not html.exists()


def test_a_name_that_is_no_program_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(printing.VARIABLE, "/no/such/browser")
    with pytest.raises(ConfigError, match="PORTGNN_BROWSER=/no/such/browser is no program"):
        printing.browser()


def test_a_browser_of_the_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(printing.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), "/nowhere"]))
    found = program(tmp_path / "google-chrome", "exit 0")
    assert printing.browser() == found


def test_the_pdf_has_its_own_ending(result: Path, tmp_path: Path, capsys: Streams) -> None:
    out = ["--out", str(tmp_path / "page.html"), "--pdf", str(tmp_path / "page.ps")]
    assert cli.main(["report", str(result), *out]) == 2
    assert "must end in .pdf" in capsys.readouterr().err
