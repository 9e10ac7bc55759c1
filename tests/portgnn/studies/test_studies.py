"""Studies as a whole: every run its own training's, choice by validation, interruptions, other grids, mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portgnn
from portgnn import Graph, load_graph
from portgnn.errors import ConfigError, GraphError, PortgnnError
from portgnn.studies.crew import StudyError, cores, crew
from portgnn.studies.plan import Reading
from portgnn.studies.work import Job, Seed

SHORT = {"epochs": 6}
TIMES = ("seconds", "ms", "peak_bytes")


def _study(*arguments: Any, **options: Any) -> portgnn.Study:
    return portgnn.study(*arguments, **{"dataset": "karate", "seeds": 3, "jobs": 1} | dict(options))


def _numbers(data: dict[str, Any]) -> Any:
    """A study without times and memory, which no two runs have in common."""
    rows = [
        {name: value for name, value in row.items() if name not in TIMES}
        | {"runs": [{name: value for name, value in run.items() if name not in TIMES} for run in row["runs"]]}
        for row in data["rows"]
    ]
    return rows, data["comparisons"]


def _kept(folder: Path, key: str) -> Any:
    return json.loads((folder / "runs" / f"{key}.json").read_text())


def test_each_run_is_the_training_of_its_settings(tmp_path: Path) -> None:
    done = _study(model=["gcn", "sgc"], preset="pyg", values={"epochs": 6, "hidden": 4}, folder=tmp_path / "s")
    assert [row["model"] for row in done.rows] == ["gcn", "sgc"]
    (row, _) = done.rows
    for run in row["runs"]:
        alone = portgnn.train("karate", preset="pyg", epochs=6, hidden=4, seed=run["seed"])
        assert run["test"] == alone.test_accuracy
        kept = _kept(tmp_path / "s", run["key"])
        assert kept["train_loss"] == alone.history.train_loss
        assert kept["study"]["seed"] == run["seed"]
    assert row["summary"]["mean"] == pytest.approx(np.mean([run["test"] for run in row["runs"]]))
    assert row["curves"]["train_loss"] == pytest.approx(
        np.median([_kept(tmp_path / "s", run["key"])["train_loss"] for run in row["runs"]], 0)
    )


def test_settings_are_chosen_by_validation_whatever_the_test_says() -> None:
    """On a graph where what is best for the test nodes is worst for those of the validation."""
    graph = load_graph("karate")
    done = _study(dataset=graph, values={"epochs": 12, "hidden": [1, 16], "dropout": [0.0, 0.9]}, seeds=2)
    (row,) = done.rows
    by_validation = {json.dumps(each["values"]): each["validation"] for each in row["candidates"]}
    assert len(by_validation) == 4
    assert by_validation[json.dumps(row["values"])] == max(by_validation.values())
    for each in row["candidates"]:
        trained = [portgnn.train(graph, epochs=12, seed=seed, **each["values"]) for seed in range(2)]
        assert each["validation"] == pytest.approx(np.mean([run.history.val_accuracy[-1] for run in trained]))
        assert not any("test" in name for name in each)
    # The same labels everywhere but on the test nodes: another test, and the same choice.
    turned = np.array(graph.labels)
    turned[graph.test] = 1 - turned[graph.test]
    other = Graph.from_edges(
        np.stack(graph.adjacency.nonzero(), 1),
        graph.features,
        turned,
        train=graph.train,
        val=graph.val,
        test=graph.test,
    )
    again = _study(dataset=other, values={"epochs": 12, "hidden": [1, 16], "dropout": [0.0, 0.9]}, seeds=2)
    assert again.rows[0]["values"] == row["values"]
    assert again.rows[0]["summary"]["mean"] == pytest.approx(1 - row["summary"]["mean"])


def test_each_shows_every_setting_and_loss_can_choose() -> None:
    shown = _study(values={"epochs": 6, "hidden": [2, 4]}, each=True)
    assert [row["values"] for row in shown.rows] == [{"hidden": 2}, {"hidden": 4}]
    assert all(row["select"] is None for row in shown.rows)
    chosen = _study(values={"epochs": 6, "hidden": [2, 4]}, select="val_loss")
    (row,) = chosen.rows
    assert min(row["candidates"], key=lambda each: each["validation"])["values"] == row["values"]


def test_an_interrupted_study_goes_on_to_the_same_table(tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": ["gcn", "mlp"], "values": {"epochs": 6, "hidden": [2, 4]}, "seeds": 2}
    whole = _study(folder=tmp_path / "whole", **options)
    trained = 0

    def stop(told: Any) -> None:
        nonlocal trained
        trained += bool(told.said)
        if trained == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _study(folder=tmp_path / "cut", on_run=stop, **options)
    assert len(list((tmp_path / "cut" / "runs").iterdir())) == 3
    assert not (tmp_path / "cut" / "study.json").exists()
    seen: list[Any] = []
    again = _study(folder=tmp_path / "cut", on_run=seen.append, **options)
    assert (again.data["runs"], again.data["new_runs"], seen[0].kept) == (8, 5, 3)
    assert _numbers(again.data) == _numbers(whole.data)
    assert json.loads((tmp_path / "cut" / "study.json").read_text()) == again.data


def test_another_grid_trains_only_what_is_new(tmp_path: Path) -> None:
    first = _study(values={"epochs": 6, "hidden": 16}, folder=tmp_path)
    assert first.data["new_runs"] == 3
    # 16 is what the recipe has: saying so changes no run.
    assert _study(values=SHORT, folder=tmp_path).data["new_runs"] == 0
    assert _study(values={"epochs": 6, "hidden": [8, 16]}, folder=tmp_path, seeds=4).data["new_runs"] == 5
    assert _study(values=SHORT, dtype=["float32", "float64"], folder=tmp_path).data["new_runs"] == 3


def test_a_changed_file_is_another_dataset(tmp_path: Path) -> None:
    def write(feature: float) -> Path:
        (tmp_path / "g").mkdir(exist_ok=True)
        lines = [f"{n},{n % 2},{feature if n == 0 else n}" for n in range(8)]
        (tmp_path / "g" / "nodes.csv").write_text("\n".join(["id,label,x", *lines]) + "\n")
        edges = [f"{n},{(n + 1) % 8}" for n in range(8)]
        (tmp_path / "g" / "edges.csv").write_text("\n".join(["source,target", *edges]) + "\n")
        return tmp_path / "g"

    options: dict[str, Any] = {"values": SHORT, "split": "random:1:1", "seeds": 1, "folder": tmp_path / "s"}
    assert _study(dataset=write(0.0), **options).data["new_runs"] == 1
    assert _study(dataset=write(0.0), **options).data["new_runs"] == 0
    assert _study(dataset=[write(5.0), "karate"], **options | {"folder": tmp_path / "t"}).data["new_runs"] == 2
    with pytest.raises(ConfigError, match="holds another study"):
        _study(dataset=write(5.0), **options)


def test_splits_are_drawn_and_are_the_units() -> None:
    done = _study(split="random:3:3", splits=3, seeds=2, values=SHORT, model=["gcn", "mlp"])
    (row, _) = done.rows
    assert [run["split"] for run in row["runs"]] == [f"random:3:3:{n}" for n in range(3)] * 2
    assert (row["summary"]["n"], row["summary"]["units"]) == (6, 3)
    assert done.comparisons[0]["units"] == 3
    assert "over 3 splits and 2 seeds each" in str(done)
    graph = load_graph("karate")
    stored = [{part: getattr(graph, part) for part in ("train", "val", "test")}] * 2
    given = Graph.from_edges(np.stack(graph.adjacency.nonzero(), 1), graph.features, graph.labels, stored_splits=stored)
    assert [run["split"] for run in _study(dataset=given, splits=2, seeds=1, values=SHORT).rows[0]["runs"]] == [
        "stored:0", "stored:1",
    ]  # fmt: skip


def test_a_run_that_diverges_is_counted_and_never_chosen(tmp_path: Path) -> None:
    options: dict[str, Any] = {"values": {"epochs": 6, "learning_rate": [1e38, 0.01]}, "folder": tmp_path}
    done = _study(**options)
    (row,) = done.rows
    assert row["values"] == {"learning_rate": 0.01}
    assert [each["failed"] for each in row["candidates"]] == [3, 0]
    assert _study(**options).data["new_runs"] == 0
    alone = _study(values={"epochs": 6, "learning_rate": 1e38})
    assert (alone.rows[0]["summary"], alone.rows[0]["failed"]) == (None, 3)
    assert "3 of the runs diverged" in str(alone)
    assert "--" in alone.to_latex()


def test_processes_give_the_same_numbers(tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": ["gcn", "mlp"], "values": SHORT, "seeds": 1}
    told: list[str] = []
    side_by_side = _study(jobs=cores() + 1, announce=told.append, **options)
    assert any(f"{cores() + 1} jobs share {cores()} cores" in each for each in told)
    assert _numbers(side_by_side.data) == _numbers(_study(**options).data)


def test_a_process_that_dies_is_one_line(tmp_path: Path) -> None:
    with crew(2, ["karate"], Reading(), []) as workers:
        worker = workers._start()  # type: ignore[attr-defined]
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.join(10)
        config = portgnn.train("karate", epochs=1).config
        job = Job(0, None, config, "numpy", "cpu", "float32", (Seed(0, tmp_path / "a.json", {}),))
        with pytest.raises(StudyError, match=r"ended with status -9.*smaller --jobs"):
            workers.train([job], lambda job, document: None)


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_a_killed_study_leaves_no_process_and_whole_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "portgnn", "study", "--dataset", "karate", "--seeds", "6", "--jobs", "2"]
    command += ["--set", "epochs=60; patience=0", "--folder", str(tmp_path / "s"), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "s").glob("runs/*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    while time.monotonic() < deadline and _group(process.pid):
        time.sleep(0.05)
    assert not _group(process.pid), "its processes went on without it"
    kept = list((tmp_path / "s").glob("runs/*.json"))
    assert 0 < len(kept) <= 6
    options: dict[str, Any] = {"seeds": 6, "values": {"epochs": 60, "patience": 0}}
    again = _study(folder=tmp_path / "s", **options)
    assert (again.data["runs"], again.data["new_runs"]) == (6, 6 - len(kept))
    assert _numbers(again.data) == _numbers(_study(**options).data)


def _group(pid: int) -> list[int]:
    """Processes of the group that have not ended."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = entry.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(group) == pid and state != "Z":
            found.append(int(entry.parent.name))
    return found


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"values": "hiden=3"}, "Did you mean 'hidden'"),
    ({"model": []}, "--model lists nothing"),
    ({"seeds": 0}, "seeds=0 must be an integer, 1 or more"),
    ({"seeds": []}, "seeds lists none"),
    ({"seeds": [-1]}, "seed=-1 must be an integer, 0 or more"),
    ({"model": "gnc"}, "gnc"),
    ({"backend": "nonesuch"}, "unknown backend 'nonesuch'"),
    ({"dtype": "float63"}, "unknown dtype 'float63'"),
    ({"splits": 10}, "comes with one split at most; to draw others, add --split random:20:30 to --splits 10"),
    ({"splits": 2, "split": "random:3:3:1"}, "is one split"),
    ({"splits": 3, "split": ["random:3:3", "random:4:4"]}, "lists 2 splits"),
    ({"splits": 20, "split": "folds:10"}, "needs as many: --split folds:20"),
    ({"split": "random:30:30"}, "needs 60 of each class"),
    ({"jobs": 0}, "jobs=0 must be an integer, 1 or more"),
    ({"metric": "acuracy"}, "--metric acuracy is not measured"),
    ({"select": "test_accuracy"}, "no curve of the validation"),
    ({"values": {"hidden": range(1, 12_000)}}, "hidden"),
    ({"values": {"hidden": list(range(1, 12_000))}}, "more than 10,000; draw from it with --search 100"),
    ({"values": "hidden=2..8"}, "--search N draws from"),
    ({"dataset": ["karate", "nonesuch"]}, "nonesuch"),
    ({"split": "fraction:0.5:0", "values": "hidden=2,4"}, "no validation"),
]


@pytest.mark.parametrize(("options", "said"), MISTAKES, ids=[said[:20] for _, said in MISTAKES])
def test_mistakes_are_told_before_anything_is_trained(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(PortgnnError, match=said) as caught:
        _study(folder=tmp_path / "s", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "s").exists()


def test_folders_of_something_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="holds something else than a study"):
        _study(values=SHORT, folder=tmp_path / "full")
    with pytest.raises(ConfigError, match="is a file"):
        _study(values=SHORT, folder=tmp_path / "full" / "thesis.tex")
    _study(values=SHORT, folder=tmp_path / "s")
    with pytest.raises(ConfigError, match=r"holds another study .*gcn on karate, numpy.* --folder NAME"):
        _study(values=SHORT, model="mlp", folder=tmp_path / "s")
    broken = next((tmp_path / "s" / "runs").iterdir())
    broken.write_text("{")
    with pytest.raises(ConfigError, match="delete it, and its run is trained again"):
        _study(values=SHORT, folder=tmp_path / "s")


def test_two_studies_do_not_share_a_folder(tmp_path: Path) -> None:
    def second(told: Any) -> None:
        with pytest.raises(ConfigError, match="in use by process"):
            _study(values=SHORT, folder=tmp_path)

    _study(values=SHORT, folder=tmp_path, on_run=second, seeds=1)


def test_train_points_to_it() -> None:
    for seeds in ([0, 1, 2], (0, 1, 2), np.arange(3)):
        with pytest.raises(ConfigError, match=r"is several.*portgnn\.study\(…, seeds=\[0, 1, 2\]\)"):
            portgnn.train("karate", seed=seeds)  # type: ignore[arg-type]


def test_sets_of_graphs_links_and_values_have_studies() -> None:
    links = _study(values={"task": "link", "epochs": 5}, seeds=2)
    assert links.rows[0]["preset"] == "gae"
    assert links.rows[0]["summary"]["n"] == 2
    assert links.rows[0]["metric"] != "accuracy"


def test_a_network_without_the_hyperparameter_is_a_row_without_it() -> None:
    told: list[str] = []
    done = _study(model=["gcn", "gat"], values={"epochs": 3, "heads": [1, 2]}, seeds=1, announce=told.append)
    assert [len(row["candidates"]) for row in done.rows] == [1, 2]
    assert "gcn has no heads; its rows are tried without." in told


def test_a_graph_without_a_test_is_refused() -> None:
    graph = load_graph("karate")
    bare = Graph.from_edges(np.stack(graph.adjacency.nonzero(), 1), graph.features, graph.labels, train=graph.train)
    with pytest.raises((ConfigError, GraphError), match="no test split"):
        _study(dataset=bare)
