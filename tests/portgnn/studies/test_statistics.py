"""Intervals, tests and boxes against SciPy, NumPy and figures from the literature."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from portgnn.studies.statistics import box, compared, holm, interval, median_curve, signed_ranks, summary

VALUES = [0.81, 0.82, 0.79, 0.83, 0.80, 0.815, 0.825]


def test_the_interval_is_scipys() -> None:
    low, high = stats.t.interval(0.95, len(VALUES) - 1, np.mean(VALUES), stats.sem(VALUES))
    assert interval(VALUES) == pytest.approx((low, high), rel=1e-12)
    assert interval([0.8]) == (None, None)


def test_units_are_what_is_independent() -> None:
    by_split = {"a": [0.8, 0.82], "b": [0.7, 0.74], "c": [0.9, 0.9]}
    found = summary(by_split)
    assert (found.n, found.units) == (6, 3)
    assert found.mean == pytest.approx(np.mean([0.8, 0.82, 0.7, 0.74, 0.9, 0.9]))
    assert found.std == pytest.approx(np.std([0.8, 0.82, 0.7, 0.74, 0.9, 0.9], ddof=1))
    assert (found.low, found.high) == pytest.approx(interval([0.81, 0.72, 0.9]))
    alone = summary({0: [0.5]})
    assert (alone.n, alone.mean, alone.std, alone.low) == (1, 0.5, None, None)


def test_the_test_is_wilcoxons_with_zeros_ranked() -> None:
    apart = [0.02, -0.01, 0.03, 0.0, 0.04, 0.05, -0.02, 0.06]
    assert signed_ranks(apart) == stats.wilcoxon(apart, zero_method="pratt").pvalue
    assert signed_ranks([0.0] * 5) == 1.0
    assert signed_ranks([0.1]) is None
    # Eight differences of one sign: 2 of the 2^8 signs are as far out.
    assert signed_ranks([0.01 * n for n in range(1, 9)]) == pytest.approx(2 / 2**8)


def test_ties_that_rounding_parted_are_ties() -> None:
    apart = [0.3 - 0.2, 0.2 - 0.1, 0.1, -0.1, 0.05]  # three of these are 0.1 but for their last bits
    assert signed_ranks(apart) == stats.wilcoxon([0.1, 0.1, 0.1, -0.1, 0.05], zero_method="pratt").pvalue


def test_rows_are_compared_over_the_units_that_both_have() -> None:
    one = {seed: [0.8 + 0.001 * seed] for seed in range(6)}
    other = {seed: [0.81 + 0.002 * seed] for seed in range(2, 9)}
    found = compared(0, 1, one, other)
    assert found is not None
    assert found.units == 4
    assert found.difference == pytest.approx(np.mean([0.01 + 0.001 * seed for seed in range(2, 6)]))
    assert found.p == pytest.approx(2 / 2**4)
    assert compared(0, 1, one, {"x": [1.0]}) is None


def test_holms_correction() -> None:
    # By hand, of Holm 1979: the smallest times 4, the next times 3, …, none below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


def test_boxes_are_numpys_quartiles() -> None:
    found = box([*VALUES, 0.5])
    assert (found.q1, found.median, found.q3) == pytest.approx(np.quantile([*VALUES, 0.5], [0.25, 0.5, 0.75]))
    assert (found.low, found.high) == (0.79, 0.83)  # 0.5 lies beyond the whisker
    one = box([0.7])
    assert (one.low, one.q1, one.median, one.q3, one.high) == (0.7,) * 5


def test_the_median_curve_ends_where_half_of_the_runs_do() -> None:
    assert median_curve([[1, 2, 3, 4], [3, 4, 5], [5, 6]]) == [3, 4, 4]
    assert median_curve([[1.0], [3.0, 5.0]]) == [2.0, 5.0]
    assert median_curve([]) == []
