"""Checks of the optimizers that portgnn writes over a backend's functions, of schedules, clipping and accumulation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from portgnn.loaders.engine import Sampled
from portgnn.loaders.source import InMemory
from portgnn.presets import Config
from portgnn.protocol import Backend, Keys, State
from portgnn.random import dropout_keys
from portgnn.training import VALIDATED, initial_state, join_state, make_run, scheduled, split_state
from portgnn.training.optimizers import optimizer_of
from portgnn.verification.cases import Case, Recipe
from portgnn.verification.check import check
from portgnn.verification.draw import Draw, recipe
from portgnn.verification.measure import Departure, Floats, Measured, Suspects, compare, fetch, worst
from portgnn.verification.oracle_optimizers import Optimizer

STEPS = 20
DECAY = {"large": 0.05, "small": 0.0}
SIZES = {"large": 1.0, "small": 1e-2}
Options = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Trial:
    """An optimizer with what a recipe says of it, on drawn gradients."""

    case: Case
    options: Options

    @property
    def config(self) -> Config:
        return Config(**dict(self.options))


def _chosen(draw: Draw, purpose: str, options: tuple[dict[str, object], ...]) -> tuple[Trial, ...]:
    stream = draw.stream(purpose)
    shape = (int(stream.integers(2, 9)), 1, int(stream.integers(1, 5)))
    return tuple(
        Trial(Case(*shape, seed=draw.seed + number), tuple(each.items())) for number, each in enumerate(options)
    )


def _sgd(draw: Draw) -> tuple[Trial, ...]:
    momentum = float(draw.stream("momentum").choice([0.5, 0.8, 0.9]))
    moving = {"optimizer": "sgd", "learning_rate": 0.03, "momentum": momentum}
    plain = {"optimizer": "sgd", "learning_rate": 0.1}
    return _chosen(draw, "sgd", (plain, moving, moving | {"nesterov": True}))


def _rmsprop(draw: Draw) -> tuple[Trial, ...]:
    stream = draw.stream("rho")
    given = {"optimizer": "rmsprop", "rho": float(stream.choice([0.8, 0.9, 0.95])), "eps": 1e-3}
    return _chosen(draw, "rmsprop", (given, given | {"momentum": float(stream.choice([0.5, 0.8]))}))


def _adamw(draw: Draw) -> tuple[Trial, ...]:
    stream = draw.stream("adamw")
    given = {"optimizer": "adamw", "learning_rate": 0.02, "beta1": float(stream.choice([0.8, 0.85])), "eps": 1e-3}
    return _chosen(draw, "adamw", (given,))


def _clips(draw: Draw) -> tuple[Trial, ...]:
    most = float(draw.stream("clip").choice([0.5, 0.75, 1.5]))
    given = {"optimizer": "sgd", "learning_rate": 0.1}
    return _chosen(draw, "clip", (given | {"clip_norm": most}, given | {"clip_value": most / 2}))


def _start(case: Case) -> dict[str, Floats]:
    return {name: case.array(f"start of {name}", case.rows, case.columns) for name in SIZES}


def _gradients(case: Case, step: int) -> dict[str, Floats]:
    """Large ones and, each third time, small ones, which no clip touches; all of them 0 now and then."""
    found = {}
    for name, size in SIZES.items():
        drawn = case.array(f"{name} at step {step}", case.rows, case.columns).astype(np.float32)
        found[name] = (drawn * np.float32(size / 32 if step % 3 == 0 else size)).astype(np.float64) * (step % 7 != 3)
    return found


def _expected(trial: Trial, decay: dict[str, float], **mistake: object) -> dict[str, Floats]:
    stated, params = Optimizer(trial.config, decay, **mistake), _start(trial.case)
    for step in range(STEPS):
        params = stated.step(params, _gradients(trial.case, step))
    return params


def _stepped(backend: Backend, trial: Trial, decay: dict[str, float]) -> dict[str, Any]:
    """Parameters after the steps, between which the state goes to the host and the optimizer is made anew."""
    case = trial.case
    params = {name: backend.asarray(value) for name, value in _start(case).items()}
    state = optimizer_of(backend, trial.config, decay).init(params)
    for step in range(STEPS):
        grads = {name: backend.asarray(value) for name, value in _gradients(case, step).items()}
        params, state = optimizer_of(backend, trial.config, decay).step(params, grads, state)
        if step % 5 == 2:
            params, state = (
                {name: backend.asarray(backend.to_numpy(value)) for name, value in part.items()}
                for part in (params, state)
            )
    return params


def _measure(backend: Backend, trial: Trial, mistakes: dict[str, dict[str, Any]]) -> Measured:
    got, want, start = _stepped(backend, trial, DECAY), _expected(trial, DECAY), _start(trial.case)
    if set(got) != set(want):
        raise Departure(f"a step gives {sorted(got)}, not {sorted(want)}")
    measured = []
    for name in SIZES:
        suspects: dict[str, Any] = {
            reason: partial(lambda name, kind: _expected(trial, DECAY, **kind)[name], name, kind)
            for reason, kind in mistakes.items()
        }
        suspects["weight decay is missing"] = partial(lambda name: _expected(trial, {})[name], name)
        scale = max(float(np.abs(want[name] - start[name]).max()), float(np.abs(start[name]).max()))
        found = fetch(backend, got[name], f"the parameter after {STEPS} steps")
        measured.append(compare(f"the parameter with {name} gradients", found, want[name], scale, suspects))
    return worst(*measured)


@check("optimizer.sgd", cases=_sgd, full=_sgd)
def sgd(backend: Backend, trial: Trial) -> Measured:
    """Without momentum, with it, and with Nesterov's."""
    mistakes = {"the velocity takes (1 - momentum) of a gradient": {"damped": True}} if trial.config.momentum else {}
    return _measure(backend, trial, mistakes)


@check("optimizer.rmsprop", cases=_rmsprop, full=_rmsprop)
def rmsprop(backend: Backend, trial: Trial) -> Measured:
    """With momentum and without."""
    return _measure(backend, trial, {"RMSprop adds eps inside the square root": {"eps_inside": True}})


@check("optimizer.adamw", cases=_adamw, full=_adamw)
def adamw(backend: Backend, trial: Trial) -> Measured:
    """The decay beside the moments."""
    return _measure(backend, trial, {"the decay is added to the gradient (Adam), not decoupled": {"decoupled": False}})


@check("optimizer.clipping", cases=_clips, full=_clips)
def clipping(backend: Backend, trial: Trial) -> Measured:
    """By the norm of all gradients, and by value; before the weight decay."""
    return _measure(backend, trial, {})


@dataclass(frozen=True)
class Way:
    """A schedule on the way down a bowl, on which some rates lead up. start: where from, each below 1."""

    options: Options
    start: tuple[float, ...]

    @property
    def config(self) -> Config:
        return Config(optimizer="sgd", patience=0, **dict(self.options))


def _ways(draw: Draw) -> tuple[Way, ...]:
    """All schedules. Where "plateau" has to judge, the loss clearly falls or clearly rises."""
    stream = draw.stream("schedule")
    start = tuple(float(x) for x in stream.uniform(0.25, 1.0, 3).astype(np.float32))
    warmup, factor = int(stream.integers(1, 5)), float(stream.choice([0.4, 0.5, 0.7]))
    common: dict[str, object] = {"epochs": 24, "learning_rate": float(stream.choice([0.2, 0.3]))}
    every = int(stream.integers(2, 6))
    made: tuple[dict[str, object], ...] = (
        common | {"warmup": warmup},
        common | {"schedule": "step", "schedule_factor": factor, "schedule_every": every},
        common | {"schedule": "exponential", "schedule_factor": factor, "schedule_every": every, "warmup": warmup},
        common | {"schedule": "cosine", "warmup": warmup, "min_learning_rate": 0.01},
        {"schedule": "plateau", "epochs": 24, "learning_rate": 2.25, "schedule_factor": 0.5, "min_learning_rate": 0.5,
         "schedule_patience": int(stream.integers(0, 4)), "warmup": warmup},
    )  # fmt: skip
    return tuple(Way(tuple(each.items()), start) for each in made)


def _few_ways(draw: Draw) -> tuple[Way, ...]:
    """The one that watches a loss and, by the draw, another: each is compiled, which MLX takes long for in bfloat16."""
    ways = _ways(draw)
    return ways[-1:] if draw.dtype == "bfloat16" else (ways[draw.seed % 4], ways[-1])


def _course(way: Way, **mistake: object) -> Floats:
    stated, params, losses = Optimizer(way.config, {}, **mistake), {"x": np.array(way.start)}, []
    for _ in range(way.config.epochs):
        losses.append(float((params["x"] ** 2).sum()) / 2)
        params = stated.step(params, {"x": params["x"]})
        stated.observe(losses[-1])
    return np.array(losses)


@check("optimizer.schedule", cases=_few_ways, full=_ways)
def schedule(backend: Backend, way: Way) -> Measured:
    """Losses of compiled epochs whose rate changes, in two parts with the state on the host between them."""
    config = way.config
    optimizer = optimizer_of(backend, config, {})

    def step(state: State, keys: Keys) -> Any:
        params, moments = split_state(state)
        loss = backend.xp.sum(params["x"] * params["x"]) * 0.5
        grads = {name: value * 1.0 for name, value in params.items()}  # of half the square
        params, moments = optimizer.step(params, grads, moments)
        return join_state(params, moments), (loss,)

    params = {"x": backend.asarray(np.array(way.start))}
    state = join_state(params, optimizer.init(params))
    run, rows = backend.compile(scheduled(backend, config, step)), []
    for epochs in (config.epochs // 2, config.epochs // 2):
        state = {name: backend.asarray(backend.to_numpy(value)) for name, value in state.items()}
        state, measured = run(state, np.zeros((epochs, 1, 2), dtype=np.uint32))
        rows.append(measured[:, 0])
    want = _course(way)
    suspects: Suspects = {
        "the rate is an epoch behind": lambda: _course(way, late=True),
        "the rate does not change": lambda: _course(Way((("epochs", config.epochs),
                                                         ("learning_rate", config.learning_rate)), way.start)),
    }  # fmt: skip
    return compare("the losses", np.concatenate(rows), want, suspects=suspects)


COMBINED: tuple[dict[str, object], ...] = (
    {"optimizer": "sgd", "learning_rate": 0.2, "momentum": 0.9, "nesterov": True, "schedule": "cosine", "warmup": 1},
    {"optimizer": "adamw", "learning_rate": 0.02, "eps": 1e-3, "schedule": "step", "schedule_every": 3,
     "clip_norm": 0.1},
    {"optimizer": "rmsprop", "eps": 1e-3, "rho": 0.9, "schedule": "plateau", "schedule_patience": 1, "warmup": 1},
    {"optimizer": "adam", "eps": 1e-3, "schedule": "exponential", "schedule_every": 4, "clip_value": 0.01},
)  # fmt: skip
_UNREAD = {"beta1": 0.9, "beta2": 0.999, "learning_rate": 0.01}


def _combined(draw: Draw, number: int) -> Recipe:
    return recipe(draw, "optimizers", number, **_UNREAD | {"eps": 1e-8, "weight_decay": 0.02} | COMBINED[number])


def _recipes(draw: Draw) -> tuple[Recipe, ...]:
    return tuple(_combined(draw, number) for number in range(len(COMBINED)))


def _one_recipe(draw: Draw) -> tuple[Recipe, ...]:
    """Which of them, by the draw: each is compiled."""
    return (_combined(draw, int(draw.stream("optimizer and schedule").integers(len(COMBINED)))),)


@check("optimizer.training", cases=_one_recipe, full=_recipes, dtypes=("float64",))
def training(backend: Backend, recipe: Recipe) -> Measured:
    """Epochs of the network under an optimizer, a schedule and a clip together, one by one and at once."""
    want, layers, found = np.array(recipe.course.metrics), recipe.config.layers, []
    run = make_run(backend, recipe.prepared, validate=recipe.graph.val is not None)
    for parts in ((recipe.epochs,), (1, recipe.epochs - 1)):
        state, rows, start = initial_state(backend, recipe.prepared, recipe.seed), [], 0
        for count in parts:
            state, measured = run(state, dropout_keys(recipe.seed, range(start, start + count), layers))
            rows.append(np.asarray(measured))
            start += count
        found.append(compare("the losses", np.concatenate(rows)[:, :2], want[:, :2]))
    return worst(*found)


def _accumulating(draw: Draw) -> tuple[Recipe, ...]:
    """Two batches of two sizes, all of whose neighbours are taken, and which together make a step."""
    more = {"loader": "neighbor", "fanout": "all", "accumulate": 3, "patience": 0, "clip_norm": 0.5}
    drawn = recipe(draw, "accumulate", 0, adjacency="csr", epochs=1, **more)
    return (drawn.but(batch_size=drawn.nodes // 10 + 1, restore_best=False, rows=""),)


@check("optimizer.accumulation", cases=_accumulating, full=_accumulating, dtypes=("float64",))
def accumulation(backend: Backend, recipe: Recipe) -> Measured:
    """An epoch of one step along the gradients of all batches is one of the whole graph; clipped after they add up."""
    source = InMemory(recipe.prepared)
    run = Sampled(backend, source).make_run(recipe.graph.val is not None).only("train_loss", *VALIDATED)
    state = initial_state(backend, source, recipe.seed)
    names = set(state)
    state, got = run(state, dropout_keys(recipe.seed, range(recipe.epochs), recipe.config.layers))
    if set(state) != names:
        raise Departure(f"between epochs the state holds {sorted(set(state) - names)} as well")
    return compare("the losses", np.asarray(got)[:, :2], np.array(recipe.course.metrics)[:, :2])
