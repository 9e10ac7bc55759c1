"""What a model of values, or of several labels, says beside what is known: residuals, and a curve a label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import ConfigError
from portgnn.plots import style
from portgnn.prediction.estimate import Estimated, estimate
from portgnn.prediction.evaluation import WORDS
from portgnn.tasks.ranking import roc_auc, roc_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from portgnn.checkpoints.model import Model
    from portgnn.graphs.graph import Graph

MOST = 6
"""Values, each with a row of panels of its own."""
Floats = NDArray[np.float64]


def panels(model: Model) -> tuple[int, int]:
    """Rows and columns of Axes: a row a value, one for all labels. Raises ConfigError for too many values."""
    if model.task().things != "values":
        return 1, 2
    if len(model.class_names) > MOST:
        raise ConfigError(f"a picture has room for {MOST} values a node, and the model says {len(model.class_names)}")
    return max(len(model.class_names), 1), 2


def draw_estimates(axes: Sequence[Axes], model: Model, graph: Graph) -> None:
    """Of values, each beside the known and its residual against it; of labels, the ROC curve and how many have it.

    Of the test nodes; without any of which something is known, of all such nodes. Raises ConfigError where there are
    none, and what `portgnn.estimate` raises.
    """
    found = estimate(model, graph)
    known = ~np.isnan(found.truth)
    part = "test" if "test" in found.scores else next(iter(found.scores), "")
    if not part:
        raise ConfigError(f"{graph.name} has nothing known of its nodes to compare what the model says with")
    chosen = (found.parts == part)[:, None] & known
    words = f"{style.words(graph.name)}: {WORDS[part]} nodes"
    if not found.are_values:
        _draw_labels(axes, found, chosen, words)
        return
    for at, name in enumerate(found.names):
        nodes = chosen[:, at]
        said, truth = found.answers[nodes, at], found.truth[nodes, at]
        _draw_value(axes[2 * at : 2 * at + 2], style.words(name[:40]), said, truth, words)


def _draw_value(axes: Sequence[Axes], name: str, said: Floats, truth: Floats, words: str) -> None:
    beside, residuals = axes
    look: dict[str, Any] = {"s": float(np.clip(20_000 / max(len(said), 1), 3, 30)), "alpha": 0.6, "linewidths": 0}
    look |= {"rasterized": len(said) > 5000, "color": style.line(0)["color"]}
    beside.scatter(truth, said, **look)
    residuals.scatter(said, truth - said, **look)
    line: dict[str, Any] = {"color": "0.35", "linestyle": ":", "linewidth": 1.2}
    if len(said):
        low, high = min(said.min(), truth.min()), max(said.max(), truth.max())
        beside.plot([low, high], [low, high], label="equal", **line)
        beside.legend(fontsize=8)
    residuals.axhline(0.0, **line)
    off = truth - said
    size = f"mean |residual| {np.abs(off).mean():.3g}" if len(off) else "none known"
    beside.set(xlabel=f"{name}, known", ylabel=f"{name}, estimated", title=f"{words} ({len(said)})")
    residuals.set(xlabel=f"{name}, estimated", ylabel="known - estimated", title=size)
    for one in axes:
        one.grid(alpha=0.3)


def _draw_labels(axes: Sequence[Axes], found: Estimated, chosen: NDArray[np.bool_], words: str) -> None:
    curves, counts = axes
    places = np.arange(len(found.names))
    there, said = np.zeros(len(places)), np.zeros(len(places))
    for at, name in enumerate(found.names):
        nodes = chosen[:, at]
        truth, shares = found.truth[nodes, at] == 1, found.answers[nodes, at]
        there[at], said[at] = truth.sum(), (shares > 0.5).sum()
        area = roc_auc(shares, truth)
        if not np.isnan(area):
            label = f"{style.words(name[:28])} ({area:.3f})"
            curves.plot(*roc_curve(shares, truth), label=label, **style.line(at, len(places)))
    curves.plot([0, 1], [0, 1], color="0.35", linestyle=":", linewidth=1.2)
    curves.set(xlabel="share of those without the label that rank above", ylabel="share of those with it", title=words)
    curves.grid(alpha=0.3)
    if len(places) <= 20 and curves.get_legend_handles_labels()[0]:
        curves.legend(fontsize=7, title="label (area)")
    for offset, heights, label, slot in ((-0.2, there, "known to have it", 0), (0.2, said, "said to have it", 1)):
        counts.bar(places + offset, heights, 0.4, label=label, color=style.line(slot)["color"])
    names = [style.words(name[:28]) for name in found.names]
    turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    counts.set_xticks(places, names, fontsize=8, **(turned if max(map(len, names)) > 3 else {}))
    counts.set(xlabel="label", ylabel="nodes", title="how many")
    counts.legend(fontsize=8)
