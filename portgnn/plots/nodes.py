"""What a trained model makes of a graph's nodes: confusion matrix and map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from portgnn.checkpoints.model import Model
from portgnn.errors import ConfigError
from portgnn.graphs.fingerprint import fingerprints
from portgnn.graphs.graph import UNLABELLED, Graph
from portgnn.plots import style
from portgnn.plots._embedding import project
from portgnn.prediction.estimate import estimate
from portgnn.prediction.evaluation import WORDS, labels_for
from portgnn.prediction.hidden import embed
from portgnn.prediction.predict import classify, oriented

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONGEST = 28
"""Letters of a class's name that a picture shows."""
MOST_NUMBERED = 25
"""Classes up to which a confusion matrix has room for its numbers."""
OUTSIDE = 0.002
"""Share of the nodes on each side that does not decide where a map's frame ends."""
MOST_NAMED = 50
"""Classes up to which a legend has room for their names."""


def graph_of(model: Model) -> Graph:
    """The graph that a model was trained on, where it has a name and is unchanged. Raises ConfigError elsewhere."""
    from portgnn.datasets import describe_datasets, load_graph

    advice = "give the graph with --dataset, in Python with graph="
    if model.dataset not in {record["name"] for record in describe_datasets()}:
        raise ConfigError(f"the model's graph, {model.dataset!r}, is no dataset that has a name; {advice}")
    graph = load_graph(model.dataset, target=model.config.targets)
    structure, whole = fingerprints(oriented(graph, model.config)[0])
    # Where the model keeps its split, the one that the data come with is of no account.
    if model.fingerprint != whole and (model.split is None or model.structure != structure):
        raise ConfigError(f"the model was trained on another split of {model.dataset} or another version; {advice}")
    return graph


def draw_confusion(axes: Axes, model: Model, graph: Graph) -> None:
    """Test nodes by class and by predicted class; without any, those of `portgnn.prediction.predict.Classified.main`.

    Colour is the share of a class, and the number is of nodes. Raises ConfigError where no node has a label.
    """
    from matplotlib.ticker import PercentFormatter

    scores = classify(model, graph).main
    if scores is None:
        raise ConfigError(f"{graph.name} has no labels to compare predictions with")
    counts = scores.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    bar = axes.figure.colorbar(picture, ax=axes, shrink=0.8, format=PercentFormatter(1.0))
    bar.set_label("share of the class's nodes")
    places = np.arange(len(counts))
    names = [_short(name) for name in model.class_names]
    size = 9 if len(counts) <= 12 else 7
    # Names are turned to have room; numbers need none.
    turned: dict[str, Any] = (
        {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 3 else {}
    )
    axes.set_xticks(places, names, fontsize=size, **turned)
    axes.set_yticks(places, names, fontsize=size)
    if len(counts) <= MOST_NUMBERED:
        for row, column in np.ndindex(counts.shape):
            ink = "black" if shares[row, column] > 0.55 else "white"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=ink, fontsize=size)
    title = f"{style.words(graph.name)}: {scores.nodes} {WORDS[scores.part]} nodes, accuracy {scores.accuracy:.3f}"
    axes.set(xlabel="predicted class", ylabel="class", title=title)


def draw_map(axes: Axes, model: Model, graph: Graph, how: str) -> None:
    """Each node where the hidden layer before the output puts it, in two dimensions, by its class; by what the model
    says of it, where that is a value (the first) or labels (how many).

    Nodes without a label are small grey points behind the others.
    """
    said = None if model.config.task == "classes" else _said(model, graph)
    places, (first, second) = project(embed(model, graph), how)
    if said is not None:
        _draw_scale(axes, places, *said)
        axes.set(xlabel=first, ylabel=second, title=f"{style.words(graph.name)}: hidden layer before the output")
        _frame(axes, places)
        return
    labels = labels_for(graph, model.class_names)
    size = float(np.clip(40_000 / max(len(labels), 1), 3, 40))
    unlabelled = labels == UNLABELLED
    if unlabelled.any():
        axes.scatter(
            places[unlabelled, 0], places[unlabelled, 1], s=size / 3, color="0.75", label="no label", rasterized=True
        )
    for number, name in enumerate(model.class_names):
        chosen = places[labels == number]
        if len(chosen):
            # Thousands of points as shapes make an SVG that no viewer likes: as an image inside it they are light.
            look: dict[str, Any] = {
                "s": size,
                "alpha": 0.75,
                "linewidths": 0,
                "rasterized": len(labels) > 5000,
            } | style.point(number)
            axes.scatter(chosen[:, 0], chosen[:, 1], label=f"{_short(name)} ({len(chosen)})", **look)
    axes.set(xlabel=first, ylabel=second, title=f"{style.words(graph.name)}: hidden layer before the output")
    _frame(axes, places)
    handles, names = axes.get_legend_handles_labels()
    if len(handles) > MOST_NAMED:
        axes.set_title(f"{axes.get_title()}, {len(model.class_names)} classes", fontsize="medium")
    elif handles:
        columns = 1 if len(handles) <= 20 else 2
        beside: dict[str, Any] = {
            "loc": "upper left",
            "bbox_to_anchor": (1.01, 1),
            "borderaxespad": 0,
            "markerscale": 6.5 / size**0.5,
        }
        beside |= {"fontsize": 9 if len(handles) <= 12 else 7, "ncols": columns, "title": "class (nodes)"}
        axes.legend(handles, names, **beside)


def _said(model: Model, graph: Graph) -> tuple[NDArray[np.floating], str]:
    """A number a node, and what it is. Raises what `portgnn.estimate` raises."""
    found = estimate(model, graph)
    if found.are_values:
        return found.answers[:, 0], f"{_short(found.names[0])}, estimated"
    return (found.answers > 0.5).sum(axis=1).astype(np.float64), "labels that the node is said to have"


def _draw_scale(axes: Axes, places: NDArray[np.float64], numbers: NDArray[np.floating], words: str) -> None:
    size = float(np.clip(40_000 / max(len(numbers), 1), 3, 40))
    look: dict[str, Any] = {"s": size, "alpha": 0.75, "linewidths": 0, "rasterized": len(numbers) > 5000}
    points = axes.scatter(places[:, 0], places[:, 1], c=numbers, cmap="cividis", **look)
    axes.figure.colorbar(points, ax=axes, shrink=0.8).set_label(words)


def _frame(axes: Axes, places: NDArray[np.float64]) -> None:
    """Limits that leave out the few nodes which would squeeze all others into a corner; the picture counts them."""
    low, high = np.quantile(places, [OUTSIDE, 1 - OUTSIDE], axis=0)
    room = 0.2 * (high - low)
    low, high = np.maximum(low - room, places.min(axis=0)), np.minimum(high + room, places.max(axis=0))
    outside = int(((places < low) | (places > high)).any(axis=1).sum())
    edge = np.where(high > low, 0.03 * (high - low), 0.5)
    axes.set(xlim=(low[0] - edge[0], high[0] + edge[0]), ylim=(low[1] - edge[1], high[1] + edge[1]))
    if outside:
        words = f"{outside} node{'s' if outside > 1 else ''} outside the frame"
        axes.text(0.99, 0.01, words, transform=axes.transAxes, ha="right", va="bottom", fontsize=8)


def _short(name: str) -> str:
    return style.words(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…")
