"""The network of docs/write-a-network.md: the page's code, short, saved, continued, estimated and verified.

The page itself trains it on every backend, and tests/portgnn/distributed in two processes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import portgnn
from portgnn.cli import main
from portgnn.errors import CheckpointError

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "own_network"
PAGE = ROOT / "docs" / "write-a-network.md"


@pytest.fixture(autouse=True)
def in_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `--model mynet:MyNet` looks; the module is this test's alone."""
    monkeypatch.chdir(FOLDER)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mynet", raising=False)


def test_the_page_shows_the_file_and_it_is_short() -> None:
    code = (FOLDER / "mynet.py").read_text()
    shown = re.search(r'^```python title="mynet\.py"\n(.*?)^```$', PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert shown is not None
    assert shown.group(1) == code
    assert len([line for line in code.splitlines() if line]) <= 25


def test_it_is_saved_loaded_and_used_by_name_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "own.safetensors")
    own = ["--model", "mynet:MyNet", "--set", "mix=0.25"]
    assert main(["train", "--dataset", "karate", "--backend", "numpy", *own, "--epochs", "3", "--save", file]) == 0
    assert f"portgnn predict {file} --dataset karate --network mynet:MyNet" in capsys.readouterr().err
    del sys.modules["mynet"]
    assert main(["predict", file, "--dataset", "karate"]) == 2  # a file's word is not enough to import code
    said = capsys.readouterr().err
    assert "damaged" not in said
    assert "this needs the network mynet:MyNet, and a file's word is not enough" in said
    assert main(["predict", file, "--dataset", "karate", "--network", "mynet:MyNet", "--out", f"{file}.csv"]) == 0
    with pytest.raises(CheckpointError, match="of the network 'mynet:MyNet', and not of gcn"):
        portgnn.Model.load(file, network="gcn")
    with pytest.raises(
        portgnn.PortgnnError, match=r"own\.safetensors: mynet:Mixing is Mixing, and no portgnn\.Network"
    ):
        portgnn.Model.load(file, network="mynet:Mixing")
    model = portgnn.Model.load(file, network="mynet:MyNet")
    assert (model.config.mix, model.config.model) == (0.25, "mynet:MyNet")
    with pytest.raises(CheckpointError, match="of the network 'gcn', and not of mynet:MyNet"):
        portgnn.Model.load(_of_gcn(tmp_path), network="mynet:MyNet")


def _of_gcn(folder: Path) -> Path:
    return portgnn.train("karate", epochs=1).save(folder / "gcn.safetensors")


def test_a_run_goes_on_with_the_class_and_not_without(tmp_path: Path) -> None:
    whole = portgnn.train("karate", model="mynet:MyNet", epochs=6, patience=0)
    run = tmp_path / "run.ckpt"
    portgnn.train("karate", model="mynet:MyNet", epochs=3, patience=0, checkpoint=run)
    del sys.modules["mynet"]
    with pytest.raises(CheckpointError, match="this needs the network mynet:MyNet"):
        portgnn.train(resume=run, epochs=6)
    resumed = portgnn.train(resume=run, model="mynet:MyNet", epochs=6)
    assert resumed.history.train_loss == whole.history.train_loss


def test_the_estimator_takes_it() -> None:
    pytest.importorskip("sklearn")
    from portgnn.sklearn import GCNClassifier

    graph = portgnn.load_graph("karate")
    nodes, labels = np.arange(graph.num_nodes), graph.labels
    found = GCNClassifier(graph, model="mynet:MyNet", epochs=30).fit(nodes, labels)
    assert found.model_.config.model == "mynet:MyNet"
    assert found.score(nodes, labels) > 0.8


def test_verify_takes_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--model", "mynet:MyNet", "--dtype", "float64", "--draw", "3"]) == 0
    shown = capsys.readouterr().out
    for what in ("sound", "forward", "gradient", "parts", "epochs"):
        assert f"model.mynet:MyNet.{what}" in shown
