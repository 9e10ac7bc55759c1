"""How the learning rate goes on from epoch to epoch: rates known before the run, and a place among them in the state.

A step reads its rate at the place, so that nothing is compiled anew when it changes, and the place is kept, rewound and
resumed with the parameters. What moves the place on is the end of an epoch: for most schedules by one; for "plateau"
where the loss, which the compiled epoch has just measured, has not fallen for long enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from portgnn.parts import provides
from portgnn.presets import Config
from portgnn.protocol import Array, Backend, State, Widening

PLACE, WAITED, BEST = "schedule.place", "schedule.waited", "schedule.best"
"""Names in the state: the place, epochs since a better loss, and that loss."""
NO_LOSS_YET = 3e38
"""What the first loss is better than: a state holds finite numbers, in any dtype."""


def _step(config: Config, epoch: int) -> float:
    return float(config.learning_rate * config.schedule_factor ** (epoch // config.schedule_every))


def _exponential(config: Config, epoch: int) -> float:
    return float(config.learning_rate * config.schedule_factor ** (epoch / config.schedule_every))


def _cosine(config: Config, epoch: int) -> float:
    """Equation 5 of Loshchilov & Hutter 2017, without restarts."""
    height = config.learning_rate - config.min_learning_rate
    return config.min_learning_rate + height * (1 + math.cos(math.pi * epoch / (config.epochs - config.warmup))) / 2


def _plateau(config: Config, times: int) -> float:
    return max(config.learning_rate * config.schedule_factor**times, config.min_learning_rate)


_RULES: dict[str, Callable[[Config, int], float]] = {
    "constant": lambda config, epoch: config.learning_rate,
    "step": _step,
    "exponential": _exponential,
    "cosine": _cosine,
    "plateau": _plateau,
}
"""The rate after so many epochs beyond the warm-up; of "plateau", after the loss has stood still so many times."""


def rates(config: Config) -> NDArray[np.float64]:
    """All rates of a run: those of the warm-up, then one an epoch or, of "plateau", one each time; one if constant."""
    warm = [config.learning_rate * (epoch + 1) / config.warmup for epoch in range(config.warmup)]
    left = config.epochs - config.warmup
    count = {"constant": 1, "plateau": left // (config.schedule_patience + 1) + 1}.get(config.schedule, left)
    rule = _RULES[config.schedule]
    return np.array(warm + [rule(config, at) for at in range(count)])


class Schedule:
    """A recipe's rates on a device, and how a run goes along them."""

    def __init__(self, backend: Backend, config: Config) -> None:
        host = rates(config)
        self._backend, self._last, self._config = backend, len(host) - 1, config
        self._rates: object = in_float32(backend, host)
        self._none = backend.xp.zeros_like(self._rates)
        self._places: object = backend.asarray(np.arange(len(host), dtype=np.int32))
        self._zero, self._one = (backend.asarray(np.array(value, dtype=np.int32)) for value in (0, 1))

    def init(self) -> State:
        """The beginning of the run."""
        backend, none = self._backend, np.array(0, dtype=np.int32)
        state = {PLACE: backend.asarray(none)}
        if self._config.schedule == "plateau":
            state |= {WAITED: backend.asarray(none), BEST: backend.asarray(np.array(NO_LOSS_YET))}
        return state

    def part_of(self, state: Mapping[str, object]) -> State:
        """What belongs to the schedule."""
        return {name: state[name] for name in (PLACE, WAITED, BEST) if name in state}

    def rate(self, state: State) -> Array:
        """The rate of the epoch that the state stands before, 0-d.

        A sum in which it alone is not 0: exact, and of functions that any backend has, where to pick an entry by a
        number on the device takes other words in each library.
        """
        xp = self._backend.xp
        rate: Array = xp.sum(xp.where(self._places == state[PLACE], self._rates, self._none))
        return rate

    def advanced(self, state: State, loss: Array) -> State:
        """The state after the epoch. loss: by which "plateau" judges, 0-d."""
        xp, place = self._backend.xp, state[PLACE]
        moves, after = self._one, {}
        if self._config.schedule == "plateau":
            is_past = place >= self._config.warmup
            is_better = loss < state[BEST] * (1.0 - self._config.schedule_threshold)
            waited = xp.where(is_better, self._zero, state[WAITED] + 1)
            # As torch.optim.lr_scheduler.ReduceLROnPlateau: patience epochs may pass, the next one lowers the rate.
            lowers = xp.where(waited > self._config.schedule_patience, self._one, self._zero)
            moves = xp.where(is_past, lowers, self._one)
            after[WAITED] = xp.where(moves > 0, self._zero, waited)
            after[BEST] = xp.where(is_past, xp.where(is_better, loss, state[BEST]), state[BEST])
        after[PLACE] = xp.where(place < self._last, place + moves, place)
        return state | after


def schedule_of(backend: Backend, config: Config) -> Schedule | None:
    """The recipe's schedule; None where its rate stays as it is."""
    return Schedule(backend, config) if config.is_scheduled else None


def in_float32(backend: Backend, host: NDArray[np.float64]) -> object:
    """Numbers on the device in float32 where the backend computes in bfloat16 and has room for that; else its floats.

    Three numbers of 8 bits add up to one of 24: the door makes every float the backend's own.
    """
    if backend.dtype != "bfloat16" or not provides(backend, Widening):
        return backend.asarray(host)
    xp, rest, total = backend.xp, host.astype(np.float32), None
    for _ in range(3):
        part = backend.asarray(rest)
        rest = rest - backend.to_numpy(part).astype(np.float32)
        wide = xp.astype(part, xp.float32)
        total = wide if total is None else total + wide
    return total
