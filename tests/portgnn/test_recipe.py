"""Hyperparameters of a run: its own of each network, a user's, and how they are given from the shell."""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

import portgnn
from portgnn.cli import main
from portgnn.errors import ConfigError
from portgnn.hyperparameters import NETWORK, Bounds, hyperparameter
from portgnn.models import NETWORKS
from portgnn.presets import PRESETS, Config, preset
from portgnn.recipe import config_of, known, network_hyperparameters, networks_with

SAGE = NETWORKS["sage"]


@dataclass(frozen=True)
class Mine(SAGE):  # type: ignore[misc, valid-type]
    """GraphSAGE with hyperparameters that do nothing."""

    gain: float = 1.5
    steps: int = 2
    gated: bool = False
    form: str = hyperparameter("short", "How it is written.", NETWORK, bounds=())
    bounded: int = hyperparameter(1, "A number.", NETWORK, bounds=Bounds("at least 1", least=1))


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> str:
    made: Any = ModuleType("a_users_module")
    made.Mine = Mine
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return "a_users_module:Mine"


def test_each_networks_record_has_its_own_hyperparameters() -> None:
    gat, gcn = Config(model="gat", heads=4), Config()
    assert (gat.heads, gat.network.heads, gat.model) == (4, 4, "gat")
    assert not hasattr(gcn, "heads")
    assert networks_with("heads") == ["gat", "gatv2"]
    assert networks_with("bias") == ["gcn"]
    assert {"heads", "bias", "terms", "alpha"} <= set(known())
    assert pickle.loads(pickle.dumps(gat)) == gat
    with pytest.raises(ConfigError, match="heads=0 must be at least 1"):
        Config(model="gat", heads=0)


def test_a_users_fields_are_hyperparameters() -> None:
    config = Config(model=Mine, gain=2, steps=3, gated=True)
    assert (config.gain, config.steps, config.gated, config.form, config.hidden) == (2.0, 3, True, "short", 16)
    assert list(network_hyperparameters(Mine))[-5:] == ["gain", "steps", "gated", "form", "bounded"]
    assert config.with_(gain=0.5).network.gain == 0.5
    for name, value, message in (
        ("gain", "much", "gain='much' must be a number"),
        ("steps", 1.5, "steps=1.5 must be an integer"),
        ("gated", 1, "gated=1 must be True or False"),
        ("bounded", 0, "bounded=0 must be at least 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            Config(model=Mine, **{name: value})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": (int, 3)}, r"Wrong\.epochs has the name of a hyperparameter of training; give it another"),
        ({"sizes": (list, None)}, r"Wrong\.sizes needs a default, and int, float, bool or str for its type"),
    ],
)
def test_a_field_that_is_no_hyperparameter_is_named(fields: dict[str, tuple[type, Any]], message: str) -> None:
    body = {name: default for name, (_, default) in fields.items()}
    kinds = {name: kind for name, (kind, _) in fields.items()}
    wrong = dataclass(frozen=True)(type("Wrong", (SAGE,), {**body, "__annotations__": kinds, "__module__": __name__}))
    with pytest.raises(ConfigError, match=message):
        config_of(wrong)


def test_a_recipe_of_another_network_gives_its_training() -> None:
    config = preset("gat-velickovic", "sage")
    assert (config.learning_rate, config.weight_decay, config.patience) == (0.005, 5e-4, 100)
    assert (config.model, config.hidden, config.input_dropout) == ("sage", 16, 0.5)  # the network's own
    assert preset(None, "gat").preset == "gat-velickovic"
    assert preset(None, Mine).preset == "kipf"
    with pytest.raises(ConfigError, match="gcn has no hyperparameter 'heads'; of the networks, gat, gatv2 have it"):
        preset("kipf", heads=3)
    with pytest.raises(ConfigError, match=r"unknown hyperparameter 'haeds'\. Did you mean 'heads'"):
        preset("gat-velickovic", haeds=3)


def test_the_list_has_every_network_and_recipe() -> None:
    facts = {each.name: each for each in portgnn.models()}
    assert list(facts) == list(NETWORKS)
    assert [name for each in facts.values() for name in each.presets if name not in PRESETS] == []
    assert sum(len(each.presets) for each in facts.values()) == len(PRESETS)
    assert all(
        each.presets and each.about.endswith(".") and (each.paper or each.name == "mlp") for each in facts.values()
    )
    assert facts["gat"].hyperparameters["heads"] == 8


def test_set_gives_a_users_hyperparameters(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    own = ["train", "--dataset", "karate", "--backend", "numpy", "--model", module, "--epochs", "1"]
    assert main([*own, "--set", "gain=0.25", "--set", "gated=true", "--set", "steps=4", "--json"]) == 0
    said = capsys.readouterr().out
    for text in ('"gain": 0.25', '"gated": true', '"steps": 4'):
        assert text in said
    for given, message in (
        ("gain", "--set gain must be NAME=VALUE, as in --set gain=0.1"),
        ("gian=1", "--set gian=1: there is no hyperparameter 'gian'. Did you mean 'gain'?"),
        ("gain=much", "gain='much' must be a number"),
        ("steps=2.5", "steps='2.5' must be an integer"),
        ("gated=yes", "gated='yes' must be True or False"),
        ("bounded=0", "bounded=0 must be at least 1"),
    ):
        assert main([*own, "--set", given]) == 2
        assert message in capsys.readouterr().err


def test_verify_checks_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--model", "appnp", "--dtype", "float64", "--draw", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for what in ("forward", "gradient", "parts", "epochs"):
        (line,) = [each for each in lines if each.startswith(f"model.appnp.{what} ")]
        assert line.split()[-1] == "ok"
        assert 0 < float(line.split()[1]) <= 1e-12
    assert not any(".sound" in line for line in lines)  # of a user's network alone
    assert main(["verify", "--model", "appn"]) == 2
    assert "unknown network 'appn'. Did you mean 'appnp'" in capsys.readouterr().err
