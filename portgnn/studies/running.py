"""`portgnn.study`: many trainings as one table."""

from __future__ import annotations

import datetime
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portgnn import logs
from portgnn.datasets.selection import texts
from portgnn.errors import ConfigError
from portgnn.graphs.graph import Graph
from portgnn.graphs.sets import GraphSet
from portgnn.hyperparameters import plain_number, whole_number
from portgnn.models.network import Network
from portgnn.registry import available_backends
from portgnn.report.study_tables import as_csv, as_latex, as_markdown, as_text, runs_csv
from portgnn.results import environment
from portgnn.studies import search as searching
from portgnn.studies import space as spaces
from portgnn.studies.crew import Crew, cores, crew
from portgnn.studies.kept import Folder, written
from portgnn.studies.outcome import FORMAT, Candidate, Rule, candidates, comparisons, rows
from portgnn.studies.plan import Dataset, Plan, Reading, Run, Setting, Splits, planned
from portgnn.studies.progress import OnRun, Progress
from portgnn.studies.work import Job, Seed
from portgnn.training.together import MOST

SEEDS = 10
FILES = "study.json", "table.csv", "runs.csv", "table.md", "table.tex", "report.html"


@dataclass(frozen=True, eq=False)
class Study:
    """A finished study. data: all of it, as `study.json` has it. folder: where it is kept; None where it is not."""

    data: dict[str, Any]
    folder: Path | None = None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A dictionary a row of the table: names, the chosen `values`, `summary` (n, mean, std, low, high), `runs`."""
        return list(self.data["rows"])

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        """Two rows each, `first` and `second` by number: `difference`, its interval, `p` and `p_holm`."""
        return list(self.data["comparisons"])

    def to_dict(self) -> dict[str, Any]:
        return self.data

    def to_csv(self) -> str:
        """A line a row."""
        return as_csv(self.data)

    def to_markdown(self) -> str:
        return as_markdown(self.data)

    def to_latex(self) -> str:
        """For a paper: models by datasets, with booktabs."""
        return as_latex(self.data)

    def __str__(self) -> str:
        return as_text(self.data)

    def __repr__(self) -> str:
        return f"Study of {len(self.rows)} rows, {self.data['runs']} runs"

    def _repr_html_(self) -> str:
        """The table as a notebook shows it."""
        from portgnn.report.cells import study_cell

        return study_cell(self.data)


def study(  # long: an argument is a line, and the docstring says what each is
    dataset: Dataset | Sequence[Dataset] = None,
    *,
    model: str | type[Network] | Sequence[str | type[Network]] | None = None,
    preset: str | Sequence[str] | None = None,
    values: str | Mapping[str, Any] | None = None,
    search: int | None = None,
    seeds: int | Sequence[int] = SEEDS,
    split: str | Sequence[str] | None = None,
    splits: int | None = None,
    backend: str | Sequence[str] = "numpy",
    device: str | None = None,
    dtype: object = "float32",
    unknown: str | Sequence[str] | None = None,
    ignore: str | Sequence[str] | None = None,
    jobs: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    metric: str | None = None,
    select: str | None = None,
    each: bool = False,
    command: str = "",
    announce: Callable[[str], None] | None = None,
    on_run: OnRun | None = None,
) -> Study:
    """Trains a grid of settings over seeds and splits, or searches for the best of them, and compares what comes out.

    dataset, model, preset, backend, dtype: one of what `portgnn.train` takes, or a list; every combination is a row.
    values: of hyperparameters, {"hidden": [16, 64]} or "hidden=16,64; dropout=0.3,0.5". In each row the setting with
        the best mean over the validation nodes is shown; the test nodes decide nothing. each: show all instead.
    search: draw so many settings a row with optuna, in place of the grid; `values` may then hold ranges, "1e-4..1e-1
        log" or a `portgnn.studies.space.Range`.
    seeds: how many, from 0, or which. split, splits: as of `portgnn.load_graph`, one or several; `splits=10` takes as
        many of those that the data come with, or draws them: split="random:20:30". All settings see the same.
    device: None for the fastest that works. jobs: processes; None for one a core, or one on an accelerator.
    folder: keeps each run as it ends, so that the same call goes on after an interruption and a larger one trains only
        what is new; and the outcome, as JSON, CSV, Markdown, LaTeX and a page. None keeps nothing.
    metric: of the test nodes (None: the task's first). select: the curve that settings are chosen by (None: the same
        metric of the validation nodes). on_run: told after each run; see `portgnn.studies.progress.Progress`.

    Raises PortgnnError for what cannot be used or done, as `portgnn.train` does. Runs whose loss diverges are counted.
    """
    tell, rule = logs.telling(announce), Rule(metric, select, each)
    rule.check()
    given = spaces.read(values) if isinstance(values, str) else dict(values or {})
    chosen_seeds = _seeds(seeds)
    jobs = None if jobs is None else whole_number("jobs", jobs, 1)
    asked = Splits(texts(split, "split"), None if splits is None else whole_number("splits", splits, 1))
    if search is not None:
        whole_number("search", search, 1)
        searching.check()
        if each:
            raise ConfigError("--each shows every setting of a grid; leave it or --search out")
    plan = planned(
        _several(dataset, "dataset"), _several(model, "model"), _several(preset, "preset"),
        _several(backend, "backend"), device, _several(dtype, "dtype"), given, chosen_seeds, asked,
        Reading(texts(unknown, "unknown"), texts(ignore, "ignore")), tell,
    )  # fmt: skip
    settings = None if search is not None else plan.settings()
    if search is not None and not any(_choices(values) > 1 for values in plan.space.values()):
        raise ConfigError('--search needs what to draw: --set "hidden=16,64; learning_rate=1e-3..1e-1 log"')
    _check_selection(plan, rule, search)
    with _kept(folder) as path:
        store = Folder(path)
        with store.opened(plan):
            return _run(plan, settings, search, rule, store, path if folder else None, jobs, command, tell, on_run)


def _run(
    plan: Plan,
    settings: list[Setting] | None,
    search: int | None,
    rule: Rule,
    store: Folder,
    keep: Path | None,
    jobs: int | None,
    command: str,
    tell: Callable[[str], None],
    on_run: OnRun | None,
) -> Study:
    began = time.perf_counter()
    runs = sum(len(plan.seeds) * len(row.source.splits) for row in plan.rows)
    total = sum(len(each.runs(plan.seeds)) for each in settings) if settings is not None else runs * (search or 0)
    devices = _devices(plan)
    count = _jobs(jobs, total, devices, tell)
    given = [each.given for each in plan.sources]
    with crew(count, given, plan.reading, devices) as workers:
        trained = _Trained(store, workers, count, Progress(total, count, on_run, exact=settings is not None))
        if settings is not None:
            trained.all([run for each in settings for run in each.runs(plan.seeds)])
            groups = [[each for each in settings if each.row is row] for row in plan.rows]
        else:
            groups = []
            for row in plan.rows:
                outcomes = _outcomes(trained, rule)
                groups.append(searching.searched(row, row.tried(plan.space), search or 0, plan.seeds, outcomes))
    table = [candidates(group, plan.seeds, trained.document) for group in groups]
    data = _document(plan, table, rule, search, trained, count, command, time.perf_counter() - began)
    if keep is not None:
        written(keep, _files(data))
    return Study(data, keep)


class _Trained:
    """The runs of a study: from the folder where they are kept, else trained now."""

    def __init__(self, store: Folder, workers: Crew, processes: int, progress: Progress) -> None:
        self._store, self._workers, self._processes, self._progress = store, workers, processes, progress
        self._documents: dict[str, dict[str, object]] = {}
        self.new = 0

    def document(self, run: Run) -> dict[str, Any] | None:
        return self._documents.get(run.key)

    def all(self, runs: Sequence[Run]) -> None:
        """Has them all. Raises PortgnnError for one that cannot be trained."""
        wanted: dict[str, Run] = {}
        for run in runs:
            if run.key in self._documents:
                self._progress.seen(1)
            elif (kept := self._store.get(run.key)) is not None:
                self._documents[run.key] = kept
                self._progress.seen(1)
            elif run.key in wanted:
                self._progress.seen(1)
            else:
                wanted[run.key] = run
        self._progress.kept()

        def done(each: Seed, document: dict[str, object]) -> None:
            run = wanted[each.file.stem]
            self._documents[run.key] = document
            self.new += 1
            self._progress.trained(run, document)

        self._workers.train(self._jobs(list(wanted.values())), done)

    def _jobs(self, runs: Sequence[Run]) -> list[Job]:
        """Runs that differ in their seed go together, as many as a step may take on; but no process is left idle."""
        groups: dict[tuple[Setting, str | None], list[Run]] = {}
        for run in runs:
            groups.setdefault((run.setting, run.split), []).append(run)
        most = max(min(MOST, -(-len(runs) // self._processes)), 1)
        return [
            self._job(group[start : start + most]) for group in groups.values() for start in range(0, len(group), most)
        ]

    def _job(self, runs: Sequence[Run]) -> Job:
        setting = runs[0].setting
        row = setting.row
        seeds = tuple(Seed(run.seed, self._store.file(run.key), run.identity) for run in runs)
        return Job(row.source.number, runs[0].split, setting.config, row.backend, row.device, row.dtype, seeds)

    @property
    def documents(self) -> list[dict[str, Any]]:
        return list(self._documents.values())


def _outcomes(trained: _Trained, rule: Rule) -> searching.Outcomes:
    def outcomes(runs: Sequence[Run]) -> list[float | None]:
        trained.all(runs)
        found = [trained.document(run) for run in runs]
        return [None if document is None else rule.falling(document) for document in found]

    return outcomes


def _document(
    plan: Plan,
    table: Sequence[Sequence[Candidate]],
    rule: Rule,
    search: int | None,
    trained: _Trained,
    jobs: int,
    command: str,
    seconds: float,
) -> dict[str, object]:
    varied = [name for name, values in plan.space.items() if _choices(values) > 1]
    found = rows([each for each in table if each], rule, varied)
    ran = [run for group in table for each in group for _, run in each.runs]
    where = next((run["environment"] for run in ran if "environment" in run), environment.machine())
    return {
        "format": FORMAT,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "search": search,
        "each": rule.each,
        "tried": {name: _said(values) for name, values in plan.space.items()},
        "seeds": list(plan.seeds),
        "splits": {source.label: list(source.splits) for source in plan.sources},
        "jobs": jobs,
        "runs": len(trained.documents),
        "new_runs": trained.new,
        "seconds": seconds,
        "run_seconds": sum(each["seconds"] for each in trained.documents),
        "rows": found,
        "comparisons": comparisons(found),
        "environment": where,
    }


def _files(data: dict[str, object]) -> dict[str, str]:
    import json

    from portgnn.report import page
    from portgnn.report.documents import recognise

    html = page([recognise(data, "study.json")])
    made = json.dumps(data, indent=1) + "\n", as_csv(data), runs_csv(data), as_markdown(data), as_latex(data), html
    return dict(zip(FILES, made, strict=True))


def _several(given: object, name: str) -> list[Any]:
    """One or several as a list, none twice. Raises ConfigError for an empty one."""
    found = list(given) if isinstance(given, list | tuple) else [given]
    if not found:
        raise ConfigError(f"--{name} lists nothing; name one, or leave it out")
    return [
        each for at, each in enumerate(found) if not any(each is other or _same(each, other) for other in found[:at])
    ]


def _same(one: Any, other: Any) -> bool:
    return not isinstance(one, Graph | GraphSet) and type(one) is type(other) and bool(one == other)


def _seeds(given: object) -> tuple[int, ...]:
    """Seeds 0 to N - 1 of a number; a list as it is. Raises ConfigError."""
    plain = plain_number(given)
    if isinstance(plain, int) and not isinstance(plain, bool):
        return tuple(range(whole_number("seeds", plain, 1)))
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise ConfigError(f"seeds={given!r} must be how many, or a list of them")
    found = tuple(dict.fromkeys(whole_number("seed", each, 0) for each in given))
    if not found:
        raise ConfigError("seeds lists none; name one, or how many")
    return found


def _choices(values: spaces.Choices) -> int:
    return 2 if isinstance(values, spaces.Range) else len(values)


def _said(values: spaces.Choices) -> object:
    if not isinstance(values, spaces.Range):
        return list(values)
    return f"{values.low}..{values.high}" + (spaces.LOGARITHMIC if values.logarithmic else "")


def _check_selection(plan: Plan, rule: Rule, search: int | None) -> None:
    """Raises ConfigError where settings compete and a graph has no validation nodes to choose by."""
    if rule.each or not (search or any(_choices(values) > 1 for values in plan.space.values())):
        return
    for source in plan.sources:
        if not source.validates:
            raise ConfigError(
                f"{source.label} has no validation nodes, by which hyperparameters are chosen; ask for a split that "
                "has some (--split fraction:0.6:0.2), or show every setting with --each"
            )


def _devices(plan: Plan) -> list[str]:
    """Accelerators of one kind on which processes can take turns; none for the CPU, or for several kinds."""
    wanted = {row.device for row in plan.rows}
    kind = next(iter(wanted))
    if len(wanted) != 1 or kind == "cpu":
        return []
    there = available_backends()
    everywhere = [each for each in there.get(plan.rows[0].backend, ()) if each.startswith(f"{kind}:")
                  and all(each in there.get(row.backend, ()) for row in plan.rows)]  # fmt: skip
    return everywhere or [kind]


def _jobs(asked: int | None, total: int, devices: Sequence[str], tell: Callable[[str], None]) -> int:
    """Processes. By default one a core for the CPU, and one an accelerator."""
    most = cores()
    if asked is None:
        return max(min(len(devices) or most, total), 1)
    if asked > most:
        tell(f"{asked} jobs share {most} cores, so each is slower; {most} would do as much.")
    return max(min(asked, total), 1)


@contextmanager
def _kept(folder: str | os.PathLike[str] | None) -> Iterator[Path]:
    """The folder, or one that is gone afterwards."""
    if folder is not None:
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="portgnn-study-") as name:
        yield Path(name)
