"""The fuzzer, for some seconds; and that it would notice."""

from __future__ import annotations

import time
from pathlib import Path

import fuzz
import pytest
from readers import Reader

from portgnn.errors import PortgnnError


@pytest.mark.filterwarnings("ignore")
def test_damaged_inputs_load_or_are_refused() -> None:
    report = fuzz.fuzz(2000, seed=7)
    assert report.findings == []
    assert report.inputs >= 2000
    # It reaches beyond the first check of each reader: some damaged inputs still load.
    assert all(report.loaded[name] > 5 and report.refused[name] > 5 for name in report.refused)


def _hang(_: Path) -> None:
    time.sleep(60)


def _hoard(_: Path) -> None:
    bytearray(8 << 30)


def _stumble(_: Path) -> None:
    raise KeyError("adj_data")


def _mumble(_: Path) -> None:
    raise PortgnnError("")


@pytest.mark.parametrize(
    ("read", "finding"),
    [
        (_hang, "took longer than"),
        (_hoard, "MemoryError"),
        (_stumble, "KeyError: 'adj_data' (test_fuzz.py"),
        (_mumble, "without a message"),
    ],
)
def test_the_fuzzer_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: object, finding: str) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    limit = fuzz._limit_memory()
    import signal

    if limit is None or not hasattr(signal, "SIGALRM"):
        pytest.skip("this system lets no process limit its memory or time")
    before = signal.signal(signal.SIGALRM, fuzz._too_slow)
    report = fuzz.Report()
    try:
        fuzz.attempt("x", Reader({"f": b""}, read), {"f": b""}, tmp_path, report)  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGALRM, before)
        fuzz._restore_memory(limit)
    assert len(report.findings) == 1
    assert finding in report.findings[0]
