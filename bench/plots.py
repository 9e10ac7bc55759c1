"""The charts, as PNG: one bar a contender, and growth with the number of edges."""

from __future__ import annotations

import importlib.util
import io
from typing import Any

from bench.table import form_of, group_key, groups, number

OURS_COLOUR, PEER_COLOUR = "#1f6f8b", "#b8b8b8"


def require_matplotlib() -> str:
    """What to type where matplotlib is absent, else nothing."""
    if importlib.util.find_spec("matplotlib") is None:
        return 'charts need matplotlib. Install it with: pip install "portgnn[plot]"'
    return ""


def _axes(width: float, height: float, count: int = 1) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(1, count, figsize=(width, height), layout="constrained")


def _png(figure: Any) -> bytes:
    from matplotlib import pyplot

    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=130)
    pyplot.close(figure)
    return target.getvalue()


def bars(run: dict[str, Any]) -> bytes:
    """The first group of a run, fastest at the top, on a logarithmic axis: rows differ by hundreds."""
    rows = next(iter(groups(run).values()), [])
    if not rows:
        raise ValueError("the run holds no timed row to draw")
    dataset, recipe, _ = group_key(rows[0])
    rows = sorted(rows, key=lambda row: -row["train_ms"]["median"])
    figure, axes = _axes(9, 1.2 + 0.34 * len(rows))
    medians = [row["train_ms"]["median"] for row in rows]
    spread = [
        [m - row["train_ms"]["q1"] for m, row in zip(medians, rows, strict=True)],
        [row["train_ms"]["q3"] - m for m, row in zip(medians, rows, strict=True)],
    ]
    colours = [PEER_COLOUR if row["kind"] == "peer" else OURS_COLOUR for row in rows]
    names = [f"{row['title']} · {row['device']} · {form_of(row)}" for row in rows]
    axes.barh(names, medians, xerr=spread, color=colours, ecolor="#444444", capsize=2)
    for position, median in enumerate(medians):
        axes.annotate(f" {number(median)}", (median, position), xytext=(6, 0), textcoords="offset points", va="center")
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel("ms per training epoch, median and quartiles (logarithmic)")
    axes.set_title(f"{dataset}, recipe {recipe}")
    axes.tick_params(axis="y", labelsize=8)
    return _png(figure)


def growth(run: dict[str, Any]) -> bytes:
    """Time and peak memory of an epoch against stored edges."""
    figure, (times, memory) = _axes(11, 4.6, 2)
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in run["rows"]:
        if row.get("status") == "timed" and row.get("series") == "growth":
            lines.setdefault(f"{row['title']} · {row['device']} · {form_of(row)}", []).append(row)
    for name, rows in lines.items():
        rows.sort(key=lambda row: row["graph"]["stored_edges"])
        edges = [row["graph"]["stored_edges"] for row in rows]
        style: dict[str, Any] = {"marker": "o", "label": name, "linestyle": "--" if rows[0]["kind"] == "peer" else "-"}
        times.plot(edges, [row["train_ms"]["median"] for row in rows], **style)
        memory.plot(edges, [row["peak_bytes"] / 2**20 for row in rows], **style)
    for axes, label in ((times, "ms per training epoch"), (memory, "peak memory of the process, MiB")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("stored edges")
        axes.set_ylabel(label)
        axes.grid(True, which="major", alpha=0.3)
    times.legend(fontsize=7)
    return _png(figure)
