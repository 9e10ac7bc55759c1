"""Metrics of an order, beside scikit-learn's and beside what a definition says pair by pair."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.metrics import roc_curve as sk_curve

from portgnn.errors import ConfigError, PortgnnError
from portgnn.tasks.ranking import average_precision, hits_at_k, mrr, roc_auc, roc_curve

Rank = Callable[..., float]


def _drawn(seed: int, rows: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of so many levels, so that most are equal to others where these are few, and both classes."""
    random = np.random.default_rng(seed)
    positive = random.random(rows) < 0.3
    positive[:2] = True, False
    return random.integers(0, levels, rows) / levels, positive


@pytest.mark.parametrize("levels", [1, 2, 5, 10**6])
@pytest.mark.parametrize("rows", [2, 3, 50, 2000])
def test_areas_are_those_of_scikit_learn(rows: int, levels: int) -> None:
    for seed in range(5):
        scores, positive = _drawn(seed, rows, levels)
        assert roc_auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores), abs=1e-13)
        assert average_precision(scores, positive) == pytest.approx(
            average_precision_score(positive, scores), abs=1e-13
        )


def test_small_orders_by_hand() -> None:
    assert roc_auc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]) == 3.5 / 4
    assert average_precision([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]) == (1 + 2 / 3) / 2
    assert roc_auc([3.0, 2.0, 1.0], [True, False, False]) == 1.0
    assert roc_auc([1.0, 2.0, 3.0], [True, False, False]) == 0.0
    assert mrr([2.0, 0.0], [1.0, 3.0]) == (1 / 2 + 1 / 3) / 2
    assert mrr([1.0], [[1.0, 1.0, 0.0]]) == 1 / 2  # first of three at best, third at worst
    assert hits_at_k([2.0, 0.0, 3.0], [1.0, 3.0], k=2) == 2 / 3
    assert hits_at_k([2.0, 0.0, 3.0], [1.0, 3.0], k=1) == 0.0
    assert hits_at_k([2.0, 0.0], [[1.0, 3.0], [-1.0, -2.0]], k=1) == 1 / 2


def test_scores_that_are_all_the_same_say_nothing() -> None:
    positive = np.array([True] * 3 + [False] * 7)
    same = np.zeros(10)
    assert roc_auc(same, positive) == 0.5
    assert average_precision(same, positive) == 0.3
    assert mrr(same[positive], same[~positive]) == 1 / 4.5
    assert hits_at_k(same[positive], same[~positive], k=7) == 0.0


def test_infinite_scores_stand_at_the_ends() -> None:
    scores, positive = [math.inf, 1.0, -math.inf, 0.0], [1, 0, 0, 1]
    assert roc_auc(scores, positive) == 3 / 4
    assert average_precision(scores, positive) == pytest.approx((1 + 2 / 3) / 2)
    assert mrr([math.inf, -math.inf], [0.0, -math.inf]) == (1 + 1 / 2.5) / 2


@pytest.mark.parametrize("levels", [3, 10**6])
def test_shared_negatives_are_ranked_as_those_of_each(levels: int) -> None:
    random = np.random.default_rng(3)
    positives, negatives = random.integers(0, levels, 40), random.integers(0, levels, 25)
    each = np.tile(negatives, (40, 1))
    ranks = [1 + (negatives > one).sum() + 0.5 * (negatives == one).sum() for one in positives]
    assert mrr(positives, negatives) == pytest.approx(np.mean(1 / np.array(ranks)), abs=1e-15)
    assert mrr(positives, negatives) == mrr(positives, each)
    for k in (1, 3, 25):
        hits = np.mean([(negatives >= one).sum() < k for one in positives])
        assert hits_at_k(positives, negatives, k) == hits_at_k(positives, each, k) == hits


@pytest.mark.parametrize(
    ("metric", "arguments"),
    [
        (roc_auc, ([1.0, 2.0], [1, 1])),
        (roc_auc, ([1.0, 2.0], [0, 0])),
        (roc_auc, ([], [])),
        (roc_auc, ([math.nan, 1.0], [1, 0])),
        (average_precision, ([1.0, 2.0], [0, 0])),
        (average_precision, ([], [])),
        (average_precision, ([math.nan, 1.0], [0, 1])),
        (mrr, ([], [1.0])),
        (mrr, ([1.0], [])),
        (mrr, ([1.0], [math.nan, 0.0])),
        (mrr, ([math.nan], [0.0])),
        (hits_at_k, ([], [1.0], 1)),
        (hits_at_k, ([math.nan], [1.0], 1)),
        (hits_at_k, ([2.0], [1.0, math.nan], 1)),
    ],
)
def test_what_is_not_defined_is_nan(metric: Rank, arguments: tuple[object, ...]) -> None:
    assert math.isnan(metric(*arguments))


def test_rows_of_one_class_alone_have_a_precision() -> None:
    assert average_precision([1.0, 2.0], [1, 1]) == 1.0


@pytest.mark.parametrize(
    ("metric", "arguments", "kind", "told"),
    [
        (roc_auc, ([1.0, 2.0], [1]), PortgnnError, "shape [2] and what is positive [1]"),
        (roc_auc, ([[1.0]], [[1]]), PortgnnError, "shape [1, 1]"),
        (average_precision, ([1.0, 2.0], [0, 2]), PortgnnError, "row 1 has 2"),
        (average_precision, ([1.0, 2.0], [math.nan, 1]), PortgnnError, "row 0 has nan"),
        (mrr, ([[1.0]], [1.0]), PortgnnError, "[1, 1] and [1]"),
        (mrr, ([1.0, 2.0], [[1.0]]), PortgnnError, "[2] and [1, 1]"),
        (
            hits_at_k,
            ([1.0], [1.0], 2),
            ConfigError,
            "Hits@2 needs 2 negatives at least, and there are 1;",
        ),
        (hits_at_k, ([1.0], [1.0], 0), ConfigError, "at least 1, not 0"),
    ],
)
def test_what_cannot_be_ranked_is_said_in_a_line(
    metric: Rank, arguments: tuple[object, ...], kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind) as raised:
        metric(*arguments)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_curve_is_scikit_learn_s_at_every_score() -> None:
    random = np.random.default_rng(1)
    for levels in (3, 1000):
        scores, positive = random.integers(0, levels, 50) / levels, random.random(50) < 0.4
        others, hits, _ = sk_curve(positive, scores, drop_intermediate=False)
        np.testing.assert_allclose(roc_curve(scores, positive), (others, hits), atol=1e-15)
    with pytest.raises(PortgnnError, match="a curve needs positives and negatives"):
        roc_curve([1.0, 2.0], [1, 1])
