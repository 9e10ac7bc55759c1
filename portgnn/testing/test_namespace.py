"""Names, signatures and dtypes of an `xp` that says it is the array API standard's (it has `__array_api_version__`).

Its values are checks of `portgnn verify` (`xp.*`), which run here too; its gradients stand in `test_gradients`.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portgnn.protocol import Backend
from portgnn.testing import _standard_names as standard
from portgnn.verification.gaps import gap


@pytest.fixture(autouse=True)
def _held_to_it(backend: Backend, request: pytest.FixtureRequest) -> None:
    if not hasattr(backend.xp, "__array_api_version__"):
        pytest.skip("xp has no __array_api_version__, so that it need not be the standard's")
    expected = gap(backend, f"namespace.{request.function.__name__.removeprefix('test_')}")
    if expected:
        request.applymarker(pytest.mark.xfail(reason=expected.reason, strict=True))


def test_names(backend: Backend) -> None:
    missing = standard.missing(backend.xp)
    assert not missing, f"xp lacks {', '.join(missing)}"


def test_signatures(backend: Backend) -> None:
    wrong = standard.wrong_signatures(backend.xp)
    assert not wrong, "; ".join(wrong)


def test_dtypes_of_two(backend: Backend, examples: int) -> None:
    names = st.sampled_from(standard.dtypes_of(backend.xp))

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(names, names)
    def holds(a: str, b: str) -> None:
        fault = standard.promotion_fault(backend.xp, a, b)
        assert fault is None, fault

    holds()
