"""Which checks a run collects, and which of them are expected to fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from portgnn.protocol import Backend, Joining
from portgnn.testing.gradient_cases import GRADIENT_CASES, LEAST
from portgnn.testing.gradient_ties import TIES, at_the_edge
from portgnn.testing.plugin import BACKEND, DRAW, NETWORKS
from portgnn.verification import CHECKS
from portgnn.verification.cases import Recipe
from portgnn.verification.check import Check
from portgnn.verification.draw import Draw
from portgnn.verification.gaps import gap


@pytest.fixture(scope="session")
def backend(pytestconfig: pytest.Config) -> Backend:
    return pytestconfig.stash[BACKEND]


@pytest.fixture(scope="session")
def examples(pytestconfig: pytest.Config) -> int:
    return int(pytestconfig.getoption("--examples"))


@pytest.fixture(scope="session")
def draw(pytestconfig: pytest.Config) -> Draw:
    return pytestconfig.stash[DRAW]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Processes are started where the backend's class can join them."""
    backend = config.stash.get(BACKEND, None)
    return True if collection_path.name == "test_collectives.py" and not isinstance(type(backend), Joining) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each check that means something in this dtype; a known gap is a strict expected failure."""
    backend = metafunc.config.stash.get(BACKEND, None)
    if backend is None:
        raise pytest.UsageError("name the backend to test: --backend NAME (see `portgnn backends`)")
    checks = [check for check in (*CHECKS, *metafunc.config.stash[NETWORKS]) if backend.dtype in check.dtypes]
    if "drawn" in metafunc.fixturenames:
        metafunc.parametrize("drawn", [_param(backend, check) for check in checks if check.full is None])
    if "fixed" in metafunc.fixturenames:
        drawn = metafunc.config.stash[DRAW]
        epochs = int(metafunc.config.getoption("--epochs"))
        metafunc.parametrize(
            ("fixed", "case"),
            [_param(backend, check, case, epochs) for check in checks for case in check.all_of(drawn)],
        )

    if "smooth" in metafunc.fixturenames or "tie" in metafunc.fixturenames:
        what = "smooth" if "smooth" in metafunc.fixturenames else "tie"
        given: tuple[Any, ...] = GRADIENT_CASES if what == "smooth" else (*TIES, *at_the_edge(backend.dtype))
        metafunc.parametrize(what, [_gradient_param(backend, case) for case in given if is_held_to(backend, case.name)])


def is_held_to(backend: Backend, name: str) -> bool:
    """bfloat16's rounding would hide what these look for."""
    return backend.dtype != "bfloat16" and (hasattr(backend.xp, "__array_api_version__") or name in LEAST)


def _gradient_param(backend: Backend, case: Any) -> object:
    expected = gap(backend, f"gradient.{case.name}")
    marks = [pytest.mark.xfail(reason=expected.reason, strict=True)] if expected else []
    return pytest.param(case, id=case.name, marks=marks)


def _param(backend: Backend, check: Check, case: object = None, epochs: int = 200) -> object:
    expected = gap(backend, check.name)
    marks = [pytest.mark.xfail(reason=expected.reason, strict=True)] if expected else []
    if case is None:
        return pytest.param(check, id=check.name, marks=marks)
    if isinstance(case, Recipe):
        return pytest.param(check, replace(case, epochs=min(case.epochs, epochs)), id=check.name, marks=marks)
    return pytest.param(check, case, id=f"{check.name}-{case}", marks=marks)
