"""Batches against the full batch: the same gradients where every neighbour is taken, the right mean where not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portgnn import Graph, get_backend
from portgnn.disk.folder import write_graph
from portgnn.loaders.batch import as_tree, assemble, from_tree, place_batch, size_class
from portgnn.loaders.cluster import Clusters, within_nodes
from portgnn.loaders.engine import HeldOut, Sampled
from portgnn.loaders.inference import Inference
from portgnn.loaders.neighbor import batches, distinct, hop_keys, sample, sample_rows
from portgnn.loaders.on_disk import OnDisk
from portgnn.loaders.rooms import Rooms
from portgnn.loaders.source import InMemory
from portgnn.placing import forward
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.presets import Config
from portgnn.random import dropout_keys
from portgnn.training import WholeGraph, fit, initial_state, make_loss, split_state

MakeGraph = Callable[..., Graph]
RECIPES = [
    pytest.param({"layers": layers, "features": features, "bias": bias}, id=f"{layers} layers, {features}, {bias}")
    for layers, bias in ((1, "none"), (2, "before"), (3, "after"))
    for features in ("sparse", "dense")
]


def _source(graph: Graph, **changes: Any) -> InMemory:
    return InMemory(Prepared.of(graph, Config(hidden=5, **changes)))


def _draw(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@pytest.mark.parametrize("changes", RECIPES)
def test_batches_of_all_neighbours_add_up_to_the_full_batch(make_graph: MakeGraph, changes: dict[str, Any]) -> None:
    source = _source(make_graph(3, nodes=60), loader="neighbor", batch_size=3, fanout="all", l2=0.0, **changes)
    backend = get_backend("numpy", dtype="float64")
    config, train = source.config, source.graph.train
    assert train is not None
    params, _ = split_state(initial_state(backend, source, 1))
    keys = dropout_keys(1, range(4, 5), config.layers)[0].tolist()
    full = place(backend, source.prepared, train, training=True)
    (loss, _), gradients = backend.value_and_grad(make_loss(backend, full, source))(params, keys)
    summed: dict[str, Any] = dict.fromkeys(params, 0.0)
    total, seen = 0.0, []
    for block in batches(source, train, _draw()):
        operands = from_tree(as_tree(place_batch(backend, assemble(source, block))))
        (part, _), grads = backend.value_and_grad(make_loss(backend, operands, source))(params, keys)
        share = len(block.nodes) / len(train)
        total += share * float(part)
        summed = {name: summed[name] + share * grads[name] for name in summed}
        seen.append(block.nodes)
    assert [len(nodes) for nodes in seen] == [3, 3, 2]
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.sort(train))
    assert total == pytest.approx(float(loss), rel=1e-12)
    for name, gradient in gradients.items():
        assert np.abs(gradient).max() > 0
        np.testing.assert_allclose(summed[name], gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("backend_name", ["numpy", "torch", "mlx", "jax"])
def test_one_batch_of_all_neighbours_trains_as_the_full_batch(make_graph: MakeGraph, backend_name: str) -> None:
    pytest.importorskip({"mlx": "mlx.core"}.get(backend_name, backend_name))
    backend = get_backend(backend_name, device="cpu", dtype="float64")
    graph = make_graph(5, nodes=60, sparse=True)
    expected = fit(WholeGraph(backend, Prepared.of(graph, Config(epochs=12))), 0)
    for loader in ("neighbor", "cluster"):
        source = InMemory(Prepared.of(graph, Config(epochs=12, loader=loader, fanout="all")))  # type: ignore[arg-type]
        engine = Sampled(backend, source)
        done = fit(engine, 0)
        for name in ("train_loss", "val_loss", "val_accuracy"):
            np.testing.assert_allclose(getattr(done.history, name), getattr(expected.history, name), rtol=1e-12)
        for name, value in expected.params.items():
            np.testing.assert_allclose(done.params[name], value, rtol=1e-10, atol=1e-13)


def test_sampled_rows_are_unbiased_and_keep_the_self_loop(make_graph: MakeGraph) -> None:
    source = _source(make_graph(1, nodes=50))
    nodes = np.arange(0, 50, 3)
    exact = source.rows(nodes).toarray()
    draw, repeats, fanout = _draw(), 4000, 2
    mean = np.zeros_like(exact)
    for _ in range(repeats):
        rows = sample_rows(source, nodes, fanout, hop_keys(draw, 1)[0])
        assert rows.has_canonical_format
        assert np.diff(rows.indptr).max() == fanout + 1
        np.testing.assert_array_equal(rows[np.arange(len(nodes)), nodes], exact[np.arange(len(nodes)), nodes])
        mean += rows.toarray() / repeats
    assert (np.diff(source.rows(nodes).indptr) > fanout + 1).sum() > 10
    error = np.abs(mean - exact)
    assert error.max() < 6 * exact.max() * np.sqrt(np.diff(source.rows(nodes).indptr).max() / fanout / repeats)


def test_distinct_draws_every_set_equally_often() -> None:
    picked = np.sort(distinct(np.arange(60_000), np.full(60_000, 5), 3, hop_keys(_draw(2), 1)[0]), axis=1)
    assert (np.diff(picked, axis=1) > 0).all()
    assert picked.min() == 0
    assert picked.max() == 4
    _, counts = np.unique(picked, axis=0, return_counts=True)
    assert len(counts) == 10
    assert np.abs(counts - 6000).max() < 6 * np.sqrt(6000)
    np.testing.assert_array_equal(
        np.sort(distinct(np.array([7, 9]), np.array([3, 3]), 3, hop_keys(_draw(), 1)[0]), axis=1), [[0, 1, 2]] * 2
    )


def test_batches_depend_on_the_keys_alone(make_graph: MakeGraph) -> None:
    backend = get_backend("numpy")
    source = _source(make_graph(2, nodes=60), loader="neighbor", batch_size=3, fanout="1,2")
    keys = dropout_keys(7, range(2), 2)
    first, again, other = (list(Sampled(backend, source).batches(k)) for k in (keys[0], keys[0], keys[1]))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.targets.labels, two.targets.labels)
        for a, b in zip(one.adjacency, two.adjacency, strict=True):
            np.testing.assert_array_equal(a.toarray(), b.toarray())
    assert any(not np.array_equal(a.targets.weights, b.targets.weights) for a, b in zip(first, other, strict=True))


def test_fanouts_go_from_the_output_back(make_graph: MakeGraph) -> None:
    source = _source(make_graph(2, nodes=60), loader="neighbor", fanout="1,3")
    assert source.config.fanouts(2) == (3, 1)
    block = sample(source, np.arange(20), source.config.fanouts(2), hop_keys(_draw(), 2))
    assert [int(np.diff(each.indptr).max()) for each in block.blocks] == [4, 2]


@pytest.mark.parametrize("changes", RECIPES)
def test_inference_in_chunks_is_the_model(make_graph: MakeGraph, changes: dict[str, Any]) -> None:
    source = _source(make_graph(6, nodes=60), **changes)
    backend = get_backend("numpy", dtype="float64")
    params, _ = split_state(initial_state(backend, source, 1))
    operands = place(backend, source.prepared, None, training=False)
    expected = forward.outputs(backend, source.layers, params, operands)
    for nodes in (None, np.array([0, 7, 59])):
        found = Inference(backend, source, nodes, chunk=20).logits(params)
        np.testing.assert_allclose(found, expected if nodes is None else expected[nodes], rtol=1e-12, atol=1e-14)
    assert source.graph.val is not None
    loss, right = HeldOut(backend, source, source.graph.val).measure(params)
    operands = place(backend, source.prepared, source.graph.val, training=False)
    assert loss == pytest.approx(float(make_loss(backend, operands, source)(params, None)[0]), rel=1e-12)
    assert right == (expected[source.graph.val].argmax(axis=1) == source.graph.labels[source.graph.val]).sum()


def test_clusters_share_out_the_nodes_and_keep_their_edges(make_graph: MakeGraph) -> None:
    source = _source(make_graph(8, nodes=60), loader="cluster", batch_size=16)
    clusters = Clusters(source)
    np.testing.assert_array_equal(np.sort(np.concatenate(clusters.parts)), np.arange(60))
    assert len(clusters.parts) == 15
    nodes = np.arange(5, 40)
    with_loops = source.prepared.graph.adjacency[nodes][:, nodes].toarray() + np.eye(len(nodes))
    np.testing.assert_allclose(within_nodes(source, nodes).matrix.toarray(), with_loops, rtol=1e-12)
    counted = [block.nodes for block in clusters.batches(_draw())]
    np.testing.assert_array_equal(np.sort(np.concatenate(counted)), np.sort(source.graph.train))


def test_padding_leaves_few_shapes() -> None:
    classes = {size_class(size) for size in range(1, 100_000)}
    assert len(classes) < 64
    assert all(size <= size_class(size) <= max(1.25 * size, 4) for size in range(1, 100_000))


def test_compiled_steps_are_reused(csbm: Graph) -> None:
    jax = pytest.importorskip("jax")
    traces = 0

    def counted(*arguments: Any) -> Any:
        nonlocal traces
        traces += 1
        return step(*arguments)

    backend = get_backend("jax", device="cpu")
    source = InMemory(Prepared.of(csbm, Config(loader="neighbor", batch_size=20, fanout="5,3")))
    engine = Sampled(backend, source)
    step = engine._loss
    jitted = jax.jit(lambda params, batch: counted(params, None, batch)[0])
    params, _ = split_state(initial_state(backend, source, 0))
    steps = 0
    for keys in dropout_keys(0, range(6), 2):
        for batch in engine.batches(keys):
            jitted(params, as_tree(place_batch(backend, batch)))
            steps += 1
    assert steps == 42
    assert traces <= 12


@pytest.mark.parametrize("rule", ["none", "row", "standardize"])
def test_memory_that_was_lent_before_changes_no_number(make_graph: MakeGraph, tmp_path: Path, rule: str) -> None:
    """In one pass, into rooms full of another batch's numbers, in float32; from memory and from disk."""
    graph = make_graph(5, nodes=60)
    options: dict[str, Any] = {"loader": "neighbor", "fanout": "3,3", "normalize_features": rule, "features": "dense"}
    folder = write_graph(graph, tmp_path / "g.graph")
    sources = [_source(folder.load(), **options), OnDisk(folder, Config(hidden=5, **options))]
    for source in sources:
        rooms, seen = Rooms(), set[int]()
        for seed in range(4):
            block = sample(source, np.sort(_draw(seed).choice(60, 9, replace=False)), (3, 3), hop_keys(_draw(seed), 2))
            plain = assemble(source, block)
            for dtype in ("float32", "float64"):
                batch = assemble(source, block, dtype, rooms)
                assert isinstance(plain.features, np.ndarray)
                np.testing.assert_array_equal(batch.features, plain.features.astype(dtype))
                for found, expected in zip(batch.index, plain.index, strict=True):
                    np.testing.assert_array_equal(found, expected)
                seen |= {room.ctypes.data for room in batch.borrowed}
                rooms.given_back(batch.borrowed)
        assert len(seen) <= 2 * 3  # of eight batches with three arrays each


@pytest.mark.parametrize("backend_name", ["numpy", "torch", "mlx", "jax"])
def test_a_large_batchs_elements_are_counted_on_where_it_is_placed(
    make_graph: MakeGraph, backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = get_backend(backend_name)
    source = _source(make_graph(3, nodes=60), loader="neighbor", features="dense")
    block = sample(source, np.arange(5, 25), (3, 2), hop_keys(_draw(), 2))
    whole = place_batch(backend, assemble(source, block))
    monkeypatch.setattr("portgnn.loaders.batch.COUNTED_ON", 1)
    batch = assemble(source, block)
    assert [None if each is None else each.shape[1] for each in batch.index] == [1] * len(batch.index)
    placed = place_batch(backend, batch)
    for found, want, level in zip(placed.index, whole.index, block.levels[:-1], strict=True):
        assert found.shape == want.shape
        np.testing.assert_array_equal(backend.to_numpy(found)[: len(level)], backend.to_numpy(want)[: len(level)])
