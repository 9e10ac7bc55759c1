"""The other end of a worker's pipe: starts it, asks, waits with a limit, and ends it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portgnn.benchmark.contender import DROPPED_VARIABLES, THREAD_VARIABLES

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")


class WorkerError(Exception):
    """What a worker answered instead of a result. kind: absent, unsupported, error, died, timeout or memory."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class WorkerSpec:
    """How to start a worker. module: what it imports; argument: what it hands to the module's `contender`.

    script: the worker itself, by default this checkout's; another one's measures that one's code.
    """

    name: str
    module: str
    argument: str | None = None
    python: str = sys.executable
    env: Mapping[str, str] = field(default_factory=dict)
    script: Path = WORKER


def worker_environment(threads: int | None, extra: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The environment of a worker, and the names of the variables that were kept from it."""
    env = {name: value for name, value in os.environ.items() if name not in DROPPED_VARIABLES}
    if threads:
        env |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    return env | dict(extra), [name for name in DROPPED_VARIABLES if name in os.environ]


class WorkerProcess:
    """A running worker. Use as a context manager; `ask` raises WorkerError."""

    def __init__(
        self, spec: WorkerSpec, *, threads: int | None = None, timeout: float = 600, memory_limit: int | None = None
    ) -> None:
        self.spec, self._timeout, self._memory_limit = spec, timeout, memory_limit
        env, _ = worker_environment(threads, spec.env)
        command = [spec.python, str(spec.script), spec.module]
        command += ["--argument", spec.argument] if spec.argument is not None else []
        command += ["--threads", str(threads)] if threads else []
        self._log = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=env, text=True,
                start_new_session=True,  # Ctrl-C in a terminal is for whoever keeps the clock
            )  # fmt: skip
        except OSError as error:
            raise WorkerError("absent", f"cannot start {spec.python}: {error.strerror}") from None
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, op: str, *, timeout: float | None = None, **arguments: object) -> Any:
        """One operation's result. The worker is ended where it does not answer in time."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"op": op, "with": arguments}) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise WorkerError("died", self._last_words()) from None
        answer = json.loads(self._wait(op, timeout if timeout is not None else self._timeout))
        if not answer["ok"]:
            raise WorkerError(answer["kind"], answer["error"])
        return answer["result"]

    def close(self) -> None:
        """Asks the worker to end, and ends it where it will not."""
        process = self._process
        with contextlib.suppress(OSError, ValueError):
            assert process.stdin is not None
            process.stdin.write('{"op": "quit"}\n')
            process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._log.close()

    def log(self) -> str:
        """What the worker and its libraries wrote to standard error."""
        self._log.seek(0)
        return self._log.read()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _wait(self, op: str, timeout: float) -> str:
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            try:
                line = self._answers.get(timeout=min(max(left, 0.01), 0.5 if self._memory_limit else left + 0.01))
            except queue.Empty:
                if self._memory_limit and resident_bytes(self._process.pid) > self._memory_limit:
                    self._kill()
                    raise WorkerError("memory", f"held more than {self._memory_limit / 2**30:.1f} GiB") from None
                if time.monotonic() >= deadline:
                    self._kill()
                    raise WorkerError("timeout", f"{op} took more than {timeout:.0f} s") from None
                continue
            if not line:
                self._process.wait()
                raise WorkerError("died", self._last_words())
            return line

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _last_words(self) -> str:
        words = self.log().strip().splitlines()
        return f"the worker ended with status {self._process.poll()}" + (f": {words[-1]}" if words else "")


def resident_bytes(pid: int) -> int:
    """Memory that a process holds now; 0 where the system does not say."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
