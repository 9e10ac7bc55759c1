"""Adam through torch's fused functional form, pure on the outside: state goes in and comes out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.optim.adam import adam

from portgnn.protocol import Params, State


class FusedAdam:
    """Bias-corrected Adam; one fused call for all parameters that share a weight decay."""

    def __init__(
        self,
        rate: float,
        beta1: float,
        beta2: float,
        eps: float,
        decay: Mapping[str, float] | None,
        fused: bool,
    ) -> None:
        self._rate, self._beta1, self._beta2, self._eps = rate, beta1, beta2, eps
        self._decay = dict(decay or {})
        self._fused = fused

    def init(self, params: Params) -> State:
        state: State = {}
        for name, value in params.items():
            state[f"m.{name}"] = torch.zeros_like(value)
            state[f"v.{name}"] = torch.zeros_like(value)
            state[f"step.{name}"] = torch.zeros((), dtype=torch.float32, device=value.device)
        return state

    @torch.no_grad()
    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        groups: dict[float, list[str]] = {}
        for name in params:
            groups.setdefault(self._decay.get(name, 0.0), []).append(name)
        for decay, names in groups.items():
            adam(
                [params[name] for name in names],
                [grads[name] for name in names],
                [state[f"m.{name}"] for name in names],
                [state[f"v.{name}"] for name in names],
                [],
                [state[f"step.{name}"] for name in names],
                foreach=False,
                fused=self._fused,
                amsgrad=False,
                beta1=self._beta1,
                beta2=self._beta2,
                lr=self._rate,
                weight_decay=decay,
                eps=self._eps,
                maximize=False,
            )
        return params, state
