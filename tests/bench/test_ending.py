"""Programs of bench/ and tools/ end a user's mistake with one line and status 2."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.harness.ending import ended
from portgnn.errors import DownloadError

ROOT = Path(__file__).parents[2]
PROGRAMS = [
    path
    for folder in ("bench", "bench/studies", "tools")
    for path in sorted((ROOT / folder).glob("*.py"))
    if "__main__" in path.read_text(encoding="utf-8")
]


def _imports_portgnn(tree: ast.AST) -> bool:
    return any(
        name.split(".")[0] in ("portgnn", "bench")
        for node in ast.walk(tree)
        for name in (
            [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    )


def test_there_are_programs() -> None:
    assert len(PROGRAMS) > 35


NOT_YET = 0
"""Programs that may still end a mistake in a traceback. None has to: write `ended(main)`, and lower this."""


def test_programs_that_call_portgnn_are_ended() -> None:
    others = []
    for path in PROGRAMS:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {
            each.func.id for each in ast.walk(tree) if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)
        }
        if "ended" not in called and _imports_portgnn(tree):
            others.append(str(path.relative_to(ROOT)))
    assert len(others) <= NOT_YET, f"the last line of these is to be ended(main), of bench.harness.ending: {others}"


@pytest.mark.parametrize(("status", "left"), [(None, 0), (0, 0), (1, 1)])
def test_its_status_is_what_the_program_returns(status: int | None, left: int) -> None:
    with pytest.raises(SystemExit) as end:
        ended(lambda given: status, "given")
    assert end.value.code == left


def test_an_error_of_portgnn_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def program() -> None:
        raise DownloadError("cora cannot be had:\nno network; set PORTGNN_DATA")

    with pytest.raises(SystemExit) as end:
        ended(program)
    assert end.value.code == 2
    assert capsys.readouterr().err.endswith(": cora cannot be had: no network; set PORTGNN_DATA\n")


@pytest.mark.parametrize("mistake", [KeyError, OSError])
def test_another_error_is_a_fault_and_keeps_its_traceback(mistake: Callable[[], Exception]) -> None:
    def program() -> None:
        raise mistake()

    with pytest.raises((KeyError, OSError)):
        ended(program)


def test_a_study_without_its_data_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")  # a cache there cannot be made, so nothing is fetched
    environment = {name: value for name, value in os.environ.items() if name != "PORTGNN_DATA"}
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "studies" / "versions.py", ROOT, "--datasets", "cora", "--backends", "numpy"],
        capture_output=True, text=True, check=False,
        env=environment | {"XDG_CACHE_HOME": str(tmp_path / "file"), "PORTGNN_CACHE": str(tmp_path / "file"),
                           "HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("versions.py: ")
