"""mx.distributed as portgnn's collectives: ring or MPI between CPUs and Macs, NCCL between GPUs, under mlx.launch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from portgnn.errors import BackendError
from portgnn.protocol import Counts, Watch

ON_HOST = ("ring", "mpi", "jaccl")
"""Transports that send from the host's memory."""


def transports() -> tuple[str, ...]:
    """What this build of MLX brings, the fastest first."""
    return tuple(name for name in ("nccl", "jaccl", "ring", "mpi") if mx.distributed.is_available(name))


def join(transport: str | None, timeout: float, watch: Watch) -> MLXCollectives:
    """Joins the group that mlx.launch describes in the environment. MLX has no time limit of its own."""
    here = transports()
    if transport is not None and transport not in here:
        raise BackendError(f"the mlx backend has no transport {transport!r} here; it has {', '.join(here) or 'none'}")
    advice = "type: mlx.launch -n 2 --backend ring -- portgnn train --distributed --backend mlx"
    for name in here if transport is None else (transport,):
        try:
            with watch():
                group = mx.distributed.init(strict=True, backend=name)
            return MLXCollectives(group, name, watch)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
    raise BackendError(f"no launcher has started this process among others; {advice}. MLX said: {reason}")


def launch_environment(rank: int, size: int, port: int, folder: Path) -> dict[str, str]:
    """What mlx.launch sets for its ring in each process: a file with every process's addresses, and the number."""
    hosts = folder / "hosts.json"
    if not hosts.exists():
        hosts.write_text(json.dumps([[f"127.0.0.1:{port + each}"] for each in range(size)]))
    return {"MLX_RANK": str(rank), "MLX_HOSTFILE": str(hosts)}


class MLXCollectives:
    """One group of processes."""

    restarts = 0

    def __init__(self, group: Any, transport: str, watch: Watch) -> None:
        self._group, self.transport, self._watch = group, transport, watch
        self.rank, self.size = int(group.rank()), int(group.size())
        self._on_host = transport in ON_HOST
        self._stream = mx.cpu if self._on_host else None
        self.device = "gpu" if mx.is_available(mx.gpu) else "cpu"
        # mx.compile traces without values, and a message from the host's memory needs them.
        self.compiled = not self._on_host or self.device == "cpu"

    def all_reduce(self, x: mx.array) -> mx.array:
        return self._settled(mx.distributed.all_sum(x, group=self._group, stream=self._stream))

    def exchange(self, x: mx.array, counts: Counts) -> Any:
        @mx.custom_function
        def handed(x: mx.array) -> mx.array:
            return self._handed(x, counts)

        @handed.vjp
        def pull(primals: Any, cotangent: mx.array, output: mx.array) -> mx.array:
            return self._handed(cotangent, tuple(zip(*counts, strict=True)))

        return handed(x)

    def close(self) -> None:
        pass

    def _handed(self, x: mx.array, counts: Counts) -> mx.array:
        """By gathering what everybody sends: MLX has no all-to-all, and its ring sends to neighbours alone."""
        longest = max(sum(row) for row in counts)
        padding = mx.zeros((longest - x.shape[0], *x.shape[1:]), x.dtype)
        everything = mx.distributed.all_gather(mx.concatenate([x, padding]), group=self._group, stream=self._stream)
        own = []
        for sender, row in enumerate(counts):
            start = sender * longest + sum(row[: self.rank])
            own.append(np.arange(start, start + row[self.rank]))
        return self._settled(everything[mx.array(np.concatenate(own).astype(np.int32))])

    def _settled(self, x: mx.array) -> mx.array:
        # On the host the work is done at once, so that who waits in vain is known to wait.
        if self._on_host:
            with self._watch():
                mx.eval(x)
        return x
