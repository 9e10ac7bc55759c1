"""Weights of PyTorch Geometric's layers become models, and are the same arrays when they leave again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portgnn
from portgnn import cli
from portgnn.exports.counterparts import entered, left, stood_in
from portgnn.exports.entering import import_model
from portgnn.models import NETWORKS

RECIPES = [(name, dict(each)) for name, kind in NETWORKS.items() for each in ({}, *kind.variants)]
SAID = {
    "GCNConv": {"lin.weight": (16, 34), "bias": (16,)},
    "GATConv": {"lin.weight": (64, 34), "att_src": (1, 8, 8), "att_dst": (1, 8, 8), "bias": (64,)},
    "SAGEConv": {"lin_l.weight": (64, 34), "lin_l.bias": (64,), "lin_r.weight": (64, 34)},
    "ChebConv": {"lins.0.weight": (16, 34), "lins.1.weight": (16, 34), "lins.2.weight": (16, 34), "bias": (16,)},
}
"""What PyG's own state_dict of a first layer on the karate club holds (2.8)."""


def _model(network: str, **options: Any) -> Any:
    return portgnn.train("karate", model=network, epochs=2, **options).model


def _left(model: Any, names: Any = "conv{}.") -> dict[str, Any]:
    """The state_dict of somebody who called the layers by names of their own."""
    others = stood_in(model.layers)[1]
    own = {each.own for other in others for each in other.arrays}
    found = {name: value for name, value in model.params.items() if name not in own}
    for number, (_, arrays) in enumerate(zip(others, left(others, model.params), strict=True), start=1):
        found |= {names.format(number) + name: value for name, value in arrays.items()}
    return found


@pytest.mark.parametrize(("network", "options"), [each for each in RECIPES if each[1] != {"bias": "before"}])
def test_weights_that_left_enter_again(network: str, options: dict[str, Any]) -> None:
    model = _model(network, **options)
    state = _left(model)
    back = import_model(state, network, "karate", **options)
    assert {name: value.dtype for name, value in back.params.items()} == {
        name: value.dtype for name, value in model.params.items()
    }
    for name, value in model.params.items():
        assert np.array_equal(back.params[name], value), name
    assert np.array_equal(portgnn.predict(back, "karate"), portgnn.predict(model, "karate"))


@pytest.mark.parametrize(
    ("network", "options", "name"),
    [("gcn", {"bias": "after"}, "GCNConv"), ("gat", {}, "GATConv"), ("sage", {}, "SAGEConv"), ("cheb", {}, "ChebConv")],
)
def test_names_and_axes_are_those_of_the_other_library(network: str, options: dict[str, Any], name: str) -> None:
    model = _model(network, **options)
    others = stood_in(model.layers)[1]
    assert others[0].name == name
    arrays = left(others, model.params)[0]
    assert {key: value.shape for key, value in arrays.items()} == SAID[name]
    first, weight = next(iter(arrays.values())), model.params["weight0"]
    assert np.array_equal(first, (weight if weight.ndim == 2 else weight[0]).T)


def test_what_layers_wear_comes_along() -> None:
    options = {"residual": "linear", "norm": "layer", "jumping": "cat", "bias": "after"}
    model = _model("gcn", **options)
    back = import_model(_left(model, "convs.{}."), "gcn", "karate", **options)
    assert np.array_equal(portgnn.predict(back, "karate"), portgnn.predict(model, "karate"))


def test_weights_of_another_network_are_refused_by_their_names() -> None:
    state = _left(_model("gcn", bias="after"))
    for network, options, said in (
        ("gcn", {"bias": "after", "hidden": 8}, r"conv1\.lin\.weight has shape \[16, 34\], where \[8, 34\] is needed"),
        ("gcn", {}, r"the file holds more than this network has: conv1\.bias, conv2\.bias"),
        ("gcn", {"bias": "after", "layers": 3}, r"conv2\.lin\.weight has shape|no further layer with lin\.weight"),
        ("gat", {}, r"no further layer with lin\.weight, att_src, att_dst, bias, which number 1, a GATConv, needs"),
        ("gcn", {"bias": "before"}, "has no counterpart in PyTorch Geometric: bias=before"),
    ):
        with pytest.raises(portgnn.PortgnnError, match=said):
            import_model(state, network, "karate", **options)
    with pytest.raises(portgnn.PortgnnError, match=r"name the network, as in model='gcn'"):
        import_model(state)
    with pytest.raises(portgnn.PortgnnError, match="is no array of finite floating numbers"):
        import_model(state | {"conv1.bias": np.full(16, np.nan)}, "gcn", "karate", bias="after")


def test_tensors_and_files_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from safetensors.numpy import save_file

    model = _model("gcn", bias="after")
    state = _left(model)
    torch.save(
        {name: torch.nn.Parameter(torch.from_numpy(value.copy())) for name, value in state.items()}, tmp_path / "m.pt"
    )
    save_file({name: np.ascontiguousarray(value) for name, value in state.items()}, tmp_path / "m.safetensors")
    for source in ("m.pt", "m.safetensors"):
        words = ["import", str(tmp_path / source), "--model", "gcn", "--bias", "after", "--dataset", "karate"]
        assert cli.main([*words, "--save", str(tmp_path / "back.st")]) == 0
        back = portgnn.Model.load(tmp_path / "back.st")
        assert all(np.array_equal(back.params[name], value) for name, value in model.params.items())
    assert f"portgnn predict {tmp_path / 'back.st'} --dataset karate" in capsys.readouterr().err
    (tmp_path / "bad.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    for source, said in (("bad.pt", "does not read it"), ("none.pt", "there is no file of weights")):
        words = ["import", str(tmp_path / source), "--model", "gcn", "--dataset", "karate"]
        assert cli.main([*words, "--save", str(tmp_path / "x.st")]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "x.st").exists()


def test_a_folder_says_all_by_itself(tmp_path: Path) -> None:
    from portgnn.exports.leaving import export

    model = portgnn.train("karate", model="gat", heads=2, epochs=2, split="random:2:4").model
    export(model, "torch", tmp_path / "out")
    back = import_model(tmp_path / "out", split="random:2:4")
    assert back.config == model.config
    assert back.fingerprint == model.fingerprint
    assert all(np.array_equal(back.params[name], value) for name, value in model.params.items())


def test_entering_leaves_no_array_out() -> None:
    model = _model("gatv2")
    assert set(entered(model.layers, _left(model))) == set(model.params)
