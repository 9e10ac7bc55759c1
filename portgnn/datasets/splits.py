"""Splits by a short text, as `--split` takes it: the given one, a number of each class, shares, or folds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import ConfigError, GraphError
from portgnn.graphs.checks import labelled
from portgnn.graphs.graph import UNLABELLED, Graph
from portgnn.graphs.sets import GraphSet

FORMS = (
    "given, public, stored:K, random:TRAIN:VAL[:SEED] (of each class), fraction:TRAIN:VAL[:SEED], folds:FOLDS:K[:SEED] "
    "or fair:FOLDS:K[:SEED]"
)


Splittable = TypeVar("Splittable", bound=Graph | GraphSet)


def with_split(graph: Splittable, split: str) -> Splittable:
    """The graph, or the set of graphs, with the split that a text asks for; its notes say which.

    split: of the nodes of a graph, or the graphs of a set,
        given, public: the split that came with it, unchanged.
        stored:K: the one of number K, from 0, of the splits that the data come with.
        random:T:V: T of each class train, V of each validate, all others with a label test, as in
            O. Shchur, M. Mumme, A. Bojchevski and S. Günnemann, "Pitfalls of graph neural network
            evaluation", 2018, section 3, who take 20 and 30.
        fraction:T:V: shares T and V of those with a label train and validate, the others test.
        folds:N:K: of N folds with equal shares of each class, number K (from 0) tests, the next one validates (of the
            last, number 0), and the others train.
        fair:N:K: fold K of the same folds tests; of the others, a tenth of each class validates and the rest trains, as
            F. Errica, M. Podda, D. Bacciu and A. Micheli, "A fair comparison of graph neural networks for graph
            classification", 2020, section 4, choose hyperparameters within each outer fold.
        All but the first two take a seed as a last part (0 where there is none): the same seed gives the same split on
        every machine and with every NumPy.

    Raises ConfigError for a text that is none of these, GraphError where there are too few labels for it.
    """
    kind, _, rest = split.partition(":")
    if kind in ("given", "public") and not rest:
        if graph.train is None:
            example = "folds:10:0" if isinstance(graph, GraphSet) else "random:20:30"
            raise GraphError(
                f"{graph.name} comes with no split; ask for one, for example {example} or fraction:0.6:0.2"
            )
        return graph
    if kind == "stored" and rest:
        number = _whole(split, rest)
        if isinstance(graph, Graph):
            return cast(Splittable, graph.with_stored_split(number))
        raise GraphError(f"{graph.name} is a set of graphs and has no stored splits; ask for folds:10:{number}")
    numbers = rest.split(":")
    if kind not in _PARTS or len(numbers) not in (2, 3):
        raise ConfigError(f"unknown split {split!r}; known: {FORMS}")
    seed = _seed(split, numbers[2]) if len(numbers) == 3 else 0
    members = _Members.of(graph)
    train, val, test = _PARTS[kind](members, split, numbers, _order(len(members.labels), seed))
    note = (
        f"split {kind}:{numbers[0]}:{numbers[1]}, seed {seed}: "
        f"{len(train)}/{len(val)}/{len(test)} {members.noun} train/validate/test"
    )
    # An empty validation or test part is no split to the rest of portgnn.
    parts: dict[str, Any] = {"train": train, "val": val if len(val) else None, "test": test if len(test) else None}
    return replace(graph, **parts, notes=(*graph.notes, note))


@dataclass(frozen=True, eq=False)
class _Members:
    """What is split: labels [n], UNLABELLED where one has none; the classes' names; what the members are called."""

    name: str
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    noun: str

    @classmethod
    def of(cls, graph: Graph | GraphSet) -> _Members:
        """Raises GraphError where nothing is known of any. What has targets is of one class."""
        labels = graph.known if isinstance(graph, GraphSet) else labelled(graph.labels, graph.targets)
        noun = "graphs" if isinstance(graph, GraphSet) else "nodes"
        if labels is None or (labels == UNLABELLED).all():
            raise GraphError(f"{graph.name} has no labels to split by")
        return cls(graph.name, labels, graph.class_names or ("with a target",), noun)


def _order(n: int, seed: int) -> NDArray[np.int64]:
    """[n]: all members in a random order, of Philox's raw words, which NumPy never changes (NEP 19)."""
    words = np.asarray(np.random.Philox(key=seed).random_raw(n), dtype=np.uint64)
    return np.argsort(words, kind="stable").astype(np.int64)


_Parts = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def _by_class(of: _Members, split: str, numbers: list[str], order: NDArray[np.int64]) -> _Parts:
    counts = [_whole(split, text) for text in numbers[:2]]
    if counts[0] < 1:
        raise ConfigError(f"split {split!r} trains on nothing; {FORMS}")
    train, val, test = [], [], []
    for number, name in enumerate(of.classes):
        members = order[of.labels[order] == number]
        if len(members) < sum(counts):
            raise GraphError(
                f"class {name!r} of {of.name} has {len(members)} labelled {of.noun}, and {split} needs "
                f"{sum(counts)} of each class; ask for fewer, or for fraction:0.6:0.2"
            )
        train.append(members[: counts[0]])
        val.append(members[counts[0] : sum(counts)])
        test.append(members[sum(counts) :])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(val)), np.sort(np.concatenate(test))


def _by_share(of: _Members, split: str, numbers: list[str], order: NDArray[np.int64]) -> _Parts:
    shares = [_share(split, text) for text in numbers[:2]]
    if sum(shares) > 1:
        raise ConfigError(f"split {split!r}: the shares add up to {sum(shares):g}, which is more than 1")
    known = order[of.labels[order] != UNLABELLED]
    first, second = (round(len(known) * share) for share in (shares[0], sum(shares)))
    if first < 1:
        raise GraphError(f"{split} of the {len(known)} labelled {of.noun} of {of.name} trains on no node")
    return np.sort(known[:first]), np.sort(known[first:second]), np.sort(known[second:])


def _in_folds(of: _Members, split: str, numbers: list[str], order: NDArray[np.int64]) -> _Parts:
    count, chosen = _fold(split, numbers, 3)
    fold = _folds(of, split, count, order)
    parts = fold >= 0, fold == (chosen + 1) % count, fold == chosen
    return np.flatnonzero(parts[0] & ~parts[1] & ~parts[2]), np.flatnonzero(parts[1]), np.flatnonzero(parts[2])


def _fairly(of: _Members, split: str, numbers: list[str], order: NDArray[np.int64]) -> _Parts:
    count, chosen = _fold(split, numbers, 2)
    fold = _folds(of, split, count, order)
    left = order[(fold[order] >= 0) & (fold[order] != chosen)]
    val = np.zeros(len(fold), dtype=bool)
    for number in range(len(of.classes)):
        members = left[of.labels[left] == number]
        val[members[: max(round(len(members) / 10), 1)]] = True
    return np.flatnonzero((fold >= 0) & (fold != chosen) & ~val), np.flatnonzero(val), np.flatnonzero(fold == chosen)


def _fold(split: str, numbers: list[str], least: int) -> tuple[int, int]:
    count, chosen = (_whole(split, text) for text in numbers[:2])
    if count < least or chosen >= count:
        raise ConfigError(f"split {split!r} needs {least} folds at least, and one of them, from 0; {FORMS}")
    return count, chosen


def _folds(of: _Members, split: str, count: int, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """[n]: the fold of each member, -1 where it has no label. Each class is dealt out to the folds in turn, and the
    next one from where the last one ended, so that folds are as even as they can be.
    """
    fold = np.full(len(of.labels), -1, dtype=np.int64)
    dealt = 0
    for number, name in enumerate(of.classes):
        members = order[of.labels[order] == number]
        if len(members) < count:
            raise GraphError(
                f"class {name!r} of {of.name} has {len(members)} labelled {of.noun}, and {split} needs {count}, one a "
                "fold; ask for fewer folds"
            )
        fold[members] = (dealt + np.arange(len(members))) % count
        dealt += len(members)
    return fold


_PARTS: dict[str, Callable[[_Members, str, list[str], NDArray[np.int64]], _Parts]] = {
    "random": _by_class,
    "fraction": _by_share,
    "folds": _in_folds,
    "fair": _fairly,
}


def _seed(split: str, text: str) -> int:
    seed = _whole(split, text)
    if seed >= 2**128:
        raise ConfigError(f"split {split!r}: the seed must be below 2**128")
    return seed


def _whole(split: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 40):
        raise ConfigError(f"split {split!r}: {text!r} is not a whole number; {FORMS}")
    return int(text)


def _share(split: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = float("nan")
    if not 0 <= share <= 1:
        raise ConfigError(f"split {split!r}: {text!r} is not a share between 0 and 1; {FORMS}")
    return share
