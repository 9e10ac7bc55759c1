"""What a recipe makes of node features: stored sparse or dense, and normalised by one of three rules.

`row` divides each row by its sum (Kipf & Welling 2017, section 5.1): for counts, whose sum is a size. `standardize`
takes each column to mean 0 and standard deviation 1 over all nodes of the training graph. `none` leaves features as
they are. `auto` is `row` where no feature is negative and `none` otherwise: a row of z-scores or of an embedding sums
to anything, often to next to nothing, and dividing by that turns signs and makes outliers of ordinary nodes.

A rule is settled once, on the training graph, and travels with the model: what is right for a graph depends on what
the network was trained on, and not on that graph's own signs or means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.errors import GraphError
from portgnn.graphs.graph import Features, Graph, canonical_csr
from portgnn.presets import Config

SPARSE_BELOW = 0.1
"""Features with a smaller share of non-zeros are kept sparse: measured on Cora (0.013) and on random
features, a CSR product beats the dense one up to about this density on a CPU."""
BLOCK = 1 << 20
"""Values of the features that are looked at together."""
LARGEST = 1e300
"""Beyond it, differences of features could overflow."""
TINY = 2.0**-900
"""Sums of rows below it are looked at: 1/x overflows below 2**-1024, and a few bits above numbers lose digits."""
LEAST = 2.0**-100
"""The smallest sum, as a share of a row's largest value, that a row is divided by: rounding leaves 2**-53 of it."""


class OnDisk(Protocol):
    """Features that are read from files, some rows at a time."""

    @property
    def name(self) -> str: ...
    @property
    def num_nodes(self) -> int: ...
    @property
    def num_features(self) -> int: ...
    @property
    def feature_names(self) -> tuple[str, ...]: ...
    @property
    def sparse_features(self) -> bool: ...

    def feature_rows(self, nodes: NDArray[np.int64]) -> Features:
        """The nodes' rows as they are stored; nodes ascending."""


Featured: TypeAlias = Graph | OnDisk


@dataclass(frozen=True, eq=False)
class Moments:
    """What `standardize` takes from each column and divides it by: float64 [f], of all nodes of a training graph.

    mean: None where columns are not centred, since sparse features would not be sparse any more. scale: population
    standard deviations, 1 for a column that is constant.
    """

    mean: NDArray[np.float64] | None
    scale: NDArray[np.float64]

    def applied(self, features: Features, columns: slice = slice(None)) -> Features:
        """The features [rows, columns], standardised; float64, sparse where they are and columns are not centred.

        columns: which of the columns these are. Raises GraphError for a value that leaves what float64 holds.
        """
        scale = self.scale[columns]
        with np.errstate(over="ignore"):
            if self.mean is None and isinstance(features, sp.csr_array):
                done: Any = features.astype(np.float64)
                values = done.data = done.data / scale[done.indices]
            else:
                dense = features.toarray() if isinstance(features, sp.csr_array) else features
                done = values = (dense if self.mean is None else dense - self.mean[columns]) / scale
        if not np.isfinite(values).all():
            raise GraphError(
                "the features are too far from those that the model was trained on: standardised, they leave what "
                "float64 holds"
            )
        standardised: Features = done
        return standardised


def settled(graph: Featured, config: Config, moments: Moments | None = None) -> tuple[Config, Moments | None]:
    """The recipe with the rule that it comes to on this training graph, and what that rule needs of the graph.

    moments: those of the training graph where this is another. Raises GraphError where a rule cannot be followed.
    """
    if config.normalize_features == "auto":
        config = replace(config, normalize_features="none" if _negative_columns(graph).any() else "row")
    if config.normalize_features == "standardize" and moments is None:
        if isinstance(graph, Graph):
            moments = moments_of(graph, form_of(graph.features, config.features) == "sparse")
        else:
            moments = moments_of(graph, graph.sparse_features)
    return config, moments


def explained(graph: Featured, config: Config) -> tuple[Config, Moments | None, str]:
    """What `settled` gives, and in one line what that makes of the features and why; "" where that is plain."""
    rule = config.normalize_features
    if rule == "standardize":
        config, moments = settled(graph, config)
        assert moments is not None
        if moments.mean is not None:
            return config, moments, "features: columns standardised by mean and deviation over all nodes of this graph"
        text = "features: columns divided by their deviation over all nodes of this graph, and not centred, since they"
        return config, moments, f"{text} are sparse; --features dense centres them too"
    if rule == "none":
        return config, None, ""
    negative = np.flatnonzero(_negative_columns(graph))
    if rule == "auto":
        config = replace(config, normalize_features="none" if len(negative) else "row")
    return config, None, _reason(graph, rule, negative)


def _reason(graph: Featured, rule: str, negative: NDArray[np.int64]) -> str:
    """negative: the columns that hold negative values."""
    if not len(negative):
        return "features: each row divided by its sum (auto), since none is negative" if rule == "auto" else ""
    if len(negative) == 1:
        some = f"{_column(graph, negative[0])} holds"
    else:
        some = f"{len(negative)} of {graph.num_features} columns hold"
    if rule == "auto":
        return (
            f"features: left as they are (auto), since {some} negative values, and a row's sum then says nothing of "
            "its size; --normalize-features standardize gives columns mean 0 and deviation 1"
        )
    return (
        f"features: each row divided by its sum, as asked, although {some} negative values: where a sum is near 0 "
        "rows blow up, and where it is below they change sign; --normalize-features auto leaves them alone"
    )


def normalized(features: Features, rule: str, moments: Moments | None) -> Features:
    """Some rows of the features [rows, f] by a settled rule.

    Raises GraphError where one cannot be followed.
    """
    if rule == "row":
        return row_normalized(features)
    return features if moments is None else moments.applied(features)


def row_normalized(features: Features) -> Features:
    """Each row divided by its sum (Kipf & Welling 2017, section 5.1); rows that sum to zero stay as they are.

    Raises GraphError where positive and negative values leave a sum too small to divide by.
    """
    features, scale = row_scaled(features)
    if isinstance(features, sp.csr_array):
        scaled = features.astype(np.float64)
        scaled.data *= np.repeat(scale, np.diff(scaled.indptr))
        return scaled
    return np.asarray(features * scale[:, None])


def row_scaled(features: Features) -> tuple[Features, NDArray[np.float64]]:
    """Features and what to multiply each of their rows by, [n], so that it sums to 1, or 1 where it sums to 0.

    They are those that were given, but for rows so large or small that the sum or its reciprocal overflows: these are
    times a power of two, which changes no quotient. Raises GraphError as `row_normalized` does.
    """
    sums = _row_sums(features)
    # Not rows that sum to 0: they are all zeros, or stay as they are.
    rare = np.flatnonzero(~np.isfinite(sums) | ((np.abs(sums) < TINY) & (sums != 0)))
    if len(rare):
        shift = -np.frexp(_row_sizes(features[rare]))[1]
        within = _row_sums(_shifted(features[rare], shift))
        shift[within == 0] = 0
        short = np.flatnonzero((within != 0) & (np.abs(within) < LEAST))
        if len(short):
            raise GraphError(
                f"positive and negative features of one row sum to {sums[rare[short[0]]]:.3g}, and cannot be divided "
                "by that; take --normalize-features standardize or none"
            )
        sums[rare] = within
        shifts = np.zeros(len(sums), dtype=shift.dtype)
        shifts[rare] = shift
        features = _shifted(features, shifts)
    return features, np.divide(1.0, sums, out=np.ones_like(sums), where=sums != 0)


def _shifted(features: Features, shift: NDArray[np.integer]) -> Features:
    """Each row times two to the power of its shift; float64."""
    if isinstance(features, sp.csr_array):
        scaled = features.astype(np.float64)
        scaled.data = np.ldexp(scaled.data, np.repeat(shift, np.diff(scaled.indptr)))
        return scaled
    return np.asarray(np.ldexp(np.asarray(features, dtype=np.float64), shift[:, None]))


def moments_of(graph: Featured, sparse: bool) -> Moments:
    """Means and deviations of all columns over all nodes, in float64, by blocks of rows of a fixed size.

    sparse: columns are not centred. Three passes: what each column spans, then mean and squared deviations of its
    values as shares of that, so that neither large nor tiny columns lose digits. The blocks, and with them the last
    bit, are the same for a graph in memory and on disk, in one process and in many.
    Raises GraphError for a column whose values are too large.
    """
    low, high = np.full(graph.num_features, np.inf), np.full(graph.num_features, -np.inf)
    for part in _blocks(graph, sparse):
        below, above = _range(part)
        low, high = np.minimum(low, below), np.maximum(high, above)
    beyond = np.flatnonzero(np.maximum(high, -low) > LARGEST)
    if len(beyond):
        raise GraphError(
            f"{_column(graph, beyond[0])} of {graph.name} goes from {low[beyond[0]]:.3g} to {high[beyond[0]]:.3g}, too "
            f"large to standardise (at most {LARGEST:g}); scale it first"
        )
    if sparse:
        return _sparse_moments(graph, np.maximum(high, -low))
    span = np.where(high > low, high - low, 1.0)
    total = np.zeros(graph.num_features)
    for part in _blocks(graph, False):
        total += ((part - low) / span).sum(axis=0)
    mean = total / graph.num_nodes
    squares = np.zeros(graph.num_features)
    for part in _blocks(graph, False):
        squares += (((part - low) / span - mean) ** 2).sum(axis=0)
    scale = span * np.sqrt(squares / graph.num_nodes)
    # A span of which a deviation is nothing in float64 is that of a constant column too.
    return Moments(low + span * mean, np.where((high > low) & (scale > 0), scale, 1.0))


def _sparse_moments(graph: Featured, size: NDArray[np.float64]) -> Moments:
    """Deviations about the mean, zeros counted. size: the largest absolute value of each column."""
    n, width = graph.num_nodes, graph.num_features
    size = np.where(size > 0, size, 1.0)
    total, stored, squares = np.zeros(width), np.zeros(width), np.zeros(width)
    for part in _blocks(graph, True):
        total += np.bincount(part.indices, part.data / size[part.indices], width)
        stored += np.bincount(part.indices, minlength=width)
    mean = total / n
    for part in _blocks(graph, True):
        squares += np.bincount(part.indices, (part.data / size[part.indices] - mean[part.indices]) ** 2, width)
    scale = size * np.sqrt((squares + (n - stored) * mean**2) / n)
    return Moments(None, np.where(scale > 0, scale, 1.0))


def in_form(features: Features, form: str) -> Features:
    """The features "sparse" or "dense", or by their density where the form is "auto"."""
    if form_of(features, form) == "sparse":
        return canonical_csr(features)
    return features.toarray() if isinstance(features, sp.csr_array) else features


def form_of(features: Features, form: str) -> str:
    """ "sparse" or "dense", where the recipe may leave it to their density."""
    if form != "auto":
        return form
    stored = features.nnz if isinstance(features, sp.csr_array) else np.count_nonzero(features)
    return "sparse" if stored < SPARSE_BELOW * features.shape[0] * features.shape[1] else "dense"


def _stored_blocks(graph: Featured) -> Iterator[Any]:
    """All rows of the features as they are stored, about BLOCK values at a time."""
    rows = max(BLOCK // graph.num_features, 1)
    for start in range(0, graph.num_nodes, rows):
        end = min(start + rows, graph.num_nodes)
        yield graph.features[start:end] if isinstance(graph, Graph) else graph.feature_rows(np.arange(start, end))


def _blocks(graph: Featured, sparse: bool) -> Iterator[Any]:
    """The same rows as CSR or dense, in float64."""
    for part in _stored_blocks(graph):
        if sparse:
            yield part.astype(np.float64) if isinstance(part, sp.csr_array) else canonical_csr(part)
        else:
            dense = part.toarray() if isinstance(part, sp.csr_array) else part
            yield np.ascontiguousarray(dense, dtype=np.float64)


def _negative_columns(graph: Featured) -> NDArray[np.bool_]:
    """Whether each column holds a negative value, [f]."""
    found = np.zeros(graph.num_features, dtype=bool)
    for part in _stored_blocks(graph):
        if isinstance(part, sp.csr_array):
            found[part.indices[part.data < 0]] = True
        else:
            found |= (part < 0).any(axis=0)
    return found


def _range(part: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smallest and the largest value of each column; zeros that are not stored count."""
    if isinstance(part, sp.csr_array):
        return part.min(axis=0).toarray().ravel(), part.max(axis=0).toarray().ravel()
    return part.min(axis=0), part.max(axis=0)


def _row_sums(features: Features) -> NDArray[np.float64]:
    """Of each row, [n], in float64 whatever the features are, and with the same bits for a row wherever it stands."""
    with np.errstate(over="ignore"):
        if isinstance(features, sp.csr_array):
            return np.asarray(features.astype(np.float64, copy=False).sum(axis=1)).ravel()
        rows = max(BLOCK // max(features.shape[1], 1), 1)
        sums = np.empty(features.shape[0])
        for start in range(0, len(sums), rows):
            part = np.ascontiguousarray(features[start : start + rows], dtype=np.float64)
            sums[start : start + rows] = part.sum(axis=1)
        return sums


def _row_sizes(features: Features) -> NDArray[np.float64]:
    """The largest absolute value of each row, [n]."""
    if isinstance(features, sp.csr_array):
        found = np.maximum(features.max(axis=1).toarray().ravel(), -features.min(axis=1).toarray().ravel())
    else:
        found = np.maximum(features.max(axis=1), -features.min(axis=1))
    return np.asarray(found, dtype=np.float64)


def _column(graph: Featured, column: Any) -> str:
    return f"column {graph.feature_names[column][:40]!r}" if graph.feature_names else f"column {int(column)}"
