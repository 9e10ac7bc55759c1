"""Small files that promise much: each is under a megabyte, and must be loaded or refused in 2 s and 512 MB.

    python tests/fuzz/bombs.py [--json bench/results/bombs.json] [PART OF A NAME…]

Each is read in a process of its own, forked from one that has imported everything; its time on the processor and its
largest resident memory, imports included, are measured.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import pickle
import socket
import struct
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "portgnn" / "datasets"):
    sys.path.insert(0, str(folder))

SECONDS = 2.0
MEMORY = 512 << 20
LARGEST = 1_000_000

Bomb = Callable[[Path], Callable[[], object]]
"""Writes a file into a folder; returns what reads it."""
BOMBS: dict[str, Bomb] = {}


def bomb(make: Bomb) -> Bomb:
    BOMBS[make.__name__.strip("_")] = make
    return make


def _loads(path: Path, **options: Any) -> Callable[[], object]:
    from portgnn import load_graph

    return partial(load_graph, path, **options)


def _tables(folder: Path, nodes: str, edges: str = "source,target\n") -> Callable[[], object]:
    (folder / "nodes.csv").write_text(nodes)
    (folder / "edges.csv").write_text(edges)
    return _loads(folder)


@bomb
def csv_one_long_id(folder: Path) -> Callable[[], object]:
    return _tables(folder, "id,label\n" + "x" * 60_000 + ",a\n" + "".join(f"{i},a\n" for i in range(30_000)))


@bomb
def csv_one_long_class(folder: Path) -> Callable[[], object]:
    return _tables(folder, "id,label\n0," + "x" * 60_000 + "\n" + "".join(f"{i},a\n" for i in range(1, 30_000)))


@bomb
def csv_many_rows(folder: Path) -> Callable[[], object]:
    return _tables(folder, "id\n" + "\n".join(map(str, range(150_000))))


@bomb
def csv_every_node_its_class(folder: Path) -> Callable[[], object]:
    return _tables(folder, "id,label\n" + "\n".join(f"{i},{i}" for i in range(80_000)))


@bomb
def csv_many_columns(folder: Path) -> Callable[[], object]:
    names = ",".join(map(str, range(99_000)))
    return _tables(folder, f"id,{names}\n" + "\n".join(f"{row}" + ",1" * 99_000 for row in "ab"))


@bomb
def csv_long_names_of_columns(folder: Path) -> Callable[[], object]:
    return _tables(folder, "id," + ",".join("x" * 100 + str(i) for i in range(8000)) + "\n" + "\n".join("abc"))


@bomb
def csv_empty_lines(folder: Path) -> Callable[[], object]:
    return _tables(folder, "id\na\n" + "\n" * 900_000 + "b,c")


@bomb
def csv_quotes(folder: Path) -> Callable[[], object]:
    return _tables(folder, "id\n" + '""""""\n' * 100_000)


@bomb
def csv_edges(folder: Path) -> Callable[[], object]:
    return _tables(folder, "id\na\nb", "source,target\n" + "a,b\n" * 240_000)


@bomb
def csv_fault_at_the_end(folder: Path) -> Callable[[], object]:
    return _tables(folder, "id,x\n" + "".join(f"{i},1\n" for i in range(100_000)) + "q,nan\n")


@bomb
def csv_columns_and_quotes(folder: Path) -> Callable[[], object]:
    names = ",".join(f"c{i}" for i in range(9000))
    return _tables(folder, f"id,{names}\n" + "\n".join(f'"{row}"' + ",1" * 9000 for row in range(45)))


@bomb
def csv_one_fault_in_wide_rows(folder: Path) -> Callable[[], object]:
    names = ",".join(f"c{i}" for i in range(60_000))
    return _tables(folder, f"id,{names}\n" + "\n".join(f"{row}" + ",1" * 59_999 + ",x" for row in "abcd"))


@bomb
def csv_classes_in_numpys_writing(folder: Path) -> Callable[[], object]:
    return _tables(folder, "id,label\n" + "\n".join(f"{i},{i:.6e}" for i in range(40_000)))


@bomb
def csv_classes_of_other_letters(folder: Path) -> Callable[[], object]:
    return _tables(folder, "id,label\n" + "\n".join(f"{i},\ufdfa{i}" for i in range(60_000)))


@bomb
def csv_edges_of_unknown_nodes(folder: Path) -> Callable[[], object]:
    return _tables(folder, "id\na", "source,target\n" + "\n".join(f"a,{i}" for i in range(110_000)))


def _npz(folder: Path, **arrays: Any) -> Callable[[], object]:
    np.savez_compressed(folder / "g.npz", **arrays)
    return _loads(folder / "g.npz")


def _csr(name: str, rows: int, columns: int, stored: int) -> dict[str, Any]:
    return {
        f"{name}_data": np.ones(stored, dtype=np.uint8),
        f"{name}_indices": (np.arange(stored) % columns).astype(np.int32),
        f"{name}_indptr": np.linspace(0, stored, rows + 1).astype(np.int32),
        f"{name}_shape": np.array([rows, columns]),
    }


@bomb
def npz_dense_bytes(folder: Path) -> Callable[[], object]:
    return _npz(folder, **_csr("adj", 1000, 1000, 3), attr_matrix=np.zeros((1000, 250_000), np.uint8))


@bomb
def npz_dense_bytes_admitted(folder: Path) -> Callable[[], object]:
    return _npz(folder, **_csr("adj", 1000, 1000, 3), attr_matrix=np.zeros((1000, 15_000), np.uint8))


@bomb
def npz_dense_half(folder: Path) -> Callable[[], object]:
    return _npz(folder, **_csr("adj", 1000, 1000, 3), attr_matrix=np.zeros((1000, 14_000), np.float16))


@bomb
def npz_dense_long_double(folder: Path) -> Callable[[], object]:
    return _npz(folder, **_csr("adj", 1000, 1000, 3), attr_matrix=np.zeros((1000, 10_000), np.longdouble))


@bomb
def npz_many_edges(folder: Path) -> Callable[[], object]:
    return _npz(folder, **_csr("adj", 3000, 3000, 8_000_000))


@bomb
def npz_many_edges_admitted(folder: Path) -> Callable[[], object]:
    return _npz(folder, **_csr("adj", 3000, 3000, 2_000_000))


@bomb
def npz_many_nodes(folder: Path) -> Callable[[], object]:
    return _npz(folder, **_csr("adj", 20_000_000, 20_000_000, 3))


@bomb
def npz_many_nodes_admitted(folder: Path) -> Callable[[], object]:
    return _npz(folder, **_csr("adj", 3_000_000, 3_000_000, 3))


@bomb
def npz_wide_features(folder: Path) -> Callable[[], object]:
    return _npz(folder, **_csr("adj", 1000, 1000, 3), **_csr("attr", 1000, 2**31 - 1, 10))


@bomb
def npz_many_features(folder: Path) -> Callable[[], object]:
    return _npz(folder, **_csr("adj", 1000, 1000, 3), **_csr("attr", 1000, 5000, 20_000_000))


@bomb
def npz_padded_names(folder: Path) -> Callable[[], object]:
    names = np.zeros(1000, dtype="U60000")
    names[:] = [str(i) for i in range(1000)]
    return _npz(folder, **_csr("adj", 1000, 1000, 3), node_names=names)


@bomb
def npz_many_names(folder: Path) -> Callable[[], object]:
    names = np.array(["a"] * 12_000_000, dtype="S1")
    return _npz(folder, **_csr("adj", 1000, 1000, 3), attr_names=names)


@bomb
def npz_one_long_name(folder: Path) -> Callable[[], object]:
    return _npz(folder, **_csr("adj", 100_000, 100_000, 3), class_names=np.array(["x" * 100_000, "b"]))


@bomb
def npz_many_members(folder: Path) -> Callable[[], object]:
    with zipfile.ZipFile(folder / "g.npz", "w") as archive:
        for i in range(9000):
            archive.writestr(str(i), b"")
    return _loads(folder / "g.npz")


@bomb
def npz_overlapping_members(folder: Path) -> Callable[[], object]:
    file = io.BytesIO()
    np.save(file, np.zeros(100_000_000, np.uint8))
    with zipfile.ZipFile(folder / "g.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", file.getvalue())
    content = (folder / "g.npz").read_bytes()
    start = int.from_bytes(content[-6:-2], "little")
    entry, end = content[start:-22], bytearray(content[-22:])
    entries = b"".join(entry.replace(b"a.npy", b"%c.npy" % (97 + i)) for i in range(20))
    end[8:12] = struct.pack("<HH", 20, 20)
    end[12:16] = struct.pack("<I", len(entries))
    (folder / "g.npz").write_bytes(content[:start] + entries + bytes(end))
    return _loads(folder / "g.npz")


def _parquet(folder: Path, columns: dict[str, Any], **options: Any) -> Callable[[], object]:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), folder / "nodes.parquet", **options)
    parquet.write_table(pa.table({"source": ["a"], "target": ["a"]}), folder / "edges.parquet")
    return _loads(folder)


@bomb
def parquet_one_number_many_times(folder: Path) -> Callable[[], object]:
    import pyarrow as pa

    column = pa.array(np.zeros(8_000_000, np.uint8))
    return _parquet(folder, {"id": column, **{f"x{i}": column for i in range(3)}})


@bomb
def parquet_rows_admitted(folder: Path) -> Callable[[], object]:
    import pyarrow as pa

    ids = pa.array(np.arange(120_000) % 2)
    return _parquet(folder, {"id": ids, **{f"x{i}": ids for i in range(40)}}, compression="zstd")


@bomb
def parquet_one_text_many_times(folder: Path) -> Callable[[], object]:
    import pyarrow as pa

    words = pa.DictionaryArray.from_arrays(np.zeros(300_000, np.int32), ["x" * 100_000])
    return _parquet(folder, {"id": words})


@bomb
def parquet_texts_that_share_beginnings(folder: Path) -> Callable[[], object]:
    words = ["x" * 100_000 + str(i) for i in range(1500)]
    return _parquet(
        folder, {"id": words}, column_encoding={"id": "DELTA_BYTE_ARRAY"}, use_dictionary=False, compression="zstd"
    )


@bomb
def parquet_compressed_text(folder: Path) -> Callable[[], object]:
    words = ["x" * 100_000 + str(i) for i in range(2500)]
    return _parquet(folder, {"id": words}, use_dictionary=False, compression="zstd")


@bomb
def parquet_fixed_width_of_null(folder: Path) -> Callable[[], object]:
    import pyarrow as pa

    return _parquet(folder, {"id": pa.nulls(2000, pa.binary(1_000_000))})


@bomb
def parquet_nested(folder: Path) -> Callable[[], object]:
    import pyarrow as pa

    kind = pa.int8()
    for _ in range(60):
        kind = pa.list_(kind)
    return _parquet(folder, {"id": ["a"], "x": pa.nulls(1, kind)})


@bomb
def parquet_lists(folder: Path) -> Callable[[], object]:
    import pyarrow as pa

    values = pa.array(np.zeros(60_000_000, np.uint8))
    return _parquet(folder, {"id": pa.ListArray.from_arrays(pa.array([0, 60_000_000], pa.int32()), values)})


@bomb
def parquet_many_columns(folder: Path) -> Callable[[], object]:
    return _parquet(folder, {"id": ["a", "b"], **{f"x{i}": [0.0, 1.0] for i in range(2000)}})


@bomb
def parquet_page_that_lies(folder: Path) -> Callable[[], object]:
    """A page's header says that it unpacks to 2.2 GB."""
    import pyarrow as pa
    from pyarrow import parquet

    reads = _parquet(
        folder, {"id": pa.array(["a", "b", "c"] * 30)}, compression="zstd", use_dictionary=False, write_statistics=False
    )
    path = folder / "nodes.parquet"
    content = path.read_bytes()
    column = parquet.ParquetFile(path).metadata.row_group(0).column(0)
    start = column.data_page_offset
    # Field 1 (type, 2 bytes), then field 2: the size unpacked, a zigzag varint after its own byte.
    assert content[start] == 0x15
    assert content[start + 2] == 0x15
    at = start + 3
    end = at
    while content[end] & 0x80:
        end += 1
    old = content[at : end + 1]
    value, new = 2_147_000_000 * 2, b""
    while value >= 0x80:
        new += bytes([value & 0x7F | 0x80])
        value >>= 7
    new += bytes([value])
    # The footer's offsets stay right: the page's own bytes give the room.
    grown = len(new) - len(old)
    footer = content[column.data_page_offset + column.total_compressed_size :]
    path.write_bytes(content[:at] + new + content[end + 1 : start + column.total_compressed_size - grown] + footer)
    return reads


_HEAD = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'


def _graphml(folder: Path, text: str) -> Callable[[], object]:
    (folder / "g.graphml").write_text(text)
    return _loads(folder / "g.graphml")


@bomb
def graphml_defaults(folder: Path) -> Callable[[], object]:
    keys = "".join(
        f'<key id="d{i}" for="node" attr.name="x{i}" attr.type="int"><default>1</default></key>' for i in range(2600)
    )
    nodes = "".join(f'<node id="{i}"/>' for i in range(5200))
    return _graphml(folder, f'{_HEAD}{keys}<graph edgedefault="directed">{nodes}</graph></graphml>')


@bomb
def graphml_defaults_of_edges(folder: Path) -> Callable[[], object]:
    keys = "".join(
        f'<key id="d{i}" for="edge" attr.name="x{i}" attr.type="int"><default>1</default></key>' for i in range(2600)
    )
    edges = "".join(f'<edge id="{i}" source="a" target="a"/>' for i in range(9000))
    text = f'{_HEAD}{keys}<graph edgedefault="directed"><node id="a"/>{edges}</graph></graphml>'
    return _graphml(folder, text)


@bomb
def graphml_nodes(folder: Path) -> Callable[[], object]:
    nodes = "".join(f'<node id="{i}"/>' for i in range(48_000))
    return _graphml(folder, f'{_HEAD}<graph edgedefault="directed">{nodes}</graph></graphml>')


@bomb
def graphml_edges(folder: Path) -> Callable[[], object]:
    edges = "".join(f'<edge source="a" target="b" id="{i}"/>' for i in range(21_000))
    return _graphml(
        folder, f'{_HEAD}<graph edgedefault="directed"><node id="a"/><node id="b"/>{edges}</graph></graphml>'
    )


@bomb
def graphml_one_long_id(folder: Path) -> Callable[[], object]:
    nodes = "".join(f'<node id="{i}"/>' for i in range(40_000))
    text = f'{_HEAD}<graph edgedefault="directed"><node id="{"x" * 60_000}"/>{nodes}</graph></graphml>'
    return _graphml(folder, text)


@bomb
def graphml_elements(folder: Path) -> Callable[[], object]:
    return _graphml(folder, f"{_HEAD}{'<a/>' * 230_000}</graphml>")


@bomb
def graphml_attributes(folder: Path) -> Callable[[], object]:
    attributes = " ".join(f'a{i}=""' for i in range(80_000))
    return _graphml(folder, f"{_HEAD}<graph {attributes}/></graphml>")


@bomb
def graphml_depth(folder: Path) -> Callable[[], object]:
    return _graphml(folder, _HEAD + "<a>" * 300_000)


@bomb
def graphml_keys_without_values(folder: Path) -> Callable[[], object]:
    keys = "".join(f'<key id="{i}" for="node" attr.name="{i}" attr.type="int"/>' for i in range(6000))
    nodes = "".join(f'<node id="{i}"><data key="{i}">1</data></node>' for i in range(6000))
    return _graphml(folder, f'{_HEAD}{keys}<graph edgedefault="directed">{nodes}</graph></graphml>')


@bomb
def graphml_edges_of_one_id(folder: Path) -> Callable[[], object]:
    edges = '<edge id="" source="a" target="a"/>' * 26_000
    return _graphml(folder, f'{_HEAD}<graph edgedefault="undirected"><node id="a"/>{edges}</graph></graphml>')


@bomb
def graphml_empty_defaults(folder: Path) -> Callable[[], object]:
    keys = "".join(f'<key id="{i}" for="all" attr.name="{i}" attr.type="int"><default/></key>' for i in range(12_000))
    return _graphml(folder, f'{_HEAD}{keys}<graph edgedefault="directed"><node id="a"/></graph></graphml>')


@bomb
def graphml_graphs(folder: Path) -> Callable[[], object]:
    return _graphml(folder, f"{_HEAD}{'<graph/>' * 110_000}</graphml>")


@bomb
def graphml_data_of_one_node(folder: Path) -> Callable[[], object]:
    key = '<key id="k" for="node" attr.name="k" attr.type="double"/>'
    data = '<data key="k">1</data>' * 40_000
    return _graphml(folder, f'{_HEAD}{key}<graph edgedefault="directed"><node id="a">{data}</node></graph></graphml>')


def _gml(folder: Path, text: str) -> Callable[[], object]:
    (folder / "g.gml").write_text(text)
    return _loads(folder / "g.gml")


@bomb
def gml_nodes(folder: Path) -> Callable[[], object]:
    return _gml(folder, "graph [" + "".join(f"node [id {i} label {i}]\n" for i in range(34_000)) + "]")


@bomb
def gml_edges(folder: Path) -> Callable[[], object]:
    nodes = "node [id 0 label 0]\nnode [id 1 label 1]\n"
    return _gml(folder, "graph [directed 1 multigraph 1 " + nodes + "edge [source 0 target 1]\n" * 36_000 + "]")


@bomb
def gml_keys(folder: Path) -> Callable[[], object]:
    return _gml(folder, "graph [" + "a 1\n" * 240_000 + "node [id 0 label 0]]")


@bomb
def gml_depth(folder: Path) -> Callable[[], object]:
    return _gml(folder, "graph [" + "a [" * 300_000)


@bomb
def gml_one_line(folder: Path) -> Callable[[], object]:
    return _gml(folder, "graph [" + '"' * 900_000)


@bomb
def gml_one_long_number(folder: Path) -> Callable[[], object]:
    return _gml(folder, "graph [node [id " + "9" * 900_000 + " label 0]]")


@bomb
def gml_one_long_text(folder: Path) -> Callable[[], object]:
    return _gml(folder, 'graph [node [id 0 label "' + "&amp;" * 150_000 + '"]]')


@bomb
def gml_lists(folder: Path) -> Callable[[], object]:
    return _gml(folder, "graph [" + "a[]" * 320_000 + "node [id 0 label 0]]")


@bomb
def gml_attributes_of_nodes(folder: Path) -> Callable[[], object]:
    keys = " ".join(f"f{i} {i % 10}" for i in range(120))
    return _gml(folder, "graph [" + "".join(f"node [id {i} label {i} {keys}]\n" for i in range(1100)) + "]")


@bomb
def gml_attributes_of_their_own(folder: Path) -> Callable[[], object]:
    return _gml(folder, "graph [" + "".join(f"node [id {i} label {i} f{i} 1]\n" for i in range(25_000)) + "]")


@bomb
def gml_entities(folder: Path) -> Callable[[], object]:
    return _gml(folder, 'graph [node [id 0 label "' + "&#9;" * 220_000 + '"]]')


@bomb
def gml_fault_at_the_end(folder: Path) -> Callable[[], object]:
    return _gml(folder, "graph [" + "\n" * 900_000 + "5")


def _linqs(folder: Path, content: bytes, cites: bytes = b"", **more: Any) -> Callable[[], object]:
    from portgnn.datasets._linqs import read_linqs

    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in (("cora/cora.content", content), ("cora/cora.cites", cites)):
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(data), more
            tar.addfile(info, io.BytesIO(data))
    (folder / "cora.tgz").write_bytes(gzip.compress(file.getvalue(), 9))
    return partial(read_linqs, folder / "cora.tgz")


@bomb
def linqs_words(folder: Path) -> Callable[[], object]:
    line = b"\t" + b"0\t" * 25_000 + b"a\n"
    return _linqs(folder, b"".join(b"%d" % i + line for i in range(1200)))


@bomb
def linqs_words_admitted(folder: Path) -> Callable[[], object]:
    line = b"\t" + b"1\t" * 5_000 + b"a\n"
    return _linqs(folder, b"".join(b"%d" % i + line for i in range(1200)))


@bomb
def linqs_one_long_id(folder: Path) -> Callable[[], object]:
    return _linqs(
        folder, b"x" * 60_000 + b"\t0\tc\n" + b"".join(b"%d\t0\tc\n" % i for i in range(100_000)), b"1\t2\n" * 50_000
    )


@bomb
def linqs_one_long_class(folder: Path) -> Callable[[], object]:
    return _linqs(folder, b"a\t0\t" + b"x" * 60_000 + b"\n" + b"".join(b"%d\t0\tc\n" % i for i in range(100_000)))


@bomb
def linqs_zeros(folder: Path) -> Callable[[], object]:
    (folder / "cora.tgz").write_bytes(gzip.compress(bytes(600_000_000), 9))
    from portgnn.datasets._linqs import read_linqs

    return partial(read_linqs, folder / "cora.tgz")


@bomb
def linqs_pax_size(folder: Path) -> Callable[[], object]:
    return _linqs(folder, b"a\t0\tc\n", size="9" * 5000)


@bomb
def linqs_pax_sparse(folder: Path) -> Callable[[], object]:
    more = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "60000000", "GNU.sparse.name": "x"}
    return _linqs(folder, b"a\t0\tc\n", **more)


@bomb
def linqs_many_members(folder: Path) -> Callable[[], object]:
    from portgnn.datasets._linqs import read_linqs

    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for i in range(50_000):
            tar.addfile(tarfile.TarInfo(f"{i}"))
    (folder / "cora.tgz").write_bytes(gzip.compress(file.getvalue(), 9))
    return partial(read_linqs, folder / "cora.tgz")


def _planetoid(folder: Path, **parts: bytes) -> Callable[[], object]:
    from py2_pickles import dumps, planetoid_parts

    from portgnn.datasets._planetoid import PARTS, read_planetoid

    valid = planetoid_parts()
    for part in PARTS:
        index = "".join(f"{node}\n" for node in valid["test.index"]).encode()
        whole = index if part == "test.index" else dumps(valid[part])
        (folder / part).write_bytes(parts.get(part, whole))
    return partial(read_planetoid, {part: folder / part for part in PARTS}, "toy")


@bomb
def pickle_shared_lists(folder: Path) -> Callable[[], object]:
    """A dict of 100,000 nodes that all have the one list of 100,000 neighbours."""
    shared = b"]q\x01(" + b"K\x01" * 100_000 + b"e"
    entries = b"".join(b"J" + struct.pack("<i", i) + b"h\x01" for i in range(1, 100_000))
    return _planetoid(folder, graph=b"\x80\x02}(K\x00" + shared + entries + b"u.")


@bomb
def pickle_tuples_in_tuples(folder: Path) -> Callable[[], object]:
    return _planetoid(folder, graph=b"\x80\x02}N" + b"\x85" * 900_000 + b"]s.")


@bomb
def pickle_lists_in_lists(folder: Path) -> Callable[[], object]:
    return _planetoid(folder, graph=b"\x80\x02}K\x00" + b"]" * 400_000 + b"a" * 399_999 + b"s.")


@bomb
def pickle_same_hash(folder: Path) -> Callable[[], object]:
    prime = 2**61 - 1
    keys = b"".join(b"\x8a\x0a" + (i * prime).to_bytes(10, "little") + b"]" for i in range(70_000))
    return _planetoid(folder, graph=b"\x80\x02}(" + keys + b"u.")


@bomb
def pickle_lists_of_text(folder: Path) -> Callable[[], object]:
    text = b"T" + struct.pack("<i", 500_000) + b"x" * 500_000 + b"q\x01\x85q\x02"
    return _planetoid(folder, graph=b"\x80\x02" + text + b"c__builtin__\nlist\nq\x03" + b"h\x03h\x02R" * 40_000 + b"}.")


@bomb
def pickle_many_arrays(folder: Path) -> Callable[[], object]:
    raw = b"T" + struct.pack("<i", 400_000) + b"x" * 400_000 + b"q\x01"
    dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbq\x02"
    array = b"cnumpy\nndarray\nq\x03"
    each = b"h\x03)\x81(K\x01J" + struct.pack("<i", 400_000) + b"\x85h\x02\x89h\x01tb"
    return _planetoid(folder, y=b"\x80\x02" + raw + dtype + array + each * 20_000 + b".")


@bomb
def pickle_long_numbers(folder: Path) -> Callable[[], object]:
    return _planetoid(folder, graph=b"(dI" + b"9" * 900_000 + b"\n(ls.")


@bomb
def pickle_operations(folder: Path) -> Callable[[], object]:
    return _planetoid(folder, graph=b"\x80\x02}" + b"N0" * 480_000 + b".")


@bomb
def pickle_memo(folder: Path) -> Callable[[], object]:
    return _planetoid(folder, graph=b"\x80\x02}r\xff\xff\xff\x7f.")


@bomb
def pickle_wide_matrix(folder: Path) -> Callable[[], object]:
    from py2_pickles import dumps, planetoid_parts

    parts = planetoid_parts()
    wide = {}
    for part in ("x", "tx", "allx"):
        parts[part]._shape = (parts[part].shape[0], 2**31)
        wide[part] = dumps(parts[part])
    return _planetoid(folder, **wide)


@bomb
def planetoid_one_far_test_node(folder: Path) -> Callable[[], object]:
    from py2_pickles import planetoid_parts

    numbers = planetoid_parts()["test.index"]
    lines = [*(str(node) for node in numbers[:-1]), "9999998"]
    return _planetoid(folder, **{"test.index": "\n".join(lines).encode()})


def _model(folder: Path, header: dict[str, Any], room: int = 0, **fields: str) -> Callable[[], object]:
    from portgnn import Model

    whole = {"__metadata__": {"format": "portgnn-model", "version": "1", **fields}, **header}
    text = json.dumps(whole).encode()
    (folder / "model").write_bytes(len(text).to_bytes(8, "little") + text + bytes(room))
    return partial(Model.load, folder / "model")


_FIELDS = {"config": "{}", "class_names": '["a"]', "num_features": "1"}


@bomb
def model_deep_config(folder: Path) -> Callable[[], object]:
    return _model(folder, {}, **(_FIELDS | {"config": "[" * 400_000}))


@bomb
def model_long_number(folder: Path) -> Callable[[], object]:
    return _model(folder, {}, **(_FIELDS | {"num_features": "9" * 900_000}))


@bomb
def model_many_layers(folder: Path) -> Callable[[], object]:
    return _model(folder, {}, **(_FIELDS | {"config": '{"layers": 2000000000}'}))


@bomb
def model_many_names(folder: Path) -> Callable[[], object]:
    return _model(folder, {}, **(_FIELDS | {"class_names": json.dumps(["a"] * 120_000)}))


@bomb
def model_many_tensors(folder: Path) -> Callable[[], object]:
    tensors = {f"w{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(15_000)}
    return _model(folder, tensors, **_FIELDS)


@bomb
def model_deep_header(folder: Path) -> Callable[[], object]:
    from portgnn import Model

    text = b'{"a":' + b"[" * 900_000
    (folder / "model").write_bytes(len(text).to_bytes(8, "little") + text)
    return partial(Model.load, folder / "model")


def _toml(folder: Path, text: str) -> Callable[[], object]:
    from portgnn import load_config

    (folder / "run.toml").write_text(text)
    return partial(load_config, folder / "run.toml")


@bomb
def toml_dotted_key(folder: Path) -> Callable[[], object]:
    return _toml(folder, ".".join("a" * 100_000) + " = 1\n")


@bomb
def toml_dotted_key_admitted(folder: Path) -> Callable[[], object]:
    return _toml(folder, ".".join("a" * 8_000) + " = 1\n")


@bomb
def toml_dotted_keys(folder: Path) -> Callable[[], object]:
    return _toml(folder, "\n".join(f"a{i}.{'.'.join('a' * 1500)} = 1" for i in range(20)))


@bomb
def toml_dotted_table(folder: Path) -> Callable[[], object]:
    return _toml(folder, "[" + ".".join("a" * 100_000) + "]\n")


@bomb
def toml_long_integer(folder: Path) -> Callable[[], object]:
    return _toml(folder, "epochs = " + "9" * 5000 + "\n")


@bomb
def toml_long_hexadecimal(folder: Path) -> Callable[[], object]:
    return _toml(folder, "epochs = 0x" + "f" * 50_000 + "\n")


@bomb
def toml_long_key(folder: Path) -> Callable[[], object]:
    return _toml(folder, "a" * 900_000 + " = 1\n")


@bomb
def toml_many_keys(folder: Path) -> Callable[[], object]:
    return _toml(folder, "".join(f"a{i} = 1\n" for i in range(90_000)))


@bomb
def toml_deep_list(folder: Path) -> Callable[[], object]:
    return _toml(folder, "logger = " + "[" * 400 + "]" * 400 + "\n")


@bomb
def toml_deep_table(folder: Path) -> Callable[[], object]:
    return _toml(folder, "logger = " + "{a = " * 20_000)


def _report(folder: Path, text: str) -> Callable[[], object]:
    (folder / "run.json").write_text(text)
    return partial(report_of, folder / "run.json")


def report_of(path: Path) -> str:
    from portgnn.report import page
    from portgnn.report.documents import read

    return page([read(path)])


def _run_document(**fields: Any) -> dict[str, Any]:
    from portgnn import train

    return train("karate", hidden=2, epochs=3).to_dict() | fields


@bomb
def report_many_epochs(folder: Path) -> Callable[[], object]:
    many = {"val_loss": [], "val_accuracy": [], "best_epoch": 0}
    return _report(folder, json.dumps(_run_document(train_loss=[1, 0] * 160_000, **many)))


@bomb
def report_deep(folder: Path) -> Callable[[], object]:
    return _report(folder, "[" * 900_000)


@bomb
def report_long_number(folder: Path) -> Callable[[], object]:
    return _report(folder, json.dumps(_run_document()).replace('"seed": 0', '"seed": ' + "9" * 900_000))


@bomb
def report_many_checks(folder: Path) -> Callable[[], object]:
    check = {"name": "a", "tolerance": 1, "passed": False, "hint": ""}
    checks = [check | {"name": f"a{i}"} for i in range(14_000)]
    said = {"backend": "b", "device": "d", "dtype": "float32", "passed": False, "checks": checks}
    return _report(folder, json.dumps(said))


@bomb
def report_many_notes(folder: Path) -> Callable[[], object]:
    return _report(folder, json.dumps(_run_document(notes=["split a"] * 70_000)))


def _disk_graph(folder: Path) -> Path:
    from portgnn import load_graph
    from portgnn.disk.folder import write_graph

    return write_graph(load_graph("karate"), folder / "k.graph").path


@bomb
def disk_header_counts(folder: Path) -> Callable[[], object]:
    path = _disk_graph(folder)
    header = json.loads((path / "header.json").read_text())
    (path / "header.json").write_text(json.dumps(header | {"nodes": 2**31 - 1, "features": 2**31 - 1}))
    return _loads(path)


@bomb
def disk_array_promises(folder: Path) -> Callable[[], object]:
    path = _disk_graph(folder)
    content = (path / "indices.npy").read_bytes()
    content = content.replace(b"'shape': (", b"'shape': (99999999", 1)
    (path / "indices.npy").write_bytes(content)
    return _loads(path)


@bomb
def disk_deep_header(folder: Path) -> Callable[[], object]:
    path = _disk_graph(folder)
    (path / "header.json").write_text("[" * 900_000)
    return _loads(path)


def _odd(kind: str, at: Path) -> None:
    at.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(at)
    elif kind == "socket":
        before = Path.cwd()
        os.chdir(at.parent)  # a socket's path has room for 107 bytes
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(at.name)
        os.chdir(before)
    elif kind == "device":
        at.symlink_to("/dev/zero")
    elif kind == "folder":
        at.mkdir()
    else:
        at.symlink_to(at.name)


def all_refuse(kind: str, reads: list[Callable[[], object]]) -> None:
    """Raises PortgnnError if each does, AssertionError where one takes such a thing for a file."""
    from portgnn.errors import PortgnnError

    for number, one in enumerate(reads):
        try:
            one()
        except PortgnnError:
            continue
        raise AssertionError(f"reader {number} took a {kind} for a file")
    raise PortgnnError("each was refused")


def _odd_files(kind: str) -> Bomb:
    def make(folder: Path) -> Callable[[], object]:
        from portgnn import Model, load_config
        from portgnn.checkpoints.runs import load_run
        from portgnn.datasets._linqs import read_linqs
        from portgnn.report.documents import read

        disk = _disk_graph(folder)
        reads: list[Callable[[], object]] = []
        for name in ("g.npz", "g.graphml", "g.gml", "odd"):
            _odd(kind, folder / name)
            reads.append(_loads(folder / name))
        for name in ("header.json", "indices.npy"):
            copy = folder / f"{name}.graph"
            copy.mkdir()
            for file in disk.iterdir():
                (copy / file.name).write_bytes(file.read_bytes())
            _odd(kind, copy / name)
            reads.append(_loads(copy))
        for name in ("nodes.csv", "edges.csv", "features.npz", "nodes.parquet"):
            tables = folder / f"tables-{name}"
            tables.mkdir()
            _tables(tables, "id\na\nb\n")
            if name.endswith(".parquet"):
                (tables / "nodes.csv").unlink()
            _odd(kind, tables / name)
            if not (name == "features.npz" and kind != "pipe"):
                reads.append(_loads(tables))
        for part in ("graph", "test.index", "y"):
            place = folder / f"planetoid-{part}"
            place.mkdir()
            reads.append(_planetoid(place))
            _odd(kind, place / part)
        for reader in (Model.load, load_config, read, load_run, read_linqs):
            reads.append(partial(reader, folder / "odd"))

        return partial(all_refuse, kind, reads)

    make.__name__ = f"odd_{kind}"
    return make


for _kind in ("pipe", "socket", "device", "folder", "loop"):
    bomb(_odd_files(_kind))


def run(name: str, folder: Path) -> dict[str, Any]:
    """Reads one in a child: outcome ("loaded", "refused", "foreign …", "died …"), seconds, peak bytes, file's bytes."""
    folder.mkdir()
    # In a child as well: what making a file took must not count as what reading it takes.
    read = pickle.loads(_in_child(lambda: pickle.dumps(BOMBS[name](folder)))[0])
    sizes = [file.stat().st_size for file in folder.iterdir() if file.is_file() and not file.is_symlink()]
    said, status = _in_child(lambda: json.dumps(_measured(read)).encode())
    found = json.loads(said) if said else {"outcome": f"died, status {status}", "seconds": 0.0, "peak_bytes": 0}
    return found | {"file_bytes": max(sizes, default=0)}


def _in_child(work: Callable[[], bytes]) -> tuple[bytes, int]:
    """What a forked process computes, and its exit status."""
    down, up = os.pipe()
    child = os.fork()
    if not child:
        os.close(down)
        with os.fdopen(up, "wb") as pipe:
            pipe.write(work())
        os._exit(0)
    os.close(up)
    with os.fdopen(down, "rb") as pipe:
        said = pipe.read()
    return said, os.waitpid(child, 0)[1]


def _measured(read: Callable[[], object]) -> dict[str, Any]:
    import resource
    import signal

    from portgnn.errors import PortgnnError

    signal.alarm(60)
    resource.setrlimit(resource.RLIMIT_AS, (24 << 30, -1))
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident()
    started, message = time.process_time(), ""
    try:
        read()
        outcome = "loaded"
    except PortgnnError as error:
        outcome, message = "refused", str(error)
        if "\n" in message or len(message) > 1000:
            outcome = "foreign message"
    except BaseException as error:
        outcome, message = f"foreign {type(error).__name__}", str(error)
    return {
        "outcome": outcome,
        "seconds": time.process_time() - started,
        "peak_bytes": _resident(),
        "before_bytes": before,
        "message": message[:160].encode("ascii", "replace").decode(),
    }


def _resident() -> int:
    """Bytes that this process had resident at most since /proc/self/clear_refs was written."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def main() -> int:
    import importlib

    for module in ("pyarrow.parquet", "pyarrow.csv", "networkx", "portgnn.report"):
        importlib.import_module(module)
    from portgnn import train

    train("karate", epochs=1)
    wrong = 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="File for the figures.")
    parser.add_argument("only", nargs="*")
    given = parser.parse_args()
    only, files = given.only, {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in BOMBS:
            if only and not any(word in name for word in only):
                continue
            found = run(name, Path(scratch) / name)
            bad = (
                found["outcome"] not in ("loaded", "refused")
                or found["seconds"] > SECONDS
                or found["peak_bytes"] > MEMORY
                or found["file_bytes"] > LARGEST
            )
            wrong += bad
            files[name] = {key: value for key, value in found.items() if key != "message"}
            print(
                f"{'WRONG' if bad else 'ok':6} {name:36} {found['file_bytes']:8} {found['outcome']:16} "
                f"{found['seconds']:6.2f} s {found['peak_bytes'] >> 20:6} MiB  {found.get('message', '')}",
                flush=True,
            )
    if given.json is not None:
        document = {"format": "portgnn-bombs", "seconds_limit": SECONDS, "memory_limit_bytes": MEMORY, "files": files}
        given.json.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
