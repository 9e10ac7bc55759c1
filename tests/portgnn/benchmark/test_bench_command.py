"""`portgnn bench`: what it times, shows, writes and keeps, and what it says of wrong input."""

from __future__ import annotations

import getpass
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from portgnn import cli
from portgnn.benchmark import here
from portgnn.benchmark.progress import Progress
from portgnn.benchmark.runner import Options, Runner
from portgnn.benchmark.sharing import shared
from portgnn.benchmark.timing import Entry, Plan, run_rounds
from portgnn.cli import _benchmark
from portgnn.cli._benchmark import Bar, chart
from portgnn.report.documents import command, recognise

Streams = pytest.CaptureFixture[str]
SHORT = Plan(
    rounds=2, chunk=2, epochs=4, turn_seconds=0.05, evaluations=2, pause=0.0, quiet_wait=0.0, warm_seconds=0.0,
    verify_epochs=3, accuracy_seconds=5.0, seconds=600.0, operations=False,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plan, "within", classmethod(lambda cls, seconds: SHORT))


def _row(backend: str, ms: float, recipe: str = "pyg", **more: Any) -> dict[str, Any]:
    spread = {"median": ms, "q1": ms * 0.99, "q3": ms * 1.01, "min": ms * 0.9, "n": 6}
    return {
        "contender": backend, "kind": "portgnn", "title": f"portgnn {backend}", "label": f"portgnn {backend} cpu",
        "device": "cpu", "dataset": "cora", "recipe": recipe, "recipe_values": {"hidden": 16}, "status": "timed",
        "graph": {"nodes": 2708, "stored_edges": 10556, "features": 1433, "classes": 7}, "train_ms": spread,
        "options": {"form": "csr", "rows": "needed"}, "evaluate_ms": spread, "first_epoch_ms": ms * 3,
        "test_accuracy": 0.81, "verification": {"passed": True, "largest_error": 1e-7}, "others_cores": 0.0,
    } | more  # fmt: skip


def _found(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A result with these rows."""
    return {
        "format": "portgnn-bench", "version": 1, "made": "2026-11-27T00:00:00+00:00", "maker": here.MAKER,
        "machine": {"portgnn": "0.2.0", "processor": "A processor @ 2.0GHz", "cores": 2, "system": "Linux",
                    "machine": "x86_64", "python": "3.12.1", "rosetta": False},
        "options": {"threads": None}, "plan": {"seconds": 180.0}, "git": {"commit": None}, "workers": {},
        "rows": list(rows), "dataset": "cora",
        "published": [{"machine": "M1 Pro", "on": "MLX", "ms": 9.02}], "published_method": "by another method",
    } | more  # fmt: skip


def test_a_run_shows_tables_and_bars_and_names_the_fastest(tmp_path: Path, capsys: Streams) -> None:
    out, page, share = tmp_path / "run.json", tmp_path / "run.html", tmp_path / "share.json"
    asked = ["bench", "--backend", "numpy", "--backend", "cupy", "--dataset", "karate"]
    status = cli.main([*asked, "--json", str(out), "--report", str(page), "--share", str(share)])
    said, told = capsys.readouterr()
    found = json.loads(out.read_text())
    timed = [row for row in found["rows"] if row["status"] == "timed"]
    assert status == 0, told
    assert {(row["recipe"], row["options"]["form"], row["options"]["rows"]) for row in timed} == {
        ("pyg", "csr", "needed"), ("pyg", "csr", "all"), ("article", "dense", "all"),
    }  # fmt: skip
    assert all(row["verification"]["passed"] and row["test_accuracy"] > 0.2 for row in timed)
    assert all(len(row["train_ms_rounds"]) == 2 for row in timed)
    assert "karate (34 nodes" in said
    assert "M3 Max, MLX ¹" in said
    assert "published by another" in said
    assert "Fastest here: numpy on cpu" in said
    assert "portgnn train --backend numpy --device cpu --preset pyg --dataset karate" in told
    if not any(row["contender"] == "cupy" for row in timed):
        assert 'Not here: cupy: not installed; pip install "portgnn[cupy]"' in said
    assert "M3 Max" in page.read_text()
    assert "portgnn bench --dataset karate --backend numpy" in page.read_text()
    assert cli.main(["report", str(out), "--out", str(tmp_path / "again.html")]) == 0
    public = share.read_text()
    assert json.loads(public)["rows"][0]["backend"]
    for personal in (
        socket.gethostname(),
        platform.node(),
        getpass.getuser(),
        str(Path.home()),
        str(tmp_path),
        "karate",
    ):
        assert personal in ("", "root") or personal not in public


def test_json_alone_is_for_stdout(monkeypatch: pytest.MonkeyPatch, capsys: Streams) -> None:
    monkeypatch.setattr(here, "FORMS", {"pyg": ("csr",)})
    assert cli.main(["bench", "--dataset", "karate", "--json", "--backend", "numpy"]) == 0
    said, told = capsys.readouterr()
    assert json.loads(said)["fastest"]["contender"] == "numpy"
    assert told == ""


def test_a_wrong_backend_is_shown_as_failed_and_not_timed(capsys: Streams) -> None:
    refused = {"status": "refused", "reason": "the training loss of epoch 0 differs by 1e-01", "recipe": "pyg"}
    _benchmark.show(_found(_row("numpy", 1.0), {"label": "portgnn other cpu", "contender": "other"} | refused))
    said = capsys.readouterr().out
    assert "FAILS verification, so not timed: other cpu, pyg: the training loss of epoch 0 differs" in said
    assert "Fastest here: numpy on cpu, 1.00 ms" in said


def test_the_fastest_is_of_the_first_recipe_and_its_equals_are_named(capsys: Streams) -> None:
    rows = [_row("a", 1.0), _row("b", 1.005), _row("c", 2.0), _row("d", 0.1, "article")]
    assert here.fastest(_found(*rows)) is rows[0]
    _benchmark.show(_found(*rows))
    said = capsys.readouterr().out
    assert "Fastest here: a on cpu, 1.00 ms a step of pyg on cora; as fast within what was seen: b on cpu." in said


@pytest.mark.parametrize("width", [60, 80, 120])
def test_bars_fit_and_are_as_long_as_they_take(width: int) -> None:
    bars = [Bar("a", 1.0, True), Bar("b", 2.0, True), Bar("a backend with a name that is longer than most", 4.0, False)]
    lines = chart(bars, width, "utf-8")
    assert max(map(len, lines)) <= width
    lengths = [len(line.split()[-2]) for line in lines]
    assert lengths == pytest.approx([lengths[2] / 4, lengths[2] / 2, lengths[2]], abs=1)
    assert set(lines[2].split()[-2]) == {"▒"}
    assert [line.split()[-1] for line in lines] == ["1.00", "2.00", "4.00"]
    plain = chart(bars, width, "ascii")
    assert plain[1].count("#") == pytest.approx(2 * plain[0].count("#"), abs=1)
    assert "-----" in plain[2]


class _Impatient(Progress):
    """Somebody who presses Ctrl-C when so many turns are done."""

    left_to_go = 3

    def advance(self, now: str) -> None:
        self.left_to_go -= 1
        if self.left_to_go == 0:
            raise KeyboardInterrupt


def test_what_was_measured_until_ctrl_c_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Streams
) -> None:
    monkeypatch.setattr(_benchmark, "Progress", _Impatient)
    out = tmp_path / "run.json"
    assert cli.main(["bench", "--backend", "numpy", "--dataset", "karate", "--json", str(out)]) == 130
    found = json.loads(out.read_text())
    assert found["interrupted"]
    assert [row["recipe"] for row in found["rows"] if row["status"] == "timed"] == ["pyg", "pyg"]
    said, told = capsys.readouterr()
    assert "Ended by Ctrl-C; what was measured until then is above." in told
    assert "Fastest here: numpy" in said


def test_nothing_is_written_where_nothing_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_Impatient, "left_to_go", 1)
    monkeypatch.setattr(_Impatient, "say", lambda self, message: self.advance(""))
    monkeypatch.setattr(_benchmark, "Progress", _Impatient)
    out = tmp_path / "run.json"
    assert cli.main(["bench", "--backend", "numpy", "--dataset", "karate", "--json", str(out)]) == 130
    assert not out.exists()


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="a terminal's Ctrl-C goes to a process group")
def test_ctrl_c_of_a_terminal_leaves_the_workers_to_the_command(tmp_path: Path) -> None:
    """The signal goes to the whole group; a worker that it reached would be gone, and its readings with it."""
    code = (
        "import sys, time; from portgnn.benchmark.client import WorkerProcess, WorkerSpec\n"
        "worker = WorkerProcess(WorkerSpec('numpy', 'portgnn.benchmark.own', 'numpy')); worker.ask('hello')\n"
        "print('ready', flush=True)\n"
        "try: time.sleep(30)\n"
        "except KeyboardInterrupt: print(worker.ask('hello')['devices'], flush=True)\n"
        "worker.close()"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=tmp_path
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    time.sleep(0.1)
    os.killpg(started.pid, signal.SIGINT)
    assert started.communicate(timeout=30)[0] == "['cpu']\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--backend", "nunpy"], "unknown backend 'nunpy'. Did you mean 'numpy'"),
        (["--backend", "numpy", "--device", "cuda"], "no backend has device 'cuda' here; there are cpu"),
        (["--quick", "--seconds", "5"], "--quick is --seconds 60; give one of the two"),
        (["--seconds", "0"], "--seconds must be above 0"),
        (["--seconds", "nan"], "--seconds must be above 0"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--report", "page.txt"], "must end in .html"),
        (["--report", "nowhere/page.html"], "nowhere"),
        (["--json", "one.json", "--share", "one.json"], "name the same file"),
        (["--dataset", "no-such-graph"], "There is no dataset 'no-such-graph'"),
        (["--jsn"], "Did you mean --json? Type: portgnn bench --help"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Streams
) -> None:
    monkeypatch.chdir(tmp_path)
    given = words if "--dataset" in words else [*words, "--dataset", "karate"]
    assert cli.main(["bench", *given]) == 2
    said, told = capsys.readouterr()
    errors = [line for line in told.splitlines() if line.startswith("error: ")]
    assert said == ""
    assert len(errors) == 1
    assert message in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_a_graph_without_a_split_is_refused(tmp_path: Path, capsys: Streams) -> None:
    (tmp_path / "nodes.csv").write_text("id,label,x\n1,a,0.5\n2,b,0.25\n3,a,1\n")
    (tmp_path / "edges.csv").write_text("source,target\n1,2\n2,3\n")
    assert cli.main(["bench", "--dataset", str(tmp_path)]) == 2
    assert "split; name a graph whose nodes have classes and all three splits" in capsys.readouterr().err


def _clock(monkeypatch: pytest.MonkeyPatch, module: str) -> list[float]:
    """The clock of a module, which a test sets."""
    now = [0.0]
    monkeypatch.setattr(f"portgnn.benchmark.{module}.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.mark.parametrize(("until", "rounds"), [(1.0, 1), (3.0, 2), (5.0, 2), (7.0, 3), (1e9, 6)])
def test_rounds_end_with_the_time(monkeypatch: pytest.MonkeyPatch, until: float, rounds: int) -> None:
    now = _clock(monkeypatch, "timing")

    class Worker:
        pid = 0

        def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
            now[0] += 1.0  # a round has two calls
            return {"seconds": [0.002] * arguments.get("chunks", arguments.get("repeats", 1))}

    entry = Entry({"label": "a"}, Worker(), "a", chunk=1, chunks=1)  # type: ignore[arg-type]
    plan = Plan(rounds=6, pause=0.0, quiet_wait=0.0, seconds=1.0)
    run_rounds([entry], plan, 0, lambda label: None, sleep=lambda seconds: None, until=until)
    assert len(entry.train) == rounds


def test_a_slow_machine_leaves_out_what_there_is_no_time_for_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    now = _clock(monkeypatch, "runner")
    monkeypatch.setattr("portgnn.benchmark.runner.registered_names", lambda: ["alpha", "beta", "gamma"])
    runner = Runner(Options(), Plan(seconds=180.0), Progress(quiet=True))
    costs = {"alpha": 30.0, "beta": 1.0, "gamma": 15.0}

    def prepare(entries: list[Any], contestant: Any, *_: Any) -> None:
        now[0] += costs[contestant.spec.name]
        entries.append(contestant.spec.name)

    monkeypatch.setattr(runner, "_prepare", prepare)
    graph, recipe = SimpleNamespace(name="cora"), SimpleNamespace(name="pyg")
    first: list[Any] = []
    second: list[Any] = []
    runner._prepare_all(first, graph, Path(), recipe, 50.0)  # type: ignore[arg-type]
    assert first == ["alpha", "beta"]
    runner._prepare_all(second, graph, Path(), recipe, now[0] + 60.0)  # type: ignore[arg-type]
    assert second == ["gamma", "beta"]  # who had no turn comes first, then the quickest
    assert [(row["label"], row["status"]) for row in runner.rows] == [
        ("portgnn gamma", "skipped"), ("portgnn alpha", "skipped"),
    ]  # fmt: skip
    assert (
        "left out, since preparing it would have taken longer than the time allows; --seconds 360 has room"
        in (runner.rows[0]["reason"])
    )


def test_the_time_left_is_the_whole_runs(capsys: Streams) -> None:
    now = [100.0]
    progress = Progress(seconds=180.0, clock=lambda: now[0])
    now[0] += 57.4
    assert progress.left(None) == "about 2:02 left"
    progress.start("cora · pyg", 8)
    assert "cora · pyg: about 2:02 left" in capsys.readouterr().err
    now[0] += 300
    assert progress.left(None) == "nearly done"


def test_what_is_shared_holds_nothing_that_it_was_not_asked_for() -> None:
    secret = "alices-laptop"
    facts = {"environment": {"version": "2.13.0+cpu", "host": f"{secret}1", "gpu": f"/home/{secret}", "cuda": secret}}
    rows = [
        _row("numpy", 1.0, dataset=secret, case={"form": secret}),
        _row("other", 1.0) | {"status": "failed", "reason": f"died: /home/{secret}/x.py", "options": {"form": secret}},
        {"label": secret, "dataset": secret, "status": "absent", "reason": f"{secret}: no such file"},
    ]
    found = _found(*rows, workers={"numpy": facts | {"variables": {"JAX_CACHE": f"/home/{secret}"}}}, dataset=secret)
    found["machine"] |= {"processor": f"/home/{secret}", "platform": secret, "machine": f"x86 {secret}!"}
    public = shared(found)
    assert secret not in json.dumps(public)
    assert public["versions"] == {"numpy": {"version": "2.13.0+cpu"}}
    assert [(row["backend"], row["status"]) for row in public["rows"]] == [("numpy", "timed"), ("other", "failed")]
    assert public["rows"][1]["reason"] == "failed"


def test_a_document_says_how_it_was_made() -> None:
    found = _found(_row("numpy", 1.0), options={"backends": ["numpy"], "devices": None, "threads": 2})
    made = command(recognise(json.loads(json.dumps(found)), "x.json"))
    assert made == "portgnn bench --dataset cora --backend numpy --threads 2 --seconds 180 --json run.json"
