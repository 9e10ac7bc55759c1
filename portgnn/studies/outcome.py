"""What a study found: its rows with the chosen setting of each, in numbers that JSON holds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from portgnn import tasks
from portgnn.errors import ConfigError
from portgnn.metrics import Curve
from portgnn.studies.kept import FAILED
from portgnn.studies.plan import Row, Run, Setting
from portgnn.studies.statistics import Comparison, box, compared, holm, median_curve, summary

FORMAT = "portgnn-study"
ALL_PAIRS = 8
"""Rows of a dataset up to which every two are compared; of more, each with the first."""

Documents = Callable[[Run], dict[str, Any] | None]
"""The document of a run that was trained."""


@dataclass(frozen=True)
class Rule:
    """How rows come to their numbers. metric: of the test nodes; select: the curve that settings are chosen by; None
    for the task's first. each: every setting is a row, and none is chosen."""

    metric: str | None = None
    select: str | None = None
    each: bool = False

    def check(self) -> None:
        """Raises ConfigError for a name that nothing has."""
        known = tasks.quantities()
        if self.metric is not None and self.metric not in known:
            raise ConfigError(f"--metric {self.metric} is not measured; known: {', '.join(known)}")
        curve = None if self.select is None else tasks.curve(self.select)
        if self.select is not None and (curve is None or curve.part != "val"):
            listed = ", ".join(f"val_{name}" for name in known)
            raise ConfigError(f"--select {self.select} is no curve of the validation; known: {listed}")

    def tested(self, document: dict[str, object]) -> Curve | None:
        """Which score of a run's document counts; None where it has no test split."""
        if self.metric is not None:
            return tasks.curve(f"test_{self.metric}") if f"test_{self.metric}" in document else None
        names = [name for name, value in document.items() if name.startswith("test_") and value is not None]
        return tasks.curve(names[0]) if names else None

    def chosen_by(self, document: dict[str, object]) -> Curve:
        """The validation curve that a run is judged by. Raises ConfigError where there is none."""
        tested = self.tested(document)
        names = [self.select] if self.select else [*([f"val_{tested.quantity.name}"] if tested else []), "val_loss"]
        for name in names:
            curve = tasks.curve(name)
            if curve is not None and document.get(name):
                return curve
        raise ConfigError(
            f"{document['dataset']} has no {' or '.join(names)} to choose hyperparameters by; ask for a split that has "
            "validation nodes (--split fraction:0.6:0.2), or show every setting with --each"
        )

    def falling(self, document: dict[str, object]) -> float | None:
        """What a run is chosen by, so that lower is better; None for one that failed."""
        if FAILED in document:
            return None
        curve = self.chosen_by(document)
        value = validated(document, curve)
        return -value if curve.quantity.higher_is_better else value


def validated(document: dict[str, Any], curve: Curve) -> float:
    """The curve's value of the parameters that the run returned: those of its best epoch, or of its last."""
    values = document[curve.name]
    return float(values[document["best_epoch"] if document["config"].get("restore_best") else -1])


@dataclass(frozen=True, eq=False)
class Candidate:
    """A setting with the documents of its runs."""

    setting: Setting
    runs: list[tuple[Run, dict[str, object]]]

    @property
    def failed(self) -> int:
        return sum(FAILED in document for _, document in self.runs)

    def falling(self, rule: Rule) -> float | None:
        """The mean that it is chosen by; None where a run failed."""
        values = [rule.falling(document) for _, document in self.runs]
        whole = [value for value in values if value is not None]
        return statistics.fmean(whole) if whole and len(whole) == len(values) else None


def candidates(settings: Iterable[Setting], seeds: Sequence[int], documents: Documents) -> list[Candidate]:
    """Of settings whose runs were all trained."""
    found = []
    for setting in settings:
        runs = [(run, document) for run in setting.runs(seeds) if (document := documents(run)) is not None]
        found.append(Candidate(setting, runs))
    return found


def rows(groups: Sequence[Sequence[Candidate]], rule: Rule, varied: Sequence[str]) -> list[dict[str, Any]]:
    """The table's rows. groups: the candidates of each row. varied: what of the hyperparameters differs."""
    found = []
    for group in groups:
        if rule.each:
            found += [_row(each, [each], rule, varied) for each in group]
        else:
            found.append(_row(_chosen(group, rule), group, rule, varied))
    return found


def _chosen(group: Sequence[Candidate], rule: Rule) -> Candidate:
    """The one with the best mean of the validation; of equal ones the first."""
    if len(group) == 1:
        return group[0]
    judged = [(value, at) for at, each in enumerate(group) if (value := each.falling(rule)) is not None]
    return group[min(judged)[1]] if judged else group[0]


def _row(chosen: Candidate, group: Sequence[Candidate], rule: Rule, varied: Sequence[str]) -> dict[str, Any]:
    whole = [(run, document) for run, document in chosen.runs if FAILED not in document]
    row: Row = chosen.setting.row
    said = {name: value for name, value in chosen.setting.values.items() if name in varied}
    first = whole[0][1] if whole else None
    tested = rule.tested(first) if first else None
    judged = rule.chosen_by(first) if first and len(group) > 1 else None
    found: dict[str, Any] = row.names | {
        "values": said,
        "config": asdict(chosen.setting.config),
        "nodes": row.source.nodes,
        "edges": row.source.edges,
        "metric": tested.quantity.name if tested else None,
        "metric_words": tested.quantity.words if tested else None,
        "higher_is_better": tested.quantity.higher_is_better if tested else None,
        "select": judged.name if judged else None,
        "select_words": judged.words if judged else None,
        "candidates": [_candidate(each, rule, varied, judged) for each in group],
        "failed": chosen.failed,
        "runs": [_run(run, document, tested, judged) for run, document in whole],
        "curves": _curves([document for _, document in whole]),
    }
    return found | _numbers(found["runs"], [document for _, document in whole])


def _candidate(each: Candidate, rule: Rule, varied: Sequence[str], judged: Curve | None) -> dict[str, object]:
    """Without a word of the test: it decides nothing."""
    value = each.falling(rule) if judged else None
    mean = -value if judged and value is not None and judged.quantity.higher_is_better else value
    said = {name: value for name, value in each.setting.values.items() if name in varied}
    return {"values": said, "validation": mean, "runs": len(each.runs), "failed": each.failed}


def _run(run: Run, document: dict[str, Any], tested: Curve | None, judged: Curve | None) -> dict[str, object]:
    return {
        "key": run.key,
        "seed": run.seed,
        "split": run.split,
        "test": document.get(tested.name) if tested else None,
        "validation": validated(document, judged) if judged else None,
        "epochs": len(document["train_loss"]),
        "best_epoch": document["best_epoch"],
        "ms": document["median_train_ms"],
        "seconds": document["seconds"],
        "peak_bytes": document["peak_bytes"],
    }


def _numbers(runs: Sequence[dict[str, Any]], documents: Sequence[dict[str, Any]]) -> dict[str, object]:
    """What the runs of a row say together."""
    values = units(runs)
    scores = {
        name: [each["scores"].get(name) for each in documents] for name in (documents[0]["scores"] if documents else {})
    }
    peaks = [each["peak_bytes"] for each in runs if each["peak_bytes"] is not None]
    return {
        "summary": asdict(summary(values)) if values else None,
        "box": asdict(box([each["test"] for each in runs if each["test"] is not None])) if values else None,
        "scores": {name: statistics.fmean(found) for name, found in scores.items() if None not in found},
        "seconds": statistics.median(each["seconds"] for each in runs) if runs else None,
        "ms": statistics.median(each["ms"] for each in runs) if runs else None,
        "epochs": statistics.median(each["epochs"] for each in runs) if runs else None,
        "peak_bytes": max(peaks, default=None),
    }


def units(runs: Sequence[dict[str, Any]]) -> dict[object, list[float]]:
    """Test scores by what is independent: splits where there are several, else seeds."""
    by = "split" if len({each["split"] for each in runs}) > 1 else "seed"
    found: dict[Any, list[float]] = {}
    for each in runs:
        if each["test"] is not None:
            found.setdefault(each[by], []).append(each["test"])
    return found


def _curves(documents: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """The median run's curves, by name."""
    names = {name for document in documents for name in document}
    found = {}
    for curve in tasks.curves_among(names, "train", "val"):
        median = median_curve([each[curve.name] for each in documents if each.get(curve.name)])
        if median:
            found[curve.name] = median
    return found


def comparisons(table: Sequence[dict[str, Any]]) -> list[dict[str, object]]:
    """Rows of one dataset and metric against each other."""
    by_subject: dict[tuple[Any, ...], list[int]] = {}
    for at, row in enumerate(table):
        if row["summary"]:
            by_subject.setdefault((row["dataset"], row["metric"]), []).append(at)
    found: list[Comparison] = []
    for places in by_subject.values():
        firsts = places if len(places) <= ALL_PAIRS else places[:1]
        for first in firsts:
            for second in places[places.index(first) + 1 :]:
                made = compared(first, second, units(table[first]["runs"]), units(table[second]["runs"]))
                found += [made] if made else []
    corrected = holm([each.p for each in found])
    return [asdict(each) | {"p_holm": p} for each, p in zip(found, corrected, strict=True)]
