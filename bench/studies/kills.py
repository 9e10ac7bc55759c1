"""A process killed in each phase of a run of two: when have the others ended, and is the resumed run the same?

    python bench/studies/kills.py [--jobs 1] --json OUT

Processes are torch's, joined by gloo: on one machine (one torchrun), and on what torchrun takes for two (two agents
with `--nnodes 2`, which find each other by its rendezvous at the loopback address). One of them kills itself (SIGKILL)
as it enters the call of the phase that is tried: joining the others, placing its part, an exchange of rows, the sum of
the gradients, or the replacement of the checkpoint by a newer one. Then seconds until the other has ended and until the
launchers have. The run is started again from its checkpoint, or anew where there is none yet, and its losses have to be
those of a run that nobody disturbed, bit for bit; on one process alone they may differ in the last digits.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from bench.studies.distributed import alive

PHASES = {"joining": (0, 0), "placing": (0, 1), "exchange": (17, 41), "reduce": (9, 30), "checkpoint": (1, 3)}
"""How many calls of the phase come before that in which it dies, in the first trial and in the second."""
RECIPE = ["--dataset", "csbm-cora", "--epochs", "40", "--patience", "0", "--dtype", "float64", "--device", "cpu"]
LIMIT = 240.0


def armed(phase: str, after: int, folder: Path) -> None:
    """From now on the process of rank 1 (who writes, for a checkpoint) dies as it enters the phase's call."""
    import torch.distributed as dist

    import portgnn.distributed.loop as loop

    place: tuple[Any, str] = {
        "joining": (dist, "init_process_group"), "placing": (loop, "place_part"),
        "exchange": (dist, "all_to_all_single"), "reduce": (dist, "all_reduce"),
        "checkpoint": (os, "replace"),
    }[phase]  # fmt: skip
    function: Callable[..., Any] = getattr(*place)
    calls = 0

    def fatal(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            (folder / "killed").write_text(json.dumps({"time": time.time(), "process": os.getpid()}))
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    if phase == "checkpoint" or os.environ["RANK"] == "1":
        setattr(*place, fatal)


def worker(phase: str, after: int, folder: Path, words: list[str]) -> int:
    """One process of the run; it dies in it unless one has died already. phase "none": nobody dies."""
    (folder / f"process-{os.environ.get('RANK', '0')}").write_text(str(os.getpid()))
    if phase != "none" and not (folder / "killed").exists():
        armed(phase, after, folder)
    from portgnn.cli import main as portgnn

    return portgnn(words)


def own_port() -> int:
    """A free port that no other trial is given."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def launched(machines: int, folder: Path, phase: str, after: int, words: list[str]) -> list[subprocess.Popen[str]]:
    """The launchers of two processes, one or one a machine."""
    torchrun = [sys.executable, "-m", "torch.distributed.run"]
    if machines == 1:
        torchrun += ["--nproc-per-node", "2", "--master-addr", "127.0.0.1", "--master-port", str(own_port())]
    else:
        endpoint = f"127.0.0.1:{own_port()}"
        torchrun += ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint]
        torchrun += ["--rdzv-id", folder.name, "--local-addr", "127.0.0.1"]
    own = [str(Path(__file__).resolve()), "worker", phase, str(after), str(folder), "--", *words]
    found = []
    for machine in range(machines):
        log = (folder / f"log-{phase}-{machine}").open("w")
        found.append(subprocess.Popen([*torchrun, *own], stdout=subprocess.PIPE, stderr=log, text=True))
        log.close()
    return found


def finished(launchers: list[subprocess.Popen[str]]) -> dict[str, Any]:
    """What the run said in the end. Raises SystemExit where it failed."""
    with ThreadPoolExecutor(len(launchers)) as pool:
        said = "".join(pool.map(lambda each: each.communicate(timeout=LIMIT)[0], launchers))
    if any(each.returncode for each in launchers):
        raise SystemExit(f"a run that nobody disturbed ended with {[each.returncode for each in launchers]}: {said}")
    document: dict[str, Any] = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    return document


def trial(phase: str, after: int, machines: int, timeout: float, expected: list[float]) -> dict[str, Any]:
    """A run in which a process dies, and the run that follows it."""
    with tempfile.TemporaryDirectory(prefix="portgnn-kills-") as name:
        folder, kept = Path(name), Path(name) / "run.safetensors"
        common = ["train", "--json", "--distributed", "--backend", "torch", "--timeout", str(timeout)]
        words = [*common, *RECIPE, "--checkpoint", str(kept), "--every", "5"]
        launchers = launched(machines, folder, phase, after, words)
        begun = time.time()
        while not (folder / "killed").exists() and time.time() - begun < LIMIT:
            time.sleep(0.01)
        time.sleep(0.05)
        death = json.loads((folder / "killed").read_text())
        others = [int(each.read_text()) for each in folder.glob("process-*")]
        others = [each for each in others if each != death["process"]]
        while any(alive(each) for each in others) and time.time() - begun < LIMIT:
            time.sleep(0.01)
        ended = time.time() - death["time"]
        status = [each.wait(timeout=LIMIT) for each in launchers]
        launchers_ended = time.time() - death["time"]
        for each in launchers:
            each.communicate()
        logs = "".join(each.read_text() for each in folder.glob("log-*"))
        said = [line[:200].replace(name, "…") for line in logs.splitlines() if line.startswith("error:")]
        has_kept = kept.exists()
        again = [*common, "--resume", str(kept), "--device", "cpu"] if has_kept else words
        resumed = finished(launched(machines, folder, "none", 0, again))
    return {
        "phase": phase, "calls_before": after, "machines": machines, "others_ended_s": ended,
        "launchers_ended_s": launchers_ended, "statuses": status, "said": said,
        "went_on_from_checkpoint": has_kept, "same_losses": resumed["train_loss"] == expected,
    }  # fmt: skip


def fewer(timeout: float, expected: list[float]) -> dict[str, Any]:
    """A run of two of which one dies goes on in one process."""
    with tempfile.TemporaryDirectory(prefix="portgnn-kills-") as name:
        folder, kept = Path(name), Path(name) / "run.safetensors"
        common = ["train", "--json", "--backend", "torch"]
        words = [
            *common,
            "--distributed",
            "--timeout",
            str(timeout),
            *RECIPE,
            "--checkpoint",
            str(kept),
            "--every",
            "5",
        ]
        for each in launched(1, folder, "reduce", 30, words):
            each.communicate(timeout=LIMIT)
        alone = [sys.executable, "-m", "portgnn", *common, "--resume", str(kept), "--device", "cpu"]
        done = subprocess.run(alone, capture_output=True, text=True, timeout=LIMIT, check=True)
    losses = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))["train_loss"]
    apart = np.abs(np.array(losses) / np.array(expected) - 1).max()
    return {"processes_then": 1, "epochs": len(losses), "largest_relative_difference": float(apart)}


def main() -> int:
    if sys.argv[1:2] == ["worker"]:
        phase, after, folder = sys.argv[2:5]
        return worker(phase, int(after), Path(folder), sys.argv[6:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1, help="trials side by side")
    parser.add_argument("--timeout", type=float, default=10.0)
    parser.add_argument("--phases", nargs="+", default=list(PHASES))
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="portgnn-kills-") as name:
        words = ["train", "--json", "--distributed", "--backend", "torch", *RECIPE]
        expected = finished(launched(1, Path(name), "none", 0, words))["train_loss"]
    cases = [(p, after, m) for m in arguments.machines for p in arguments.phases for after in PHASES[p]]
    rows = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        alone = pool.submit(fewer, arguments.timeout, expected)
        begun = [pool.submit(trial, *case, arguments.timeout, expected) for case in cases]
        for each in begun:
            rows.append(each.result())
            print(rows[-1], flush=True)
        on_one = alone.result()
    ended = [row["others_ended_s"] for row in rows]
    result = {
        "kind": "kills", "transport": "gloo", "recipe": RECIPE, "timeout_s": arguments.timeout, "kills": len(rows),
        "same_losses": sum(row["same_losses"] for row in rows), "others_ended_s": [min(ended), max(ended)],
        "cores": os.cpu_count(), "side_by_side": arguments.jobs, "on_fewer_processes": on_one, "trials": rows,
    }  # fmt: skip
    print({key: value for key, value in result.items() if key != "trials"})
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
