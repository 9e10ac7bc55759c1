"""`portgnn train`: progress while it runs, the result when it is done."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from portgnn import api, tasks
from portgnn._system.files import check_writable
from portgnn.checkpoints.runs import load_run
from portgnn.cli._live import can_be_shown, live
from portgnn.cli._output import announce, print_json, print_line
from portgnn.models import NETWORKS, own_network
from portgnn.presets import preset as named_preset
from portgnn.results.callbacks import Callback
from portgnn.results.result import TrainResult
from portgnn.training import History

Report = Callable[[History], None]

LINE_EVERY = 20
"""Epochs at least from one line of progress to the next where stderr is not a terminal."""
LINES = 20
LINE_SECONDS = 30.0
"""Seconds after which a line is due whatever the epoch."""


class _Saving(Callback):
    """Saves the model before any logger hears of the end: one that fails must not cost the model."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_end(self, result: TrainResult) -> None:
        result.save(self._path)


def run(*, save: Path | None, as_json: bool, callbacks: Sequence[Callback] = (), **options: Any) -> None:
    """Trains with the options of `portgnn.train`."""
    for path in (save, options.get("checkpoint"), options.get("resume")):
        if path is not None:
            check_writable(path)
    with _progress(as_json, options) as report:
        told = [*([] if save is None else [_Saving(save)]), *callbacks]
        result = api.train(announce=announce, on_chunk=report, callbacks=told, **options)
    if result.process != 0:  # the first process speaks for all
        return
    if as_json:
        print_json(result.to_dict())
    else:
        _print_result(result)
        if save is not None:
            print_line(f"saved to {save}")
        announce(*_next_step(result, save, options))


@contextmanager
def _progress(as_json: bool, options: dict[str, Any]) -> Iterator[Report | None]:
    epochs = options["epochs"] or _epochs(options)
    # Processes that train together share one terminal, on which none can draw.
    if not options.get("distributed") and can_be_shown():
        with live(epochs) as report:
            yield report
    else:
        yield None if as_json else _lines(epochs)


def _epochs(options: dict[str, Any]) -> int:
    if options.get("resume") is None:
        return named_preset(options["preset"], options.get("model"), task=options.get("task")).epochs
    return load_run(options["resume"], own_network(options.get("model")))[0].config.epochs


def _lines(epochs: int) -> Report:
    """Plain lines on stderr: at most some LINES of them, and one now and then where epochs take long."""
    printed, when = 0, time.monotonic()
    every = max(LINE_EVERY, epochs // LINES)

    def say(history: History, epoch: int) -> None:
        nonlocal printed, when
        announce(f"epoch {epoch:4d}  {_state(history, epoch - 1)}")
        printed, when = epoch, time.monotonic()

    def report(history: History) -> None:
        # Epochs arrive in chunks of any length: a line for each that is due, wherever a chunk ends.
        for epoch in range(printed // every * every + every, len(history) + 1, every):
            say(history, epoch)
        if time.monotonic() - when > LINE_SECONDS and len(history) > printed:
            say(history, len(history))

    return report


def _state(history: History, epoch: int) -> str:
    words = [f"{each.short} {history.curves[each.name][epoch]:.4f}" for each in history.measured]
    return "  ".join([*words, f"{history.epoch_ms[epoch]:.2f} ms"])


def _next_step(result: TrainResult, save: Path | None, options: dict[str, Any]) -> tuple[str, ...]:
    if save is None:
        return ("To keep the model, add: --save model.safetensors. To keep its curves, add: --json > run.json",)
    network = own_network(options.get("model"))
    run = load_run(options["resume"], network)[0] if options.get("resume") else None
    model = [str(save), "--dataset", options["dataset"] or (run.dataset if run else "") or result.dataset]
    for name in ("unknown", "ignore"):
        model += [f"--{name}={text}" for text in options.get(name) or (getattr(run, name) if run else ())]
    kind = type(result.model.config).network_class
    if kind not in NETWORKS.values():
        model += ["--network", result.model.config.model]
    predict, plot = shlex.join(["portgnn", "predict", *model]), shlex.join(["portgnn", "plot", *model])
    commands = f"{predict} --out nodes.csv", f"{plot} --out map.png"
    if tasks.of(result.config).about == "pairs":
        return ("Next, scores of the pairs that were held out, or the best new links of a node:", *_of_links(predict))
    return ("Next, the class of every node, or a map of the nodes:", *commands)


def _of_links(predict: str) -> tuple[str, str]:
    return f"{predict} --out links.csv", f"{predict} --links-of NODE"


def _print_result(result: TrainResult) -> None:
    print_line(
        f"{result.dataset}: {result.nodes} nodes, {result.edges} edges; {result.model.config.preset} on "
        f"{result.backend} ({result.device}, {result.dtype}), seed {result.seed}"
    )
    ended = "stopped early after" if result.stopped_early else "ran"
    watched = tasks.curve(result.config.monitor)
    best = ""
    if result.history.val_loss and watched is not None:
        way = "highest" if watched.quantity.higher_is_better else "lowest"
        best = f", {way} {watched.words} in epoch {result.best_epoch + 1}"
    print_line(f"{ended} {result.epochs_run} epochs{best}")
    print_line(
        f"{result.median_train_ms:.2f} ms/epoch (median; training step and validation), first epoch "
        f"{result.first_epoch_ms:.1f} ms"
    )
    for metric in tasks.of(result.config).headlines:
        undefined = "undefined on these nodes" if result.scores else "none: the graph has no test split"
        score = f"{result.scores[metric.name]:.4f}" if metric.name in result.scores else undefined
        print_line(f"test {metric.words} {score}")
