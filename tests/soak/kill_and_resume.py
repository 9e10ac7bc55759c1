"""Kills a training run again and again at random moments, resumes it, and compares its end with an undisturbed run.

    python tests/soak/kill_and_resume.py --backend numpy --times 50
    python tests/soak/kill_and_resume.py --dataset cora --times 20 -- --schedule cosine --warmup 20

The parameters must be the same bit for bit (`--tolerance 0`, the default for numpy) or within a tolerance, and no
checkpoint may ever be unreadable. Exits with 1 where one is not. Options of `portgnn train` may follow; --json FILE
keeps what came out under `kill_and_resume` in a document that is there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from portgnn import Model
from portgnn.checkpoints.runs import load_run
from portgnn.errors import CheckpointError

SETTINGS = ("--epochs", "400", "--patience", "0", "--restore-best", "--hidden", "16", "--seed", "3")


@dataclass
class Outcome:
    kills: int
    unreadable: int
    resumed_from: list[int]
    largest_difference: float
    same_history: bool


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "portgnn", "train", *arguments, "--json"]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PORTGNN_OFFLINE": "1"}


def run(
    folder: Path, backend: str, dtype: str, dataset: str, times: int, seed: int, more: Sequence[str] = ()
) -> Outcome:
    """One undisturbed run, and one that is killed `times` times. more: options of `portgnn train`."""
    options = ("--dataset", dataset, "--backend", backend, "--device", "cpu", "--dtype", dtype, *SETTINGS, *more)
    started = time.monotonic()
    quiet = {"env": environment(), "stderr": (folder / "messages").open("ab")}
    clean = subprocess.run(
        command(*options, "--save", str(folder / "clean")), stdout=subprocess.PIPE, check=True, timeout=300, **quiet
    )  # type: ignore[call-overload]
    duration = time.monotonic() - started
    draw = random.Random(seed)
    kept = folder / "run"
    first = command(*options, "--checkpoint", str(kept), "--every", "1")
    again = command("--resume", str(kept), "--every", "1", "--device", "cpu")
    unreadable, kills, resumed = 0, 0, []
    while kills < times:
        process = subprocess.Popen(again if kept.exists() else first, stdout=subprocess.DEVNULL, **quiet)  # type: ignore[call-overload]
        # Mostly while it trains: the interpreter and the framework take their time first.
        moment = draw.uniform(0.2, 1.0) * duration
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
        if kept.exists():
            try:
                progress = load_run(kept)[1]
            except CheckpointError as error:
                print(f"UNREADABLE after {moment:.3f} s: {error}", file=sys.stderr)
                unreadable += 1
                kept.unlink()
                continue
            resumed.append(len(progress.history))
            # An end that comes too soon: begin anew, so that the next kills hit training, too.
            if process.returncode == 0 and kills < times:
                kept.unlink()
    done = subprocess.run(
        [*(again if kept.exists() else first), "--save", str(folder / "killed")],
        stdout=subprocess.PIPE,
        check=True,
        timeout=300,
        **quiet,
    )  # type: ignore[call-overload]
    one, other = (Model.load(folder / name).params for name in ("clean", "killed"))
    difference = max(float(np.abs(one[name] - other[name]).max()) for name in one)
    histories = [json.loads(result.stdout) for result in (clean, done)]
    compared = ("train_loss", "val_loss", "val_accuracy", "best_epoch")
    same = all(histories[0][key] == histories[1][key] for key in compared)
    return Outcome(kills, unreadable, resumed, difference, same)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--dataset", default="csbm-cora")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tolerance", type=float)
    parser.add_argument("--json", type=Path)
    parser.add_argument("options", nargs="*", help="of portgnn train, behind --")
    given = parser.parse_args()
    tolerance = given.tolerance if given.tolerance is not None else 0.0 if given.backend == "numpy" else 1e-5
    with tempfile.TemporaryDirectory() as folder:
        done = run(Path(folder), given.backend, given.dtype, given.dataset, given.times, given.seed, given.options)
    moments = sorted(done.resumed_from)
    print(
        f"{given.backend} {given.dtype}: {done.kills} kills, {done.unreadable} unreadable checkpoints, kept epochs "
        f"{moments[0] if moments else '-'} to {moments[-1] if moments else '-'} ({len(set(moments))} different); "
        f"largest parameter difference {done.largest_difference:g}, histories "
        f"{'equal' if done.same_history else 'differ'}"
    )
    if given.json:
        document = json.loads(given.json.read_text())
        told = asdict(done) | {"resumed_from": moments, "dataset": given.dataset, "dtype": given.dtype}
        document["kill_and_resume"] = told | {"backend": given.backend, "options": [*SETTINGS, *given.options]}
        given.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if not done.unreadable and done.largest_difference <= tolerance else 1


if __name__ == "__main__":
    sys.exit(main())
