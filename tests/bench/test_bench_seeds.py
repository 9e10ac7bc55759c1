"""What README says of many seeds is what the file says, and a sample of the file holds here."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from bench.studies import seeds, unchanged
from portgnn.verification.kinks import bound
from portgnn.verification.seeds import verify_seeds

README = seeds.RESULTS.parents[2] / "README.md"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(seeds.RESULTS.read_text())
    return document


def test_readme_says_what_the_file_says(document: dict[str, Any]) -> None:
    text = README.read_text().partition(seeds.START)[2].partition(seeds.END)[0].strip()
    assert text == seeds.overview(document), "type: python bench/studies/seeds.py overview --into README.md"


def test_every_run_of_the_file_agrees_or_is_explained(document: dict[str, Any]) -> None:
    rows = document["rows"]
    assert {tuple(key.split(" / ")) for key in rows} >= {
        (dataset, recipe, backend, "float32")
        for dataset in ("cora", "citeseer")
        for recipe in ("kipf", "pyg", "article, CSR form")
        for backend in seeds.BACKENDS
    }
    for key, row in rows.items():
        dtype = key.split(" / ")[3]
        for one in row["seeds"]:
            where = (key, one["seed"])
            assert one["state"] != "FAILS", where
            if one["error"] > row["tolerance"]:
                assert one["by"] in ("kinks", "steps"), where
                if one["by"] == "kinks":
                    assert one["explained"] <= row["tolerance"], where
                    assert one["kinks"], where
            for kink in one["kinks"]:
                assert abs(kink["reference"]) <= bound(dtype) * kink["terms"], where


@pytest.mark.published_data
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_a_sample_holds_here(backend: str) -> None:
    draw = np.random.default_rng()
    dataset, preset = draw.choice(["cora", "citeseer"]), draw.choice(["kipf", "pyg"])
    report = verify_seeds(backend, seeds=[int(draw.integers(40))], dataset=str(dataset), preset=str(preset))
    assert report.passed, report.to_dict()


@pytest.mark.published_data
def test_published_numbers_have_not_moved() -> None:
    """One seed of each row; `python bench/studies/unchanged.py compare` has them all.

    Another processor's rounding may put a ReLU on another side of 0, and one node of a thousand in another class.
    """
    kept = json.loads(unchanged.RESULTS.read_text())
    seed = int(np.random.default_rng().integers(unchanged.SEEDS))
    chosen = [(key, seed) for key in unchanged.rows() if key.startswith("cora")]
    if kept["surroundings"] == unchanged.surroundings():
        assert list(unchanged.compared(kept, chosen)) == []
    for key, seed in chosen[:1]:
        assert abs(unchanged.run(key, seed)[0] - kept["runs"][key][seed]["accuracy"]) <= 0.004
