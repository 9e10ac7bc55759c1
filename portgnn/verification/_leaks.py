"""Checks that an epoch leaves nothing behind: neither objects of Python nor memory of the process."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from portgnn.protocol import Backend, Keys, State
from portgnn.random import dropout_keys
from portgnn.verification.check import check
from portgnn.verification.measure import Departure, Measured

EPOCHS = 24
ROUNDS = 3
ELEMENTS = 1 << 15
"""Of the parameter: an epoch that keeps it keeps 128 KiB in float32."""


def _resident() -> int:
    """Bytes of the process that lie in memory; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * 4096


@contextmanager
def _collecting_what_is_new() -> Iterator[None]:
    """What is there is looked at no more: with a framework loaded each collection takes a tenth of a second else."""
    own = gc.get_freeze_count() == 0  # a caller's frozen objects stay so
    gc.collect()
    if own:
        gc.freeze()
    try:
        yield
    finally:
        if own:
            gc.unfreeze()


@check("compile.leaks", cases=(0,), full=(0,))
def leaks(backend: Backend, _: int) -> Measured:
    """Blocks of Python's memory, and bytes of the process, that epochs leave behind; by the least of some rounds.

    A cache fills in the first rounds, and others' threads come and go: what leaks is there in every round.
    """
    value_and_grad = backend.value_and_grad(lambda p, keys: (backend.xp.sum(p["w"] * p["w"] * 0.5), None))
    optimizer = backend.adam(0.01)

    def step(state: State, keys: Keys) -> Any:
        params = {"w": backend.dropout(state["param.w"], 0.5, keys[0])}
        (loss, _), grads = value_and_grad(params, keys)
        moments = {name: value for name, value in state.items() if name != "param.w"}
        params, moments = optimizer.step({"w": state["param.w"]}, grads, moments)
        return {"param.w": params["w"], **moments}, (loss,)

    run = backend.compile(step)
    w = backend.asarray(np.ones((ELEMENTS // 8, 8)))
    state = {"param.w": w, **optimizer.init({"w": w})}
    blocks, pages = [], []
    with _collecting_what_is_new():
        for number in range(ROUNDS + 1):
            keys = dropout_keys(0, range(number * EPOCHS, (number + 1) * EPOCHS), 1)  # what is kept by key grows, too
            gc.collect()
            before = sys.getallocatedblocks(), _resident()
            state, metrics = run(state, keys)
            backend.synchronize(*state.values())
            del metrics
            gc.collect()
            blocks.append(sys.getallocatedblocks() - before[0])
            pages.append(_resident() - before[1])
    kept, size = min(blocks[1:]), min(pages[1:])
    if kept >= 2 * EPOCHS:
        raise Departure(
            f"{EPOCHS} epochs leave {kept} blocks of Python's memory behind in every round: something is kept"
        )
    if size >= EPOCHS * ELEMENTS * 2:
        raise Departure(f"{EPOCHS} epochs leave {size >> 20} MiB behind in every round: something is kept")
    return Measured(0.0)
