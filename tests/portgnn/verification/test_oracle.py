"""The oracle itself: its gradients against finite differences, its Adam and its hash against values worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from portgnn.random import keep_threshold, random_bits
from portgnn.verification import oracle
from portgnn.verification.cases import Recipe, recipes


@pytest.mark.parametrize("recipe", recipes(nodes=24, width=11, classes=3, hidden=5), ids=str)
def test_gradients_agree_with_central_differences(recipe: Recipe) -> None:
    network, nodes = recipe.oracle, recipe.graph.train
    keys = oracle.epoch_keys(0, 3, recipe.config.layers)
    random = np.random.default_rng(0)
    params = {
        name: value + 0.2 * random.standard_normal(value.shape)
        for name, value in oracle.initial(recipe.config, network.widths, 0).items()
    }
    loss, grads = network.gradient(params, keys, nodes)
    assert loss == network.loss(network.forward(params, keys)[0], params, nodes)
    for name, value in params.items():
        for i in random.integers(0, value.size, 5):
            sides = []
            for step in (1e-5, -1e-5):
                moved = value.copy()
                moved.flat[i] += step
                there = params | {name: moved}
                sides.append(network.loss(network.forward(there, keys)[0], there, nodes))
            assert grads[name].flat[i] == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-6, abs=1e-8)


def test_adam_by_hand() -> None:
    optimizer = oracle.Adam(0.1)
    one = optimizer.step({"w": np.array([1.0])}, {"w": np.array([4.0])})
    # m/(1 - b1) = 4 and v/(1 - b2) = 16, whatever the gradient: a first step of size rate.
    assert one["w"] == pytest.approx(0.9, abs=1e-9)
    two = optimizer.step(one, {"w": np.array([0.0])})
    m, v = 0.9 * 0.4 / (1 - 0.81), 0.999 * 0.016 / (1 - 0.998001)
    assert two["w"] == pytest.approx(0.9 - 0.1 * m / np.sqrt(v), abs=1e-9)


@pytest.mark.parametrize("key", [(0, 0), (2**32 - 1, 2**31), (7, 2**32 - 1)])
def test_the_hash_in_64_bits_is_the_one_in_32(key: tuple[int, int]) -> None:
    index = np.array([0, 1, 2**31, 2**32 - 1, 12345], dtype=np.uint32)
    expected = []
    for i in index.tolist():
        x = (i + key[0]) % 2**32
        x = (x ^ x >> 16) * 0x7FEB352D % 2**32
        x = ((x ^ x >> 15) ^ key[1]) * 0x846CA68B % 2**32
        expected.append(x ^ x >> 16)
    assert oracle.hash_bits(key, index).tolist() == expected
    assert (oracle.signed(oracle.hash_bits(key, index)) == random_bits(key, index)).all()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9, 1 / 3])
def test_masks_keep_below_the_threshold(rate: float) -> None:
    index = np.arange(10_000, dtype=np.uint32)
    kept = oracle.mask((3, 4), index, rate)
    assert ((random_bits((3, 4), index) < keep_threshold(rate)) == (kept > 0)).all()
    assert np.unique(kept) == pytest.approx([0.0, 1 / (1 - rate)])


def test_the_published_recipe_learns_on_the_bundled_graph() -> None:
    recipe = Recipe("kipf", nodes=0, width=0, classes=0, epochs=60)
    course = recipe.course
    assert course.metrics[-1][0] < 0.95 * course.metrics[0][0]
    assert course.metrics[-1][2] > 0.6 * 500
