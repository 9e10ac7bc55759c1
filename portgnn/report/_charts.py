"""Documents as charts: which numbers go on which axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

from portgnn._markup import E
from portgnn.metrics import LOSS, PARTS, Curve
from portgnn.report import study_tables
from portgnn.report._svg import Bar, Box, Series, bar_chart, box_chart, line_chart, swatch
from portgnn.report.documents import (
    EPSILON,
    coarsest,
    contender_of,
    growth_series,
    labels_of,
    number,
    relative_difference,
    timed_groups,
)
from portgnn.tasks import curves_among

OURS_SLOT, PEER_SLOT = 0, 5
BOX = ("low", "q1", "median", "q3", "high")
RINGED = "val_loss"
"""The curve on which the best epoch is marked."""


def legend(names: Sequence[str]) -> Element:
    items = (E("li", swatch(slot), " ", name) for slot, name in enumerate(names))
    return E("ul", *items, class_="legend")


def training(runs: Sequence[dict[str, Any]]) -> list[Element]:
    """Each curve that a run has against the epoch, a line a run: losses first."""
    made = []
    for curve in curves_among({name for run in runs for name in run}, "train", "val"):
        ringed = curve.name == RINGED
        lines = []
        for slot, (name, run) in enumerate(zip(labels_of(runs), runs, strict=True)):
            points = _points(run, curve)
            if points:
                lines.append(Series(name, points, slot, points[run["best_epoch"]] if ringed else None))
        if lines:
            made.append(line_chart(lines, curve.words + (", ring: lowest" if ringed else ""), "epoch", _unit(curve)))
    return made


def curves(run: dict[str, Any]) -> list[Element]:
    """The curves of one run, a chart for each quantity."""
    by_quantity: dict[str, list[Curve]] = {}
    for curve in curves_among(run, "train", "val"):
        if run[curve.name]:
            by_quantity.setdefault(curve.quantity.name, []).append(curve)
    made = []
    for drawn in by_quantity.values():
        lines, title = [], drawn[0].words if len(drawn) == 1 and drawn[0].part != "train" else drawn[0].quantity.words
        for curve in drawn:
            points, ringed = _points(run, curve), curve.name == RINGED
            slot = list(PARTS).index(curve.part)
            lines.append(Series(PARTS[curve.part], points, slot, points[run["best_epoch"]] if ringed else None))
            title += ", ring: lowest validation" if ringed else ""
        made.append(line_chart(lines, title, "epoch", _unit(drawn[0])))
    return made


def _points(run: dict[str, Any], curve: Curve) -> list[tuple[float, float]]:
    return list(enumerate(run.get(curve.name, []), start=1))


def _unit(curve: Curve) -> str:
    return curve.quantity.words if curve.quantity == LOSS else curve.quantity.unit


def difference(runs: Sequence[dict[str, Any]]) -> tuple[Element | None, list[str]]:
    """Relative differences of the training losses from the first run's, and sentences on them.

    Epochs that agree bit for bit have no place on a logarithmic axis; the sentences count them.
    """
    names = labels_of(runs)
    lines, said = [], []
    for slot, run in list(enumerate(runs))[1:]:
        found = relative_difference(run["train_loss"], runs[0]["train_loss"])
        shown = [(float(n), d) for n, d in enumerate(found, start=1) if 0 < d < math.inf]
        equal = sum(d == 0 for d in found)
        said.append(f"{names[slot]}: at most {max(found):.1e}, {equal} of {len(found)} epochs bit for bit equal.")
        if shown:
            lines.append(Series(names[slot], shown, slot))
    if not lines:
        return None, said
    dtype = coarsest(runs)
    level = (EPSILON[dtype], f"{dtype} ε") if dtype else None
    title = f"difference from {names[0]}"
    return line_chart(lines, title, "epoch", "|Δ loss| / loss", log_y=True, level=level, noisy=True), said


def study(data: dict[str, Any]) -> list[tuple[str, list[str], list[Element], list[Element]]]:
    """For each dataset of a study: its name, the rows' labels, their boxes for a wide and a narrow page, and their
    median curves.
    """
    made = []
    for dataset in dict.fromkeys(row["dataset"] for row in data["rows"]):
        rows = [row for row in data["rows"] if row["dataset"] == dataset]
        names = [study_tables.label(row, data, ("dataset",)) for row in rows]
        boxes = [
            _box(name, row, slot)
            for slot, (name, row) in enumerate(zip(names, rows, strict=True)) if row["box"]
        ]  # fmt: skip
        metrics = list(dict.fromkeys(row["metric_words"] for row in rows if row["metric_words"]))
        what = f"test {' and '.join(metrics)}; a dot a run, box: quartiles"
        wide = [
            E("div", box_chart(boxes, dataset, what, width=w), class_=c) for w, c in ((760, "wide"), (330, "narrow"))
        ]
        made.append((dataset, names, wide if boxes else [], _median_curves(rows, names)))
    return made


def _box(name: str, row: dict[str, Any], slot: int) -> Box:
    parts = {part: row["box"][part] for part in BOX}
    return Box(name, **parts, points=study_tables.tests(row), note=study_tables.figure(row), slot=slot)


def _median_curves(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[Element]:
    found = []
    for curve in curves_among({name for row in rows for name in row["curves"]}, "train", "val"):
        lines = [
            Series(name, list(enumerate(row["curves"][curve.name], start=1)), slot)
            for slot, (name, row) in enumerate(zip(names, rows, strict=True)) if row["curves"].get(curve.name)
        ]  # fmt: skip
        found.append(line_chart(lines, f"{curve.words}, median run", "epoch", _unit(curve)))
    return found


def benchmark(run: dict[str, object]) -> list[tuple[str, list[dict[str, Any]], list[Element]]]:
    """For each group of rows: its title, its rows from fast to slow, and its bars for a wide and a narrow page."""
    made = []
    for (dataset, recipe, hidden), rows in timed_groups(run).items():
        rows = sorted(rows, key=lambda row: float(row["train_ms"]["median"]))
        bars = [
            Bar(
                contender_of(row),
                (ms := row["train_ms"])["median"],
                ms["q1"],
                ms["q3"],
                number(ms["median"]),
                PEER_SLOT if row["kind"] == "peer" else OURS_SLOT,
            )
            for row in rows
        ]
        title = f"{dataset}, recipe {recipe}, hidden {hidden}"
        what = "ms per training epoch (log scale), quartiles"
        charts = [
            E("div", bar_chart(bars, title, what, width=w), class_=c) for w, c in ((760, "wide"), (330, "narrow"))
        ]
        made.append((title, rows, charts))
    return made


def growth(run: dict[str, object]) -> tuple[list[str], list[Element]]:
    """The names of the lines, and time and peak memory against stored edges."""
    series = growth_series(run)
    if not series:
        return [], []

    def lines(value: Any) -> list[Series]:
        return [
            Series(name, [(row["graph"]["stored_edges"], value(row)) for row in rows], slot)
            for slot, (name, rows) in enumerate(series.items())
        ]

    logarithmic: dict[str, Any] = {"log_x": True, "log_y": True, "dots": True, "height": 280}
    times = lines(lambda row: row["train_ms"]["median"])
    memory = lines(lambda row: row["peak_bytes"] / 2**20)
    return list(series), [
        line_chart(times, "time of a training epoch", "stored edges", "ms", **logarithmic),
        line_chart(memory, "peak memory of the process", "stored edges", "MiB", **logarithmic),
    ]
