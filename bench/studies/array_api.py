"""What of the array API standard's own suite passes, by backend, as tables: out of bench/results/array-api.

python tools/array_api_tests.py CHECKOUT --backend torch --json bench/results/array-api/torch.json
python bench/studies/array_api.py
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results" / "array-api"


def runs(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The files of a folder, portgnn's backends first."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return sorted(found, key=lambda run: (not _is_ours(run), run["namespace"]))


def _is_ours(run: dict[str, Any]) -> bool:
    return bool(run["namespace"].startswith("portgnn "))


def _title(run: dict[str, Any]) -> str:
    name = run["namespace"].split()[1] if _is_ours(run) else f"`{run['namespace']}`"
    return f"{name}<br>{run['framework']} {run['version']}"


def _share(counts: dict[str, int]) -> str:
    """ "passed of run": what the suite skips is not counted."""
    failed = counts.get("failed", 0) + counts.get("died", 0)
    passed = counts.get("passed", 0)
    return "–" if not passed + failed else f"{passed}" if not failed else f"{passed} of {passed + failed}"


def passed(folder: Path = RESULTS) -> str:
    """A row for each file of the suite, a column for each namespace, and how the runs were made."""
    found = runs(folder)
    if not found:
        return "No run of it is among the results in `bench/results/array-api` yet."
    lines = ["| tests of | " + " | ".join(map(_title, found)) + " |", "|---|" + "---:|" * len(found)]
    for category in sorted({each for run in found for each in run["categories"]}):
        shares = (_share(run["categories"].get(category, {})) for run in found)
        lines.append(f"| {category.replace('_', ' ')} | {' | '.join(shares)} |")
    lines.append("| **all** | " + " | ".join(f"**{_share(run['counts'])}**" for run in found) + " |")
    how = {(run["suite"], run["standard"], run["examples"], " ".join(run["options"])) for run in found}
    said = "; ".join(
        f"array-api-tests `{suite}` for the standard {standard}, {examples} examples a test, `{options}`"
        for suite, standard, examples, options in sorted(how)
    )
    return "\n".join([*lines, "", f"Passed, of those that ran where not all passed: {said}."])


def gaps(folder: Path = RESULTS) -> str:
    """Why tests fail on portgnn's backends: a row for each reason, with how many it holds."""
    lines = ["| backend | tests | why | known as |", "|---|---:|---|---|"]
    for run in filter(_is_ours, runs(folder)):
        reasons: Counter[tuple[str, str]] = Counter()
        for failure in run["failures"].values():
            reasons[failure.get("reason", "no reason is written down"), failure.get("upstream", "")] += 1
        for (reason, upstream), count in reasons.most_common():
            lines.append(f"| {run['namespace'].split()[1]} | {count} | {reason} | {_link(upstream)} |")
    return "\n".join(lines) if len(lines) > 2 else "No run of a backend is among the results yet."


def _link(upstream: str) -> str:
    repository, _, number = upstream.partition("#")
    return f"[{upstream}](https://github.com/{repository}/issues/{number})" if number else "none found"


def main() -> None:
    print(passed())
    print()
    print(gaps())


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from bench.harness.ending import ended

    ended(main)
