"""Every fault that 0.1 was found with, as a snippet, and what it does today.

python tools/evidence [--base CHECKOUT] [--only REGEX] [--file FILE.json]

A snippet's outcome is what it returns or raises. `--base` runs the same snippets on another checkout of portgnn, with
this interpreter, and shows both. The exit status is 1 where an outcome of this checkout is not the right one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from case import CASES, Case

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 4 << 30
"""Bytes that a snippet with a process of its own may take, so that the machine survives an older version."""
SECONDS = 60


def outcome(one: Case) -> str:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = str(one.run(Path(folder)))
        except BaseException as error:
            found = f"{type(error).__name__}: {error}"
        finally:
            os.chdir("/")
    return " ".join(found.replace(folder, "FOLDER").split())


def work(chosen: Sequence[int]) -> None:
    """Outcomes of some cases, a line of JSON each."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for number in chosen:
        print(json.dumps([number, outcome(CASES[number])]), file=out, flush=True)


def outcomes(checkout: Path, chosen: Sequence[int]) -> dict[int, str]:
    """The outcomes of the chosen cases on a checkout."""
    together = [number for number in chosen if not CASES[number].apart]
    found = _process(checkout, together)
    for number in chosen:
        if CASES[number].apart:
            found |= _process(checkout, [number])
    return found


def _process(checkout: Path, numbers: Sequence[int]) -> dict[int, str]:
    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    if not numbers:
        return {}
    apart = len(numbers) == 1 and CASES[numbers[0]].apart
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(checkout), str(checkout / "backends")]),
        "OMP_NUM_THREADS": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).parent), "--work", json.dumps(list(numbers))],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=bounded if apart else None,
        text=True,
    ) as worker:
        try:
            said, complaint = worker.communicate(timeout=SECONDS if apart else None)
        except subprocess.TimeoutExpired:
            worker.kill()
            said, complaint = "", f"no end within {SECONDS} s"
    took = time.perf_counter() - started
    found = dict(json.loads(line) for line in said.splitlines())
    for number in numbers:
        found.setdefault(number, f"ended by signal {-worker.returncode}: {' '.join(complaint.split())[-200:]}")
    if apart and took > 20:
        found[numbers[0]] += f" (after {took:.0f} s)"
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, metavar="CHECKOUT", help="another checkout of portgnn")
    parser.add_argument("--only", default="", metavar="REGEX", help="cases whose number or text matches")
    parser.add_argument("--file", type=Path, metavar="FILE.json", help="write the table as JSON")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    import faults
    import silent  # noqa: F401 (their snippets go into CASES)

    del faults
    if options.work:
        work(json.loads(options.work))
        return 0
    chosen = [at for at, one in enumerate(CASES) if re.search(options.only, f"{one.item} {one.what}", re.IGNORECASE)]
    today = outcomes(ROOT, chosen)
    before = outcomes(options.base.resolve(), chosen) if options.base else {}
    rows, wrong = [], 0
    for at in chosen:
        one = CASES[at]
        row: dict[str, Any] = {"item": one.item, "input": one.what}
        if before:
            row |= {"before": before[at][:400], "before_right": bool(re.search(one.wanted, before[at]))}
        row |= {"today": today[at][:400], "right": bool(re.search(one.wanted, today[at]))}
        rows.append(row)
        wrong += not row["right"]
        print(f"{'ok   ' if row['right'] else 'WRONG'} {one.item:4} {one.what}")
        if before:
            print(f"           0.1:   {before[at][:200]}")
        print(f"           today: {today[at][:200]}")
    print(f"{len(rows)} snippets, {wrong} not as they should be")
    if options.file:
        text = json.dumps({"schema_version": 1, "cases": rows}, indent=1, ensure_ascii=False)
        # Tracebacks name where the checkouts and their environments lie, which says nothing elsewhere.
        options.file.write_text(re.sub(r"(?<![\w:/])(?:/[\w.-]+)+/", "", text) + "\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
