"""What libraries do where portgnn has code of its own: the evidence behind docs/decisions.md, tried anew.

    python tools/libraries.py

Needs what `make test` installs, pooch and filelock; python-json-logger is tried where it is there. Takes a minute.
Nothing is asked of the net: servers are this process's own.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

BODY = bytes(range(256)) * 400
Answer = Callable[[BaseHTTPRequestHandler], None]
TRIES: dict[str, Callable[[Path], Any]] = {}


def tried(name: str) -> Callable[[Callable[[Path], Any]], Callable[[Path], Any]]:
    def add(work: Callable[[Path], Any]) -> Callable[[Path], Any]:
        TRIES[name] = work
        return work

    return add


@contextmanager
def served(answer: Answer) -> Iterator[tuple[str, list[str | None]]]:
    """An address, and the Range of each request that came."""
    ranges: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ranges.append(self.headers.get("Range"))
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", ranges
    finally:
        server.shutdown()


def _body(handler: BaseHTTPRequestHandler, until: int | None = None, claimed: int = len(BODY)) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(claimed))
    handler.end_headers()
    handler.wfile.write(BODY[:until])


def _pooch(folder: Path, url: str, **options: Any) -> Any:
    import pooch

    pooch.get_logger().setLevel("CRITICAL")
    known = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
    return pooch.create(path=folder, base_url=url, registry={"file.bin": known}, **options)


@tried("pooch: a connection that breaks off in the middle, and then holds")
def broken(folder: Path) -> dict[str, Any]:
    turns = iter((len(BODY) // 2, None))
    with served(lambda handler: _body(handler, next(turns, None))) as (url, ranges):
        try:
            outcome = Path(_pooch(folder, url, retry_if_failed=2).fetch("file.bin")).name
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
    return {"outcome": outcome[:120], "ranges asked for": ranges}


@tried("pooch: two processes that start together")
def together(folder: Path) -> dict[str, Any]:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(1.0)
        _body(handler)

    with served(slow) as (url, ranges):
        code = "import sys; sys.path.insert(0, sys.argv[1]); import libraries as l; from pathlib import Path; "
        code += "l._pooch(Path(sys.argv[2]), sys.argv[3]).fetch('file.bin')"
        command = [sys.executable, "-c", code, str(Path(__file__).parent), str(folder), url]
        for process in [subprocess.Popen(command) for _ in range(2)]:
            process.wait()
    return {"requests": len(ranges)}


@tried("pooch: a server that sends a byte every 0.2 s, and timeout=0.5")
def dripping(folder: Path) -> dict[str, Any]:
    import pooch

    sent = [0]

    def drip(handler: BaseHTTPRequestHandler) -> None:
        _body(handler, 0)
        for each in BODY[:25]:
            handler.wfile.write(bytes([each]))
            sent[0] += 1
            time.sleep(0.2)

    began = time.perf_counter()
    with served(drip) as (url, _):
        try:
            _pooch(folder, url).fetch("file.bin", downloader=pooch.HTTPDownloader(timeout=0.5))
            outcome = "served"
        except Exception as error:
            outcome = type(error).__name__
    return {"outcome": outcome, "seconds": round(time.perf_counter() - began, 1), "bytes sent": sent[0]}


@tried("pooch: a body of 64 MiB where 100 KB are due")
def endless(folder: Path) -> dict[str, Any]:
    most = [0]

    def flood(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(64):
            handler.wfile.write(bytes(1 << 20))
            most[0] = max([most[0], *(each.stat().st_size for each in folder.iterdir())])

    with served(flood) as (url, _):
        try:
            _pooch(folder, url).fetch("file.bin")
            outcome = "served"
        except Exception as error:
            outcome = type(error).__name__
    return {"outcome": outcome, "MiB on the disk before it was refused": round(most[0] / 2**20)}


@tried("filelock: what a lock leaves beside the file, and what it says of its holder")
def lock(folder: Path) -> dict[str, Any]:
    import filelock

    with filelock.FileLock(folder / "run.lock"):
        held = (folder / "run.lock").read_bytes()
        try:
            with filelock.FileLock(folder / "run.lock", timeout=0.1, is_singleton=False):
                said = "two at a time"
        except filelock.Timeout as error:
            said = str(error)
    left = [each.name for each in folder.iterdir()]
    return {"left": left, "in the file": held.decode(), "said": said.replace(str(folder), "FOLDER")}


@tried("pyarrow.csv: what it says of a value that is no number, and of a row that is too short")
def faults(folder: Path) -> dict[str, Any]:
    from pyarrow import csv

    said = {}
    for name, text in (("a word", "id,x\na,1\n\nb,two\n"), ("a short row", "id,x\na,1\n\nb\n")):
        try:
            csv.read_csv(io.BytesIO(text.encode()), convert_options=csv.ConvertOptions(column_types={"x": "double"}))
            said[name] = "read"
        except Exception as error:
            said[name] = str(error)[:160]
    return said


@tried("CSV: 200,000 rows of id, label and 20 numbers, seconds")
def rows(folder: Path) -> dict[str, float]:
    draw = np.random.default_rng(0).random((200_000, 20)).astype(str)
    names = ",".join(["id", "label", *(f"x{number}" for number in range(20))])
    lines = (f"n{number},c{number % 7},{','.join(row)}" for number, row in enumerate(draw))
    path = folder / "nodes.csv"
    path.write_text("\n".join([names, *lines]))
    return _read_by_all(path)


@tried("CSV: 100 rows of 20,000 numbers, seconds")
def wide(folder: Path) -> dict[str, float]:
    draw = np.random.default_rng(0).random((100, 20_000)).round(3).astype(str)
    path = folder / "nodes.csv"
    names = ",".join(["id", *(f"x{number}" for number in range(20_000))])
    path.write_text("\n".join([names, *(f"n,{','.join(row)}" for row in draw)]))
    return _read_by_all(path)


def _read_by_all(path: Path) -> dict[str, float]:
    from pyarrow import csv

    from portgnn.datasets import _columns

    def text(name: str) -> bool:
        return name in ("id", "label")

    def by_csv() -> None:
        with _columns._opened(path) as file:
            _columns._with_csv(path, file, _columns._header(path, file), text, ())

    found = {}
    ways: dict[str, Callable[[], Any]] = {
        "portgnn": lambda: _columns.read_csv(path, text),
        "its csv path alone": by_csv,
        "pyarrow": lambda: csv.read_csv(path),
    }
    for name, work in ways.items():
        began = time.process_time()
        work()
        found[name] = round(time.process_time() - began, 2)
    return found


@tried("python-json-logger: a loss that is not a number")
def not_a_number(_: Path) -> str:
    try:
        from pythonjsonlogger.json import JsonFormatter
    except ImportError:
        return "not installed"
    record = logging.makeLogRecord({"msg": "epoch", "val_loss": math.nan})
    line: str = JsonFormatter().format(record)
    return line


@tried("matplotlib: the charts of one run of 200 epochs as SVG, beside portgnn's")
def charts(_: Path) -> dict[str, Any]:
    from portgnn._markup import render
    from portgnn.report import _charts

    losses = (1.9 * np.exp(-np.arange(200) / 60) + 0.01 * np.sin(np.arange(200))).tolist()
    run: dict[str, Any] = {"train_loss": losses, "val_loss": losses, "val_accuracy": losses, "best_epoch": 199}
    began = time.process_time()
    own = "".join(render(chart) for chart in _charts.curves(run))
    seconds = time.process_time() - began
    clock = time.process_time()
    import matplotlib
    from matplotlib.figure import Figure

    imported, theirs = time.process_time() - clock, []
    clock = time.process_time()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "portgnn"}):
        for curves in (("train_loss", "val_loss"), ("val_accuracy",)):
            figure = Figure(figsize=(3.75, 2.6))
            axes = figure.subplots()
            for name in curves:
                axes.plot(range(1, 201), run[name], label=name)
            target = io.StringIO()
            figure.savefig(target, format="svg", metadata={"Date": None})
            theirs.append(target.getvalue())
    drawn = "".join(theirs)
    return {
        "bytes": [len(own), len(drawn)],
        "ms": [round(1e3 * seconds, 1), round(1e3 * (time.process_time() - clock))],
        "ms to import matplotlib": round(1e3 * imported),
        "takes the page's colour (currentColor)": ["currentColor" in own, "currentColor" in drawn],
        "colours by CSS variables": ["var(--" in own, "var(--" in drawn],
        "has a role and a name": ["role=" in own and "aria-label" in own, "role=" in drawn],
        "ids that two charts of one page share": _shared_ids(theirs),
    }


def _shared_ids(pictures: list[str]) -> int:
    import re

    first, second = (set(re.findall(r'id="([^"]+)"', picture)) for picture in pictures)
    return len(first & second)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ.pop("http_proxy", None)
    found = {}
    for name, work in TRIES.items():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = work(Path(folder))
        print(f"{name}: {json.dumps(found[name])}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from bench.harness.ending import ended

    ended(main)
