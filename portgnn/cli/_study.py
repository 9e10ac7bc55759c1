"""`portgnn study`: its options out of a file and the shell, its progress, its tables."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from portgnn.cli._live import can_be_shown
from portgnn.cli._output import announce, print_json, print_line, print_table
from portgnn.report import study_tables
from portgnn.studies import Study, Told, study
from portgnn.studies.file import FOLDER, read_study
from portgnn.studies.space import read

LINES = 20
LINE_SECONDS = 30.0
"""Where stderr is no terminal: so many lines of progress at most, and one now and then where runs take long."""


def run(options: dict[str, Any]) -> None:
    """Runs a study with the options of the shell and of the file that `config` names."""
    command = _command(options)
    as_json, file = options.pop("as_json"), options.pop("config")
    shell = {name: value for name, value in options.items() if value is not None and value != []}
    if "setting" in shell:
        shell["values"] = read("; ".join(shell.pop("setting")))
    for name in ("dataset", "split", "model", "preset", "backend", "dtype"):
        if name in shell:
            shell[name] = listed(shell[name])
    if "seeds" in shell:
        shell["seeds"] = seeds_of(shell["seeds"])
    given = (read_study(file) if file is not None else {}) | shell
    given.setdefault("folder", Path(FOLDER))
    with _progress(as_json) as on_run:
        done = study(given.pop("dataset", None), command=command, announce=announce, on_run=on_run, **given)
    if as_json:
        print_json(done.to_dict())
        return
    _print(done)


def listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def seeds_of(text: str) -> Any:
    """A number is how many; several, which."""
    words = listed(text)
    if not words or not all(word.isascii() and word.isdecimal() and len(word) < 20 for word in words):
        from portgnn.errors import ConfigError

        raise ConfigError(f"--seeds {text} must be how many, as in --seeds 20, or which: --seeds 3,7,9")
    return int(words[0]) if len(words) == 1 and "," not in text else [int(word) for word in words]


def _command(options: dict[str, object]) -> str:
    """What was typed, in one order."""
    words = ["portgnn", "study"]
    for name, value in options.items():
        for each in value if isinstance(value, list) else [value]:
            if each is None or each is False or name == "as_json":
                continue
            option = "set" if name == "setting" else name
            words += [f"--{option}", *([] if each is True else [str(each)])]
    return shlex.join(words)


def _print(done: Study) -> None:
    heads, rows = study_tables.main(done.data)
    print_table(heads, rows, give_up=("peak MiB", "ms/epoch", "epochs", "s/run"))
    if done.comparisons:
        print_line("")
        print_table(*study_tables.differences(done.data))
    for note in study_tables.notes(done.data):
        print_line(note)
    kept = done.data["runs"] - done.data["new_runs"]
    before = f"; {kept} were there" if kept else ""
    print_line(
        f"{done.data['new_runs']} runs trained{before}. Tables, runs and a page: "
        f"{done.folder}/ (table.csv, .md, .tex, report.html)"
    )


@contextmanager
def _progress(as_json: bool) -> Iterator[Callable[[Told], None] | None]:
    if can_be_shown():
        with _bar() as report:
            yield report
    else:
        yield None if as_json else _lines()


def _lines() -> Callable[[Told], None]:
    printed, when = 0, time.monotonic()

    def report(told: Told) -> None:
        nonlocal printed, when
        every = max(told.total // LINES, 1)
        due = told.done // every > printed // every or time.monotonic() - when > LINE_SECONDS
        if told.said and (due or told.done == told.total):
            announce(f"{told.done} of {told.total} runs, {time_left(told)}; {told.said}")
            printed, when = told.done, time.monotonic()

    return report


def time_left(told: Told) -> str:
    if told.seconds_left is None:
        return "time left unknown"
    return f"about {timedelta(seconds=round(told.seconds_left))} left"


@contextmanager
def _bar() -> Iterator[Callable[[Told], None]]:
    """A bar on stderr with the time left, wiped away at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[left]}"), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("", total=None, left="")

        def report(told: Told) -> None:
            from rich.markup import escape

            bar.update(task, completed=told.done, total=told.total, left=time_left(told), description=escape(told.said))

        yield report
