"""Programs of the torch adapter's persistent kernel, compiled by g++ and run on the CPU."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from host_compiler import compiled

from portgnn.random import dropout_mask
from portgnn_torch.persistent.source import Program
from portgnn_torch.persistent.trace import traced

ENTRY = 'extern "C" void epochs(const Args *a, int count) { all(*a, count); }\n'


class Compiled:
    """`run(keys)`: epochs of a program, one for each of keys int32 [epochs, streams, 2]; returns their metrics."""

    def __init__(self, program: Program, folder: Path) -> None:
        text = program.text.replace("// meaning of the lanes", '#include "lanes.h"') + "\n" + ENTRY
        self._run, self._program = compiled(text, folder).epochs, program
        self.meetings = 0

    def __call__(self, keys: torch.Tensor) -> torch.Tensor:
        program = self._program
        metrics = torch.zeros((len(keys), program.metrics), dtype=next(iter(program.state.values())).dtype)
        counter = torch.zeros(1, dtype=torch.int32)
        self._run(program.arguments(keys.contiguous(), metrics, counter), len(keys))
        self.meetings = int(counter)
        return metrics


def stand_ins() -> dict[str, types.ModuleType]:
    """What the modules of Triton kernels offer to a step, on the CPU and without Triton."""

    class RowSums:
        def __init__(self, indptr: torch.Tensor) -> None:
            self.indptr = indptr

        def product(
            self, indices: torch.Tensor, values: torch.Tensor, x: torch.Tensor, scale: float = 1.0, added: Any = None,
            share: float = 1.0,
        ) -> torch.Tensor:  # fmt: skip
            assert scale == 1.0
            assert added is None
            rows = torch.repeat_interleave(torch.arange(len(self.indptr) - 1), self.indptr.diff())
            out = x.new_zeros((len(self.indptr) - 1, x.shape[1]))
            return out.index_add_(0, rows, x.index_select(0, indices) * values[:, None])

    @traced("dropout")
    def dropped(x: torch.Tensor, rate: float, key: torch.Tensor, index: torch.Tensor | None) -> torch.Tensor:
        numbers = np.arange(x.numel())
        if index is not None:
            follow = np.arange(x.numel() // index.numel()) if index.dim() == 2 else 0
            numbers = (index.numpy() + follow).ravel()
        words = tuple(int(word) & 0xFFFFFFFF for word in key)
        return x * torch.from_numpy(dropout_mask(words, numbers.astype(np.uint32), rate, "float64")).reshape(x.shape)

    class Dropout(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, *how: Any) -> torch.Tensor:
            ctx.how = how
            return dropped(x, *how)

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> Any:
            return dropped(grads[0], *ctx.how), None, None, None

    @traced("adam")
    def adam_step(params: Any, steps: torch.Tensor, rates: dict[str, float]) -> None:
        t = float(steps)
        c1, c2 = 1 - rates["beta1"] ** t, 1 - rates["beta2"] ** t
        for p, g, m, v, decay in params:
            g = g + decay * p
            m.mul_(rates["beta1"]).add_(g * (1 - rates["beta1"]))
            v.mul_(rates["beta2"]).add_(g * g * (1 - rates["beta2"]))
            p.sub_(m * (rates["rate"] / c1) / ((v / c2).sqrt() + rates["eps"]))

    names = ("kernels", "row_kernels", "adam_kernels")
    kernels, rows, adam = (types.ModuleType(f"portgnn_torch.{name}") for name in names)
    vars(kernels).update(RowSums=RowSums)
    vars(rows).update(dropped=dropped, Dropout=Dropout)
    vars(adam).update(adam_step=adam_step)
    return {each.__name__: each for each in (kernels, rows, adam)}
