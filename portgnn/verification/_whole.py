"""A check of `train` and `predict` as users call them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from portgnn.api import predict, train
from portgnn.graphs.graph import Graph
from portgnn.graphs.split import labels_at
from portgnn.protocol import Backend, Params
from portgnn.training import WholeGraph
from portgnn.verification import _followed as followed
from portgnn.verification.cases import Recipe
from portgnn.verification.check import check
from portgnn.verification.draw import drawn_recipes
from portgnn.verification.measure import Departure, Measured, compare, worst


@check("train", cases=drawn_recipes("train", 2, epochs=12, patience=0, rows=""), full=None)
def whole(backend: Backend, recipe: Recipe) -> Measured:
    """`train`, its test accuracy, the model file and `predict` on the same graph and on one without its splits."""
    graph, config = recipe.graph, recipe.config
    if graph.val is None and config.restore_best:
        recipe = recipe.but(restore_best=False)
        config = recipe.config
    options = {"epochs": recipe.epochs, "hidden": recipe.hidden, "adjacency": recipe.adjacency}
    given = {"features": recipe.features, "undirected": False, "patience": 0}
    settings: dict[str, Any] = options | given | dict(recipe.options)
    result = train(graph, backend=backend, preset=recipe.preset, seed=recipe.seed, **settings)
    course, history = followed.course(backend, recipe), result.history
    losses = [row[1] for row in course.metrics] if graph.val is not None else []
    last = int(np.argmin(history.val_loss)) if config.restore_best and losses else recipe.epochs - 1
    params = course.params[last]
    want = recipe.oracle.forward(params)[0]
    with tempfile.TemporaryDirectory() as folder:
        path = result.save(Path(folder) / "model.safetensors")
        logits = predict(path, graph, backend=backend)
    bare = Graph(graph.adjacency, graph.features, class_names=graph.class_names, labels=graph.labels)
    again = predict(result, bare, backend=backend)
    if graph.test is not None:
        right, close = followed.correct(backend, recipe, want, graph.test)
        found = round((result.test_accuracy or 0.0) * len(graph.test))
        if abs(found - right) > close:
            raise Departure(f"{found} of {len(graph.test)} test nodes are said to be right, and {right} are")
    elif result.test_accuracy is not None:
        raise Departure("there is a test accuracy without a test split")
    if result.best_epoch != (int(np.argmin(history.val_loss)) if losses else recipe.epochs - 1):
        raise Departure(f"the best epoch is said to be {result.best_epoch}")
    _check_accuracy(backend, recipe, params)
    size = max(float(np.abs(want).max()), 1.0)
    trained = np.array([row[0] for row in course.metrics])
    return worst(
        compare("the training losses", np.array(history.train_loss), trained),
        compare("the validation losses", np.array(history.val_loss), np.array(losses)),
        compare("predictions of a model read from its file", logits, want, size),
        compare("predictions without splits", again, want, size),
    )


def _check_accuracy(backend: Backend, recipe: Recipe, params: Params) -> None:
    """Shares of right answers on several sets of nodes: on one alone, another set may have as many."""
    graph, want = recipe.graph, recipe.oracle.forward(params)[0]
    known, random = (
        np.flatnonzero(labels_at(graph, np.arange(graph.num_nodes)) >= 0),
        np.random.default_rng(recipe.seed),
    )
    engine = WholeGraph(backend, recipe.prepared)
    for share in (0.2, 0.4, 0.6, 0.8, 1.0):
        nodes = np.sort(random.choice(known, max(round(share * len(known)), 1), replace=False))
        right, close = followed.correct(backend, recipe, want, nodes)
        found = engine.scores(params, nodes)["accuracy"] * len(nodes)
        if abs(found - right) > close + 0.01:
            raise Departure(f"{found:.1f} of {len(nodes)} nodes are said to be right, and {right} are")
