"""Result files as Markdown tables: `python bench/table.py bench/results/*.json`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.harness.known_peers import FAMILIES
from bench.harness.rows import absences, at_its_best, disturbed, ratio, read, where
from bench.studies.article_compat import compat_markdown
from bench.studies.growth import growth_markdown
from bench.studies.startup import startup_markdown
from portgnn.report.documents import form_of, number, timed_groups

KINDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "article-compat": compat_markdown,
    "growth": growth_markdown,
    "startup": startup_markdown,
}
"""What renders a run that is no comparison, by its kind."""


def markdown(runs: Sequence[dict[str, Any]]) -> str:
    """All groups of all runs, each with the machine that it was taken on; then what was not timed."""
    parts: list[str] = []
    for run in runs:
        if run.get("kind") in KINDS:
            parts.append(KINDS[run["kind"]](run))
            continue
        parts += [group_markdown(run, key, rows) for key, rows in timed_groups(run).items()]
        parts.append(absences(run))
    return "\n".join(part for part in parts if part)


def group_markdown(run: dict[str, Any], key: tuple[Any, ...], rows: list[dict[str, Any]]) -> str:
    dataset, recipe, hidden = key
    facts = rows[0]["graph"]
    columns = [name for name, family in FAMILIES.items() if any(row["contender"] in family for row in rows)]
    head = ["", "device", "form", "train ms/epoch", "IQR", "evaluation ms", "first epoch ms", "test accuracy"]
    head += [f"× {name}" for name in columns]
    lines = [
        f"### {dataset}, recipe `{recipe}`, hidden {hidden}",
        "",
        f"{facts['nodes']:,} nodes, {facts['stored_edges']:,} stored edges, {facts['features']:,} features. "
        f"{where(run)}{disturbed(rows)}",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "|".join([" --- "] * 3 + [" ---: "] * (len(head) - 3)) + "|",
    ]
    for row in sorted(rows, key=lambda row: row["train_ms"]["median"]):
        ms, accuracy = row["train_ms"], row.get("test_accuracy")
        cells = [
            f"**{row['title']}**" if row["kind"] != "peer" else row["title"],
            row["device"],
            form_of(row),
            number(ms["median"]),
            f"{number(ms['q1'])}–{number(ms['q3'])}",
            number(row["evaluate_ms"]["median"]),
            number(row["first_epoch_ms"]),
            f"{accuracy:.3f}" if accuracy is not None else "–",
        ]
        for name in columns:
            reference = at_its_best(rows, FAMILIES[name], row["device"])
            cells.append(number(ratio(row, reference)) if reference else "–")
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n" + best_of_many(rows)


def best_of_many(rows: list[dict[str, Any]]) -> str:
    """Which configuration a ratio is against, for each library that was timed in several; every row is above."""
    said = []
    for name, family in FAMILIES.items():
        for device in dict.fromkeys(row["device"] for row in rows):
            there = [row for row in rows if row["contender"] in family and row["device"] == device]
            best = at_its_best(there, family, device)
            if best is not None and len(there) > 1:
                said.append(f"{name} on {device}: {best['title']}")
    if not said:
        return ""
    return f"\nA ratio is against a library's fastest row. {'; '.join(said)}. Like for like: rows=all.\n"


def main(arguments: Sequence[str]) -> int:
    if not arguments:
        print("usage: python bench/table.py RUN.json…", file=sys.stderr)
        return 2
    try:
        print(markdown([read(path) for path in arguments]), end="")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main, sys.argv[1:])
