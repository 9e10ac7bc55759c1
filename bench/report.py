"""Result files as one HTML page that needs nothing else: `python bench/report.py RUN.json… --out page.html`."""

from __future__ import annotations

import argparse
import base64
import html
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import plots, table

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px }
td, th { border-bottom: 1px solid #ddd; padding: .25rem .6rem; text-align: right }
td:nth-child(-n+3), th:nth-child(-n+3) { text-align: left }
img { max-width: 100% }
pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; font-size: 12px }
"""

METHOD = """Every program of portgnn is verified before it is timed: each operation of its backend against a float64
statement of it, then its losses on this very graph against the NumPy reference. What fails is not timed. Each contender
runs in a process of its own; only one computes at a time; all take turns in rounds, in another order each round.
Warm-up, first epoch, training step and evaluation are timed apart, with the clock read after the device has finished.
"""


def charts(run: dict[str, Any]) -> dict[str, bytes]:
    """PNG images by name."""
    if run.get("kind") == "growth":
        return {"growth": plots.growth(run)} if _timed(run) else {}
    if run.get("kind") in ("article-compat", "startup"):
        return {}
    return {"bars": plots.bars(run)} if _timed(run) else {}


def page(runs: Sequence[dict[str, Any]], images: dict[str, bytes]) -> str:
    """The page. Images are inside it, and it names no address."""
    body = ["<h1>portgnn: benchmark</h1>", f"<p>{html.escape(METHOD)}</p>"]
    for name, content in images.items():
        encoded = base64.b64encode(content).decode("ascii")
        body.append(f'<p><img alt="{html.escape(name)}" src="data:image/png;base64,{encoded}"></p>')
    body.append(from_markdown(table.markdown(runs)))
    for run in runs:
        facts = {name: run.get(name) for name in ("made", "git", "machine", "options", "plan", "variables_dropped")}
        facts["workers"] = run.get("workers")
        body.append(f"<details><summary>Conditions of the run of {html.escape(run['made'])}</summary>")
        body.append(f"<pre>{html.escape(_pretty(facts))}</pre></details>")
    head = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>portgnn: benchmark</title><style>{STYLE}</style>'
    )
    return f"{head}<body>{''.join(body)}</body></html>\n"


def from_markdown(text: str) -> str:
    """The little Markdown that the table generator writes: headings, tables, lists and paragraphs."""
    parts: list[str] = []
    rows: list[str] = []

    def end_table() -> None:
        if rows:
            parts.append(f"<table>{''.join(rows)}</table>")
            rows.clear()

    for line in text.splitlines():
        if line.startswith("|"):
            if not set(line) <= set("|-: "):
                cell = "td" if rows else "th"
                cells = [_inline(part.strip()) for part in line.strip("|").split("|")]
                rows.append(f"<tr>{''.join(f'<{cell}>{part}</{cell}>' for part in cells)}</tr>")
            continue
        end_table()
        if line.startswith("### "):
            parts.append(f"<h2>{_inline(line[4:])}</h2>")
        elif line.startswith("- "):
            parts.append(f"<li>{_inline(line[2:])}</li>")
        elif line:
            parts.append(f"<p>{_inline(line)}</p>")
    end_table()
    return "".join(parts)


def write_report(run: dict[str, Any] | Sequence[dict[str, Any]], target: Path) -> list[Path]:
    """The page, and each chart as a PNG beside it."""
    runs = [run] if isinstance(run, dict) else list(run)
    images: dict[str, bytes] = {}
    for number, one in enumerate(runs):
        images |= {f"{name}-{number}" if name in images else name: png for name, png in charts(one).items()}
    written = []
    for name, content in images.items():
        path = target.with_name(f"{target.stem}-{name}.png")
        path.write_bytes(content)
        written.append(path)
    target.write_text(page(runs, images), encoding="utf-8")
    return [target, *written]


def _timed(run: dict[str, Any]) -> bool:
    return any(row.get("status") == "timed" for row in run["rows"])


def _inline(text: str) -> str:
    escaped = html.escape(text)
    for mark, tag in (("**", "strong"), ("`", "code")):
        pieces = escaped.split(mark)
        escaped = pieces[0] + "".join(
            f"<{'/' if number % 2 else ''}{tag}>{piece}" for number, piece in enumerate(pieces[1:])
        )
    return escaped


def _pretty(facts: dict[str, Any]) -> str:
    import json

    return json.dumps(facts, indent=1)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="report.py", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    problem = plots.require_matplotlib()
    if problem:
        parser.error(problem)
    try:
        runs = [table.read(path) for path in given.runs]
    except ValueError as error:
        parser.error(str(error))
    for path in write_report(runs, given.out):
        print(f"wrote {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
