"""One edit a hyperparameter: a field says all there is to say of it, and everything else is made of that."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from typing import Any, Literal

import pytest

from portgnn import configuration, presets
from portgnn.cli import _hyperparameters as options
from portgnn.cli import main
from portgnn.cli._grouped import ORDER
from portgnn.errors import ConfigError
from portgnn.hyperparameters import NETWORK, RATE, TRAINING, Bounds, check, hyperparameter, hyperparameters, meant
from portgnn.presets import Config
from portgnn.report import documents


@dataclass(frozen=True)
class Wider(Config):
    """The recipe with one hyperparameter of each kind more."""

    attention_dropout: float = hyperparameter(
        0.6, "Dropout rate on attention.", NETWORK, bounds=RATE, names=("attn_drop",)
    )
    heads: int = hyperparameter(8, "Heads.", NETWORK, bounds=Bounds("at least 1", least=1))
    schedule: Literal["constant", "cosine"] = hyperparameter("constant", "How the step size changes.", TRAINING)
    clips: bool = hyperparameter(False, "Whether gradients are clipped.", TRAINING, off="--unclipped")


ADDED = ("attention_dropout", "heads", "schedule", "clips")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"attention_dropout": 1.0}, "attention_dropout=1.0 must be at least 0 and below 1"),
        ({"attention_dropout": float("nan")}, "attention_dropout=nan must be at least 0 and below 1"),
        ({"heads": 0}, "heads=0 must be at least 1"),
        ({"heads": 2.0}, "heads=2.0 must be an integer"),
        ({"heads": True}, "heads=True must be an integer"),
        ({"schedule": "cosin"}, "schedule='cosin' is not one of constant, cosine. Did you mean 'cosine'?"),
        ({"clips": 1}, "clips=1 must be True or False"),
    ],
)
def test_the_record_is_checked_by_its_fields(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Wider(**given)
    assert message in str(raised.value)


def test_a_field_is_an_option_with_its_group_and_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "Config", Wider)
    monkeypatch.setattr(options, "PRESETS", {"kipf": Wider()})
    made = {each.name: each for each in options.hyperparameter_options()}
    assert set(ADDED) < set(made)
    assert made["heads"].default.rich_help_panel == NETWORK
    assert made["schedule"].default.metavar == "constant|cosine"
    assert made["clips"].default.param_decls == ("--clips/--unclipped",)
    assert made["heads"].default.help == "Heads. (8)"


def test_a_field_is_a_key_of_configuration_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(configuration, "Config", Wider)
    monkeypatch.setattr(presets, "Config", Wider)
    monkeypatch.setattr(presets, "PRESETS", {"kipf": Wider()})
    file = tmp_path / "run.toml"
    file.write_text('heads = 4\nschedule = "cosine"\n')
    assert configuration.read_options(file) == {"heads": 4, "schedule": "cosine"}
    file.write_text("attn-drop = 0.1\n")
    with pytest.raises(ConfigError, match="Did you mean 'attention-dropout'"):
        configuration.read_options(file)


def test_a_field_is_in_the_command_of_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "Config", Wider)
    assert "--unclipped" in documents._options([("clips", False)])
    assert "--clips" in documents._options([("clips", True)])


def test_other_libraries_names() -> None:
    assert meant(Wider, "attn_drop") == meant(Wider, "ad") == "attention_dropout"
    assert meant(Config, "attn_drop") == "attn_drop"
    assert (meant(Config, "lr"), meant(Config, "wd"), meant(Config, "n_epochs")) == (
        "learning_rate", "weight_decay", "epochs",
    )  # fmt: skip


def test_every_field_of_the_recipe_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(hyperparameters(Config)) == {each.name for each in fields(Config)} - {"preset"}
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    headings = [line for line in text.splitlines() if line.endswith(" options:")]
    assert headings == [f"{group.capitalize()} options:" for group in ORDER]
    for one in hyperparameters(Config).values():
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
