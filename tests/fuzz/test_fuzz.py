"""The fuzzer and the small files that promise much, for some seconds; and that both would notice."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import bombs
import fuzz
import pytest
from readers import Reader

from portgnn.errors import PortgnnError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are limited and measured as Linux does it")


@pytest.mark.filterwarnings("ignore")
def test_damaged_inputs_load_or_are_refused() -> None:
    tallies = fuzz.fuzz(1500, seed=7)
    assert [finding for tally in tallies.values() for finding in tally.findings] == []
    rows = {name: tally.row() for name, tally in tallies.items()}
    assert sum(row["inputs"] for row in rows.values()) >= 1450
    # It reaches beyond the first check of each reader: some damaged inputs still load.
    assert {name for name, row in rows.items() if not (row["loaded"] and row["refused"])} == set()


def _hang(_: Path) -> None:
    time.sleep(60)


def _hoard(_: Path) -> None:
    bytearray(8 << 30)


def _stumble(_: Path) -> None:
    raise KeyError("adj_data")


def _mumble(_: Path) -> None:
    raise PortgnnError("")


def _talk(_: Path) -> None:
    raise PortgnnError("a\nb")


def _die(_: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _panic(_: Path) -> None:
    raise BaseException("a panic")


@pytest.mark.parametrize(
    ("read", "finding"),
    [
        (_hang, "took longer than"),
        (_hoard, "MemoryError"),
        (_stumble, "KeyError: 'adj_data' (test_fuzz.py"),
        (_mumble, "a message of 0 letters"),
        (_talk, "a message of 3 letters"),
        (_die, "the process ended with -11"),
        (_panic, "BaseException: a panic"),
    ],
)
def test_the_fuzzer_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Any, finding: str) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    found = list(fuzz.run_range("x", Reader({"f": b"text"}, read), 0, range(2), tmp_path / "x"))
    assert [number for number, _ in found] == [0, 1]
    assert all(finding in outcome.finding for _, outcome in found)


SAMPLE = (
    "csv_one_long_id", "csv_one_long_class", "npz_dense_bytes", "npz_wide_features", "npz_many_names",
    "npz_overlapping_members", "parquet_one_text_many_times", "parquet_fixed_width_of_null", "parquet_page_that_lies",
    "graphml_defaults", "graphml_graphs", "gml_keys",
    "linqs_pax_sparse", "linqs_one_long_id", "pickle_shared_lists", "pickle_tuples_in_tuples",
    "pickle_lists_of_text", "pickle_many_arrays", "pickle_wide_matrix", "planetoid_one_far_test_node",
    "toml_dotted_key", "toml_long_integer", "toml_long_hexadecimal", "report_many_checks", "disk_header_counts",
    "disk_array_promises",
    "odd_pipe", "odd_socket", "odd_device", "odd_folder", "odd_loop",
)  # fmt: skip
"""Those that are quickly made."""


@pytest.mark.parametrize("name", SAMPLE)
def test_small_files_take_little(name: str, tmp_path: Path) -> None:
    found = bombs.run(name, tmp_path / name)
    assert found["outcome"] in ("loaded", "refused"), found
    assert found["file_bytes"] < bombs.LARGEST
    assert found["seconds"] < bombs.SECONDS, found
    # Of the frameworks that other tests have imported by now the reader knows nothing.
    assert found["peak_bytes"] - found["before_bytes"] < bombs.MEMORY - (150 << 20), found
