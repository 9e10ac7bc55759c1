"""Files for other programs, held to those programs' own schemas, and to each other."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HOOKS: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
SCHEMAS = [hook for hook in HOOKS if hook["entry"].startswith("check-jsonschema ")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CHANGES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def _files() -> list[str]:
    found = [*(ROOT / ".github").rglob("*"), *ROOT.glob("*.cff")]
    return sorted(str(path.relative_to(ROOT)) for path in found if path.is_file())


@pytest.mark.parametrize("hook", SCHEMAS, ids=lambda hook: hook["id"])
def test_they_fit_the_schemas(hook: dict[str, Any], tmp_path: Path) -> None:
    files = [name for name in _files() if re.search(hook["files"], name)]
    assert files
    script = str(Path(sys.executable).with_name("check-jsonschema"))
    command = [script, *hook["entry"].split()[1:]]
    done = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    broken = tmp_path / "broken.yml"
    broken.write_text("jobs: none\n")
    assert subprocess.run([*command, str(broken)], capture_output=True, check=False).returncode == 1


def test_hooks_fetch_nothing_and_lint_as_make_does() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {hook["language"] for hook in HOOKS} == {"system"}
    assert len(SCHEMAS) == 3
    for tool in ("ruff check", "ruff format", "mypy"):
        assert f"$(FULL)/bin/{tool}" in makefile
        assert any(hook["entry"].startswith(f"python -m {tool}") for hook in HOOKS)


def test_every_make_target_is_named_in_the_first_lines_and_is_no_file() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    said = set(re.findall(r"^# make ([\w-]+)", makefile, re.MULTILINE))
    made = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    assert {"lint", "test", "docs", "bench"} <= said == made == set(phony[1].split())


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


def test_the_changelog_keeps_its_form() -> None:
    """Keep a Changelog 1.1.0: unreleased changes first, then versions, the newest first, each with its date."""
    heads = re.findall(r"^## (.+)$", CHANGES, re.MULTILINE)
    assert heads[0] == "[Unreleased]"
    versions = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d\d-\d\d", head) for head in heads[1:]]
    assert all(versions)
    numbers = [tuple(map(int, found.groups())) for found in versions if found]
    assert numbers == sorted(set(numbers), reverse=True)
    assert not numbers or ".".join(map(str, numbers[0])) == PROJECT["version"]
    kinds = set(re.findall(r"^### (.+)$", CHANGES, re.MULTILINE))
    assert kinds
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    for section in re.split(r"^## ", CHANGES, flags=re.MULTILINE)[1:]:
        named = re.findall(r"^### (.+)$", section, re.MULTILINE)
        assert len(named) == len(set(named)), "one kind of change twice"
