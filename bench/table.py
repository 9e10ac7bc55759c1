"""Result files as Markdown tables: `python bench/table.py bench/results/*.json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.quiet import BUSY
from bench.timing import round_ratios

REFERENCES = {"pyg": "PyG", "article-torch": "article torch", "article-mlx": "article MLX", "mlx-graphs": "mlx-graphs",
              "k3-node-jax": "k3-node JAX"}  # fmt: skip
"""Peers that get a column of ratios, and its heading."""


def read(path: str | Path) -> dict[str, Any]:
    """A run. Raises ValueError for a file that is none."""
    try:
        run = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(run, dict) or run.get("format") != "portgnn-bench":
        raise ValueError(f"{path} is not a result of run_all.py")
    return run


def group_key(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row.get("dataset"), row.get("recipe"), (row.get("recipe_values") or {}).get("hidden"))


def groups(run: dict[str, Any]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Timed rows by dataset, recipe and width: rows of one group were timed in the same rounds."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in run["rows"]:
        if row.get("status") == "timed":
            found.setdefault(group_key(row), []).append(row)
    return found


def reference_row(rows: Iterable[dict[str, Any]], contender: str, device: str | None) -> dict[str, Any] | None:
    """The peer's row on the device, or on the only one that it was timed on."""
    own = [row for row in rows if row["contender"] == contender and row["kind"] == "peer"]
    same = [row for row in own if row["device"] == device]
    return same[0] if same else own[0] if len(own) == 1 else None


def ratio(row: dict[str, Any], reference: dict[str, Any]) -> float:
    """How many times the reference's median train step is longer than this row's."""
    return float(reference["train_ms"]["median"] / row["train_ms"]["median"])


def ratio_range(row: dict[str, Any], reference: dict[str, Any]) -> tuple[float, float]:
    """The smallest and the largest ratio of any single round."""
    found = round_ratios(row["train_ms_rounds"], reference["train_ms_rounds"])
    return min(found), max(found)


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def markdown(runs: Sequence[dict[str, Any]]) -> str:
    """All groups of all runs, each with the machine that it was taken on; then what was not timed."""
    parts: list[str] = []
    for run in runs:
        if run.get("kind") == "article-compat":
            from bench.article_compat import compat_markdown

            parts.append(compat_markdown(run))
            continue
        if run.get("kind") == "growth":
            from bench.growth import growth_markdown

            parts.append(growth_markdown(run))
            continue
        if run.get("kind") == "startup":
            from bench.startup import startup_markdown

            parts.append(startup_markdown(run))
            continue
        for key, rows in groups(run).items():
            parts.append(group_markdown(run, key, rows))
        parts.append(absences(run))
    return "\n".join(part for part in parts if part)


def group_markdown(run: dict[str, Any], key: tuple[Any, ...], rows: list[dict[str, Any]]) -> str:
    dataset, recipe, hidden = key
    facts = rows[0]["graph"]
    columns = [name for name in REFERENCES if any(row["contender"] == name for row in rows)]
    head = ["", "device", "form", "train ms/epoch", "IQR", "evaluation ms", "first epoch ms", "test accuracy"]
    head += [f"× {REFERENCES[name]}" for name in columns]
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
            reference = reference_row(rows, name, row["device"])
            cells.append(number(ratio(row, reference)) if reference else "–")
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def form_of(row: dict[str, Any]) -> str:
    options = row.get("options", {})
    return f"{options.get('form', '?')}, rows={options.get('rows', '?')}"


def where(run: dict[str, Any]) -> str:
    """The machine and the method in one line."""
    machine, plan = run["machine"], run["plan"]
    cores = run["options"].get("threads") or machine["cores"]
    commit = (run["git"]["commit"] or "unknown")[:8] + ("+" if run["git"]["modified"] else "")
    gpus = {facts["environment"].get("gpu") for facts in run["workers"].values()} - {None, True, False}
    gpu = f", {', '.join(sorted(gpus))}" if gpus else ""
    return (
        f"{machine['processor']}, {cores} cores{gpu}; Python {machine['python']}; {plan['rounds']} rounds interleaved, "
        f"chunks of up to {plan['chunk']} epochs; {run['made'][:10]}, revision {commit}."
    )


def disturbed(rows: Iterable[dict[str, Any]]) -> str:
    """A warning where other processes had a part of the machine while these rows were timed."""
    others = [row["others_cores"] for row in rows if row.get("others_cores") is not None]
    worst = max(others, default=0.0)
    return f" NOT QUIET: other processes took up to {worst:.1f} cores." if worst > BUSY else ""


def absences(run: dict[str, Any]) -> str:
    """What was not timed, each with its reason."""
    lines = []
    for row in run["rows"]:
        if row.get("status") != "timed":
            place = " · ".join(str(row[name]) for name in ("dataset", "recipe") if row.get(name))
            lines.append(f"- {row['status']}: {row['label']}{f' ({place})' if place else ''}: {row['reason']}")
    return "\n".join(["Not timed:", "", *dict.fromkeys(lines)]) + "\n" if lines else ""


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
    sys.exit(main(sys.argv[1:]))
