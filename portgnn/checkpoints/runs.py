"""Unfinished runs on disk: written whole or not at all, read without trust, continued to the same numbers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from portgnn import tasks
from portgnn._system.files import exists, hidden, reason, temporaries, write_atomically
from portgnn._system.lock import locked
from portgnn.checkpoints.model import check_parameters, read_config, read_names, read_safetensors
from portgnn.errors import CheckpointError, ConfigError, PortgnnError
from portgnn.graphs.checks import bare_names
from portgnn.metrics import EPOCH_MS
from portgnn.models import Network, name_of, network_class
from portgnn.presets import Config, checked
from portgnn.training import History, Progress, parameters_of

FORMAT = "portgnn-run"
VERSIONS = (1, 2)
"""Formats that can be read; the last one is written. In the first, `normalize_features` is true or false."""
TERMINATED = 143


@dataclass(frozen=True)
class Run:
    """What a run is, apart from where it stands.

    dataset: the name or path it was given, "" for a Graph. split: the text of its split, "" for the data's own.
    unknown, ignore: the labels and columns that were left out of it.
    fingerprint: of the graph that it trains on; see `portgnn.graphs.fingerprint`.
    """

    config: Config
    seed: int
    backend: str
    dtype: str
    dataset: str
    split: str
    fingerprint: str
    class_names: tuple[str, ...]
    num_features: int
    unknown: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


def save_run(path: Path, run: Run, progress: Progress) -> int:
    """Writes both into one safetensors file, atomically. Returns its bytes. Raises CheckpointError."""
    from safetensors.numpy import save

    tensors = {f"state.{name}": value for name, value in progress.state.items()}
    tensors |= {f"best.{name}": value for name, value in (progress.best_state or {}).items()}
    for name, values in progress.history.curves.items():
        tensors[f"history.{name}"] = np.array(values, dtype=np.float64)
    document = asdict(run) | {"best_start": progress.best_start, "stopped": progress.stopped}
    header = {"format": FORMAT, "version": str(VERSIONS[-1]), "run": json.dumps(document)}
    # Not ascontiguousarray, which turns a scalar into a list of one.
    content = save({name: np.array(value, order="C") for name, value in tensors.items()}, header)
    write_atomically(path, content)
    return len(content)


def load_run(path: Path, network: str | type[Network] | None = None) -> tuple[Run, Progress]:
    """Reads what `save_run` wrote. Raises CheckpointError where it is missing, damaged or something else.

    network: the user's own, as of `portgnn.checkpoints.model.Model.load`.
    """
    header, tensors = read_safetensors(path, FORMAT, VERSIONS, "run")
    try:
        document = json.loads(header["run"])
        if header["version"] == "1":
            tensors = _counts_as_floats(tensors, document["dtype"])
        config = read_config(document["config"], network)
        texts = {name: document[name] for name in ("backend", "dtype", "dataset", "split", "fingerprint")}
        numbers = {name: document[name] for name in ("seed", "num_features", "best_start")}
        if not all(type(text) is str for text in texts.values()) or type(document["stopped"]) is not bool:
            raise ValueError("a text or a truth value is something else")
        if not all(type(number) is int and 0 <= number < 2**63 for number in numbers.values()):
            raise ValueError("a number is not a whole number of 0 or more")
        run = Run(
            config,
            numbers["seed"],
            class_names=bare_names(read_names(document["class_names"])),
            num_features=numbers["num_features"],
            unknown=read_names(document.get("unknown", [])),
            ignore=read_names(document.get("ignore", [])),
            **texts,
        )
        progress = _progress(tensors, config, numbers["best_start"], document["stopped"])
        check_parameters(parameters_of(progress.state), config, run.num_features, len(run.class_names))
        if progress.best_state is not None:
            check_parameters(parameters_of(progress.best_state), config, run.num_features, len(run.class_names))
            if _layout(progress.best_state) != _layout(progress.state):
                raise ValueError("the best state does not fit the run")
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (PortgnnError, KeyError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise CheckpointError(f"{path} has a damaged header: {str(error)[:200]}") from None
    return run, progress


def _counts_as_floats(tensors: dict[str, NDArray[np.floating]], dtype: str) -> dict[str, NDArray[np.floating]]:
    """Format 1 may hold an optimizer's count of steps in float32 in a float64 run, in one of its states or both."""
    if dtype != "float64":
        return tensors
    return {
        name: value.astype(np.float64) if value.ndim == 0 and value.dtype == np.float32 else value
        for name, value in tensors.items()
    }


def _layout(state: Mapping[str, NDArray[np.generic]]) -> dict[str, tuple[object, ...]]:
    return {name: (value.dtype, value.shape) for name, value in state.items()}


def _progress(tensors: dict[str, NDArray[np.floating]], config: Config, best_start: int, stopped: bool) -> Progress:
    groups: dict[str, dict[str, NDArray[np.floating]]] = {"state": {}, "best": {}, "history": {}}
    for name, value in tensors.items():
        group, _, rest = name.partition(".")
        groups[group][rest] = value
    history = _history(groups["history"])
    if len(history) > config.epochs:
        raise ValueError("the history is longer than the run")
    if best_start > len(history) or (groups["best"] and set(groups["best"]) != set(groups["state"])):
        raise ValueError("the best state does not fit the run")
    if config.restore_best and history.curves.get(tasks.of(config).measures.monitor) and not groups["best"]:
        raise ValueError("the best state is missing")
    return Progress(groups["state"], history, best_start, groups["best"] or None, stopped)


def _history(curves: dict[str, NDArray[np.floating]]) -> History:
    """The curves of a file: those with which its run began, which may be fewer than one that begins now has."""
    unknown = [name for name in curves if name != EPOCH_MS and tasks.curve(name) is None]
    if unknown or not {"train_loss", "val_loss", EPOCH_MS} <= set(curves):
        raise ValueError(f"the history holds {', '.join(sorted(curves))[:200] or 'nothing'}")
    for name, value in curves.items():
        if value.ndim != 1 or value.dtype != np.float64 or not np.isfinite(value).all():
            raise ValueError(f"the history's {name} is not a list of finite numbers")
    history = History(**{name: value.tolist() for name, value in curves.items()})
    held_out = {len(values) for name, values in history.curves.items() if name.startswith("val_")}
    if len(history.epoch_ms) != len(history) or len(held_out) > 1 or not held_out <= {0, len(history)}:
        raise ValueError("the parts of the history have different lengths")
    return history


class FileCheckpointer:
    """Keeps a run in a file, and lets SIGINT and SIGTERM end it only once its last state is there.

    A context manager for the time of the training. A second signal ends the process at once. Where the path is a link,
    the run is kept in the file that it leads to.
    """

    def __init__(self, path: Path, run: Run, every: int, announce: Callable[[str], None], new: bool = False) -> None:
        """new: whether a file in the way is a fault."""
        self.path, self.run, self.every, self._new = path, run, every, new
        self._file = Path(os.path.realpath(path))  # two names of one file, by a link, are one run
        self._held = ExitStack()
        self._announce = announce
        self._caught: int | None = None
        self._before: dict[int, Any] = {}
        self.epochs: int | None = None
        """Epochs in the last state that was kept."""

    def __enter__(self) -> FileCheckpointer:
        try:
            lock = self._held.enter_context(locked(lock_of(self._file), time.monotonic()))
            if lock.holder:
                raise CheckpointError(
                    f"{self.path} is being written by {lock.holder}; wait until it ends, or name another file"
                )
            if self._new:  # it may have come while the graph was prepared
                check_new(self.path)
            for stale in temporaries(self._file) if lock.alone else ():
                stale.unlink(missing_ok=True)
        except BaseException as error:
            self._held.close()
            if not isinstance(error, OSError):
                raise
            raise CheckpointError(f"cannot write {self.path}: {reason(error)}") from None
        # Only the main thread may say what a signal does; and who ignores one (nohup) means it.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if kind is None and self._caught is not None:
            self.leave()

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if self._caught is not None:
            self._end(number)
        self._caught = number

    def keep(self, progress: Progress) -> None:
        first = self.epochs is None
        size = save_run(self._file, self.run, progress)
        self.epochs = len(progress.history)
        # The next one has to lie beside this one, and may hold a second state.
        if first and shutil.disk_usage(self._file.parent).free < 2 * size:
            raise CheckpointError(
                f"{self._file.parent} has too little room: a checkpoint takes up to {2 * size} bytes "
                "beside the one that is there"
            )

    def stop(self) -> bool:
        return self._caught is not None

    def leave(self) -> NoReturn:
        self._announce(f"Interrupted. {self.advice()}")
        assert self._caught is not None
        self._end(self._caught)

    def _end(self, number: int) -> NoReturn:
        if number == signal.SIGTERM:
            raise SystemExit(TERMINATED)
        raise KeyboardInterrupt

    def advice(self) -> str:
        """Where the run is kept and how to go on."""
        return f"{self.path} holds epoch {self.epochs}; continue with: portgnn train --resume {self.path}"


def continued(run: Run, names: dict[str, Any], overrides: dict[str, Any], **given: Any) -> Config:
    """The recipe with which a kept run goes on: its own, or one of more epochs.

    names: of preset and model. overrides, given: what the user named, None where nothing.

    Raises ConfigError for what would make it another run.
    """
    for name, value in (names | overrides | given).items():
        if name in overrides and value is not None:
            value = checked(name, value)  # in the form that a recipe has it
        if name == "model" and value is not None:
            value = name_of(network_class(value))
        own = getattr(run if name in given else run.config, name, None)
        if value is not None and value != own and name != "epochs":
            raise ConfigError(
                f"the run to resume has {name}={own!r}, and {name}={value!r} would make it another run; "
                f"leave --{name.replace('_', '-')} out"
            )
    epochs = overrides.get("epochs")
    if epochs is not None and epochs < run.config.epochs:
        raise ConfigError(f"the run to resume has {run.config.epochs} epochs; epochs={epochs} would cut it short")
    return run.config if epochs is None else replace(run.config, epochs=epochs)


def lock_of(path: Path) -> Path:
    """The lock that the writer of a run holds: one beside the file, which is replaced and can bear none."""
    return hidden(path, "lock")


def check_new(path: Path) -> None:
    """Raises CheckpointError where a file is in the way: it may be hours of somebody's work."""
    if exists(path, CheckpointError) or os.path.islink(path):
        raise CheckpointError(
            f"{path} exists already; continue it with --resume {path}, or remove it, or name another file"
        )
