"""Many seeds against the reference: kinks are found, confirmed and told from faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import portgnn
from portgnn.cli import main
from portgnn.errors import ConfigError
from portgnn.placing.prepared import Prepared
from portgnn.presets import preset as named_preset
from portgnn.random import dropout_keys
from portgnn.training import initial_state, make_run
from portgnn.verification import kinks
from portgnn.verification.cases import Recipe
from portgnn.verification.draw import fresh_seed
from portgnn.verification.kinks import Following, WatchedRun, bound
from portgnn.verification.oracle import epoch_keys, initial
from portgnn.verification.seeds import verify_seeds
from portgnn_jax import JAXBackend
from portgnn_mlx import MLXBackend
from portgnn_numpy import NumPyBackend
from portgnn_numpy.backend import TapeBackend
from portgnn_numpy.tape import unary, value_of
from portgnn_torch import TorchBackend

GRAPH = Recipe(nodes=300, width=40, classes=4).graph
EPOCHS = 40
TOLERANCE = 1e-5

BACKENDS: dict[str, Callable[[str], Any]] = {
    "numpy": lambda dtype: NumPyBackend("cpu", dtype),
    "torch": lambda dtype: TorchBackend("cpu", dtype),
    "torch-edges": lambda dtype: TorchBackend("cpu", dtype, csr=False),
    "mlx": lambda dtype: MLXBackend("cpu", dtype),
    "mlx-edges": lambda dtype: MLXBackend("cpu", dtype, shared_memory=False),
    "jax": lambda dtype: JAXBackend("cpu", dtype),
}


class Taped(NumPyBackend):
    """Whose steps are not recorded: the faults below count their calls, or come and go."""

    compile = TapeBackend.compile


class Rounding(Taped):
    """What rounding does to a relu's input, where it happens to decide a side: elements near 0 come out across it.

    reach: how near, relative to the layer's largest. crossed: how many elements it put across in training.
    """

    name = "rounding"
    reach = 1e-6
    crossed = 0

    def relu(self, x: Any) -> Any:
        raw = value_of(x)
        near = (np.abs(raw) < self.reach * np.abs(raw).max()) & (raw != 0)
        if x is not raw:
            self.crossed += int(near.sum())
        moved = np.where(near, -raw, raw)
        return unary(x, np.maximum(moved, 0.0), lambda grad: grad * (moved > 0))


def _verified(backend: Any, seeds: Any = (0, 1), preset: str = "kipf", **options: Any) -> Any:
    # Many hidden units, so that some of so small a graph's elements are as near 0 as rounding reaches.
    forms = {"adjacency": "csr", "features": "sparse", "hidden": 64} | options
    return verify_seeds(backend, seeds=seeds, dataset=GRAPH, preset=preset, epochs=EPOCHS, **forms)


@pytest.mark.parametrize("preset", ["kipf", "pyg", "article"])
def test_a_side_that_rounding_decides_is_found_confirmed_and_passes(preset: str) -> None:
    backend = Rounding("cpu", "float32")
    backend.reach = 5e-7 if preset == "article" else 1e-6
    report = _verified(backend, range(2), preset)
    departing = [one for one in report.seeds if one.first is not None]
    assert departing, "the planted sides change nothing"
    assert report.passed, report.seeds
    for one in departing:
        assert (one.state, one.by) == ("explained", "kinks")
        assert one.error > TOLERANCE > one.explained
        assert len(one.kinks) >= 1
        assert one.kinks[0].epoch <= one.first, "the departure comes before its cause"
        assert all(0 < abs(kink.reference) <= bound("float32") * kink.terms for kink in one.kinks)


def test_every_kink_of_a_run_is_found_by_epoch_and_element() -> None:
    """Flip after flip: as many as were planted, none twice."""
    backend = Rounding("cpu", "float32")
    report = _verified(backend, (0,))
    (one,) = report.seeds
    # Training runs twice, once watched; both put the same elements across.
    assert one.state == "explained"
    assert len(one.kinks) * 2 == backend.crossed > 2
    assert len({(kink.epoch, kink.layer, kink.node, kink.unit) for kink in one.kinks}) == len(one.kinks)
    assert report.summary()["kinks"] == len(one.kinks)


def test_the_same_sides_are_a_fault_in_float64() -> None:
    report = _verified(Rounding("cpu", "float64"), (0,))
    assert not report.passed
    failed = next(one for one in report.seeds if not one.passed)
    assert "the other side of 0 at epoch" in failed.hint


def test_a_run_that_no_kink_explains_is_followed_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """With kinks put out of reach for the first way of following, the second shows every epoch to be right."""
    monkeypatch.setattr(Following, "share", 0.0)
    report = _verified(Rounding("cpu", "float32"), range(2))
    assert report.passed, report.seeds
    assert [one.by for one in report.seeds] == ["steps", "steps"]
    assert all(one.kinks for one in report.seeds)
    assert report.summary()["by_steps"] == 2
    failed = _verified(_WrongGradient("cpu", "float32"), (0,), "pyg").seeds[0]
    assert "from the same parameters, bias" in failed.hint
    assert "at epoch 1:" in failed.hint  # the first step knows a gradient by its sign alone


class FarFlip(Taped):
    """In one epoch, relu drops the largest element of its input."""

    name = "far-flip"
    at = 12
    calls = 0

    def relu(self, x: Any) -> Any:
        raw = value_of(x)
        kept = raw > 0
        if x is not raw:
            self.calls += 1
            if self.calls % EPOCHS == self.at:
                kept.flat[raw.argmax()] = False
        return unary(x, np.where(kept, raw, 0.0), lambda grad: grad * kept)


def test_an_element_far_from_zero_is_not_explained_away() -> None:
    report = _verified(FarFlip("cpu", "float32"), (0,))
    (one,) = report.seeds
    assert one.state == "FAILS"
    assert f"at epoch {FarFlip.at - 1}, layer 0, element (" in one.hint
    assert not one.kinks


def test_just_outside_the_bound_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same run passes and fails by the bound alone."""
    backend = Rounding("cpu", "float32")
    distances = [kink.distance for kink in _verified(backend, (0,)).seeds[0].kinks]
    monkeypatch.setattr(kinks, "ROUNDINGS", max(distances) / 2**-24 * 1.01)
    assert _verified(backend, (0,)).passed
    monkeypatch.setattr(kinks, "ROUNDINGS", max(distances) / 2**-24 * 0.99)
    failed = _verified(backend, (0,)).seeds[0]
    assert failed.state == "FAILS"
    assert "the other side of 0" in failed.hint


class _WrongGradient(Taped):
    """The gradient in one kind of parameter is off by a share of its largest element, while `wrong` says so."""

    name = "wrong-gradient"
    wrong, share = True, 1e-3

    def value_and_grad(self, fn: Any) -> Any:
        right = super().value_and_grad(fn)

        def call(params: Any, *args: Any) -> Any:
            result, grads = right(params, *args)
            size = self.share * self.wrong
            hit = {name: grad + size * np.abs(grad).max() for name, grad in grads.items() if name.startswith("bias")}
            return result, grads | hit

        return call


def test_a_gradient_that_is_wrong_for_one_seed_fails_that_seed() -> None:
    backend = _WrongGradient("cpu", "float32")
    backend.wrong = False

    def next_one(result: Any) -> None:
        backend.wrong = result.seed == 0  # seed 1 it is

    report = verify_seeds(backend, seeds=3, dataset=GRAPH, preset="pyg", epochs=20, features="sparse", on_seed=next_one)
    assert [one.state for one in report.seeds] == ["agrees", "FAILS", "agrees"]
    assert not report.passed
    assert report.seeds[1].error > TOLERANCE


def test_kinks_do_not_cover_a_wrong_gradient() -> None:
    class Both(Rounding, _WrongGradient):
        """Sides that rounding decides, and a fault."""

    report = _verified(Both("cpu", "float32"), (0, 1), "pyg")
    assert [one.state for one in report.seeds] == ["FAILS", "FAILS"]
    assert all(one.error > TOLERANCE for one in report.seeds)


class GradientAlone(NumPyBackend):
    """relu is right, and lets one element's gradient through that it should not, far from 0."""

    name = "gradient-alone"

    def relu(self, x: Any) -> Any:
        raw = value_of(x)
        passes = raw > 0
        passes.flat[raw.argmin()] = True
        return unary(x, np.maximum(raw, 0.0), lambda grad: grad * passes)


def test_a_relu_with_a_wrong_gradient_is_not_a_kink() -> None:
    report = _verified(GradientAlone("cpu", "float32"), (0,))
    (one,) = report.seeds
    assert (one.state, one.kinks) == ("FAILS", ())
    assert "from the same parameters, weight" in one.hint


def test_what_a_backend_raises_is_that_seeds_failure() -> None:
    class Raises(NumPyBackend):
        def relu(self, x: Any) -> Any:
            raise MemoryError("out of memory")

    report = _verified(Raises("cpu", "float32"), (0,))
    assert report.seeds[0].error is None
    assert report.seeds[0].hint == "MemoryError: out of memory"
    assert not report.passed
    json.dumps(report.to_dict(), allow_nan=False)


ALL = (("kipf", "needed"), ("article", "needed"), ("pyg", "all"))
WATCHED = [("numpy", "float64", ALL), *((name, "float32", ALL) for name in ("numpy", "torch", "torch-edges", "mlx"))]
WATCHED += [(name, "float32", ALL[:1]) for name in ("mlx-edges", "jax")]  # each compiles for seconds


@pytest.mark.parametrize(("name", "dtype", "recipes"), WATCHED)
def test_a_watched_run_is_the_run_and_shows_what_relu_saw(name: str, dtype: str, recipes: Any) -> None:
    """The losses of training, bit for bit, and the pre-activations of the reference at the nodes that are computed."""
    backend = BACKENDS[name](dtype)
    for preset, rows in recipes:
        recipe = Recipe(preset, "csr", "sparse", nodes=60, width=20, hidden=8, seed=3)
        config = named_preset(preset, adjacency="csr", features="sparse", hidden=8, rows=rows)
        prepared = Prepared.of(recipe.graph, config)
        watched = WatchedRun(backend, prepared)
        watched.start(3)
        found = watched.advance()
        params = initial(recipe.config, recipe.oracle.widths, recipe.seed)
        trace = recipe.oracle.forward(params, epoch_keys(3, 0, config.layers))[1]
        assert len(found) == config.layers - 1
        for (nodes, before, side), (_, _, out) in zip(found, trace, strict=False):
            np.testing.assert_allclose(before, out[nodes], atol=1e-5 if dtype == "float32" else 1e-13)
            assert ((before > 0) == side).all()
        watched.advance()
        run = make_run(backend, prepared, validate=True)
        _, plain = run(initial_state(backend, prepared, 3), dropout_keys(3, range(2), config.layers))
        np.testing.assert_array_equal(np.array(watched.metrics), plain)


@pytest.mark.parametrize("name", ["numpy", "torch", "mlx", "jax"])
def test_drawn_seeds_agree_or_are_explained(name: str) -> None:
    """A sample of `bench/results/seeds.json`, of which `make sweep` runs other seeds each time."""
    seed = fresh_seed()
    report = verify_seeds(name, seeds=[seed], dataset="csbm-cora", device="cpu", epochs=60)
    assert report.passed, report.to_dict()
    assert report.seeds[0].error is not None


def test_a_loss_near_zero_is_held_absolutely() -> None:
    """Karate's loss falls to 1e-3, of which the rounding of a number near 1 is 6e-5."""
    report = verify_seeds("numpy", seeds=1, dataset="karate", preset="pyg")
    assert report.passed, report.to_dict()


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--seeds", "2", "--dataset", "karate", "--epochs", "30"]) == 0
    out, err = capsys.readouterr()
    assert "Of 2 seeds, 2 agree to 1e-05; 0 part at kinks of relu" in out
    assert "seed 1 (2 of 2)" in err
    assert main(["verify", "--seeds", "1", "--dataset", "karate", "--epochs", "5", "--preset", "pyg", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["preset"] == "pyg"
    assert document["passed"]
    assert document["summary"]["seeds"] == len(document["seeds"]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0"], "seeds=0 compares nothing"),
        (["--preset", "pyg"], "add --seeds 20"),
        (["--seeds", "1", "--preset", "pgy"], "unknown preset"),
        (["--seeds", "1", "--dataset", "karate", "--epochs", "0"], "epochs=0 must be at least 1"),
    ],
)
def test_what_cannot_be_run_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_graph_without_a_split_is_refused() -> None:
    graph = portgnn.Graph.from_edges([[0, 1]], [[1.0], [2.0]], [0, 1])
    with pytest.raises(ConfigError, match="no training split"):
        verify_seeds("numpy", seeds=1, dataset=graph)
