"""`portgnn bench`: which backend is fastest here, as tables and bars."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portgnn._system.files import check_writable, write_atomically
from portgnn.benchmark import here
from portgnn.benchmark.progress import Progress
from portgnn.benchmark.published import METHOD
from portgnn.benchmark.quiet import BUSY
from portgnn.benchmark.sharing import shared
from portgnn.benchmark.timing import FEWEST, Plan
from portgnn.cli._grouped import STDOUT
from portgnn.cli._output import announce, columns_of, print_json, print_line, print_table
from portgnn.errors import BackendError, ConfigError
from portgnn.report.documents import number, recognise, timed_groups

INTERRUPTED = 130
WIDEST, LONGEST_LABEL, SHORTEST_BAR = 100, 34, 10
"""Columns of a chart, of the names before its bars, and of the bars where a terminal leaves no room for more."""
EIGHTHS = " ▏▎▍▌▋▊▉"
HEADINGS = {
    "pyg": "preset pyg (PyTorch Geometric's benchmark)",
    "article": "preset article, dense as published",
}


def run(  # long: an option is a parameter
    dataset: str | None,
    backends: Sequence[str] | None,
    devices: Sequence[str] | None,
    threads: int | None,
    seconds: float | None,
    quick: bool,
    *,
    json_file: str | None = None,
    report: Path | None = None,
    share: Path | None = None,
    plan: Plan | None = None,
) -> int:
    """Returns the exit status: 0, 1 where a backend failed, 130 after Ctrl-C, which keeps what was measured."""
    written = None if json_file in (None, STDOUT) else Path(str(json_file))
    _check_outputs(written, report, share)
    if quick and seconds is not None:
        raise ConfigError("--quick is --seconds 60; give one of the two")
    budget = seconds if seconds is not None else here.QUICK if quick else here.FULL
    asked = here.Request(dataset, backends or None, devices or None, threads, budget)
    as_json = json_file == STDOUT
    with Progress(quiet=as_json, seconds=budget) as progress:
        found = here.run(asked, progress, announce, plan)
    failed = [row for row in found["rows"] if row["status"] in ("refused", "failed")]
    if found["fastest"] is None and not failed and not found.get("interrupted"):
        raise BackendError("; ".join(dict.fromkeys(f"{row['label']}: {row['reason']}" for row in found["rows"])))
    if found["fastest"] is not None:
        _write(found, written, report, share)
    if as_json:
        print_json(found)
    else:
        show(found)
    return INTERRUPTED if found.get("interrupted") else 1 if failed else 0


def _check_outputs(*paths: Path | None) -> None:
    """Raises ConfigError, before minutes are spent, for a file that cannot be written or that two options name."""
    there = [path for path in paths if path is not None]
    for path in there:
        check_writable(path)
    if len({path.resolve() for path in there}) < len(there):
        raise ConfigError("--json, --report and --share name the same file; give each its own")
    report = paths[1]
    if report is not None and report.suffix not in (".html", ".htm"):
        raise ConfigError(f"--report {report} must end in .html")


def _write(found: dict[str, object], written: Path | None, report: Path | None, share: Path | None) -> None:
    if written is not None:
        write_atomically(written, (json.dumps(found, indent=1) + "\n").encode())
        announce(f"written to {written}")
    if report is not None:
        from portgnn.report import page

        document = recognise(json.loads(json.dumps(found)), str(written or here.MAKER))
        write_atomically(report, page([document]).encode("utf-8", "replace"))
        announce(f"written to {report}")
    if share is not None:
        write_atomically(share, (json.dumps(shared(found), indent=1) + "\n").encode())
        announce(f"written to {share}: look at it, then attach it to an issue. It names no host, user or path.")


def show(found: dict[str, Any]) -> None:
    """Tables, charts, what was not timed, and the fastest backend."""
    for (dataset, recipe, _), rows in timed_groups(found).items():
        rows = sorted(rows, key=lambda row: float(row["train_ms"]["median"]))
        facts = rows[0]["graph"]
        print_line(f"{dataset} ({facts['nodes']:,} nodes, {facts['stored_edges']:,} stored edges), {HEADINGS[recipe]}")
        print()
        _table(rows)
        print()
        published = found["published"] if recipe == "article" else []
        _chart(rows, published)
        print()
        if published:
            print_line(f"¹ {METHOD}.")
            print()
    _not_timed(found)
    _closing(found)


def _table(rows: Sequence[dict[str, Any]]) -> None:
    cells = []
    for row in rows:
        ms, accuracy = row["train_ms"], row.get("test_accuracy")
        cells.append(
            (
                row["contender"],
                row["device"],
                row["options"]["rows"],
                number(ms["median"]),
                f"{number(ms['q1'])}-{number(ms['q3'])}",
                number(_with_validation(row)),
                number(row["first_epoch_ms"]),
                "-" if accuracy is None else f"{accuracy:.3f}",
                f"{row['verification']['largest_error']:.0e}",
            )
        )
    heads = ("backend", "device", "rows", "ms/step", "middle half", "+ validation", "first", "accuracy", "off by")
    print_table(heads, cells, give_up=("off by", "first", "middle half", "accuracy"))


def _with_validation(row: dict[str, Any]) -> float:
    return float(row["train_ms"]["median"] + row["evaluate_ms"]["median"])


@dataclass(frozen=True)
class Bar:
    """ms: its length. fill: full, for what was measured here; else of another's."""

    label: str
    ms: float
    full: bool


def _chart(rows: Sequence[dict[str, Any]], published: Sequence[dict[str, Any]]) -> None:
    """Bars from 0, so that twice as long is twice the time."""
    if published:
        print_line("ms of an epoch, validation included; shaded: published, other machines ¹")
        bars = [Bar(_label(row), _with_validation(row), True) for row in rows]
        bars += [Bar(f"{each['machine']}, {each['on']} ¹", each["ms"], False) for each in published]
    else:
        print_line("ms of a training step")
        bars = [Bar(_label(row), row["train_ms"]["median"], True) for row in rows]
    for line in chart(sorted(bars, key=lambda bar: bar.ms), min(columns_of(sys.stdout), WIDEST), sys.stdout.encoding):
        print_line(line)


def _label(row: dict[str, Any]) -> str:
    rows = row["options"]["rows"]
    plain = rows == "needed" or row["recipe"] == "article"
    return f"{row['contender']} {row['device']}" + ("" if plain else f", {rows} rows")


def chart(bars: Sequence[Bar], width: int, encoding: str | None) -> list[str]:
    """A line a bar, none longer than the width: name, bar, milliseconds."""
    labels = [bar.label if len(bar.label) <= LONGEST_LABEL else bar.label[: LONGEST_LABEL - 1] + "…" for bar in bars]
    names, figures = max(map(len, labels)), [number(bar.ms) for bar in bars]
    room = max(width - names - max(map(len, figures)) - 3, SHORTEST_BAR)
    longest = max(bar.ms for bar in bars)
    blocks = _can(encoding, EIGHTHS + "█▒")
    lines = []
    for label, bar, figure in zip(labels, bars, figures, strict=True):
        eighths = max(round(bar.ms / longest * room * 8), 1)
        if not blocks:
            drawn = ("#" if bar.full else "-") * max(round(eighths / 8), 1)
        elif bar.full:
            drawn = "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
        else:
            drawn = "▒" * max(round(eighths / 8), 1)
        lines.append(f"{label:<{names}}  {drawn} {figure}")
    return lines


def _can(encoding: str | None, text: str) -> bool:
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _not_timed(found: dict[str, Any]) -> None:
    """A line for each backend that is missing, failed, or had no turn."""
    said = []
    for row in found["rows"]:
        place = f"{row['label'].removeprefix('portgnn ')}" + (f", {row['recipe']}" if row.get("recipe") else "")
        if row["status"] == "absent":
            said.append(f"Not here: {place}: {row['reason']}")
        elif row["status"] == "refused":
            said.append(f"FAILS verification, so not timed: {place}: {row['reason']}")
        elif row["status"] != "timed":
            said.append(f"Not timed: {place}: {row['reason']}")
    for line in dict.fromkeys(said):
        print_line(line)
    rounds = [len(row["train_ms_rounds"]) for row in found["rows"] if row.get("train_ms_rounds")]
    if rounds and min(rounds) < FEWEST:
        print_line("One round only, since the time was up: the middle half is of that round's readings.")
    busy = max((row["others_cores"] for row in found["rows"] if row.get("others_cores")), default=0.0)
    if busy > BUSY:
        print_line(f"Not quiet: other processes kept up to {busy:.1f} cores busy. Ratios hold better than times.")


def _closing(found: dict[str, Any]) -> None:
    best = here.fastest(found)
    if found.get("interrupted"):
        announce("Ended by Ctrl-C; " + ("what was measured until then is above." if best else "nothing was measured."))
    if best is None:
        return
    equal = [f"{row['contender']} on {row['device']}" for row in here.as_fast(found, best)]
    also = f"; as fast within what was seen: {', '.join(dict.fromkeys(equal))}" if equal else ""
    print_line(
        f"Fastest here: {best['contender']} on {best['device']}, {number(best['train_ms']['median'])} ms a step of "
        f"{best['recipe']} on {best['dataset']}{also}."
    )
    words = ["portgnn", "train", "--backend", best["contender"], "--device", best["device"], "--preset", best["recipe"]]
    announce("Next, train on it:", shlex.join([*words, "--dataset", found["dataset"]]))
