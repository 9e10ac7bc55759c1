"""Statistics, tables, the page and the regression guard: all from result files, none from a clock."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import check, table
from bench.harness.known_peers import FAMILIES, PEERS
from bench.peers.article_protocol import FLAWS, run
from bench.studies.article_compat import variants
from portgnn.benchmark.quiet import wait_for_quiet
from portgnn.benchmark.timing import Entry, Plan, choose_chunk, finish, round_ratios, run_rounds, summary

Make = Callable[..., dict[str, Any]]


def test_summary_is_median_and_quartiles() -> None:
    assert summary([4.0, 1.0, 3.0, 2.0, 100.0]) == {"median": 3.0, "q1": 2.0, "q3": 4.0, "min": 1.0, "n": 5}
    with pytest.raises(ValueError, match="nothing"):
        summary([])


def test_ratios_by_round_do_not_feel_a_drift_that_hits_both() -> None:
    ours, theirs = [[1.0, 1.0], [5.0, 5.0]], [[10.0, 10.0], [50.0, 50.0]]
    assert round_ratios(ours, theirs) == [10.0, 10.0]


def test_chunks_are_long_for_the_fast_and_single_for_the_slow() -> None:
    plan = Plan(chunk=25, epochs=100, turn_seconds=3.0)
    assert choose_chunk(0.0005, plan) == (25, 4)
    assert choose_chunk(0.1, plan) == (10, 3)
    assert choose_chunk(20.0, plan) == (1, 1)


class Recorder:
    """Stands for a worker: notes whose turn it is."""

    pid = 0

    def __init__(self, name: str, turns: list[str]) -> None:
        self.name, self.turns = name, turns

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        if op == "time":
            self.turns.append(self.name)
        return {"seconds": [0.002] * arguments.get("chunks", arguments.get("repeats", 1))}


def test_every_round_has_a_turn_of_every_entry_and_orders_differ(plan: Plan) -> None:
    turns: list[str] = []
    entries = [Entry({"label": n}, Recorder(n, turns), n, chunk=2, chunks=3) for n in "abcd"]  # type: ignore[arg-type]
    many = Plan(rounds=6, pause=0.0, quiet_wait=0.0)
    alive = run_rounds(entries, many, 0, lambda label: None, sleep=lambda seconds: None)
    rounds = ["".join(turns[i : i + 4]) for i in range(0, len(turns), 4)]
    assert all(sorted(order) == list("abcd") for order in rounds)
    assert len(set(rounds)) > 1
    finish(alive[0])
    assert alive[0].row["train_ms"]["median"] == pytest.approx(1.0)
    assert alive[0].row["train_ms"]["n"] == 18


def test_waiting_for_quiet_ends() -> None:
    naps: list[float] = []
    wait_for_quiet(0.0, 0.0, naps.append)
    assert naps == [0.0]


def test_the_table_holds_every_timed_row_and_its_ratios(run: dict[str, Any]) -> None:
    text = table.markdown([run])
    assert "| **portgnn numpy** | cpu | csr, rows=needed | 0.500 |" in text
    assert "| 12.0 | 40.0 |" in text
    assert "× PyG" in text
    assert "NOT QUIET" not in text
    assert "absent: mlx-graphs GCNConv: no module <mlx_graphs>" in text


def test_the_table_says_when_the_machine_was_not_quiet(run: dict[str, Any]) -> None:
    run["rows"][0]["others_cores"] = 0.8
    assert "NOT QUIET: other processes took up to 0.8 cores" in table.markdown([run])


def test_table_from_a_file(run: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(run))
    assert table.main([str(path)]) == 0
    assert capsys.readouterr().out == table.markdown([run])
    path.write_text("{}")
    assert table.main([str(path)]) == 2


def files(folder: Path, *runs: dict[str, Any]) -> list[str]:
    paths = [folder / f"{number}.json" for number in range(len(runs))]
    for path, one in zip(paths, runs, strict=True):
        path.write_text(json.dumps(one))
    return [str(path) for path in paths]


def test_the_guard_passes_the_same_run(run: dict[str, Any], tmp_path: Path) -> None:
    now, before = files(tmp_path, run, run)
    assert check.main([now, "--baseline", before]) == 0


def test_the_guard_does_not_mind_a_slower_machine(make: Make, tmp_path: Path) -> None:
    before = make({"numpy": 0.5}, {"pyg": 6.0})
    now = make({"numpy": 5.0}, {"pyg": 60.0}, processor="another")
    assert check.main([*files(tmp_path, now, before)[:1], "--baseline", files(tmp_path, now, before)[1]]) == 0


def test_the_guard_names_a_planted_regression(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = make({"numpy": 0.5, "torch": 0.6}, {"pyg": 6.0})
    now = make({"numpy": 0.9, "torch": 0.6}, {"pyg": 6.0})
    paths = files(tmp_path, now, before)
    assert check.main([paths[0], "--baseline", paths[1]]) == 1
    slower = [line for line in capsys.readouterr().out.splitlines() if line.startswith("SLOWER")]
    assert len(slower) == 1
    assert "portgnn numpy" in slower[0]
    assert check.main([paths[0], "--baseline", paths[1], "--tolerance", "2"]) == 0


def test_the_guard_takes_a_peer_that_both_runs_have(make: Make) -> None:
    before = make({"numpy": 0.5}, {"pyg": 6.0, "article-torch": 20.0})
    now = make({"numpy": 0.5}, {"article-torch": 20.0})
    (finding,) = check.compare(now, before, 1.5)
    assert finding.peer == "article-torch"


def test_a_row_that_is_refused_now_is_a_regression(run: dict[str, Any]) -> None:
    now = copy.deepcopy(run)
    now["rows"][0] |= {"status": "refused", "reason": "fails verification"}
    problems = [finding.problem for finding in check.compare(now, run, 1.5) if finding.problem]
    assert problems == ["refused: fails verification"]


def test_nothing_to_compare_is_neither_good_nor_bad(run: dict[str, Any], make: Make, tmp_path: Path) -> None:
    now, before = files(tmp_path, run, make({"numpy": 1.0}, {}))
    assert check.main([now, "--baseline", before]) == 2


class FakeHooks:
    """Counts which passes the article's protocol takes."""

    flaws_without_effect: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.own_passes = self.waits = 0
        self.tested_on: object = "nothing"

    def step(self) -> str:
        return "training logits"

    def validation(self, logits: object) -> tuple[float, float]:
        self.own_passes += logits is None
        return 1.0, 0.5

    def wait(self, *handles: object) -> None:
        self.waits += 1

    def number(self, handle: float) -> float:
        return handle

    def test_accuracy(self, logits: object) -> float:
        self.tested_on = logits
        return 0.5


def test_each_flaw_changes_what_it_says_and_nothing_else() -> None:
    def after(*flaws: str) -> FakeHooks:
        hooks = FakeHooks()
        run(hooks, frozenset(flaws), epochs=5, patience=0)
        return hooks

    right = after()
    assert (right.own_passes, right.waits, right.tested_on) == (5, 5, None)
    assert after("dropout-in-validation").own_passes == 0
    assert after("early-clock").waits == 0
    assert after("stale-logits").tested_on == "training logits"
    assert list(variants().values())[1:-1] == [[name] for name in FLAWS]


def test_a_ratio_is_to_the_fastest_row_of_a_library(make: Make) -> None:
    found = make({"numpy": 0.5}, {"pyg": 6.0, "pyg-csr": 4.0, "pyg-compiled": 2.0, "jax-bcoo": 3.0})
    shown = table.markdown([found])
    row = next(line for line in shown.splitlines() if line.startswith("| **portgnn numpy**"))
    heads = next(line for line in shown.splitlines() if "× PyG" in line)
    cells = dict(zip(heads.split("|"), row.split("|"), strict=True))
    assert (cells[" × PyG "], cells[" × JAX by hand "]) == (" 4.00 ", " 6.00 ")
    assert "A ratio is against a library's fastest row. PyG on cpu: pyg-compiled. Like for like: rows=all." in shown
    assert "JAX by hand on cpu" not in shown


def test_every_peer_is_of_one_library() -> None:
    listed = [name for family in FAMILIES.values() for name in family]
    assert sorted(listed) == sorted(PEERS)
