"""`portgnn train`: progress while it runs, the result when it is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from portgnn.api import TrainResult, train
from portgnn.cli.output import announce, check_writable, print_json
from portgnn.presets import preset as named_preset
from portgnn.runs import load_run
from portgnn.training import History

Report = Callable[[History], None]

LINE_EVERY = 20
"""Epochs from one line of progress to the next where stdout is not a terminal."""
BAR_FROM = 100
"""Columns from which a terminal has room for a bar beside the numbers."""


def run(*, save: Path | None, as_json: bool, **options: Any) -> None:
    """Trains with the options of `portgnn.train`."""
    for path in (save, options.get("checkpoint"), options.get("resume")):
        if path is not None:
            check_writable(path)
    with _progress(as_json, options) as report:
        result = train(announce=announce, on_chunk=report, **options)
    if save is not None and result.process == 0:
        result.save(save)
    if result.process != 0:  # the first process speaks for all
        return
    if as_json:
        print_json(result.to_dict())
    else:
        _print_result(result)
        if save is not None:
            print(f"saved to {save}")


@contextmanager
def _progress(as_json: bool, options: dict[str, Any]) -> Iterator[Report | None]:
    if as_json:
        yield None
    elif sys.stdout.isatty() and not options.get("distributed"):
        epochs = options["epochs"] or _epochs(options)
        with _bar(epochs) as report:
            yield report
    else:
        yield _lines()


def _epochs(options: dict[str, Any]) -> int:
    if options.get("resume") is None:
        return named_preset(options["preset"] or "kipf").epochs
    return load_run(options["resume"])[0].config.epochs


def _lines() -> Report:
    printed = 0

    def report(history: History) -> None:
        nonlocal printed
        # Epochs arrive in chunks of any length: a line for each that is due, wherever a chunk ends.
        for epoch in range(printed + LINE_EVERY, len(history) + 1, LINE_EVERY):
            print(f"epoch {epoch:4d}  {_state(history, epoch - 1)}", flush=True)
            printed = epoch

    return report


@contextmanager
def _bar(epochs: int) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console()
    columns = (
        TextColumn("epoch"),
        MofNCompleteColumn(),
        *((BarColumn(bar_width=20),) if console.width >= BAR_FROM else ()),
        TextColumn("{task.fields[state]}"),
        TextColumn("at most"),  # early stopping may end it sooner
        TimeRemainingColumn(),
    )
    # Messages go above the bar where both are on the terminal; a stderr that is a file keeps them.
    with Progress(*columns, console=console, transient=True, redirect_stderr=sys.stderr.isatty()) as progress:
        task = progress.add_task("train", total=epochs, state="")

        def report(history: History) -> None:
            progress.update(task, completed=len(history), state=_brief(history))

        yield report


def _brief(history: History) -> str:
    """The state in 45 columns, so that the line fits a terminal of 80."""
    words = f"loss {history.train_loss[-1]:.4f}"
    if history.val_loss:
        words += f" val {history.val_loss[-1]:.4f} acc {history.val_accuracy[-1]:.4f}"
    return f"{words} {history.epoch_ms[-1]:.2f} ms"


def _state(history: History, epoch: int) -> str:
    words = [f"train loss {history.train_loss[epoch]:.4f}"]
    if history.val_loss:
        words += [f"val loss {history.val_loss[epoch]:.4f}", f"val accuracy {history.val_accuracy[epoch]:.4f}"]
    return "  ".join([*words, f"{history.epoch_ms[epoch]:.2f} ms/epoch"])


def _print_result(result: TrainResult) -> None:
    print(
        f"{result.dataset}: {result.nodes} nodes, {result.edges} edges; {result.model.config.preset} on "
        f"{result.backend} ({result.device}, {result.dtype}), seed {result.seed}"
    )
    ended = "stopped early after" if result.stopped_early else "ran"
    best = f", lowest validation loss in epoch {result.best_epoch + 1}" if result.history.val_loss else ""
    print(f"{ended} {result.epochs_run} epochs{best}")
    print(
        f"{result.median_train_ms:.2f} ms/epoch (median; training step and validation), first epoch "
        f"{result.first_epoch_ms:.1f} ms"
    )
    accuracy = "none: the graph has no test split" if result.test_accuracy is None else f"{result.test_accuracy:.4f}"
    print(f"test accuracy {accuracy}")
