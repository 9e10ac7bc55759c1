"""What the article's code can be asked for, on either framework."""

from __future__ import annotations

from portgnn.benchmark.contender import Recipe, Unsupported
from portgnn.benchmark.graphs import DENSE_LIMIT, BenchGraph


def check_dense(graph: BenchGraph, recipe: Recipe) -> None:
    """Raises Unsupported for what the article's code has no switch for, or no memory."""
    if recipe.input_dropout:
        raise Unsupported("the article's code drops out hidden layers only")
    if graph.nodes > DENSE_LIMIT:
        raise Unsupported(f"a dense adjacency of {graph.nodes} nodes takes {graph.nodes**2 * 4 / 1e9:.0f} GB")
