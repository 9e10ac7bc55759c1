"""The notebook runs, agrees with itself (it asserts that losses agree), and what is kept of its outputs is whole."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

PATH = Path(__file__).parents[2] / "examples" / "article.ipynb"
SHORT = 'DATASET = "csbm-cora"\nEPOCHS = 12\nDENSE_EPOCHS = 2\nCHECKS = ("matmul", "dropout.bits", "adam.first")\n'


def _read() -> Any:
    return nbformat.read(PATH, as_version=4)


def _code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.slow
def test_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    notebook = _read()
    parameters = [cell for cell in _code(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert len(parameters) == 1
    assert set(re.findall(r"^([A-Z_]+) = ", parameters[0].source, re.M)) == set(re.findall(r"([A-Z_]+) = ", SHORT))
    parameters[0].source = SHORT
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(PATH.parent)}}
    ).execute()
    printed = "".join(o.text for cell in _code(notebook) for o in cell.outputs if o.get("name") == "stdout")
    for backend in ("numpy", "torch", "mlx", "jax"):
        assert re.search(rf"^{backend} +test accuracy 0\.\d+", printed, re.M), printed
    charts = [o for cell in _code(notebook) for o in cell.outputs if "image/png" in o.get("data", {})]
    assert len(charts) >= 6


def test_what_is_kept_is_one_whole_run() -> None:
    """Outputs are kept: a reader sees the chart without running it, and the site makes its page from them."""
    cells = _code(_read())
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(o.output_type == "error" or o.get("name") == "stderr" for cell in cells for o in cell.outputs)
    for cell in cells:
        drawn = any("image/png" in o.get("data", {}) for o in cell.outputs)
        assert drawn == bool(cell.metadata.get("alt")), "a chart needs a text for those who cannot see it"
    assert PATH.stat().st_size < 500_000
    assert not re.search(r"/(home|root|work|tmp|Users)/", PATH.read_text())
