"""The gallery's notebooks run, each within seconds by short settings, and say what they promise."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

GALLERY = Path(__file__).parents[2] / "examples" / "gallery"
SHORT: dict[str, tuple[dict[str, Any], str]] = {
    "own-csv": ({"EPOCHS": 15}, r"gets \d+% right[\s\S]*c60: \w+ \(\d+%\)[\s\S]*Wilcoxon"),
    "gat-on-mlx": (
        {"DATASET": "karate", "EPOCHS": 10, "BACKENDS": ("mlx", "numpy")},
        r"mlx +\w+ +test accuracy [\s\S]*difference of the first ten losses: \de-\d+",
    ),
    "molecules": ({"USE_MUTAG": False, "EPOCHS": 3, "FOLDS": 5}, r"60 graphs[\s\S]*over 5 splits[\s\S]*molecule \d+: "),
    "links": ({"EPOCHS": 60}, r"'roc_auc': 0\.\d+[\s\S]*3 and \d+: [+-]"),
    "two-processes": (
        {"DATASET": "karate", "EPOCHS": 3, "BACKEND": "mlx"},
        r"2 processes on \w+: test accuracy [\s\S]*losses differ by \d",
    ),
}


def _cells(name: str) -> list[Any]:
    return [cell for cell in nbformat.read(GALLERY / f"{name}.ipynb", as_version=4).cells if cell.cell_type == "code"]


def test_every_notebook_is_known_here() -> None:
    assert {path.stem for path in GALLERY.glob("*.ipynb")} == set(SHORT)


@pytest.mark.parametrize("name", SHORT)
def test_it_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    monkeypatch.chdir(tmp_path)
    parameters, said = SHORT[name]
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        for cell in _cells(name):
            source = cell.source
            if "parameters" in cell.metadata.get("tags", []):
                assert set(re.findall(r"^([A-Z_]+) = ", source, re.M)) == set(parameters)
                source = "\n".join(f"{key} = {value!r}" for key, value in parameters.items())
            exec(compile(source, name, "exec"), namespace)
    assert re.search(said, out.getvalue()), out.getvalue()


@pytest.mark.parametrize("name", SHORT)
def test_what_is_kept_is_one_whole_run(name: str) -> None:
    cells = _cells(name)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(o.output_type == "error" or o.get("name") == "stderr" for cell in cells for o in cell.outputs)
    assert not re.search(r"/(home|root|work|tmp|Users)/", (GALLERY / f"{name}.ipynb").read_text())
