"""One run: workers started, programs verified, timed in rounds, and everything written down."""

from __future__ import annotations

import contextlib
import platform
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from portgnn._system.files import exists
from portgnn.benchmark import cases
from portgnn.benchmark.cases import OURS, Case, Contestant
from portgnn.benchmark.client import ROOT, WorkerError, WorkerProcess, worker_environment
from portgnn.benchmark.contender import Recipe
from portgnn.benchmark.graphs import BenchGraph
from portgnn.benchmark.progress import Progress
from portgnn.benchmark.timing import Entry, Plan, calibrate, finish, run_rounds
from portgnn.errors import BackendError
from portgnn.registry import registered_names
from portgnn.results.environment import machine
from portgnn.text import shown

FORMAT = "portgnn-bench"
VERSION = 1
PREPARING = 0.6
"""Share of a run's time that may pass before the first round. A slow machine leaves contestants out, and says which."""


@dataclass(frozen=True)
class Options:
    """What one run covers. backends: None for all that are here.

    forms_of: by recipe, where not `forms`. graphs: datasets that were read already, by name.
    """

    datasets: Sequence[str] = cases.DATASETS
    recipes: Sequence[str] = ("pyg", "kipf")
    backends: Sequence[str] | None = None
    devices: Sequence[str] | None = None
    forms: Sequence[str] = ("csr", "dense", "edges")
    threads: int | None = None
    seed: int = 0
    timeout: float = 900.0
    hidden: int | None = None
    forms_of: Mapping[str, Sequence[str]] = field(default_factory=dict)
    graphs: Mapping[str, BenchGraph] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As a result says them."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "graphs"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


class Runner:
    """Collects the rows of a run. The same workers are never shared between datasets.

    beside: who takes part besides portgnn's backends. Ctrl-C ends the run and keeps what was measured.
    """

    def __init__(self, options: Options, plan: Plan, progress: Progress, beside: Sequence[Contestant] = ()) -> None:
        self.options, self.plan, self.progress, self.beside = options, plan, progress, beside
        self.rows: list[dict[str, Any]] = []
        self.workers: dict[str, dict[str, Any]] = {}
        # Only workers import frameworks: one that ends its process must not end the run.
        self.backends = cases.selected(options.backends, registered_names())
        self.interrupted = False
        self._open: dict[str, WorkerProcess] = {}
        self._absent: set[str] = set()
        self._deadline: float | None = None
        self._took: dict[str, float] = {}

    def run(self) -> dict[str, Any]:
        started = time.monotonic()
        self._deadline = None if self.plan.seconds is None else started + self.plan.seconds
        with tempfile.TemporaryDirectory(prefix="portgnn-bench-") as folder:
            try:
                for number, dataset in enumerate(self.options.datasets):
                    self._dataset(dataset, Path(folder) / f"{number}.npz", len(self.options.datasets) - number)
                    self._close()
            except KeyboardInterrupt:
                self.interrupted = True
            finally:
                self._close()
        made = document(self.options, self.plan, self.rows, self.workers, time.monotonic() - started)
        return made | ({"interrupted": True} if self.interrupted else {})

    def _dataset(self, dataset: str, path: Path, left: int) -> None:
        """All recipes on one dataset. left: datasets that share what is left of the time, this one included."""
        try:
            graph = self.options.graphs.get(dataset) or cases.load(dataset)
        # Whatever is wrong with a dataset, the others can still be timed.
        except Exception as error:
            self.rows.append({"dataset": dataset, "status": "absent", "reason": str(error), "label": dataset})
            self.progress.say(f"{dataset}: {error}")
            return
        graph.save(path)
        for number, recipe in enumerate(self.options.recipes):
            overrides = {"hidden": self.options.hidden} if self.options.hidden else {}
            groups = left * len(self.options.recipes) - number
            now = time.monotonic()
            until = None if self._deadline is None else now + max(self._deadline - now, 0.0) / groups
            self._group(graph, path, cases.recipe_of(recipe, **overrides), until)

    def _group(self, graph: BenchGraph, path: Path, recipe: Recipe, until: float | None) -> None:
        """All contenders on one graph with one recipe, interleaved."""
        entries: list[Entry] = []
        what = f"{graph.name} · {recipe.name}"
        try:
            self._prepare_all(entries, graph, path, recipe, until)
            self._check_devices()
            if until is not None:
                until -= sum(filter(None, (self._accuracy_seconds(entry, recipe) for entry in entries)))
            self.progress.start(what, len(entries) * self.plan.rounds)
            alive = run_rounds(entries, self.plan, self.options.seed, self.progress.advance, until=until)
            for entry in alive:
                finish(entry)
            self.progress.start(f"{what} · accuracy", len(alive))
            for entry in alive:
                self._accuracy(entry, recipe)
                self.progress.advance(entry.row["label"])
        finally:
            for entry in entries:
                if "status" not in entry.row:
                    finish(entry)
            self.rows += [entry.row for entry in entries]
        for worker in self._open.values():
            # One that has died says so when it is asked to prepare again.
            with contextlib.suppress(WorkerError):
                worker.ask("release")

    def _prepare_all(
        self, entries: list[Entry], graph: BenchGraph, path: Path, recipe: Recipe, until: float | None
    ) -> None:
        """Prepares contestants, the quickest of the recipe before first, as long as there is time for them."""
        contestants = sorted((*map(cases.own, self.backends), *self.beside), key=self._expected)
        started = time.monotonic()
        for contestant in contestants:
            name, now = contestant.spec.name, time.monotonic()
            allowed = None if until is None else started + PREPARING * max(until - started, 0.0)
            if entries and allowed is not None and now + self._expected(contestant) > allowed:
                self.rows += [] if name in self._absent else [self._left_out(contestant, graph, recipe)]
                continue
            self._prepare(entries, contestant, graph, path, recipe)
            self._took[name] = time.monotonic() - now

    def _expected(self, contestant: Contestant) -> float:
        """Seconds of its preparation, as far as is known: what the last took."""
        return self._took.get(contestant.spec.name, 0.0)

    def _left_out(self, contestant: Contestant, graph: BenchGraph, recipe: Recipe) -> dict[str, Any]:
        more = round(2 * (self.plan.seconds or 0.0))
        said = f"left out, since preparing it would have taken longer than the time allows; --seconds {more} has room"
        return {
            "dataset": graph.name, "recipe": recipe.name, "contender": contestant.spec.name, "kind": contestant.kind,
            "title": contestant.title, "label": contestant.title, "status": "skipped", "reason": said,
        }  # fmt: skip

    def _check_devices(self) -> None:
        """Raises BackendError where a device was named that no contestant has."""
        there = {device: name for name, facts in self.workers.items() for device in facts["devices"]}
        for device in self.options.devices or ():
            if there and device not in there:
                raise BackendError(f"no backend has device {shown(device)} here; there are {', '.join(sorted(there))}")

    def _worker(self, contestant: Contestant) -> WorkerProcess:
        """The contestant's worker, started anew where it has ended. Raises WorkerError."""
        name = contestant.spec.name
        worker = self._open.get(name)
        if worker is None or not worker.alive:
            if worker is not None:
                worker.close()
            worker = WorkerProcess(contestant.spec, threads=self.options.threads, timeout=self.options.timeout)
            self._open[name] = worker
            self.workers[name] = worker.ask("hello")
        return worker

    def _close(self) -> None:
        for worker in self._open.values():
            worker.close()
        self._open.clear()

    def _prepare(
        self, entries: list[Entry], contestant: Contestant, graph: BenchGraph, path: Path, recipe: Recipe
    ) -> None:
        """Prepares, verifies and calibrates a contestant's cases; what cannot be timed becomes a row."""
        spec, kind, title = contestant.spec, contestant.kind, contestant.title
        base = {"dataset": graph.name, "recipe": recipe.name, "contender": spec.name, "kind": kind, "title": title}
        if spec.name in self._absent:
            return
        self.progress.say(f"preparing {title} on {graph.name}, {recipe.name}")
        try:
            self._worker(contestant)
        except WorkerError as error:
            needs = f" (needs {contestant.needs})" if contestant.needs else ""
            reason = f"{str(error).removeprefix('ImportError: ')}{needs}"
            absent = error.kind == "absent"
            if absent:
                self._absent.add(spec.name)
                base = {"contender": spec.name, "kind": kind, "title": title}
            self.rows.append(base | {"label": title, "status": "absent" if absent else "failed", "reason": reason})
            return
        devices = self.workers[spec.name]["devices"]
        devices = [d for d in devices if self.options.devices is None or d in self.options.devices]
        forms = self.options.forms_of.get(recipe.name, self.options.forms)
        if kind == OURS:
            found = cases.own_cases(spec.name, devices, graph, forms)
        else:
            found = [Case(spec.name, kind, title, device) for device in devices]
        for case in found:
            row = base | {"label": case.label, "device": case.device, "case": case.options, "graph": graph.facts()}
            row["recipe_values"] = recipe.to_dict()
            try:
                entry = Entry(row, self._worker(contestant), f"{recipe.name}/{case.label}")
                entries += self._admit(entry, case, path, recipe)
            except WorkerError as error:
                status = error.kind if error.kind in ("unsupported", "absent") else "failed"
                self.rows.append(row | {"status": status, "reason": str(error).removeprefix("Unsupported: ")})

    def _admit(self, entry: Entry, case: Case, path: Path, recipe: Recipe) -> list[Entry]:
        """The entry, ready to be timed; nothing where it fails verification, which is a row of its own."""
        device = case.device or "cpu"
        built = entry.worker.ask(
            "prepare", case=entry.case, graph=str(path), recipe=recipe.to_dict(), device=device, options=case.options
        )
        entry.row |= {"options": built["options"], "prepare_ms": built["seconds"] * 1e3}
        how = {"epochs": self.plan.verify_epochs, "operations": self.plan.operations}
        verdict = entry.worker.ask("verify", case=entry.case, **how)
        entry.row["verification"] = verdict
        if not verdict["passed"]:
            self.rows.append(entry.row | {"status": "refused", "reason": verdict["reason"]})
            self.progress.say(f"NOT TIMED, fails verification: {entry.row['label']}: {verdict['reason']}")
            return []
        calibrate(entry, self.plan)
        return [entry]

    def _accuracy_seconds(self, entry: Entry, recipe: Recipe) -> float | None:
        """About what a whole training takes; None where that is more than is allowed."""
        seconds = entry.epoch_seconds * recipe.epochs
        return seconds if seconds <= self.plan.accuracy_seconds else None

    def _accuracy(self, entry: Entry, recipe: Recipe) -> None:
        if self._accuracy_seconds(entry, recipe) is None:
            entry.row["accuracy_skipped"] = f"{recipe.epochs} epochs take more than {self.plan.accuracy_seconds:g} s"
            return
        if self._deadline is not None and time.monotonic() > self._deadline:
            entry.row["accuracy_skipped"] = "the time was up"
            return
        try:
            entry.row |= entry.worker.ask("accuracy", case=entry.case, epochs=recipe.epochs, seed=self.options.seed)
        except WorkerError as error:
            entry.row["accuracy_skipped"] = str(error)


def document(
    options: Options, plan: Plan, rows: list[dict[str, object]], workers: dict[str, dict[str, object]], seconds: float
) -> dict[str, Any]:
    """A run as one JSON document; tables and plots are made from it alone."""
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


def git_revision() -> dict[str, object]:
    """The commit that was timed, and whether the working tree differed from it; None where this is no checkout."""

    if not exists(ROOT / ".git"):  # installed: whatever repository lies around the environment is another's
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
