"""Paths that cannot be looked at, names no file system takes, and files that are there whole or not at all."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from portgnn import Model, cli, load_config, load_graph, train
from portgnn._system import files
from portgnn.checkpoints.runs import load_run
from portgnn.disk.folder import write_graph
from portgnn.errors import CheckpointError, DatasetError, PortgnnError

ROOT = Path(__file__).parents[3]
LONG = "x" * 300


@pytest.fixture
def hopeless(tmp_path: Path) -> Callable[[str], str]:
    """A path of each kind that stat(2) refuses or no file has, with an ending."""
    (tmp_path / "ring").symlink_to("ring")

    def path(kind: str) -> str:
        return {"long": f"{tmp_path}/{LONG}", "deep": f"{tmp_path}/{'y/' * 3000}z", "ring": f"{tmp_path}/ring/a",
                "nul": f"{tmp_path}/a\0b", "surrogate": f"{tmp_path}/\ud800"}[kind]  # fmt: skip

    return path


@pytest.mark.parametrize("kind", ["long", "deep", "ring", "nul", "surrogate"])
def test_a_path_that_cannot_be_looked_at_is_one_line_everywhere(kind: str, hopeless: Callable[[str], str]) -> None:
    path = hopeless(kind)
    graph = load_graph("karate")
    for use in (
        lambda: load_graph(path),
        lambda: load_graph(f"{path}.graph"),
        lambda: train(f"{path}.graph", loader="neighbor"),
        lambda: train(graph, checkpoint=path, epochs=1),
        lambda: train(graph, resume=path),
        lambda: Model.load(path),
        lambda: train(graph, epochs=1).save(path),
        lambda: load_config(path),
        lambda: write_graph(graph, f"{path}.graph"),
        lambda: files.check_writable(Path(path)),
    ):
        with pytest.raises(PortgnnError) as caught:
            use()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 7000


def test_no_permission_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def denied(path: object, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "stat", denied)
    with pytest.raises(DatasetError, match=r"cannot look at .*: Permission denied"):
        load_graph(str(tmp_path / "graph"))
    with pytest.raises(CheckpointError, match="Permission denied"):
        Model.load(tmp_path / "model")


def test_a_home_that_nobody_has_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in ("PORTGNN_DATA", "PORTGNN_CACHE"):
        with monkeypatch.context() as patch:
            patch.delenv("PORTGNN_DATA", raising=False)
            patch.setenv(variable, "~nobody-of-that-name/data")
            with pytest.raises(DatasetError, match=f"{variable} names ~nobody-of-that-name/data, and no home"):
                load_graph("cora")
            assert cli.main(["doctor"]) == 0
            out = capsys.readouterr().out
            assert f"PROBLEM: {variable} names ~nobody-of-that-name/data" in out
            assert "No problem found" not in out


def test_doctor_names_folders_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for variable, value, said in (
        ("PORTGNN_DATA", LONG, "File name too long"),
        ("PORTGNN_DATA", str(tmp_path / "none"), "which is not a folder"),
        ("PORTGNN_CACHE", str(tmp_path / "file" / "cache"), "PORTGNN_CACHE"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            assert cli.main(["doctor"]) == 0
            assert f"PROBLEM: {variable}" in (out := capsys.readouterr().out)
            assert said in out
            assert "No problem found" not in out


def test_nothing_looks_at_a_path_but_through_one_module() -> None:
    """Path.exists and its kin raise for what is no fault of portgnn's, and each use would need its own try."""
    names = ("exists", "is_file", "is_dir", "expanduser", "is_symlink", "isfile", "isdir", "lexists")
    found = []
    for path in sorted((ROOT / "portgnn").rglob("*.py")):
        if path == ROOT / "portgnn" / "_system" / "files.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names):
                continue
            if ast.unparse(node.func.value) != "member":  # of an archive: no system call
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not found


def test_a_name_that_is_nearly_too_long_can_be_written(tmp_path: Path) -> None:
    """The temporary's name is longer, and must not be what fails after the training."""
    target = tmp_path / ("ä" * 127)
    files.check_writable(target)
    files.write_atomically(target, b"content")
    assert target.read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == [target]
    train("karate", epochs=2, checkpoint=tmp_path / ("r" * 255))
    assert sorted(len(os.fsencode(path.name)) for path in tmp_path.iterdir()) == [254, 255]


def test_a_device_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for target in (pipe, tmp_path):
        before = target.stat().st_mode
        with pytest.raises(CheckpointError, match="it is a"):
            train("karate", epochs=1).save(target)
        assert cli.main(["train", "--dataset", "karate", "--save", str(target)]) == 2
        assert "it is a" in capsys.readouterr().err
        assert target.stat().st_mode == before


def test_a_converted_graph_is_flushed_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    flush, rename = os.fsync, os.replace

    def name_of(handle: int) -> str:
        return os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))

    monkeypatch.setattr(os, "fsync", lambda handle: (events.append(name_of(handle)), flush(handle))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("RENAME"), rename(a, b))[1])
    written = write_graph(load_graph("karate"), tmp_path / "karate.graph")
    before, after = events[: events.index("RENAME")], events[events.index("RENAME") + 1 :]
    assert {path.name for path in written.path.iterdir()} < set(before)
    assert before[-1].endswith(".part")
    assert after == [tmp_path.name]


def test_a_full_disk_leaves_no_half_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DatasetError, match="No space left"):
        write_graph(load_graph("karate"), tmp_path / "karate.graph")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_share_a_checkpoint(tmp_path: Path) -> None:
    """The second says who holds it, touches nothing, and may have it when the first has ended."""
    run, link = tmp_path / "run.ckpt", tmp_path / "other" / "name"
    link.parent.mkdir()
    link.symlink_to(run)
    code = (
        "import sys, portgnn\n"
        "def wait(history):\n"
        "    print('training', flush=True); sys.stdin.readline()\n"
        f"portgnn.train('karate', checkpoint={str(run)!r}, epochs=2, every=1, patience=0, on_chunk=wait)\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as first:  # type: ignore[call-overload]
        assert first.stdout.readline() == "training\n"
        part = files.beside(run)
        part.write_bytes(b"the first one's")
        for name in (run, link):
            with pytest.raises(CheckpointError, match=rf"{name} is being written by process {first.pid} on "):
                train("karate", resume=name, epochs=3)
        assert part.exists()
        first.communicate("\n" * 5)
    assert first.returncode == 0
    train("karate", resume=link, epochs=3)
    assert sorted(tmp_path.rglob("*")) == [link.parent, link, run]  # the temporary was nobody's any more
    assert link.is_symlink()
    assert len(load_run(run)[1].history) == 3


def test_a_lock_that_a_killed_process_left_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / ".run.ckpt.lock").write_text("process 1 on nowhere")
    train("karate", epochs=1, checkpoint=tmp_path / "run.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["run.ckpt"]
