"""Checks of mini-batches: steps with every neighbour are the full run's, samples are unbiased, evaluation is exact."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import numpy as np

from portgnn.graphs.split import labels_at, split
from portgnn.loaders import neighbor
from portgnn.loaders.batch import as_tree, assemble, from_tree, place_batch
from portgnn.loaders.cluster import Clusters
from portgnn.loaders.engine import Sampled
from portgnn.loaders.inference import Inference
from portgnn.loaders.source import InMemory
from portgnn.parts import plain_batches, provides
from portgnn.protocol import Backend, Batching, Key, Keys, State
from portgnn.random import dropout_keys
from portgnn.training import VALIDATED, initial_state
from portgnn.verification import _followed as followed
from portgnn.verification._network import nudged
from portgnn.verification.cases import Recipe
from portgnn.verification.check import check
from portgnn.verification.draw import Draw, recipe
from portgnn.verification.measure import Departure, Floats, Measured, compare, fetch, worst


def _recipes(draw: Draw) -> tuple[Recipe, ...]:
    """The first with neighbours, the second with clusters; all neighbours, so that the full run is what comes out."""
    made = []
    for number, loader in enumerate(("neighbor", "cluster")):
        # Operands of batches are sparse always.
        drawn = recipe(draw, "batches", number, adjacency="csr", epochs=3, patience=0, loader=loader, fanout="all")
        made.append(drawn.but(batch_size=10_000, restore_best=False, rows=""))
    return tuple(made)


@check("batches", cases=_recipes, full=_recipes)
def epochs(backend: Backend, recipe: Recipe) -> Measured:
    """Epochs of one batch with every neighbour, by `compile_batches`: the numbers of the full run."""
    source = InMemory(recipe.prepared)
    engine = Sampled(backend, source)
    validate = recipe.graph.val is not None
    run = engine.make_run(validate).only("train_loss", *VALIDATED)
    state, rows = initial_state(backend, source, recipe.seed), []
    for start, count in ((0, 1), (1, 2)):
        state, metrics = run(state, dropout_keys(recipe.seed, range(start, start + count), recipe.config.layers))
        rows.append(metrics)
    course = followed.course(backend, recipe)
    got, want = np.concatenate(rows), np.array(course.metrics)
    measured = [
        compare("the losses", got[:, :2], want[:, :2]),
        *(
            compare(name, fetch(backend, state[f"param.{name}"], name), value, course.size(name))
            for name, value in course.params[2].items()
        ),
    ]
    if validate and (np.abs(got[:, 2] - want[:, 2]) > course.close).any():
        raise Departure(f"{got[:, 2].tolist()} validation nodes are right, not {want[:, 2].tolist()}")
    if recipe.graph.test is not None:
        params = {name: backend.to_numpy(state[f"param.{name}"]) for name in course.params[2]}
        right, close = followed.correct(backend, recipe, recipe.oracle.forward(course.params[2])[0], recipe.graph.test)
        found = engine.scores(params, recipe.graph.test)["accuracy"] * len(recipe.graph.test)
        if abs(found - right) > close + 0.01:
            raise Departure(f"{found:.0f} test nodes are right, not {right}")
    return worst(*measured)


@check("batches.step", cases=lambda draw: _recipes(draw)[:1], full=lambda draw: _recipes(draw)[:1])
def compiled_step(backend: Backend, recipe: Recipe) -> Measured:
    """A compiled step on batches of several shapes, in turn: each sees its own state, keys and batch."""
    config = recipe.config
    source = InMemory(replace(recipe.prepared, config=replace(config, batch_size=3)))
    engine = Sampled(backend, source)

    def step(state: State, keys: Keys, batch: Any) -> Any:
        operands: Any = from_tree(batch)
        features, adjacency, targets = operands.features, operands.adjacency, operands.weights
        x = backend.matmul(backend.dropout(features, 0.5, keys[0]), state["w"])
        total = state["total"] + backend.xp.sum(backend.matmul(adjacency[-1], _square(x, adjacency)) * targets)
        return {"w": state["w"], "total": total}, (total,)

    def _square(x: Any, adjacency: Any) -> Any:
        for matrix in adjacency[:-1]:
            x = backend.matmul(matrix, x)
        return x

    own = provides(backend, Batching)
    compiled = cast(Batching, backend).compile_batches(step) if own else plain_batches(backend, step)
    weight = np.random.default_rng(recipe.seed).standard_normal((recipe.width, recipe.classes))
    state = {"w": backend.asarray(weight), "total": backend.asarray(np.zeros(()))}
    weight = backend.to_numpy(state["w"]).astype(np.float64)
    total, size, measured = 0.0, 1.0, []
    keys = dropout_keys(recipe.seed, range(3), config.layers)
    for epoch in keys[:2]:
        for number, batch in enumerate(engine.batches(epoch)):
            if number == 3:
                break
            state, (value,) = compiled(state, epoch, as_tree(place_batch(backend, batch)))
            x = _dropped(batch, epoch[0]) @ weight
            for matrix in batch.adjacency:
                x = matrix @ x
            total += float((x * batch.targets.weights).sum())
            size = max(size, abs(total), float(np.abs(x * batch.targets.weights).sum()))
            got = fetch(backend, value, "the metric of a batch")
            measured.append(compare("the metric of a batch", got, np.asarray(total), size))
    measured.append(compare("the state", fetch(backend, state["total"], "the state"), np.asarray(total), size))
    return worst(*measured)


def _dropped(batch: Any, key: Key) -> Any:
    from portgnn.verification.oracle import mask

    features = batch.features
    if isinstance(features, np.ndarray):
        return features * mask(key, np.arange(features.size), 0.5).reshape(features.shape)
    kept = features.copy()
    kept.data = kept.data * mask(key, batch.feature_numbers, 0.5)
    return kept


MOST_EPOCHS = 24
"""Of chance, 6**-23 is the share of right samplers that this many epochs would accuse."""


@check("batches.samples", cases=_recipes, full=_recipes)
def samples(backend: Backend, recipe: Recipe) -> Measured:
    """Every training node once an epoch; so many neighbours, weighted d/k, and the loop whole; clusters induced."""
    random = np.random.default_rng(recipe.seed)
    whole = recipe.prepared
    fanout = int(random.integers(1, 3))
    dense, train = whole.adjacency.toarray(), np.sort(split(recipe.graph, "train").nodes)
    # Several batches an epoch, where there are nodes enough: a single one has no order, and no last one to miss.
    size = min(int(random.integers(3, 9)), max(len(train) // 4, 1))
    config = replace(whole.config, batch_size=size, fanout=str(fanout))
    source = InMemory(replace(whole, config=config))
    seen: list[Any] = []
    orders: list[Any] = []
    clusters = Clusters(source) if config.loader == "cluster" else None
    # Three clusters come in the same order again in one of six epochs: only many such epochs say that nothing is drawn.
    while len(orders) < 2 or (len(orders[0]) > 2 and len(orders) < MOST_EPOCHS and orders[-1] == orders[0]):
        draw = np.random.default_rng(int(random.integers(2**31)))
        blocks = list(clusters.batches(draw) if clusters else neighbor.batches(source, train, draw))
        orders.append([tuple(block.nodes.tolist()) for block in blocks])
        seen = sorted(np.concatenate([block.nodes for block in blocks]).tolist())
        if seen != train.tolist():
            raise Departure("an epoch of batches does not visit every training node once")
        for block in blocks:
            for (below, above), matrix in zip(pairwise(block.levels), block.blocks, strict=True):
                if clusters:
                    _check_cluster(recipe, above, matrix)
                else:
                    _check_sample(dense, above, below, matrix, fanout)
            _check_rows(recipe, source, block)
    if len(orders) == MOST_EPOCHS and orders[-1] == orders[0]:
        raise Departure(f"{MOST_EPOCHS} epochs have the same batches")
    return _unbiased(source, dense, random) if not clusters else Measured(0.0)


def _check_sample(dense: Floats, above: Any, below: Any, matrix: Any, fanout: int) -> None:
    rows = np.zeros((len(above), len(dense)))
    rows[:, below] = matrix.toarray()
    for node, row in zip(above, rows, strict=True):
        others = np.flatnonzero((dense[node] != 0) & (np.arange(len(dense)) != node))
        taken = np.flatnonzero((row != 0) & (np.arange(len(dense)) != node))
        k = min(len(others), fanout)
        if len(taken) != k or not set(taken) <= set(others):
            raise Departure(f"of {len(others)} neighbours {len(taken)} are sampled, not {k}")
        if abs(row[node] - dense[node, node]) > 1e-12 or not np.allclose(
            row[taken], dense[node, taken] * len(others) / max(k, 1), rtol=1e-12
        ):
            raise Departure("sampled neighbours are not weighted by d/k, or a self-loop is")


def _check_cluster(recipe: Recipe, nodes: Any, matrix: Any) -> None:
    raw = recipe.graph.adjacency.toarray()
    raw = raw + np.diag((np.diag(raw) == 0).astype(float))
    inside = raw if len(nodes) == len(raw) else raw[np.ix_(nodes, nodes)]
    root = 1 / np.sqrt(inside.sum(axis=1))
    if np.abs(matrix.toarray() - inside * root[:, None] * root[None, :]).max() > 1e-12:
        raise Departure("a cluster's adjacency is not the normalised one of its subgraph")


def _check_rows(recipe: Recipe, source: InMemory, block: Any) -> None:
    """The padded batch holds the features, labels and element numbers of its nodes, and nothing else counts."""
    batch, graph = assemble(source, block), recipe.graph
    features = batch.features if isinstance(batch.features, np.ndarray) else batch.features.toarray()
    own = recipe.oracle.features
    dense = own if isinstance(own, np.ndarray) else own.toarray()
    count = len(block.levels[0])
    if np.abs(features[:count] - dense[block.levels[0]]).max() > 1e-12 or np.abs(features[count:]).max(initial=0.0):
        raise Departure("a batch holds other features than its nodes'")
    if batch.feature_numbers is not None:
        positions = np.arange(own.nnz, dtype=np.uint32)
        ends = own.indptr
        want = np.concatenate([positions[ends[node] : ends[node + 1]] for node in block.levels[0]])
        if not np.array_equal(batch.feature_numbers[: len(want)], want):
            raise Departure("the stored values of a batch's features have other element numbers")
    for layer, numbers in enumerate(batch.index):
        if numbers is not None:
            width, nodes = source.layers[layer].fan_in, block.levels[layer]
            if not np.array_equal(numbers[: len(nodes)], nodes[:, None] * width + np.arange(width)):
                raise Departure(f"the inputs of layer {layer} have other element numbers")
    targets = np.zeros((len(batch.targets.labels), graph.num_classes))
    targets[block.counted, labels_at(graph, block.nodes)] = -1.0 / len(block.nodes)
    if np.abs(batch.targets.weights - targets).max() > 1e-12 or batch.count != len(block.nodes):
        raise Departure("a batch counts other nodes, or weights them otherwise")
    _check_padding(block, batch)


def _check_padding(block: Any, batch: Any) -> None:
    for matrix, host in zip(block.blocks, batch.adjacency, strict=True):
        height, width = matrix.shape
        padded = host.toarray()
        if np.abs(padded[:height, :width] - matrix.toarray()).max(initial=0.0) > 0 or (
            np.abs(padded[height:]).max(initial=0.0) or np.abs(padded[:, width:]).max(initial=0.0)
        ):
            raise Departure("padding changes a batch's adjacency")


def _unbiased(source: InMemory, dense: Floats, random: np.random.Generator) -> Measured:
    """The mean of many samples of a node's neighbours is the row itself, within five standard deviations."""
    degrees = (dense != 0).sum(axis=1) - 1
    node = np.array([int(degrees.argmax())])
    degree, times, k = int(degrees.max()), 400, 1
    if degree < 2:
        return Measured(0.0)
    draw = np.random.default_rng(int(random.integers(2**31)))
    found = np.zeros(len(dense))
    for _ in range(times):
        found += neighbor.sample_rows(source, node, k, neighbor.hop_keys(draw, 1)[0]).toarray()[0]
    other = (dense[node[0]] != 0) & (np.arange(len(dense)) != node[0])
    share = (found / times / np.where(dense[node[0]] == 0, 1, dense[node[0]]))[other]  # near 1 each
    deviation = np.sqrt((degree - 1) / times)
    if np.abs(share - 1).max() > 5.5 * deviation:
        raise Departure("some neighbours are sampled more often than others")
    return Measured(0.0)


@check("batches.inference", cases=_recipes, full=_recipes)
def inference(backend: Backend, recipe: Recipe) -> Measured:
    """Logits layer by layer in chunks of any size, of all nodes and of some."""
    source, params = InMemory(recipe.prepared), nudged(recipe)
    placed = {name: backend.asarray(value) for name, value in params.items()}
    want = recipe.oracle.forward(params)[0]
    size = max(float(np.abs(want).max()), 1e-3)
    some = np.unique(np.random.default_rng(recipe.seed).integers(0, recipe.graph.num_nodes, 9))
    return worst(
        compare("all logits", Inference(backend, source, None).logits(placed), want, size),
        compare("logits in chunks", Inference(backend, source, some, chunk=40).logits(placed), want[some], size),
    )
