"""The kit as an author of a backend runs it: one pytest command in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from portgnn_mlx import MLXBackend
from portgnn_torch import TorchBackend

HERE = Path(__file__).parent
PLANTED = HERE.parent / "verification"
"""Where the wrong backends are that the kit is to reject."""


class TorchEdges(TorchBackend):
    """torch without its CSR product, as on MPS."""

    def __init__(self, device: str, dtype: str) -> None:
        super().__init__(device, dtype, csr=False)


class MLXEdges(MLXBackend):
    """MLX without shared memory, as on a GPU."""

    def __init__(self, device: str, dtype: str) -> None:
        super().__init__(device, dtype, shared_memory=False)


def kit(*arguments: str, setup: str = "", folder: Path = HERE) -> subprocess.CompletedProcess[str]:
    found = [str(HERE), str(PLANTED)]
    program = f"import sys, pytest\nsys.path[:0] = {found}\n{setup}\nsys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "-q", "-p", "no:cacheprovider", "--pyargs", "portgnn.testing", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


SHORT = ("--examples", "4", "--epochs", "3")


@pytest.mark.parametrize(
    ("backend", "dtype"),
    [
        ("numpy", "float64"),
        pytest.param("numpy", "float32", marks=pytest.mark.sweep),
        pytest.param("torch", "float32", marks=pytest.mark.sweep),
        pytest.param("mlx", "float64", marks=pytest.mark.sweep),
        pytest.param("test_kit:TorchEdges", "float64", marks=pytest.mark.sweep),
        pytest.param("test_kit:MLXEdges", "float32", marks=pytest.mark.sweep),
    ],
)
def test_it_passes(backend: str, dtype: str, tmp_path: Path) -> None:
    # Gradients of the standard's functions are rules of our own on NumPy and MLX. torch's are its own, of which
    # tests/backends holds a sample, and another form of sparse products changes none.
    chosen = () if backend in ("numpy", "mlx") else ("-k", "not test_gradients")
    done = kit("--backend", backend, "--dtype", dtype, *SHORT, *chosen, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "dtype", "which", "count"),
    [
        ("numpy", "float32", "trajectory and csr and sparse", 3),
        pytest.param("numpy", "float64", "trajectory and csr", 6, marks=pytest.mark.sweep),
        pytest.param("torch", "float32", "trajectory and csr", 6, marks=pytest.mark.sweep),
        pytest.param("torch", "float64", "trajectory and csr", 6, marks=pytest.mark.sweep),
    ],
)
def test_200_epochs_stay_together(backend: str, dtype: str, which: str, count: int) -> None:
    done = kit("--backend", backend, "--dtype", dtype, "-k", which)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{count} passed" in done.stdout


def test_networks_are_checked_where_they_are_asked_for() -> None:
    asked = ("--backend", "numpy", "--dtype", "float64", "-vv", "-k", "model.")
    done = kit(*asked, "--model", "sgc", "--model", "mlp")
    assert done.returncode == 0, done.stdout + done.stderr
    for network in ("sgc", "mlp"):
        for what in ("forward", "gradient", "parts", "epochs"):
            assert f"model.{network}.{what}-" in done.stdout
    assert "model.gat" not in done.stdout
    assert "Did you mean 'sgc'" in kit(*asked, "--model", "sgx").stderr


def test_a_backend_that_does_not_exist_fails_the_run() -> None:
    done = kit("--backend", "nmupy")
    assert done.returncode == 4
    assert "Did you mean 'numpy'" in done.stderr


def test_no_backend_fails_the_run() -> None:
    done = kit()
    assert done.returncode != 0
    assert "name the backend to test: --backend NAME" in done.stdout + done.stderr


def test_a_run_that_collects_nothing_fails() -> None:
    assert kit("--backend", "numpy", "-k", "nothing_of_this_name").returncode == 5


def test_a_failing_check_names_the_case_and_the_cause() -> None:
    done = kit("--backend", "planted_verbs:ReluOne", "-k", "drawn and relu.gradient")
    assert done.returncode == 1
    assert "relu.gradient on Case(" in done.stdout
    assert "at 0 the gradient is 1 and not 0" in done.stdout


ROW = "from portgnn.verification import gaps\ngaps.GAPS = (gaps.Gap('numpy', 'cpu', '*', 'relu.gradient', 'because'),)"


def test_a_gap_is_an_expected_failure() -> None:
    done = kit("--backend", "planted_verbs:ReluOne", "-k", "relu.gradient", setup=ROW)
    assert done.returncode == 0, done.stdout
    assert "1 xfailed" in done.stdout


def test_a_gap_that_has_closed_fails_the_run() -> None:
    done = kit("--backend", "numpy", "-k", "relu.gradient", setup=ROW)
    assert done.returncode == 1
    assert "XPASS(strict)] because" in done.stdout


def test_its_options_appear_in_no_other_run(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    refused = subprocess.run([*command, "--examples", "3"], capture_output=True, text=True, check=False)
    assert refused.returncode == 4
    assert "unrecognized arguments: --examples" in refused.stderr
