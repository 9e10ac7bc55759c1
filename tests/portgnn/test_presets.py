"""Recipes: what each preset is, which values are refused, and when training stops."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from portgnn.errors import ConfigError
from portgnn.presets import PRESETS, Config, preset
from portgnn.recipe import known


def test_kipf_is_the_recipe_of_the_paper() -> None:
    kipf = preset("kipf")
    assert (kipf.layers, kipf.hidden, kipf.network.dropout_rates()) == (2, 16, (0.5, 0.5))
    assert (kipf.l2, kipf.weight_decay, kipf.bias, kipf.normalize_features) == (5e-4, 0.0, "none", "auto")
    assert (kipf.learning_rate, kipf.epochs, kipf.stopping, kipf.patience) == (0.01, 200, "window", 10)
    assert not kipf.restore_best


def test_pyg_is_the_recipe_of_its_benchmark() -> None:
    pyg = preset("pyg")
    assert pyg.network.dropout_rates() == (0.0, 0.5)
    assert (pyg.l2, pyg.weight_decay, pyg.bias) == (0.0, 5e-4, "after")
    assert (pyg.epochs, pyg.stop_after, pyg.patience, pyg.restore_best) == (200, 0.5, 10, True)


def test_article_is_three_dense_layers() -> None:
    article = preset("article")
    assert (article.layers, article.adjacency, article.rows, article.bias) == (3, "dense", "all", "before")
    assert (article.weight_decay, article.stopping, article.patience) == (5e-3, "patience", 20)


def test_recipes_of_other_networks_are_their_papers() -> None:
    gat = preset("gat-velickovic")
    assert (gat.layers, gat.hidden, gat.heads, gat.output_heads, gat.activation) == (2, 8, 8, 1, "elu")
    assert (gat.dropout, gat.input_dropout, gat.attention_dropout, gat.learning_rate) == (0.6, 0.6, 0.6, 0.005)
    sgc = preset("sgc-wu")
    assert (sgc.hops, sgc.learning_rate, sgc.epochs, sgc.patience, sgc.normalize_features) == (2, 0.2, 100, 0, "auto")
    appnp = preset("appnp-klicpera")
    assert (appnp.hidden, appnp.hops, appnp.alpha, appnp.l2, appnp.weight_decay) == (64, 10, 0.1, 5e-4, 0.0)
    cora, citeseer = preset("gcn2-chen"), preset("gcn2-chen-citeseer")
    assert (cora.layers, cora.hidden, cora.theta, cora.dropout, cora.alpha) == (64, 64, 0.5, 0.6, 0.1)
    assert (citeseer.layers, citeseer.hidden, citeseer.theta, citeseer.dropout) == (32, 256, 0.6, 0.7)
    assert (citeseer.convolution_decay, citeseer.weight_decay) == (0.01, 5e-4)
    assert (preset("cheb-defferrard").terms, preset("sage-hamilton").aggregator) == (3, "mean")


def test_each_preset_bears_its_name() -> None:
    assert {name: config.preset for name, config in PRESETS.items()} == {name: name for name in PRESETS}


def test_overrides_replace_and_none_does_not() -> None:
    config = preset("pyg", hidden=64, epochs=None)
    assert (config.hidden, config.epochs, config.preset) == (64, 200, "pyg")
    assert PRESETS["pyg"].hidden == 16


def test_numbers_of_numpy_become_plain_ones() -> None:
    config = preset("kipf", hidden=np.int64(8), dropout=np.float32(0.25), restore_best=np.bool_(True))
    assert [type(value) for value in (config.hidden, config.dropout, config.restore_best)] == [int, float, bool]


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        preset("kipf").hidden = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("kpif", {}, "unknown preset 'kpif'. Did you mean 'kipf'"),
        ("kipf", {"hiden": 3}, "unknown hyperparameter 'hiden'. Did you mean 'hidden'"),
        ("kipf", {"preset": "pyg"}, "unknown hyperparameter 'preset'"),
    ],
)
def test_unknown_names_get_near_matches(name: str, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        preset(name, **overrides)


WRONG: list[tuple[str, Any]] = [
    ("layers", 0),
    ("layers", 2.5),
    ("layers", True),
    ("hidden", 0),
    ("hidden", "16"),
    ("epochs", 0),
    ("epochs", 1.5),
    ("patience", -1),
    ("stop_after", 1.5),
    ("stop_after", -0.1),
    ("input_dropout", 1.0),
    ("dropout", -0.1),
    ("dropout", 1.0),
    ("dropout", float("nan")),
    ("l2", -1.0),
    ("l2", float("inf")),
    ("weight_decay", -1.0),
    ("learning_rate", 0.0),
    ("learning_rate", float("nan")),
    ("learning_rate", float("inf")),
    ("learning_rate", "fast"),
    ("beta1", 1.0),
    ("beta2", -0.5),
    ("eps", 0.0),
    ("optimizer", "adagrad"),
    ("momentum", 1.0),
    ("nesterov", 1),
    ("rho", -0.1),
    ("schedule", "cosin"),
    ("schedule_factor", 1.0),
    ("schedule_every", 0),
    ("schedule_patience", -1),
    ("schedule_threshold", 1.0),
    ("min_learning_rate", -0.1),
    ("warmup", -1),
    ("clip_norm", -1.0),
    ("clip_norm", float("inf")),
    ("clip_value", float("nan")),
    ("accumulate", 0),
    ("bias", "sometimes"),
    ("activation", "tanhh"),
    ("norm", "group"),
    ("residual", True),
    ("jumping", "first"),
    ("stopping", "never"),
    ("task", "clustering"),
    ("readout", "median"),
    ("loss", "hinge"),
    ("huber_delta", 0.0),
    ("standardize_targets", 1),
    ("class_weights", "a=-1"),
    ("class_weights", "heavy"),
    ("class_weights", {"a": float("nan")}),
    ("class_weights", 3),
    ("label_smoothing", 1.0),
    ("monitor", "loss"),
    ("monitor", 3),
    ("target", 3),
    ("features", "ragged"),
    ("adjacency", "list"),
    ("rows", "some"),
    ("loader", "random"),
    ("batch_size", 0),
    ("fanout", "15;10"),
    ("fanout", "0,10"),
    ("fanout", -1),
    ("fanout", True),
    ("fanout", ()),
    ("fanout", (15, 2.5)),
    ("fanout", [15, None]),
    ("fanout", [[15, 10]]),
    ("fanout", 2**31),
    ("fanout", np.ones((2, 2))),
    ("task", "links"),
    ("embedding", 0),
    ("decoder", "cosine"),
    ("link_val", 1.0),
    ("link_test", -0.1),
    ("link_apart", 1),
    ("link_seed", -2),
    ("negatives", -1),
    ("hits_k", -1),
    ("restore_best", "yes"),
    ("undirected", 1),
    ("normalize_features", 2),
    ("readout", "median"),
    ("task", "clustering"),
    ("readout", "median"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_values_that_cannot_be_used_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        preset("kipf", **{name: value})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"momentum": 0.9}, "momentum=0.9 is nothing to optimizer=adam; leave --momentum out, or take --optimizer sgd"),
        ({"nesterov": True}, "nesterov=True is nothing to optimizer=adam"),
        ({"optimizer": "sgd", "nesterov": True}, "nesterov looks ahead along the momentum, and momentum=0.0"),
        ({"optimizer": "sgd", "beta1": 0.8}, "beta1=0.8 is nothing to optimizer=sgd"),
        ({"schedule_patience": 3}, "leave --schedule-patience out, or take --schedule plateau"),
        ({"schedule": "step", "min_learning_rate": 1e-4}, "min_learning_rate=0.0001 is nothing to schedule=step"),
        ({"schedule": "cosine", "min_learning_rate": 0.1}, "min_learning_rate=0.1 is above learning_rate=0.01"),
        ({"schedule": "cosine", "warmup": 200}, "warmup=200 leaves none of epochs=200 for the full learning rate"),
        ({"schedule": "cosine", "epochs": 2**21}, "1048576 is the most; give fewer epochs"),
        ({"clip_norm": 1.0, "clip_value": 0.1}, "two ways to clip gradients; leave one of them out"),
    ],
)
def test_values_that_do_not_go_together_are_refused_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        preset("kipf", **given)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "text"),
    [((2, 3), "2,3"), ([2, "all"], "2,all"), (np.array([4, 5]), "4,5"), ([np.int64(6)], "6"), (7, "7"), ("all", "all")],
)
def test_numbers_of_neighbours_may_be_a_sequence(given: Any, text: str) -> None:
    config = preset("kipf", fanout=given, loader="neighbor")
    assert config.fanout == text
    assert config == preset("kipf", fanout=text, loader="neighbor")


def test_every_hyperparameter_has_a_wrong_value_above() -> None:
    assert {name for name, _ in WRONG} == set(known("gcn"))


def test_window_stops_above_the_mean_of_the_epochs_before() -> None:
    config = Config(stopping="window", patience=3)
    # tkipf/gcn: epoch > window and cost[-1] > mean(cost[-(window + 1):-1])
    assert not config.stops([1.0, 1.0, 1.0, 9.0])  # epoch 3 is not above the window
    assert config.stops([9.0, 1.0, 2.0, 3.0, 2.1])
    assert not config.stops([9.0, 1.0, 2.0, 3.0, 2.0])  # equal to the mean
    assert not config.stops([9.0, 3.0, 2.0, 1.0, 0.5])


def test_patience_counts_from_the_best_epoch() -> None:
    config = Config(stopping="patience", patience=2)
    assert not config.stops([1.0])
    assert not config.stops([1.0, 2.0])
    assert config.stops([1.0, 2.0, 3.0])
    assert not config.stops([1.0, 2.0, 0.5, 3.0])
    assert config.stops([1.0, 2.0, 0.5, 3.0, 0.5])  # a tie is no improvement


def test_nothing_stops_before_stop_after_or_without_patience() -> None:
    rising = [float(x) for x in range(60)]
    assert Config(epochs=100, patience=5, stop_after=0.5).stops(rising[:51])
    assert not Config(epochs=100, patience=5, stop_after=0.5).stops(rising[:50])
    assert not Config(patience=0).stops(rising)
    assert not Config(patience=0, stopping="patience").stops(rising)
