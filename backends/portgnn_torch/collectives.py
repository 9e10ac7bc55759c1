"""torch.distributed as portgnn's collectives: gloo between CPUs, NCCL between GPUs, under torchrun."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from portgnn.errors import BackendError
from portgnn.protocol import Counts, Watch
from portgnn_torch.sparse import Form, TorchCSR, best_form


def transports() -> tuple[str, ...]:
    """What this build of torch brings, the fastest first."""
    if not dist.is_available():
        return ()
    nccl = ("nccl",) if dist.is_nccl_available() and torch.cuda.is_available() else ()
    return (*nccl, "gloo") if dist.is_gloo_available() else nccl


JOINED = itertools.count()
"""Groups that this process has joined: all processes of a group run one program, and count alike."""


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
    read a dead one's address there (seen with torch 2.13). The same holds where a program trains a second time, and the
    addresses in the store are those of a group that it has left.
    """
    store, rank, size = next(iter(rendezvous("env://", timeout=timeout)))
    store.set_timeout(timeout)
    own = PrefixStore(f"portgnn/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{next(JOINED)}", store)
    dist.init_process_group(transport, store=own, rank=rank, world_size=size, timeout=timeout)


class TorchCollectives:
    """The default process group."""

    def __init__(self, transport: str, device: str, watch: Watch) -> None:
        self.transport, self.device, self.watch = transport, device, watch
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
        self.compiled = transport == "nccl"  # whose messages are launches like others, which a CUDA graph takes

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

    def route(self, rows: NDArray[np.integer], counts: Counts) -> Route:
        return Route(rows, list(counts[self.rank]), [row[self.rank] for row in counts])

    def fetched(self, route: Route, x: torch.Tensor) -> torch.Tensor:
        received: torch.Tensor = _Fetched.apply(x, route, self)
        return received

    def product(self, route: Route, own: TorchCSR, halo: TorchCSR, x: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = _HaloProduct.apply(x, own, halo, route, self)
        return total

    def sending(
        self, x: torch.Tensor, out: torch.Tensor, sent: list[int], received: list[int]
    ) -> Callable[[], torch.Tensor]:
        """Begins to hand rows over, and returns what waits until those of the others are in `out`.

        On a GPU the rows travel on NCCL's own stream and nobody waits on the host: later work does, on the device.
        """
        work = dist.all_to_all_single(out, x, received, sent, async_op=True)

        def wait() -> torch.Tensor:
            with self.watch():
                work.wait()
            return out

        return wait

    def close(self) -> None:
        if dist.is_initialized():
            gc.collect()  # a CUDA graph that is still there holds the communicator
            dist.destroy_process_group()


class Route:
    """Rows that go out, and room for them and for what comes, made once: a CUDA graph wants the same addresses.

    sent, received: how many rows go to each process, and come from each.
    """

    def __init__(self, rows: NDArray[np.integer], sent: list[int], received: list[int]) -> None:
        self.sent, self.received = sent, received
        self._host = torch.from_numpy(np.asarray(rows, dtype=np.int64))
        self._rows: tuple[torch.Tensor, ...] = ()
        self._rooms: dict[tuple[bool, int, torch.dtype], torch.Tensor] = {}

    def picked(self, x: torch.Tensor) -> torch.Tensor:
        """x's rows that go out."""
        self._on(x.device)
        room = self.room(x, out=True)
        if _has_kernels(x):
            from portgnn_torch.row_kernels import picked_rows

            return picked_rows(x.contiguous(), self._rows[0], room)
        return torch.index_select(x, 0, self._rows[0], out=room)

    def room(self, like: torch.Tensor, out: bool = False) -> torch.Tensor:
        """Where rows come in, or go out from. What is in it lasts until the next exchange by this route."""
        key = out, like.shape[1], like.dtype
        if key not in self._rooms or self._rooms[key].device != like.device:
            self._rooms[key] = like.new_empty((sum(self.sent if out else self.received), like.shape[1]))
        return self._rooms[key]

    def added(self, back: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
        """What came back for the rows that went out, added to them, one process's after the other's.

        No row is there twice of one process, so that no two are added to one place at a time.
        """
        for rows, part in zip(self._rows[1:], back.split(self.sent), strict=True):
            if _has_kernels(total):
                from portgnn_torch.row_kernels import add_rows

                add_rows(total, rows, part)
            elif len(part):
                total.index_add_(0, rows, part)
        return total

    def _on(self, device: torch.device) -> None:
        if not self._rows or self._rows[0].device != device:
            rows = self._host.to(device)
            self._rows = rows, *rows.split(self.sent)


def _has_kernels(x: torch.Tensor) -> bool:
    """Whether rows of x are moved by kernels of our own: torch's take several times as long for some widths."""
    return x.is_cuda and _best_form(x.device) is Form.KERNEL


@lru_cache
def _best_form(device: torch.device) -> Form:
    return best_form(device, torch.float32)


class _Exchange(torch.autograd.Function):
    """All-to-all of rows, whose transpose is the all-to-all the other way."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, counts: Counts, group: TorchCollectives) -> torch.Tensor:
        ctx.counts, ctx.group = counts, group
        return group.handed(x, counts)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return ctx.group.handed(grads[0], tuple(zip(*ctx.counts, strict=True))), None, None


class _Fetched(torch.autograd.Function):
    """The rows that come by a route, whose gradients go back to the rows that they were."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, route: Route, group: TorchCollectives) -> torch.Tensor:
        ctx.route, ctx.group, ctx.height = route, group, x.shape[0]
        out = x.new_empty((sum(route.received), x.shape[1]))
        return group.sending(route.picked(x), out, route.sent, route.received)()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        route, grad = ctx.route, grads[0].contiguous()
        back = ctx.group.sending(grad, route.room(grad, out=True), route.received, route.sent)()
        return route.added(back, grad.new_zeros((ctx.height, grad.shape[1]))), None, None


class _HaloProduct(torch.autograd.Function):
    """Rows of own columns are multiplied while those of others are on their way; backward likewise.

    The sum over a row's own columns comes first, and that over the others' is added to it.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, own: TorchCSR, halo: TorchCSR, route: Route, group: TorchCollectives
    ) -> torch.Tensor:
        ctx.parts = own.transposed, halo.transposed, route, group
        picked = route.picked(x)
        arrived = group.sending(picked, route.room(x), route.sent, route.received)
        total = own.sums(x.to(own.values.dtype))
        return halo.short_sums(arrived().to(own.values.dtype), into=total).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        own, halo, route, group = ctx.parts
        grad = grads[0].contiguous()
        leaving = halo.short_sums(grad.to(halo.values.dtype)).to(grad.dtype)
        arrived = group.sending(leaving, route.room(grad, out=True), route.received, route.sent)
        total = own.product(grad)
        return route.added(arrived(), total), None, None, None, None
