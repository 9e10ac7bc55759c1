"""What notebooks show of results: compact tables, and curves as inline SVG in the notebook's own colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

from portgnn._markup import LEFT, E, facts_table, render
from portgnn.report import study_tables
from portgnn.report._charts import curves
from portgnn.report._svg import swatch
from portgnn.report._tables import state, verdict
from portgnn.report.documents import number, place_of
from portgnn.tasks import curves_among

RIGHT = "text-align:right;white-space:nowrap"


def run_cell(run: dict[str, Any]) -> str:
    """A training run."""
    ended = f"{run['epochs_run']}" + (", stopped early" if run.get("stopped_early") else "")
    facts = [
        ("graph", f"{run['dataset']}: {run['nodes']:,} nodes, {run['edges']:,} edges"),
        ("run on", place_of(run)),
        ("recipe", f"{run['preset']}, seed {run['seed']}"),
        ("epochs", ended),
        *((f"test {each.quantity.words}", _score(run[each.name])) for each in curves_among(run, "test")),
        ("ms/epoch", f"{number(run['median_train_ms'])} (median), first {number(run['first_epoch_ms'])}"),
    ]
    if run["val_loss"]:
        facts.insert(4, ("lowest validation loss", f"{min(run['val_loss']):.4f}, epoch {run['best_epoch'] + 1}"))
    key = [E("span", swatch(slot), f" {name} ") for slot, name in enumerate(("training", "validation"))]
    frame = "display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start"
    charts = [E("div", chart, style="flex:1 1 300px;max-width:380px") for chart in curves(run)]
    return render(E("div", facts_table(facts), E("div", *charts, style=frame), E("div", *key)))


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def verification_cell(report: dict[str, Any]) -> str:
    """A verification: failures at once, all checks on demand."""
    failed = [check for check in report["checks"] if not check["passed"]]
    parts: list[Element] = [E("p", E("strong", place_of(report)), f": {verdict(report)}")]
    if failed:
        parts.append(_checks(failed))
    parts.append(E("details", E("summary", f"all {len(report['checks'])} checks"), _checks(report["checks"])))
    return render(E("div", *parts))


def study_cell(data: dict[str, object]) -> str:
    """A study: its rows, what they differ by, and what must be known of the numbers."""
    parts = [_lines(*study_tables.main(data))]
    if data["comparisons"]:
        parts.append(E("details", E("summary", "differences of the rows"), _lines(*study_tables.differences(data))))
    return render(E("div", *parts, *(E("p", note) for note in study_tables.notes(data))))


def _lines(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Element:
    head = E("tr", *(E("th", name, scope="col", style=LEFT) for name in heads))
    return E(
        "table", E("thead", head), E("tbody", *(E("tr", *(E("td", text, style=LEFT) for text in row)) for row in rows))
    )


def _checks(checks: Sequence[dict[str, Any]]) -> Element:
    head = E("tr", *(E("th", name, scope="col", style=LEFT) for name in ("check", "", "error", "tolerance", "hint")))
    rows = []
    for check in checks:
        error = "–" if check.get("max_error") is None else f"{check['max_error']:.1e}"
        cells = ((check["name"], LEFT), (state(check)[1], LEFT), (error, RIGHT), (f"{check['tolerance']:.0e}", RIGHT),
                 (check["hint"], LEFT))  # fmt: skip
        rows.append(E("tr", *(E("td", text, style=style) for text, style in cells)))
    return E("table", E("thead", head), E("tbody", *rows))
