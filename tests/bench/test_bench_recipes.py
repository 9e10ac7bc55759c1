"""The study of recipes: what it trains first, what it adds to a file that holds some, and what it says of them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from bench.studies import heterophily, recipes
from portgnn.presets import PRESETS


def _options(**changes: Any) -> argparse.Namespace:
    given = {"presets": "gat-velickovic,gcn2-chen", "datasets": "karate", "seeds": 3, "pyg": False, "backend": "numpy",
             "device": "cpu", "epochs": 2, "jobs": 1, "minutes": 9.0}  # fmt: skip
    return argparse.Namespace(**given | changes)


def test_rows_go_by_what_matters_and_each_to_its_data_set() -> None:
    assert set(recipes.ORDER) <= set(PRESETS)
    tuned = set(heterophily.RECIPES.values())
    known = {name for name, each in PRESETS.items() if name != "article" and each.task == "auto"}
    assert known - tuned == set(recipes.ORDER)
    keys = [row.key for row in recipes.rows(list(recipes.ORDER), ["cora", "citeseer"], ["portgnn", "pyg"])]
    assert keys[:2] == ["gat-velickovic / cora / portgnn", "gat-velickovic / cora / pyg"]
    assert "gcn2-chen / citeseer / pyg" not in keys
    assert keys[-1] == "gcn2-chen-citeseer / citeseer / pyg"


def test_a_file_is_added_to(tmp_path: Path) -> None:
    options, document = _options(presets="gat-velickovic"), {"what": "a trial", "rows": {}}
    first, second = recipes.missing(document, options)
    assert (first.seeds, second.seeds) == ((0, 1), (2,))
    recipes.note(document, second, recipes.done(second))
    (left,) = recipes.missing(document, options)
    recipes.note(document, left, recipes.done(left))
    assert list(recipes.missing(document, options)) == []
    row = document["rows"]["gat-velickovic / karate / portgnn"]
    assert [one["seed"] for one in row["seeds"]] == [0, 1, 2]
    assert [one["epochs"] for one in row["seeds"]] == [2, 2, 2]
    assert row["standard_error"] == pytest.approx(row["std"] / 3**0.5)
    recipes.write(document, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == document


def test_pygs_rows_are_trained_by_the_same_rules() -> None:
    pytest.importorskip("torch_geometric", reason="PyTorch Geometric is not installed")
    for name in recipes.ORDER:
        work = recipes.Work(recipes.Row(name, "karate", "pyg"), (0,), "numpy", "cpu", 3)
        (found,) = recipes.done(work)
        assert 0 <= found["accuracy"] <= 100
        assert found["epochs"] == 3
        assert (found["best"] == 2) or work.config().restore_best
    document: dict[str, Any] = {"rows": {}}
    recipes.note(document, work, [found, found | {"seed": 1, "accuracy": found["accuracy"] + 2}])
    (row,) = document["rows"].values()
    assert row["band"] == pytest.approx([row["mean"] - 3, row["mean"] + 3])
