"""Models leave: what is written computes portgnn's answers, without portgnn, or is refused in one line."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import portgnn
from portgnn import cli
from portgnn.exports import leaving
from portgnn.exports.leaving import export
from portgnn.graphs.graph import Graph
from portgnn.models import NETWORKS
from portgnn.models.layer import Layer, Parameter

DRESSES: tuple[dict[str, Any], ...] = (
    {"residual": "linear", "norm": "batch", "jumping": "cat", "activation": "gelu", "layers": 3},
    {"residual": "add", "norm": "layer", "jumping": "max", "activation": "elu", "layers": 3},
    {"norm": "layer", "jumping": "sum", "activation": "leaky_relu"},
)
STACKED = ("gcn", "mlp", "appnp", "sage", "gin", "gat", "gatv2")
FORMS = ("torch", "onnx")


def _needs(form: str) -> None:
    if form == "onnx":
        pytest.importorskip("onnxruntime", reason="onnxruntime, of the extra onnx, is not installed")
    if form == "pyg":
        pytest.importorskip("torch_geometric", reason="PyG, of the extra pyg, is not installed")


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Directed, weighted, with loops and a node that has no edge."""
    random = np.random.default_rng(4)
    dense = (random.random((23, 23)) < 0.15) * random.choice([0.5, 1.0, 3.0], (23, 23))
    dense[5] = dense[:, 5] = 0.0
    labels = np.arange(23) % 3
    return Graph(
        sp.csr_array(dense), random.standard_normal((23, 6)), labels=labels, class_names=("b", "a", "c"),
        train=np.arange(9), val=np.arange(9, 15), test=np.arange(15, 23), name="drawn",
    )  # fmt: skip


def _trained(graph: Graph, network: str, **options: Any) -> Any:
    small = {"gcn2": {"layers": 3, "hidden": 8}}.get(network, {})
    return portgnn.train(graph, model=network, epochs=2, dtype="float64", **small | options)


def _recipes() -> list[tuple[str, dict[str, Any]]]:
    found = [(name, dict(variant)) for name, kind in NETWORKS.items() for variant in ({}, *kind.variants)]
    return found + [(name, DRESSES[at % 3]) for at, name in enumerate(STACKED)]


@pytest.mark.parametrize("form", FORMS)
def test_every_network_leaves_with_all_its_options(form: str, graph: Graph, tmp_path: Path) -> None:
    _needs(form)
    ending = leaving.exporter(form).ending
    for at, (network, options) in enumerate(_recipes()):
        model = _model_of(graph, network, tuple(options.items()), at % 2 == 0)
        found = export(model, form, tmp_path / f"{network}{at}{ending}")
        assert found.largest_difference < 1e-12, (network, options)


@cache
def _model_of(graph: Graph, network: str, options: tuple[tuple[str, Any], ...], undirected: bool) -> portgnn.Model:
    model: portgnn.Model = _trained(graph, network, **dict(options), undirected=undirected).model
    return model


@pytest.mark.parametrize("rule", ["standardize", "row", "none"])
def test_what_is_done_to_features_leaves_with_the_network(rule: str, tmp_path: Path) -> None:
    for form, sparse in (("torch", True), ("onnx", False)):
        _needs(form)
        result = portgnn.train("karate", epochs=2, normalize_features=rule, features="sparse" if sparse else "dense")
        ending = leaving.exporter(form).ending
        found = export(result, form, tmp_path / f"{rule}{ending}", graph="karate")
        assert found.largest_difference < 1e-6
        assert any("features" in note for note in found.notes)


def test_values_leave_in_their_units(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    graph = Graph(
        sp.csr_array(np.ones((12, 12)) - np.eye(12)), random.random((12, 4)),
        targets=100 + 30 * random.random((12, 2)), target_names=("mass", "heat"), train=np.arange(8),
    )  # fmt: skip
    result = portgnn.train(graph, task="regression", epochs=3)
    found = export(result, "torch", tmp_path / "values", graph=graph)
    assert found.graphs[1] == graph.name
    assert found.largest_difference < 1e-6
    module: dict[str, Any] = {"__file__": str(tmp_path / "values" / "model.py")}
    exec((tmp_path / "values" / "model.py").read_text(), module)
    assert module["CLASSES"] == ("mass", "heat")


def test_the_folder_runs_where_portgnn_is_not(graph: Graph, tmp_path: Path) -> None:
    result = _trained(graph, "gat", heads=2)
    export(result, "torch", tmp_path / "out")
    rows, columns = graph.symmetrized().adjacency.tocoo().coords
    np.savez(tmp_path / "graph.npz", x=graph.features, edges=np.stack([columns, rows]).astype(np.int64))
    code = f"""
import sys
sys.modules["portgnn"] = None
import numpy as np, torch
sys.path.insert(0, {str(tmp_path / "out")!r})
import model
given = np.load({str(tmp_path / "graph.npz")!r})
with torch.no_grad():
    answers = model.Network.load()(torch.from_numpy(given["x"]), torch.from_numpy(given["edges"]))
np.save({str(tmp_path / "answers.npy")!r}, answers.numpy())
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    expected = portgnn.predict(result, graph, dtype="float64")
    assert np.abs(np.load(tmp_path / "answers.npy") - expected).max() < 1e-12


def test_the_module_can_be_trained_further(graph: Graph, tmp_path: Path) -> None:
    import torch

    export(_trained(graph, "gin"), "torch", tmp_path / "out")
    module: dict[str, Any] = {"__file__": str(tmp_path / "out" / "model.py")}
    exec((tmp_path / "out" / "model.py").read_text(), module)
    network = module["Network"].load()
    answers = network(torch.from_numpy(np.asarray(graph.features)), torch.tensor([[0, 1], [1, 0]]))
    answers.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


def test_facts_say_what_a_user_must_know(graph: Graph, tmp_path: Path) -> None:
    import json

    export(_trained(graph, "gcn"), "torch", tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "model.json").read_text())
    assert facts["classes"] == ["b", "a", "c"]
    assert facts["split"] == "1" * 9 + "2" * 6 + "3" * 8
    assert facts["features"] == 6
    assert facts["normalize_features"] == "none"


def test_a_file_that_computes_something_else_is_not_kept(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(leaving.exporter("torch"))
    right = kind.computed
    monkeypatch.setattr(kind, "computed", lambda self, *given: right(self, *given) + 1e-9)
    with pytest.raises(portgnn.PortgnnError, match=r"differs by 1e-09 .* at most 1e-12 is admitted"):
        export(_trained(graph, "gcn"), "torch", tmp_path / "out")
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class Sorting(Layer):
    def parameters(self) -> Any:
        return {"weight": Parameter((self.fan_in, self.fan_out))}

    def message(self, backend: Any, params: Any, x: Any) -> Any:
        return backend.matmul(x, params["weight"]), None

    def update(self, backend: Any, params: Any, total: Any, kept: Any) -> Any:
        return backend.xp.sort(total, axis=1)


@dataclass(frozen=True)
class SortingNet(portgnn.Network):
    """Sorts."""

    def built(self, features: int, classes: int) -> tuple[Layer, ...]:
        return (Sorting(0, features, classes, is_last=True),)


def test_what_cannot_leave_says_why(graph: Graph, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(portgnn.PortgnnError, match=r"^the network uses xp\.sort, for which no exported form"):
        export(portgnn.train(graph, model=SortingNet, epochs=1), "torch", tmp_path / "out")
    links = portgnn.train("karate", task="link", epochs=1)
    with pytest.raises(portgnn.PortgnnError, match="the model scores pairs of nodes"):
        export(links, "torch", tmp_path / "out")
    result = _trained(graph, "gcn")
    with pytest.raises(portgnn.PortgnnError, match=r"unknown form 'onx' to export to\. Did you mean 'onnx'"):
        export(result, "onx")
    with pytest.raises(portgnn.PortgnnError, match=r"must end in \.pt"):
        export(result, "state-dict", tmp_path / "weights")
    (tmp_path / "there").mkdir()
    with pytest.raises(portgnn.PortgnnError, match="there is there already, and a new folder"):
        export(result, "torch", tmp_path / "there")
    with pytest.raises(portgnn.PortgnnError, match="there is no folder"):
        export(result, "torch", tmp_path / "nowhere" / "out")
    assert cli.main(["export", str(tmp_path / "none.safetensors"), "--to", "torch"]) == 2
    assert capsys.readouterr().err.startswith("error: there is no model file")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_set_of_graphs_does_not_leave(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    graphs = [Graph(sp.csr_array(1 - np.eye(4)), random.random((4, 3)), name=f"g{at}") for at in range(6)]
    whole = portgnn.GraphSet.of(graphs, labels=np.arange(6) % 2, train=np.arange(6))
    with pytest.raises(portgnn.PortgnnError, match=r"the model reads whole graphs out \(readout=sum\)"):
        export(portgnn.train(whole, epochs=1), "torch", tmp_path / "out")


def test_the_command_states_the_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = portgnn.train("karate", epochs=2).save(tmp_path / "m.safetensors")
    assert cli.main(["export", str(model), "--to", "torch", "--out", str(tmp_path / "out"), "--dataset", "karate"]) == 0
    out = capsys.readouterr().out
    assert "largest difference of the answers on a drawn graph and on karate: " in out
    assert "(at most 1e-05 is admitted)" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.json", "model.py", "weights.pt"]
