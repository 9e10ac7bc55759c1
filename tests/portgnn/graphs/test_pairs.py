"""Pairs by number, and what negative samples are drawn from, beside a plain count of all pairs."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn.errors import GraphError
from portgnn.graphs.pairs import Apart, joined_pairs, pair_numbers, pairs_at
from portgnn.random import random_bits, stream_key, words64


def _random(nodes: int, share: float, seed: int = 0) -> sp.csr_array:
    dense = np.triu(np.random.default_rng(seed).random((nodes, nodes)) < share, 1)
    return sp.csr_array((dense | dense.T).astype(np.float64))


def _apart(matrix: sp.csr_array) -> Apart:
    return Apart(matrix.shape[0], pair_numbers(joined_pairs(matrix), matrix.shape[0]))


@pytest.mark.parametrize("nodes", [2, 3, 7, 30])
def test_numbers_of_pairs_go_through_the_upper_triangle_row_by_row(nodes: int) -> None:
    pairs = np.array(list(combinations(range(nodes), 2)))
    numbers = pair_numbers(pairs, nodes)
    assert numbers.tolist() == list(range(len(pairs)))
    assert pair_numbers(pairs[:, ::-1], nodes).tolist() == numbers.tolist()
    assert (pairs_at(numbers, nodes) == pairs).all()


def test_numbers_of_pairs_hold_for_more_nodes_than_32_bits_can_square() -> None:
    nodes = 5_000_000
    pairs = np.array([[0, 1], [0, nodes - 1], [1, 2], [nodes - 3, nodes - 1], [nodes - 2, nodes - 1], [12345, 4999999]])
    numbers = pair_numbers(pairs, nodes)
    assert numbers[4] == nodes * (nodes - 1) // 2 - 1
    assert (pairs_at(numbers, nodes) == pairs).all()


def test_joined_pairs_are_counted_once_and_loops_are_none() -> None:
    matrix = sp.csr_array(np.array([[2.0, 1, 0], [0, 0, 0], [5, 1, 0]]))  # 0-1 and 1-2 in one direction, and a loop
    assert joined_pairs(matrix).tolist() == [[0, 1], [0, 2], [1, 2]]


@pytest.mark.parametrize("nodes", [2, 3, 7, 30])
def test_ordered_pairs_are_numbered_row_by_row_without_the_diagonal(nodes: int) -> None:
    pairs = np.array(list(permutations(range(nodes), 2)))
    numbers = pair_numbers(pairs, nodes, ordered=True)
    assert numbers.tolist() == list(range(len(pairs)))
    assert (pairs_at(numbers, nodes, ordered=True) == pairs).all()


def test_of_ordered_pairs_an_edge_joins_one_direction_and_all_others_are_found() -> None:
    dense = np.random.default_rng(2).random((11, 11)) < 0.4  # loops among them
    matrix = sp.csr_array(dense.astype(np.float64))
    joined = joined_pairs(matrix, ordered=True)
    edges = {pair for pair in permutations(range(11), 2) if dense[pair]}
    assert set(map(tuple, joined.tolist())) == edges
    apart = Apart(11, pair_numbers(joined, 11, ordered=True), ordered=True)
    assert apart.count == 110 - len(edges)
    assert set(map(tuple, apart.at(np.arange(apart.count)).tolist())) == set(permutations(range(11), 2)) - edges
    drawn = set(map(tuple, apart.drawn(stream_key([3], "x"), 4000).tolist()))
    assert drawn == set(permutations(range(11), 2)) - edges
    assert any((j, i) in edges for i, j in drawn)  # the way back of an edge in one direction is no edge


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_all_pairs_that_no_edge_joins_are_found_each_once(share: float) -> None:
    matrix = _random(13, share)
    apart = _apart(matrix)
    others = [pair for pair in combinations(range(13), 2) if not matrix[pair]]
    assert apart.count == len(others)
    assert list(map(tuple, apart.at(np.arange(apart.count)).tolist())) == others


def test_draws_are_even_and_never_joined() -> None:
    matrix = _random(9, 0.6)
    apart = _apart(matrix)
    drawn = apart.drawn(stream_key([3], "x"), 40_000)
    assert not (drawn[:, 0] == drawn[:, 1]).any()
    assert not matrix[drawn[:, 0], drawn[:, 1]].any()
    assert not matrix[drawn[:, 1], drawn[:, 0]].any()
    counts = np.bincount(pair_numbers(drawn, 9), minlength=36)
    expected = 40_000 / apart.count
    present = counts[counts > 0]
    assert len(present) == apart.count
    assert (abs(present - expected) < 5 * np.sqrt(expected)).all()


@pytest.mark.parametrize("share", [0.05, 0.7])
def test_different_draws_repeat_none(share: float) -> None:
    apart = _apart(_random(20, share))
    for count in (0, 1, apart.count // 3, apart.count // 2, apart.count):
        found = pair_numbers(apart.different(stream_key([1], "y"), count), 20)
        assert len(set(found.tolist())) == count
        assert not np.isin(found, apart.joined).any()
    more = apart.count // 3
    # What is drawn first does not depend on how many are drawn.
    assert (apart.different(stream_key([1], "y"), 5) == apart.different(stream_key([1], "y"), more)[:5]).all()


def test_a_graph_without_such_pairs_is_refused() -> None:
    full = _apart(_random(5, 1.1))
    assert full.count == 0
    for ask in (full.drawn, full.different):
        with pytest.raises(GraphError):
            ask(stream_key([0], "z"), 1)


def test_words_are_those_of_the_portable_hash() -> None:
    """Fixed for good: whoever draws a split anew, on another machine or in another version, gets the same one."""
    key = stream_key([0], "link split")
    assert key.tolist() == KEY
    words = words64(key, 2, 3)
    index = np.arange(2, 5, dtype=np.uint32)
    high, low = (random_bits((int(key[at]), int(key[at + 1])), index).astype(np.int64) & 0xFFFFFFFF for at in (0, 2))
    assert words.tolist() == [int(one) << 32 | int(other) for one, other in zip(high, low, strict=True)]
    assert words.tolist() == WORDS
    assert stream_key([1], "link split").tolist() != KEY
    assert stream_key([0], "link splits").tolist() != KEY


KEY = [2042271560, 258982824, 2850503727, 548916295]
WORDS = [5511662023700836146, 2684960919035325012, 13201116874296158163]
