"""Training on several processes beside one: are the numbers the same, and what does an epoch cost?

    python bench/studies/distributed.py curves --processes 2 --backend gloo --dataset cora --dtype float64 --json OUT
    python bench/studies/distributed.py curves --processes 2 --backend nccl --nodes 1000000 --edges 25000000 --epochs 20
    python bench/studies/distributed.py death --backend gloo --json OUT

`curves` trains once in one process and once in several, with everything else the same, and compares each epoch's
losses. --nodes and --edges (undirected; twice as many are stored) make a random graph with communities in place of
--dataset; it is written to --folder once. --backend: gloo or nccl (torch under torchrun), or ring (MLX under
mlx.launch). `death` kills one of two processes in the middle of training, takes the time until the others have ended,
resumes from the checkpoint, and compares the final loss with an undisturbed run's.
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
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from bench.studies.scaling_graphs import on_disk

ADAPTERS = {"gloo": "torch", "nccl": "torch", "ring": "mlx"}
LIMIT = 3600.0


def launcher(transport: str, processes: int) -> list[str]:
    """The command before `-m portgnn`, on this machine alone."""
    here = Path(sys.executable).parent
    if transport == "ring":
        port = free_port(processes)
        return [
            str(here / "mlx.launch"),
            "-n",
            str(processes),
            "--backend",
            "ring",
            "--starting-port",
            str(port),
            "--",
            sys.executable,
        ]
    return [
        sys.executable,  # torchrun itself may stand in another folder
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        str(processes),
        "--master-addr",
        "127.0.0.1",
        "--master-port",
        str(free_port(1)),
    ]


def free_port(count: int) -> int:
    """The first of `count` ports in a row that nobody listens on."""
    for port in range(20_000 + os.getpid() % 10_000, 60_000, count):
        try:
            for each in range(port, port + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", each))
            return port
        except OSError:
            continue
    raise RuntimeError("no free port")


def train(options: list[str], transport: str, processes: int) -> dict[str, Any]:
    """`portgnn train --json` in one process or several: its document and the command's seconds."""
    command = [sys.executable] if processes == 1 else launcher(transport, processes)
    command = [*command, "-m", "portgnn", "train", "--json", "--backend", ADAPTERS[transport], *options]
    if processes > 1:
        command += ["--distributed", "--transport", transport]
    clock = time.perf_counter()
    # mlx.launch reads its input, and one that has ended would have it spin.
    with subprocess.Popen(["sleep", str(LIMIT)], stdout=subprocess.PIPE) as silent:
        done = subprocess.run(command, stdin=silent.stdout, capture_output=True, text=True, timeout=LIMIT)
        silent.kill()
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    document: dict[str, Any] = json.loads(lines[-1])
    return document | {"seconds": time.perf_counter() - clock}


def curves(arguments: argparse.Namespace) -> dict[str, Any]:
    """One process against several."""
    options = ["--epochs", str(arguments.epochs), "--patience", "0", "--dtype", arguments.dtype]
    options += ["--hidden", str(arguments.hidden)]
    dataset = arguments.dataset
    if arguments.nodes:
        dataset = str(on_disk(arguments.folder, arguments.nodes, arguments.edges, arguments.width).path)
        options += ["--no-normalize-features"]
    options += ["--dataset", dataset]
    if arguments.backend == "nccl":
        alone = train([*options, "--device", "cuda"], arguments.backend, 1)
    else:
        alone = train([*options, "--device", "cpu"], arguments.backend, 1)
    several = train(options, arguments.backend, arguments.processes)
    differences, absolute = {}, {}
    for name in ("train_loss", "val_loss"):
        one, many = np.array(alone[name]), np.array(several[name])
        differences[name] = float(np.max(np.abs(one - many) / np.abs(one)))
        absolute[name] = float(np.max(np.abs(one - many)))
    return {
        "kind": "distributed-curves", "transport": arguments.backend, "processes": arguments.processes,
        "dataset": several["dataset"], "nodes": several["nodes"], "edges": several["edges"], "dtype": arguments.dtype,
        "hidden": arguments.hidden, "epochs": arguments.epochs, "largest_relative_difference": differences,
        "largest_absolute_difference": absolute,
        "final_train_loss": [alone["train_loss"][-1], several["train_loss"][-1]],
        "test_accuracy": [alone["test_accuracy"], several["test_accuracy"]],
        "epoch_ms": [alone["median_train_ms"], several["median_train_ms"]],
        "device": several["device"], "cores": os.cpu_count(), "environment": several["environment"],
    }  # fmt: skip


def death(arguments: argparse.Namespace) -> dict[str, Any]:
    """Kills a process in the middle of training and resumes."""
    options = ["--epochs", str(arguments.epochs), "--patience", "0", "--dtype", arguments.dtype]
    options += ["--dataset", arguments.dataset]
    undisturbed = train(options, arguments.backend, 2)
    with tempfile.TemporaryDirectory(prefix="portgnn-bench-") as folder:
        kept = Path(folder) / "run.safetensors"
        log = Path(folder) / "log"
        command = [
            *launcher(arguments.backend, 2),
            "-m",
            "portgnn",
            "train",
            "--distributed",
            "--backend",
            ADAPTERS[arguments.backend],
            *options,
            "--checkpoint",
            str(kept),
            "--every",
            "20",
            "--timeout",
            str(arguments.timeout),
        ]
        with (
            log.open("w") as out,
            subprocess.Popen(["sleep", "600"], stdout=subprocess.PIPE) as silent,
            subprocess.Popen(command, stdin=silent.stdout, stdout=out, stderr=out, start_new_session=True) as running,
        ):
            written = 0
            while written < 3 and running.poll() is None:  # the file has been replaced: training is under way
                before = kept.stat().st_ino if kept.exists() else None
                time.sleep(0.02)
                written += before is not None and kept.stat().st_ino != before
            workers = trainers(running.pid)
            os.kill(workers[-1], signal.SIGKILL)
            clock = time.perf_counter()
            while any(alive(each) for each in workers[:-1]) and time.perf_counter() - clock < 120:
                time.sleep(0.01)
            others = time.perf_counter() - clock
            status = running.wait(timeout=120)
            launcher_ended = time.perf_counter() - clock
            silent.kill()
        said = [line for line in log.read_text().splitlines() if line.startswith("error:")]
        said = [line.replace(str(kept), kept.name) for line in said]
        resumed = train(["--resume", str(kept), "--device", "cpu"], arguments.backend, 2)
    return {
        "kind": "distributed-death", "transport": arguments.backend, "dataset": arguments.dataset,
        "dtype": arguments.dtype, "epochs": arguments.epochs, "others_ended_s": others,
        "launcher_ended_s": launcher_ended, "launcher_status": status, "said": said,
        "final_train_loss": [undisturbed["train_loss"][-1], resumed["train_loss"][-1]],
        "equal_curves": undisturbed["train_loss"] == resumed["train_loss"],
    }  # fmt: skip


def trainers(root: int) -> list[int]:
    """The processes below `root` that train, from /proc."""
    found, queue = [], [root]
    while queue:
        parent = queue.pop(0)
        for task in Path(f"/proc/{parent}/task").iterdir():
            queue += [int(word) for word in (task / "children").read_text().split()]
        words = Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0")
        if parent != root and b"portgnn" in words and b"--distributed" in words and b"bash" not in words[0]:
            found.append(parent)
    return sorted(found)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["curves", "death"])
    parser.add_argument("--backend", choices=sorted(ADAPTERS), default="gloo")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--dataset", default="cora")
    parser.add_argument("--nodes", type=int, default=0)
    parser.add_argument("--edges", type=int, default=500_000)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--timeout", type=float, default=10.0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--json", type=Path, help="append the result to this file, a JSON list")
    arguments = parser.parse_args()
    result = curves(arguments) if arguments.what == "curves" else death(arguments)
    print(json.dumps(result, indent=1))
    if arguments.json:
        results = json.loads(arguments.json.read_text()) if arguments.json.exists() else []
        arguments.json.write_text(json.dumps([*results, result], indent=1) + "\n")


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
