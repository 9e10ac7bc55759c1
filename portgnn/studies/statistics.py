"""What several runs say together, and whether two rows differ: Student's interval and Wilcoxon's signed ranks.

Runs on one split of the nodes are not independent of each other. So where a study has several splits, its units are the
splits, each with the mean over its seeds; where it has one, the seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """n: runs. mean, std: of them; std is the sample's, None of one run. units: what the interval counts.

    low, high: the 95 % interval of the mean; None of one unit.
    """

    n: int
    mean: float
    std: float | None
    units: int
    low: float | None
    high: float | None


def summary(values: Mapping[Hashable, Sequence[float]]) -> Summary:
    """Of runs by unit, one at least."""
    runs = [value for each in values.values() for value in each]
    low, high = interval([statistics.fmean(each) for each in values.values()])
    std = statistics.stdev(runs) if len(runs) > 1 else None
    return Summary(len(runs), statistics.fmean(runs), std, len(values), low, high)


def interval(values: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """The 95 % interval of the mean, by Student's t: mean ± t s / sqrt(n)."""
    if len(values) < 2:
        return None, None
    from scipy.special import stdtrit

    mean, n = statistics.fmean(values), len(values)
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * statistics.stdev(values) / math.sqrt(n)
    return mean - half, mean + half


@dataclass(frozen=True)
class Comparison:
    """Of two rows over the units that both have. difference: of the means, the second's less the first's.

    low, high: its 95 % interval. p: that of the Wilcoxon signed-rank test, two-sided, zeros ranked (Pratt 1959); None
    of fewer than two units. p_holm: corrected for the number of comparisons of the study (Holm 1979).
    """

    first: int
    second: int
    units: int
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None = None


def compared(
    first: int, second: int, one: Mapping[Hashable, Sequence[float]], other: Mapping[Hashable, Sequence[float]]
) -> Comparison | None:
    """The two rows, by their numbers and values; None where they have no unit in common."""
    both = [unit for unit in one if unit in other]
    if not both:
        return None
    apart = [statistics.fmean(other[unit]) - statistics.fmean(one[unit]) for unit in both]
    low, high = interval(apart)
    return Comparison(first, second, len(both), statistics.fmean(apart), low, high, signed_ranks(apart))


def signed_ranks(differences: Sequence[float]) -> float | None:
    """The p-value; 1 where nothing differs at all."""
    if len(differences) < 2:
        return None
    if not any(differences):
        return 1.0
    from scipy.stats import wilcoxon

    # Rounding makes ties of equal differences unequal by their last bits, and ties have ranks of their own.
    rounded = [float(f"{value:.12g}") for value in differences]
    found: Any = wilcoxon(rounded, zero_method="pratt")
    return float(found.pvalue)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Corrected p-values: S. Holm, "A simple sequentially rejective multiple test procedure", 1979."""
    order = sorted((value, at) for at, value in enumerate(p) if value is not None)
    corrected: list[float | None] = [None] * len(p)
    most = 0.0
    for rank, (value, at) in enumerate(order):
        most = max(most, min(1.0, (len(order) - rank) * value))
        corrected[at] = most
    return corrected


@dataclass(frozen=True)
class Box:
    """Quartiles, and whiskers to the last value within 1.5 times the box beyond it (Tukey 1977)."""

    low: float
    q1: float
    median: float
    q3: float
    high: float


def box(values: Sequence[float]) -> Box:
    """Of one value at least."""
    ordered = sorted(values)
    q1, median, q3 = (_quantile(ordered, share) for share in (0.25, 0.5, 0.75))
    reach = 1.5 * (q3 - q1)
    inside = [value for value in ordered if q1 - reach <= value <= q3 + reach]
    return Box(min([*inside, q1]), q1, median, q3, max([*inside, q3]))


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Between the two values next to it, as NumPy's."""
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def median_curve(curves: Sequence[Sequence[float]]) -> list[float]:
    """The median of each epoch, up to the one that half of the runs reach."""
    lengths = sorted(map(len, curves), reverse=True)
    end = lengths[(len(lengths) - 1) // 2] if lengths else 0
    return [statistics.median(each[epoch] for each in curves if len(each) > epoch) for epoch in range(end)]
