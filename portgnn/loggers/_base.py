"""What all loggers share: an epoch's numbers once each, and errors of their libraries as one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

from portgnn.errors import LoggerError, MissingLibraryError
from portgnn.logs import end_values
from portgnn.results.callbacks import Callback, RunFacts

if TYPE_CHECKING:
    from portgnn.results.result import TrainResult
    from portgnn.training import History

Epochs = list[tuple[int, dict[str, float]]]


class Logger(Callback):
    """Records a run. A subclass brings the four verbs; whatever they raise becomes a LoggerError.

    A resumed run is recorded whole, with the epochs before the resumption. Epochs are counted from 0. Of an epoch: the
    curves of the history (train_loss, val_loss, val_accuracy, epoch_ms). At the end: epochs_run, best_epoch,
    median_train_ms, and each metric of the test nodes (test_accuracy).
    """

    def open(self, facts: RunFacts, parameters: dict[str, object]) -> None:
        """Begins a record. parameters: the recipe's values and what else the run is."""
        raise NotImplementedError

    def write(self, epochs: Epochs) -> None:
        """Records epochs, each with its number and its values by name."""
        raise NotImplementedError

    def summarize(self, epoch: int, values: dict[str, float]) -> None:
        """Records what is known at the end. epoch: the last one."""
        raise NotImplementedError

    def close(self, failed: bool) -> None:
        """Ends the record."""
        raise NotImplementedError

    def on_start(self, facts: RunFacts) -> None:
        self._written = 0
        what = {name: value for name, value in vars(facts).items() if name != "config"}
        self._do(lambda: self.open(facts, what | asdict(facts.config)))

    def on_epochs(self, history: History) -> None:
        new = [(epoch, history.at(epoch)) for epoch in range(self._written, len(history))]
        self._do(lambda: self.write(new))
        self._written = len(history)

    def on_end(self, result: TrainResult) -> None:
        self.on_epochs(result.history)  # a run that was finished when it was resumed has no chunk of its own
        self._do(lambda: self.summarize(result.epochs_run - 1, end_values(result)))
        self._do(lambda: self.close(failed=False))

    def on_error(self, error: BaseException) -> None:
        self._do(lambda: self.close(failed=True))

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            raise LoggerError(
                f"{type(self).__name__} cannot record the run: {error or type(error).__name__}"
            ) from error


def library(module: str, package: str, extra: str) -> Any:
    """An optional module. Raises MissingLibraryError where its package is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise MissingLibraryError(
            f'--logger {extra} needs {package}. Install it with: pip install "portgnn[{extra}]"'
        ) from None
