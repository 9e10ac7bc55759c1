"""`portgnn plot` and `TrainResult.plot`: pictures of runs, predictions and benchmarks, drawn with matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portgnn.errors import ConfigError, near_matches

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from portgnn.checkpoints.model import Model
    from portgnn.graphs.graph import Graph

__all__ = ["FORMATS", "KINDS", "MAPS", "draw", "draw_result", "image", "new_figure"]

KINDS = {
    "curves": "losses and validation accuracy against the epoch, of one run or of several",
    "compare": "training losses of several backends over each other, and their differences below",
    "confusion": "which class is taken for which",
    "estimates": "values beside those that are known, and their residuals; of several labels, a ROC curve each",
    "map": "the nodes as points, by the hidden layer before the output",
    "benchmark": "times of a training epoch",
    "growth": "time and memory against the number of edges",
}
OF_MODELS = ("confusion", "estimates", "map")
"""Kinds that are drawn from a model and its graph."""
PANELS = {"curves": (1, 2), "compare": (2, 1), "growth": (1, 2), "estimates": (1, 2)}
"""Rows and columns of axes, where a kind needs more than one."""
MAPS = ("pca", "tsne", "umap")
FORMATS = (".png", ".svg", ".pdf")
DPI = 150


def draw(
    kind: str,
    *,
    runs: Sequence[dict[str, object]] = (),
    model: Model | None = None,
    graph: Graph | None = None,
    map: str = "pca",
    ax: object = None,
) -> list[Axes]:
    """Draws one picture and returns its Axes.

    runs: documents as `TrainResult.to_dict()` gives them, for curves and compare; of a benchmark for benchmark and
        growth. model, graph: for confusion and map. map: pca, tsne or umap.
    ax: the Axes to draw in: one for confusion, map and benchmark, two for the others (curves: the losses, and one for
        each metric); a new figure by default.

    Raises ConfigError for an unknown kind or map, runs that cannot be compared, and without matplotlib, scikit-learn
    or umap-learn where they are needed; GraphError where the graph does not fit the model.
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown kind of picture {kind!r}.{near_matches(kind, KINDS)}")
    if map not in MAPS:
        raise ConfigError(f"unknown map {map!r}.{near_matches(map, MAPS)}")
    axes = new_figure(kind, runs, model) if ax is None else _given(kind, ax, runs, model)
    if kind in OF_MODELS:
        from portgnn.plots import _estimates, nodes

        if model is None or graph is None:
            raise ConfigError(f"a picture of kind {kind} needs a trained model and its graph")
        if kind == "map":
            nodes.draw_map(axes[0], model, graph, map)
        elif kind == "estimates":
            _estimates.draw_estimates(axes, model, graph)
        else:
            nodes.draw_confusion(axes[0], model, graph)
        return axes
    if not runs:
        raise ConfigError(f"a picture of kind {kind} needs at least one result")
    if kind in ("curves", "compare"):
        from portgnn.plots import _curves

        (_curves.draw_curves if kind == "curves" else _curves.draw_comparison)(axes, runs)
    else:
        from portgnn.plots import _benchmarks

        (_benchmarks.draw_bars if kind == "benchmark" else _benchmarks.draw_growth)(axes, runs[0])
    return axes


def draw_result(
    model: Model,
    runs: Sequence[dict[str, object]],
    kind: str,
    graph: Graph | None,
    map: str,
    ax: object,
    out: Path | None,
) -> list[Axes]:
    """What `TrainResult.plot` does; see there. runs: the document of the model's run, and then of the others."""
    from portgnn._system.files import write_atomically

    if out is not None:
        check_format(out)
    if kind in ("benchmark", "growth"):
        raise ConfigError(f"a training run has no {kind} to draw; type portgnn plot with what bench/run_all.py wrote")
    if graph is None and kind in OF_MODELS:
        from portgnn.plots.nodes import graph_of

        graph = graph_of(model)
    if ax is None and out is None:  # pyplot's, which a notebook and pyplot.show() show
        ax = new_figure(kind, runs, model, managed=True)
    axes = draw(kind, runs=runs, model=model, graph=graph, map=map, ax=ax)
    if out is not None:
        write_atomically(out, image(axes, out.suffix))
    return axes


def new_figure(
    kind: str, runs: Sequence[dict[str, Any]] = (), model: Model | None = None, managed: bool = False
) -> list[Axes]:
    """The empty Axes of a new figure of a kind. managed: by pyplot; else no window opens and nothing stays behind."""
    make: Any = _figure_class()
    if managed:
        from matplotlib import pyplot

        make = pyplot.figure
    figure = make(figsize=_size(kind, runs, model), layout="constrained")
    rows, columns = _panels(kind, runs, model)
    ratios = [3, 2] if kind == "compare" else None
    return list(figure.subplots(rows, columns, squeeze=False, sharex=kind == "compare", height_ratios=ratios).flat)


def image(axes: Sequence[Axes], form: str) -> bytes:
    """The figure of some Axes as a file: ".png", ".svg" or ".pdf"."""
    import matplotlib

    target = io.BytesIO()
    figure = axes[0].get_figure(root=True)
    assert figure is not None
    # Text stays text in an SVG, and no date or random name makes two drawings of one result differ.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "portgnn"}):
        bare = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(form)
        # The layout once before: ticks change with an axis's size, and their labels may then want more room.
        figure.draw_without_rendering()
        figure.savefig(target, format=form[1:], dpi=DPI, metadata=bare, bbox_inches="tight", pad_inches=0.1)
    return target.getvalue()


def check_format(out: Path) -> None:
    """Raises ConfigError for a file that is not to be a picture."""
    if out.suffix not in FORMATS:
        raise ConfigError(f"--out {out} must end in {', '.join(FORMATS)}")


def check_library() -> None:
    """Raises ConfigError without matplotlib."""
    _figure_class()


def neighbourhood_image(form: str, **drawn: Any) -> bytes:
    """The picture of a node's neighbourhood as a file; see `portgnn.plots._neighbourhood.draw_neighbourhood`."""
    from portgnn.plots._neighbourhood import draw_neighbourhood

    axes = _figure_class()(figsize=(7.5, 6), layout="constrained").subplots()
    draw_neighbourhood(axes, **drawn)
    return image([axes], form)


def _figure_class() -> type[Figure]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError('pictures need matplotlib. Install it with: pip install "portgnn[plot]"') from None
    return Figure


def _size(kind: str, runs: Sequence[dict[str, object]], model: Model | None) -> tuple[float, float]:
    """Inches."""
    classes = len(model.class_names if model else ())
    if kind == "confusion":
        side = 3.2 + 0.42 * classes
        return (min(side + 1.2, 16), min(side, 15))
    if kind == "benchmark":
        from portgnn.report.documents import timed_groups

        rows = next(iter(timed_groups(runs[0]).values()), []) if runs else []
        return (9, 1.3 + 0.34 * len(rows))
    more = 0.35 * len(runs) if len(runs) > 1 else 0.0
    curves = (4.75 * _panels("curves", runs)[1], 4 + more)
    estimates = (10, 4.4 * _panels(kind, runs, model)[0]) if kind == "estimates" else (11, 4.6)
    return {"curves": curves, "compare": (7.5, 6), "map": (12.5 if classes > 20 else 8, 6)}.get(kind, estimates)


def _panels(kind: str, runs: Sequence[dict[str, Any]], model: Model | None = None) -> tuple[int, int]:
    """Rows and columns of Axes."""
    if kind == "estimates" and model is not None:
        from portgnn.plots._estimates import panels

        return panels(model)
    if kind == "curves" and runs:
        from portgnn.plots._curves import metrics_of

        return 1, 1 + len(metrics_of(runs))
    return PANELS.get(kind, (1, 1))


def _given(kind: str, ax: Any, runs: Sequence[dict[str, Any]], model: Model | None) -> list[Axes]:
    _figure_class()
    axes = [ax] if hasattr(ax, "plot") else list(getattr(ax, "flat", ax))
    rows, columns = _panels(kind, runs, model)
    if len(axes) != rows * columns:
        raise ConfigError(f"a picture of kind {kind} needs {rows * columns} Axes, and ax holds {len(axes)}")
    return axes
