"""One run: workers started, programs verified, timed in rounds, and everything written down."""

from __future__ import annotations

import contextlib
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from portgnn.benchmark import cases
from portgnn.benchmark.cases import OURS, Case, Contestant
from portgnn.benchmark.client import ROOT, WorkerError, WorkerProcess, worker_environment
from portgnn.benchmark.contender import Recipe
from portgnn.benchmark.graphs import BenchGraph
from portgnn.benchmark.progress import Progress
from portgnn.benchmark.timing import Entry, Plan, calibrate, finish, run_rounds

FORMAT = "portgnn-bench"
VERSION = 1


@dataclass(frozen=True)
class Options:
    """What one run covers. backends: None for all that are here."""

    datasets: Sequence[str] = cases.DATASETS
    recipes: Sequence[str] = ("pyg", "kipf")
    backends: Sequence[str] | None = None
    devices: Sequence[str] | None = None
    forms: Sequence[str] = ("csr", "dense", "edges")
    threads: int | None = None
    seed: int = 0
    timeout: float = 900.0
    hidden: int | None = None

    def record(self) -> dict[str, Any]:
        """As a result says them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


class Runner:
    """Collects the rows of a run. The same workers are never shared between datasets.

    beside: who takes part besides portgnn's backends.
    """

    def __init__(self, options: Options, plan: Plan, progress: Progress, beside: Sequence[Contestant] = ()) -> None:
        self.options, self.plan, self.progress, self.beside = options, plan, progress, beside
        self.rows: list[dict[str, Any]] = []
        self.workers: dict[str, dict[str, Any]] = {}
        self.backends = self._find_own()

    def run(self) -> dict[str, Any]:
        started = time.time()
        with tempfile.TemporaryDirectory(prefix="portgnn-bench-") as folder:
            for dataset in self.options.datasets:
                try:
                    graph = cases.load(dataset)
                # Whatever is wrong with a dataset, the others can still be timed.
                except Exception as error:
                    self.rows.append({"dataset": dataset, "status": "absent", "reason": str(error), "label": dataset})
                    self.progress.say(f"{dataset}: {error}")
                    continue
                path = graph.save(Path(folder) / f"{len(self.rows)}.npz")
                for recipe in self.options.recipes:
                    overrides = {"hidden": self.options.hidden} if self.options.hidden else {}
                    self._group(graph, path, cases.recipe_of(recipe, **overrides))
        return document(self.options, self.plan, self.rows, self.workers, time.time() - started)

    def _find_own(self) -> list[str]:
        from portgnn.registry import registered_backends

        found = registered_backends()
        names = cases.selected(self.options.backends, [one.name for one in found])
        for one in found:
            if one.name in names and not one.available:
                names.remove(one.name)
                reason = f"{one.problem}; {one.install}" if one.install else one.problem
                self.rows.append(
                    {"contender": one.name, "kind": OURS, "status": "absent", "reason": reason}
                    | dict.fromkeys(("title", "label"), cases.own(one.name).title)
                )
        return names

    def _group(self, graph: BenchGraph, path: Path, recipe: Recipe) -> None:
        """All contenders on one graph with one recipe, interleaved."""
        with contextlib.ExitStack() as stack:
            entries: list[Entry] = []
            for contestant in (*map(cases.own, self.backends), *self.beside):
                entries += self._prepare(stack, contestant, graph, path, recipe)
            self.progress.start(f"{graph.name} · {recipe.name}", len(entries) * self.plan.rounds)
            alive = run_rounds(entries, self.plan, self.options.seed, self.progress.advance)
            for entry in alive:
                finish(entry)
            self.progress.start(f"{graph.name} · {recipe.name} · accuracy", len(alive))
            for entry in alive:
                self._accuracy(entry, recipe)
                self.progress.advance(entry.row["label"])
            self.rows += [entry.row for entry in entries]

    def _prepare(
        self, stack: contextlib.ExitStack, contestant: Contestant, graph: BenchGraph, path: Path, recipe: Recipe
    ) -> list[Entry]:
        """Starts a worker and prepares, verifies and calibrates its cases; what cannot be timed becomes a row."""
        spec, kind, title = contestant.spec, contestant.kind, contestant.title
        base = {"dataset": graph.name, "recipe": recipe.name, "contender": spec.name, "kind": kind, "title": title}
        self.progress.say(f"preparing {title} on {graph.name}")
        try:
            worker = WorkerProcess(spec, threads=self.options.threads, timeout=self.options.timeout)
            stack.callback(worker.close)
            facts = worker.ask("hello")
        except WorkerError as error:
            needs = f" (needs {contestant.needs})" if contestant.needs else ""
            status = "absent" if error.kind == "absent" else "failed"
            self.rows.append(base | {"label": title, "status": status, "reason": f"{error}{needs}"})
            return []
        self.workers[spec.name] = facts
        devices = [d for d in facts["devices"] if self.options.devices is None or d in self.options.devices]
        if kind == OURS:
            found = cases.own_cases(spec.name, devices, graph, self.options.forms)
        else:
            found = [Case(spec.name, kind, title, device) for device in devices]
        entries = []
        for case in found:
            row = base | {"label": case.label, "device": case.device, "case": case.options, "graph": graph.facts()}
            row["recipe_values"] = recipe.to_dict()
            entry = Entry(row, worker, f"{recipe.name}/{case.label}")
            try:
                entries += self._admit(entry, case, path, recipe)
            except WorkerError as error:
                status = error.kind if error.kind in ("unsupported", "absent") else "failed"
                self.rows.append(row | {"status": status, "reason": str(error).removeprefix("Unsupported: ")})
        return entries

    def _admit(self, entry: Entry, case: Case, path: Path, recipe: Recipe) -> list[Entry]:
        """The entry, ready to be timed; nothing where it fails verification, which is a row of its own."""
        device = case.device or "cpu"
        built = entry.worker.ask(
            "prepare", case=entry.case, graph=str(path), recipe=recipe.to_dict(), device=device, options=case.options
        )
        entry.row |= {"options": built["options"], "prepare_ms": built["seconds"] * 1e3}
        verdict = entry.worker.ask("verify", case=entry.case, epochs=self.plan.verify_epochs)
        entry.row["verification"] = verdict
        if not verdict["passed"]:
            self.rows.append(entry.row | {"status": "refused", "reason": verdict["reason"]})
            self.progress.say(f"NOT TIMED, fails verification: {entry.row['label']}: {verdict['reason']}")
            return []
        calibrate(entry, self.plan)
        return [entry]

    def _accuracy(self, entry: Entry, recipe: Recipe) -> None:
        if entry.row["train_ms"]["median"] * recipe.epochs > self.plan.accuracy_seconds * 1e3:
            entry.row["accuracy_skipped"] = f"{recipe.epochs} epochs take more than {self.plan.accuracy_seconds:g} s"
            return
        try:
            entry.row |= entry.worker.ask("accuracy", case=entry.case, epochs=recipe.epochs, seed=self.options.seed)
        except WorkerError as error:
            entry.row["accuracy_skipped"] = str(error)


def document(
    options: Options, plan: Plan, rows: list[dict[str, Any]], workers: dict[str, dict[str, Any]], seconds: float
) -> dict[str, Any]:
    """A run as one JSON document; tables and plots are made from it alone."""
    from portgnn.results.environment import machine

    _, dropped = worker_environment(None, {})
    return {
        "format": FORMAT,
        "version": VERSION,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "git": git_revision(),
        "machine": machine() | {"platform": platform.platform()},
        "options": options.record(),
        "plan": asdict(plan),
        "variables_dropped": dropped,
        "workers": workers,
        "rows": rows,
    }


def git_revision() -> dict[str, Any]:
    """The commit that was timed, and whether the working tree differed from it; None where this is no checkout."""

    if not (ROOT / ".git").exists():  # installed: whatever repository lies around the environment is another's
        return {"commit": None, "modified": None}

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "modified": bool(git("status", "--porcelain", "--", "portgnn", "backends")),
        }
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "modified": None}
