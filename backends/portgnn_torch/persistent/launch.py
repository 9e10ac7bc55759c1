"""Programs on a CUDA device: compiled when the first step is taken, kept beside Triton's kernels, checked, launched."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from portgnn.parts import other_keys
from portgnn.protocol import State, Step
from portgnn_torch.persistent.plan import plan
from portgnn_torch.persistent.source import FOLDER, Program, program
from portgnn_torch.persistent.trace import Untraceable, trace

WARPS = 8
"""Of a block, as warp.cuh has it."""
BLOCKS = 2
"""On each multiprocessor, as warp.cuh has it."""
ALIGNED = 4
"""Numbers that a lane reads at once."""
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-9}
"""How far the first steps of kernel and framework may be apart, as a share of an array's norm. Rounding alone is some
1e-6 of it in float32; wrong indices or a lost term are no smaller than 1e-2."""


class CudaError(Exception):
    """A call of the driver or of the compiler failed; the message names both."""


def _checked(result: tuple[Any, ...]) -> Any:
    error, *values = result
    if int(error) != 0:
        raise CudaError(f"{type(error).__name__} {error}")
    return values[0] if len(values) == 1 else values


def cubin(text: str, device: torch.device) -> bytes:
    """The text compiled for the device, or what an earlier process left of the same."""
    from cuda.bindings import nvrtc
    from triton.runtime.cache import get_cache_manager

    major, minor = torch.cuda.get_device_capability(device)
    options = [f"--gpu-architecture=sm_{major}{minor}".encode(), b"--std=c++17"]
    version = _checked(nvrtc.nvrtcVersion())
    kept = get_cache_manager(hashlib.sha256(f"{text}{options}{version}".encode()).hexdigest())
    found = kept.get_file("epochs.cubin")
    if found is not None:
        return Path(found).read_bytes()
    made = _checked(nvrtc.nvrtcCreateProgram(text.encode(), b"epochs.cu", 0, [], []))
    outcome = nvrtc.nvrtcCompileProgram(made, len(options), options)
    if int(outcome[0]) != 0:
        said = b" " * _checked(nvrtc.nvrtcGetProgramLogSize(made))
        _checked(nvrtc.nvrtcGetProgramLog(made, said))
        raise CudaError(said.decode(errors="replace"))
    code = b" " * _checked(nvrtc.nvrtcGetCUBINSize(made))
    _checked(nvrtc.nvrtcGetCUBIN(made, code))
    _checked(nvrtc.nvrtcDestroyProgram(made))
    kept.put(code, "epochs.cubin", binary=True)
    return code


class Kernel:
    """A program on the device: `kernel(keys)` runs as many epochs as there are keys, in one launch."""

    def __init__(self, made: Program, device: torch.device) -> None:
        from cuda.bindings import driver

        self.program, self._device, self._driver = made, device, driver
        text = made.text.replace("// meaning of the lanes", (FOLDER / "warp.cuh").read_text())
        torch.cuda.current_stream(device).synchronize()  # the device's context is now the current one
        self._module = _checked(driver.cuModuleLoadData(cubin(text, device)))
        self._function = _checked(driver.cuModuleGetFunction(self._module, b"epochs"))
        together = _checked(driver.cuOccupancyMaxActiveBlocksPerMultiprocessor(self._function, 32 * WARPS, 0))
        present = torch.cuda.get_device_properties(device).multi_processor_count
        # All blocks must be on the device at once, or those that wait would wait for ever.
        self.blocks = max(1, min(made.blocks, present * min(together, BLOCKS)))
        self._counter = torch.zeros(1, dtype=torch.int32, device=device)

    def __call__(self, keys: torch.Tensor) -> torch.Tensor:
        """keys: int32 [epochs, streams, 2] on the device. Changes the program's state; returns [epochs, metrics]."""
        dtype = next(iter(self.program.state.values())).dtype
        metrics = torch.empty((len(keys), self.program.metrics), dtype=dtype, device=self._device)
        self._counter.zero_()
        given, count = self.program.arguments(keys, metrics, self._counter), ctypes.c_int(len(keys))
        arguments = (ctypes.c_void_p * 2)(ctypes.addressof(given), ctypes.addressof(count))
        stream = torch.cuda.current_stream(self._device).cuda_stream
        _checked(
            self._driver.cuLaunchCooperativeKernel(
                self._function, self.blocks, 1, 1, 32 * WARPS, 1, 1, 0, stream, ctypes.addressof(arguments)
            )
        )
        return metrics


class Together:
    """Arrays in one piece of memory, so that one copy takes all of them: some µs each would be time in every call."""

    def __init__(self, like: State, dtype: torch.dtype) -> None:
        if any(value.dtype != dtype for value in like.values()):
            raise Untraceable("a state of several dtypes")
        self._places: dict[str, tuple[Any, Any, int]] = {}
        end = 0
        for name, value in like.items():
            self._places[name] = (value.shape, value.contiguous().stride(), end)
            end += -(-value.numel() // ALIGNED) * ALIGNED
        self._memory = next(iter(like.values())).new_zeros(end)
        self.arrays = self._views(self._memory)

    def _views(self, memory: torch.Tensor) -> State:
        return {name: memory.as_strided(*place) for name, place in self._places.items()}

    def fill(self, values: State) -> None:
        torch._foreach_copy_(list(self.arrays.values()), [values[name] for name in self.arrays])

    def copy(self) -> State:
        return self._views(self._memory.clone())


class Persistent:
    """Epochs of a step in one launch, by a kernel that was seen to take the framework's own steps.

    Whether there is one depends on the step and the machine alone, so that a run that goes on has the same bits.
    """

    def __init__(self, step: Step, state: State, keys: NDArray[np.uint32]) -> None:
        """keys: [streams, 2]. Raises Untraceable, CudaError, or what a compiler or an absent library raises."""
        first = next(iter(state.values()))
        self._device, dtype = first.device, first.dtype
        if dtype not in TOLERANCE:
            raise Untraceable(f"{dtype}")
        words = self._words(np.stack([keys, other_keys(keys)]))
        # Once before: kernels compile and libraries allocate on their first call, and what is found out then is kept.
        step({name: value.clone() for name, value in state.items()}, words[0])
        self._own = Together(state, dtype)
        self._own.fill(state)
        traced = trace(step, self._own.arrays, words[0])
        self._kernel = Kernel(program(plan(traced), dtype), self._device)
        check(self._kernel, self._kernel.program, step, state, words)
        self.fill, self.copy = self._own.fill, self._own.copy

    def __call__(self, keys: NDArray[np.uint32]) -> NDArray[np.float64]:
        return self._kernel(self._words(keys)).cpu().numpy().astype(np.float64)

    def _words(self, keys: NDArray[np.uint32]) -> torch.Tensor:
        return torch.from_numpy(keys.view(np.int32)).to(self._device)


def check(kernel: Callable[[torch.Tensor], torch.Tensor], made: Program, step: Step, state: State, keys: Any) -> None:
    """Raises CudaError where a program's epochs, run by `kernel(keys)`, are not those of the step it was made of.

    state: where both begin. keys: int32 [epochs, streams, 2].
    """
    expected = {name: value.clone() for name, value in state.items()}
    dtype = next(iter(made.state.values())).dtype
    measured = []
    for each in keys:
        expected, row = step(expected, each)
        measured.append(torch.stack([value.to(dtype) for value in row]))
    for name, value in state.items():
        made.state[name].copy_(value)
    apart = [_apart(kernel(keys), torch.stack(measured))]
    apart += [_apart(made.state[name], value) for name, value in expected.items()]
    if not all(each <= TOLERANCE[dtype] for each in apart):  # so said that a NaN is refused
        raise CudaError(f"the kernel's first steps are {max(apart):.1e} apart from the framework's")


def _apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The norm of the difference, as a share of the expected."""
    difference = torch.linalg.vector_norm((found - expected).double())
    return float(difference / (torch.linalg.vector_norm(expected.double()) + torch.finfo(expected.dtype).tiny))
