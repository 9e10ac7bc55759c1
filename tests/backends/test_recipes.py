"""Each network's recipe reaches on published data what PyTorch Geometric's own layers reach with it."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

import portgnn

RESULTS = Path(__file__).parents[2] / "bench" / "results" / "recipes.json"
TUNED = RESULTS.with_name("heterophily.json")
"""Recipes that were tuned for one data set with splits of its own."""
QUICK = ("sgc-wu", "sage-hamilton", "mlp")
"""A few seconds a training; the others are for `make sweep`."""


def bands() -> list[tuple[str, str, float, float]]:
    """(recipe, data set, lowest, highest) accuracy in percent: PyG's mean over seeds, give or take 4 of their standard
    deviations, or 3 of the 1,000 test nodes where seeds agree more closely than that.
    """
    found = []
    for key, row in json.loads(RESULTS.read_text(encoding="utf-8"))["rows"].items():
        preset, dataset, side = key.split(" / ")
        if side == "pyg":
            values = [seed["accuracy"] for seed in row["seeds"]]
            mean, width = statistics.mean(values), max(4 * statistics.stdev(values), 0.3)
            found.append((preset, dataset, mean - width, mean + width))
    return found


@pytest.mark.published_data
@pytest.mark.parametrize(
    ("preset", "dataset", "lowest", "highest"),
    [
        pytest.param(*each, id=f"{each[0]}-{each[1]}", marks=() if each[0] in QUICK else pytest.mark.sweep)
        for each in bands()
    ],
)
def test_a_recipe_reaches_pygs_accuracy(preset: str, dataset: str, lowest: float, highest: float) -> None:
    accuracy = portgnn.train(dataset, preset=preset, backend="torch", device="cpu", seed=0).test_accuracy
    assert accuracy is not None
    assert lowest <= 100 * accuracy <= highest


def test_every_recipe_has_a_band() -> None:
    of_nodes = {name for name, config in portgnn.presets.PRESETS.items() if config.task == "auto"}
    tuned = {row["recipe"] for row in json.loads(TUNED.read_text(encoding="utf-8"))["rows"].values()}
    assert {preset for preset, *_ in bands()} | tuned == of_nodes - {"article"}
