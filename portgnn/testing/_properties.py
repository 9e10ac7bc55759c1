"""Checks as properties: for every case that can be drawn, the error stays within the tolerance."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, example, given, seed, settings
from hypothesis import strategies as st

from portgnn.protocol import Backend
from portgnn.verification.cases import ADJACENCIES, FORMS, PRESETS, Case, Recipe
from portgnn.verification.check import Check
from portgnn.verification.draw import Draw
from portgnn.verification.tolerances import tolerance

SEEDS = st.integers(0, 2**32 - 1)

# Sizes come from a short list: frameworks that compile for each shape would spend the run compiling.
CASES = st.builds(
    Case,
    rows=st.sampled_from((1, 2, 3, 8, 33, 63, 64, 65, 127, 128, 129)),
    inner=st.sampled_from((1, 2, 5, 8, 40)),
    columns=st.sampled_from((1, 2, 7, 16, 63, 64, 65, 127, 128, 129)),
    density=st.sampled_from((0.0, 0.05, 0.3, 1.0)),
    seed=SEEDS,
)
CASE_EXAMPLES = (
    Case(1, 1, 1, density=1.0),  # one of everything
    Case(8, 8, 2, density=0.0),  # no stored value
    Case(1, 40, 1),  # one row
    Case(33, 1, 16),  # one inner column
    Case(8, 8, 7, density=0.1, seed=1),  # square, not symmetric, with empty rows
)

RECIPES = st.builds(
    Recipe,
    preset=st.sampled_from(PRESETS),
    adjacency=st.sampled_from(ADJACENCIES),
    features=st.sampled_from(FORMS),
    nodes=st.sampled_from((1, 2, 5, 24)),
    width=st.sampled_from((1, 3, 17)),
    classes=st.sampled_from((1, 2, 6)),
    hidden=st.sampled_from((1, 4)),
    seed=SEEDS,
)
RECIPE_EXAMPLES = (
    Recipe("kipf", nodes=1, width=1, classes=1, hidden=1),
    Recipe("pyg", features="dense", nodes=24, width=17, classes=6, hidden=4),
    Recipe("article", "dense", "dense", nodes=24, width=17, classes=1, hidden=4),
)


def require(backend: Backend, check: Check, case: object) -> None:
    """Raises AssertionError where a check's error on one case exceeds its tolerance."""
    allowed = tolerance(check.name, backend.dtype, backend.device)
    measured = check(backend, case)
    if not measured.error <= allowed.value:
        because = measured.explain()
        raise AssertionError(
            f"{check.name} on {case} is off by {measured.error:.3g}; {allowed.value:g} is allowed"
            f"{f' ({allowed.reason})' if allowed.reason else ''}.{f' {because}.' if because else ''}"
        )


def hold(backend: Backend, check: Check, examples: int, draw: Draw, *, shrink: bool = True) -> None:
    """Requires a check on its own cases, on edge cases, and on `examples` drawn ones; all follow from the draw."""
    own = check.of(draw)
    recipes = isinstance(own[0], Recipe)
    phases = (Phase.explicit, Phase.generate, *((Phase.shrink,) if shrink else ()))

    @seed(draw.seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    @given(RECIPES if recipes else CASES)
    def holds(case: object) -> None:
        require(backend, check, case)

    for case in (*(RECIPE_EXAMPLES if recipes else CASE_EXAMPLES), *own):
        holds = example(case)(holds)
    holds()
