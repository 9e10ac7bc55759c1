"""A split of edges: what is held out is held out in both directions, and the same wherever it is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn.errors import ConfigError, GraphError, PortgnnError
from portgnn.graphs.links import LinkSplit, split_links
from portgnn.graphs.pairs import joined_pairs, pair_numbers


def _random(nodes: int, edges: int, seed: int) -> sp.csr_array:
    """Weighted, with loops at some nodes."""
    random = np.random.default_rng(seed)
    matrix = sp.lil_array((nodes, nodes))
    for i, j in random.integers(0, nodes, (edges, 2)):
        matrix[i, j] = matrix[j, i] = random.random() + 0.5
    return sp.csr_array(matrix)


def _numbers(pairs: np.ndarray, nodes: int) -> set[int]:
    return set(pair_numbers(pairs, nodes).tolist())


def _parts(split: LinkSplit, nodes: int) -> dict[str, set[int]]:
    held = {name: part for name in ("val", "test") if (part := getattr(split, name)) is not None}
    return {name: _numbers(part.positives, nodes) for name, part in held.items()} | {
        "train": _numbers(split.train, nodes)
    }


@pytest.mark.parametrize(
    ("val", "test", "apart"), [(0.05, 0.1, 0.0), (0.0, 0.2, 0.3), (0.3, 0.0, 0.0), (0.0, 0.0, 0.5)]
)
@pytest.mark.parametrize("seed", range(4))
def test_no_held_out_edge_is_among_the_messages_in_either_direction(
    val: float, test: float, apart: float, seed: int
) -> None:
    matrix = _random(40, 130, seed)
    whole = _numbers(joined_pairs(matrix), 40)
    split = split_links(matrix, val, test, apart, seed)
    parts = _parts(split, 40)
    messages = _numbers(joined_pairs(split.messages), 40)
    for name in parts.keys() - {"train"}:
        assert not parts[name] & messages
        assert not parts[name] & parts["train"]
        for i, j in getattr(split, name).positives:
            assert split.messages[i, j] == 0 == split.messages[j, i]
            assert matrix[i, j] > 0
    assert len(parts.get("val", ())) == int(val * len(whole) + 1e-9)
    assert len(parts.get("test", ())) == int(test * len(whole) + 1e-9)
    rest = whole - parts.get("val", set()) - parts.get("test", set())
    if apart:
        assert len(parts["train"]) == int(apart * len(rest) + 1e-9)
        assert messages == rest - parts["train"]
    else:
        assert parts["train"] == rest == messages
    # Every other value is there still, loops among them, and the messages go both ways.
    dense, left = matrix.toarray(), split.messages.toarray()
    assert (left == left.T).all()
    assert (left[left > 0] == dense[left > 0]).all()
    assert (np.diag(left) == np.diag(dense)).all()
    assert split.messages.has_canonical_format


def test_a_directed_edge_is_held_out_in_its_direction_alone() -> None:
    dense = np.random.default_rng(5).random((25, 25)) < 0.3
    matrix = sp.csr_array(dense.astype(np.float64))
    split = split_links(matrix, 0.2, 0.2, 0.0, 1, directed=True)
    assert split.val is not None
    assert split.test is not None
    held = {tuple(pair) for part in (split.val, split.test) for pair in part.positives.tolist()}
    both_ways = [pair for pair in held if dense[pair[::-1]] and pair[::-1] not in held]
    assert both_ways
    edges = {(i, j) for i, j in np.argwhere(dense).tolist() if i != j}
    left = {(i, j) for i, j in np.argwhere(split.messages.toarray() > 0).tolist() if i != j}
    assert left == edges - held == set(map(tuple, split.train.tolist()))
    assert (split.messages.diagonal() == matrix.diagonal()).all()
    drawn = [split.val.negatives, split.test.negatives, split.negatives(np.array([[1, 2]], dtype=np.uint32), 3)]
    negatives = {tuple(pair) for each in drawn for pair in each.tolist()}
    assert not negatives & edges
    assert {pair[::-1] for pair in negatives} & edges


def test_held_out_negatives_are_as_many_joined_by_none_and_shared_by_no_two_parts() -> None:
    matrix = _random(30, 100, 9)
    split = split_links(matrix, 0.2, 0.3, 0.0, 5)
    assert split.val is not None
    assert split.test is not None
    negatives = [part.negatives for part in (split.val, split.test)]
    assert [len(each) for each in negatives] == [len(split.val.positives), len(split.test.positives)]
    numbers = [_numbers(each, 30) for each in negatives]
    assert [len(each) for each in numbers] == [len(each) for each in negatives]
    assert not numbers[0] & numbers[1]
    for each in negatives:
        assert not matrix[each[:, 0], each[:, 1]].any()
        assert (each[:, 0] != each[:, 1]).all()
    assert (split.val.joined == np.repeat([True, False], len(split.val.positives))).all()
    assert (split.val.pairs == np.concatenate([split.val.positives, split.val.negatives])).all()


def test_the_split_is_the_seeds_alone() -> None:
    """Fixed numbers: a model file says the seed and not the pairs."""
    ring = np.arange(30)
    matrix = sp.lil_array((30, 30))
    for step in (1, 4, 7):
        matrix[ring, (ring + step) % 30] = matrix[(ring + step) % 30, ring] = 1.0
    matrix = sp.csr_array(matrix)
    first, again, other = (split_links(matrix, 0.1, 0.1, 0.0, seed) for seed in (7, 7, 8))
    assert first.test is not None
    assert again.test is not None
    assert other.test is not None
    assert (first.test.pairs == again.test.pairs).all()
    assert _parts(first, 30) != _parts(other, 30)
    assert first.test.positives.tolist()[:3] == POSITIVES
    assert first.test.negatives.tolist()[:3] == NEGATIVES
    epochs = np.array([[[1, 2]], [[1, 3]]], dtype=np.uint32)
    assert (first.negatives(epochs[0], 2) == again.negatives(epochs[0], 2)).all()
    assert first.negatives(epochs[0], 2).shape == (2 * len(first.train), 2)
    assert (first.negatives(epochs[0], 1) != first.negatives(epochs[1], 1)).any()


def test_a_larger_test_share_only_takes_more() -> None:
    matrix = _random(30, 100, 9)
    few, many = (_parts(split_links(matrix, 0.0, share, 0.0, 1), 30)["test"] for share in (0.1, 0.4))
    assert few < many


@pytest.mark.parametrize(
    ("edges", "shares", "kind", "told"),
    [
        ([], (0.1, 0.1, 0), GraphError, "toy has no edges between different nodes"),
        ([(0, 0)], (0.0, 0.0, 0), GraphError, "toy has no edges between different nodes"),
        ([(0, 1), (1, 2)], (0.5, 0.5, 0), ConfigError, "leave no message edges of the 2 edges of toy"),
        ([(0, 1), (1, 2)], (0.5, 0.0, 1), ConfigError, "link_apart=1 leave no message edges"),
        (
            [(0, 1), (1, 2)],
            (0.1, 0.0, 0),
            ConfigError,
            "link_val=0.1 of 2 edges of toy is less than one; take a larger",
        ),
        ([(0, 1), (1, 2)], (0.0, 0.5, 0.1), ConfigError, "link_apart=0.1 of 1 edges of toy is less than one"),
        ([(0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3)], (0.5, 0, 0), GraphError, "toy: an edge joins every pair of"),
        ([(0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3)], (0, 0, 0), GraphError, "toy: an edge joins every pair of"),
        ([(0, 1), (1, 2), (0, 2), (0, 3), (1, 3)], (0.5, 0, 0), GraphError, "needed, and there are 1"),
    ],
)
def test_what_cannot_be_split_is_said_in_a_line(
    edges: list[tuple[int, int]], shares: tuple[float, float, float], kind: type[PortgnnError], told: str
) -> None:
    matrix = sp.lil_array((4, 4))
    for i, j in edges:
        matrix[i, j] = matrix[j, i] = 1.0
    with pytest.raises(kind) as raised:
        split_links(sp.csr_array(matrix), *shares, 0, "toy")
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


POSITIVES = [[1, 5], [5, 6], [10, 14]]
NEGATIVES = [[7, 10], [0, 27], [14, 17]]
