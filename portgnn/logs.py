"""The run as records of the logger "portgnn"; no handler but the one that stays silent."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from portgnn._system.files import reason
from portgnn.results.callbacks import Callback, RunFacts
from portgnn.text import printable

if TYPE_CHECKING:
    from portgnn.results.result import TrainResult
    from portgnn.training import History

logger = logging.getLogger("portgnn")
logger.addHandler(logging.NullHandler())

_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


def telling(announce: Callable[[str], None] | None) -> Callable[[str], None]:
    """What says a message to the user: as a record, and by `announce` where there is one."""

    def tell(message: str) -> None:
        logger.info("%s", printable(message), extra={"event": "message"})
        if announce:
            announce(message)

    return tell


class Records(Callback):
    """start and end: INFO. An epoch: DEBUG. An error: ERROR. `event` says which; the numbers are fields."""

    def on_start(self, facts: RunFacts) -> None:
        self._done = facts.epochs_done
        fields = {name: value for name, value in vars(facts).items() if name != "config"}
        text = "training %s on %s (%s, %s), recipe %s"
        arguments = (printable(facts.dataset), facts.backend, facts.device, facts.dtype, facts.config.preset)
        logger.info(text, *arguments, extra={"event": "start", "config": asdict(facts.config)} | fields)

    def on_epochs(self, history: History) -> None:
        start, self._done = self._done, len(history)
        if not logger.isEnabledFor(logging.DEBUG):
            return
        for epoch in range(start, len(history)):
            values = history.at(epoch)
            text = ", ".join(f"{name} {value:.6g}" for name, value in values.items())
            logger.debug("epoch %d: %s", epoch, text, extra={"event": "epoch", "epoch": epoch} | values)

    def on_end(self, result: TrainResult) -> None:
        values = end_values(result)
        text = ", ".join(f"{name} {value:.6g}" for name, value in values.items())
        logger.info("done: %s", text, extra={"event": "end", "stopped_early": result.stopped_early} | values)

    def on_error(self, error: BaseException) -> None:
        kind = type(error).__name__
        logger.error("the run has ended: %s: %s", kind, printable(str(error)), extra={"event": "error", "error": kind})


def end_values(result: TrainResult) -> dict[str, float]:
    """What is known of a run when it is over; the metrics of the test nodes only with a test split."""
    values = {name: getattr(result, name) for name in ("epochs_run", "best_epoch", "median_train_ms")}
    return values | {f"test_{name}": value for name, value in result.scores.items()}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time (ISO 8601, UTC), level, logger, message, and its extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        document |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(_finite(document), default=str, allow_nan=False)


class Stream(logging.StreamHandler[Any]):
    """Records as lines on a stream. One that it does not take is left out: a log must not end what it tells of."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


class File(logging.FileHandler):
    """Records at the end of a file, until it takes no more.

    told: called once with the handler when that happens; `fault` then says why. Raises OSError or ValueError where the
    file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], told: Callable[[File], None]) -> None:
        super().__init__(path, encoding="utf-8")
        self.fault, self._told = "", told

    def emit(self, record: logging.LogRecord) -> None:
        if not self.fault:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        self.fault = reason(error) if isinstance(error, OSError | ValueError) else str(error)
        self._told(self)

    def close(self) -> None:
        try:
            super().close()
        except OSError as error:  # what was still to be written
            self.fault = self.fault or reason(error)


def _finite(value: object) -> object:
    """NaN and infinities, which JSON lacks, as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return value
