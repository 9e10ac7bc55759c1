"""A graph on disk has the numbers of the graph in memory, and is never read whole by a sampler."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import portgnn
from portgnn import Graph, cli
from portgnn.disk import _mapped
from portgnn.disk.folder import DiskGraph, write_graph
from portgnn.errors import ConfigError, DatasetError, GraphError
from portgnn.graphs.fingerprint import fingerprint
from portgnn.loaders._prefetch import Prefetch
from portgnn.loaders.neighbor import hop_keys, sample
from portgnn.loaders.on_disk import OnDisk
from portgnn.loaders.source import InMemory
from portgnn.placing.prepared import Prepared
from portgnn.presets import Config

MakeGraph = Callable[..., Graph]


def _weighted(graph: Graph) -> Graph:
    adjacency = graph.adjacency.copy()
    adjacency.data = 0.5 + np.arange(adjacency.nnz) % 7
    adjacency = (adjacency + adjacency.T + sp.diags_array((np.arange(graph.num_nodes) % 4 == 0) * 2.0)).tocsr()
    return replace(graph, adjacency=adjacency)


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_rows_and_features_are_those_in_memory(
    make_graph: MakeGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sparse: bool, weighted: bool
) -> None:
    monkeypatch.setattr(_mapped, "WINDOW", 64)  # many windows in a small file
    graph = make_graph(4, nodes=300, width=60 if sparse else 6, sparse=sparse)
    features = graph.features * (0.1 if sparse else 1.0)
    graph = replace(_weighted(graph) if weighted else graph, features=features)
    if sparse:
        thin = sp.random_array((300, 60), density=0.05, rng=np.random.default_rng(0), format="csr")
        graph = replace(graph, features=thin)
    config = Config(loader="neighbor", fanout="3,2")
    memory, disk = InMemory(Prepared.of(graph, config)), OnDisk(write_graph(graph, tmp_path / "a.graph"), config)
    for nodes in (np.arange(300), np.array([0, 3, 298, 299])):
        np.testing.assert_array_equal(disk.rows(nodes).toarray(), memory.rows(nodes).toarray())
        for name in ("looped", "plain", "added"):
            np.testing.assert_array_equal(*(getattr(source.sums, name)(nodes) for source in (disk, memory)))
        for one, two in zip(disk.features(nodes), memory.features(nodes), strict=True):
            if one is None:
                assert two is None
            else:
                np.testing.assert_array_equal(*(x.toarray() if sp.issparse(x) else x for x in (one, two)))
        blocks = [sample(source, nodes, (2, 3), hop_keys(np.random.default_rng(1), 2)) for source in (memory, disk)]
        for one, two in zip(*(block.blocks for block in blocks), strict=True):
            np.testing.assert_array_equal(one.toarray(), two.toarray())


@pytest.mark.parametrize("change", [lambda graph: graph, _weighted])
def test_a_graph_comes_back_whole(make_graph: MakeGraph, tmp_path: Path, change: Callable[[Graph], Graph]) -> None:
    graph = replace(change(make_graph(1, nodes=50)), notes=("a note",), node_ids=np.arange(50).astype(str))
    written = write_graph(graph, tmp_path / "a.graph")
    back = written.load()
    assert fingerprint(back) == fingerprint(graph) == written.fingerprint
    assert (back.name, back.notes, back.class_names) == (graph.name, graph.notes, graph.class_names)
    np.testing.assert_array_equal(back.node_ids, graph.node_ids)
    assert (written.num_edges, written.is_undirected) == (graph.num_edges, graph.is_undirected)


def test_convert_then_train_gives_the_same_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "c.graph")
    assert cli.main(["convert", "csbm-cora", out]) == 0
    assert cli.main(["convert", "csbm-cora", out]) == 2
    assert "exists already" in capsys.readouterr().err
    options = {"backend": "numpy", "loader": "neighbor", "fanout": "3,2", "batch_size": 50, "epochs": 3}
    runs = [portgnn.train(source, **options) for source in ("csbm-cora", out)]  # type: ignore[arg-type]
    assert runs[0].history.train_loss == runs[1].history.train_loss
    assert runs[0].history.val_loss == runs[1].history.val_loss
    assert runs[0].test_accuracy == runs[1].test_accuracy
    assert portgnn.train(out, epochs=3).history.val_loss == portgnn.train("csbm-cora", epochs=3).history.val_loss


def test_a_sampled_run_resumes_to_the_same_numbers(tmp_path: Path) -> None:
    options = {"backend": "numpy", "loader": "neighbor", "fanout": "3,2", "batch_size": 50, "patience": 0}
    whole = portgnn.train("csbm-cora", epochs=6, **options)  # type: ignore[arg-type]
    kept = tmp_path / "run"
    portgnn.train("csbm-cora", epochs=3, checkpoint=kept, **options)  # type: ignore[arg-type]
    resumed = portgnn.train(resume=kept, epochs=6)
    assert resumed.history.train_loss == whole.history.train_loss
    assert resumed.model.config.fanout == "3,2"


def test_what_cannot_be_read_is_said(make_graph: MakeGraph, tmp_path: Path) -> None:
    graph = make_graph(1, nodes=50)
    path = write_graph(graph, tmp_path / "a.graph").path
    with pytest.raises(ConfigError, match="holds dense features"):
        OnDisk(DiskGraph(path), Config(features="sparse"))
    one_way = replace(graph, adjacency=sp.triu(graph.adjacency))
    with pytest.raises(GraphError, match="convert it without --directed"):
        OnDisk(write_graph(one_way, tmp_path / "b.graph"), Config())
    with pytest.raises(DatasetError, match=r"must end in \.graph"):
        write_graph(graph, tmp_path / "c")
    with (path / "features.npy").open("r+b") as file:
        file.truncate(500)
    with pytest.raises(DatasetError, match="shorter than its header says"):
        OnDisk(DiskGraph(path), Config())
    (path / "header.json").write_text("{}")
    with pytest.raises(DatasetError, match="not a folder that portgnn convert wrote"):
        DiskGraph(path)


def test_peak_memory_stays_far_below_the_graph(tmp_path: Path) -> None:
    nodes, width = 200_000, 256
    draw = np.random.default_rng(0)
    features = np.ones((nodes, width), dtype=np.float32)
    order = draw.permutation(nodes)
    graph = Graph.from_edges(draw.integers(0, nodes, (400_000, 2)), features, np.arange(nodes) % 3,
                             train=order[:2000], val=order[2000:2200], test=order[2200:2400])  # fmt: skip
    written = write_graph(graph, tmp_path / "big.graph")
    code = (
        "import json, resource, sys, portgnn; from portgnn import api; "
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; before = peak(); "
        "portgnn.train(sys.argv[1], backend='numpy', loader='neighbor', fanout='5,5', batch_size=256, epochs=1); "
        "print(json.dumps([before, peak()]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(written.path)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout)
    assert written.bytes > 200 * 2**20
    assert (after - before) * 1024 < written.bytes / 4


def test_prefetching_keeps_the_order_raises_and_ends() -> None:
    with Prefetch(iter(range(50))) as ahead:
        assert list(ahead) == list(range(50))

    def faulty() -> object:
        yield 1
        raise KeyError("a fault")

    with Prefetch(faulty()) as ahead, pytest.raises(KeyError, match="a fault"):  # type: ignore[arg-type]
        list(ahead)
    endless = Prefetch(iter(int, 1))
    with endless as ahead:
        next(ahead)
    assert not endless._thread.is_alive()
