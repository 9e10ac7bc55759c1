"""Whether anybody else uses the machine, while a turn is timed and before it starts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

BUSY = 0.15
"""Cores' worth of other processes' work from which on a machine does not count as quiet."""


def busy_seconds() -> float | None:
    """Core-seconds that all processes, and a hypervisor's other guests, have used since boot; None if unknown."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            fields = [int(value) for value in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def process_seconds(pid: int) -> float:
    """Core-seconds of a process, 0 where unknown."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Meter:
    """From its making on: how many cores others than one process kept busy."""

    def __init__(self, pid: int | None = None) -> None:
        self._pid = pid
        self._start = (time.monotonic(), busy_seconds(), process_seconds(pid) if pid else 0.0)

    def others_cores(self) -> float | None:
        """None where the system does not say, or where too little time has passed to tell from its coarse clock."""
        clock, busy, own = self._start
        now, seconds = busy_seconds(), time.monotonic() - clock
        if busy is None or now is None or seconds < 0.1:
            return None
        mine = process_seconds(self._pid) - own if self._pid else 0.0
        return max(0.0, (now - busy - mine) / seconds)


def wait_for_quiet(pause: float, longest: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Pauses, and again until nobody else is at work or `longest` seconds have passed."""
    until = time.monotonic() + longest
    while True:
        meter = Meter()
        sleep(pause)
        others = meter.others_cores()
        if others is None or others <= BUSY or time.monotonic() >= until:
            return
