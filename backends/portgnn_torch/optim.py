"""Adam for torch, pure on the outside: state goes in and comes out.

`FusedAdam` is torch's own fused call. On CUDA it gives each 65,536 elements to one block, which makes it the slowest
part of a small model's step: `KernelAdam` spreads them. Both keep the same state.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from portgnn.protocol import Params, State


class FusedAdam:
    """Bias-corrected Adam; one fused call for all parameters that share a weight decay."""

    def __init__(self, rate: float, beta1: float, beta2: float, eps: float, decay: Mapping[str, float] | None) -> None:
        self._rate, self._beta1, self._beta2, self._eps = rate, beta1, beta2, eps
        self._decay = dict(decay or {})

    @torch.inference_mode(False)
    def init(self, params: Params) -> State:
        first = next(iter(params.values()))
        # Of the parameters' dtype, which a backend's doors give every float: a state comes back as it was.
        state: State = {"steps": torch.zeros((), dtype=first.dtype, device=first.device)}
        for name, value in params.items():
            state[f"m.{name}"] = torch.zeros_like(value)
            state[f"v.{name}"] = torch.zeros_like(value)
        return state

    @torch.no_grad()
    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        groups: dict[float, list[str]] = {}
        for name in params:
            groups.setdefault(self._decay.get(name, 0.0), []).append(name)
        state["steps"].add_(1)
        steps = state["steps"].float()  # what the fused call takes, in any dtype; exact up to 2**24
        for decay, names in groups.items():
            # What torch.optim.adam calls. It would count the steps of each parameter apart, in one more call a step.
            torch._fused_adam_(
                [params[name] for name in names],
                # It reads memory in order, whatever a gradient's strides are; a transposed weight's lie across.
                [grads[name].contiguous() for name in names],
                [state[f"m.{name}"] for name in names],
                [state[f"v.{name}"] for name in names],
                [],
                [steps] * len(names),
                lr=self._rate,
                beta1=self._beta1,
                beta2=self._beta2,
                weight_decay=decay,
                eps=self._eps,
                amsgrad=False,
                maximize=False,
            )
        return params, state


class KernelAdam(FusedAdam):
    """The same through a Triton kernel."""

    @torch.no_grad()
    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        from portgnn_torch.adam_kernels import adam_step

        state["steps"].add_(1)
        parts = [
            (value, grads[name], state[f"m.{name}"], state[f"v.{name}"], self._decay.get(name, 0.0))
            for name, value in params.items()
        ]
        rates = {"rate": self._rate, "beta1": self._beta1, "beta2": self._beta2, "eps": self._eps}
        adam_step(parts, state["steps"], rates)
        return params, state
