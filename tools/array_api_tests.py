"""Runs the array API standard's own test suite over the namespaces that backends hand out, and counts what passes.

    git clone --recurse-submodules https://github.com/data-apis/array-api-tests CHECKOUT
    pip install pytest-json-report ndindex
    python tools/array_api_tests.py CHECKOUT --backend mlx --json mlx.json
    python tools/array_api_tests.py CHECKOUT --namespace jax.numpy --json jax-numpy.json
    python tools/array_api_tests.py COPY --revision 55fcc60179ef --backend mlx --json mlx.json  # a copy without .git

The suite (Consortium for Python Data API Standards) is on no package index, so its checkout is named. Each of its files
runs in a process of its own; a test that ends the process is counted as `died` and the file goes on without it.
Examples are derived from the tests' names and not drawn, so that two runs of one version count the same.

What fails has a row with its reason in `array_api_gaps.toml` beside this file. With --backend, the exit status is 1
where a test fails without a row, and where a row's gap has closed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

GAPS = Path(__file__).with_name("array_api_gaps.toml")
STANDARD = "2024.12"
_STARTED = re.compile(
    r"^(array_api_tests/\S+\.py::[^\n]+?)(?: (?:PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b.*)?$", re.MULTILINE
)
_OUTCOMES = {"passed": "passed", "skipped": "skipped", "xfailed": "skipped", "xpassed": "passed"}


@dataclass(frozen=True)
class Gap:
    """A row of the registry: tests that fail on versions of a backend's framework, why, and where that is known.

    tests: names from the suite's file on; one that ends in `*` stands for all that begin so.
    """

    backend: str
    versions: tuple[str, ...]
    tests: tuple[str, ...]
    reason: str
    upstream: str = ""

    def names(self, test: str) -> bool:
        return any(test.startswith(each[:-1]) if each.endswith("*") else test == each for each in self.tests)


def read_gaps(path: Path, backend: str, found: str) -> list[Gap]:
    """The rows for a backend and its framework's version. Raises SystemExit for a damaged one."""
    rows = []
    for row in tomllib.loads(path.read_text(encoding="utf-8")).get("gap", []):
        try:
            gap = Gap(
                row["backend"], tuple(row["versions"]), tuple(row["tests"]), row["reason"], row.get("upstream", "")
            )
        except KeyError as error:
            raise SystemExit(f"{path}: a row lacks {error}: {row}") from None
        if gap.backend == backend and any(found == each or found.startswith(f"{each}.") for each in gap.versions):
            rows.append(gap)
    return rows


def namespace_of(given: argparse.Namespace) -> str:
    """Python that puts the namespace to test into `xp`, for the suite to run."""
    if given.namespace:
        setup = "import jax; jax.config.update('jax_enable_x64', True)" if given.namespace.startswith("jax") else ""
        return f"{setup}\nimport importlib\nxp = importlib.import_module({given.namespace!r})".strip()
    chosen = f"{given.backend!r}, device={given.device!r}, dtype={given.dtype!r}"
    return f"from portgnn import get_backend\nxp = get_backend({chosen}).xp"


def run_file(checkout: Path, name: str, given: argparse.Namespace) -> tuple[dict[str, str], dict[str, str]]:
    """Outcomes and reasons of one file of the suite, by test; begun again after each test that ends the process."""
    died: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        while True:
            left_out = [part for test in died for part in ("--deselect", f"array_api_tests/{test}")]
            command = [
                *(sys.executable, "-m", "pytest", f"array_api_tests/{name}", "-v", "--tb=line", "--color=no"),
                *("--json-report", "--json-report-omit=collectors,keywords,streams", f"--json-report-file={report}"),
                *("-p", "no:cacheprovider", "-p", "no:portgnn", "--disable-deadline", "--derandomize"),
                *(f"--max-examples={given.max_examples}", *given.options, *left_out),
            ]
            environment = os.environ | {
                "ARRAY_API_TESTS_MODULE": "exec('" + namespace_of(given).replace("'", '"').replace("\n", "; ") + "')",
                "ARRAY_API_TESTS_VERSION": STANDARD,
            }
            done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
            if report.exists():
                outcomes, reasons = _read(report)
                return outcomes | dict.fromkeys(died, "died"), reasons | died
            begun = _STARTED.findall(done.stdout)
            if not begun or _short(begun[-1]) in died:
                raise SystemExit(
                    f"{name}: pytest ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
                )
            died[_short(begun[-1])] = f"the process ended with {done.returncode}"


def _read(report: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Outcomes by test, and the first line of what a failed one says."""
    outcomes, reasons = {}, {}
    for test in json.loads(report.read_text(encoding="utf-8"))["tests"]:
        name = _short(test["nodeid"])
        outcomes[name] = _OUTCOMES.get(test["outcome"], "failed")
        if outcomes[name] == "failed":
            crash = next((test[when]["crash"] for when in ("setup", "call") if "crash" in test.get(when, {})), {})
            reasons[name] = str(crash.get("message", "")).partition("\n")[0][:200]
    return outcomes, reasons


def _short(test: str) -> str:
    return test.strip().removeprefix("array_api_tests/")


def files(checkout: Path, only: list[str]) -> Iterator[str]:
    for path in sorted((checkout / "array_api_tests").glob("test_*.py")):
        if not only or path.name.removeprefix("test_").removesuffix(".py") in only:
            yield path.name


def judge(outcomes: dict[str, str], gaps: list[Gap]) -> tuple[list[str], list[str]]:
    """Tests that fail without a row, and rows' tests that no longer fail."""
    bad = {test for test, outcome in outcomes.items() if outcome in ("failed", "died")}
    unknown = sorted(test for test in bad if not any(gap.names(test) for gap in gaps))
    seen = {test.partition("::")[0] for test in outcomes}
    closed = [
        each
        for gap in gaps
        for each in gap.tests
        if each.partition("::")[0] in seen and not any(Gap("", (), (each,), "").names(test) for test in bad)
    ]
    return unknown, closed


def revision(checkout: Path, said: str | None) -> str:
    """The checkout's commit, or what `said` names for a copy without one, inside another repository or in none.

    Raises SystemExit where the two disagree, and for `said` that is no commit.
    """
    if said is not None and not re.fullmatch("[0-9a-f]{7,40}", said):
        raise SystemExit(f"--revision {said}: a commit is 7 to 40 digits of 0-9a-f")

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True)
        return done.stdout.strip()

    top = git("rev-parse", "--show-toplevel")
    found = git("rev-parse", "HEAD") if top and Path(top).samefile(checkout) else ""
    if found and said and not found.startswith(said):
        raise SystemExit(f"--revision {said}: {checkout} is at {found[:12]}")
    return (found or said or "")[:12]


def framework(given: argparse.Namespace) -> tuple[str, str]:
    """The distribution behind a namespace, and its version."""
    if given.namespace:
        parts = given.namespace.split(".")
        name = parts[1] if parts[0] == "array_api_compat" and len(parts) > 1 else parts[0]
        return name.replace("_", "-"), version(name.replace("_", "-"))
    from portgnn import get_backend

    found = type(get_backend(given.backend, device=given.device, dtype=given.dtype)).environment()
    return given.backend, str(found.get("version") or found.get("numpy") or version(given.backend)).partition("+")[0]


def summary(given: argparse.Namespace, outcomes: dict[str, str], reasons: dict[str, str]) -> dict[str, Any]:
    """The run as one document: counts in all and by file, and each failure with its reason."""
    name, found = framework(given)
    gaps = [] if given.namespace else read_gaps(given.gaps, given.backend, found)
    categories: dict[str, Counter[str]] = {}
    for test, outcome in outcomes.items():
        categories.setdefault(test.partition(".py")[0].removeprefix("test_"), Counter())[outcome] += 1
    failures = {}
    for test in sorted(test for test, outcome in outcomes.items() if outcome in ("failed", "died")):
        row = next((gap for gap in gaps if gap.names(test)), None)
        failures[test] = {"message": reasons.get(test, "")} | (
            {"reason": row.reason, "upstream": row.upstream} if row else {}
        )
    return {
        "namespace": given.namespace or f"portgnn {given.backend} {given.dtype}",
        "framework": name,
        "version": found,
        "standard": STANDARD,
        "suite": revision(given.checkout, given.revision),
        "examples": given.max_examples,
        "options": given.options,
        "counts": dict(Counter(outcomes.values())),
        "categories": {each: dict(count) for each, count in sorted(categories.items())},
        "failures": failures,
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="the suite, with its submodule")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--backend", help="a registered backend, whose `xp` is tested")
    which.add_argument("--namespace", help="a module to compare with, for example array_api_compat.torch or jax.numpy")
    parser.add_argument("--device", help="the backend's device (default: its fastest)")
    parser.add_argument("--dtype", default="float64", help="the backend's dtype (default: float64)")
    parser.add_argument("--max-examples", type=int, default=50, help="examples a test (default: 50)")
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="CATEGORY", help="files of the suite, as in `linalg fft`"
    )
    parser.add_argument("--jobs", type=int, default=1, help="files of the suite that run at a time (default: 1)")
    parser.add_argument("--gaps", type=Path, default=GAPS, help="the registry of known failures")
    parser.add_argument("--json", type=Path, metavar="OUT", help="where the counts go")
    parser.add_argument("--revision", metavar="COMMIT", help="the suite's commit, for a copy that has no .git")
    parser.add_argument(
        "--options", nargs="*", default=["--disable-data-dependent-shapes"], help="further options of the suite"
    )
    given = parser.parse_args(arguments)
    if not (given.checkout / "array_api_tests").is_dir() or not any((given.checkout / "array-api").glob("*")):
        raise SystemExit(f"{given.checkout} is no checkout of array-api-tests with its submodule array-api")
    if not revision(given.checkout, given.revision) and given.json:
        raise SystemExit(f"{given.checkout} does not say its commit, for --json: name it by --revision COMMIT")
    outcomes: dict[str, str] = {}
    reasons: dict[str, str] = {}
    with ThreadPoolExecutor(given.jobs) as pool:
        names = list(files(given.checkout, given.only))
        for name, (got, why) in zip(
            names, pool.map(lambda name: run_file(given.checkout, name, given), names), strict=True
        ):
            outcomes |= got
            reasons |= why
            print(f"{name}: {dict(Counter(got.values()))}", flush=True)
    document = summary(given, outcomes, reasons)
    print(f"{document['namespace']} ({document['framework']} {document['version']}): {document['counts']}")
    if given.json:
        given.json.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if given.namespace:
        return 0
    unknown, closed = judge(outcomes, read_gaps(given.gaps, given.backend, document["version"]))
    for test in unknown:
        print(f"fails without a row in {given.gaps.name}: {test}: {reasons.get(test, '')}")
    for test in closed:
        print(f"a gap has closed, so its row must go: {test}")
    return 1 if unknown or closed else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from bench.harness.ending import ended

    ended(main)
