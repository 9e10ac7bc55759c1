"""One edit a hyperparameter: a field says all there is to say of it, and everything else is made of that."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

import pytest

from portgnn import configuration, presets, recipe
from portgnn.cli import _hyperparameters as options
from portgnn.cli import main
from portgnn.cli._grouped import EXPLANATION, ORDER
from portgnn.errors import ConfigError
from portgnn.hyperparameters import NETWORK, RATE, TRAINING, Bounds, check, hyperparameter, hyperparameters, meant
from portgnn.models import NETWORKS
from portgnn.models.gcn import GCN
from portgnn.presets import Config
from portgnn.report import documents


@dataclass(frozen=True)
class Wider(GCN):
    """A network with one hyperparameter of each kind more."""

    edge_rate: float = hyperparameter(0.6, "Dropout rate on edges.", NETWORK, bounds=RATE, names=("edge_drop",))
    ears: int = hyperparameter(8, "Ears.", NETWORK, bounds=Bounds("at least 1", least=1))
    drift: Literal["constant", "cosine"] = hyperparameter("constant", "How the edges change.", TRAINING)
    clips: bool = hyperparameter(False, "Whether gradients are clipped.", TRAINING, off="--unclipped")


ADDED = ("edge_rate", "ears", "drift", "clips")


@pytest.fixture
def wider(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The network among those that come with portgnn."""
    monkeypatch.setitem(NETWORKS, "wider", Wider)
    monkeypatch.setitem(presets.PRESETS, "wider", Config(preset="wider", model="wider"))
    recipe.known.cache_clear()
    yield
    recipe.known.cache_clear()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"edge_rate": 1.0}, "edge_rate=1.0 must be at least 0 and below 1"),
        ({"edge_rate": float("nan")}, "edge_rate=nan must be at least 0 and below 1"),
        ({"ears": 0}, "ears=0 must be at least 1"),
        ({"ears": 2.0}, "ears=2.0 must be an integer"),
        ({"ears": True}, "ears=True must be an integer"),
        ({"drift": "cosin"}, "drift='cosin' is not one of constant, cosine. Did you mean 'cosine'?"),
        ({"clips": 1}, "clips=1 must be True or False"),
    ],
)
def test_the_record_is_checked_by_its_fields(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Config(model=Wider, **given)
    assert message in str(raised.value)


@pytest.mark.usefixtures("wider")
def test_a_field_is_an_option_with_its_group_and_choices() -> None:
    made = {each.name: each for each in options.hyperparameter_options()}
    assert set(ADDED) < set(made)
    assert made["ears"].default.rich_help_panel == NETWORK
    assert made["drift"].default.metavar == "constant|cosine"
    assert made["clips"].default.param_decls == ("--clips/--unclipped",)
    assert made["ears"].default.help == "Ears. Of wider (8)"


@pytest.mark.usefixtures("wider")
def test_a_field_is_a_key_of_configuration_files(tmp_path: Any) -> None:
    file = tmp_path / "run.toml"
    file.write_text('model = "wider"\nears = 4\ndrift = "cosine"\n')
    assert configuration.read_options(file) == {"model": "wider", "ears": 4, "drift": "cosine"}
    file.write_text("edge-drop = 0.1\n")
    with pytest.raises(ConfigError, match="Did you mean 'edge-rate'"):
        configuration.read_options(file)


@pytest.mark.usefixtures("wider")
def test_a_field_is_in_the_command_of_a_report() -> None:
    assert "--unclipped" in documents._options([("clips", False)])
    assert "--clips" in documents._options([("clips", True)])


def test_other_libraries_names() -> None:
    assert meant(recipe.known(Wider), "edge_drop") == meant(recipe.known(Wider), "er") == "edge_rate"
    names = recipe.known("gcn")
    assert meant(names, "edge_drop") == "edge_drop"
    assert (meant(names, "lr"), meant(names, "wd"), meant(names, "n_epochs")) == (
        "learning_rate", "weight_decay", "epochs",
    )  # fmt: skip


def test_every_field_of_the_recipe_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(hyperparameters(Config)) == {each.name for each in fields(Config)} - {"preset", "model"}
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    headings = [line for line in text.splitlines() if line.endswith(" options:")]
    of_others = {EXPLANATION}
    assert headings == [f"{group.capitalize()} options:" for group in ORDER if group not in of_others]
    for one in recipe.known().values():
        assert one.help.endswith(".")
        assert one.group in ORDER
    assert "\nOptions:\n  -h, --help" in text


def test_a_field_of_another_type_is_refused_where_it_is_declared() -> None:
    @dataclass(frozen=True)
    class Wrong:
        widths: list[int] = hyperparameter((), "Widths.", NETWORK)

        def __post_init__(self) -> None:
            check(self)

    with pytest.raises(TypeError, match=r"Wrong.widths is of type list\[int\]"):
        Wrong()


def test_the_estimator_refuses_what_is_no_hyperparameter() -> None:
    from portgnn.sklearn import GCNClassifier

    with pytest.raises(TypeError, match=r"has no parameter 'hiden'\. Did you mean 'hidden'"):
        GCNClassifier(hiden=3)
    assert inspect.signature(GCNClassifier).parameters["hidden"].default is None
