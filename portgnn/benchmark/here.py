"""What `portgnn bench` compares: every backend and device of this machine, on one graph, with two recipes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from portgnn.benchmark import cases
from portgnn.benchmark.graphs import DENSE_LIMIT, BenchGraph
from portgnn.benchmark.progress import Progress
from portgnn.benchmark.published import METHOD, PUBLISHED
from portgnn.benchmark.runner import Options, Runner
from portgnn.benchmark.timing import Plan
from portgnn.datasets import load_graph
from portgnn.errors import BackendError, ConfigError, near_matches
from portgnn.registry import registered_names

MAKER = "portgnn bench"
FORMS = {"pyg": ("csr",), "article": ("dense",)}
"""The recipes and the form of each: PyTorch Geometric's benchmark, and the article's network as it was published."""
FULL, QUICK = 180.0, 60.0
"""Seconds of a whole run."""


@dataclass(frozen=True)
class Request:
    """What a run covers. None of names: all of this machine. seconds: of the whole run, about."""

    dataset: str | None = None
    backends: Sequence[str] | None = None
    devices: Sequence[str] | None = None
    threads: int | None = None
    seconds: float = FULL


def run(
    request: Request, progress: Progress, announce: Callable[[str], None], plan: Plan | None = None
) -> dict[str, Any]:
    """A result document. plan: by default one for the seconds.

    Raises BackendError for a name that is none or a device that nobody has, DatasetError or ConfigError for a graph
    that cannot be had or trained.
    """
    for name in request.backends or ():
        if name not in registered_names():
            raise BackendError(f"unknown backend {name!r}.{near_matches(name, registered_names())}")
    if not request.seconds > 0:
        raise ConfigError(f"--seconds must be above 0, not {request.seconds:g}")
    if request.threads is not None and request.threads < 1:
        raise ConfigError(f"--threads must be at least 1, not {request.threads}")
    graph = _graph(request.dataset, announce)
    recipes = list(FORMS)
    if graph.nodes > DENSE_LIMIT:
        recipes.remove("article")
        announce(
            f"Without preset article: its dense adjacency of {graph.nodes:,} nodes would take "
            f"{4e-9 * graph.nodes**2:,.0f} GB."
        )
    options = Options(
        datasets=[graph.name], recipes=recipes, backends=request.backends, devices=request.devices,
        threads=request.threads, forms_of=FORMS, graphs={graph.name: graph},
    )  # fmt: skip
    found = Runner(options, plan or Plan.within(request.seconds), progress).run()
    best = fastest(found)
    published = [asdict(each) for each in PUBLISHED] if "article" in recipes else []
    given = request.dataset if request.dataset is not None else graph.name
    found |= {"maker": MAKER, "dataset": given, "published": published, "published_method": METHOD}
    return found | {"fastest": best and _named(best)}


def _graph(dataset: str | None, announce: Callable[[str], None]) -> BenchGraph:
    graph = load_graph(dataset, announce=announce)
    missing = [part for part in ("train", "val", "test") if getattr(graph, part) is None]
    if missing or graph.num_classes < 2:
        lacks = f"no {missing[0]} split" if missing else "no classes to learn"
        raise ConfigError(f"{graph.name} has {lacks}; name a graph whose nodes have classes and all three splits")
    return cases.travelling(graph, graph.name)


def fastest(found: dict[str, Any]) -> dict[str, Any] | None:
    """The row with the shortest training step of the first recipe that has a timed row."""
    for recipe in FORMS:
        rows = [row for row in found["rows"] if row.get("status") == "timed" and row["recipe"] == recipe]
        if rows:
            best: dict[str, Any] = min(rows, key=lambda row: float(row["train_ms"]["median"]))
            return best
    return None


def as_fast(found: dict[str, Any], best: dict[str, Any]) -> list[dict[str, object]]:
    """Rows of other backends and devices whose middle half overlaps the best one's, of the same recipe."""
    return [
        row
        for row in found["rows"]
        if row.get("status") == "timed" and row["recipe"] == best["recipe"]
        and (row["contender"], row["device"]) != (best["contender"], best["device"])
        and row["train_ms"]["q1"] <= best["train_ms"]["q3"]
    ]  # fmt: skip


def _named(row: dict[str, Any]) -> dict[str, Any]:
    names = ("contender", "device", "recipe", "dataset")
    return {name: row[name] for name in names} | {"rows": row["options"]["rows"], "ms": row["train_ms"]["median"]}
