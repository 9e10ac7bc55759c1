"""JSON documents of finished work, read back: training runs, verifications and benchmarks, told by their content."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from portgnn._system.untrusted import content
from portgnn.errors import ConfigError
from portgnn.models import NETWORKS
from portgnn.presets import PRESETS, preset
from portgnn.recipe import known
from portgnn.tasks import curves_among
from portgnn.text import shown

Kind = Literal["train", "verify", "benchmark", "growth", "study"]
MAKERS = "portgnn train --json, portgnn verify --json, portgnn study or portgnn bench --json"
EPSILON = {"bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
"""Distance from 1 to the next number of each dtype, the coarsest first."""
EXECUTION = ("features", "adjacency", "rows", "epochs")
"""Settings in which runs may differ and still compute the same numbers, epoch by epoch."""


@dataclass(frozen=True, eq=False)
class Document:
    """A file's content. kind: what it holds. data: as JSON has it, with the fields that `FIELDS` asks for."""

    name: str
    kind: Kind
    data: dict[str, Any]


LARGEST = 1e300
"""Numbers beyond it are no measurement, and would overflow where they are compared."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "a number": _is_number,
    "a number above 0": lambda value: _is_number(value) and value > 1 / LARGEST,
    "a whole number": _is_whole,
    "a whole number above 0": lambda value: _is_whole(value) and value > 0,
    "true or false": lambda value: isinstance(value, bool),
    "a list": lambda value: isinstance(value, list),
    "a list of numbers": lambda value: isinstance(value, list) and all(map(_is_number, value)),
    "a list of texts": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
}

Fields = dict[str, Any]
"""What a document must hold: a name of `_CHECKS`, the fields of an object, or of each in a list ("[]") or an object
("{}") of such. A name that ends in "?" may be absent or null."""


@dataclass(frozen=True)
class RunField:
    """A field of a training run's document, and the attribute of a `TrainResult` that it is.

    what: see `Fields`. required: not in documents of older versions. head, form: of its column in tables of runs.
    """

    name: str
    what: Any
    required: bool = True
    head: str = ""
    form: str = ""


RUN = (
    RunField("dataset", "text", head="dataset"),
    RunField("nodes", "a whole number"),
    RunField("edges", "a whole number"),
    RunField("backend", "text", head="backend"),
    RunField("device", "text", head="device"),
    RunField("dtype", "text", head="dtype"),
    RunField("preset", "text", head="preset"),
    RunField("seed", "a whole number", head="seed", form="d"),
    RunField("epochs_run", "a whole number", required=False),
    RunField("best_epoch", "a whole number"),
    RunField("stopped_early", "true or false", required=False),
)
"""What stands before the curves and scores."""
RUN_OUTCOME = (
    RunField("median_train_ms", "a number", head="ms/epoch"),
    RunField("first_epoch_ms", "a number", head="first ms"),
    RunField("rng", "text", required=False),
    RunField("processes", "a whole number", required=False),
    RunField("notes", "a list of texts", required=False),
    RunField("config", {}),
    RunField("environment", {}),
)
"""What stands behind them. A field more is a line here and an attribute of the result."""
_TRAIN: Fields = {each.name if each.required else f"{each.name}?": each.what for each in (*RUN, *RUN_OUTCOME)}
_TRAIN |= {"train_loss": "a list of numbers", "val_loss": "a list of numbers", "setting?": "text"}
_CHECK: Fields = {"name": "text", "max_error?": "a number", "tolerance": "a number", "passed": "true or false",
                  "hint": "text"}  # fmt: skip
_VERIFY: Fields = {"backend": "text", "device": "text", "dtype": "text", "passed": "true or false",
                   "checks": {"[]": _CHECK}, "environment?": {}, "setting?": "text", "note?": "text"}  # fmt: skip
_BENCHMARK: Fields = {"made": "text", "machine": {}, "options": {}, "plan": {}, "git": {}, "rows": {"[]": {}},
                      "workers": {"{}": {"environment?": {}}}, "published_method?": "text",
                      "published?": {"[]": {"machine": "text", "on": "text", "ms": "a number"}}}  # fmt: skip
_TIMED: Fields = {
    "title": "text", "kind": "text", "contender": "text", "device?": "text", "dataset?": "text", "recipe?": "text",
    "train_ms": {"median": "a number above 0", "q1": "a number above 0", "q3": "a number above 0"},
    "graph": {"stored_edges": "a whole number above 0"}, "options?": {},
    "recipe_values?": {"hidden?": "a whole number"},
    "evaluate_ms?": {"median?": "a number"}, "first_epoch_ms?": "a number", "test_accuracy?": "a number",
    "others_cores?": "a number",
}  # fmt: skip
_GROWN: Fields = _TIMED | {"peak_bytes": "a number above 0"}
_SUMMARY: Fields = {"n": "a whole number", "mean": "a number", "std?": "a number", "low?": "a number",
                    "high?": "a number"}  # fmt: skip
_BOX: Fields = dict.fromkeys(("low", "q1", "median", "q3", "high"), "a number")
_CANDIDATE: Fields = {"values": {}, "validation?": "a number", "failed": "a whole number"}
_STUDIED: Fields = {
    **dict.fromkeys(("dataset", "model", "preset", "backend", "device", "dtype"), "text"),
    **dict.fromkeys(("seconds?", "ms?", "epochs?", "peak_bytes?"), "a number"),
    **dict.fromkeys(("metric?", "metric_words?", "select_words?"), "text"),
    "values": {}, "curves": {"{}": "a list of numbers"}, "candidates": {"[]": _CANDIDATE}, "failed": "a whole number",
    "runs": {"[]": {"test?": "a number", "seed": "a whole number"}}, "summary?": _SUMMARY, "box?": _BOX,
}  # fmt: skip
_COMPARED: Fields = {"first": "a whole number", "second": "a whole number", "units": "a whole number",
                     "difference": "a number", "low?": "a number", "high?": "a number", "p?": "a number",
                     "p_holm?": "a number"}  # fmt: skip
_STUDY: Fields = {"rows": {"[]": _STUDIED}, "comparisons": {"[]": _COMPARED}, "seeds": {"[]": "a whole number"},
                  "splits": {"{}": "a list"}, "each": "true or false", "runs": "a whole number",
                  "jobs": "a whole number", "run_seconds": "a number", "command": "text",
                  "environment": {}}  # fmt: skip
FIELDS: dict[str, Fields] = {"train": _TRAIN, "verify": _VERIFY, "benchmark": _BENCHMARK, "growth": _BENCHMARK,
                             "study": _STUDY}  # fmt: skip


def read(path: Path) -> Document:
    """A document and its kind. Raises ConfigError for a file that is none, with what is wrong and where."""
    if path.suffix == ".safetensors":
        raise ConfigError(f"{path} is a model; what it was trained to is in the output of portgnn train --json")
    try:
        data = json.loads(content(path, ConfigError).decode())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from None
    except ConfigError:
        raise
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {str(error)[:200]}. Give what was written by {MAKERS}") from None
    return recognise(data, str(path))


def recognise(data: Any, name: str) -> Document:
    """A document of known kind, checked. name: what to call it. Raises ConfigError for what is none."""
    kind = _kind(data, name)
    _check(data, FIELDS[kind], name)
    if kind == "train":
        _check_curves(data, name)
    if kind == "study":
        _check_rows(data, name)
    for number, row in enumerate(data.get("rows", [])):
        if row.get("status") == "timed":
            _check(row, _GROWN if kind == "growth" else _TIMED, f"{name}, rows[{number}]")
    return Document(name, kind, data)


def _kind(data: Any, name: str) -> Kind:
    if isinstance(data, dict):
        if data.get("format") == "portgnn-bench":
            if data.get("kind") in (None, "growth"):
                return "growth" if data.get("kind") else "benchmark"
            raise ConfigError(
                f"{name} is a benchmark of kind {str(data.get('kind'))[:40]!r}, which has tables and no chart; "
                f"type: python bench/table.py {shlex.quote(name)}"
            )
        if data.get("format") == "portgnn-study":
            return "study"
        if "train_loss" in data:
            return "train"
        if "checks" in data:
            return "verify"
    raise ConfigError(
        f"{name} holds neither a training run nor a verification, study or benchmark; they come from {MAKERS}"
    )


def _brief(data: Any) -> str:
    """The beginning of a value as JSON has it."""
    try:
        return json.dumps(data)[:60]
    except (ValueError, RecursionError):
        return shown(data, 60)


def _check(data: Any, wanted: Any, where: str) -> None:
    """Raises ConfigError unless the data hold what is wanted; see `Fields`."""
    if isinstance(wanted, str):
        if not _CHECKS[wanted](data):
            raise ConfigError(f"{where} must be {wanted}, and is {_brief(data)}")
        return
    many = {"[]": list, "{}": dict}.get(next(iter(wanted), ""))
    if not isinstance(data, many or dict):
        raise ConfigError(f"{where} must be {'a list' if many is list else 'an object'}, and is {_brief(data)}")
    if many:
        for at, item in enumerate(data) if many is list else data.items():
            _check(item, next(iter(wanted.values())), f"{where}[{at}]")
        return
    for field, what in wanted.items():
        name = field.rstrip("?")
        found = data.get(name)
        if found is None and field.endswith("?"):
            continue
        if name not in data:
            raise ConfigError(f"{where}: the field {name!r} is missing")
        _check(found, what, f"{where}: {name}")


def _check_curves(data: dict[str, Any], name: str) -> None:
    epochs = len(data["train_loss"])
    if not epochs:
        raise ConfigError(f"{name}: train_loss holds no epoch")
    for curve in curves_among(data):
        values, scored = data[curve.name], curve.part == "test"
        if scored and values is None:
            continue
        _check(values, "a number" if scored else "a list of numbers", f"{name}: {curve.name}")
        if not scored and len(values) not in (0, epochs):
            raise ConfigError(f"{name}: {curve.name} holds {len(values)} epochs, and train_loss {epochs}")
    if not (isinstance(data["best_epoch"], int) and 0 <= data["best_epoch"] < epochs):
        raise ConfigError(f"{name}: best_epoch is {data['best_epoch']}, and there are epochs 0 to {epochs - 1}")


def _check_rows(data: dict[str, Any], name: str) -> None:
    if not data["rows"]:
        raise ConfigError(f"{name} is a study without a row")
    for each in data["comparisons"]:
        if not all(0 <= each[end] < len(data["rows"]) for end in ("first", "second")):
            raise ConfigError(f"{name}: a comparison is of a row that there is not")


def place_of(data: dict[str, Any]) -> str:
    """Where a run or a verification ran: backend, device, dtype, and a setting where one is noted."""
    setting = f", {data['setting']}" if data.get("setting") else ""
    return f"{data['backend']} {data['device']} {data['dtype']}{setting}"


def labels_of(runs: Sequence[dict[str, Any]]) -> list[str]:
    """A name for each run, none twice: its place, what else the runs differ in, and a number where that is equal."""
    more = [field for field in ("dataset", "preset", "seed") if len({str(run[field]) for run in runs}) > 1]
    said = {"dataset": "{}", "preset": "{}", "seed": "seed {}"}
    names = [", ".join([*(said[field].format(run[field]) for field in more), place_of(run)]) for run in runs]
    return [f"{n} ({names[: i + 1].count(n)})" if names.count(n) > 1 else n for i, n in enumerate(names)]


def coarsest(runs: Sequence[dict[str, Any]]) -> str | None:
    """Of the dtypes of some runs, the one that rounds most; None where one is unknown."""
    found = {run["dtype"] for run in runs}
    return next((dtype for dtype in EPSILON if dtype in found), None) if found <= set(EPSILON) else None


def decisive(data: dict[str, Any]) -> dict[str, str]:
    """What decides a run's losses: equal for runs that are meant to compute the same numbers."""
    values = data["config"] | _rule(data)
    config = {name: json.dumps(value) for name, value in values.items() if name not in EXECUTION}
    facts = {name: str(data[name]) for name in ("dataset", "nodes", "edges", "seed")}
    return facts | config | {"split": "; ".join(_splits(data))}


def _rule(data: dict[str, Any]) -> dict[str, Any]:
    """The rule for features, if there is one; it was a switch in documents of version 0.1."""
    given = {name: value for name, value in data["config"].items() if name == "normalize_features"}
    return {name: {True: "row", False: "none"}[value] if isinstance(value, bool) else value
            for name, value in given.items()}  # fmt: skip


def differing(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The first thing that decides losses and is not the same in two runs, with both values; else nothing."""
    first, second = decisive(one), decisive(other)
    names = [name for name in first | second if first.get(name) != second.get(name)]
    return f"{names[0]}: {first.get(names[0])} and {second.get(names[0])}" if names else ""


def _splits(data: dict[str, Any]) -> list[str]:
    return [str(note) for note in data.get("notes") or [] if str(note).startswith("split ")]


def relative_difference(values: Sequence[float], reference: Sequence[float]) -> list[float]:
    """|v - r| / |r| of each epoch that both have; 0 where both are the same, infinity where r alone is 0."""
    return [0.0 if v == r else abs(v - r) / abs(r) if r else math.inf for v, r in zip(values, reference, strict=False)]


def timed_groups(run: dict[str, Any]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Timed rows by dataset, recipe and width: rows of one group were timed in the same rounds."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in run["rows"]:
        if row.get("status") == "timed":
            found.setdefault(group_of(row), []).append(row)
    return found


def group_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """Dataset, recipe and hidden width of a row."""
    return row.get("dataset"), row.get("recipe"), (row.get("recipe_values") or {}).get("hidden")


def growth_series(run: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Rows of the growth series by contender, device and form, each by rising number of edges."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in run["rows"]:
        if row.get("status") == "timed" and row.get("series") == "growth":
            lines.setdefault(contender_of(row), []).append(row)
    return {name: sorted(rows, key=lambda row: float(row["graph"]["stored_edges"])) for name, rows in lines.items()}


def contender_of(row: dict[str, Any]) -> str:
    """Title, device and form of a timed row."""
    return f"{row['title']} · {row.get('device')} · {form_of(row)}"


def form_of(row: dict[str, Any]) -> str:
    options = row.get("options") or {}
    return f"{options.get('form', '?')}, rows={options.get('rows', '?')}"


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def command(document: Document) -> str:
    """What to type to make such a document again, as far as the document tells."""
    data = document.data
    if document.kind == "study":
        return str(data["command"])
    if document.kind == "train":
        return _train_command(data)
    if document.kind == "verify":
        given = [("backend", data["backend"]), ("device", data["device"]), ("dtype", data["dtype"])]
        return f"portgnn verify {_options(given)} --json"
    options, plan = data["options"], data["plan"]
    if data.get("maker") == "portgnn bench":
        return _bench_command(data)
    lists = [(name, options.get(name)) for name in ("datasets", "recipes", "backends", "peers", "forms", "devices")]
    given = [(name, ",".join(map(str, value))) for name, value in lists if isinstance(value, list)]
    given += [(name, options.get(name)) for name in ("hidden", "threads", "seed")]
    given += [(name, plan.get(name)) for name in ("rounds", "epochs", "chunk")]
    if document.kind == "growth":
        sizes = [row["graph"]["stored_edges"] for row in data["rows"] if row.get("status") == "timed"]
        given = [pair for pair in given if pair[0] not in ("datasets", "recipes", "rounds")]
        given += [("growth", True), ("max-edges", f"{max(sizes, default=1e7):.0e}".replace("e+0", "e"))]
    return f"python bench/run_all.py {_options(given)} --json run.json"


def _bench_command(data: dict[str, Any]) -> str:
    options, seconds = data["options"], data["plan"].get("seconds")
    given = [(name.rstrip("s"), each) for name in ("backends", "devices") for each in options.get(name) or ()]
    ends = [("threads", options.get("threads")), ("seconds", seconds and f"{seconds:g}")]
    return f"portgnn bench {_options([('dataset', data.get('dataset')), *given, *ends])} --json run.json"


def _train_command(data: dict[str, Any]) -> str:
    given: list[tuple[str, Any]] = [(name, data[name]) for name in ("dataset", "backend", "device", "dtype", "preset")]
    given.append(("seed", data["seed"]))
    model = data["config"].get("model", "gcn")
    base = preset(data["preset"] if data["preset"] in PRESETS else None, model if model in NETWORKS else None)
    if model != base.model or base.preset != preset(None, base.model).preset:
        given.append(("model", model))
    config = data["config"] | _rule(data)
    if any(str(note).startswith("features: ") and " (auto)" in str(note) for note in data.get("notes") or []):
        config["normalize_features"] = "auto"
    for name in known(base.model):
        value = config.get(name, getattr(base, name))
        if value != getattr(base, name):
            given.append((name.replace("_", "-"), value))
    for note in _splits(data):  # "split random:20:30, seed 0: …": the note names the option's parts
        words, _, rest = note.removeprefix("split ").partition(", seed ")
        given.append(("split", f"{words}:{rest.partition(':')[0]}"))
    return f"portgnn train {_options(given)} --json"


def _options(given: Iterable[tuple[str, Any]]) -> str:
    words = []
    for name, value in given:
        if value is None or value == "":
            continue
        if isinstance(value, bool):
            recipe = known().get(name.replace("-", "_"))
            words.append(f"--{name}" if value else (recipe and recipe.off) or f"--no-{name}")
        else:
            words.append(f"--{name} {shlex.quote(str(value))}")
    return " ".join(words)
