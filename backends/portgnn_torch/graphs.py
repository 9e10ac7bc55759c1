"""Training epochs as CUDA graphs: recorded once, then replayed without Python between their kernels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from portgnn.protocol import State, Step
from portgnn_torch.sparse import stored_dtype

CHUNK = 64
"""Epochs whose keys and metrics are kept on the device at a time."""
UNROLLED = 8
"""Epochs in the larger of the two graphs, so that their launches are shared."""


class GraphRun:
    """`run(state, keys)` over CUDA graphs. The first call records them."""

    def __init__(self, step: Step, device: torch.device, dtype: torch.dtype) -> None:
        self._step, self._device = step, device
        self._dtype = stored_dtype(dtype)  # NumPy, which reads the metrics, has no bfloat16
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def __call__(self, state: State, keys: NDArray[np.uint32]) -> tuple[State, NDArray[np.float64]]:
        if not self._graphs:
            self._record(state, keys)
        for name, value in state.items():
            self._state[name].copy_(value)
        rows = []
        for start in range(0, len(keys), CHUNK):
            part = keys[start : start + CHUNK]
            self._keys[: len(part)].copy_(torch.from_numpy(part.view(np.int32)))
            self._epoch.zero_()
            for size in sorted(self._graphs, reverse=True):
                while len(part) >= size:
                    self._graphs[size].replay()
                    part = part[size:]
            rows.append(self._metrics[: min(CHUNK, len(keys) - start)].cpu().numpy().astype(np.float64))
        # Copies: the next replay writes over the recorded arrays, and a caller may still hold these.
        return {name: value.clone() for name, value in self._state.items()}, np.concatenate(rows)

    def _record(self, state: State, keys: NDArray[np.uint32]) -> None:
        self._state = {name: value.clone() for name, value in state.items()}
        self._keys = torch.zeros((CHUNK, *keys.shape[1:]), dtype=torch.int32, device=self._device)
        self._keys[0].copy_(torch.from_numpy(keys[0].view(np.int32)))
        self._epoch = torch.zeros(1, dtype=torch.int64, device=self._device)
        # Outside the recording once: kernels compile and libraries allocate on their first call.
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(2):
                _, measured = self._step({name: value.clone() for name, value in state.items()}, self._keys[0])
        torch.cuda.current_stream(self._device).wait_stream(stream)
        self._metrics = torch.zeros((CHUNK, len(measured)), dtype=self._dtype, device=self._device)
        for size in (1, UNROLLED):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                for _ in range(size):
                    self._one_epoch()
            self._graphs[size] = graph

    def _one_epoch(self) -> None:
        after, measured = self._step(self._state, self._keys.index_select(0, self._epoch)[0])
        for name, value in after.items():
            if value is not self._state[name]:
                self._state[name].copy_(value)
        row = torch.stack([value.to(self._dtype) for value in measured])
        self._metrics.index_copy_(0, self._epoch, row.unsqueeze(0))
        self._epoch += 1
