"""Hyperparameters drawn one after the other, each guided by those before: optuna, on runs of a study.

Trials are drawn in batches and told in order, so that the same command draws the same trials whatever ends first: an
interrupted search goes on over the runs that are kept, and any number of processes finds the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from portgnn.errors import ConfigError, MissingLibraryError
from portgnn.studies.plan import Row, Run, Setting
from portgnn.studies.space import Range, Space

BATCH = 8
"""Trials that are drawn without knowing of each other's outcome."""
FIRST = 5
"""Trials that are trained to their end before any is given up."""

Outcomes = Callable[[Sequence[Run]], Sequence[float | None]]
"""Trains runs and gives what each is chosen by, so that lower is better; None for one that failed."""


def check() -> None:
    """Raises MissingLibraryError without optuna."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise MissingLibraryError('--search needs optuna. Install it with: pip install "portgnn[search]"') from None


def searched(row: Row, space: Space, trials: int, seeds: Sequence[int], outcomes: Outcomes) -> list[Setting]:
    """The settings of a row that were drawn and trained to their end, in the order in which they were drawn.

    A trial's runs are trained in steps of 1, 2, 4, … runs; after each it is given up where its mean so far is worse
    than the median of the earlier trials' at that step (optuna's MedianPruner).
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=0, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST),
    )
    found: dict[str, Setting] = {}
    for start in range(0, trials, BATCH):
        batch = [_drawn(study.ask(), row, space) for _ in range(min(BATCH, trials - start))]
        for setting in _trained(study, batch, seeds, outcomes):
            found.setdefault(setting.said, setting)
    return list(found.values())


def _drawn(trial: object, row: Row, space: Space) -> tuple[object, Setting | None]:
    """None where the values do not go together."""
    values = {name: _suggested(trial, name, choices) for name, choices in space.items()}
    try:
        return trial, row.setting(values)
    except ConfigError:
        return trial, None


def _suggested(trial: Any, name: str, choices: Any) -> object:
    if not isinstance(choices, Range):
        return trial.suggest_categorical(name, list(choices))
    if choices.whole:
        return trial.suggest_int(name, int(choices.low), int(choices.high), log=choices.logarithmic)
    return trial.suggest_float(name, choices.low, choices.high, log=choices.logarithmic)


def _trained(
    study: Any, batch: Sequence[tuple[Any, Setting | None]], seeds: Sequence[int], outcomes: Outcomes
) -> list[Setting]:
    """Those of a batch that reached their end."""
    from optuna.trial import TrialState

    living = [(trial, setting, list[float]()) for trial, setting in batch if setting is not None]
    for trial, setting in batch:
        if setting is None:
            study.tell(trial, state=TrialState.FAIL)
    step, ended = 1, list[Setting]()
    while living:
        parts = [setting.runs(seeds)[len(values) : step] for _, setting, values in living]
        given = iter(outcomes([run for part in parts for run in part]))
        going = []
        for (trial, setting, values), part in zip(living, parts, strict=True):
            new = [next(given) for _ in part]
            whole = [value for value in new if value is not None]
            values += whole
            if len(whole) < len(new):
                study.tell(trial, state=TrialState.FAIL)
                continue
            mean = sum(values) / len(values)
            trial.report(mean, len(values))
            if len(values) == len(setting.runs(seeds)):
                study.tell(trial, mean)
                ended.append(setting)
            elif trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
            else:
                going.append((trial, setting, values))
        living, step = going, 2 * step
    return ended
