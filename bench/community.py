"""Results that others measured (bench/results/community): checks each against the schema, and prints them as a table.

    python bench/community.py [FILE.json ...]

Exit status 1 names each file that is not as `portgnn bench --share` writes it, and what is wrong with it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from portgnn.report.documents import number

FOLDER = Path(__file__).resolve().parent / "results" / "community"
SCHEMA = FOLDER / "schema.json"
LARGEST_BYTES = 200_000
"""Far beyond what any machine's devices come to."""


def problem(path: Path) -> str:
    """What is wrong with a file, in one line; "" where nothing is."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            return f"is larger than {LARGEST_BYTES:,} bytes"
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return f"is not JSON: {error}"
    wrong = next(iter(validator().iter_errors(found)), None)
    if wrong is not None:
        return f"{'/'.join(map(str, wrong.absolute_path)) or 'the document'}: {wrong.message[:200]}"
    return "is of a run that was ended early" if found["interrupted"] else ""


def validator() -> Any:
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def table(found: dict[str, dict[str, Any]]) -> str:
    """Timed rows of all files, by name: machine, backend, device, recipe, rows, ms a step and with validation."""
    lines = [
        "| machine | backend | device | recipe | rows | ms/step | + validation |",
        "|---|---|---|---|---|---:|---:|",
    ]
    for document in found.values():
        facts = document["machine"]
        machine = " + ".join([facts["processor"] or "unnamed", *facts["accelerators"]]) + f", {facts['cores']} cores"
        rows = [row for row in document["rows"] if row["status"] == "timed"]
        for row in sorted(rows, key=lambda row: (row["recipe"] or "", row["train_ms"]["median"])):
            step = row["train_ms"]["median"]
            both = step + row["evaluate_ms"]["median"]
            cells = [machine, row["backend"], row["device"], row["recipe"], row["rows"], number(step), number(both)]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    paths = [Path(text) for text in arguments] or sorted(p for p in FOLDER.glob("*.json") if p != SCHEMA)
    wrong = {path: said for path in paths if (said := problem(path))}
    for path, said in wrong.items():
        print(f"{path}: {said}", file=sys.stderr)
    good = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in paths if path not in wrong}
    print(table(good))
    return 1 if wrong else 0


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main, sys.argv[1:])
