"""The workflows: valid, with the least permissions, pinned, and asking of each device what its adapter offers."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from portgnn.registry import backend_class, registered_names

ROOT = Path(__file__).parents[2]
PATHS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture(scope="module")
def workflows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By file name. PyYAML is fetched where it is absent: nothing else here needs it."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            yaml = importlib.import_module("yaml")
        except ModuleNotFoundError:
            folder = tmp_path_factory.mktemp("yaml")
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "--target", str(folder), "pyyaml"], check=True, timeout=120)
            patch.syspath_prepend(str(folder))
            yaml = importlib.import_module("yaml")
        return {path.name: yaml.safe_load(path.read_text()) for path in PATHS}


def _steps(workflow: Any) -> list[Any]:
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


def test_they_are_workflows(workflows: dict[str, Any]) -> None:
    assert set(workflows) == {"ci.yml", "release.yml", "verify.yml"}
    for workflow in workflows.values():
        assert workflow[True]  # YAML 1.1 reads the key `on` as a truth value
        for job in workflow["jobs"].values():
            assert ("runs-on" in job and job["timeout-minutes"] <= 90) != ("uses" in job)
        assert all(("run" in step) != ("uses" in step) for step in _steps(workflow))


RELEASE = {
    "build": {"contents": "read", "id-token": "write", "attestations": "write"},
    "publish": {"id-token": "write"},
    "notes": {"contents": "write"},
}
"""What a job of a release may do beside reading: say who built the files, hand them to the index, write the release."""


def test_they_may_read_and_nothing_else_but_to_release(workflows: dict[str, Any]) -> None:
    for name, workflow in workflows.items():
        assert workflow["permissions"] == {"contents": "read"}
        more = {job: said["permissions"] for job, said in workflow["jobs"].items() if "permissions" in said}
        assert more == (RELEASE if name == "release.yml" else {})
        checkouts = [step for step in _steps(workflow) if step.get("uses", "").startswith("actions/checkout")]
        assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    assert not any("secrets" in path.read_text() for path in PATHS)


def test_actions_are_githubs_own_or_the_indexs_in_a_pinned_version(workflows: dict[str, Any]) -> None:
    used = {step["uses"] for workflow in workflows.values() for step in _steps(workflow) if "uses" in step}
    assert used
    used.remove("pypa/gh-action-pypi-publish@release/v1")  # what the index asks for where nobody keeps a token
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", name) for name in used)
    names = [name.partition("@")[0] for name in used]
    assert len(names) == len(set(names)), "one action in two versions"


def test_no_expression_lands_in_a_shell(workflows: dict[str, Any]) -> None:
    scripts = [step["run"] for workflow in workflows.values() for step in _steps(workflow) if "run" in step]
    assert all("${{" not in script for script in scripts)


def test_every_supported_python_is_tested(workflows: dict[str, Any]) -> None:
    said = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert workflows["ci.yml"]["jobs"]["test"]["strategy"]["matrix"]["python"] == said


def test_each_device_is_asked_for_what_its_adapter_offers(workflows: dict[str, Any]) -> None:
    jobs = workflows["ci.yml"]["jobs"]
    rows = [row for name in ("mac", "mac-gpu") for row in jobs[name]["strategy"]["matrix"]["include"]]
    devices = {(row["backend"], row["device"]) for row in rows}
    assert devices == {("torch", "cpu"), ("torch", "mps"), ("mlx", "cpu"), ("mlx", "gpu"), ("jax", "cpu")}
    for row in rows:
        assert row["backend"] in registered_names()
        assert tuple(row["dtypes"].split()) == backend_class(row["backend"]).dtypes(row["device"])


def test_what_ci_passes_on_is_what_verify_takes(workflows: dict[str, Any]) -> None:
    inputs = workflows["verify.yml"][True]["workflow_call"]["inputs"]
    needed = {name for name, one in inputs.items() if one.get("required")}
    for name in ("mac", "mac-gpu"):
        job = workflows["ci.yml"]["jobs"][name]
        assert job["uses"] == "./.github/workflows/verify.yml"
        assert needed <= set(job["with"]) <= set(inputs)
