"""Adam for MLX: on the CPU through NumPy's view of the same memory, on a GPU as one kernel for all parameters.

As MLX's own operations the step is a compiled kernel a parameter and two for the bias corrections, and on a small
graph each launch costs more than its work.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import mlx.core as mx
import numpy as np

from portgnn.parts import Adam
from portgnn.protocol import Params, State
from portgnn_mlx.kernels import THREADS, device_kernel, right_or_warned


class HostAdam:
    """`portgnn.parts.Adam` on shared memory.

    As some fifty small operations of a lazy graph the step took longer than the sparse products of a training epoch;
    NumPy runs the same ones without building the graph.
    """

    def __init__(self, dtype: str, *rates: Any) -> None:
        """rates: learning rate, beta1, beta2, eps and weight decay, as `Backend.adam` takes them."""
        self._dtype: mx.Dtype = getattr(mx, dtype)
        self._adam = Adam(partial(np.zeros, dtype=dtype), np.sqrt, *rates)

    def init(self, params: Params) -> State:
        return self._shared(self._adam.init(params))

    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        mx.eval(params, grads, state)
        views = ({name: np.array(value, copy=False) for name, value in part.items()} for part in (params, grads, state))
        params, state = self._adam.step(*views)
        return self._shared(params), self._shared(state)

    def _shared(self, arrays: dict[str, Any]) -> dict[str, mx.array]:
        return {name: mx.array(value, self._dtype) for name, value in arrays.items()}


AT_ONCE = 3
"""Parameters of one launch. Metal has 31 buffers for a kernel, and each parameter takes seven."""

# rates: learning rate, beta1, beta2, eps, 1 - beta1, 1 - beta2: made on the host, since 1.0f - 0.999f is 1e-5 off.
# decays: weight decay of each parameter. ends: 0, then where each one's threads end.
_HEAD = """
    const float next1 = c1[0] * rates[1] + rates[4];
    const float next2 = c2[0] * rates[2] + rates[5];
    if (thread_number == 0) { new_c1[0] = next1; new_c2[0] = next2; }
    const float step = rates[0] / next1;
"""
_PART = """
    if (thread_number >= (unsigned int)ends[N] && thread_number < (unsigned int)ends[N + 1]) {
        const unsigned int at = thread_number - (unsigned int)ends[N];
        const float param = pN[at];
        const float grad = gN[at] + decays[N] * param;
        const float first = mN[at] * rates[1] + grad * rates[4];
        const float second = vN[at] * rates[2] + grad * grad * rates[5];
        new_mN[at] = first;
        new_vN[at] = second;
        new_pN[at] = param - first * step / (metal_or_cuda_sqrt(second / next2) + rates[3]);
    }
"""


@cache
def _kernel(count: int) -> Any:
    """The step of `count` parameters in float32."""
    numbers = range(count)
    root = "metal::sqrt" if mx.metal.is_available() else "sqrtf"
    return device_kernel(
        f"portgnn_adam_{count}",
        ["c1", "c2", "rates", "decays", "ends", *(f"{kind}{n}" for n in numbers for kind in "pgmv")],
        ["new_c1", "new_c2", *(f"new_{kind}{n}" for n in numbers for kind in "pmv")],
        _HEAD + "".join(_PART.replace("N", str(n)).replace("metal_or_cuda_sqrt", root) for n in numbers),
    )


class KernelAdam(Adam):
    """`portgnn.parts.Adam` in float32 as a kernel."""

    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        updated: Params = {}
        after: State = {}
        names = list(params)
        corrections = [state["c1"].reshape(1), state["c2"].reshape(1)]
        given = (self._rate, self._beta1, self._beta2, self._eps, 1.0 - self._beta1, 1.0 - self._beta2)
        rates = mx.array(given, mx.float32)
        for start in range(0, len(names), AT_ONCE):
            part = names[start : start + AT_ONCE]
            decays = mx.array([self._decay.get(name, 0.0) for name in part], mx.float32)
            ends = np.cumsum([0, *(params[name].size for name in part)]).astype(np.int32)
            arrays = [(params[name], grads[name], state[f"m.{name}"], state[f"v.{name}"]) for name in part]
            made = _kernel(len(part))(
                inputs=[*corrections, rates, decays, mx.array(ends), *(x for each in arrays for x in each)],
                grid=(int(ends[-1]), 1, 1),
                threadgroup=(THREADS, 1, 1),
                output_shapes=[(1,), (1,), *(params[name].shape for name in part for _ in range(3))],
                output_dtypes=[mx.float32] * (2 + 3 * len(part)),
            )
            after |= {"c1": made[0].reshape(()), "c2": made[1].reshape(())}
            for name, at in zip(part, range(2, len(made), 3), strict=True):
                updated[name], after[f"m.{name}"], after[f"v.{name}"] = made[at : at + 3]
        return updated, after


@cache
def kernel_is_right() -> bool:
    """Whether `KernelAdam` can be used on this machine's GPU; warns once where it cannot."""

    def check() -> bool:
        shapes = {"weight0": (70, 9), "bias0": (9,), "weight1": (9, 3), "bias1": (3,)}
        rates = (partial(mx.zeros, dtype=mx.float32), mx.sqrt, 0.01, 0.9, 0.999, 1e-8, {"weight0": 0.1})
        ends = []
        for kind in (Adam, KernelAdam):
            draw = np.random.default_rng(1)
            params = {name: mx.array(draw.standard_normal(s), mx.float32) for name, s in shapes.items()}
            adam, state = kind(*rates), Adam(*rates).init(params)
            for _ in range(3):
                grads = {name: mx.array(draw.standard_normal(s), mx.float32) for name, s in shapes.items()}
                params, state = adam.step(params, grads, state)
            ends.append(params | state)
        return all(np.allclose(np.array(ends[0][name]), np.array(ends[1][name]), 1e-5, 1e-6) for name in ends[0])

    return right_or_warned("Adam", "MLX's own operations", check)
