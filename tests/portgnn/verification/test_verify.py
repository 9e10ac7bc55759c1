"""The report, its JSON, the command, and what tolerances and gaps promise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pytest

import portgnn
from portgnn import verification
from portgnn.cli import main
from portgnn.errors import BackendError
from portgnn.testing.gradient_cases import GRADIENT_CASES
from portgnn.testing.gradient_ties import TIES, at_the_edge
from portgnn.verification import CHECKS, gaps, network_checks, run_check, tolerances, verify
from portgnn.verification.draw import EDGE_ROWS, Draw, shapes
from portgnn.verification.measure import Departure, compare, distance, fetch
from portgnn_mlx import MLXBackend
from portgnn_numpy import NumPyBackend
from portgnn_torch import TorchBackend

BEFORE, FAILS, AFTER = ("asarray", "csr", "spmm"), ("relu",), ("log_softmax", "xp", "adam.first-step", "model.logits")
FEW = frozenset(BEFORE + FAILS + AFTER)
"""Quick checks of each kind, for what is said of a run and not of a backend; relu and the model fail on `Raises`."""


@pytest.fixture
def few_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the command, which takes no list of checks."""
    monkeypatch.setattr(verification, "CHECKS", tuple(check for check in CHECKS if check.name in FEW))


class Raises(NumPyBackend):
    """A backend whose relu raises."""

    def relu(self, x: Any) -> Any:
        raise MemoryError("out of memory")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "make",
    [
        lambda dtype: NumPyBackend("cpu", dtype),
        lambda dtype: TorchBackend("cpu", dtype),
        lambda dtype: MLXBackend("cpu", dtype),
    ],
    ids=["numpy", "torch", "mlx"],
)
def test_a_right_backend_passes(make: Any, dtype: str) -> None:
    report = verify(make(dtype))
    assert report.passed, [check for check in report.checks if not check.passed]
    assert report.first_failure is None
    drawn = Draw(report.draw, dtype)
    assert len(report.checks) == sum(bool(check.of(drawn)) for check in CHECKS)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.sweep)])
@pytest.mark.parametrize(
    "make",
    [
        lambda dtype: TorchBackend("cpu", dtype, csr=False),  # edge lists, as on MPS
        # Gather and scatter, as on a GPU; a minute, and test_seeds.py trains with it.
        pytest.param(lambda dtype: MLXBackend("cpu", dtype, shared_memory=False), marks=pytest.mark.sweep),
    ],
    ids=["torch-edges", "mlx-edges"],
)
def test_a_backends_other_form_passes(make: Any, dtype: str) -> None:
    report = verify(make(dtype), only=lambda name: not name.startswith(("host.", "loop", "xp.elementwise")))
    assert report.passed, [check for check in report.checks if not check.passed]


def test_what_a_backend_raises_is_a_failure_and_not_a_crash() -> None:
    report = verify(Raises("cpu", "float32"), only=FEW.__contains__)
    assert report.first_failure == "relu"
    relu = next(check for check in report.checks if check.name == "relu")
    assert (relu.max_error, relu.hint) == (None, "MemoryError: out of memory")
    assert [check.name for check in report.checks] == list(BEFORE + FAILS + AFTER), "those after the failure run, too"
    assert [check.name for check in report.checks if not check.passed] == ["relu", "model.logits"]


def test_the_dictionary_is_what_json_can_hold() -> None:
    report = verify(Raises("cpu", "float32"), only=FEW.__contains__).to_dict()
    assert list(report) == ["backend", "device", "dtype", "draw", "passed", "first_failure", "checks"]
    assert set(report["checks"][0]) == {"name", "max_error", "tolerance", "passed", "hint"}
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_a_report_without_a_check_has_not_passed() -> None:
    assert not verify("numpy", only=lambda name: False).passed


def test_a_backend_that_is_not_registered_is_named_by_its_class() -> None:
    assert verify("portgnn_numpy:NumPyBackend", dtype="float64", only=lambda name: name == "spmm").passed
    for wrong in ("portgnn_numpy:Nothing", "no_such_module:Backend"):
        with pytest.raises(BackendError, match="there is no backend class"):
            verify(wrong)
    with pytest.raises(BackendError, match="has no bfloat16"):
        verify("portgnn_numpy:NumPyBackend", dtype="bfloat16")


def test_the_public_name_is_the_function() -> None:
    assert portgnn.verify is verify


@pytest.mark.usefixtures("few_checks")
def test_the_command_says_what_fails_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--backend", f"{__name__}:Raises"]) == 1
    out = capsys.readouterr().out
    assert "first relu: MemoryError: out of memory" in out
    assert "FAILS" in out


@pytest.mark.usefixtures("few_checks")
def test_the_command_prints_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--backend", "numpy", "--dtype", "float64", "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["passed"]
    assert document["dtype"] == "float64"
    assert not captured.err


@pytest.mark.parametrize(
    "options", [["--backend", "nope"], ["--device", "tpu"], ["--dtype", "float16"]], ids=["backend", "device", "dtype"]
)
def test_bad_input_exits_with_2(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_check_names_are_unique_and_every_row_of_data_means_one() -> None:
    names = [check.name for check in (*CHECKS, *network_checks("all"))]
    cases = (*GRADIENT_CASES, *TIES, *at_the_edge("float64"))
    names += [f"gradient.{case.name}" for case in cases] + ["gradient.slope", "gradient.convention"]
    assert len(set(names)) == len(names)
    for pattern in [row.check for row in (*tolerances.TOLERANCES, *gaps.GAPS, *gaps.NAMES)]:
        assert any(fnmatchcase(name, pattern) for name in names), pattern
    assert len([name for name in names if name.startswith("trajectory.")]) == 12


def test_loose_tolerances_say_why() -> None:
    base = {"float64": 1e-12, "float32": 1e-5}
    for row in tolerances.TOLERANCES:
        assert row.value <= base.get(row.dtype, 0.0) or row.reason, row


@pytest.mark.parametrize(
    ("check", "dtype", "device", "value"),
    [("spmm", "float64", "cpu", 1e-12), ("spmm", "float32", "cpu", 1e-5), ("spmm", "float32", "cuda:1", 1e-4),
     ("dropout.bits", "float32", "mps", 0.0)],
)  # fmt: skip
def test_the_last_row_that_matches_counts(check: str, dtype: str, device: str, value: float) -> None:
    assert tolerances.tolerance(check, dtype, device).value == value


def test_a_dtype_without_a_tolerance_is_an_error() -> None:
    with pytest.raises(KeyError, match="no tolerance"):
        tolerances.tolerance("spmm", "float16", "cpu")


def test_a_gap_explains_a_failure_and_excuses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Raises("cpu", "float32")
    monkeypatch.setattr(gaps, "GAPS", (gaps.Gap("numpy", "cpu", "*", "relu", "no relu before version 9"),))
    relu = next(check for check in CHECKS if check.name == "relu")
    result = run_check(backend, relu, relu.of(Draw(1)))
    assert not result.passed
    assert result.hint == "known: no relu before version 9"
    monkeypatch.setattr(gaps, "GAPS", (gaps.Gap("numpy", "gpu", "*", "relu", "elsewhere"),))
    assert run_check(backend, relu, relu.of(Draw(1))).hint.startswith("MemoryError")


def test_distance_is_normwise_and_no_nan_is_close_to_anything() -> None:
    assert distance(np.array([1.0, 1e-9]), np.array([1.0, 0.0])) == pytest.approx(1e-9)
    assert distance(np.array([2.0]), np.array([1.0]), 10.0) == 0.1
    assert distance(np.array([np.nan]), np.array([1.0])) == np.inf
    assert distance(np.array([np.inf]), np.array([1.0])) == np.inf
    assert distance(np.array([0.5]), np.array([0.0])) == 0.5
    with pytest.raises(Departure, match=r"shape \[1, 2\], not \[2\]"):
        compare("x", np.zeros((1, 2)), np.zeros(2))


def test_fetch_refuses_other_dtypes_and_devices() -> None:
    import torch

    backend = TorchBackend("cpu", "float32")
    with pytest.raises(Departure, match="dtype float64, not float32"):
        fetch(backend, torch.zeros(1, dtype=torch.float64), "x")
    with pytest.raises(Departure, match="lies on meta, not on cpu"):
        fetch(backend, torch.zeros(1, device="meta"), "x")
    backend.to_numpy = lambda x: x.numpy().astype(np.float64)  # type: ignore[method-assign]
    with pytest.raises(Departure, match="to_numpy of x has dtype float64"):
        fetch(backend, torch.zeros(1), "x")
    backend.to_numpy = lambda x: x.tolist()  # type: ignore[method-assign]
    with pytest.raises(Departure, match="gives list"):
        fetch(backend, torch.zeros(1), "x")


def test_every_draw_holds_edge_sizes_and_another_seed_draws_others() -> None:
    for seed in range(20):
        drawn = shapes(Draw(seed))
        assert any(case.rows in EDGE_ROWS for case in drawn)
        assert any(case.columns > 64 for case in drawn)
        assert any((case.rows, case.inner, case.columns) == (1, 1, 1) for case in drawn)
        assert {(not case.rows, not case.inner, not case.columns) for case in drawn} >= {
            (True, False, False), (False, True, False), (False, False, True)
        }  # fmt: skip
        assert any(not case.density for case in drawn)
    assert len({shapes(Draw(seed)) for seed in range(20)}) == 20
    assert shapes(Draw(7)) == shapes(Draw(7))


@pytest.mark.usefixtures("few_checks")
def test_a_run_says_how_to_repeat_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORTGNN_DRAW")
    first, again = verify("numpy"), verify("numpy")
    assert first.draw != again.draw
    repeated = verify("numpy", draw=first.draw)
    assert [check.max_error for check in first.checks] == [check.max_error for check in repeated.checks]
    assert [check.max_error for check in first.checks] != [check.max_error for check in again.checks]
    assert main(["verify", "--draw", "5", "--backend", f"{__name__}:Raises"]) == 1
    assert "to repeat this: --draw 5" in capsys.readouterr().out
    monkeypatch.setenv("PORTGNN_DRAW", "6")
    assert main(["verify", "--backend", f"{__name__}:Raises"]) == 1
    assert "to repeat this: --draw 6" in capsys.readouterr().out
    monkeypatch.setenv("PORTGNN_DRAW", "six")
    assert main(["verify"]) == 2
    assert "PORTGNN_DRAW='six' is no whole number of at most nine digits" in capsys.readouterr().err


def test_a_name_that_xp_lacks_is_said_and_one_that_is_wrong_fails() -> None:
    class Namespace:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            if name in ("hypot", "tan"):
                raise AttributeError(name)
            return getattr(self._inner, name)

    backend = NumPyBackend("cpu", "float32")
    backend.xp = Namespace(backend.xp)  # type: ignore[assignment]
    walk = {"only": lambda name: name == "xp.elementwise"}
    found = verify(backend, **walk).checks[0]
    assert found.passed
    assert found.hint == "xp lacks tan, hypot"
    backend.xp.cosh = np.sinh
    found = verify(backend, **walk).checks[0]
    assert not found.passed
    assert "xp.cosh at " in found.hint


def test_a_gap_of_names_is_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    row = gaps.NameGap("numpy", "*", "xp.elementwise", ("tan",), "no tangent before version 9")
    monkeypatch.setattr(gaps, "NAMES", (row,))
    found = verify("numpy", only=lambda name: name == "xp.elementwise").checks[0]
    assert not found.passed
    assert "tan of xp: right by now" in found.hint


def test_numpys_error_settings_raise_no_false_alarm() -> None:
    with np.errstate(all="raise"):
        report = verify("numpy", only=lambda name: not name.startswith("trajectory"))
    assert report.passed, report
    with np.errstate(all="ignore"):
        assert verify("numpy", only=lambda name: name.startswith("xp")).passed


@pytest.mark.parametrize("preset", ["kipf", "pyg", "article"])
def test_what_underflows_stops_no_training(preset: str) -> None:
    """A rate so large that softmax saturates, and its exponentials underflow."""
    given = {"backend": "numpy", "preset": preset, "epochs": 8, "learning_rate": 20.0, "patience": 0}
    plain = portgnn.train("karate", **given).history
    with np.errstate(all="raise"):
        assert portgnn.train("karate", **given).history.train_loss == plain.train_loss


@pytest.mark.slow
def test_jax_may_be_told_to_raise_where_ranks_differ() -> None:
    """In a process of its own: the setting is read when JAX is imported."""
    pytest.importorskip("jax")
    program = """
import portgnn
checks = ("xp", "model.logits", "batches.inference")
report = portgnn.verify("jax", device="cpu", draw=3, only=lambda name: name in checks)
assert report.passed, [check for check in report.checks if not check.passed]
losses = portgnn.train("karate", backend="jax", device="cpu", preset="pyg", epochs=3).history.train_loss
assert len(losses) == 3
"""
    environment = os.environ | {"JAX_NUMPY_RANK_PROMOTION": "raise"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


SETTINGS = {
    "device": "torch.set_default_device('meta')",
    "dtype": "torch.set_default_dtype(torch.float64)",
    "deterministic": "torch.use_deterministic_algorithms(True)",
    "inference": "torch.inference_mode().__enter__()",
}


def _verified_under(settings: str) -> None:
    """In a process of their own: they are the process's."""
    program = f"""
import torch
{settings}
from portgnn.verification import verify
report = verify("torch", device="cpu", only=lambda name: not name.startswith("trajectory"))
assert report.passed, [check for check in report.checks if not check.passed]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_torchs_settings_raise_no_false_alarm() -> None:
    _verified_under("\n".join(SETTINGS.values()))


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize("setting", SETTINGS)
def test_no_setting_of_torchs_alone_raises_a_false_alarm(setting: str) -> None:
    """One may hide what another does."""
    _verified_under(SETTINGS[setting])


def test_what_to_type_where_products_are_rounded() -> None:
    from planted_verbs import BFloat16Products

    found = verify(BFloat16Products("cpu", "float32"), only=lambda name: name == "matmul").checks[0]
    assert 'torch.set_float32_matmul_precision("highest")' in found.hint
