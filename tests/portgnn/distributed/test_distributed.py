"""Several processes compute what one does, and a death among them ends the others and costs little."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from judged import judged

from portgnn import Graph, cli, get_backend, load_graph, train
from portgnn.checkpoints.runs import load_run
from portgnn.distributed.partition import Partition, halo_rows
from portgnn.distributed.watch import Watch
from portgnn.errors import ConfigError
from portgnn.graphs.split import split
from portgnn.loaders.source import InMemory, even_bounds
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.presets import Config, preset
from portgnn.training import WholeGraph, fit

LAUNCHED = Path(__file__).with_name("launched.py")
HERE = Path(sys.executable).parent
OWN_NETWORK = Path(__file__).parents[3] / "examples" / "own_network"


def _port() -> int:
    """A port with free ones behind it, outside the range from which the system gives them away."""
    for port in range(21_000 + os.getpid() % 9_000, 32_000, 7):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def _torchrun(processes: int, *more: str) -> list[str]:
    pytest.importorskip("torch")
    return [str(HERE / "torchrun"), "--nproc-per-node", str(processes), "--master-addr", "127.0.0.1",
            "--master-port", str(_port()), *more]  # fmt: skip


def _run(command: list[str]) -> str:
    # mlx.launch reads its input for as long as it runs: an open pipe without a word.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True) as running:  # fmt: skip
        assert running.stdout is not None
        try:
            running.wait(timeout=100)
        except subprocess.TimeoutExpired:
            running.terminate()
            raise
        said = running.stdout.read()
    assert running.returncode == 0, said[-3000:]
    return said


def _documents(out: Path, processes: int) -> list[list[dict[str, Any]]]:
    return [json.loads(Path(f"{out}.{rank}").read_text()) for rank in range(processes)]


@pytest.mark.parametrize(
    ("processes", "dtype", "partition", "recipe"),
    [
        (2, "float64", "ranges", "kipf"),
        (3, "float64", "random", "pyg"),
        pytest.param(2, "float32", "random", "kipf", marks=pytest.mark.sweep),
        pytest.param(2, "float64", "ranges", "article", marks=pytest.mark.sweep),
    ],
)
def test_gloo_processes_compute_what_one_computes(
    tmp_path: Path, processes: int, dtype: str, partition: str, recipe: str
) -> None:
    found = _trained(tmp_path, _torchrun(processes), processes, "torch", dtype, partition, [(recipe, {})])
    _compare(found[0], "torch", dtype, recipe)


def test_rules_and_other_networks_compute_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moments of all nodes; attention, which asks for scores of the other process's nodes; what is carried from the
    first layer, which stays with its nodes; the network of docs/write-a-network.md; and gradients that are clipped
    when all processes' are there, at a rate that falls with the loss of all of them; several labels and values, some of
    them unknown, with their metrics.
    """
    monkeypatch.chdir(OWN_NETWORK)  # where a network of one's own is looked for
    recipes: list[tuple[str, dict[str, Any]]] = [
        ("kipf", {"normalize_features": "standardize"}),
        ("pyg", {"features": "dense", "epochs": 5}),
        ("kipf", {"features": "dense", "hidden": 400, "epochs": 2}),
        ("sgc-wu", {"hops": 3, "features": "dense", "epochs": 5}),
        ("sgc-wu", {"epochs": 5}),
        ("gat-velickovic", {"heads": 3, "epochs": 5}),
        ("gcn2-chen", {"layers": 5, "epochs": 5}),
        ("pyg", {"model": "mynet:MyNet", "mix": 0.3, "epochs": 5}),
        ("pyg", {"optimizer": "sgd", "learning_rate": 2.0, "momentum": 0.5, "clip_norm": 0.05, "schedule": "plateau",
                 "schedule_patience": 0, "warmup": 2}),
        ("pyg", {"task": "labels", "class_weights": "balanced", "epochs": 5}),
        ("pyg", {"task": "regression", "loss": "huber", "epochs": 5}),
    ]  # fmt: skip
    found = _trained(tmp_path, _torchrun(2), 2, "torch", "float64", "random", recipes)
    for each, (recipe, options) in zip(found, recipes, strict=True):
        _compare(each, "torch", "float64", recipe, **options)


def test_ring_processes_compute_what_one_computes(tmp_path: Path) -> None:
    pytest.importorskip("mlx.core")
    ring = [str(HERE / "mlx.launch"), "-n", "2", "--backend", "ring", "--starting-port", str(_port()), "--"]
    found = _trained(tmp_path, [*ring, sys.executable], 2, "mlx", "float32", "random", [("kipf", {})])
    _compare(found[0], "mlx", "float32", "kipf")


def _trained(
    folder: Path, launcher: list[str], processes: int, backend: str, dtype: str, partition: str, recipes: list[Any]
) -> list[tuple[dict[str, Any], ...]]:
    """Of each recipe, what the processes have."""
    out = folder / "out"
    _run([*launcher, str(LAUNCHED), str(out), backend, dtype, partition, "csbm-cora", json.dumps(recipes)])
    return list(zip(*_documents(out, processes), strict=True))


def _compare(found: tuple[dict[str, Any], ...], backend: str, dtype: str, recipe: str, **options: Any) -> None:
    prepared = Prepared.of(judged(load_graph("csbm-cora"), options), preset(recipe, **{"epochs": 25, **options}))
    alone = WholeGraph(get_backend(backend, device="cpu", dtype=dtype), prepared)
    expected = fit(alone, 3)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    for name in ("train_loss", "val_loss"):
        np.testing.assert_allclose(found[0][name], getattr(expected.history, name), rtol=tolerance)
    for name, values in found[0]["metrics"].items():  # of rounded logits, one node may be on the other side
        np.testing.assert_allclose(values, expected.history.curves[name], rtol=10 * tolerance, atol=0.0021)
    assert found[0]["metrics"]
    for name, multiplied in zip(("train", "val"), found[0]["multiplied"], strict=True):
        nodes, on = split(prepared.graph, name).nodes, get_backend(backend, device="cpu", dtype=dtype)
        operands = place(on, prepared, nodes, training=name == "train")
        assert multiplied == [matrix is None for matrix in operands.adjacency]
    for other in found[1:]:  # replicas are equal bit for bit
        assert other == found[0]
    assert prepared.graph.test is not None
    scores = alone.scores(expected.params, prepared.graph.test)
    assert found[0]["scores"].keys() == scores.keys()
    assert found[0]["scores"] == pytest.approx(scores, rel=1e-3 if dtype == "float64" else 0.05)


def test_a_dead_process_ends_the_others_and_torchrun_resumes(tmp_path: Path) -> None:
    kept, model = tmp_path / "run.safetensors", tmp_path / "model.safetensors"
    options = ["--dataset", "csbm-cora", "--backend", "torch", "--dtype", "float64", "--epochs", "200",
               "--patience", "0", "--device", "cpu"]  # fmt: skip
    command = [*_torchrun(2, "--max-restarts", "1"), "-m", "portgnn", "train", "--distributed", *options]
    command += ["--checkpoint", str(kept), "--every", "20", "--timeout", "10", "--save", str(model)]
    log = tmp_path / "log"
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as running:
        try:
            limit = time.monotonic() + 60
            while time.monotonic() < limit and not (kept.exists() and len(load_run(kept)[1].history) >= 40):
                time.sleep(0.05)
            workers = [
                int(word) for word in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
            ]
            os.kill(workers[-1], signal.SIGKILL)
            assert running.wait(timeout=60) == 0, log.read_text()[-3000:]
        finally:
            running.terminate()
    said = log.read_text()
    assert "error: process 0 of 2 (gloo) has lost another" in said
    assert f"continue with: portgnn train --resume {kept}" in said
    run, progress = load_run(kept)
    assert len(progress.history) == 200
    torch = get_backend("torch", device="cpu", dtype="float64")
    undisturbed = fit(WholeGraph(torch, Prepared.of(load_graph("csbm-cora"), run.config)), 0)
    np.testing.assert_allclose(progress.history.train_loss, undisturbed.history.train_loss, rtol=1e-11)


def test_ranges_are_balanced_and_never_empty(csbm: Graph) -> None:
    source = InMemory(Prepared.of(csbm, Config()))
    partition = Partition.of(source, 4)
    nodes = np.arange(csbm.num_nodes)
    stored = np.diff(source.prepared.adjacency.indptr)
    shares = np.bincount(partition.owner_of(nodes), weights=stored, minlength=4) / stored.sum()
    assert np.abs(shares - 0.25).max() < 0.05
    np.testing.assert_array_equal(partition.owner_of(partition.first(4)), np.arange(4))
    # One node with nearly all edges, at either end.
    for indptr in ([0, 97, 98, 99, 100], [0, 1, 2, 3, 100]):
        np.testing.assert_array_equal(even_bounds(np.array(indptr), 4), np.arange(5))
    with pytest.raises(ConfigError, match="too few for 9999 processes"):
        Partition.of(source, 9999)


def test_a_shuffled_graph_is_not_cut_into_ranges() -> None:
    """A ring whose nodes have numbers at random: ranges read nearly all of each other, a better order a few rows."""
    nodes, draw = 600, np.random.default_rng(2)
    at = draw.permutation(nodes)
    edges = sp.csr_array((np.ones(2 * nodes), (np.r_[at, np.roll(at, 1)], np.r_[np.roll(at, 1), at])))
    graph = Graph(edges, np.eye(nodes, 3), np.arange(nodes) % 2, np.arange(9), np.arange(9, 19), np.arange(19, 29))
    source = InMemory(Prepared.of(graph, Config()))
    everything, stored = np.arange(nodes), source.prepared.adjacency
    ranges = Partition(bounds=source.balanced(3)).owner_of(everything)
    assert halo_rows(stored, ranges, 3) > 2 * nodes / 3
    owner = Partition.of(source, 3).owner_of(everything)
    assert halo_rows(stored, owner, 3) <= 12
    np.testing.assert_allclose(np.bincount(owner), nodes / 3, atol=6)
    # In its own order it is left alone.
    natural = InMemory(Prepared.of(_renumbered(graph, at), Config()))
    assert Partition.of(natural, 3).bounds is not None


def _renumbered(graph: Graph, order: Any) -> Graph:
    return Graph(
        sp.csr_array(graph.adjacency[order][:, order]), graph.features, graph.labels, graph.train, graph.val, graph.test
    )


def test_a_wait_without_end_is_ended() -> None:
    statuses: list[int] = []
    watch = Watch(0.05, statuses.append)
    watch.who = "process 1 of 2 (ring)"
    import portgnn.distributed.watch as module

    original, module.GRACE = module.GRACE, 0.05
    try:
        with watch():
            pass
        time.sleep(0.3)
        assert statuses == []
        with watch():
            time.sleep(0.5)
        assert statuses == [2]
    finally:
        module.GRACE = original


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "torch"], "torchrun --nproc-per-node 2 -m portgnn train --distributed --backend torch"),
        (["--backend", "mlx"], "mlx.launch -n 2 --backend ring -- portgnn train --distributed --backend mlx"),
        (["--backend", "numpy"], "the numpy backend has no collectives"),
        ([], "type --backend with one of: "),
        (["--backend", "torch", "--timeout", "0"], "timeout=0.0 must be a number of seconds above 0"),
    ],
)
def test_errors_say_what_to_type(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    if "torch" in arguments or "mlx" in arguments:
        pytest.importorskip("mlx.core" if "mlx" in arguments else "torch")
    assert cli.main(["train", "--dataset", "karate", "--distributed", *arguments]) == 2
    assert message in capsys.readouterr().err


TWICE = """
import portgnn
for seed in (0, 1):
    run = portgnn.train("karate", backend="torch", device="cpu", dtype="float64", seed=seed, epochs=4, distributed=True)
    print("loss", seed, repr(run.history.train_loss[-1]), flush=True)
"""


def test_a_program_trains_twice(tmp_path: Path) -> None:
    """The second time with addresses of its own: those of the first group are in the launcher's store still."""
    program = tmp_path / "twice.py"
    program.write_text(TWICE)
    said = _run([*_torchrun(2), str(program)])
    for seed in (0, 1):
        alone = train("karate", dtype="float64", seed=seed, epochs=4).history.train_loss[-1]
        losses = [float(line.split()[2]) for line in said.splitlines() if line.startswith(f"loss {seed} ")]
        assert losses == pytest.approx([alone] * 2, rel=1e-12)


def test_the_first_process_alone_calls_back(tmp_path: Path) -> None:
    events, records = tmp_path / "events", tmp_path / "run.jsonl"
    options = ["--dataset", "karate", "--backend", "torch", "--device", "cpu", "--epochs", "5"]
    command = [*_torchrun(2), "-m", "portgnn", "train", "--distributed", *options]
    said = _run([*command, "--logger", f"tensorboard:{events}", "--log-file", str(records), "--log-level", "debug"])
    assert "test accuracy" in said
    assert len(list(events.iterdir())) == 1
    written = [json.loads(line) for line in records.read_text().splitlines()]
    assert [record["epoch"] for record in written if record["event"] == "epoch"] == list(range(5))
    assert [record["processes"] for record in written if record["event"] == "start"] == [2]
