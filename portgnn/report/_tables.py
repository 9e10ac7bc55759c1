"""Tables of a page: sortable ones, and the matrix of verification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

from portgnn._markup import E
from portgnn.report import study_tables
from portgnn.report.documents import RUN, RUN_OUTCOME, RunField, form_of, number
from portgnn.tasks import curves_among

LONG = 60
"""Letters from which a cell's text may take several lines."""
Cell = tuple[str, float | None] | str
"""Text; or text and the number by which it sorts, None where there is none."""


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Element:
    """A table whose columns can be sorted. Columns of numbers stand to the right."""
    numeric = [any(isinstance(row[i], tuple) for row in rows) for i in range(len(columns))]
    heads = [
        E("th", E("button", name, type="button"), scope="col", class_="n" if right else None)
        for name, right in zip(columns, numeric, strict=True)
    ]
    body = [E("tr", *(_cell(cell) for cell in row)) for row in rows]
    made = E("table", E("thead", E("tr", *heads)), E("tbody", *body), class_="sortable", aria_label=caption)
    return _scrolling(caption, made)


def _cell(cell: Cell) -> Element:
    if isinstance(cell, str):
        return E("td", cell, class_="long" if len(cell) > LONG else None)
    text, value = cell
    return E("td", text, class_="n", data_value="" if value is None else value)


def _scrolling(caption: str, inner: Element) -> Element:
    """A frame that scrolls sideways, by keyboard too."""
    return E("div", inner, class_="scroll", tabindex=0, role="region", aria_label=f"{caption} (scrolls)")


def figure(value: float | None, form: str = "") -> Cell:
    """A number as a cell; without a form, with three significant digits."""
    if value is None:
        return ("–", None)
    return (format(value, form) if form else number(value), value)


def quartiles(row: dict[str, Any]) -> Cell:
    low, high = row["train_ms"]["q1"], row["train_ms"]["q3"]
    return (f"{number(low)}–{number(high)}", low)


def sortable(text: str) -> Cell:
    """A cell that sorts by the number that its text begins with, if there is one."""
    try:
        return text, float(text.split()[0])
    except (ValueError, IndexError):
        return text


def candidates(name: str, data: dict[str, Any]) -> list[Element]:
    """The settings that competed in each row, by their validation; nothing where none did."""
    rows: list[list[Cell]] = []
    for row in data["rows"]:
        for each in row["candidates"] if len(row["candidates"]) > 1 else []:
            said = " ".join(f"{name}={value}" for name, value in each["values"].items())
            failed = f"{each['failed']} diverged" if each["failed"] else ""
            chosen = "chosen" if each["values"] == row["values"] else failed
            rows.append([study_tables.label(row, data), said, figure(each.get("validation"), ".4f"), chosen])
    if not rows:
        return []
    columns = ("row", "setting", "mean of the validation", "")
    shown = table(f"{name}: settings", columns, rows)
    return [E("details", E("summary", f"Settings that competed: {len(rows)}"), shown)]


def runs_table(runs: Sequence[dict[str, Any]]) -> Element:
    asked, outcome = ([each for each in part if each.head] for part in (RUN, RUN_OUTCOME))
    scores = curves_among({name for run in runs for name in run}, "test")
    columns = [each.head for each in asked] + ["epochs", "best", "last train loss"]
    columns += [each.short for each in scores] + [each.head for each in outcome]
    rows: list[list[Cell]] = [
        [
            *(_field(run, each) for each in asked),
            figure(len(run["train_loss"]), "d"),
            figure(run["best_epoch"] + 1, "d"),
            figure(run["train_loss"][-1], ".6f"),
            *(figure(run.get(each.name), ".4f") for each in scores),
            *(_field(run, each) for each in outcome),
        ]
        for run in runs
    ]
    return table("Training runs", columns, rows)


def _field(run: dict[str, Any], field: RunField) -> Cell:
    value = run.get(field.name)
    return value if isinstance(value, str) else figure(value, field.form)


def state(check: dict[str, Any]) -> tuple[str, str]:
    """Class and word of a check's result."""
    if check["passed"]:
        return "pass", "ok"
    return ("known", "known gap") if check["hint"].startswith("known: ") else ("fail", "FAILS")


def verdict(report: dict[str, Any]) -> str:
    passed = sum(check["passed"] for check in report["checks"])
    first = next((check["name"] for check in report["checks"] if not check["passed"]), None)
    return f"{passed} of {len(report['checks'])} pass" + (f", first failure {first}" if first else "")


def verification_table(reports: Sequence[dict[str, Any]]) -> Element:
    columns = ("backend", "device", "dtype", "setting", "checks passed", "first failure", "nearest to its tolerance",
               "error ÷ tolerance")  # fmt: skip
    rows: list[list[Cell]] = []
    for report in reports:
        checks = report["checks"]
        passed = sum(check["passed"] for check in checks)
        first = next((check for check in checks if not check["passed"]), None)
        shares = [
            (c["max_error"] / c["tolerance"], c["name"]) for c in checks if c.get("max_error") and c["tolerance"] > 0
        ]
        share, name = max(shares, default=(None, "–"))
        rows.append(
            [
                report["backend"],
                report["device"],
                report["dtype"],
                str(report.get("setting") or "–"),
                (f"{passed} of {len(checks)}", passed / max(len(checks), 1)),
                first["name"] if first else "none",
                name,
                figure(share, ".2g"),
            ]
        )
    return table("Verification, a row a run", columns, rows)


def matrix(dtype: str, reports: Sequence[dict[str, Any]]) -> Element:
    """A row a check, a column a backend: the word says whether it holds, the colour says it again."""
    names = list(dict.fromkeys(check["name"] for report in reports for check in report["checks"]))
    found = [{check["name"]: check for check in report["checks"]} for report in reports]
    heads = [
        E(
            "th",
            report["backend"],
            E("br"),
            report["device"],
            f" {report['setting']}" if report.get("setting") else "",
            scope="col",
        )
        for report in reports
    ]
    rows = []
    for name in names:
        cells = []
        for checks in found:
            check = checks.get(name)
            if check is None:
                cells.append(E("td", "not run", class_="none"))
                continue
            kind, word = state(check)
            error = "" if check.get("max_error") is None else f" {check['max_error']:.0e}".replace("0e+00", "0")
            cells.append(E("td", word + error, class_=kind))
        words = name.split(".")  # where a narrow page may break the name
        broken = [part for word in words[:-1] for part in (f"{word}.", E("wbr"))]
        rows.append(E("tr", E("th", *broken, words[-1], scope="row"), *cells))
    caption = f"Checks in {dtype}: result and largest error"
    made = E("table", E("thead", E("tr", E("th", "check", scope="col"), *heads)), E("tbody", *rows),
             class_="matrix", aria_label=caption)  # fmt: skip
    return _scrolling(caption, made)


def benchmark_table(caption: str, rows: Sequence[dict[str, Any]]) -> Element:
    columns = ("contender", "device", "form", "ms/epoch", "quartiles", "evaluation ms", "first ms", "test accuracy",
               "× fastest")  # fmt: skip
    fastest = min(row["train_ms"]["median"] for row in rows)
    body: list[list[Cell]] = [
        [
            row["title"],
            str(row.get("device")),
            form_of(row),
            figure(row["train_ms"]["median"]),
            quartiles(row),
            figure((row.get("evaluate_ms") or {}).get("median")),
            figure(row.get("first_epoch_ms")),
            figure(row.get("test_accuracy"), ".3f"),
            figure(row["train_ms"]["median"] / fastest),
        ]
        for row in rows
    ]
    return table(caption, columns, body)


def growth_table(caption: str, rows: Sequence[dict[str, Any]]) -> Element:
    columns = ("contender", "device", "form", "stored edges", "ms/epoch", "quartiles", "peak MiB")
    body: list[list[Cell]] = [
        [
            row["title"],
            str(row.get("device")),
            form_of(row),
            figure(row["graph"]["stored_edges"], ",d"),
            figure(row["train_ms"]["median"]),
            quartiles(row),
            figure(row["peak_bytes"] / 2**20, ".0f"),
        ]
        for row in rows
    ]
    return table(caption, columns, body)
