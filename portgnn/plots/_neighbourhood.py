"""The neighbourhood of a node, its edges as strong as an explanation finds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from portgnn.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 40
"""Nodes that are drawn, those of the strongest edges first."""
MOST_NAMED = 25
"""Nodes up to which each has its name; beyond, those of the strongest edges have."""
NAMED = 8


def draw_neighbourhood(
    axes: Axes,
    node: int,
    edges: NDArray[np.int64],
    scores: NDArray[np.float64],
    names: Callable[[int], str],
    classes: Callable[[int], str],
    title: str,
) -> None:
    """A node in the middle and those that its answer comes from around it, a ring a hop; width and ink of an edge are
    its score's size, the larger one of both directions.

    edges: [m, 2], sources and targets. scores: [m]. classes: a node's own class, "" where it is not known.
    """
    joined, left_out = shown(node, edges, np.abs(scores))
    places = _placed(node, joined)
    strongest = max([strength for *_, strength in joined], default=0.0) or 1.0
    for one, other, strength in joined:
        share = strength / strongest
        ends = np.array([places[one], places[other]])
        axes.plot(*ends.T, color="0.15", linewidth=0.4 + 4.5 * share, alpha=0.12 + 0.8 * share, zorder=1)
    known = sorted({classes(each) for each in places if classes(each)})
    for slot, name in enumerate([*known, ""]):
        chosen = [each for each in places if classes(each) == name]
        if chosen:
            look: dict[str, Any] = style.point(slot) if name else {"color": "0.7", "marker": "o"}
            x, y = np.array([places[each] for each in chosen]).T
            label = style.words(name[:28]) if name else "no label"
            axes.scatter(x, y, s=130, edgecolors="white", linewidths=1, zorder=2, label=label, **look)
    axes.scatter(*places[node], s=430, facecolors="none", edgecolors="black", linewidths=1.8, zorder=3)
    for each in places if len(places) <= MOST_NAMED else _ends(node, joined):
        axes.annotate(style.words(names(each)[:20]), places[each], (0, 11), textcoords="offset points", ha="center",
                      fontsize=8, zorder=4)  # fmt: skip
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.margins(0.12)
    axes.set_title(style.words(title) + (f"\n{left_out} nodes of weaker edges are not drawn" if left_out else ""))
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0, fontsize=9, title="class", markerscale=0.7
    )


def _ends(node: int, joined: Sequence[tuple[int, int, float]]) -> set[int]:
    """The nodes of the strongest pairs, and the one in the middle."""
    strongest = sorted(joined, key=lambda each: -each[2])[:NAMED]
    return {node, *(end for pair in strongest for end in pair[:2])}


def shown(
    node: int, edges: NDArray[np.int64], strengths: NDArray[np.float64]
) -> tuple[list[tuple[int, int, float]], int]:
    """The pairs that are drawn, each once with its strength, and how many nodes are not.

    Only pairs that a way of stronger ones joins with the node, so that none floats beside the picture.
    """
    both: dict[tuple[int, int], float] = {}
    for (source, target), strength in zip(edges.tolist(), strengths.tolist(), strict=True):
        pair = (min(source, target), max(source, target))
        both[pair] = max(both.get(pair, 0.0), strength)
    beside: dict[int, list[tuple[float, int]]] = {}
    for (one, other), strength in both.items():
        beside.setdefault(one, []).append((strength, other))
        beside.setdefault(other, []).append((strength, one))
    drawn, waiting = {node}, list(beside.get(node, []))
    while waiting and len(drawn) < MOST:
        best = max(waiting, key=lambda each: (each[0], -each[1]))
        waiting.remove(best)
        if best[1] not in drawn:
            drawn.add(best[1])
            waiting += [each for each in beside[best[1]] if each[1] not in drawn]
    pairs = [(one, other, strength) for (one, other), strength in both.items() if one in drawn and other in drawn]
    return pairs, len({node, *beside}) - len(drawn)


def _placed(node: int, joined: Sequence[tuple[int, int, float]]) -> dict[int, tuple[float, float]]:
    """A ring a hop; on each, nodes in the order of those that they hang on, each with room for what hangs on it."""
    beside: dict[int, list[int]] = {}
    for one, other, _ in sorted(joined, key=lambda each: -each[2]):
        beside.setdefault(one, []).append(other)
        beside.setdefault(other, []).append(one)
    children: dict[int, list[int]] = {node: []}
    ring, order = [node], [node]
    while ring:
        following = []
        for each in ring:
            for other in beside.get(each, []):
                if other not in children:
                    children[other] = []
                    children[each].append(other)
                    following.append(other)
        ring = following
        order += following
    leaves: dict[int, float] = {}
    for each in reversed(order):
        leaves[each] = sum(leaves[child] for child in children[each]) + 0.7
    places, sectors, hops = {node: (0.0, 0.0)}, {node: (0.0, 2 * np.pi)}, {node: 0}
    for each in order:
        start, end = sectors[each]
        for child in children[each]:
            wide = (end - start) * leaves[child] / (leaves[each] - 0.7)
            sectors[child], hops[child] = (start, start + wide), hops[each] + 1
            middle = start + wide / 2
            places[child] = (hops[child] * np.cos(middle), hops[child] * np.sin(middle))
            start += wide
    return places
