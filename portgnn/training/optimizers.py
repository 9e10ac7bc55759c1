"""Optimizers over the array API's functions, so that every backend has them from one source, and the recipe's choice.

Adam at a constant rate is the adapter's own. All else is here: pure functions of parameters, gradients and state, whose
rate is a Python number or, under a schedule, a 0-d array out of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from portgnn.parts import Adam, provides
from portgnn.presets import Config
from portgnn.protocol import Backend, Namespace, Optimizer, Params, State, Widening
from portgnn.training.schedules import Schedule, in_float32, schedule_of

Rate = Any
"""A learning rate: a float, or a 0-d array."""


class Sgd:
    """SGD with momentum as torch.optim.SGD has it (Sutskever et al. 2013, with the rate outside the velocity).

    velocity <- momentum * velocity + gradient; a step along it or, with nesterov, along momentum * velocity + gradient.
    """

    def __init__(
        self, backend: Backend, rate: Rate, momentum: float, nesterov: bool, decay: Mapping[str, float]
    ) -> None:
        self._xp, self._rate, self._decay = backend.xp, rate, decay
        self._momentum, self._nesterov = momentum, nesterov

    def init(self, params: Params) -> State:
        if not self._momentum:
            return {}
        return {f"velocity.{name}": self._xp.zeros_like(value) for name, value in params.items()}

    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        updated, after = {}, {}
        for name, value in params.items():
            step = decayed(grads[name], value, self._decay.get(name, 0.0))
            if self._momentum:
                velocity = state[f"velocity.{name}"] * self._momentum + step
                step = step + velocity * self._momentum if self._nesterov else velocity
                after[f"velocity.{name}"] = velocity
            updated[name] = value - step * self._rate
        return updated, after


class RmsProp:
    """RMSprop (Tieleman & Hinton 2012), eps outside the root and with momentum as torch.optim.RMSprop has them."""

    def __init__(
        self, backend: Backend, rate: Rate, rho: float, eps: float, momentum: float, decay: Mapping[str, float]
    ) -> None:
        self._xp, self._rate, self._decay = backend.xp, rate, decay
        self._rho, self._eps, self._momentum = rho, eps, momentum

    def init(self, params: Params) -> State:
        kinds = ("square", "velocity") if self._momentum else ("square",)
        return {f"{kind}.{name}": self._xp.zeros_like(value) for kind in kinds for name, value in params.items()}

    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        updated, after = {}, {}
        for name, value in params.items():
            grad = decayed(grads[name], value, self._decay.get(name, 0.0))
            square = state[f"square.{name}"] * self._rho + (grad * grad) * (1.0 - self._rho)
            step = grad / (self._xp.sqrt(square) + self._eps)
            after[f"square.{name}"] = square
            if self._momentum:
                step = after[f"velocity.{name}"] = state[f"velocity.{name}"] * self._momentum + step
            updated[name] = value - step * self._rate
        return updated, after


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters and stays out of the moments (Loshchilov & Hutter 2019)."""

    def __init__(
        self,
        zeros: Callable[[tuple[int, ...]], object],
        sqrt: Callable[[object], object],
        rate: Rate,
        beta1: float,
        beta2: float,
        eps: float,
        decay: Mapping[str, float],
    ) -> None:
        super().__init__(zeros, sqrt, rate, beta1, beta2, eps, None)
        self._apart = decay

    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        shrunk = {
            name: value * (1.0 - self._rate * self._apart[name]) if name in self._apart else value
            for name, value in params.items()
        }
        return super().step(shrunk, grads, state)


def decayed(grad: Any, value: Any, decay: float) -> Any:
    """The gradient with that of decay / 2 * |value|^2."""
    return grad + value * decay if decay else grad


class Scheduled:
    """An optimizer whose rate is its schedule's; the place in the schedule is part of the state."""

    def __init__(self, schedule: Schedule, make: Callable[[Rate], Optimizer]) -> None:
        """make: an optimizer with a rate; what it remembers is in its state, so that each step makes one."""
        self._schedule, self._make = schedule, make

    def init(self, params: Params) -> State:
        return self._make(0.0).init(params) | self._schedule.init()

    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        own = self._schedule.part_of(state)
        rest = {name: value for name, value in state.items() if name not in own}
        params, after = self._make(self._schedule.rate(own)).step(params, grads, rest)
        return params, after | own


class Clipped:
    """An optimizer that gets gradients cut to a norm or a size first."""

    def __init__(self, inner: Optimizer, clip: Callable[[Params], Params]) -> None:
        self._inner, self._clip = inner, clip

    def init(self, params: Params) -> State:
        return self._inner.init(params)

    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        return self._inner.step(params, self._clip(grads), state)


def clipped_by_norm(xp: Namespace, grads: Params, most: float) -> Params:
    """The gradients times min(1, most / norm), of the norm of all of them as one vector (Pascanu et al. 2013).

    Squares are taken in units of `most`: then those overflow alone that would be cut to nothing, and gradients below
    the norm keep their bits. torch.nn.utils.clip_grad_norm_ divides by norm + 1e-6 in place of the norm.
    """
    total: object = 0.0
    for grad in grads.values():
        units = grad * (1.0 / most)
        total = total + xp.sum(units * units)
    factor = 1.0 / xp.sqrt(xp.maximum(total, xp.ones_like(total)))
    return {name: grad * factor for name, grad in grads.items()}


def clipped_by_value(xp: Namespace, grads: Params, most: float) -> Params:
    """The gradients with each entry between -most and most."""
    return {name: xp.clip(grad, -most, most) for name, grad in grads.items()}


def optimizer_of(backend: Backend, config: Config, decays: Mapping[str, float]) -> Optimizer:
    """The recipe's optimizer. decays: a weight decay for some parameters, by their names."""
    inner: Optimizer
    schedule = schedule_of(backend, config)
    if schedule is not None:
        inner = Scheduled(schedule, lambda rate: _at_rate(backend, config, decays, rate))
    elif config.optimizer == "adam":
        inner = backend.adam(config.learning_rate, config.beta1, config.beta2, config.eps, decays)
    else:
        inner = _at_rate(backend, config, decays, config.learning_rate)
    if not config.clip_norm and not config.clip_value:
        return inner
    clip, most = (clipped_by_norm, config.clip_norm) if config.clip_norm else (clipped_by_value, config.clip_value)
    return Clipped(inner, lambda grads: _as_before(backend, grads, clip(backend.xp, _wide(backend, grads), most)))


def _at_rate(backend: Backend, config: Config, decays: Mapping[str, float], rate: Rate) -> Optimizer:
    """The optimizer over the array API's functions; with bfloat16 in float32, where the adapter has room for that."""
    moments = (lambda shape: in_float32(backend, np.zeros(shape)), backend.xp.sqrt, rate, config.beta1, config.beta2,
               config.eps)  # fmt: skip
    kinds: dict[str, Callable[[], Optimizer]] = {
        "adam": lambda: Adam(*moments, decays),
        "adamw": lambda: AdamW(*moments, decays),
        "sgd": lambda: Sgd(backend, rate, config.momentum, config.nesterov, decays),
        "rmsprop": lambda: RmsProp(backend, rate, config.rho, config.eps, config.momentum, decays),
    }
    inner = kinds[config.optimizer]()
    return cast(Widening, backend).widened(inner) if provides(backend, Widening) else inner


def _wide(backend: Backend, grads: Params) -> Params:
    """Gradients of which a norm can be taken: in bfloat16 a sum of squares would be right to two digits."""
    if backend.dtype != "bfloat16":
        return grads
    return {name: backend.xp.astype(grad, backend.xp.float32) for name, grad in grads.items()}


def _as_before(backend: Backend, before: Params, grads: Params) -> Params:
    if backend.dtype != "bfloat16":
        return grads
    return {name: backend.xp.astype(grad, before[name].dtype) for name, grad in grads.items()}
