"""`portgnn report`: documents of runs, verifications and benchmarks as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any
from xml.etree.ElementTree import Element

from portgnn._markup import E, render
from portgnn._version import __version__
from portgnn.report import _charts, _tables, study_tables
from portgnn.report.documents import Document, command, decisive, labels_of, place_of

__all__ = ["page"]

Section = Callable[[Sequence[Document]], list[Element]]
COLUMNS = ("processor", "cores", "system", "machine", "python", "portgnn", "accelerator")


def page(documents: Sequence[Document]) -> str:
    """The page: HTML with its style, script and charts inside; it loads nothing and admits no other script."""
    kinds = [document.kind for document in documents]
    sections = [
        (name, title, make(picked))
        for name, title, kind, make in SECTIONS
        if (picked := [d for d in documents if kind in (None, d.kind)])
    ]
    script = files("portgnn.report").joinpath("page.js").read_text(encoding="utf-8")
    style = files("portgnn.report").joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = E(
        "head",
        E("meta", charset="utf-8"),
        E("meta", http_equiv="Content-Security-Policy", content=policy),
        E("meta", name="viewport", content="width=device-width, initial-scale=1"),
        E("title", "portgnn: report"),
        E("style", style),
    )
    links = (E("li", E("a", title, href=f"#{name}")) for name, title, _ in sections)
    bodies = (
        E("section", E("h2", title, id=f"{name}-title"), *parts, id=name, aria_labelledby=f"{name}-title")
        for name, title, parts in sections
    )
    names = " ".join(shlex.quote(document.name) for document in documents)
    counted = ", ".join(_counted(kinds.count(kind), word) for kind, word in WORDS.items() if kind in kinds)
    body = E(
        "body",
        E("a", "Skip to the results", href="#main", class_="skip"),
        E(
            "header",
            E("h1", "portgnn: report"),
            E("button", "Dark colours", type="button", class_="theme", hidden="", aria_pressed="false"),
            E("nav", E("ul", *links), aria_label="Sections"),
        ),
        E("main", E("p", f"Made from: {counted}."), *bodies, id="main", tabindex=-1),
        E(
            "footer",
            "Made by portgnn ",
            __version__,
            " with:",
            E("pre", f"portgnn report {names} --out report.html"),
        ),
        E("script", script),
    )
    return "<!doctype html>\n" + render(E("html", head, body, lang="en")) + "\n"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" + ("" if count == 1 else "s")


def commands(documents: Sequence[Document], title: str = "How to make this figure again") -> Element:
    """The commands that measured what a figure shows, folded."""
    lines = list(dict.fromkeys(command(document) for document in documents))
    return E("details", E("summary", title), E("pre", "\n".join(lines)))


def _training(documents: Sequence[Document]) -> list[Element]:
    groups: dict[tuple[tuple[str, str], ...], list[Document]] = {}
    for document in documents:
        groups.setdefault(tuple(decisive(document.data).items()), []).append(document)
    parts: list[Element] = []
    for picked in groups.values():
        runs = [document.data for document in picked]
        first = runs[0]
        panels = _charts.training(runs)
        notes: list[str] = []
        if len(runs) > 1:
            gap, notes = _charts.difference(runs)
            panels += [gap] if gap is not None else []
        title = f"{first['dataset']}, recipe {first['preset']}, seed {first['seed']}"
        caption = f"{first['nodes']:,} nodes, {first['edges']:,} edges. "
        if notes:
            caption += f"Relative differences of the training loss from {labels_of(runs)[0]}: {' '.join(notes)}"
        parts.append(
            E(
                "figure",
                E("h3", title),
                _charts.legend(labels_of(runs)),
                _panels(panels),
                E("figcaption", caption),
                commands(picked),
            )
        )
    return [*parts, _tables.runs_table([document.data for document in documents])]


def _studies(documents: Sequence[Document]) -> list[Element]:
    parts: list[Element] = []
    for document in documents:
        data = document.data
        heads, rows = study_tables.main(data)
        parts.append(
            _tables.table(f"{document.name}: rows", heads, [[_tables.sortable(word) for word in row] for row in rows])
        )
        parts.append(E("ul", *(E("li", note) for note in study_tables.notes(data))))
        for dataset, names, boxes, panels in _charts.study(data):
            caption = "Curves: the median over the runs of a row, up to the epoch that half of them reach."
            parts.append(
                E("figure", E("h3", dataset), *boxes, _charts.legend(names), _panels(panels), E("figcaption", caption),
                  commands([document]))
            )  # fmt: skip
        if data["comparisons"]:
            heads, rows = study_tables.differences(data)
            parts.append(E("h3", "Differences between rows"))
            parts.append(
                _tables.table(
                    f"{document.name}: differences", heads, [[_tables.sortable(word) for word in row] for row in rows]
                )
            )
        parts += _tables.candidates(document.name, data)
    return parts


def _verification(documents: Sequence[Document]) -> list[Element]:
    reports = [document.data for document in documents]
    explained = (
        "Each check compares a backend with a float64 statement of the same operation. A cell says whether the error "
        "is within its tolerance, and the largest error; the first failure of a column is nearest to its cause."
    )
    parts = [E("p", explained), _tables.verification_table(reports)]
    for dtype in sorted({report["dtype"] for report in reports}, reverse=True):
        picked = [document for document in documents if document.data["dtype"] == dtype]
        parts += [E("h3", dtype), _tables.matrix(dtype, [d.data for d in picked])]
        parts.append(commands(picked, "How to make this matrix again"))
    hints = [
        E("li", f"{place_of(report)}, {check['name']}: {check['hint']}")
        for report in reports
        for check in report["checks"]
        if not check["passed"] and check["hint"]
    ]
    notes = [E("li", f"{place_of(report)}: {report['note']}") for report in reports if report.get("note")]
    if hints or notes:
        parts.append(E("details", E("summary", "Hints and notes"), E("ul", *hints, *notes)))
    return parts


def _benchmark(documents: Sequence[Document]) -> list[Element]:
    parts: list[Element] = []
    for document in documents:
        for title, rows, bars in _charts.benchmark(document.data):
            facts = rows[0]["graph"]
            caption = (
                f"Median of a training step and its quartiles (error bars); {facts['stored_edges']:,} stored edges; "
                f"{_where(document.data)}. Blue: portgnn; grey: other libraries. {_disturbed(rows)}"
            )
            parts.append(
                E(
                    "figure",
                    E("h3", title),
                    *bars,
                    E("figcaption", caption),
                    commands([document]),
                    _tables.benchmark_table(f"{document.name}: {title}", rows),
                )
            )
        parts += [*_published(document.data), *_left_out(document.data)]
    return parts


def _published(run: dict[str, Any]) -> list[Element]:
    """What another measured of the recipe, on other machines and by another method, where the run carries it."""
    rows: list[list[_tables.Cell]] = [
        [each["machine"], each["on"], _tables.figure(each["ms"])] for each in run.get("published") or ()
    ]
    if not rows:
        return []
    heads = ("machine", "on", "ms per epoch, validation included")
    said = f"Recipe article, {run.get('published_method') or 'published by another'}"
    return [E("p", f"{said}."), _tables.table("Published by another", heads, rows)]


def _growth(documents: Sequence[Document]) -> list[Element]:
    parts: list[Element] = []
    for document in documents:
        names, panels = _charts.growth(document.data)
        rows = [row for row in document.data["rows"] if row.get("status") == "timed"]
        if panels:
            parts.append(
                E(
                    "figure",
                    _charts.legend(names),
                    _panels(panels),
                    E("figcaption", f"Both axes logarithmic; {_where(document.data)}. {_disturbed(rows)}"),
                    commands([document]),
                    _tables.growth_table(f"{document.name}: growth", rows),
                )
            )
        parts += _left_out(document.data)
    return parts


def _panels(panels: Sequence[Element]) -> Element:
    return E("div", *panels, class_="panels" if len(panels) % 2 else "panels pairs")


def _left_out(run: dict[str, Any]) -> list[Element]:
    """Rows that were not timed, with their reasons."""
    rows = [row for row in run["rows"] if row.get("status") not in ("timed", "measured")]
    said = dict.fromkeys(f"{row.get('status')}: {row.get('label')}: {row.get('reason')}" for row in rows)
    if not said:
        return []
    return [E("details", E("summary", f"Not timed: {len(said)}"), E("ul", *(E("li", text) for text in said)))]


def _where(run: dict[str, Any]) -> str:
    machine = run["machine"]
    made = f"{run['made'][:10]}, revision {str(run['git'].get('commit') or 'unknown')[:8]}"
    return f"{machine.get('processor')}, {machine.get('cores')} cores; {made}"


def _disturbed(rows: Sequence[dict[str, Any]]) -> str:
    busy = max((row["others_cores"] for row in rows if row.get("others_cores")), default=0.0)
    return f"Not quiet: other processes took up to {busy:.1f} cores." if busy > 0.15 else ""


def _machines(documents: Sequence[Document]) -> list[Element]:
    """The machines, the frameworks on each, and which file was made where."""
    machines: dict[tuple[str, ...], int] = {}
    software: dict[tuple[int, str, str], int] = {}
    files: list[Element] = []
    for document in documents:
        data = document.data
        facts = data.get("environment") or data.get("machine") or {}
        key = tuple(str(facts[name]) if facts.get(name) is not None else "–" for name in COLUMNS)
        number = machines.setdefault(key, len(machines) + 1)
        files.append(E("li", f"{document.name}: {WORDS[document.kind]}, machine {number if facts else 'not named'}"))
        found = {name: value for name, value in facts.items() if isinstance(value, dict)}
        found |= {name: worker.get("environment") or {} for name, worker in data.get("workers", {}).items()}
        for name, values in found.items():
            text = ", ".join(f"{key} {value}" for key, value in values.items() if value is not None)
            software[number, name, text] = software.get((number, name, text), 0) + 1
    machine_rows: list[list[_tables.Cell]] = [[(str(number), number), *key] for key, number in machines.items()]
    software_rows: list[list[_tables.Cell]] = [
        [(str(number), number), name, text or "–", _tables.figure(count, "d")]
        for (number, name, text), count in sorted(software.items())
    ]
    return [
        _tables.table(
            "Machines", ("no.", *("architecture" if name == "machine" else name for name in COLUMNS)), machine_rows
        ),
        _tables.table(
            "Frameworks and settings", ("machine no.", "framework", "versions and settings", "files"), software_rows
        ),
        E("details", E("summary", f"Files: {len(files)}"), E("ul", *files)),
    ]


WORDS = {"train": "training run", "verify": "verification", "study": "study", "benchmark": "benchmark",
         "growth": "growth benchmark"}  # fmt: skip
SECTIONS: tuple[tuple[str, str, str | None, Section], ...] = (
    ("training", "Training", "train", _training),
    ("studies", "Studies", "study", _studies),
    ("verification", "Verification", "verify", _verification),
    ("benchmark", "Benchmark", "benchmark", _benchmark),
    ("growth", "Growth", "growth", _growth),
    ("machines", "Hardware and versions", None, _machines),
)
