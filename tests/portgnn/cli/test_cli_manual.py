"""The manual page: every option of every command, in words that roff takes as they are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from portgnn import cli
from portgnn.cli._examples import EXAMPLES
from portgnn.cli._manual import _text

ROOT = Path(__file__).resolve().parents[3]
Streams = pytest.CaptureFixture[str]


def page(capsys: Streams) -> str:
    assert cli.main(["man"]) == 0
    return capsys.readouterr().out


def test_every_option_of_every_command_is_in_it(capsys: Streams) -> None:
    found = page(capsys)
    sections = re.split(r'^\.SS "portgnn ', found.replace("\\-", "-"), flags=re.MULTILINE)[1:]
    assert {section.split(" ")[0] for section in sections} == set(EXAMPLES) - {""}
    for section in sections:
        name = section.split(" [OPTIONS]")[0]
        assert cli.main([*name.split(), "--help"]) == 0
        wanted = set(re.findall(r"^ *(?:-\w, )?(--[a-z][a-z0-9-]*)", capsys.readouterr().out, flags=re.MULTILINE))
        assert wanted - {"--help"} <= set(re.findall(r"--[a-z][a-z0-9-]*", section)), name


def test_roff_takes_it_without_a_warning(capsys: Streams) -> None:
    found = page(capsys)
    assert not [line for line in found.splitlines() if line.startswith("'")]
    assert {line.split()[0] for line in found.splitlines() if line.startswith(".")} <= {
        *(".TH", ".SH", ".SS", ".PP", ".TP", ".B", ".I", ".RS", ".RE", ".nf", ".fi")
    }
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-ww", "-z"], input=found, capture_output=True, text=True, check=True)
        assert done.stderr == ""


def test_every_variable_that_is_read_is_in_it(capsys: Streams) -> None:
    read = {
        name
        for folder in ("portgnn", "backends")
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r"PORTGNN_[A-Z_]+[A-Z]", path.read_text(encoding="utf-8"))
    }
    assert len(read) > 4
    assert read == set(re.findall(r"^\.TP\n\\fB(PORTGNN_\w+)", page(capsys), flags=re.MULTILINE))


def test_no_word_is_a_request() -> None:
    assert _text(".so /etc/passwd\n'hidden \\fBbold -x") == "\\&.so /etc/passwd\n\\&'hidden \\efBbold \\-x"
