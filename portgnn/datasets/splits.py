"""Splits by a short text, as `--split` takes it: the given one, a number of nodes a class, or fractions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import ConfigError, GraphError
from portgnn.graphs.graph import UNLABELLED, Graph

FORMS = "given, public, stored:K, random:TRAIN:VAL[:SEED] (nodes a class) or fraction:TRAIN:VAL[:SEED]"


def with_split(graph: Graph, split: str) -> Graph:
    """The graph with the split that a text asks for; the graph's notes say which.

    split:
        given, public: the split that the graph came with, unchanged.
        stored:K: the one of number K, from 0, of the splits that the data come with.
        random:T:V: T nodes of each class train, V of each validate, all other labelled nodes test, as in
            O. Shchur, M. Mumme, A. Bojchevski and S. Günnemann, "Pitfalls of graph neural network
            evaluation", 2018, section 3, who take 20 and 30.
        fraction:T:V: shares T and V of the labelled nodes train and validate, the others test.
        Both take a seed as a last part (0 where there is none): the same seed gives the same nodes on every
        machine and with every NumPy.

    Raises ConfigError for a text that is none of these, GraphError where the graph has too few labels for it.
    """
    kind, _, rest = split.partition(":")
    if kind in ("given", "public") and not rest:
        if graph.train is None:
            raise GraphError(
                f"{graph.name} comes with no split; ask for one, for example random:20:30 or fraction:0.6:0.2"
            )
        return graph
    if kind == "stored" and rest:
        return graph.with_stored_split(_whole(split, rest))
    numbers = rest.split(":")
    if kind not in ("random", "fraction") or len(numbers) not in (2, 3):
        raise ConfigError(f"unknown split {split!r}; known: {FORMS}")
    seed = _seed(split, numbers[2]) if len(numbers) == 3 else 0
    if graph.labels is None or (graph.labels == UNLABELLED).all():
        raise GraphError(f"{graph.name} has no labels to split by")
    parts = _by_class if kind == "random" else _by_share
    train, val, test = parts(graph, graph.labels, split, numbers, _order(graph.num_nodes, seed))
    # An empty validation or test part is no split to the rest of portgnn.
    return replace(
        graph,
        train=train,
        val=val if len(val) else None,
        test=test if len(test) else None,
        notes=(
            *graph.notes,
            f"split {kind}:{numbers[0]}:{numbers[1]}, seed {seed}: "
            f"{len(train)}/{len(val)}/{len(test)} nodes train/validate/test",
        ),
    )


def _order(n: int, seed: int) -> NDArray[np.int64]:
    """[n]: all nodes in a random order, of Philox's raw words, which NumPy never changes (NEP 19)."""
    words = np.asarray(np.random.Philox(key=seed).random_raw(n), dtype=np.uint64)
    return np.argsort(words, kind="stable").astype(np.int64)


_Parts = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def _by_class(
    graph: Graph, labels: NDArray[np.int64], split: str, numbers: list[str], order: NDArray[np.int64]
) -> _Parts:
    counts = [_whole(split, text) for text in numbers[:2]]
    if counts[0] < 1:
        raise ConfigError(f"split {split!r} trains on no node; {FORMS}")
    train, val, test = [], [], []
    for number, name in enumerate(graph.class_names):
        members = order[labels[order] == number]
        if len(members) < sum(counts):
            raise GraphError(
                f"class {name!r} of {graph.name} has {len(members)} labelled nodes, and {split} needs "
                f"{sum(counts)} of each class; ask for fewer, or for fraction:0.6:0.2"
            )
        train.append(members[: counts[0]])
        val.append(members[counts[0] : sum(counts)])
        test.append(members[sum(counts) :])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(val)), np.sort(np.concatenate(test))


def _by_share(
    graph: Graph, labels: NDArray[np.int64], split: str, numbers: list[str], order: NDArray[np.int64]
) -> _Parts:
    shares = [_share(split, text) for text in numbers[:2]]
    if sum(shares) > 1:
        raise ConfigError(f"split {split!r}: the shares add up to {sum(shares):g}, which is more than 1")
    known = order[labels[order] != UNLABELLED]
    first, second = (round(len(known) * share) for share in (shares[0], sum(shares)))
    if first < 1:
        raise GraphError(f"{split} of the {len(known)} labelled nodes of {graph.name} trains on no node")
    return np.sort(known[:first]), np.sort(known[first:second]), np.sort(known[second:])


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
