"""The array API suite's runner, on a suite of three tests that is written here."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

OPTIONS = """
import json
import pathlib

found = []

def pytest_addoption(parser):
    parser.addoption("--disable-deadline", action="store_true")
    parser.addoption("--derandomize", action="store_true")
    parser.addoption("--max-examples", type=int)
    parser.addoption("--json-report", action="store_true")
    parser.addoption("--json-report-omit")
    parser.addoption("--json-report-file", type=pathlib.Path)
    parser.addoption("--disable-data-dependent-shapes", action="store_true")

def pytest_runtest_logreport(report):  # what pytest-json-report writes, as far as it is read
    if report.when == "call":
        entry = {"nodeid": report.nodeid, "outcome": report.outcome, "call": {}}
        if report.failed:
            entry["call"]["crash"] = {"message": report.longrepr.reprcrash.message}
        found.append(entry)

def pytest_sessionfinish(session):
    session.config.getoption("--json-report-file").write_text(json.dumps({"tests": found}))
"""
TESTS = """
import os
namespace = {}
exec(os.environ["ARRAY_API_TESTS_MODULE"][6:-2], namespace)
xp = namespace["xp"]

def test_adds():
    assert xp.asarray([1.0]) + 1 == 2

def test_dies():
    os._exit(7)

def test_lacks(capsys):
    with capsys.disabled():
        print("a line of the framework's own")
    xp.no_such_name
"""


@pytest.fixture(scope="module")
def runner(tool: Callable[[str], ModuleType]) -> ModuleType:
    return tool("array_api_tests")


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "suite"
    for name in ("array_api_tests", "array-api/spec"):
        (folder / name).mkdir(parents=True)
    (folder / "conftest.py").write_text(OPTIONS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "array_api_tests" / "test_small.py").write_text(TESTS)
    return folder


def gaps(folder: Path, *tests: str, backend: str = "numpy", versions: str = "2") -> list[str]:
    path = folder / "gaps.toml"
    path.write_text(
        "".join(
            f'[[gap]]\nbackend = "{backend}"\nversions = ["{versions}"]\ntests = ["{test}"]\nreason = "known"\n'
            for test in tests
        )
    )
    return ["--gaps", str(path)]


def test_outcomes_are_counted_and_a_test_that_ends_the_process_costs_no_other(
    runner: ModuleType, suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    known = gaps(tmp_path, "test_small.py::test_dies", "test_small.py::test_la*")
    command = [str(suite), "--backend", "numpy", "--json", str(out), *known]
    assert runner.main([*command, "--revision", "55fcc60179efa268"]) == 0, capsys.readouterr().out
    document = json.loads(out.read_text())
    assert document["suite"] == "55fcc60179ef"
    assert document["counts"] == {"passed": 1, "died": 1, "failed": 1}
    assert document["categories"] == {"small": document["counts"]}
    assert document["failures"]["test_small.py::test_lacks"]["reason"] == "known"
    assert "no_such_name" in document["failures"]["test_small.py::test_lacks"]["message"]


def test_a_failure_without_a_row_and_a_gap_that_closed_are_told(runner: ModuleType) -> None:
    outcomes = {
        "test_small.py::test_adds": "passed",
        "test_small.py::test_dies": "died",
        "test_small.py::test_la": "failed",
    }

    def judged(*tests: str) -> Any:
        return runner.judge(outcomes, [runner.Gap("numpy", ("2",), tests, "known")])

    assert judged("test_small.py::test_dies", "test_small.py::test_l*") == ([], [])
    assert judged("test_small.py::test_dies") == (["test_small.py::test_la"], [])
    assert judged("test_small.py::*", "test_small.py::test_adds") == ([], ["test_small.py::test_adds"])
    assert judged("test_small.py::*", "test_other.py::test_that_did_not_run") == ([], [])


def test_rows_of_other_versions_and_backends_do_not_count(runner: ModuleType, tmp_path: Path) -> None:
    path = Path(gaps(tmp_path, "test_small.py::test_lacks", versions="2.4")[1])
    assert len(runner.read_gaps(path, "numpy", "2.4.6")) == 1
    assert not runner.read_gaps(path, "numpy", "2.40.1")
    assert not runner.read_gaps(path, "torch", "2.4.6")


def test_every_row_of_the_registry_has_a_reason(runner: ModuleType) -> None:
    for row in tomllib.loads(runner.GAPS.read_text()).get("gap", []):
        assert len(row["reason"]) > 20
        assert row["tests"]
        assert row["versions"]


def test_the_suites_revision_is_its_own_or_said(runner: ModuleType, suite: Path, tmp_path: Path) -> None:
    """Before anything runs: a copy without .git has to be told, and a checkout is not contradicted."""
    out = tmp_path / "out.json"
    with pytest.raises(SystemExit, match="does not say its commit, for --json: name it by --revision"):
        runner.main([str(suite), "--backend", "numpy", "--json", str(out)])
    with pytest.raises(SystemExit, match="--revision main: a commit is"):
        runner.main([str(suite), "--backend", "numpy", "--revision", "main"])
    git = ["git", "-C", str(suite), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "one"], check=True)
    found = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert runner.revision(suite, None) == runner.revision(suite, found) == found[:12]
    other = "0" * 12
    with pytest.raises(SystemExit, match=f"--revision {other}: .* is at {found[:12]}"):
        runner.revision(suite, other)
    assert not out.exists()


def test_a_folder_that_is_no_checkout_is_named(runner: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is no checkout of array-api-tests"):
        runner.main([str(tmp_path), "--backend", "numpy"])
