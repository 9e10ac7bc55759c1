"""Metrics of an order: how far rows that count as positive stand above the others. In NumPy, on the host.

They need all scores at once, so no sum over rows that a device or a process could take gives them. Scores that are
equal are never put in an order of their own: each metric says what it makes of them. A metric is NaN where it is not
defined: without positives, without negatives (but for `average_precision`), and where a score is NaN and so stands
nowhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from portgnn.errors import ConfigError, PortgnnError

Floats = NDArray[np.float64]


def roc_auc(scores: ArrayLike, positive: ArrayLike) -> float:
    """The area under the curve of the receiver operating characteristic: how often a positive is above a negative.

    scores: [n] numbers. positive: [n], True or 1 where a row is positive. With average ranks r of the scores, counted
    from the lowest, P positives and N negatives: (sum of the positives' r - P (P + 1) / 2) / (P N), which is the
    Mann-Whitney U over P N; a positive and a negative with equal scores count a half (Hanley & McNeil 1982, The meaning
    and use of the area under a receiver operating characteristic curve; Fawcett 2006, An introduction to ROC analysis).

    Returns a number in [0, 1]; NaN where all rows are positive or none is. Raises PortgnnError for shapes that differ
    and for values of `positive` other than 0 and 1.
    """
    values, is_positive = _rows(scores, positive)
    positives = int(is_positive.sum())
    pairs = positives * (len(values) - positives)
    if not pairs or np.isnan(values).any():
        return float("nan")
    counts, in_group = _groups(values, is_positive)
    twice_ranks = 2 * np.cumsum(counts) - counts + 1  # of average ranks, so that sums are those of whole numbers
    return float(int((in_group * twice_ranks).sum()) - positives * (positives + 1)) / (2 * pairs)


def roc_curve(scores: ArrayLike, positive: ArrayLike) -> tuple[Floats, Floats]:
    """The curve over the area `roc_auc`: shares of the negatives, and of the positives, at or above each score.

    Both [t + 1] from 0 to 1, of t different scores; rows with equal scores are one step. Raises what `roc_auc` raises,
    and PortgnnError where all rows are positive or none is.
    """
    values, is_positive = _rows(scores, positive)
    positives = int(is_positive.sum())
    if not 0 < positives < len(values):
        raise PortgnnError("a curve needs positives and negatives")
    counts, in_group = (each[::-1] for each in _groups(values, is_positive))
    found = [np.concatenate([[0.0], np.cumsum(each)]) for each in (counts - in_group, in_group)]
    return found[0] / (len(values) - positives), found[1] / positives


def average_precision(scores: ArrayLike, positive: ArrayLike) -> float:
    """The mean, over the positives, of the precision among the rows that have their score or a higher one.

    scores: [n] numbers. positive: [n], True or 1 where a row is positive. The sum over thresholds t of
    (R_t - R_{t-1}) P_t with precision P and recall R at each score that there is, from the highest down, so that rows
    with equal scores enter together and nothing is interpolated between thresholds (Manning, Raghavan & Schütze 2008,
    Introduction to information retrieval, section 8.4; Davis & Goadrich 2006, The relationship between precision-recall
    and ROC curves, on why not to interpolate).

    Returns a number in (0, 1]; NaN where no row is positive. Raises what `roc_auc` raises.
    """
    values, is_positive = _rows(scores, positive)
    positives = int(is_positive.sum())
    if not positives or np.isnan(values).any():
        return float("nan")
    counts, in_group = (each[::-1] for each in _groups(values, is_positive))
    precision = np.cumsum(in_group) / np.cumsum(counts)
    return float((in_group * precision).sum() / positives)


def mrr(positives: ArrayLike, negatives: ArrayLike) -> float:
    """The mean reciprocal rank of positives, each among its negatives.

    positives: [p] scores. negatives: [p, n], those of each positive; or [n], the same for all. A rank is 1 and the
    number of negatives that score higher and half of those that score the same, which is the mean of the best and the
    worst rank that an order of equal scores could give (Voorhees 1999, The TREC-8 question answering track report;
    the evaluator of Hu et al. 2020, Open Graph Benchmark, ranks so).

    Returns a number in (0, 1]; NaN without positives or negatives. Raises PortgnnError for shapes that do not fit.
    """
    scores, others = _candidates(positives, negatives)
    if not len(scores) or not others.shape[-1] or np.isnan(scores).any() or np.isnan(others).any():
        return float("nan")
    above, not_below = _above(scores, others)
    return float((1.0 / (1.0 + 0.5 * (above + not_below))).mean())


def hits_at_k(positives: ArrayLike, negatives: ArrayLike, k: int) -> float:
    """The share of positives that score higher than the k-th highest of their negatives.

    positives: [p] scores. negatives: [p, n], those of each positive; or [n], the same for all. A positive that scores
    as much as that negative is no hit, so that a model which scores everything the same has none (Hu et al. 2020, Open
    Graph Benchmark, Hits@K; Bordes et al. 2013, Translating embeddings for modeling multi-relational data, Hits@10).

    Returns a number in [0, 1]; NaN without positives. Raises ConfigError for k below 1 or above the number of
    negatives, and PortgnnError for shapes that do not fit.
    """
    scores, others = _candidates(positives, negatives)
    count = others.shape[-1]
    if k < 1:
        raise ConfigError(f"Hits@K needs a K of at least 1, not {k}")
    if k > count:
        raise ConfigError(f"Hits@{k} needs {k} negatives at least, and there are {count}; take a smaller K")
    if not len(scores) or np.isnan(scores).any() or np.isnan(others).any():
        return float("nan")
    return float((scores > np.partition(others, count - k, axis=-1)[..., count - k]).mean())


def _rows(scores: ArrayLike, positive: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    values, given = np.asarray(scores, dtype=np.float64), np.asarray(positive)
    if values.ndim != 1 or given.shape != values.shape:
        raise PortgnnError(
            f"a score and a 0 or 1 are needed for each row, in two vectors of one length; the scores have the shape "
            f"{list(values.shape)} and what is positive {list(given.shape)}"
        )
    wrong = ~np.isin(given, (0, 1))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise PortgnnError(f"what is positive is said by 0 and 1, or False and True; row {at} has {given[at]}")
    return values, given.astype(bool)


def _groups(values: Floats, is_positive: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each score that there is, from the lowest up: how many rows have it, and how many positives."""
    order = np.argsort(values)
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    counts = np.diff(np.r_[starts, len(values)])
    return counts, np.add.reduceat(is_positive[order].astype(np.int64), starts)


def _candidates(positives: ArrayLike, negatives: ArrayLike) -> tuple[Floats, Floats]:
    scores, others = np.asarray(positives, dtype=np.float64), np.asarray(negatives, dtype=np.float64)
    if scores.ndim != 1 or others.ndim not in (1, 2) or (others.ndim == 2 and len(others) != len(scores)):
        raise PortgnnError(
            "positives are a vector of scores, and negatives a vector or a matrix with a row for each positive; they "
            f"have the shapes {list(scores.shape)} and {list(others.shape)}"
        )
    return scores, others


def _above(scores: Floats, others: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each positive, how many of its negatives score higher, and how many at least as high."""
    if others.ndim == 2:
        return (others > scores[:, None]).sum(axis=1), (others >= scores[:, None]).sum(axis=1)
    ordered = np.sort(others)
    above, not_below = (len(ordered) - np.searchsorted(ordered, scores, side=side) for side in ("right", "left"))
    return above, not_below
