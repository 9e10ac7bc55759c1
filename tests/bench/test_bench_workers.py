"""The protocol between the clock's keeper and the programs under test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from bench.harness.known_peers import find_python, peer_spec
from portgnn.benchmark.cases import recipe_of
from portgnn.benchmark.client import WorkerError, WorkerProcess, WorkerSpec, worker_environment
from portgnn.benchmark.graphs import BenchGraph, synthetic


def prepare(worker: WorkerProcess, graph: BenchGraph, folder: Path, case: str = "a", **options: object) -> object:
    path = str(graph.save(folder / "graph.npz"))
    return worker.ask(
        "prepare", case=case, graph=path, recipe=recipe_of("pyg").to_dict(), device="cpu", options=options
    )


def test_a_worker_answers_each_operation(fake: WorkerSpec, small: BenchGraph, tmp_path: Path) -> None:
    with WorkerProcess(fake) as worker:
        hello = worker.ask("hello")
        assert hello["environment"] == {"fake": "1.0"}
        assert hello["devices"] == ["cpu"]
        prepare(worker, small, tmp_path, case="a", form="fake")
        prepare(worker, small, tmp_path, case="b")
        # What the program prints, in Python or below it, does not reach the protocol.
        seconds = worker.ask("time", case="a", chunk=3, chunks=4, warm=2)["seconds"]
        assert len(seconds) == 4
        assert min(seconds) > 0.001
        assert len(worker.ask("evaluate", case="b", repeats=3)["seconds"]) == 3
        assert worker.ask("accuracy", case="a", epochs=200, seed=0)["test_accuracy"] == 0.2
        assert worker.ask("memory")["peak_bytes"] > 2**20


def test_a_failed_operation_is_an_answer_and_the_worker_lives_on(
    fake: WorkerSpec, small: BenchGraph, tmp_path: Path
) -> None:
    with WorkerProcess(fake) as worker:
        with pytest.raises(WorkerError, match="not this one") as caught:
            prepare(worker, small, tmp_path, refuse=True)
        assert caught.value.kind == "unsupported"
        with pytest.raises(WorkerError) as caught:
            worker.ask("time", case="nothing of that name", chunk=1, chunks=1)
        assert caught.value.kind == "error"
        prepare(worker, small, tmp_path)


def test_an_absent_library_is_told_apart_from_a_failure() -> None:
    with WorkerProcess(WorkerSpec("absent", "absent_peer")) as worker:
        with pytest.raises(WorkerError, match="a_library_that_nobody_has") as caught:
            worker.ask("hello")
        assert caught.value.kind == "absent"


def test_an_absent_interpreter_is_absent(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="cannot start") as caught:
        WorkerProcess(WorkerSpec("fake", "fake_peer", python=str(tmp_path / "python")))
    assert caught.value.kind == "absent"


def test_a_worker_that_dies_leaves_its_last_words(fake: WorkerSpec) -> None:
    with WorkerProcess(fake) as worker:
        with pytest.raises(WorkerError, match=r"status 3.*a last word") as caught:
            worker.ask("call", operation="crash")
        assert caught.value.kind == "died"


def test_a_worker_that_hangs_is_ended(fake: WorkerSpec) -> None:
    with WorkerProcess(fake) as worker:
        worker.ask("hello")
        with pytest.raises(WorkerError, match="more than") as caught:
            worker.ask("call", operation="hang", timeout=0.3)
        assert caught.value.kind == "timeout"


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="resident memory is read from /proc")
def test_a_worker_that_takes_too_much_memory_is_ended(fake: WorkerSpec) -> None:
    with WorkerProcess(fake, memory_limit=2**20) as worker:
        with pytest.raises(WorkerError, match="GiB") as caught:
            worker.ask("call", operation="hang")
        assert caught.value.kind == "memory"


def test_forced_blas_kernels_do_not_reach_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    env, dropped = worker_environment(2, {"KERAS_BACKEND": "jax"})
    assert "OPENBLAS_CORETYPE" not in env
    assert dropped == ["OPENBLAS_CORETYPE"]
    assert env["OMP_NUM_THREADS"] == "2"
    assert env["KERAS_BACKEND"] == "jax"


def test_a_peer_takes_the_interpreter_that_fits_its_name_best() -> None:
    given = {"k3-node": "a", "k3-node-jax": "b", "": "c"}
    assert find_python("k3-node-jax", given, "here") == "b"
    assert find_python("k3-node-torch", given, "here") == "a"
    assert find_python("pyg", given, "here") == "c"
    assert find_python("pyg", {}, "here") == "here"


def test_a_peer_is_found_where_portgnn_is_installed_elsewhere(tmp_path: Path) -> None:
    """A worker looks beside its own file first, and an installed portgnn has no peers beside it."""
    env, _ = worker_environment(None, peer_spec("jax-bcoo", {}).env)
    code = "import bench.peers, sys; print(bench.peers.__file__)"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert Path(done.stdout.strip()) == Path(__file__).parents[2] / "bench/peers/__init__.py", done.stderr


@pytest.mark.parametrize("sparse", [True, False])
def test_a_graph_survives_the_way_to_a_worker(sparse: bool, small: BenchGraph, tmp_path: Path) -> None:
    features = sp.csr_array(small.features) if sparse else small.features
    fields = (small.labels, small.train, small.val, small.test, small.classes)
    graph = BenchGraph("small", small.adjacency, features, *fields)
    found = BenchGraph.load(graph.save(tmp_path / "graph.npz"))
    assert (found.adjacency != graph.adjacency).nnz == 0
    assert np.array_equal(found.dense_features(True), graph.dense_features(True))
    assert found.facts() == graph.facts()


def test_a_synthetic_graph_is_what_it_says() -> None:
    graph = synthetic(20_000, features=4, classes=5)
    adjacency = graph.adjacency
    assert adjacency.nnz == 20_000
    assert adjacency.diagonal().sum() == 0
    assert (adjacency != adjacency.T).nnz == 0
    assert set(adjacency.data) == {1.0}
    assert len(graph.train) == graph.nodes // 2
    assert len(np.unique(np.concatenate([graph.train, graph.val, graph.test]))) == graph.nodes
    degrees = np.diff(adjacency.indptr)
    assert degrees.max() > 5 * degrees.mean()


def test_the_peers_normalisation_is_the_library_s(small: BenchGraph) -> None:
    from portgnn.placing.edges import normalized_adjacency

    expected = normalized_adjacency(sp.csr_array(small.adjacency, dtype=np.float64)).toarray()
    assert np.allclose(small.normalised().toarray(), expected, atol=1e-6)
