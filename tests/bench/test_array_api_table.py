"""The tables of the array API's page, out of result files that are written here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.studies import array_api


def _write(folder: Path, name: str, namespace: str, **more: Any) -> None:
    document = {
        "namespace": namespace, "framework": "frame", "version": "1.2", "standard": "2024.12", "suite": "abc",
        "examples": 50, "options": ["--an-option"], "counts": {"passed": 3, "skipped": 1}, "failures": {},
        "categories": {"linalg": {"passed": 2, "skipped": 1}, "fft": {"passed": 1}},
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(document | more))


def test_shares_and_reasons(tmp_path: Path) -> None:
    assert "No run" in array_api.passed(tmp_path)
    assert "No run" in array_api.gaps(tmp_path)
    _write(tmp_path, "a", "other.numpy")
    known = {"message": "no", "reason": "a reason", "upstream": "owner/name#7"}
    _write(
        tmp_path, "z", "portgnn torch float64",
        counts={"passed": 2, "failed": 2, "died": 1},
        categories={"linalg": {"passed": 2, "failed": 2, "died": 1}},
        failures={"t1": known, "t2": known, "t3": {"message": "no"}},
    )  # fmt: skip
    table = array_api.passed(tmp_path).splitlines()
    assert table[0] == "| tests of | torch<br>frame 1.2 | `other.numpy`<br>frame 1.2 |"
    assert "| fft | – | 1 |" in table
    assert "| linalg | 2 of 5 | 2 |" in table
    assert "| **all** | **2 of 5** | **3** |" in table
    assert "abc" in table[-1]
    assert "50 examples" in table[-1]
    rows = array_api.gaps(tmp_path).splitlines()[2:]
    assert rows == [
        "| torch | 2 | a reason | [owner/name#7](https://github.com/owner/name/issues/7) |",
        "| torch | 1 | no reason is written down | none found |",
    ]
