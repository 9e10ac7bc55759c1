"""What `--set` says: names, lists and ranges, and one line for each mistake."""

from __future__ import annotations

import re

import numpy as np
import pytest

from portgnn.errors import ConfigError
from portgnn.recipe import known
from portgnn.studies.space import Range, grid, read, space

NAMES = known("gcn")


def test_a_text_lists_values_of_the_hyperparameters_own_kinds() -> None:
    found = space(read("hidden=16,64; dropout = 0.3, 0.5;bias=after,none; restore-best=true,false; lr=1e-2"), NAMES)
    assert found == {
        "hidden": (16, 64),
        "dropout": (0.3, 0.5),
        "bias": ("after", "none"),
        "restore_best": (True, False),
        "learning_rate": (0.01,),
    }
    combinations = list(grid(found))
    assert len(combinations) == 16
    assert combinations[0] == {
        "hidden": 16, "dropout": 0.3, "bias": "after", "restore_best": True, "learning_rate": 0.01,
    }  # fmt: skip


def test_python_gives_values_lists_and_arrays() -> None:
    found = space({"hidden": 16, "dropout": [0.3, 0.3, 0.5], "epochs": np.array([5, 6])}, NAMES)
    assert found == {"hidden": (16,), "dropout": (0.3, 0.5), "epochs": (5, 6)}
    assert list(grid({})) == [{}]


def test_ranges() -> None:
    found = space(read("hidden=8..64; learning_rate=1e-4..1e-1 log"), NAMES)
    assert found == {"hidden": Range(8, 64, whole=True), "learning_rate": Range(1e-4, 1e-1, logarithmic=True)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hiden=16", r"no hyperparameter 'hiden'\. Did you mean 'hidden'"),
        ("hidden", "must be NAME=VALUES"),
        ("=3", "must be NAME=VALUES"),
        ("hidden=", "a value is missing"),
        ("hidden=16,,64", "a value is missing"),
        ("hidden=16; hidden=32", "names hidden twice"),
        ("hidden=16; hidden_size=32", "names hidden twice|no hyperparameter"),
        ("hidden=0", "hidden=0 must be at least 1"),
        ("hidden=1.5", "must be an integer"),
        ("dropout=1.5", "dropout=1.5 must be at least 0 and below 1"),
        ("bias=befor", "not one of none, after, before. Did you mean 'before'"),
        ("dropout=0.8..0.2", "from a number to a larger one"),
        ("dropout=0..0.5 log", "above 0"),
        ("dropout=0..1.5", "dropout=1.5 must be"),
        ("heads=4", "no hyperparameter 'heads'"),
        ("monitor=loss", "monitor='loss' must be val_loss"),
    ],
)
def test_mistakes_are_one_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        space(read(text), NAMES)
    assert "\n" not in str(caught.value)


def test_an_empty_list_and_a_range_in_a_grid_are_refused() -> None:
    with pytest.raises(ConfigError, match="hidden lists no value"):
        space({"hidden": []}, NAMES)
    with pytest.raises(ConfigError, match=re.escape("--search N draws from; for a grid list values: dropout=0.1,0.5")):
        list(grid({"dropout": Range(0.1, 0.5)}))
    with pytest.raises(ConfigError, match="only numbers have a range"):
        space({"bias": Range(0, 1)}, NAMES)
