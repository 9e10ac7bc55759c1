"""A release's tag is held against what the package, the changelog and the citation say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def check(tool: Callable[[str], ModuleType]) -> ModuleType:
    return tool("check_version")


def _project(
    root: Path, packaged: str = "1.2.0", section: str = "## [1.2.0] - 2027-01-31", cited: str = "1.2.0"
) -> Path:
    (root / "pyproject.toml").write_text(f'[project]\nname = "x"\nversion = "{packaged}"\n')
    (root / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## [Unreleased]\n\n{section}\n\n### Added\n\n- A.\n\n## [1.1.0] - 2026-01-01\n\n- B.\n"
    )
    (root / "CITATION.cff").write_text(f"cff-version: 1.2.0\nversion: {cited}\n")
    return root


def test_one_version_everywhere_passes_and_gives_its_notes(check: ModuleType, tmp_path: Path) -> None:
    root = _project(tmp_path)
    assert check.faults("v1.2.0", root) == []
    assert check.notes("1.2.0", root) == "### Added\n\n- A."
    assert check.notes("1.1.0", root) == "- B."


@pytest.mark.parametrize(
    ("tag", "project", "said"),
    [
        ("v1.2.0", {"packaged": "1.1.0"}, "pyproject.toml has version 1.1.0"),
        ("v1.2.0", {"section": "## [1.2.0]"}, "no section of 1.2.0 with a date"),
        ("v1.2.0", {"cited": "1.1.9"}, "CITATION.cff has version 1.1.9"),
        ("1.2.0", {}, "is no tag of a release"),
        ("v1.2", {}, "is no tag of a release"),
    ],
)
def test_each_that_differs_is_a_line(
    check: ModuleType, tag: str, project: dict[str, str], said: str, tmp_path: Path
) -> None:
    found = check.faults(tag, _project(tmp_path, **project))
    assert len(found) == 1
    assert said in found[0]


def test_nothing_is_published_that_was_not_tried() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]
    steps = [step.get("run", "") for step in jobs["build"]["steps"]]
    assert any("check_distributions.py" in run for run in steps)
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert all("startsWith(github.ref, 'refs/tags/')" in jobs[name]["if"] for name in ("publish", "notes"))
    assert not any("secrets." in str(job) or "password" in str(job) for job in jobs.values())
