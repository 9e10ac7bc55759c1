"""axe-core's rules over every page of the built site and over a report, in light and dark, on a desk and on a phone.

    make docs
    python tools/accessibility.py --axe node_modules/axe-core/axe.min.js --json bench/results/accessibility.json

Needs playwright and a Chromium. Nothing is fetched: the site is served by this program. Also told: what a page says on
the console, and how far it is wider than its window. Ends with status 1 where anything is found.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [] if str(ROOT) in sys.path else [str(ROOT)]

from portgnn.report import page  # noqa: E402
from portgnn.report.documents import read  # noqa: E402
from portgnn.report.printing import browser  # noqa: E402

SIZES = {"desk": (1280, 900), "phone": (360, 740)}
SCHEMES = ("light", "dark")
REPORTED = ("verify/*-float32.json", "cora-*.json")
RUN = """axe.run().then(found => found.violations.map(each => ({
    rule: each.id, impact: each.impact, nodes: each.nodes.length, first: each.nodes[0].html.slice(0, 200) })))"""
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()


def pages(site: Path) -> list[str]:
    """All but copies of source files, which are one kind of page: the first stands for them."""
    found = sorted(path.parent.relative_to(site).as_posix() for path in site.rglob("index.html"))
    sources = [name for name in found if name.startswith("source/")]
    return [name for name in found if name not in sources[1:]]


def examined(view: Any, axe: str) -> dict[str, Any]:
    view.evaluate(axe)
    return {"violations": view.evaluate(RUN), "wider": view.evaluate(WIDER)}


def examine(site: Path, axe: str, chromium: str) -> list[dict[str, Any]]:
    from playwright.sync_api import sync_playwright

    rows = []
    with sync_playwright() as driver, served(site) as address:
        window, names = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"]), pages(site)
        for scheme in SCHEMES:
            for size, (width, height) in SIZES.items():
                view = window.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                said: list[str] = []
                view.on("console", lambda message, said=said: said.append(message.text))
                for name in names:
                    said.clear()
                    view.goto(f"{address}{'' if name == '.' else f'{name}/'}", wait_until="load")
                    rows.append(
                        {"page": name, "scheme": scheme, "size": size} | examined(view, axe) | {"said": [*said]}
                    )
                view.close()
        window.close()
    return rows


def with_report(site: Path) -> None:
    """A report of committed results, as one more page."""
    results = [path for pattern in REPORTED for path in sorted((ROOT / "bench" / "results").glob(pattern))]
    (site / "report").mkdir(exist_ok=True)
    (site / "report" / "index.html").write_text(page([read(path) for path in results]), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--axe", type=Path, required=True, help="axe.min.js of npm's axe-core")
    made.add_argument("--site", type=Path, default=ROOT / "site")
    made.add_argument("--chromium", help="by default PORTGNN_BROWSER, or the one that is found")
    made.add_argument("--json", type=Path)
    given = made.parse_args(arguments)
    if not (given.site / "index.html").is_file():
        made.error(f"{given.site} holds no site; type: make docs")
    chromium = given.chromium or browser()
    with_report(given.site)
    rows = examine(given.site, given.axe.read_text(encoding="utf-8"), chromium)
    found = [row for row in rows if row["violations"] or row["wider"] > 0 or row["said"]]
    for row in found:
        print(f"{row['page']} ({row['scheme']}, {row['size']}): {row['violations']} {row['wider']} {row['said']}")
    print(f"{len(rows)} views of {len({row['page'] for row in rows})} pages, {len(found)} with a finding")
    if given.json is not None:
        given.json.write_text(json.dumps({"views": len(rows), "findings": found}, indent=1) + "\n", encoding="utf-8")
    return 1 if found else 0


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
