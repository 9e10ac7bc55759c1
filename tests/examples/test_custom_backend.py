"""The outsider's backend: short, in step with its page, and right in an environment that holds nothing else."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "custom_backend"
MODULE = EXAMPLE / "portgnn_tinygrad.py"
PAGE = ROOT / "docs" / "write-a-backend.md"


def _blocks(language: str) -> list[str]:
    """What the page says to be quoted; tests/docs runs the rest."""
    quoted = rf"^<!-- quoted: \S+ -->\n\n```{language}\n(.*?)\n```$"
    return re.findall(quoted, PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)


def test_it_is_at_most_150_lines() -> None:
    sources = list(EXAMPLE.glob("**/*.py"))
    assert sources == [MODULE]
    assert len(MODULE.read_text().splitlines()) <= 150


def test_it_imports_only_what_the_page_allows() -> None:
    imported = set(re.findall(r"^\s*(?:from|import) (portgnn\S*)", MODULE.read_text(), flags=re.MULTILINE))
    assert imported == {"portgnn.parts", "portgnn.protocol", "portgnn.random"}


def test_it_is_registered_as_the_backend_it_calls_itself() -> None:
    points = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]["portgnn.backends"]
    assert points == {"tinygrad": "portgnn_tinygrad:TinygradBackend"}
    assert 'name = "tinygrad"' in MODULE.read_text()


def test_the_pages_code_is_the_examples() -> None:
    module = MODULE.read_text()
    numpy = (ROOT / "backends" / "portgnn_numpy" / "backend.py").read_text()
    blocks = _blocks("python")
    foreign = [block for block in blocks if block not in module]
    # The plain loop is NumPy's: the example needs a compiled one.
    assert len(foreign) == 1
    assert "plain_loop" in foreign[0]
    assert foreign[0] in numpy
    pyproject = (EXAMPLE / "pyproject.toml").read_text()
    assert all(block in pyproject for block in _blocks("toml"))
    # And the other way: whoever copies every block has the whole module, but for its docstring.
    shown = {line for block in blocks for line in block.splitlines()}
    left_out = [line for line in module.splitlines()[1:] if line and line not in shown]
    assert left_out == []


def test_the_pages_hints_are_those_of_verify() -> None:
    table = re.findall(r"^\| [^|]*`[^|]* \| ([^|]+) \| [^|]+ \|$", PAGE.read_text(), flags=re.MULTILINE)
    said = "".join(path.read_text() for path in (ROOT / "portgnn" / "verification").glob("*.py"))
    assert len(table) >= 8
    assert [hint for hint in table if hint not in said] == []


class Outside:
    """An environment with portgnn and the example alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        scripts = "Scripts" if os.name == "nt" else "bin"
        self.scripts = folder / "venv" / scripts
        self._env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        self._env |= {"XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        if shutil.which("clang") is None:
            self._env["DEV"] = "CPU:X86"

    def run(self, *command: str | Path, timeout: float = 300.0) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self._folder, env=self._env, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    def portgnn(self, *arguments: str, timeout: float = 300.0) -> Any:
        return json.loads(self.run(self.scripts / "portgnn", *arguments, "--json", timeout=timeout))


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    if shutil.which("clang") is None and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("tinygrad needs clang on this kind of processor")
    made = Outside(tmp_path_factory.mktemp("outside"))
    made.run(sys.executable, "-m", "venv", "venv")
    made.run(
        made.scripts / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ROOT, EXAMPLE,
    )  # fmt: skip
    return made


@pytest.mark.slow
def test_a_fresh_environment_lists_it(outside: Outside) -> None:
    found = {backend["name"]: backend for backend in outside.portgnn("backends")}
    assert found["tinygrad"]["available"]
    assert found["tinygrad"]["devices"]["cpu"] == ["float64", "float32"]
    assert [name for name, backend in found.items() if backend["available"]] == ["numpy", "tinygrad"]


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fresh_environment_verifies_it(outside: Outside, dtype: str) -> None:
    """tinygrad compiles a kernel for each shape: some ten minutes."""
    report = outside.portgnn("verify", "--backend", "tinygrad", "--device", "cpu", "--dtype", dtype, timeout=3600.0)
    assert report["passed"], report["first_failure"]
    assert len(report["checks"]) >= 35


SAMPLE = (
    "asarray", "matmul", "spmm", "relu", "log_softmax", "xp.reductions", "xp.reductions.axes", "spmm.gradient",
    "value_and_grad.rules", "dropout.bits", "dropout.dense", "adam.first-step", "init", "model.logits",
    "model.gradient",
)  # fmt: skip
"""Of each part of an adapter the check that takes least; `make sweep` runs all."""


@pytest.mark.slow
def test_a_fresh_environment_passes_a_sample_of_the_checks(outside: Outside) -> None:
    program = f"""
import json
from portgnn.verification import verify
print(json.dumps(verify("tinygrad", device="cpu", only={SAMPLE!r}.__contains__).to_dict()))
"""
    report = json.loads(outside.run(outside.scripts / "python", "-c", program))
    assert report["passed"], report["first_failure"]
    assert [check["name"] for check in report["checks"]] == list(SAMPLE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "epochs"),
    [
        pytest.param("cora", 200, marks=[pytest.mark.published_data, pytest.mark.sweep]),
        ("karate", 6),
    ],
)
def test_it_trains_to_numpys_numbers(outside: Outside, dataset: str, epochs: int) -> None:
    ours, numpys = (
        outside.portgnn(
            "train", "--dataset", dataset, "--epochs", str(epochs), "--backend", backend, "--device", "cpu"
        )
        for backend in ("tinygrad", "numpy")
    )  # fmt: skip
    assert ours["epochs_run"] == numpys["epochs_run"] == epochs
    assert ours["test_accuracy"] == numpys["test_accuracy"]
    assert ours["train_loss"] == pytest.approx(numpys["train_loss"], rel=1e-5)
    if dataset == "cora":
        assert ours["test_accuracy"] >= 0.80
