"""One contender in a process of its own: answers JSON lines on standard input with JSON lines on standard output.

A process each, so that neither thread pools nor allocators nor imports of one framework touch another's clock;
and a plain protocol, so that a peer's environment needs no portgnn. The clock is read here, in the worker:
what the pipe costs is in no figure.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

if __name__ == "__main__":  # a script's own folder must not shadow other libraries' modules
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from portgnn.benchmark.contender import Contender, Program, Recipe, Unsupported, peak_memory_bytes, process_facts
from portgnn.benchmark.graphs import BenchGraph


class Worker:
    """Holds the prepared programs of one contender. Each public method answers one operation."""

    def __init__(self, module: str, argument: str | None) -> None:
        found = importlib.import_module(module)
        self._contender: Contender = found.contender(argument) if hasattr(found, "contender") else found
        self._programs: dict[str, Program] = {}
        self._graphs: dict[str, BenchGraph] = {}

    def hello(self) -> dict[str, object]:
        environment = self._contender.environment()
        facts = process_facts() | {"environment": environment, "devices": list(self._contender.devices())}
        return facts | {"baseline_bytes": peak_memory_bytes()}

    def prepare(
        self, case: str, graph: str, recipe: dict[str, Any], device: str, options: dict[str, object], keep: bool = True
    ) -> dict[str, object]:
        """Builds the program. keep: hold on to the file's arrays for the next case; not where memory is measured."""
        loaded = self._graphs.get(graph) or BenchGraph.load(graph)
        if keep:
            self._graphs[graph] = loaded
        started = time.perf_counter()
        self._programs[case] = self._contender.build(loaded, Recipe(**recipe), device, options)
        return {"seconds": time.perf_counter() - started, "options": self._programs[case].options}

    def verify(self, case: str, epochs: int, operations: bool = True) -> dict[str, object]:
        """Whether the program computes what it should. operations: of its library, all that `portgnn verify` checks."""
        check = getattr(self._programs[case], "verify", None)
        return check(epochs, operations) if check else {"passed": True, "method": "a peer: not ours to verify"}

    def time(
        self, case: str, chunk: int, chunks: int, warm: int = 0, warm_seconds: float = 0.0, seed: int | None = None
    ) -> dict[str, Any]:
        """Seconds of each of `chunks` calls of `chunk` epochs, after `warm` epochs in calls of the same length.

        warm_seconds: before those, train for this long, again and again over the epochs that will be timed.
        seed: start afresh from it, outside the clock. Past the epochs of any real training gradients fade into
        denormal numbers, which slow a CPU several times over and tell nobody anything.
        """
        program = self._programs[case]
        until = time.perf_counter() + warm_seconds
        while time.perf_counter() < until:
            program.reset(seed or 0)
            for _ in range(chunks):
                if time.perf_counter() < until:
                    program.train(chunk)
        if seed is not None:
            program.reset(seed)
        for _ in range(-(-warm // chunk)):
            program.train(chunk)
        return {"seconds": [_clock(lambda: program.train(chunk)) for _ in range(chunks)]}

    def evaluate(self, case: str, repeats: int, warm: int = 1) -> dict[str, object]:
        program = self._programs[case]
        for _ in range(warm):
            program.evaluate()
        return {"seconds": [_clock(program.evaluate) for _ in range(repeats)]}

    def accuracy(self, case: str, epochs: int, seed: int) -> dict[str, Any]:
        program = self._programs[case]
        program.reset(seed)
        program.train(epochs)
        return {"test_accuracy": program.test_accuracy(), "epochs": epochs, "seed": seed}

    def memory(self) -> dict[str, object]:
        return {"peak_bytes": peak_memory_bytes()}

    def call(self, operation: str, **arguments: object) -> Any:
        """An operation of the contender's own, for example the bandwidth of its sparse product."""
        return getattr(self._contender, operation)(**arguments)

    def release(self) -> dict[str, object]:
        self._programs.clear()
        self._graphs.clear()
        gc.collect()
        return {}


def _clock(action: Any) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def serve(requests: TextIO, answers: TextIO, module: str, argument: str | None) -> None:
    """Answers until the requests end. A failure is an answer too, and the worker lives on."""
    worker: Worker | None = None
    for line in requests:
        request = json.loads(line)
        if request["op"] == "quit":
            return
        try:
            worker = worker or Worker(module, argument)
            answer = {"ok": True, "result": getattr(worker, request["op"])(**request.get("with", {}))}
        except Exception as error:
            traceback.print_exc()
            kind = "unsupported" if isinstance(error, Unsupported) else "error"
            kind = "absent" if isinstance(error, ImportError) else kind
            answer = {"ok": False, "kind": kind, "error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module")
    parser.add_argument("--argument")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads and hasattr(os, "sched_setaffinity"):
        # The one limit that every framework's pool obeys.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])
    # Libraries print to standard output as they please; the protocol keeps a descriptor of its own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, answers, given.module, given.argument)


if __name__ == "__main__":
    main()
