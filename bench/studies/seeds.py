"""How far whole trainings depart from NumPy's in float64: the distribution over seeds, and whether kinks explain it.

python bench/studies/seeds.py run [--backends numpy,torch] [--dtypes float32] [--minutes 8]
python bench/studies/seeds.py table

Each seed trains 200 epochs without early stopping; its error is the largest relative difference of a training or
validation loss from NumPy's in float64. NumPy's own float64 runs are held against `portgnn.verification.oracle`. `run`
adds what is missing to the file, and may be stopped and called again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from portgnn import load_graph
from portgnn.environment import machine
from portgnn.operands import Prepared
from portgnn.presets import preset
from portgnn.registry import backend_class, get_backend
from portgnn.verification.kinks import ROUNDINGS
from portgnn.verification.oracle import Course
from portgnn.verification.seeds import Comparison, SeedResult

RESULTS = Path(__file__).parents[1] / "results" / "seeds.json"
REFERENCES = Path(tempfile.gettempdir()) / "portgnn-references"
EPOCHS, SEEDS, DENSE_SEEDS = 200, 40, 3
ROUND = 10
"""Seeds of one row before the next row has its turn, so that a file that is not finished yet holds some of each."""
BACKENDS = ("numpy", "torch", "jax", "mlx")
REFERENCE = "numpy"
"""The backend whose float64 runs are what the others are compared with."""


@dataclass(frozen=True)
class Task:
    """One row of the table: one backend and dtype on one dataset under one recipe, for so many seeds."""

    dataset: str
    recipe: str
    backend: str
    dtype: str
    seeds: int = SEEDS

    @property
    def options(self) -> dict[str, str]:
        """The recipe's forms where they are not its preset's: the article's as sparse matrices, a tenth of the time."""
        return {"adjacency": "csr", "features": "auto"} if self.recipe == "article, CSR form" else {}

    @property
    def key(self) -> str:
        return " / ".join((self.dataset, self.recipe, self.backend, self.dtype))

    def prepared(self) -> Prepared:
        name = self.recipe.partition(",")[0]
        config = preset(name, epochs=EPOCHS, patience=0, restore_best=False, **self.options)
        return Prepared.of(load_graph(self.dataset), config)


def tasks() -> list[Task]:
    """All rows; the article's dense form, whose products take a minute a run and more, for its first seeds alone."""
    rows = [
        Task(dataset, recipe, backend, dtype)
        for dtype in ("float32", "float64")
        for backend in BACKENDS
        for dataset in ("cora", "citeseer")
        for recipe in ("kipf", "pyg", "article, CSR form")
    ]
    return rows + [Task("cora", "article, dense form", name, "float32", DENSE_SEEDS) for name in BACKENDS]


def reference(task: Task, seed: int, kept: dict[str, Comparison]) -> Course:
    """NumPy's float64 losses, computed once for all backends and kept between calls."""
    path = REFERENCES / f"{task.dataset}-{task.recipe}-{seed}.npy".replace(" ", "-").replace(",", "")
    if not path.is_file():
        where = f"{task.dataset} {task.recipe}"
        if where not in kept:
            kept[where] = Comparison(get_backend(REFERENCE, device="cpu", dtype="float64"), task.prepared())
        REFERENCES.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, kept[where].found(seed))
        partial.replace(path)
    metrics = np.load(path)
    # Losses alone are compared here: any count is near enough.
    return Course(metrics.tolist(), [sys.maxsize] * len(metrics), [])


def row_of(result: SeedResult) -> dict[str, Any]:
    kinks = [asdict(kink) | {"distance": kink.distance} for kink in result.kinks]
    return {
        "seed": result.seed,
        "error": result.error,
        "first": result.first,
        "explained": result.explained,
        "state": result.state,
        "kinks": kinks,
    } | ({"hint": result.hint} if result.hint else {})


def run(chosen: list[Task], out: Path, minutes: float) -> bool:
    """Computes what the file lacks of the chosen rows. Returns whether nothing is missing any more."""
    end = time.monotonic() + minutes * 60
    document = json.loads(out.read_text()) if out.is_file() else {"format": "portgnn-seeds", "rows": {}}
    document |= {"epochs": EPOCHS, "roundings": ROUNDINGS, "machine": machine()}
    references: dict[str, Comparison] = {}
    for start in range(0, max(task.seeds for task in chosen), ROUND):
        for task in chosen:
            row = document["rows"].setdefault(task.key, {"seeds": []})
            done = {one["seed"] for one in row["seeds"]}
            missing = [seed for seed in range(start, min(start + ROUND, task.seeds)) if seed not in done]
            if not missing:
                continue
            comparison = Comparison(get_backend(task.backend, device="cpu", dtype=task.dtype), task.prepared())
            row |= {"tolerance": comparison.tolerance, "environment": backend_class(task.backend).environment()}
            for seed in missing:
                if time.monotonic() > end:
                    return False
                own = task.backend == REFERENCE and task.dtype == "float64"
                result = comparison.result(seed, None if own else reference(task, seed, references))
                row["seeds"].append(row_of(result))
                write(document, out)
                print(f"{task.key}: seed {seed} {result.error} {result.state} {result.hint}", flush=True)
    return True


def write(document: dict[str, Any], out: Path) -> None:
    """One line a seed, so that a run that is repeated shows what moved."""
    parts = {name: value for name, value in document.items() if name != "rows"}
    lines = [json.dumps(parts)[:-1] + ', "rows": {']
    for number, (key, row) in enumerate(document["rows"].items()):
        head = json.dumps({name: value for name, value in row.items() if name != "seeds"})[:-1]
        seeds = ",\n".join(json.dumps(one) for one in sorted(row["seeds"], key=lambda one: one["seed"]))
        comma = "" if number + 1 == len(document["rows"]) else ","
        lines.append(f'{json.dumps(key)}: {head}{", " if len(head) > 1 else ""}"seeds": [\n{seeds}]}}{comma}')
    partial = out.with_suffix(".partial")
    partial.write_text("\n".join([*lines, "}}\n"]))
    partial.replace(out)


def table(document: dict[str, Any], dtype: str) -> str:
    """Markdown: one line a row of that dtype."""
    head = (
        "| dataset | recipe | backend | seeds | median | largest | over {:.0e} | of these explained by kinks | kinks "
        "| unexplained | with the kinks' sides |"
    )
    lines: list[str] = []
    for key, row in document["rows"].items():
        dataset, recipe, backend, kind = key.split(" / ")
        if kind != dtype or not row["seeds"]:
            continue
        lines = lines or [head.format(row["tolerance"]), "|---|---|---|" + "---:|" * 8]
        name, comma, form = recipe.partition(",")
        of = statistics(row)
        counts = " | ".join(str(of[name]) for name in ("over", "explained", "kinks", "unexplained"))
        sides = "–" if of["forced"] is None else f"{of['forced']:.1e}"
        lines.append(
            f"| {dataset} | `{name}`{comma}{form} | `{backend}` | {of['seeds']} | {of['median']:.1e} "
            f"| {of['largest']:.1e} | {counts} | {sides} |"
        )
    return "\n".join(lines)


def statistics(row: dict[str, Any]) -> dict[str, Any]:
    """Of one row: its seeds, their median and largest error, how many depart, and what became of those."""
    seeds = row["seeds"]
    errors = [float("inf") if one["error"] is None else one["error"] for one in seeds]
    states = [one["state"] for one in seeds]
    return {
        "seeds": len(seeds),
        "median": float(np.median(errors)),
        "largest": max(errors),
        "over": sum(one["first"] is not None or one["error"] is None for one in seeds),
        "explained": states.count("explained"),
        "unexplained": states.count("FAILS"),
        "kinks": sum(len(one["kinks"]) for one in seeds),
        "farthest": max((kink["distance"] for one in seeds for kink in one["kinks"]), default=None),
        "forced": max((one["explained"] for one in seeds if one["explained"] is not None), default=None),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    running = commands.add_parser("run")
    running.add_argument("--backends", default=",".join(BACKENDS))
    running.add_argument("--dtypes", default="float32,float64")
    running.add_argument("--minutes", type=float, default=float("inf"), help="Stop after so many minutes.")
    for one in (running, commands.add_parser("table")):
        one.add_argument("--file", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.command == "table":
        document = json.loads(options.file.read_text())
        print("\n\n".join(table(document, dtype) for dtype in ("float32", "float64")))
        return 0
    chosen = [
        task
        for task in tasks()
        if task.backend in options.backends.split(",") and task.dtype in options.dtypes.split(",")
    ]
    return 0 if run(chosen, options.file, options.minutes) else 3


if __name__ == "__main__":
    sys.exit(main())
