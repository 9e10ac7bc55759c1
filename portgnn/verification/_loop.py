"""Checks of the training loop on scripted epochs: when it ends, what it returns, what it keeps, and how it resumes.

The losses are given, so that the loop's decisions are exact and can be said beforehand; `oracle.ending` and
`oracle.best` state the rules once more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portgnn.checkpoints import runs
from portgnn.graphs.split import split
from portgnn.metrics import ACCURACY, Measures
from portgnn.placing.prepared import Prepared
from portgnn.presets import Config
from portgnn.protocol import Backend, State
from portgnn.training import Epochs, Fit, Progress, fit, initial_state
from portgnn.verification.cases import Recipe
from portgnn.verification.check import check
from portgnn.verification.draw import Draw
from portgnn.verification.measure import Departure, Floats, Measured, compare, worst
from portgnn.verification.oracle import best, ending, epoch_keys

WEIGHT = "param.weight0"


@dataclass(frozen=True)
class Script:
    """The losses of a run that nobody computes, and the rules under which it is made."""

    recipe: Recipe
    every: int

    @cached_property
    def prepared(self) -> Prepared:
        return self.recipe.prepared

    @cached_property
    def config(self) -> Config:
        return self.recipe.config

    def _stream(self) -> np.random.Generator:
        return np.random.default_rng([self.recipe.seed, 1])

    @cached_property
    def metrics(self) -> Floats:
        """[epochs, 3]: training loss, validation loss, right answers; falling, with bumps, plateaus and ties."""
        random, epochs = self._stream(), self.config.epochs
        falling = np.exp(-np.arange(epochs) / random.uniform(5, 40)) + random.uniform(0, 0.3) * random.random(epochs)
        rising = np.maximum(np.arange(epochs) - random.integers(2, epochs + 20), 0) * 0.02
        val = np.round(falling + rising, int(random.integers(1, 5)))  # coarse ones have ties
        right = random.integers(0, len(split(self.prepared.graph, "val")) + 1, epochs)
        return np.stack([random.uniform(0.1, 3.0, epochs), val, right], axis=1)

    def weight(self, epochs: int, start: Floats) -> Floats:
        """What the scripted weight is after so many epochs: it remembers each of them, and their order."""
        value = start
        for epoch in range(epochs):
            value = 0.25 * value + _kick(epoch)
        return value


def _kick(epoch: int) -> float:
    return 1.0 + (epoch * 7 % 13) / 16


class Scripted:
    """An `Engine` that reads its numbers from a script."""

    def __init__(self, backend: Backend, script: Script) -> None:
        self.backend, self._script = backend, script
        self.problem = script.prepared
        config, seed = script.config, script.recipe.seed
        self._epochs = {epoch_keys(seed, e, config.layers).tobytes(): e for e in range(config.epochs)}

    def agree(self, value: float) -> float:
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def scores(
        self, params: Mapping[str, NDArray[np.generic]], nodes: NDArray[np.int64]
    ) -> dict[str, float]:  # pragma: no cover
        raise NotImplementedError

    def make_run(self, validate: bool) -> Epochs:
        metrics = self._script.metrics

        def run(state: State, keys: NDArray[np.uint32]) -> tuple[State, Floats]:
            weight, rows = self.backend.to_numpy(state[WEIGHT]).astype(np.float64), []
            for key in keys:
                epoch = self._epochs.get(key.tobytes())
                if epoch is None:
                    raise Departure("the loop asks for an epoch with dropout keys of no epoch of this run")
                weight = 0.25 * weight + _kick(epoch)
                rows.append(metrics[epoch])
            # Moments of another size than 0, so that what forgets them shows.
            others = {
                name: self.backend.asarray(np.full(value.shape, float(len(rows))))
                for name, value in state.items()
                if name.startswith("m.") and not str(value.dtype).rpartition(".")[2].startswith("int")
            }
            return state | others | {WEIGHT: self.backend.asarray(weight)}, np.array(rows)[:, : 3 if validate else 1]

        return Epochs(run, Measures((ACCURACY,)), len(split(self.problem.graph, "val")) if validate else 0)


class Left(Exception):
    """What a checkpointer raises where it leaves."""


class Notebook:
    """A `Checkpointer` that writes down what it is given, and may leave after some epochs."""

    def __init__(self, every: int, leave_at: int | None = None) -> None:
        self.every, self._leave_at = every, leave_at
        self.kept: list[Progress] = []
        self._epochs = 0

    def keep(self, progress: Progress) -> None:
        self._epochs = len(progress.history)
        self.kept.append(replace(progress, history=progress.history.copy()))

    def stop(self) -> bool:
        return self._leave_at is not None

    def leave(self) -> None:
        raise Left


def _scripts(draw: Draw) -> tuple[Script, ...]:
    stream = draw.stream("scripts")
    made = []
    for number in range(6):
        epochs = int(stream.choice([1, 2, 63, 64, 65, 66, 130, int(stream.integers(3, 129))]))
        options = {
            "stopping": ("window", "patience")[number % 2],
            "patience": int(stream.choice([0, 1, 2, 5, 10])) if number > 3 else int(stream.integers(1, 12)),
            "stop_after": float(stream.choice([0.0, 0.0, 0.25, 0.5])),
            "restore_best": bool(number // 2 % 2),
        }
        recipe = Recipe(nodes=20, width=3, classes=2, hidden=2, epochs=epochs, seed=int(stream.integers(2**31)))
        made.append(Script(recipe.but(**options), int(stream.choice([1, 7, 50, 64]))))
    return tuple(made)


def _outcome(script: Script) -> tuple[int, bool, int, int]:
    """How many epochs there are, whether stopping ended them, the best one, and whose parameters are returned."""
    losses = script.metrics[:, 1].tolist()
    end = ending(losses, script.config)
    epochs = len(losses) if end is None else end + 1
    lowest = best(losses[:epochs])
    return epochs, end is not None, lowest, lowest if script.config.restore_best else epochs - 1


def _compared(script: Script, done: Fit, start: Floats, what: str) -> Measured:
    epochs, stopped, lowest, returned = _outcome(script)
    history, wanted, val = done.history, script.metrics[:epochs], split(script.prepared.graph, "val")
    rule = f"{script.config.stopping}, patience {script.config.patience}, from {script.config.stop_after:g} on"
    if len(history) != epochs:
        raise Departure(f"{what} ends after {len(history)} epochs and not after {epochs} ({rule})")
    if done.stopped_early != stopped:
        raise Departure(
            f"{what} says stopped_early={done.stopped_early}, and it did{'' if stopped else ' not'} ({rule})"
        )
    if done.best_epoch != lowest:
        raise Departure(f"{what} calls epoch {done.best_epoch} the best; the lowest validation loss is at {lowest}")
    found = np.array([history.train_loss, history.val_loss, np.array(history.val_accuracy) * len(val)]).T
    if found.shape != wanted.shape or np.abs(found - wanted).max() > 1e-9:
        raise Departure(f"{what} has another history than its epochs")
    if len(history.epoch_ms) != epochs:
        raise Departure(f"{what} has times for {len(history.epoch_ms)} of {epochs} epochs")
    name = f"the parameters that {what} returns (those of epoch {returned})"
    return compare(name, done.params["weight0"], script.weight(returned + 1, start))


def _start(backend: Backend, script: Script) -> Floats:
    state = initial_state(backend, script.prepared, script.recipe.seed)
    return backend.to_numpy(state[WEIGHT]).astype(np.float64)


@check("loop", cases=_scripts, full=_scripts)
def loop(backend: Backend, script: Script) -> Measured:
    """When training ends, by which rule, which epoch is the best, and whose parameters are returned."""
    random = np.random.default_rng([script.recipe.seed, 3])
    # Coarse losses have ties, and short runs the ends of every window.
    coarse = [(random.integers(1, 5, int(random.integers(1, 25))) / 4).tolist() for _ in range(20)]
    for losses in (script.metrics[:, 1].tolist(), *coarse):
        end = ending(losses, script.config)
        said = next((e for e in range(len(losses)) if script.config.stops(losses[: e + 1])), None)
        if said != end:
            raise Departure(f"the stop rule ends training after epoch {said} and not after {end}: {losses[:30]}")
    done = fit(Scripted(backend, script), script.recipe.seed)
    measured = _compared(script, done, _start(backend, script), "training")
    return Measured(measured.error, lambda: measured.explain() or "the best epoch's parameters are not restored")


@check("loop.resume", cases=_scripts, full=_scripts)
def resume(backend: Backend, script: Script) -> Measured:
    """A run that is kept and goes on from what was kept, through a file, ends as if it had never stopped."""
    seed, start = script.recipe.seed, _start(backend, script)
    checkpointer, engine = Notebook(script.every), Scripted(backend, script)
    done = fit(engine, seed, checkpointer=checkpointer)
    measured = [_compared(script, done, start, "a run that is kept")]
    epochs = _outcome(script)[0]
    kept = [len(progress.history) for progress in checkpointer.kept]
    due = sorted({*range(0, epochs + 1, script.every), epochs})
    if sorted({*kept}) != due:
        raise Departure(f"with every={script.every} a run of {epochs} epochs is kept after {kept} and not after {due}")
    first = Notebook(script.every, leave_at=1)
    try:
        fit(engine, seed, checkpointer=first)
    except Left:
        checkpointer.kept.append(first.kept[-1])
    random = np.random.default_rng([seed, 2])
    for at in {0, len(checkpointer.kept) - 1, *random.integers(0, len(checkpointer.kept), 3).tolist()}:
        progress = checkpointer.kept[at]
        measured.append(compare("the kept weight", progress.state[WEIGHT], script.weight(len(progress.history), start)))
        again = fit(engine, seed, progress=_through_a_file(script, progress))
        measured.append(_compared(script, again, start, f"a run resumed after epoch {len(progress.history)}"))
    return worst(*measured)


def _through_a_file(script: Script, progress: Progress) -> Progress:
    graph = script.prepared.graph
    run = runs.Run(script.config, script.recipe.seed, "any", "any", "", "", "0", graph.class_names, graph.num_features)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.safetensors"
        runs.save_run(path, run, progress)
        read, back = runs.load_run(path)
    if read != run:
        raise Departure("a run read from its file is another one")
    for what, states in (
        ("state", (progress.state, back.state)),
        ("best state", (progress.best_state, back.best_state)),
    ):
        before, after = (one or {} for one in states)
        for name in {*before, *after}:
            if name not in after or name not in before or not _same(before[name], after[name]):
                raise Departure(f"{name} of the {what} is another one when it is read from the run's file")
    if (back.best_start, back.stopped) != (progress.best_start, progress.stopped) or back.history != progress.history:
        raise Departure("a run's file holds another history, another best epoch or another end")
    return back


def _same(a: NDArray[np.generic], b: NDArray[np.generic]) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b)
