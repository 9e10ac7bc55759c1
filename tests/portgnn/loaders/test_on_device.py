"""Sampling where the graph lies: the host's batches, bit for bit, and the host's curves."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from portgnn import Graph  # noqa: E402
from portgnn.loaders import on_device  # noqa: E402
from portgnn.loaders.engine import Sampled  # noqa: E402
from portgnn.loaders.neighbor import hop_keys, sample_rows  # noqa: E402
from portgnn.loaders.source import InMemory  # noqa: E402
from portgnn.placing.prepared import Prepared  # noqa: E402
from portgnn.presets import Config  # noqa: E402
from portgnn.training import fit  # noqa: E402
from portgnn_torch.backend import TorchBackend  # noqa: E402


class Here(TorchBackend):
    """Says that its device is the place to sample at."""

    def __init__(self) -> None:
        super().__init__("cpu", "float64", csr=False)

    def room(self) -> int:
        return 2**40


def _graph(weighted: bool, targets: Any = None) -> Graph:
    draw = np.random.default_rng(3)
    edges = draw.integers(0, 300, (2500, 2))
    edges = np.concatenate([edges, np.stack([np.full(120, 7), np.arange(120)], axis=1)])  # a hub, and a loop
    weights = draw.random(len(edges)) + 0.1 if weighted else None
    parts = {name: np.arange(start, 300, 3) for start, name in enumerate(("train", "val", "test"))}
    labels = draw.integers(0, 4, 300) if targets is None else None
    return Graph.from_edges(edges, draw.normal(size=(300, 6)), labels, weights=weights, targets=targets, **parts)


@pytest.mark.parametrize("weighting", ["gcn", "gat"])
@pytest.mark.parametrize("weighted", [False, True])
def test_sampled_rows_are_those_of_the_host(weighted: bool, weighting: str) -> None:
    backend, source = Here(), InMemory(Prepared.of(_graph(weighted), Config(model=weighting)))
    rows = backend.place_rows(source.prepared.adjacency, source.loops(np.arange(300)))
    for fanout, size in ((1, 40), (3, 300), (10, 200), (200, 50)):
        nodes = np.sort(np.random.default_rng(fanout).choice(300, size, replace=False))
        key = hop_keys(np.random.default_rng(fanout), 1)[0]
        want = sample_rows(source, nodes, fanout, key)
        filled = backend.asarray(np.append(nodes, [300] * 5).astype(np.int32))
        words = key.tolist()
        for narrow in (True, False):
            hop = backend.sample_rows(rows, filled, fanout, words, weighting == "gcn", narrow, narrow)
            stored, level = want.nnz, hop.columns.numpy()
            columns = level[hop.block.indices.numpy()[:stored]]
            np.testing.assert_array_equal(hop.block.indptr.numpy(), np.append(want.indptr, [stored] * 5))
            np.testing.assert_array_equal(columns, want.indices)
            np.testing.assert_array_equal(hop.block.values.numpy()[:stored], want.data)
            assert not hop.block.values.numpy()[stored:].any()
            if narrow:
                np.testing.assert_array_equal(level[level < 300], np.unique(want.indices))
            _check_products(backend, hop, want, level, nodes)


def _check_products(backend: Here, hop: Any, want: Any, level: Any, nodes: Any) -> None:
    draw = np.random.default_rng(0)
    whole, after = draw.normal(size=(301, 2)), draw.normal(size=(len(nodes) + 5, 2))
    x = torch.tensor(whole[level], requires_grad=True)
    product = backend.spmm(hop.block, x)
    np.testing.assert_allclose(product.detach()[: len(nodes)], want @ whole[:300], atol=1e-12)
    assert not product[len(nodes) :].any()
    (product * torch.tensor(after)).sum().backward()
    turned = np.append(want.T @ after[: len(nodes)], np.zeros((1, 2)), axis=0)
    np.testing.assert_allclose(x.grad, turned[level], atol=1e-12)
    if hop.picked is not None:
        x.grad = None
        own = backend.spmm(hop.picked, x)
        np.testing.assert_array_equal(own.detach()[: len(nodes)], whole[nodes])
        own.sum().backward()
        np.testing.assert_array_equal(x.grad[:, 0], np.isin(level, nodes))


@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_the_kernel_draws_the_same() -> None:
    """In Triton's interpreter, which a process asks for before it imports Triton."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_on_device as t; t.interpreted()"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "TRITON_INTERPRET": "1"}, check=True, timeout=300)


def interpreted() -> None:
    from portgnn_torch.sampled_rows import Rows
    from portgnn_torch.sampling_kernels import drawn_by_kernel

    for weighted, scaled in ((False, False), (True, True)):
        source = InMemory(Prepared.of(_graph(weighted), Config(model="gcn" if scaled else "gat")))
        rows = Rows.of(source.prepared.adjacency, source.loops(np.arange(300)), torch.device("cpu"))
        for fanout, size in ((1, 20), (3, 60), (10, 40)):
            nodes = np.sort(np.random.default_rng(fanout).choice(300, size, replace=False))
            key = hop_keys(np.random.default_rng(fanout), 1)[0]
            want = sample_rows(source, nodes, fanout, key)
            filled = torch.tensor(np.append(nodes, [300] * 5).astype(np.int32))
            indptr = torch.tensor(np.append(want.indptr, [want.nnz] * 5).astype(np.int32))
            words, stored = torch.tensor(key.view(np.int32)), rows.most(len(filled), fanout)
            drawn = drawn_by_kernel(rows, filled, indptr, fanout, words, stored, torch.float64, scaled)
            owners = np.repeat(np.arange(len(nodes)), np.diff(want.indptr))
            for found, wanted, rest in (
                (drawn.columns, want.indices, 300), (drawn.values, want.data, 0), (drawn.rows, owners, 0)
            ):  # fmt: skip
                np.testing.assert_array_equal(found.numpy()[: want.nnz], wanted)
                assert (found.numpy()[want.nnz :] == rest).all()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="gcn"),
        pytest.param({"layers": 3, "fanout": "2,3,4", "bias": "before", "schedule": "cosine"}, id="three layers"),
        pytest.param({"dropout": 0.0, "monitor": "val_macro_f1", "restore_best": True}, id="nothing dropped out"),
        pytest.param({"model": "sage"}, id="sage"),
        pytest.param({"model": "appnp", "hops": 2}, id="appnp"),
        pytest.param({"task": "regression"}, id="regression"),
    ],
)
def test_curves_are_those_of_the_hosts_batches(changes: dict[str, Any]) -> None:
    values = np.random.default_rng(0).normal(size=(300, 2)) if changes.get("task") == "regression" else None
    if values is not None:
        values[::7, 1] = np.nan  # not known
    graph = _graph(False, values)
    usual = {"loader": "neighbor", "batch_size": 32, "fanout": "3,2", "hidden": 5, "epochs": 3, "features": "dense"}
    config = Config(**(usual | changes))
    backend, source = Here(), InMemory(Prepared.of(graph, config))
    engine = on_device.sampled(backend, source)
    assert isinstance(engine, on_device.SampledOnDevice)
    found, want = fit(engine, 0), fit(Sampled(backend, source), 0)
    assert found.history.curves.keys() == want.history.curves.keys()
    for name, curve in want.history.curves.items():
        if name != "epoch_ms":
            np.testing.assert_allclose(found.history.curves[name], curve, rtol=1e-12, err_msg=name)
    for name, value in want.params.items():
        np.testing.assert_allclose(found.params[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
