"""What training recorded, against the epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from portgnn.errors import ConfigError
from portgnn.metrics import LOSS, Quantity
from portgnn.plots import style
from portgnn.report.documents import EPSILON, coarsest, differing, labels_of, relative_difference
from portgnn.tasks import curves_among, loss_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADS = ("dataset", "preset", "seed")


def draw_curves(axes: Sequence[Axes], runs: Sequence[dict[str, Any]]) -> None:
    """Losses in the first Axes, each metric in one further; the lowest validation loss is ringed."""
    losses, *others = axes
    drawn = dict(zip(metrics_of(runs), others, strict=True))
    names = [style.words(name) for name in labels_of(runs)]
    for slot, (name, run) in enumerate(zip(names, runs, strict=True)):
        epochs = range(1, len(run["train_loss"]) + 1)
        of = f"{name}: " if len(runs) > 1 else ""
        if len(runs) == 1:
            train, val = style.line(0), style.line(1)
        else:  # a colour a run: its training loss is pale behind its validation loss
            val = style.line(slot) | {"linewidth": 1.5, "alpha": 1.0}
            train = val | {"alpha": 0.35, "linewidth": 2.5}
        losses.plot(epochs, run["train_loss"], label=f"{of}training", **train)
        if run["val_loss"]:
            losses.plot(epochs, run["val_loss"], label=f"{of}validation", **val)
            best = run["best_epoch"]
            ring = {"marker": "o", "mfc": "none", "mec": val["color"], "ms": 8, "linestyle": "none"}
            losses.plot(best + 1, run["val_loss"][best], label=None if slot else "lowest validation loss", **ring)
        for metric, own in drawn.items():
            _draw_metric(own, run, metric, of, val)
    losses.set(xlabel="epoch", ylabel=loss_words(runs), title=title(runs))
    for metric, own in drawn.items():
        own.set(xlabel="epoch", ylabel=f"{metric.words} ({metric.unit})", title=metric.words)
    many: dict[str, object] = {"fontsize": 7, "loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "frameon": False}
    for one in axes:
        one.grid(alpha=0.3)
        if one.get_legend_handles_labels()[0]:
            one.legend(**(many if len(runs) > 1 else {"fontsize": 9}))


def _draw_metric(axes: Axes, run: dict[str, Any], metric: Quantity, of: str, look: dict[str, Any]) -> None:
    """A metric of the validation nodes, and of the test nodes at the end. of: what labels begin with."""
    val, test = run.get(f"val_{metric.name}"), run.get(f"test_{metric.name}")
    if val:
        axes.plot(range(1, len(val) + 1), val, label=f"{of}validation", **look)
    if test is not None:
        dots = {"color": look["color"], "linestyle": ":", "linewidth": 1.0}
        axes.axhline(test, label=f"{of}test, after training", **dots)


def metrics_of(runs: Sequence[dict[str, object]]) -> list[Quantity]:
    """What has a curve in some of the runs, beside the loss; where nothing has, what is known of test nodes."""
    names = {name for run in runs for name in run}
    drawn, tested = (
        [each.quantity for each in curves_among(names, part) if each.quantity != LOSS] for part in ("val", "test")
    )
    return list(dict.fromkeys(drawn or tested))


def draw_comparison(axes: Sequence[Axes], runs: Sequence[dict[str, Any]]) -> None:
    """Training losses over each other, and below their relative differences from the first run's.

    Raises ConfigError for fewer than two runs and for runs that are not meant to compute the same numbers.
    """
    if len(runs) < 2:
        raise ConfigError("compare needs at least two training runs")
    for run in runs[1:]:
        other = differing(runs[0], run)
        if other:
            raise ConfigError(f"these runs are not meant to give the same numbers: they differ in {other}")
    above, below = axes
    names = [style.words(name) for name in labels_of(runs)]
    for slot, (name, run) in enumerate(zip(names, runs, strict=True)):
        epochs = range(1, len(run["train_loss"]) + 1)
        above.plot(epochs, run["train_loss"], label=name, **style.line(slot, len(runs)))
        if slot:
            gaps = relative_difference(run["train_loss"], runs[0]["train_loss"])
            # On a logarithmic axis equality has no place: a gap, and the legend counts.
            shown = [d if 0 < d < math.inf else math.nan for d in gaps]
            equal = sum(d == 0 for d in gaps)
            label = f"{name}: at most {max(gaps):.1e}" + (f", {equal} of {len(gaps)} equal" if equal else "")
            thin = style.line(slot) | {"linestyle": "-", "linewidth": 0.8, "marker": ".", "markersize": 2.5}
            below.plot(range(1, len(shown) + 1), shown, label=label, **thin)
    dtype = coarsest(runs)
    if dtype:
        below.axhline(EPSILON[dtype], color="0.35", linestyle=":", linewidth=1.2, label=f"{dtype} ε")
    below.set_yscale("log")
    above.set(ylabel=f"training {loss_words(runs)}", title=title(runs))
    below.set(xlabel="epoch", ylabel=f"|Δ loss| / loss,\nfrom {names[0]}")
    above.legend(fontsize=8)
    below.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=2, frameon=False)
    for one in axes:
        one.grid(alpha=0.3)


def title(runs: Sequence[dict[str, object]]) -> str:
    """What all runs have in common of dataset, recipe and seed."""
    shared = {head: str(runs[0][head]) for head in HEADS if len({str(run[head]) for run in runs}) == 1}
    words = [shared.get("dataset", ""), shared.get("preset", ""), f"seed {shared['seed']}" if "seed" in shared else ""]
    return style.words(", ".join(word for word in words if word))
