"""Training epochs as CUDA graphs: recorded once, then replayed without Python between their kernels."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from portgnn.protocol import State, Step
from portgnn_torch.sparse import stored_dtype

MODE = "relaxed"
UNROLLED = 8
"""Epochs in the larger of the two graphs, so that their launches are shared."""


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is collected inside: to free an older graph's memory while another is recorded ends the recording."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Recorded:
    """Some epochs as one CUDA graph, with the keys that they read and the metrics that they leave."""

    def __init__(self, step: Step, state: State, keys: torch.Tensor, metrics: torch.Tensor) -> None:
        """state: changed in place. keys: int32 [epochs, layers, 2]. metrics: [epochs, n]."""
        self.keys, self.metrics = keys, metrics
        self.graph = torch.cuda.CUDAGraph()
        # "relaxed": a library that loads a kernel on its first use, in whatever thread, does not end the recording.
        with uncollected(), torch.cuda.graph(self.graph, capture_error_mode=MODE):
            for key, row in zip(keys.unbind(), metrics.unbind(), strict=True):
                after, measured = step(state, key)
                for name, value in after.items():
                    if value is not state[name]:
                        state[name].copy_(value)
                for slot, value in zip(row.unbind(), measured, strict=True):
                    slot.copy_(value)


class GraphRun:
    """`run(state, keys)` over CUDA graphs. The first call records them."""

    def __init__(self, step: Step, device: torch.device, dtype: torch.dtype) -> None:
        self._step, self._device = step, device
        self._dtype = stored_dtype(dtype)  # NumPy, which reads the metrics, has no bfloat16
        self._graphs: dict[int, Recorded] = {}

    def __call__(self, state: State, keys: NDArray[np.uint32]) -> tuple[State, NDArray[np.float64]]:
        words = torch.from_numpy(keys.view(np.int32)).to(self._device)
        if not self._graphs:
            self._record(state, words[:1])
        for name, value in state.items():
            self._state[name].copy_(value)
        rows = torch.empty((len(words), self._width), dtype=self._dtype, device=self._device)
        done = 0
        while done < len(words):
            size = UNROLLED if len(words) - done >= UNROLLED else 1
            recorded = self._graphs[size]
            recorded.keys.copy_(words[done : done + size])
            recorded.graph.replay()
            rows[done : done + size].copy_(recorded.metrics)
            done += size
        # Copies: the next replay writes over the recorded arrays, and a caller may still hold these.
        return {name: value.clone() for name, value in self._state.items()}, rows.cpu().numpy().astype(np.float64)

    def _record(self, state: State, keys: torch.Tensor) -> None:
        self._state = {name: value.clone() for name, value in state.items()}
        # Outside the recording once: kernels compile and libraries allocate on their first call.
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(2):
                _, measured = self._step({name: value.clone() for name, value in state.items()}, keys[0])
        torch.cuda.current_stream(self._device).wait_stream(stream)
        self._width = len(measured)
        for size in (1, UNROLLED):
            metrics = torch.empty((size, self._width), dtype=self._dtype, device=self._device)
            self._graphs[size] = Recorded(self._step, self._state, keys.repeat(size, 1, 1), metrics)
