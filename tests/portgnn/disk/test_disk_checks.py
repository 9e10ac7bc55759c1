"""Nothing in a folder is believed: whatever is changed in one, it is refused with a message that names the file."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import portgnn
from portgnn import Graph, cli, load_graph
from portgnn.disk.folder import DiskGraph, write_graph
from portgnn.errors import DatasetError
from portgnn.graphs.fingerprint import fingerprint
from portgnn.loaders.neighbor import sample
from portgnn.loaders.on_disk import OnDisk
from portgnn.presets import Config

MakeGraph = Callable[..., Graph]
CONFIG = Config(loader="neighbor", fanout="3,2")


@pytest.fixture
def folder(make_graph: MakeGraph, tmp_path: Path) -> Path:
    graph = make_graph(1, nodes=60, width=40, sparse=True)
    thin = sp.random_array((60, 40), density=0.05, rng=np.random.default_rng(0), format="csr")
    adjacency = graph.adjacency.copy()
    adjacency.data = 0.5 + np.arange(adjacency.nnz) % 7
    adjacency = adjacency.maximum(adjacency.T)
    graph = replace(graph, features=thin, adjacency=adjacency, node_ids=[f"n{i}" for i in range(60)])
    return write_graph(graph, tmp_path / "a.graph").path


def _part(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Rewrites one array with a header that fits."""

    def damage(folder: Path) -> None:
        path = folder / f"{name}.npy"
        np.save(path, change(np.load(path)), allow_pickle=False)

    return damage


def _header(**fields: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "header.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return damage


def _put(at: int, value: Any) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array = array.copy()
        array[at] = value
        return array

    return change


NUMBERS = {
    "indices beyond the nodes": _part("indices", _put(5, 2**30)),
    "negative indices": _part("indices", _put(-1, -1)),
    "indptr that falls": _part("indptr", _put(7, 10**6)),
    "negative indptr": _part("indptr", _put(3, -5)),
    "no self-loop": _part("indptr", lambda a: np.concatenate([a[:1], a[:1], a[2:]])),
    "loops beyond a row": _part("loops", _put(0, 2**30)),
    "feature indices": _part("feature_indices", _put(0, 2**31 - 1)),
    "feature indptr": _part("feature_indptr", _put(1, 2**60)),
    "feature NaN": _part("feature_data", _put(0, np.nan)),
    "sums NaN": _part("sums", _put(0, np.nan)),
    "weight inf": _part("weights", _put(0, np.inf)),
}
SHAPES = {
    "own loops of another type": _part("own_loops", lambda a: a.astype(float)),
    "labels beyond the classes": _part("labels", _put(0, 99)),
    "labels below": _part("labels", _put(0, -2)),
    "a split twice": _part("train", lambda a: np.concatenate([a, a])),
    "a split beyond": _part("val", _put(0, 10**9)),
    "shape ()": _part("indptr", lambda a: np.array(3)),
    "two dimensions": _part("indices", lambda a: a[None]),
    "empty": _part("indptr", lambda a: a[:0]),
    "cut": _part("indices", lambda a: a[:-1]),
    "weights cut": _part("weights", lambda a: a[:-1]),
    "big-endian": _part("indptr", lambda a: a.astype(">i8")),
    "floats": _part("indices", lambda a: a.astype(np.float32)),
    "indptr does not start at 0": _part("indptr", _put(0, 1)),
    "ids": _part("node_id_ends", lambda a: a[:-1]),
    "no file": lambda folder: (folder / "loops.npy").unlink(),
    "an empty file": lambda folder: (folder / "loops.npy").write_bytes(b""),
    "a folder": lambda folder: ((folder / "loops.npy").unlink(), (folder / "loops.npy").mkdir()),
    "a pipe": lambda folder: ((folder / "loops.npy").unlink(), os.mkfifo(folder / "loops.npy")),
    "trailing bytes": lambda folder: (folder / "loops.npy").open("ab").write(b"x"),
    "no header": lambda folder: (folder / "header.json").unlink(),
    "a header of a pipe": lambda folder: ((folder / "header.json").unlink(), os.mkfifo(folder / "header.json")),
    "half a header": lambda folder: (folder / "header.json").write_text('{"format": "portgnn-graph", "ver'),
    "a deep header": lambda folder: (folder / "header.json").write_text("[" * 100_000),
    "a list": lambda folder: (folder / "header.json").write_text("[]"),
    "digits": lambda folder: (folder / "header.json").write_text("9" * 5000),
    "more nodes": _header(nodes=61),
    "no nodes": _header(nodes=0),
    "nodes as text": _header(nodes="60"),
    "nodes as a float": _header(nodes=60.0),
    "nodes beyond": _header(nodes=10**30),
    "features beyond": _header(features=10**30),
    "another form of features": _header(sparse_features=False),
    "weighted as text": _header(weighted="false"),
    "names no list": _header(class_names="ab"),
    "names of numbers": _header(class_names=[1, 2]),
    "half a surrogate pair": _header(class_names=["\ud800"] * 9),
    "too few feature names": _header(feature_names=["a"]),
    "version": _header(version=[3]),
    "a version that is true": _header(version=True),
    "classes of one name": _header(class_names=["a", "b", "a"]),
    "classes that space tells apart": _header(class_names=["a", "b", "a "]),
    "no checksums": _header(checksums={}),
    "checksums of more": _header(checksums={"../x": "0" * 64}),
}  # fmt: skip


@pytest.mark.parametrize("damage", SHAPES.values(), ids=SHAPES)
def test_what_does_not_fit_together_is_refused_when_it_is_opened(folder: Path, damage: Callable[[Path], Any]) -> None:
    damage(folder)
    with pytest.raises(DatasetError, match=r"a\.graph"):
        DiskGraph(folder)
    with pytest.raises(DatasetError, match=r"a\.graph"):
        portgnn.train(folder, loader="neighbor", epochs=1)


@pytest.mark.parametrize("damage", NUMBERS.values(), ids=NUMBERS)
def test_another_number_is_noticed_by_checksum_and_by_range(
    folder: Path, damage: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(folder)
    for read in (lambda: DiskGraph(folder).load(), lambda: OnDisk(DiskGraph(folder), CONFIG)):
        with pytest.raises(DatasetError, match=r"a\.graph"):
            read()
    # As if the file had been changed after it was verified, or the checksum with it.
    monkeypatch.setattr(DiskGraph, "verify", lambda self: None)
    with pytest.raises(DatasetError, match=r"a\.graph"):
        _read_batches(OnDisk(DiskGraph(folder), CONFIG))
    if damage is not NUMBERS["sums NaN"]:  # which a graph in memory computes anew
        with pytest.raises(DatasetError, match=r"a\.graph"):
            DiskGraph(folder).load()


def _read_batches(source: OnDisk) -> None:
    for nodes in (np.arange(60), np.array([0, 3, 59])):
        sample(source, nodes, (2, 3), np.ones((2, 2), dtype=np.uint32))
        sample(source, nodes, (None, None), np.ones((2, 2), dtype=np.uint32))
        source.features(nodes)


def test_one_bit_is_noticed_in_every_file(folder: Path) -> None:
    for path in sorted(folder.glob("*.npy")):
        whole = path.read_bytes()
        path.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
        with pytest.raises(DatasetError, match=path.name if path.stem not in ("train", "val", "test") else "a.graph"):
            DiskGraph(folder).load()
        path.write_bytes(whole)
    DiskGraph(folder).load()


def test_folders_of_version_1_are_read_and_checked(make_graph: MakeGraph, folder: Path) -> None:
    names = np.array([f"n{i}" for i in range(60)])
    new = DiskGraph(folder).load()
    header = json.loads((folder / "header.json").read_text())
    del header["checksums"]
    (folder / "header.json").write_text(json.dumps(header | {"version": 1}))
    np.save(folder / "node_ids.npy", names)
    np.save(folder / "scale.npy", 1 / np.sqrt(np.load(folder / "sums.npy")[:, 1]))
    (folder / "sums.npy").unlink()
    old = DiskGraph(folder).load()
    assert fingerprint(old) == fingerprint(new)
    assert old.node_ids.tolist() == names.tolist() == new.node_ids.tolist()
    for name, change in (("indices", _put(5, 2**30)), ("indptr", _put(7, 10**6)), ("loops", _put(0, 99))):
        whole = (folder / f"{name}.npy").read_bytes()
        _part(name, change)(folder)
        with pytest.raises(DatasetError, match=f"{name}.npy is damaged"):
            DiskGraph(folder).load()
        (folder / f"{name}.npy").write_bytes(whole)
    # Its numbers are one network's: it is loaded and converted, and not trained on row by row.
    with pytest.raises(DatasetError, match="convert it: portgnn convert ") as refused:
        OnDisk(DiskGraph(folder), CONFIG)
    assert cli.main(shlex.split(str(refused.value).partition("portgnn ")[2].rpartition("portgnn ")[2])) == 0
    _read_batches(OnDisk(DiskGraph(folder.with_name("a-2.graph")), CONFIG))


def test_an_interrupted_conversion_says_so(folder: Path, tmp_path: Path) -> None:
    (folder / "header.json").unlink()
    with pytest.raises(DatasetError, match="interrupted"):
        load_graph(folder)
    part = tmp_path / ".b.graph.0123456789ab.part"
    shutil.copytree(folder, part)
    with pytest.raises(DatasetError, match="interrupted"):
        load_graph(part)


def test_names_of_any_length_take_their_own_room(make_graph: MakeGraph, tmp_path: Path) -> None:
    ids = ["x" * 60_000, "", *(f"é{i}" for i in range(298))]
    graph = replace(make_graph(1, nodes=300), node_ids=ids)
    written = write_graph(graph, tmp_path / "a.graph")
    assert written.bytes < 200_000
    assert written.load().node_ids.tolist() == ids
