"""Optimizers, their schedules and clipping once more, in float64 NumPy and by hand: the part of the oracle that steps.

It shares no code with `portgnn.training`. A schedule is stated here as it goes on from one epoch's rate to the next, as
torch.optim.lr_scheduler does; there each epoch's rate comes of its number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from portgnn.presets import Config
from portgnn.verification.measure import Floats

Values = dict[str, Floats]


@dataclass
class Adam:
    """Algorithm 1 and, switched on one by one, the mistakes that are made with it; `decoupled` is AdamW."""

    rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    decay: dict[str, float] | None = None
    corrected: bool = True
    eps_inside: bool = False
    decoupled: bool = False

    def __post_init__(self) -> None:
        self.m: Values = {}
        self.v: Values = {}
        self.t = 0

    def step(self, params: Values, grads: Values) -> Values:
        self.t += 1
        after: Values = {}
        for name, value in params.items():
            decay = (self.decay or {}).get(name, 0.0)
            g = grads[name] + (0.0 if self.decoupled else decay * value)
            self.m[name] = self.beta1 * self.m.get(name, np.zeros_like(g)) + (1 - self.beta1) * g
            self.v[name] = self.beta2 * self.v.get(name, np.zeros_like(g)) + (1 - self.beta2) * g * g
            m, v = self.m[name], self.v[name]
            if self.corrected:
                m, v = m / (1 - self.beta1**self.t), v / (1 - self.beta2**self.t)
            root = np.sqrt(v + self.eps) if self.eps_inside else np.sqrt(v) + self.eps
            after[name] = value - self.rate * m / root - (self.rate * decay * value if self.decoupled else 0.0)
        return after


@dataclass
class Sgd:
    """v <- momentum v + g; x <- x - rate v, with nesterov x - rate (g + momentum v). damped: (1 - momentum) g is added
    to v, which many texts have and torch.optim.SGD has not.
    """

    rate: float
    momentum: float = 0.0
    nesterov: bool = False
    decay: dict[str, float] | None = None
    damped: bool = False

    def __post_init__(self) -> None:
        self.v: Values = {}

    def step(self, params: Values, grads: Values) -> Values:
        after: Values = {}
        for name, value in params.items():
            g = grads[name] + (self.decay or {}).get(name, 0.0) * value
            v = self.v[name] = self.momentum * self.v.get(name, 0.0 * g) + (1 - self.momentum * self.damped) * g
            after[name] = value - self.rate * (g + self.momentum * v if self.nesterov else v)
        return after


@dataclass
class RmsProp:
    """s <- rho s + (1 - rho) g^2; v <- momentum v + g / (sqrt(s) + eps); x <- x - rate v. eps_inside: sqrt(s + eps),
    which TensorFlow has.
    """

    rate: float
    rho: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    decay: dict[str, float] | None = None
    eps_inside: bool = False

    def __post_init__(self) -> None:
        self.s: Values = {}
        self.v: Values = {}

    def step(self, params: Values, grads: Values) -> Values:
        after: Values = {}
        for name, value in params.items():
            g = grads[name] + (self.decay or {}).get(name, 0.0) * value
            s = self.s[name] = self.rho * self.s.get(name, 0.0 * g) + (1 - self.rho) * g**2
            root = np.sqrt(s + self.eps) if self.eps_inside else np.sqrt(s) + self.eps
            v = self.v[name] = self.momentum * self.v.get(name, 0.0 * g) + g / root
            after[name] = value - self.rate * v
        return after


class Rate:
    """A learning rate that goes on from epoch to epoch. late: an epoch behind, a mistake that is made."""

    def __init__(self, config: Config, late: bool = False) -> None:
        self._config, self._epoch, self._late = config, 0, late
        self._full, self._best, self._waited = config.learning_rate, float("inf"), 0
        self.now = self._full * (1 / config.warmup if config.warmup else 1)

    def observe(self, loss: float) -> None:
        """Ends an epoch, whose loss this was."""
        config, self._epoch = self._config, self._epoch + 1
        if self._late:
            self._late = False
            self._epoch -= 1
            return
        if self._epoch < config.warmup:
            self.now = self._full * (self._epoch + 1) / config.warmup
            return
        if self._epoch > config.warmup:
            self._full = self._next(self._epoch - config.warmup, loss)
        self.now = self._full

    def _next(self, t: int, loss: float) -> float:
        """The rate of epoch t after the warm-up, from that of epoch t - 1."""
        config, rate = self._config, self._full
        if config.schedule == "step":
            return rate * config.schedule_factor if t % config.schedule_every == 0 else rate
        if config.schedule == "exponential":
            return float(rate * np.exp(np.log(config.schedule_factor) / config.schedule_every))
        if config.schedule == "cosine":
            angle, least = np.pi / (config.epochs - config.warmup), config.min_learning_rate
            return float(least + (rate - least) * (1 + np.cos(angle * t)) / (1 + np.cos(angle * (t - 1))))
        if config.schedule == "plateau":
            better = loss < self._best * (1 - config.schedule_threshold)
            self._best, self._waited = (loss, 0) if better else (self._best, self._waited + 1)
            if self._waited > config.schedule_patience:
                self._waited = 0
                return max(rate * config.schedule_factor, config.min_learning_rate)
        return rate


def clipped(config: Config, grads: Values) -> Values:
    """Gradients by the recipe's clip."""
    if config.clip_norm:
        norm = float(np.linalg.norm(np.concatenate([grad.ravel() for grad in grads.values()])))
        return {name: grad * min(1.0, config.clip_norm / max(norm, 1e-300)) for name, grad in grads.items()}
    if config.clip_value:
        return {
            name: np.minimum(np.maximum(grad, -config.clip_value), config.clip_value) for name, grad in grads.items()
        }
    return grads


class Optimizer:
    """A recipe's optimizer with its schedule: a step an epoch, and then what the epoch's loss was."""

    def __init__(self, config: Config, decay: dict[str, float], **mistake: Any) -> None:
        rates, late = config.learning_rate, mistake.pop("late", False)
        adam = (rates, config.beta1, config.beta2, config.eps, decay)
        kinds: dict[str, Callable[[], Any]] = {
            "adam": lambda: Adam(*adam, **mistake),
            "adamw": lambda: Adam(*adam, **{"decoupled": True} | mistake),
            "sgd": lambda: Sgd(rates, config.momentum, config.nesterov, decay, **mistake),
            "rmsprop": lambda: RmsProp(rates, config.rho, config.eps, config.momentum, decay, **mistake),
        }
        self._config, self._inner, self._rate = config, kinds[config.optimizer](), Rate(config, late)

    def step(self, params: Values, grads: Values) -> Values:
        self._inner.rate = self._rate.now
        stepped: Values = self._inner.step(params, clipped(self._config, grads))
        return stepped

    def observe(self, loss: float) -> None:
        """Ends an epoch."""
        self._rate.observe(loss)
