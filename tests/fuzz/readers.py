"""Valid inputs of every kind that portgnn reads, and what is allowed to happen when they are damaged."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import structured

from portgnn import Graph, GraphSet, Model, load_config, load_graphs, train
from portgnn.checkpoints.runs import load_run
from portgnn.datasets._graphml import read_markup
from portgnn.datasets._linqs import read_linqs
from portgnn.datasets._npz import read_npz
from portgnn.datasets._ogb import read_ogb
from portgnn.datasets._planetoid import PARTS, read_planetoid
from portgnn.datasets._tables import read_folder
from portgnn.datasets._tu import read_tu
from portgnn.disk.folder import DiskGraph, write_graph
from portgnn.loaders.neighbor import sample
from portgnn.loaders.on_disk import OnDisk
from portgnn.presets import Config
from portgnn.report import page
from portgnn.report.documents import read as read_document

Files = Mapping[str, bytes]
Damage = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Reader:
    """files: a valid input, name -> content. read: reads them out of a folder, checks the result. words: what a
    mutation may insert, beside what is in the files. inside: damages what a container holds and packs it again, so
    that checksums and lengths are right and the parsers behind them are reached; name -> how."""

    files: Files
    read: Callable[[Path], object]
    words: tuple[bytes, ...] = ()
    inside: Mapping[str, Callable[[bytes, Damage], bytes]] = field(default_factory=dict)
    damage: tuple[Callable[[dict[str, bytes], random.Random], dict[str, bytes]], ...] = ()
    """Damage that knows the format; see `structured`."""


def damage_zip(content: bytes, damage: Damage) -> bytes:
    """One member of a zip."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members = damage_one(members, damage)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return file.getvalue()


def damage_gzip(content: bytes, damage: Damage) -> bytes:
    """The tar within."""
    return gzip.compress(damage(gzip.decompress(content)), 1)


def damage_zip_of_gzip(content: bytes, damage: Damage) -> bytes:
    """The text in one gzipped member of a zip."""
    return damage_zip(content, lambda part: damage_gzip(part, damage) if part[:2] == b"\x1f\x8b" else damage(part))


def damage_header(content: bytes, damage: Damage) -> bytes:
    """The JSON header of a safetensors file, or what one of its texts holds, with the right length before it."""
    length = int.from_bytes(content[:8], "little")
    header = damage(content[8 : 8 + length])
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def damage_one(members: dict[str, bytes], damage: Damage) -> dict[str, bytes]:
    """One of several, by the damage's own choice of a number."""
    chosen = sorted(members)[sum(damage(b"0123456789abcdef" * 4)) % len(members)]
    return {name: damage(member) if name == chosen else member for name, member in members.items()}


def _checked(graph: Graph) -> Graph:
    """What a Graph promises, asked again: a reader must not have found a way around its checks."""
    assert graph.adjacency.shape == (graph.num_nodes, graph.num_nodes)
    assert graph.features.shape[0] == graph.num_nodes
    stored = graph.features.data if isinstance(graph.features, sp.csr_array) else graph.features
    assert np.isfinite(stored).all()
    assert np.isfinite(graph.adjacency.data).all()
    assert (graph.adjacency.indices < graph.num_nodes).all()
    assert graph.labels is None or (graph.labels < max(graph.num_classes, 1)).all()
    return graph


def _planetoid() -> Files:
    from py2_pickles import dumps, planetoid_parts

    parts = planetoid_parts()
    index = "".join(f"{node}\n" for node in parts["test.index"]).encode()
    return {part: index if part == "test.index" else dumps(parts[part]) for part in PARTS}


def _linqs() -> Files:
    members = {
        "cora/cora.content": b"11\t0\t1\tA\n22\t1\t0\tB\n33\t1\t1\tA\n",
        "cora/cora.cites": b"11\t22\n22\t33\n33\t33\n",
    }
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return {"cora.tgz": file.getvalue()}


_NODES = b'id,label,split,age,size\na,x,train,1,2.5\nb,y,val,3,-1e3\nc,x,test,0,0\n"d,e",,,5,1\n'
_EDGES = b'source,target,weight\na,b,1\nb,c,0.5\nc,a,2\n"d,e",a,1\n'


def _npz() -> Files:
    adjacency = sp.csr_array(np.array([[0, 1, 0], [1, 0, 2], [0, 1, 0]], dtype=np.float32))
    attributes = sp.csr_array(np.eye(3, 5))
    file = io.BytesIO()
    arrays = {
        "labels": np.array([0, 1, 0]),
        "node_names": np.array(["a", "b", "c"]),
        "class_names": np.array(["x", "y"]),
    }
    for prefix, matrix in (("adj_", adjacency), ("attr_", attributes)):
        arrays |= {
            prefix + "data": matrix.data,
            prefix + "indices": matrix.indices,
            prefix + "indptr": matrix.indptr,
            prefix + "shape": np.array(matrix.shape),
        }
    np.savez_compressed(file, **arrays)
    return {"graph.npz": file.getvalue()}


def _stored_splits() -> Files:
    file = io.BytesIO()
    masks = {f"{part}_masks": np.arange(6)[None] % 3 == number for number, part in enumerate(("train", "val", "test"))}
    np.savez_compressed(
        file,
        node_features=np.eye(6, 3),
        node_labels=np.arange(6) % 2,
        edges=np.array([[0, 1], [1, 2], [4, 5]]),
        **masks,
    )
    return {"graph.npz": file.getvalue()}


_OGB = {
    "raw/num-node-list": b"4\n",
    "raw/num-edge-list": b"3\n",
    "raw/edge": b"0,1\n1,2\n3,3\n",
    "raw/node-feat": b"1,0.5\n0,-1e-1\n2,3\n4,5\n",
    "raw/node-label": b"0\n1\n0\n1\n",
    "split/time/train": b"0\n1\n",
    "split/time/valid": b"2\n",
    "split/time/test": b"3\n",
}


def _zip(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


_TU = {
    "A": b"1, 2\n2, 1\n2, 3\n3, 2\n4, 5\n5, 4\n",
    "graph_indicator": b"1\n1\n1\n2\n2\n3\n",
    "graph_labels": b"1\n-1\n1\n",
    "node_labels": b"0\n5\n0\n5\n0\n7\n",
    "node_attributes": b"0.5, 1\n1, 2\n-1, 3\n2, 1\n0, 0\n1e3, 1\n",
}
_SET_TABLES = {
    "nodes.csv": b"graph,id,x\na,1,1\na,2,3\nb,1,5\na,3,7\n",
    "edges.csv": b"graph,source,target,weight\na,1,2,1\na,2,3,0.5\nb,1,1,2\n",
    "graphs.csv": b"graph,label,split\na,yes,train\nb,no,test\n",
}


def _checked_set(graphs: GraphSet) -> GraphSet:
    _checked(graphs.union)
    assert graphs.sizes.min() >= 1
    assert graphs.sizes.sum() == graphs.num_nodes
    assert graphs.labels is None or (graphs.labels < max(graphs.num_classes, 1)).all()
    assert sum(graphs[at].adjacency.nnz for at in range(len(graphs))) == graphs.union.adjacency.nnz
    return graphs


def _ogb() -> Files:
    return {"s.zip": _zip({f"s/{name}.csv.gz": gzip.compress(text, mtime=0) for name, text in _OGB.items()})}


_GRAPHML = b"""<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key id="d0" for="node" attr.name="label" attr.type="string"/>
<key id="d1" for="node" attr.name="age" attr.type="double"><default>1</default></key>
<key id="d2" for="edge" attr.name="weight" attr.type="double"/>
<graph edgedefault="undirected">
<node id="a"><data key="d0">x</data><data key="d1">1.5</data></node>
<node id="b"><data key="d0">y</data></node>
<edge source="a" target="b"><data key="d2">2</data></edge>
</graph></graphml>
"""
_GML = b"""graph [
  directed 0
  node [ id 0 label "a" class "x" age 1.5 ]
  node [ id 1 label "b" class "y" age 2 ]
  edge [ source 0 target 1 weight 2.0 ]
]
"""


def _parquet() -> Files:
    import pyarrow as pa
    from pyarrow import parquet

    tables = {
        "nodes.parquet": {"id": [1, 2, 3], "label": ["x", "y", None], "age": [1.0, 2.0, 3.0]},
        "edges.parquet": {"source": [1, 2], "target": [2, 3], "weight": [0.5, 1.0]},
    }
    files = {}
    for name, columns in tables.items():
        file = io.BytesIO()
        parquet.write_table(pa.table(columns), file)
        files[name] = file.getvalue()
    return files


def _checkpoints(folder: Path) -> tuple[Files, Files]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("run", "model"):
        (folder / name).unlink(missing_ok=True)
    result = train("karate", hidden=2, epochs=5, restore_best=True, checkpoint=folder / "run")
    result.save(folder / "model")
    return {"model": (folder / "model").read_bytes()}, {"run": (folder / "run").read_bytes()}


_NUMBER_WORDS = (
    b",",
    b"\n",
    b"nan",
    b"inf",
    b"-1",
    b"1e999",
    b"9" * 30,
    b"\xff",
    b"\0",
    b"\r",
    b"0x1",
    b" ",
    b"#",
    b'"',
)
_JSON = (b'"shape"', b"[]", b"{", b"999999999999", b"F64", b"BF16", b"null", b"-1", b"1e999", b"[" * 3000, b"NaN")


def _disk(folder: Path, sparse: bool) -> Files:
    draw = np.random.default_rng(0)
    adjacency = sp.random_array((30, 30), density=0.15, rng=draw, format="csr")
    features = sp.random_array((30, 40), density=0.05, rng=draw, format="csr") if sparse else draw.random((30, 5))
    graph = Graph(adjacency.maximum(adjacency.T), features, np.arange(30) % 3, [0, 1, 2], [3, 4], [5, 6],
                  node_ids=[f"n{i}" for i in range(30)], feature_names=() if sparse else tuple("abcde"))  # fmt: skip
    path = folder / f"{sparse}.graph"
    shutil.rmtree(path, ignore_errors=True)
    write_graph(graph, path)
    return {f"g.graph/{file.name}": file.read_bytes() for file in path.iterdir()}


def _batches(path: Path) -> None:
    """Batches of a folder whose checksums are not looked at, as if it had been changed after they were."""
    graph = DiskGraph(path)
    graph.checksums = None if graph.checksums is None else {}
    source = OnDisk(graph, Config(loader="neighbor", fanout="3,2", undirected=False))
    for nodes in (np.arange(graph.num_nodes), np.array([0, graph.num_nodes - 1])):
        for fanout in (2, None):
            block = sample(source, np.unique(nodes), (fanout, fanout), np.zeros((2, 2), dtype=np.uint32))
            features, _ = source.features(block.levels[0])
            assert features.shape[0] == len(block.levels[0])


def _documents() -> dict[str, bytes]:
    result = train("karate", hidden=2, epochs=4, preset="pyg").to_dict()
    check = {"name": "ops.matmul", "max_error": 1e-7, "tolerance": 1e-5, "passed": True, "hint": ""}
    checks = [check, check | {"name": "ops.add", "passed": False, "hint": "known: a gap", "max_error": None}]
    said = {"backend": "numpy", "device": "cpu", "dtype": "float32", "passed": True, "checks": checks}
    timed = {
        "status": "timed", "title": "portgnn", "kind": "own", "contender": "numpy", "device": "cpu", "dataset": "cora",
        "recipe": "kipf", "train_ms": {"median": 1.0, "q1": 0.9, "q3": 1.1}, "graph": {"stored_edges": 100},
        "options": {"form": "csr", "rows": "all"}, "recipe_values": {"hidden": 16}, "test_accuracy": 0.8,
        "evaluate_ms": {"median": 0.5}, "first_epoch_ms": 3.0, "others_cores": 0.1,
    }  # fmt: skip
    bench = {
        "format": "portgnn-bench", "made": "2026-01-01T00:00:00", "machine": {"processor": "x", "cores": 2},
        "options": {"datasets": ["cora"], "hidden": 16}, "plan": {"rounds": 3}, "git": {"commit": "abc"},
        "workers": {"numpy": {"environment": {"numpy": "2"}}},
        "rows": [timed, timed | {"title": "other", "kind": "peer"}, {"status": "failed", "label": "x", "reason": "y"}],
    }  # fmt: skip
    grown = bench | {"kind": "growth", "rows": [timed | {"series": "growth", "peak_bytes": 5e6}]}
    found = {"run": result, "verification": said, "benchmark": bench, "growth": grown}
    return {name: json.dumps(value).encode() for name, value in found.items()}


def _page(path: Path) -> None:
    document = read_document(path)
    page([document])
    page([document, document])


_TOML = b"""preset = "pyg"
epochs = 20
hidden = 8
learning-rate = 0.01
dataset = "karate"
logger = []
seed = 3
dropout = 0.5
"""


def _others(folder: Path) -> dict[str, Reader]:
    """What is no graph in one file."""
    dense, sparse = _disk(folder, False), _disk(folder, True)
    numbers = (b"9" * 30, b"-1", b"null", b"1e400", b"[]", b'"a"')
    signs = (b"=", b"[", b"]", b".", b'"', b"\\", b"{", b"}", b"''", b"\n", b"0x", b"nan", b"\xff")
    found = {"toml": Reader({"run.toml": _TOML}, lambda at: load_config(at / "run.toml"), signs,
                            damage=(structured.toml,))}  # fmt: skip
    for name, files in (("sparse", sparse), ("dense", dense)):
        for what, read, kept in (
            ("folder", lambda at: _checked(DiskGraph(at / "g.graph").load()), 0.15),
            ("batches", lambda at: _batches(at / "g.graph"), 0.0),
        ):
            damage = (structured.graph_folder("g.graph", kept),)
            found[f".graph {what}, {name}"] = Reader(files, read, numbers, damage=damage)
    for name, content in _documents().items():
        found[f"report, {name}"] = Reader(
            {"r.json": content}, lambda at: _page(at / "r.json"), _JSON, damage=(structured.document("r.json"),)
        )
    return found


def readers(folder: Path) -> dict[str, Reader]:
    """Every reader by name. folder: where checkpoints are made."""
    model, run = _checkpoints(folder)
    found = {
        "planetoid": Reader(
            _planetoid(),
            lambda at: _checked(read_planetoid({part: at / part for part in PARTS}, "toy")),
            (
                b"cos\nsystem\n",
                b"c__builtin__\neval\n",
                b"R",
                b"b",
                b"\x80\x02",
                b"cnumpy\nndarray\n",
                b"I99999999999\n",
                b"cscipy.sparse.csr\ncsr_matrix\n",
                b"ccollections\ndefaultdict\n",
                b"0",
                b"2",
                b"h\x01",
                b"]",
                b"}",
            ),
            damage=(structured.planetoid,),
        ),
        "linqs": Reader(
            _linqs(),
            lambda at: _checked(read_linqs(at / "cora.tgz")),
            (b"../", b"\t", b"0", b"\n", b"1"),
            {"cora.tgz": damage_gzip},
            (structured.tgz("cora.tgz"),),
        ),
        "csv": Reader(
            {"nodes.csv": _NODES, "edges.csv": _EDGES},
            lambda at: _checked(read_folder(at)),
            (
                b",",
                b"\n",
                b'"',
                b"\r",
                b"nan",
                b"inf",
                b"1e999",
                b"\xff",
                b"\0",
                b"\xef\xbb\xbf",
                b"id",
                b"-1",
                b"train",
                b"\xc3\xa9",
                b" ",
                b"label",
                b"split",
            ),
        ),
        "npz": Reader(
            _npz(),
            lambda at: _checked(read_npz(at / "graph.npz")),
            (b"|O", b"\x93NUMPY", b"PK\x01\x02", b"99999999", b"<i8", b"<f8", b"True", b"()", b"<U0"),
            {"graph.npz": damage_zip},
            (structured.npz("graph.npz"),),
        ),
        "npz, stored splits": Reader(
            _stored_splits(),
            lambda at: _checked(read_npz(at / "graph.npz")),
            (b"|O", b"<i8", b"<f8", b"True", b"()", b"|b1"),
            {"graph.npz": damage_zip},
            (structured.npz("graph.npz"),),
        ),
        "ogb": Reader(
            _ogb(),
            lambda at: _checked(read_ogb(at / "s.zip")),
            _NUMBER_WORDS,
            {"s.zip": damage_zip_of_gzip},
        ),
        "ogb, folder": Reader(
            {f"s/{name}.csv.gz": gzip.compress(text, mtime=0) for name, text in _OGB.items()},
            lambda at: _checked(read_ogb(at / "s")),
            _NUMBER_WORDS,
            {f"s/{name}.csv.gz": damage_gzip for name in _OGB},
        ),
        "tu": Reader(
            {"S.zip": _zip({f"S/S_{end}.txt": text for end, text in _TU.items()})},
            lambda at: _checked_set(read_tu(at / "S.zip")),
            _NUMBER_WORDS,
            {"S.zip": damage_zip},
        ),
        "tu, folder": Reader(
            {f"S_{end}.txt": text for end, text in _TU.items()},
            lambda at: _checked_set(read_tu(at)),
            _NUMBER_WORDS,
        ),
        "csv, a set": Reader(
            _SET_TABLES,
            lambda at: _checked_set(load_graphs(at)),
            (b",", b"\n", b'"', b"nan", b"a", b"b", b"graph", b"label", b"id", b"train", b"\xff", b"\0", b"weight"),
        ),
        "features.npz": Reader(
            {"nodes.csv": b"id,label\na,x\nb,y\nc,x\n", "edges.csv": b"source,target\na,b\n", "features.npz": _saved()},
            lambda at: _checked(read_folder(at)),
            (b"<f8", b"|O8", b"csc", b"99999999"),
            {"features.npz": damage_zip},
            (structured.npz("features.npz"),),
        ),
        "model": Reader(
            model,
            lambda at: Model.load(at / "model").check(),
            _JSON,
            {"model": damage_header},
            (structured.safetensors("model"),),
        ),
        "run": Reader(
            run, lambda at: load_run(at / "run"), _JSON, {"run": damage_header}, (structured.safetensors("run"),)
        ),
    }
    if importlib.util.find_spec("networkx"):
        words = (
            b"<!DOCTYPE x>",
            b"&lt;",
            b"&#0;",
            b"nan",
            b"<node id='q'/>",
            b"<graph>",
            b"\xff\xfe",
            b"yfiles",
            b"1e999",
            b"<hyperedge/>",
            b"<port/>",
            b"&#55296;",
        )
        found["graphml"] = Reader({"g.graphml": _GRAPHML}, lambda at: _checked(read_markup(at / "g.graphml")), words)
        words = (b"[", b"]", b"node [ id 0 ]", b"&#99999999;", b"&#55296;", b"multigraph 1", b"INF", b"NAN")
        found["gml"] = Reader({"g.gml": _GML}, lambda at: _checked(read_markup(at / "g.gml")), words)
    if importlib.util.find_spec("pyarrow"):
        found["parquet"] = Reader(
            _parquet(), lambda at: _checked(read_folder(at)), (b"PAR1",), damage=(structured.parquet,)
        )
    return found | _others(folder)


def _saved() -> bytes:
    file = io.BytesIO()
    sp.save_npz(file, sp.csr_array(np.eye(3, 4)))
    return file.getvalue()
