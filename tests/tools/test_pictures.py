"""The pictures of README say what the results say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from portgnn.report.documents import number

Tool = Callable[[str], ModuleType]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def front_picture(tool: Tool) -> ModuleType:
    return tool("front_picture")


@pytest.fixture
def terminal_picture(tool: Tool) -> ModuleType:
    return tool("terminal_picture")


def words(path: Path) -> list[str]:
    return [text.replace("&#160;", " ").strip() for text in re.findall(r">([^<>]+)<", path.read_text())]


def test_the_front_picture_is_of_the_committed_results(front_picture: ModuleType) -> None:
    for file in front_picture.THEMES:
        said = words(ROOT / "docs/pictures" / file)
        for result in front_picture.MACHINES.values():
            own, *peers = front_picture.bars(json.loads((ROOT / "bench/results" / result).read_text()))
            assert own.name in said
            assert number(own.milliseconds) in said
            for bar in peers:
                assert bar.name in said
                assert f"{number(bar.milliseconds)}  ({number(bar.milliseconds / own.milliseconds)} times)" in said


def test_no_peer_has_a_faster_row_than_the_one_that_is_drawn(front_picture: ModuleType) -> None:
    for result in front_picture.MACHINES.values():
        run = json.loads((ROOT / "bench/results" / result).read_text())
        own, *peers = front_picture.bars(run)
        drawn = [bar.milliseconds for bar in peers]
        rows = [row for row in run["rows"] if row.get("status") == "timed" and row["recipe"] == front_picture.RECIPE]
        assert min(row["train_ms"]["median"] for row in rows if row["kind"] == "peer") == min(drawn)
        assert own.milliseconds == min(row["train_ms"]["median"] for row in rows if row["kind"] != "peer")


def test_the_curves_on_the_front_lie_within_what_tests_allow(front_picture: ModuleType) -> None:
    losses = json.loads(front_picture.CURVES.read_text())["losses"]
    assert set(losses) == {"numpy", "torch", "jax", "mlx"}
    differences = front_picture.apart(losses)
    assert all(len(values) == len(losses["numpy"]) for values in differences.values())
    assert max(float(np.max(values)) for values in differences.values()) <= 1e-12


def test_the_terminal_picture_asks_no_host_and_shows_the_commands(terminal_picture: ModuleType) -> None:
    path = ROOT / "docs/pictures/terminal.svg"
    assert "url(http" not in path.read_text()
    said = " ".join(words(path))
    for command in terminal_picture.COMMANDS:
        assert command in said
    assert "test accuracy 0.8190" in said  # of the recipe kipf, seed 0, on Cora


def test_a_window_holds_what_was_printed(terminal_picture: ModuleType) -> None:
    drawn = terminal_picture.svg([("portgnn train", "epoch 1\ntest accuracy 0.5")])
    assert "@font-face" not in drawn
    assert re.search(r"test(&#160;| )accuracy(&#160;| )0\.5", drawn)
