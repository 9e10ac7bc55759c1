"""torch.distributed as portgnn's collectives: gloo between CPUs, NCCL between GPUs, under torchrun."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from portgnn.errors import BackendError
from portgnn.protocol import Counts, Watch


def transports() -> tuple[str, ...]:
    """What this build of torch brings, the fastest first."""
    if not dist.is_available():
        return ()
    nccl = ("nccl",) if dist.is_nccl_available() and torch.cuda.is_available() else ()
    return (*nccl, "gloo") if dist.is_gloo_available() else nccl


def join(transport: str | None, timeout: float, watch: Watch) -> TorchCollectives:
    """Joins the process group that torchrun describes in the environment."""
    if not all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")):
        raise BackendError(
            "no launcher has started this process among others; type: torchrun --nproc-per-node 2 -m "
            "portgnn train --distributed --backend torch"
        )
    local = int(os.environ.get("LOCAL_RANK", "0"))
    here = transports()
    if transport is None:
        transport = here[0] if here else "gloo"
        if transport == "nccl" and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > torch.cuda.device_count():
            transport = "gloo"  # NCCL wants a GPU for each process
    if transport not in here:
        raise BackendError(f"the torch backend has no transport {transport!r} here; it has {', '.join(here) or 'none'}")
    device = "cpu"
    if transport == "nccl":
        device = f"cuda:{local}" if local else "cuda"
        torch.cuda.set_device(local)
    if not dist.is_initialized():
        try:
            with watch():
                _initialize(transport, timedelta(seconds=timeout))
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"the processes did not find each other over {transport}: {error}") from error
    return TorchCollectives(transport, device, watch)


def launch_environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun sets in each of its processes on one machine (torch.distributed's "environment variables")."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _initialize(transport: str, timeout: timedelta) -> None:
    """init_process_group, with names of this attempt's own in the store that torchrun keeps over its restarts.

    Under a static rendezvous torchrun starts the processes anew on the same store, and a process would now and then
    read a dead one's address there (seen with torch 2.13).
    """
    store, rank, size = next(iter(rendezvous("env://", timeout=timeout)))
    store.set_timeout(timeout)
    own = PrefixStore(f"portgnn/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(transport, store=own, rank=rank, world_size=size, timeout=timeout)


class TorchCollectives:
    """The default process group."""

    compiled = False

    def __init__(self, transport: str, device: str, watch: Watch) -> None:
        self.transport, self.device, self.watch = transport, device, watch
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))

    def all_reduce(self, x: torch.Tensor) -> torch.Tensor:
        total = x.detach().clone()
        with self.watch():
            dist.all_reduce(total)
        return total

    def exchange(self, x: torch.Tensor, counts: Counts) -> torch.Tensor:
        received: torch.Tensor = _Exchange.apply(x, counts, self)
        return received

    def handed(self, x: torch.Tensor, counts: Counts) -> torch.Tensor:
        """`exchange` without a gradient."""
        sent, received = list(counts[self.rank]), [row[self.rank] for row in counts]
        out = x.new_empty((sum(received), *x.shape[1:]))
        with self.watch():
            dist.all_to_all_single(out, x.contiguous(), received, sent)
        return out

    def close(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()


class _Exchange(torch.autograd.Function):
    """All-to-all of rows, whose transpose is the all-to-all the other way."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, counts: Counts, group: TorchCollectives) -> torch.Tensor:
        ctx.counts, ctx.group = counts, group
        return group.handed(x, counts)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return ctx.group.handed(grads[0], tuple(zip(*ctx.counts, strict=True))), None, None
