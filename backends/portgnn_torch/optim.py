"""Adam for torch, pure on the outside: state goes in and comes out.

`FusedAdam` is torch's own fused call. On CUDA it gives each 65,536 elements to one block, which makes it the slowest
part of a small model's step: `KernelAdam` spreads them.
"""

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
    ) -> None:
        self._rate, self._beta1, self._beta2, self._eps = rate, beta1, beta2, eps
        self._decay = dict(decay or {})

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
                fused=True,
                amsgrad=False,
                beta1=self._beta1,
                beta2=self._beta2,
                lr=self._rate,
                weight_decay=decay,
                eps=self._eps,
                maximize=False,
            )
        return params, state


class KernelAdam:
    """The same through a Triton kernel, one launch a parameter."""

    def __init__(self, rate: float, beta1: float, beta2: float, eps: float, decay: Mapping[str, float] | None) -> None:
        self._rates = {"rate": rate, "beta1": beta1, "beta2": beta2, "eps": eps}
        self._decay = dict(decay or {})

    def init(self, params: Params) -> State:
        state: State = {"steps": torch.zeros((), device=next(iter(params.values())).device)}
        for name, value in params.items():
            state[f"m.{name}"] = torch.zeros_like(value)
            state[f"v.{name}"] = torch.zeros_like(value)
        return state

    @torch.no_grad()
    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        from portgnn_torch.kernels import adam_step

        state["steps"].add_(1)
        for name, value in params.items():
            moments = state[f"m.{name}"], state[f"v.{name}"]
            rates = self._rates | {"decay": self._decay.get(name, 0.0)}
            adam_step(value, grads[name], *moments, state["steps"], rates)
        return params, state
