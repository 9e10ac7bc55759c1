"""Whole trainings of many seeds against the float64 reference, with every departure explained or not.

One seed shows little: most float32 runs follow float64 to seven digits for 200 epochs, and a few part from it at a kink
of relu, which `portgnn.verification.kinks` finds and confirms. What no kink explains is a fault.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from portgnn import tasks
from portgnn.datasets import load_graph
from portgnn.errors import ConfigError, PortgnnError
from portgnn.graphs.graph import Graph
from portgnn.placing.prepared import Prepared
from portgnn.presets import preset as named_preset
from portgnn.protocol import Backend
from portgnn.random import dropout_keys
from portgnn.training import initial_state, make_run
from portgnn.verification._steps import Stepping
from portgnn.verification.kinks import ROUNDOFF, Following, Kink, WatchedRun, bound
from portgnn.verification.measure import Floats
from portgnn.verification.oracle import Course, Network
from portgnn.verification.resolve import resolve
from portgnn.verification.tolerances import tolerance

EPOCHS = 200
SMALL = 16
"""A loss agrees as well where it is off by no more than so many roundoffs, absolutely: a loss near 0 is the logarithm
of a number near 1, which a dtype holds to one roundoff however small the loss becomes."""
PART = 50
"""Epochs of one call of a compiled run."""


@dataclass(frozen=True)
class SeedResult:
    """One seed. error: the largest relative difference of a loss, of training or validation, from the reference's; None
    where one is not finite or the backend raised. first: the first epoch in which it exceeds the tolerance, None where
    none does.

    by: what explains a departure: "kinks", "steps" or "" for neither. explained: the error from a reference that takes
    the backend's side of each kink; None where it was not asked. kinks: those sides.
    """

    seed: int
    error: float | None
    first: int | None
    explained: float | None
    kinks: tuple[Kink, ...]
    passed: bool
    hint: str = ""
    seconds: float = 0.0
    by: str = ""

    @property
    def state(self) -> str:
        """ "agrees", "explained" or "FAILS"."""
        if not self.passed:
            return "FAILS"
        return "agrees" if self.first is None else "explained"


@dataclass(frozen=True)
class SeedsReport:
    """What `verify_seeds` found. bound: how far from 0 a kink may lie, relative to the sizes of its terms."""

    backend: str
    device: str
    dtype: str
    dataset: str
    preset: str
    epochs: int
    tolerance: float
    bound: float
    seeds: tuple[SeedResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every seed agrees with the reference or departs for a reason that was found and confirmed."""
        return bool(self.seeds) and all(one.passed for one in self.seeds)

    @property
    def kinks(self) -> int:
        """How many kinks the departing runs went through."""
        return sum(len(one.kinks) for one in self.seeds)

    def summary(self) -> dict[str, Any]:
        """The distribution over seeds: median and largest of the errors that are numbers, how many depart, how many of
        those are explained.
        """
        errors = [one.error for one in self.seeds if one.error is not None]
        states = [one.state for one in self.seeds]
        return {
            "seeds": len(self.seeds),
            "median": float(np.median(errors)) if errors else None,
            "largest": max(errors, default=None),
            "departing": sum(one.first is not None for one in self.seeds),
            "explained": states.count("explained"),
            "by_steps": sum(one.by == "steps" for one in self.seeds),
            "unexplained": states.count("FAILS"),
            "kinks": self.kinks,
            "farthest_kink": max((kink.distance for one in self.seeds for kink in one.kinks), default=None),
        }

    def to_dict(self) -> dict[str, Any]:
        """The report as one JSON document."""
        head = {
            name: getattr(self, name)
            for name in ("backend", "device", "dtype", "dataset", "preset", "epochs", "tolerance", "bound", "passed")
        }
        rows = [asdict(one) | {"state": one.state} for one in self.seeds]
        return head | {"summary": self.summary(), "seeds": rows}


def verify_seeds(
    backend: str | Backend = "numpy",
    *,
    seeds: int | Iterable[int] = 20,
    dataset: str | Path | Graph | None = None,
    preset: str = "kipf",
    epochs: int = EPOCHS,
    device: str | None = None,
    dtype: str = "float32",
    on_seed: Callable[[SeedResult], None] | None = None,
    announce: Callable[[str], None] | None = None,
    **hyperparameters: object,
) -> SeedsReport:
    """Trains each seed for all epochs, without early stopping, and compares every loss with the float64 reference's.

    seeds: how many, from 0, or which. dataset: a name, a path or a Graph, or None as for `portgnn.train`. on_seed:
    called with each result as it comes. hyperparameters: as for `portgnn.train`, in place of the preset's.

    A run that departs by more than the tolerance is followed through its kinks. It passes where the reference, forced
    to the backend's side of elements within `kinks.bound` of 0 and of no others, agrees with it to the tolerance.

    Raises BackendError for a backend that cannot be had, ConfigError for a recipe or graph that cannot be trained.
    What the backend itself raises is a failure of that seed.
    """
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not chosen:
        raise ConfigError(f"seeds={seeds} compares nothing; give at least 1")
    made = resolve(backend, device, dtype)
    recipe: dict[str, Any] = {"patience": 0, "restore_best": False, "loader": "full"} | hyperparameters
    config = named_preset(preset, epochs=epochs, **recipe)
    if tasks.of(config).about != "nodes":
        raise ConfigError(
            f"whole trainings are followed for tasks about nodes, and {preset} is of {tasks.of(config).about}; leave "
            "--seeds out to check the task's loss"
        )
    graph = dataset if isinstance(dataset, Graph) else load_graph(dataset, announce=announce)
    if graph.train is None or graph.num_classes < 1:
        raise ConfigError(f"{graph.name} has no training split to learn from; name another dataset")
    if config.undirected and not graph.is_undirected:
        graph = graph.symmetrized()
    comparison = Comparison(made, Prepared.of(graph, config))
    results = []
    for seed in chosen:
        results.append(comparison.result(seed))
        if on_seed:
            on_seed(results[-1])
    return SeedsReport(
        made.name,
        made.device,
        made.dtype,
        graph.name,
        preset,
        epochs,
        comparison.tolerance,
        bound(made.dtype),
        tuple(results),
    )


class Comparison:
    """One backend on one graph under one recipe, beside the reference; compiled once for all seeds."""

    def __init__(self, backend: Backend, prepared: Prepared) -> None:
        self._backend, self._prepared, config = backend, prepared, prepared.config
        self._sparse = prepared.has_sparse_features or not config.input_dropout
        self.tolerance = tolerance(f"seeds.{config.preset}", backend.dtype, backend.device).value
        self._floor = SMALL * ROUNDOFF[backend.dtype]
        self._run = make_run(backend, prepared, validate=prepared.graph.val is not None)
        self._watched: WatchedRun | None = None

    def reference(self, seed: int) -> Course:
        """What the float64 reference does."""
        config = self._prepared.config
        return Network(self._prepared.graph, config, self._sparse).train(seed, config.epochs)

    def found(self, seed: int) -> Floats:
        """The backend's losses and counts, a row an epoch."""
        config, rows = self._prepared.config, []
        state = initial_state(self._backend, self._prepared, seed)
        for start in range(0, config.epochs, PART):
            epochs = range(start, min(start + PART, config.epochs))
            state, metrics = self._run(state, dropout_keys(seed, epochs, config.layers))
            rows.append(metrics)
        return np.concatenate(rows)

    def result(self, seed: int, course: Course | None = None) -> SeedResult:
        """One seed. course: the reference's, where it is known."""
        clock = time.perf_counter()
        try:
            found = self.found(seed)
            course = self.reference(seed) if course is None else course
            error, first = departure(found, course, self.tolerance, self._floor)
            if first is None:
                hint = "a loss near 0, by less than its rounding" if error > self.tolerance else ""
                return SeedResult(seed, error, None, None, (), True, hint, time.perf_counter() - clock)
            return self._followed(seed, found, error, first, clock)
        except PortgnnError:
            raise
        # An adapter may fail in any way; that is a finding, not a crash.
        except Exception as fault:
            hint = f"{type(fault).__name__}: {fault}"
            return SeedResult(seed, None, 0, None, (), False, hint, time.perf_counter() - clock)

    def _followed(self, seed: int, found: Floats, error: float, first: int, clock: float) -> SeedResult:
        """What becomes of a departure when the reference takes the backend's side of every kink."""
        graph, config = self._prepared.graph, self._prepared.config
        if self._watched is None:
            self._watched = WatchedRun(self._backend, self._prepared)
        self._watched.start(seed)
        following = Following(graph, config, self._sparse, self._backend, self._watched)
        course = following.train(seed, config.epochs)
        explained, still = departure(found, course, self.tolerance, self._floor)
        by, hint, kinks = "kinks", "", following.kinks
        if still is not None or following.beyond is not None:
            by, hint, kinks = self._stepped(seed, found)
        seconds = time.perf_counter() - clock
        return SeedResult(
            seed, _finite(error), first, _finite(explained), tuple(kinks), bool(by), hint, seconds, by
        )  # fmt: skip

    def _stepped(self, seed: int, found: Floats) -> tuple[str, str, list[Kink]]:
        """Whether every single epoch is right from the backend's own parameters; if not, what is wrong first."""
        assert self._watched is not None
        graph, config = self._prepared.graph, self._prepared.config
        stepping = Stepping(graph, config, self._sparse, self._backend, self._watched)
        stepping.walk(seed, self.tolerance, self._floor)
        if stepping.beyond is not None:
            reach = stepping.allowed * stepping.beyond.terms
            hint = f"relu takes the other side of 0 at {stepping.beyond}; rounding reaches {reach:.0e} there"
            return "", hint, []
        if stepping.wrong is not None:
            return "", str(stepping.wrong), []
        parted = float(np.abs(np.array(self._watched.metrics) - found).max())
        if parted > 0 and self._backend.capabilities.deterministic:
            hint = f"its losses are others by {parted:.0e} where relu is watched, so that this run cannot be followed"
            return "", hint, []
        return "steps", "", stepping.kinks


def _finite(error: float) -> float | None:
    return error if math.isfinite(error) else None


def departure(found: Floats, course: Course, allowed: float, floor: float) -> tuple[float, int | None]:
    """The largest relative difference of a loss, and the first epoch in which one exceeds what is allowed.

    floor: what a loss may differ by absolutely. Counts of right nodes may differ by those that are near a tie; a count
    that is further off departs as well.
    """
    want = np.array(course.metrics)
    losses, wanted = found[:, :2], want[:, :2]
    with np.errstate(invalid="ignore", divide="ignore"):
        absolute = np.where(losses == wanted, 0.0, np.abs(losses - wanted))
        relative = np.where(absolute == 0.0, 0.0, absolute / np.abs(wanted))
    relative = np.where(np.isnan(relative), np.inf, relative)
    off = ((relative > allowed) & ~(absolute <= floor)).any(axis=1)
    if want.shape[1] == 3:
        off |= np.abs(found[:, 2] - want[:, 2]) > np.array(course.close)
    return float(relative.max()), int(np.flatnonzero(off)[0]) if off.any() else None
