"""Portable randomness: pinned bits, uniform and uncorrelated masks, keys that stand alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portgnn.random import (
    BLOCK,
    dropout_keys,
    dropout_mask,
    glorot_bound,
    keep_threshold,
    parameter_stream,
    random_bits,
)

N = 1 << 16
SIGMA = 1 / np.sqrt(N)


def _mask(seed: int, epoch: int, layer: int, rate: float = 0.5) -> np.ndarray:
    key = dropout_keys(seed, range(epoch, epoch + 1), 3)[0, layer]
    return random_bits((int(key[0]), int(key[1])), np.arange(N, dtype=np.uint32)) < keep_threshold(rate)


def test_bits_are_pinned() -> None:
    """Published runs depend on these: a change here changes every result."""
    got = random_bits((0x12345678, 0x9ABCDEF0), np.arange(4, dtype=np.uint32))
    assert got.tolist() == [_lowbias(i) for i in range(4)]
    assert dropout_keys(0, range(1), 1).tolist() == [[[2968811710, 3677149159]]]


def _lowbias(i: int) -> int:
    """The hash once more, in Python's own integers."""
    word = 2**32 - 1
    x = (i + 0x12345678) & word
    x ^= x >> 16
    x = (x * 0x7FEB352D) & word
    x ^= x >> 15
    x ^= 0x9ABCDEF0
    x = (x * 0x846CA68B) & word
    x ^= x >> 16
    return x - 2**32 if x >= 2**31 else x


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_masks_keep_the_share_they_should(rate: float) -> None:
    for seed, epoch, layer in itertools.product(range(3), range(3), range(3)):
        share = _mask(seed, epoch, layer, rate).mean()
        # Five standard deviations: 27 draws pass by chance, a biased hash does not.
        assert abs(share - (1 - rate)) < 5 * SIGMA * np.sqrt(rate * (1 - rate))


def test_neighbouring_masks_are_uncorrelated() -> None:
    masks = [_mask(*where) for where in itertools.product(range(3), range(3), range(3))]
    correlation = np.corrcoef(np.array(masks, dtype=np.float64))
    off_diagonal = correlation[~np.eye(len(masks), dtype=bool)]
    assert np.abs(off_diagonal).max() < 5 * SIGMA


def test_neighbouring_elements_are_uncorrelated() -> None:
    mask = _mask(0, 0, 0).astype(np.float64)
    for lag in (1, 2, 16, 1433):
        assert abs(np.corrcoef(mask[:-lag], mask[lag:])[0, 1]) < 5 * SIGMA


def test_masks_are_not_shifted_copies() -> None:
    one, other = _mask(0, 0, 0).astype(np.float64), _mask(0, 1, 0).astype(np.float64)
    for lag in range(1, 64):
        assert abs(np.corrcoef(one[:-lag], other[lag:])[0, 1]) < 6 * SIGMA


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_bits_depend_on_the_element_alone(first: int, second: int, element: int) -> None:
    alone = random_bits((first, second), np.array([element], dtype=np.uint32))
    among = random_bits((first, second), np.array([[7, element], [element, 0]], dtype=np.uint32))
    assert among[0, 1] == among[1, 0] == alone[0]
    assert alone.dtype == np.int32


def test_bits_leave_the_index_alone() -> None:
    index = np.arange(5, dtype=np.uint32)
    random_bits((1, 2), index)
    assert index.tolist() == [0, 1, 2, 3, 4]


def test_keys_of_an_epoch_stand_alone() -> None:
    together = dropout_keys(3, range(10), 2)
    assert together.shape == (10, 2, 2)
    assert together.dtype == np.uint32
    np.testing.assert_array_equal(dropout_keys(3, range(4, 7), 2), together[4:7])
    assert len(np.unique(together.reshape(-1, 2), axis=0)) == 20
    assert dropout_keys(3, range(0), 2).shape == (0, 2, 2)


@pytest.mark.parametrize(("rate", "bound"), [(0.0, 2**31 - 1), (0.5, 0), (0.75, -(2**30))])
def test_thresholds(rate: float, bound: int) -> None:
    assert keep_threshold(rate) == bound


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0, float("nan")])
def test_thresholds_refuse_other_rates(rate: float) -> None:
    with pytest.raises(ValueError, match="dropout rate"):
        keep_threshold(rate)


def test_weights_have_the_streams_that_they_always_had() -> None:
    """Published runs depend on these: they are numbered, by layer, as in the first version."""
    for number in (0, 1, 9, 12):
        first = np.random.Generator(np.random.Philox(np.random.SeedSequence([5, number]))).random(4)
        np.testing.assert_array_equal(parameter_stream(5, f"weight{number}").random(4), first)


def test_every_other_name_has_a_stream_of_its_own() -> None:
    names = [f"weight{i}" for i in range(30)] + [f"{kind}{i}" for kind in ("own", "att", "bias") for i in range(9)]
    names += ["weight", "weight01", "weight-1", "0", "1", ""]
    seen = {(seed, name): tuple(parameter_stream(seed, name).random(3)) for seed in (0, 1, 2**40) for name in names}
    assert len(set(seen.values())) == len(seen)
    # Pinned: another hash would move every network that is not the first.
    assert seen[0, "own0"][0] == pytest.approx(0.16507569373900455, abs=1e-15)


def test_glorot_bounds_are_the_papers() -> None:
    assert glorot_bound((300, 20)) == np.sqrt(6 / 320)
    assert glorot_bound((8, 300, 20)) == np.sqrt(6 / 320)
    assert glorot_bound((5,)) == 1.0


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**70 + 5, 2**200 + 3])
@pytest.mark.parametrize(("epochs", "layers"), [(range(1), 1), (range(5), 2), (range(7, 140), 3), (range(3, 3), 2)])
def test_dropout_keys_are_the_words_of_numpys_seed_sequence(seed: int, epochs: range, layers: int) -> None:
    expected = [np.random.SeedSequence([seed, epoch]).generate_state(2 * layers) for epoch in epochs]
    keys = dropout_keys(seed, epochs, layers)
    assert keys.dtype == np.uint32
    assert keys.shape == (len(epochs), layers, 2)
    assert [epoch.ravel().tolist() for epoch in keys] == [words.tolist() for words in expected]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("count", [0, 1, 1000, BLOCK, BLOCK + 1, 3 * BLOCK + 17])
def test_a_mask_is_what_the_bits_say_block_by_block(count: int, dtype: str) -> None:
    key, rate = (2**32 - 5, 12345), 0.3
    numbers = np.arange(count, dtype=np.uint32)
    expected = np.where(random_bits(key, numbers) < keep_threshold(rate), 1 / (1 - rate), 0).astype(dtype)
    whole = dropout_mask(key, count, rate, dtype)
    assert whole.dtype == dtype
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(dropout_mask(key, numbers[::-1].copy(), rate, dtype), expected[::-1])


def test_masks_of_several_keys_at_once() -> None:
    words = dropout_keys(0, range(3), 1)[:, 0]
    numbers = np.arange(12, dtype=np.uint32).reshape(4, 3)
    together = dropout_mask((words[:, 0].reshape(-1, 1, 1), words[:, 1].reshape(-1, 1, 1)), numbers, 0.5, "float32")
    for one, (first, second) in zip(together, words.tolist(), strict=True):
        np.testing.assert_array_equal(one, dropout_mask((first, second), numbers, 0.5, "float32"))


@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_large_mask_is_the_same_from_any_number_of_threads(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 2 * BLOCK + 17
    numbers = np.arange(count, dtype=np.uint32)[::-1].copy()
    expected = np.where(random_bits((5, 7), numbers) < keep_threshold(0.3), np.float32(1 / 0.7), np.float32(0))
    monkeypatch.setattr("portgnn.random.SHARED", 0)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    np.testing.assert_array_equal(dropout_mask((5, 7), numbers, 0.3, "float32"), expected)
    np.testing.assert_array_equal(dropout_mask((5, 7), count, 0.3, "float32"), expected[::-1])
