"""Functions of the array API whose gradient in torch is not that of docs/gradients.md, with that gradient.

hypot and logaddexp give NaN where they need not, clip keeps the whole gradient at its bounds, asinh, acosh and atan2
give 0 where a square overflows. Where no gradient is asked for, these are array-api-compat's own.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Any

import array_api_compat.torch as compat
import torch

Tensor = torch.Tensor


def _asked(*arguments: Any) -> bool:
    """Whether a gradient in one of the arguments is recorded."""
    return torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in arguments)


def _alike(*arguments: Any) -> list[Tensor]:
    """Tensors of one dtype and shape. Numbers take the dtype of the tensors."""
    dtype = compat.result_type(*arguments)
    device = next(x.device for x in arguments if isinstance(x, Tensor))
    tensors = [torch.as_tensor(x, dtype=dtype, device=device) for x in arguments]
    return list(torch.broadcast_tensors(*tensors))


def _of_arrays(count: int) -> Signature:
    """(x, /) or (x1, x2, /), as the standard has it."""
    names = ["x"] if count == 1 else [f"x{i + 1}" for i in range(count)]
    return Signature([Parameter(name, Parameter.POSITIONAL_ONLY) for name in names])


def with_slope(
    name: str,
    function: Callable[..., Tensor],
    rule: Callable[..., tuple[Tensor, ...]],
    plain: Callable[..., Tensor] | None = None,
) -> Callable[..., Tensor]:
    """`function`, whose gradients are rule(gradient, *arguments) where one is asked for.

    plain: what is called where none is; by default array-api-compat's function of this name.
    """

    class Slope(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Tensor) -> Tensor:
            ctx.save_for_backward(*arguments)
            return function(*arguments)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            return rule(grad, *ctx.saved_tensors)

    unrecorded = plain or getattr(compat, name)

    def call(*arguments: Any) -> Tensor:
        made: Tensor = Slope.apply(*_alike(*arguments)) if _asked(*arguments) else unrecorded(*arguments)
        return made

    call.__name__ = call.__qualname__ = name
    call.__signature__ = _of_arrays(len(signature(rule).parameters) - 1)  # type: ignore[attr-defined]
    call.__doc__ = f"The standard's {name}, with the gradient of docs/gradients.md."
    return call


def _of_atan2(grad: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    long = torch.hypot(a, b)
    return grad * (b / long) / long, -grad * (a / long) / long


def _of_hypot(grad: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    long = torch.hypot(a, b)
    long = torch.where(long == 0, torch.ones_like(long), long)
    return grad * (a / long), grad * (b / long)


def _of_logaddexp(grad: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    lead = torch.where(a == b, torch.zeros_like(a), a - b)
    return grad * torch.sigmoid(lead), grad * torch.sigmoid(-lead)


atan2 = with_slope("atan2", torch.atan2, _of_atan2)
hypot = with_slope("hypot", torch.hypot, _of_hypot)
logaddexp = with_slope("logaddexp", torch.logaddexp, _of_logaddexp)
asinh = with_slope("asinh", torch.asinh, lambda g, x: (g / torch.hypot(x, torch.ones_like(x)),))
acosh = with_slope("acosh", torch.acosh, lambda g, x: (g / (torch.sqrt(x - 1) * torch.sqrt(x + 1)),))


def clip(x: Tensor, /, min: Any = None, max: Any = None, **options: Any) -> Tensor:
    """The standard's clip; where a gradient is asked for, as minimum(maximum(x, min), max)."""
    if options or not _asked(x, min, max):
        made: Tensor = compat.clip(x, min, max, **options)
        return made
    for bound, nearer in ((min, torch.maximum), (max, torch.minimum)):
        if bound is not None:
            # A bound does not change the dtype of what it bounds.
            x = nearer(x, torch.as_tensor(bound, dtype=x.dtype, device=x.device))
    return x


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """The standard's take_along_axis, of indices of any integer dtype."""
    return torch.take_along_dim(x, indices.long(), dim=axis)
