"""How far whole trainings depart from NumPy's in float64: the distribution over seeds, and whether kinks explain it.

python bench/studies/seeds.py run [--backends "numpy;torch"] [--dtypes float32] [--minutes 8]
python bench/studies/seeds.py table       every row
python bench/studies/seeds.py overview [--into README.md]    in short, between the marks of a page

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
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from portgnn import load_graph
from portgnn.parts import Adam, MasterWeights
from portgnn.placing.prepared import Prepared
from portgnn.presets import preset
from portgnn.protocol import Backend, Optimizer
from portgnn.registry import backend_class, get_backend
from portgnn.results.environment import machine
from portgnn.verification.kinks import ROUNDINGS
from portgnn.verification.oracle import Course
from portgnn.verification.seeds import Comparison, SeedResult
from portgnn_numpy import NumPyBackend

RESULTS = Path(__file__).parents[1] / "results" / "seeds.json"
REFERENCES = Path(tempfile.gettempdir()) / "portgnn-references"
EPOCHS = 200
SEEDS = {"float32": 40, "float64": 10}
DENSE_SEEDS = 3
START, END = "<!-- seeds -->\n", "<!-- end of seeds -->"
TOLERANCE = 1e-5
ROUND = 10
"""Seeds of one row before the next row has its turn, so that a file that is not finished yet holds some of each."""
BACKENDS = ("numpy", "torch", "jax", "mlx")
MASTERS = "numpy, float64 Adam"
REFERENCE = "numpy"
"""The backend whose float64 runs are what the others are compared with."""


class Float64Masters(NumPyBackend):
    """NumPy in float32 whose Adam keeps parameters and moments in float64: what would that save?"""

    def adam(self, *rates: Any, **options: Any) -> Optimizer:  # type: ignore[override]
        inner = Adam(partial(np.zeros, dtype=np.float64), np.sqrt, *rates, **options)
        return MasterWeights(inner, lambda x: x.astype(np.float64), lambda x: x.astype(np.float32), *(lambda x: x,) * 2)


def made(task: Task) -> Backend:
    """The backend of a row."""
    if task.backend == MASTERS:
        return Float64Masters("cpu", task.dtype)
    return get_backend(task.backend, device="cpu", dtype=task.dtype)


@dataclass(frozen=True)
class Task:
    """One row of the table: one backend and dtype on one dataset under one recipe, for so many seeds."""

    dataset: str
    recipe: str
    backend: str
    dtype: str
    seeds: int

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
        Task(dataset, recipe, backend, dtype, SEEDS[dtype])
        for dtype in ("float32", "float64")
        for backend in BACKENDS
        for dataset in ("cora", "citeseer")
        for recipe in ("kipf", "pyg", "article, CSR form")
    ]
    rows += [Task("cora", "article, dense form", name, "float32", DENSE_SEEDS) for name in BACKENDS]
    return rows + [
        Task("cora", recipe, MASTERS, "float32", SEEDS["float32"]) for recipe in ("kipf", "pyg", "article, CSR form")
    ]


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
        "by": result.by,
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
            comparison = Comparison(made(task), task.prepared())
            row |= {
                "tolerance": comparison.tolerance,
                "environment": backend_class(task.backend.partition(",")[0]).environment(),
            }
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
        "| dataset | recipe | backend | seeds | median | largest | over {:.0e} | explained by kinks | by steps "
        "| unexplained | kinks | with the kinks' sides |"
    )
    lines: list[str] = []
    for key, row in document["rows"].items():
        dataset, recipe, backend, kind = key.split(" / ")
        if kind != dtype or not row["seeds"]:
            continue
        lines = lines or [head.format(row["tolerance"]), "|---|---|---|" + "---:|" * 9]
        of = statistics(row)
        counts = " | ".join(str(of[name]) for name in ("over", "kinked", "stepped", "unexplained", "kinks"))
        sides = "–" if of["forced"] is None else f"{of['forced']:.1e}"
        lines.append(
            f"| {dataset} | {quoted(recipe)} | `{backend}` | {of['seeds']} | {of['median']:.1e} "
            f"| {of['largest']:.1e} | {counts} | {sides} |"
        )
    return "\n".join(lines)


def quoted(recipe: str) -> str:
    """The preset's name as code, and the form as it is."""
    name, comma, form = recipe.partition(",")
    return f"`{name}`{comma}{form}"


def statistics(row: dict[str, Any]) -> dict[str, Any]:
    """Of one row: its seeds, their median and largest error, how many depart, and what became of those."""
    seeds = row["seeds"]
    errors = [float("inf") if one["error"] is None else one["error"] for one in seeds]
    states = [one["state"] for one in seeds]
    return {
        "seeds": len(seeds),
        "median": float(np.median(errors)),
        "largest": max(errors),
        "over": sum(one["error"] is None or one["error"] > row["tolerance"] for one in seeds),
        "kinked": sum(one["by"] == "kinks" for one in seeds),
        "stepped": sum(one["by"] == "steps" for one in seeds),
        "unexplained": states.count("FAILS"),
        "kinks": sum(len(one["kinks"]) for one in seeds),
        "farthest": max((kink["distance"] for one in seeds for kink in one["kinks"]), default=None),
        "forced": max((one["explained"] for one in seeds if one["by"] == "kinks"), default=None),
    }


def overview(document: dict[str, Any]) -> str:
    """What README.md says: a line a dataset and recipe, a column a backend, and both dtypes in a sentence."""
    rows = {key: row for key, row in document["rows"].items() if row["seeds"] and MASTERS not in key}
    found = {tuple(key.split(" / ")): statistics(row) for key, row in rows.items()}
    columns = [name for name in BACKENDS if any(key[2] == name for key in found)]
    lines = [
        "| 200 epochs of | seeds | " + " | ".join(f"`{name}`" for name in columns) + " |",
        "|---|---:|" + "---|" * len(columns),
    ]
    for dataset, recipe in dict.fromkeys(key[:2] for key in found if key[3] == "float32"):
        across = [found.get((dataset, recipe, name, "float32")) for name in columns]
        seeds = "/".join(dict.fromkeys(str(one["seeds"]) for one in across if one))
        cells = [f"{one['median']:.0e}, {one['over']}, {one['largest']:.0e}" if one else "" for one in across]
        lines.append(" | ".join([f"| {dataset} {quoted(recipe)}", seeds, *cells]) + " |")
    return "\n".join([*lines, "", summed(found, "float32"), summed(found, "float64")]).strip()


def summed(found: dict[tuple[str, ...], dict[str, Any]], dtype: str) -> str:
    """All rows of a dtype in one sentence."""
    rows = [of for key, of in found.items() if key[3] == dtype]
    if not rows:
        return ""
    total = {
        name: sum(of[name] for of in rows) for name in ("seeds", "over", "kinked", "stepped", "unexplained", "kinks")
    }
    words = f"{dtype}: {total['seeds']} runs, largest difference {max(of['largest'] for of in rows):.1e}"
    if not total["over"]:
        return words + "."
    farthest = max(of["farthest"] for of in rows if of["farthest"] is not None)
    forced = max(of["forced"] for of in rows if of["forced"] is not None)
    return (
        f"{words}; {total['over']} runs over {TOLERANCE:.0e}. Of these {total['kinked']} part at kinks and agree to "
        f"{forced:.0e} with the reference on their side; {total['stepped']} are right in every single step; "
        f"{total['unexplained']} are unexplained. They went through {total['kinks']} kinks, the farthest "
        f"{farthest:.0e} of its terms from 0."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    running = commands.add_parser("run")
    running.add_argument("--backends", default=";".join((*BACKENDS, MASTERS)), help="Separated by ;.")
    running.add_argument("--dtypes", default="float32,float64")
    running.add_argument("--rows", default="", help="Only rows whose name holds this.")
    running.add_argument("--minutes", type=float, default=float("inf"), help="Stop after so many minutes.")
    short = commands.add_parser("overview")
    short.add_argument("--into", type=Path)
    for one in (running, commands.add_parser("table"), short):
        one.add_argument("--file", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.command == "overview":
        text = overview(json.loads(options.file.read_text()))
        if options.into is None:
            print(text)
            return 0
        before, start, rest = options.into.read_text().partition(START)
        _, end, after = rest.partition(END)
        options.into.write_text(f"{before}{start}\n{text}\n\n{end}{after}")
        return 0
    if options.command == "table":
        document = json.loads(options.file.read_text())
        print("\n\n".join(table(document, dtype) for dtype in ("float32", "float64")))
        return 0
    chosen = [
        task
        for task in tasks()
        if task.backend in options.backends.split(";")
        and task.dtype in options.dtypes.split(",")
        and options.rows in task.key
    ]
    return 0 if run(chosen, options.file, options.minutes) else 3


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
