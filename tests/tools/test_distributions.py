"""What is shipped: built, looked into, and verified from an environment of its own."""

from __future__ import annotations

import io
import re
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def check(tool: Callable[[str], ModuleType]) -> ModuleType:
    return tool("check_distributions")


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="what is tracked is known in a checkout alone")
def test_wheel_and_sdist_verify_the_reference(check: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    status = check.main(["--offline"])
    out, err = capsys.readouterr()
    assert status == 0, err
    sizes = [int(size) for size in re.findall(r": (\d+) kB$", out, re.MULTILINE)]
    assert len(sizes) == 2
    assert max(sizes) < 3000
    assert len(re.findall(r"numpy on cpu in float32: all \d+ checks pass", out)) == 2


def _archives(folder: Path, shipped: list[str], installed: list[str]) -> tuple[Path, Path]:
    wheel, sdist = folder / "own-1-py3-none-any.whl", folder / "own-1.tar.gz"
    with zipfile.ZipFile(wheel, "w") as file:
        for name in installed:
            file.writestr(name, "")
    with tarfile.open(sdist, "w:gz") as archive:
        for name in shipped:
            archive.addfile(tarfile.TarInfo(f"own-1/{name}"), io.BytesIO())
    return wheel, sdist


def test_what_is_left_out_or_too_much_is_named(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked = ["portgnn/a.py", "portgnn/b.npz", "backends/own/c.py", "tests/d.py", ".gitignore"]
    for name in tracked:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "_run", lambda command: "\0".join([*tracked, "portgnn/deleted.py", ""]))
    good = ["portgnn/a.py", "portgnn/b.npz", "own/c.py", "own-1.dist-info/METADATA"]
    assert check.missing(*_archives(tmp_path, tracked, good)) == []
    assert check.missing(*_archives(tmp_path, tracked[:3], [*good[:1], good[2], "tests/d.py"])) == [
        "own-1.tar.gz lacks tests/d.py",
        "own-1-py3-none-any.whl lacks portgnn/b.npz",
        "own-1-py3-none-any.whl holds tests/d.py",
    ]


def test_a_command_that_fails_ends_the_check_with_what_it_said(check: ModuleType) -> None:
    with pytest.raises(SystemExit, match="no such thing"):
        check._run([sys.executable, "-c", "raise SystemExit('no such thing')"])
