"""Checks of what the library does on the host before and after a backend's work: normalisation, splits and scores.

All are stated once more here, densely and node by node.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from portgnn.datasets.splits import with_split
from portgnn.graphs.graph import Graph, canonical_csr
from portgnn.placing import edges, features
from portgnn.prediction import evaluation
from portgnn.protocol import Backend
from portgnn.verification.cases import Case
from portgnn.verification.check import check
from portgnn.verification.draw import Draw
from portgnn.verification.measure import Departure, Floats, Measured, compare, worst
from portgnn.verification.oracle import log_softmax


def _graphs(draw: Draw) -> tuple[Case, ...]:
    stream = draw.stream("graphs")
    return tuple(
        Case(
            n,
            n,
            int(stream.integers(1, 9)),
            density=float(stream.choice([0.02, 0.1, 0.4])),
            seed=int(stream.integers(2**31)),
        )
        for n in (1, int(stream.integers(2, 12)), int(stream.choice([63, 64, 65, 127, 128, 129])))
    )


@check("host.normalisation", cases=_graphs, full=_graphs)
def normalisation(_: Backend, case: Case) -> Measured:
    """D^-1/2 (A + I) D^-1/2 and rows divided by their sums, of directed and weighted graphs, of signed features."""
    random, n = case.random("graph"), case.rows
    dense = np.abs(case.dense)
    dense[random.integers(0, n), :] += 1.0  # a node that hears all others
    np.fill_diagonal(dense, np.where(random.random(n) < 0.3, random.uniform(0.5, 3.0, n), 0.0))
    twice = sp.coo_array(dense * 0.25) + sp.coo_array(dense * 0.75)
    loops = np.where(np.diag(dense) == 0, 1.0, 0.0)
    with_loops = dense + np.diag(loops)
    root = 1 / np.sqrt(with_loops.sum(axis=1))
    got = edges.normalized_adjacency(canonical_csr(twice))
    # Eighths, whose sums are exact: what is left of two signs must not be rounding.
    x = np.round(8 * case.array("features", n, case.columns)) / 8 + random.choice([-2.0, 0.0, 2.0])
    x[random.random(x.shape) < 0.3] = 0.0
    x[random.integers(0, n)] = 0.0
    if case.columns > 1:  # a row whose sum is 0 and which is not
        x[0] = 0.0
        x[0, :2] = 1.5, -1.5
    sums = x.sum(axis=1, keepdims=True)
    rows = np.where(sums == 0, x, x / np.where(sums == 0, 1.0, sums))
    scales = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-300)
    sparse: Any = features.row_normalized(sp.csr_array(x))
    measured = [
        compare("the normalised adjacency", got.toarray(), with_loops * root[:, None] * root[None, :]),
        compare("normalised dense rows", np.asarray(features.row_normalized(x)) / scales, rows / scales, 1.0),
        compare("normalised sparse rows", sparse.toarray() / scales, rows / scales, 1.0),
        _canonical(case),
    ]
    return worst(*measured)


def _canonical(case: Case) -> Measured:
    """Duplicates are summed, zeros leave, columns are sorted, and the caller's matrix stays."""
    random = case.random("triplets")
    r, c = random.integers(0, case.rows, 40), random.integers(0, case.rows, 40)
    values = random.integers(-3, 4, 40).astype(np.float64)
    dense = np.zeros((case.rows, case.rows))
    np.add.at(dense, (r, c), values)
    given = sp.coo_array((values, (r, c)), shape=dense.shape)
    got = canonical_csr(given)
    sorted_ = all((np.diff(got.indices[a:b]) > 0).all() for a, b in pairwise(got.indptr))
    if not sorted_ or got.nnz != np.count_nonzero(dense) or given.nnz != 40:
        raise Departure("a canonical matrix has zeros, repeated or unsorted columns")
    edges, weights = np.stack([c, r], axis=1), np.abs(values) + 0.5
    ones = np.ones((case.rows, 1))
    directed = Graph.from_edges(edges, ones, weights=weights, undirected=False).adjacency.toarray()
    summed = np.zeros_like(dense)
    np.add.at(summed, (r, c), weights)
    both = Graph.from_edges(edges, ones, undirected=True).adjacency.toarray()
    once = (summed > 0).astype(float)
    symmetric = Graph(sp.csr_array(summed), ones).symmetrized().adjacency.toarray()
    return worst(
        compare("a canonical matrix", got.toarray(), dense, 1.0),
        compare("the edges of a directed graph", directed, summed),
        compare("the edges of an undirected graph", both, np.maximum(once, once.T)),
        compare("a symmetrised graph", symmetric, np.maximum(summed, summed.T)),
    )


@check("host.splits", cases=_graphs, full=_graphs)
def splits(_: Backend, case: Case) -> Measured:
    """Parts that do not overlap, of labelled nodes alone, of the sizes that were asked for; another seed, others."""
    random = case.random("splits")
    n, classes = 40 + case.rows, 3
    labels = np.concatenate([np.repeat(np.arange(classes), 12), random.integers(-1, classes, n - 36)])
    random.shuffle(labels)
    graph = Graph(sp.csr_array((n, n)), np.ones((n, 1)), labels, class_names=("a", "b", "c"))
    known = np.flatnonzero(labels >= 0)
    each, held = int(random.integers(1, 7)), int(random.integers(1, 6))
    share, more = float(random.choice([0.1, 0.5, 0.6])), float(random.choice([0.1, 0.2, 0.25]))
    seed = int(random.integers(1, 10**6))
    for text in (f"random:{each}:{held}:{seed}", f"fraction:{share}:{more}:{seed}"):
        made = [
            with_split(graph, text),
            with_split(graph, text),
            with_split(graph, text[: text.rfind(":")] + f":{seed + 1}"),
        ]
        found = [[np.asarray(x) for x in (one.train, one.val, one.test)] for one in made]
        together = np.concatenate(found[0])
        if len(np.unique(together)) != len(together) or not np.array_equal(np.sort(together), known):
            raise Departure(f"the parts of {text.partition(':')[0]} overlap, or are not the labelled nodes")
        if not all(np.array_equal(a, b) for a, b in zip(found[0], found[1], strict=True)):
            raise Departure(f"{text} gives other nodes the second time")
        if np.array_equal(found[0][0], found[2][0]) and len(known) > 20:
            raise Departure(f"{text} ignores its seed")
        counts = [np.bincount(labels[x], minlength=classes) for x in found[0]]
        if text.startswith("random") and ((counts[0] != each).any() or (counts[1] != held).any()):
            raise Departure(f"{text} takes {counts[0].tolist()} and {counts[1].tolist()} nodes of the classes")
        if text.startswith("fraction"):
            first, second = round(len(known) * share), round(len(known) * (share + more))
            if (len(found[0][0]), len(found[0][1])) != (first, second - first):
                raise Departure(f"{text} of {len(known)} nodes takes {len(found[0][0])} and {len(found[0][1])}")
            # A sorted or a leading part of the nodes is not drawn.
            if len(known) > 20 and np.array_equal(found[0][0], known[:first]):
                raise Departure(f"{text} takes the first nodes and draws none")
    return Measured(0.0)


def _scored(logits: Floats, labels: Any, classes: int) -> dict[str, object]:
    """Accuracy, macro F1, calibration and confusion, node by node and class by class."""
    shares = np.exp(log_softmax(logits))
    confusion = np.zeros((classes, classes), dtype=np.int64)
    bins: dict[int, list[tuple[float, float]]] = {}
    for row, label in zip(shares, labels, strict=True):
        said = int(max(range(classes), key=lambda j: (row[j], -j)))
        confusion[label, said] += 1
        number = next(b for b in range(15) if row[said] <= (b + 1) / 15 + 1e-15)
        bins.setdefault(number, []).append((float(said == label), float(row[said])))
    f1 = []
    rows = []
    for j in range(classes):
        hit, has, said_so = confusion[j, j], confusion[j].sum(), confusion[:, j].sum()
        precision, recall = hit / said_so if said_so else 0.0, hit / has if has else 0.0
        score = 2 * precision * recall / (precision + recall) if hit else 0.0
        rows.append((precision, recall, score, has, said_so))
        if has or said_so:
            f1.append(score)
    off = sum(abs(sum(h for h, _ in one) - sum(c for _, c in one)) for one in bins.values())
    return {
        "accuracy": np.trace(confusion) / len(labels),
        "macro F1": float(np.mean(f1)),
        "calibration error": off / len(labels),
        "confusion": confusion.astype(np.float64),
        "the table of classes": np.array(rows, dtype=np.float64),
    }


@check("host.evaluation", cases=_graphs, full=_graphs)
def scores(_: Backend, case: Case) -> Measured:
    """Scores of predictions by part of the split, with the model's classes in another order."""
    random = case.random("scores")
    n, classes = 30 + case.rows, int(random.integers(2, 6))
    logits = 2 * case.array("logits", n, classes)
    order = random.permutation(classes)  # place in the model of each class of the graph
    model_names = tuple(f"c{int(np.flatnonzero(order == j)[0])}" for j in range(classes))
    labels = random.integers(-1, classes, n)
    labels[:2] = 0
    known = np.flatnonzero(labels >= 0)
    logits[known[::2], order[labels[known[::2]]]] += 2.0
    names = tuple(f"c{j}" for j in range(classes))
    drawn = np.sort(random.choice(known, max(3, 2 * len(known) // 3), replace=False))
    cut = np.array_split(random.permutation(drawn), 3)
    splits: dict[str, Any] = dict(zip(("train", "val", "test"), cut, strict=True)) if random.random() < 0.8 else {}
    graph = Graph(sp.csr_array((n, n)), np.ones((n, 1)), labels, class_names=names, **splits)
    numbers = evaluation.labels_for(graph, model_names)
    codes = evaluation.split_codes(graph)
    found = evaluation.evaluate_parts(
        logits, numbers, evaluation.part_names(numbers, codes, known=bool(splits)), model_names
    )
    rest = np.setdiff1d(known, drawn) if splits else known
    parts = dict(zip(("train", "validation", "test"), cut, strict=True)) if splits else {}
    parts |= {"other" if splits else "labelled": rest} if len(rest) else {}
    if {part: one.nodes for part, one in found.items()} != {part: len(nodes) for part, nodes in parts.items()}:
        raise Departure("predictions are scored on other nodes than those of their parts")
    measured = []
    for part, nodes in parts.items():
        one, want = found[part], _scored(logits[nodes], order[labels[nodes]], classes)
        got = {
            "accuracy": one.accuracy,
            "macro F1": one.macro_f1,
            "calibration error": one.calibration_error,
            "confusion": one.confusion.astype(np.float64),
            "the table of classes": np.array(
                [[s.precision, s.recall, s.f1, s.support, s.predicted] for s in one.classes]
            ),
        }
        measured += [
            compare(f"{name} of {part} nodes", np.asarray(got[name]), np.asarray(value), 1.0)
            for name, value in want.items()
        ]
    return worst(*measured)
