"""Results of bench/run_all.py: a bar a contender, and growth with the number of edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from portgnn.errors import ConfigError
from portgnn.plots import style
from portgnn.report.documents import contender_of, growth_series, number, timed_groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_bars(axes: Sequence[Axes], run: dict[str, object]) -> None:
    """The first group of a run, fastest at the top, on a logarithmic axis: rows differ by hundreds."""
    from matplotlib.ticker import FuncFormatter

    (group, rows), *_ = [*timed_groups(run).items(), (None, [])]
    if group is None:
        raise ConfigError("the benchmark holds no timed row to draw")
    dataset, recipe, _ = group
    rows = sorted(rows, key=lambda row: -float(row["train_ms"]["median"]))
    (one,) = axes
    medians = [row["train_ms"]["median"] for row in rows]
    spread = [
        [m - row["train_ms"]["q1"] for m, row in zip(medians, rows, strict=True)],
        [row["train_ms"]["q3"] - m for m, row in zip(medians, rows, strict=True)],
    ]
    colours = [style.PEER if row["kind"] == "peer" else style.OURS for row in rows]
    one.barh([contender_of(row) for row in rows], medians, xerr=spread, color=colours, ecolor="#333333", capsize=2)
    for place, row in enumerate(rows):
        at = (max(row["train_ms"]["q3"], medians[place]), place)
        one.annotate(number(medians[place]), at, xytext=(6, 0), textcoords="offset points", va="center")
    one.set_xscale("log")
    one.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    one.margins(x=0.15)
    one.set(
        xlabel="ms per training epoch, median and quartiles (logarithmic)",
        title=style.words(f"{dataset}, recipe {recipe}"),
    )
    one.tick_params(axis="y", labelsize=8)


def draw_growth(axes: Sequence[Axes], run: dict[str, Any]) -> None:
    """Time and peak memory of an epoch against stored edges."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    times, memory = axes
    for slot, (name, rows) in enumerate(growth_series(run).items()):
        edges = [row["graph"]["stored_edges"] for row in rows]
        look = style.line(slot) | {"marker": style.MARKERS[slot % len(style.MARKERS)], "label": name}
        times.plot(edges, [row["train_ms"]["median"] for row in rows], **look)
        memory.plot(edges, [row["peak_bytes"] / 2**20 for row in rows], **look)
    for one, label in ((times, "ms per training epoch"), (memory, "peak memory of the process, MiB")):
        one.set(xscale="log", yscale="log", xlabel="stored edges", ylabel=label)
        one.margins(y=0.1)
        one.grid(True, which="major", alpha=0.3)
        one.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
        for formatter in (one.yaxis.set_major_formatter, one.yaxis.set_minor_formatter):
            formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    if times.get_legend_handles_labels()[0]:
        times.legend(fontsize=7)
