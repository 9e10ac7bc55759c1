"""Published sets by name: their sizes, stored splits, OGB's raw form, and checksums that nobody knows yet."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from http_server import Server, body

from portgnn import Graph, load_graph
from portgnn.datasets import _pins, fetch_files
from portgnn.datasets._catalog import DATASETS
from portgnn.datasets._ogb import read_ogb
from portgnn.datasets.download import FileSpec, fetch
from portgnn.errors import DatasetError, GraphError

STORED = ("actor", "chameleon-filtered", "cornell", "minesweeper", "texas", "wisconsin")


@pytest.mark.published_data
@pytest.mark.parametrize("name", [*STORED, "amazon-photo"])
def test_sizes_hold(name: str) -> None:
    entry = DATASETS[name]
    if entry.at_hand() is None:
        pytest.skip(f"{name} is not in PORTGNN_DATA")
    graph = load_graph(name)
    assert (graph.num_nodes, graph.num_edges, graph.num_features, graph.num_classes) == (
        entry.nodes, entry.edges, entry.features, entry.classes,
    )  # fmt: skip
    assert graph.is_undirected
    assert graph.name == name
    assert len(graph.stored_splits) == (10 if name in STORED else 0)


def _arrays(**changes: Any) -> dict[str, Any]:
    n = 12
    owner = np.array([np.random.default_rng(k).permutation(n) % 3 for k in range(2)])
    masks = {f"{part}_masks": owner == number for number, part in enumerate(("train", "val", "test"))}
    edges = np.array([(i, (i + 1) % n) for i in range(n)])
    return {"node_features": np.eye(n, 4), "node_labels": np.arange(n) % 3, "edges": edges} | masks | changes


def _saved(folder: Path, **changes: Any) -> Path:
    arrays = {name: array for name, array in _arrays(**changes).items() if array is not None}
    np.savez(folder / "ring.npz", **arrays)
    return folder / "ring.npz"


def test_stored_splits(tmp_path: Path) -> None:
    path, masks = _saved(tmp_path), _arrays()
    for number in (0, 1):
        graph = load_graph(path, split=f"stored:{number}")
        for part in ("train", "val", "test"):
            assert getattr(graph, part).tolist() == np.flatnonzero(masks[f"{part}_masks"][number]).tolist()
        assert [note for note in graph.notes if "split" in note] == [f"split {number} of the 2 that the data come with"]
    assert load_graph(path).train.tolist() == load_graph(path, split="stored:0").train.tolist()
    with pytest.raises(GraphError, match="ring has splits 0 to 1, and no split 2"):
        load_graph(path, split="stored:2")
    with pytest.raises(GraphError, match="karate has no stored splits"):
        load_graph("karate", split="stored:0")
    assert load_graph(path, ignore="label").stored_splits == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"node_labels": None}, r"ring\.npz lacks node_labels"),
        ({"val_masks": None}, "has some masks and lacks val_masks"),
        ({"val_masks": np.zeros((2, 5), bool)}, r"must each have shape \[splits, 12\]"),
        ({"test_masks": np.full((2, 12), 3)}, "test_masks holds something else than 0 and 1"),
        ({"test_masks": np.ones((2, 12), bool)}, "stored split 0: node 0 is in the"),
        ({"edges": np.array([[0, 99]])}, "edge 0 joins 0 and 99"),
        ({"edges": np.array([[0.0, 1.0]])}, "edges must be integers"),
        ({"node_features": np.full((12, 4), np.nan)}, "features hold NaN"),
        ({"node_labels": np.arange(11)}, "labels have shape|must each have shape"),
    ],
)
def test_faults_of_the_layout(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_graph(_saved(tmp_path, **changes))


def test_a_graph_checks_its_stored_splits() -> None:
    with pytest.raises(GraphError, match="stored split 1: the train split is empty"):
        Graph.from_edges([[0, 1]], np.eye(2), [0, 1], stored_splits=({"train": [0]}, {"train": []}))


def ogb(folder: Path, *, nodes: int = 5, form: str = "zip", **changes: bytes | None) -> Path:
    """A small set in OGB's raw form. changes: content of files by the last part of their names without .csv.gz."""
    texts: dict[str, bytes | None] = {
        "raw/num-node-list": b"%d\n" % nodes,
        "raw/num-edge-list": b"4\n",
        "raw/edge": b"0,1\n1,2\n1,2\n4,3\n",
        "raw/node-feat": b"".join(b"%d,0.5,-1e-1\n" % node for node in range(nodes)),
        "raw/node-label": b"".join(b"%d\n" % (node % 2) for node in range(nodes)),
        "split/time/train": b"0\n1\n",
        "split/time/valid": b"2\n",
        "split/time/test": b"3\n4\n",
    }
    for name in texts:
        texts[name] = changes.get(name.rpartition("/")[2].replace("-", "_"), texts[name])
    files = {f"{name}.csv.gz": gzip.compress(text, mtime=0) for name, text in texts.items() if text is not None}
    if form == "folder":
        for name, content in files.items():
            (folder / "small" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "small" / name).write_bytes(content)
        return folder / "small"
    with zipfile.ZipFile(folder / "small.zip", "w") as archive:
        archive.writestr("small/RELEASE_v1.txt", "")
        for name, content in files.items():
            archive.writestr(f"small/{name}", content)
    return folder / "small.zip"


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_ogb_raw_form(tmp_path: Path, form: str) -> None:
    graph = load_graph(ogb(tmp_path, form=form))
    assert graph.to_scipy().toarray().tolist() == [
        [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0] * 5, [0] * 5, [0, 0, 0, 1, 0],
    ]  # fmt: skip
    assert graph.features.dtype == np.float32
    assert graph.features.tolist() == [[node, 0.5, np.float32(-0.1)] for node in range(5)]
    assert graph.labels.tolist() == [0, 1, 0, 1, 0]
    assert (graph.train.tolist(), graph.val.tolist(), graph.test.tolist()) == ([0, 1], [2], [3, 4])
    assert read_ogb(ogb(tmp_path), undirected=True).num_edges == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edge": None}, r"has no raw/edge\.csv\.gz"),
        ({"edge": b"0,1\n"}, r"edge\.csv\.gz has 1 rows, and num-edge-list\.csv\.gz says 4"),
        ({"edge": b"0,1\n1,2\n9,3\n0,0\n"}, r"edge\.csv\.gz, row 3: the edge 9, 3 names a node beyond the last, 4"),
        ({"edge": b"0,1\n1,-2\n9,3\n0,0\n"}, "row 2: 1, -2 must be whole numbers of 0 or more"),
        ({"edge": b"0,1\n1\n"}, r"edge\.csv\.gz is not a table of numbers: .*row 2"),
        ({"edge": b"0,1,2\n" * 4}, "has rows of 3 numbers; they must have 2"),
        ({"node_feat": b"1,2\n"}, "has 1 rows, where 5 were due"),
        ({"node_feat": b"nan\n" * 5}, "row 1: a number is NaN or infinite"),
        ({"node_feat": b"\xff\n" * 5}, "is not a table of numbers"),
        ({"node_label": b"0.5\n" * 5}, "row 1: 0.5 must be whole numbers"),
        ({"node_label": b"7\n" * 5}, "label 7 is larger than the 5 nodes"),
        ({"num_node_list": b"2\n3\n"}, "counts 2 graphs"),
        ({"test": b"0\n"}, "is in the train split and in the test split"),
        ({"test": b"77\n"}, "the test split names node 77"),
    ],
)
def test_faults_of_ogb_archives(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_graph(ogb(tmp_path, **changes))


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _no_gzip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["small/raw/edge.csv.gz"] = members["small/raw/edge.csv.gz"][:-12]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        file = io.BytesIO()
        with gzip.open(file, "wb") as packed:
            for _ in range(40):
                packed.write(b"0\n" * (1 << 19))
        archive.writestr("small/other/valid.csv.gz", b"")
        archive.writestr("small/more/test.csv.gz", file.getvalue())


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_cut, "is not a readable zip archive"),
        (_no_gzip, r"edge\.csv\.gz cannot be unpacked: Compressed file ended"),
        (_bomb, "holds several files of one kind"),
    ],
)
def test_damaged_archives(tmp_path: Path, harm: Callable[[Path], None], message: str) -> None:
    path = ogb(tmp_path)
    harm(path)
    with pytest.raises(DatasetError, match=message):
        load_graph(path)


def test_an_archive_unpacks_to_no_more_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTGNN_MAX_MEMORY", "1MiB")
    path = ogb(tmp_path, node_feat=b"0\n" * (1 << 18))
    with pytest.raises(DatasetError, match=r"node-feat\.csv\.gz would take .* of memory to read"):
        load_graph(path)


@pytest.fixture
def unknown(server: Server, cache: Path) -> FileSpec:
    assert cache
    server.answers["/one"] = body(b"first")
    return FileSpec("file.bin", "", (server.url("/one"),), "sub", 1 << 20, plain_http_hosts=("127.0.0.1",), tries=1)


FIRST = "sha256:a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"


def test_an_unknown_checksum_is_accepted_once(unknown: FileSpec, server: Server, cache: Path) -> None:
    for _ in range(2):  # the second time, nothing is fetched
        with pytest.raises(DatasetError, match=f"Its own is {FIRST}.*--accept-checksum"):
            fetch(unknown)
    assert server.requests == ["/one"]
    with _pins.accepting(True):
        path = fetch(unknown)
    assert json.loads((cache / "checksums.json").read_text()) == {"sub/file.bin": FIRST}
    assert fetch(unknown) == path
    # A later download that differs is refused, also where all would be accepted.
    path.unlink()
    server.answers["/one"] = body(b"another")
    with pytest.raises(DatasetError, match=f"not the published file: .*expected {FIRST[7:]}, which was accepted"):
        fetch(unknown)
    with _pins.accepting(True), pytest.raises(DatasetError, match="which was accepted before"):
        fetch(unknown)


def test_pins_that_cannot_be_read(unknown: FileSpec, cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    for text in ("{", '{"a": 1}', '{"a": "md5:0"}', "[]"):
        (cache / "checksums.json").write_text(text)
        with pytest.raises(DatasetError, match=r"checksums\.json does not hold accepted checksums"):
            fetch(unknown)


def test_a_known_checksum_is_never_replaced(unknown: FileSpec) -> None:
    with _pins.accepting(True), pytest.raises(DatasetError, match=r"is not the published|not the published file"):
        fetch(replace(unknown, checksum="sha256:" + "0" * 64))


def test_files_that_hold_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unknown: FileSpec) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file.bin").write_bytes(b"first")
    monkeypatch.setenv("PORTGNN_DATA", str(tmp_path / "data"))
    spec = replace(unknown, checksum="git-blob:" + "0" * 40, equal=(FIRST,))
    assert fetch(spec) == tmp_path / "data" / "file.bin"
    with pytest.raises(DatasetError, match="is not the published"):
        fetch(replace(spec, equal=("sha256:" + "1" * 64,)))


def test_files_of_a_name() -> None:
    assert fetch_files("karate") == []
    with pytest.raises(DatasetError, match=r"no dataset 'cornel'.*Did you mean"):
        fetch_files("cornel")
