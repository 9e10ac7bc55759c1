"""Rounds over contenders, and the statistics of what they took."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from portgnn.benchmark.client import WorkerError, WorkerProcess
from portgnn.benchmark.quiet import Meter, wait_for_quiet
from portgnn.training.loop import CHUNK_EPOCHS


@dataclass(frozen=True)
class Plan:
    """How often and how long. All of it goes into the result.

    rounds: turns of every entry. chunk: epochs between two readings of the clock, as many as a training asks for.
    epochs: most timed epochs of an entry in one round. warm_seconds: untimed training before each turn. turn_seconds:
    what a turn of a slow entry may last. pause: seconds between two turns. seconds: what the whole run may take; then
    rounds end with the time, after `FEWEST` unless it is up before, and `rounds` are the most. operations: whether
    `portgnn verify` runs first, or the programs are verified alone.
    """

    rounds: int = 7
    chunk: int = CHUNK_EPOCHS
    epochs: int = 2 * CHUNK_EPOCHS
    warm_seconds: float = 0.3
    turn_seconds: float = 3.0
    evaluations: int = 20
    # Idle pools spin for some milliseconds (OpenMP) up to 200 (Intel's runtime) before they sleep, and a pool that
    # spins on a core which the next worker needs slows it many times over.
    pause: float = 0.25
    # Seconds that a turn may wait for other processes to leave the machine alone.
    quiet_wait: float = 5.0
    verify_epochs: int = 20
    accuracy_seconds: float = 60.0
    seconds: float | None = None
    operations: bool = True

    @classmethod
    def quick(cls) -> Plan:
        return cls(rounds=3, epochs=25, turn_seconds=0.5, evaluations=5, quiet_wait=1.0, accuracy_seconds=5.0)

    @classmethod
    def within(cls, seconds: float) -> Plan:
        """For a run of about so many seconds, verification of the programs included."""
        return cls(
            rounds=25, epochs=25, turn_seconds=0.5, evaluations=5, quiet_wait=1.0, verify_epochs=5,
            accuracy_seconds=seconds / 40, seconds=seconds, operations=False,
        )  # fmt: skip


FEWEST = 2
"""Rounds that a run makes though the last may end late: one alone tells little of how far readings lie apart. After the
first it ends where its time is up already."""


@dataclass
class Entry:
    """One row under way: a case prepared in a running worker, and its readings round by round."""

    row: dict[str, Any]
    worker: WorkerProcess
    case: str
    chunk: int = 0
    chunks: int = 0
    train: list[list[float]] = field(default_factory=list)
    evaluate: list[list[float]] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    epoch_seconds: float = 0.0


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles, in the unit of the values."""
    if not values:
        raise ValueError("nothing was measured")
    low, middle, high = np.quantile(np.asarray(values, dtype=np.float64), [0.25, 0.5, 0.75])
    return {"median": float(middle), "q1": float(low), "q3": float(high), "min": float(min(values)), "n": len(values)}


def round_ratios(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> list[float]:
    """Theirs over ours, round by round: the machine's drift between rounds falls out."""
    return [float(np.median(b) / np.median(a)) for a, b in zip(ours, theirs, strict=False) if len(a) and len(b)]


def choose_chunk(epoch_seconds: float, plan: Plan) -> tuple[int, int]:
    """(epochs a chunk, chunks a turn) for an entry whose epoch takes this long."""
    affordable = max(1, int(plan.turn_seconds / max(epoch_seconds, 1e-9)))
    # Three readings a turn, where time allows, before longer chunks.
    chunk = max(1, min(plan.chunk, affordable // 3))
    return chunk, max(1, min(plan.epochs, affordable) // chunk)


def calibrate(entry: Entry, plan: Plan) -> None:
    """The first epoch, apart; then warm-up; then the length of this entry's chunks."""
    entry.row["first_epoch_ms"] = entry.worker.ask("time", case=entry.case, chunk=1, chunks=1)["seconds"][0] * 1e3
    second = min(entry.worker.ask("time", case=entry.case, chunk=1, chunks=2)["seconds"])
    # A framework may compile once for each length of a chunk, so what is warmed up is what will be timed.
    chunk, _ = choose_chunk(second, plan)
    warm = entry.worker.ask("time", case=entry.case, chunk=chunk, chunks=1, warm=chunk)["seconds"][0] / chunk
    if choose_chunk(warm, plan)[0] != chunk:
        chunk, _ = choose_chunk(warm, plan)
        warm = entry.worker.ask("time", case=entry.case, chunk=chunk, chunks=1, warm=chunk)["seconds"][0] / chunk
    entry.chunk = chunk
    entry.chunks = max(1, min(plan.epochs, max(1, int(plan.turn_seconds / warm))) // chunk)
    entry.row["chunk_epochs"], entry.epoch_seconds = entry.chunk, warm


def run_rounds(
    entries: list[Entry],
    plan: Plan,
    seed: int,
    advance: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    until: float | None = None,
) -> list[Entry]:
    """Times all entries in rounds, each round in another order. Returns those that stayed alive.

    until: reading of the monotonic clock by which another round would have to be done.
    """
    shuffle = random.Random(seed).shuffle
    alive, lasted = list(entries), 0.0
    for number in range(plan.rounds):
        started = time.monotonic()
        if until is not None and number and started + (lasted if number >= FEWEST else 0.0) > until:
            break
        order = list(alive)
        shuffle(order)
        for entry in order:
            wait_for_quiet(plan.pause, plan.quiet_wait, sleep)
            try:
                _turn(entry, plan)
            except WorkerError as error:
                entry.row |= {"status": "failed", "reason": f"{error.kind}: {error}"}
                alive.remove(entry)
            advance(entry.row["label"])
        lasted = time.monotonic() - started
    return alive


def finish(entry: Entry) -> None:
    """Turns an entry's readings into the figures of its row, which is skipped where none of its turns was finished."""
    row = entry.row
    if not entry.evaluate:
        row |= {"status": "skipped", "reason": "the run ended before its first turn"}
        return
    del entry.train[len(entry.evaluate) :]  # of a turn that was interrupted
    per_epoch = [[seconds * 1e3 / entry.chunk for seconds in readings] for readings in entry.train]
    row["train_ms"] = summary([value for readings in per_epoch for value in readings])
    row["train_ms_rounds"] = [[round(value, 6) for value in readings] for readings in per_epoch]
    evaluations = [[seconds * 1e3 for seconds in readings] for readings in entry.evaluate]
    row["evaluate_ms"] = summary([value for readings in evaluations for value in readings])
    # The median turn: one disturbed turn shows in the quartiles, a disturbed run must be told to the reader.
    row["others_cores"] = round(float(np.median(entry.others)), 3) if entry.others else None
    row["status"] = "timed"


def _turn(entry: Entry, plan: Plan) -> None:
    meter = Meter(entry.worker.pid)
    # The turn before belonged to another process: caches, thread pools and clocks of cores have to come back, and
    # that takes them time and not epochs. As epochs, a fast contender would be given less of it than a slow one.
    how: dict[str, Any] = {"chunk": entry.chunk, "chunks": entry.chunks, "warm": entry.chunk, "seed": len(entry.train)}
    how |= {"warm_seconds": plan.warm_seconds}
    times = entry.worker.ask("time", case=entry.case, **how)
    entry.train.append(times["seconds"])
    epoch = min(times["seconds"]) / entry.chunk
    repeats = max(1, min(plan.evaluations, int(plan.turn_seconds / 2 / max(epoch, 1e-9))))
    entry.evaluate.append(entry.worker.ask("evaluate", case=entry.case, repeats=repeats)["seconds"])
    others = meter.others_cores()
    if others is not None:
        entry.others.append(others)
