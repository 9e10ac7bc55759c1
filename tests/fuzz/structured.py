"""Damage that knows the format: numbers change and headers, lengths and checksums are made to fit again.

A flipped byte mostly ends at the first check. What these write passes it, and reaches the code behind.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
import zipfile
from typing import Any

import numpy as np

Files = dict[str, bytes]

NUMBERS = (0, 1, -1, 2, 7, 255, 256, 2**15, 2**30, 2**31 - 1, 2**31, 2**32, 2**62, -(2**31), -(2**63), 2**63 - 1)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 1e-320, 1e300, -1e308, float("nan"), float("inf"), 2**63, 10**30, 10**400, "", "a",
    "\ud800", "x" * 3000, [], {}, [[]], [None], {"a": 1}, "0", "nan", "-", "\x1b[31m", "é", [1e309], ["a", 1],
)  # fmt: skip
DTYPES = ("?", "u1", "i1", "u2", "i4", ">i4", "u8", "i8", ">i8", "f2", "f4", "f8", ">f8", "f16", "c16", "U3", "S2",
          "M8[s]", "V3")  # fmt: skip


def array(value: np.ndarray[Any, Any], draw: random.Random) -> np.ndarray[Any, Any]:
    """One array in place of another: another number, dtype, length, shape, order."""
    value = np.array(value)
    kind = draw.randrange(9)
    with np.errstate(all="ignore"):
        if kind <= 3 and value.size:
            at = draw.choice((0, -1, draw.randrange(value.size)))
            if value.dtype.kind in "iu":
                value.flat[at] = (
                    np.array([draw.choice(NUMBERS)], dtype=object).astype(np.int64, copy=False)[0]
                    % (1 << min(8 * value.itemsize - 1, 62))
                    if draw.random() < 0.7
                    else -1
                    if value.dtype.kind == "i"
                    else 0
                )
            elif value.dtype.kind == "f":
                value.flat[at] = draw.choice((np.nan, np.inf, -np.inf, -1.0, 0.0, 1e300, 1e-310))
        elif kind == 4:
            try:
                value = value.astype(draw.choice(DTYPES))
            except (TypeError, ValueError):
                value = np.zeros(value.shape, dtype=draw.choice(DTYPES))
        elif kind == 5 and value.ndim:
            value = value[: draw.randrange(len(value) + 1)]
        elif kind == 6 and value.size:
            value = np.resize(
                value, draw.choice(((), (0,), (value.size + 1,), (1, value.size), (value.size, 1), (0, 5)))
            )
        elif kind == 7 and value.size:
            flat = value.reshape(-1).copy()
            np.random.default_rng(draw.randrange(2**32)).shuffle(flat)
            value = flat.reshape(value.shape)
        elif value.ndim > 1:
            value = np.asfortranarray(value)
    return value


def npy(content: bytes, draw: random.Random) -> bytes:
    file = io.BytesIO()
    np.save(file, array(np.load(io.BytesIO(content)), draw), allow_pickle=False)
    return file.getvalue()


def npz(name: str) -> Any:
    """Damages arrays in an .npz: one changed, left out, or put in the place of another."""

    def damage(files: Files, draw: random.Random) -> Files:
        with zipfile.ZipFile(io.BytesIO(files[name])) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}
        chosen = draw.choice(sorted(members))
        kind = draw.random()
        if kind < 0.75:
            members[chosen] = npy(members[chosen], draw)
        elif kind < 0.85:
            del members[chosen]
        else:
            members[chosen] = members[draw.choice(sorted(members))]
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        return files | {name: file.getvalue()}

    return damage


def tree(value: Any, draw: random.Random) -> Any:
    """A JSON value with one thing in it changed, left out, doubled or moved."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any, depth: int) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list) and depth < 8:
                walk(node[key], depth + 1)

    value = json.loads(json.dumps(value))
    if not isinstance(value, dict | list) or not value or draw.random() < 0.02:
        return draw.choice(VALUES)
    walk(value, 0)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        node, key = draw.choice(places)
        if (isinstance(node, list) and key >= len(node)) or (isinstance(node, dict) and key not in node):
            continue
        kind = draw.randrange(6)
        if kind == 0:
            del node[key]
        elif kind == 1:
            other, where = draw.choice(places)
            try:
                node[key] = json.loads(json.dumps(other[where]))
            except (KeyError, IndexError):
                node[key] = None
        elif kind == 2 and isinstance(node[key], list) and node[key]:
            node[key] = node[key] * draw.choice((0, 2, 30))
        else:
            node[key] = draw.choice(VALUES)
    return value


def text_of(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def document(name: str) -> Any:
    """Damages a JSON file."""
    return lambda files, draw: files | {name: text_of(tree(json.loads(files[name]), draw))}


_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "U32": 4, "BOOL": 1,
          "F8_E4M3": 1, "U64": 8}  # fmt: skip


def safetensors(name: str) -> Any:
    """Damages a header's texts, JSON within them, or a tensor's name, dtype, shape and content, offsets made to fit."""

    def damage(files: Files, draw: random.Random) -> Files:
        content = files[name]
        length = int.from_bytes(content[:8], "little")
        header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
        meta = header.pop("__metadata__")
        tensors = {
            key: (each["dtype"], each["shape"], data[slice(*each["data_offsets"])]) for key, each in header.items()
        }
        if draw.random() < 0.5:
            key = draw.choice(sorted(meta))
            try:
                meta[key] = text_of(tree(json.loads(meta[key]), draw)).decode("utf-8", "surrogatepass")
            except ValueError:
                meta[key] = str(draw.choice(VALUES))[:4000]
            if draw.random() < 0.05:
                del meta[key]
        else:
            _damage_tensor(tensors, draw)
        packed, at, body = {}, 0, b""
        for key, (dtype, shape, raw) in tensors.items():
            packed[key] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(raw)]}
            at, body = at + len(raw), body + raw
        text = text_of({"__metadata__": meta, **packed})
        return files | {name: len(text).to_bytes(8, "little") + text + body}

    return damage


def _damage_tensor(tensors: dict[str, Any], draw: random.Random) -> None:
    chosen = draw.choice(sorted(tensors))
    dtype, shape, raw = tensors[chosen]
    kind = draw.randrange(6)
    if kind == 0:
        del tensors[chosen]
    elif kind == 1:
        tensors[draw.choice(("state.", "history.", "best.x", "weight9", chosen + "x", ""))] = tensors[chosen]
    elif kind == 2:
        other = draw.choice(sorted(_SIZES))
        count = len(raw) // _SIZES.get(dtype, 1)
        tensors[chosen] = (other, shape, draw.randbytes(count * _SIZES[other]))
    elif kind == 3:
        count = len(raw) // _SIZES.get(dtype, 1)
        tensors[chosen] = (dtype, draw.choice(([count], [1, count], [count, 1], [], [count, 0])), raw)
    elif kind == 4:
        tensors[chosen] = tensors[draw.choice(sorted(tensors))]
    elif dtype in ("F64", "F32") and raw:
        numbers = np.frombuffer(raw, dtype="<f8" if dtype == "F64" else "<f4").copy()
        numbers[draw.randrange(len(numbers))] = draw.choice((np.nan, np.inf, -1.0, 1e300, -0.0))
        tensors[chosen] = (dtype, shape, numbers.tobytes())


def graph_folder(name: str, keep_checksums: float) -> Any:
    """Damages one array of a .graph folder, or its header. keep_checksums: how often they are left as they were."""

    def damage(files: Files, draw: random.Random) -> Files:
        files = dict(files)
        header = json.loads(files[f"{name}/header.json"])
        if draw.random() < 0.25:
            header = tree(header, draw)
        else:
            part = draw.choice(sorted(file for file in files if file.endswith(".npy")))
            kind = draw.random()
            if kind < 0.9:
                files[part] = npy(files[part], draw)
            elif kind < 0.95:
                del files[part]
            else:
                files[part] = files[draw.choice(sorted(file for file in files if file.endswith(".npy")))]
            stem = part.rpartition("/")[2].removesuffix(".npy")
            if draw.random() > keep_checksums and part in files:
                header["checksums"][stem] = hashlib.sha256(files[part]).hexdigest()
            if draw.random() < 0.1:
                header["version"] = 1
        files[f"{name}/header.json"] = text_of(header)
        return files

    return damage


def parquet(files: Files, draw: random.Random) -> Files:
    """A column of another type, or with other values, written by other options."""
    import pyarrow as pa
    from pyarrow import parquet as library

    name = draw.choice(sorted(files))
    table = library.read_table(io.BytesIO(files[name]))
    column = draw.choice(table.column_names)
    at = table.column_names.index(column)
    n = table.num_rows
    made: Any = draw.choice((
        lambda: pa.nulls(n), lambda: pa.nulls(n, pa.float64()), lambda: pa.array([float("nan")] * n),
        lambda: pa.array([draw.choice(NUMBERS[:12]) for _ in range(n)]), lambda: pa.array([[1]] * n),
        lambda: pa.array(["é\0"] * n), lambda: pa.array([b"\xff"] * n), lambda: pa.array(["a"] * n).dictionary_encode(),
        lambda: pa.array([True] * n), lambda: pa.array([{"a": 1}] * n), lambda: pa.nulls(n, pa.binary(3)),
        lambda: pa.array([1] * n, pa.timestamp("s")), lambda: pa.array([1] * n, pa.float16()),
        lambda: pa.nulls(n, pa.string()).dictionary_encode(), lambda: pa.array([2**63] * n, pa.uint64()),
        lambda: pa.array([-1] * n, pa.int8()), lambda: pa.array(["x"] * n, pa.large_string()),
        lambda: pa.array([1] * n, pa.decimal128(5)), lambda: pa.array([1] * n).dictionary_encode(),
        lambda: pa.array(["train"] * n), lambda: pa.array([1] * n, pa.duration("s")),
    ))()  # fmt: skip
    kind = draw.random()
    if kind < 0.7:
        table = table.set_column(at, column, made)
    elif kind < 0.8:
        table = table.append_column(draw.choice(("x", "split", "weight", column, "", "label")), made)
    elif kind < 0.9:
        table = table.drop_columns([column])
    else:
        table = table.slice(0, draw.randrange(n + 1))
    file = io.BytesIO()
    try:
        library.write_table(
            table, file, compression=draw.choice(("none", "zstd", "gzip", "snappy")),
            data_page_version=draw.choice(("1.0", "2.0")), use_dictionary=draw.random() < 0.5,
            row_group_size=draw.choice((1, 100)), version=draw.choice(("1.0", "2.6")),
        )  # fmt: skip
    except (pa.ArrowException, ValueError):
        return files
    return files | {name: file.getvalue()}


_TYPES = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE, tarfile.CHRTYPE,
          tarfile.CONTTYPE, b"x", b"9")  # fmt: skip


def tgz(name: str) -> Any:
    """An archive with PAX records, other kinds of members, other names, and members more than once."""
    records = ("size", "path", "linkpath", "mtime", "uid", "uname", "GNU.sparse.major", "GNU.sparse.minor",
               "hdrcharset",
               "GNU.sparse.realsize", "GNU.sparse.name", "GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.numblocks",
               "SCHILY.realsize", "comment", "charset")  # fmt: skip
    words = (
        "1",
        "0",
        "-1",
        "9" * 30,
        "9" * 5000,
        "x",
        "",
        "1,2,3",
        "0,1",
        "BINARY",
        "\udcff",
        "cora/cora.content",
        "1e9",
    )

    def damage(files: Files, draw: random.Random) -> Files:
        with tarfile.open(fileobj=io.BytesIO(files[name])) as tar:
            members = [(member, (tar.extractfile(member) or io.BytesIO()).read()) for member in tar]
        file = io.BytesIO()
        form = draw.choice((tarfile.PAX_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT))
        with tarfile.open(fileobj=file, mode="w", format=form) as tar:
            for member, content in members:
                if draw.random() < 0.6:
                    member.pax_headers = {
                        draw.choice(records): draw.choice(words) for _ in range(draw.choice((1, 2, 4)))
                    }
                if draw.random() < 0.1:
                    member.type = draw.choice(_TYPES)
                if draw.random() < 0.1:
                    member.name = draw.choice(("x" * 300, "../a", "", "cora/cora.cites", "\udcff"))
                try:
                    tar.addfile(member, io.BytesIO(content))
                except (ValueError, UnicodeError, tarfile.TarError, OverflowError):
                    continue
        raw = bytearray(file.getvalue())
        if draw.random() < 0.3 and raw:
            raw[draw.randrange(min(len(raw), 2048))] = draw.randrange(256)
        return files | {name: gzip.compress(bytes(raw), 1)}

    return damage


def planetoid(files: Files, draw: random.Random) -> Files:
    """Another object in a pickle, or an array with other numbers, dtype and shape."""
    from py2_pickles import dumps, planetoid_parts

    parts = planetoid_parts()
    name = draw.choice([part for part in parts if part != "test.index"])
    value = parts[name]
    if name == "graph":
        keys = list(value)
        odd: Any = draw.choice((2**40, -1, 1.5, "a", None, True, 9, [1], 10**4000))
        if draw.random() < 0.5:
            value[draw.choice(keys)] = draw.choice(([odd], odd, [[odd]], [0] * 300))
        elif not isinstance(odd, list):
            value[odd] = [0]
    elif hasattr(value, "data") and hasattr(value, "indices"):
        part = draw.choice(("data", "indices", "indptr"))
        setattr(value, part, array(getattr(value, part), draw))
        if draw.random() < 0.2:
            value._shape = draw.choice(((2**31, 3), (3, 2**40), (0, 0), (-1, 2), (2, 2, 2), 5, ("a", "b")))
    else:
        value = array(np.asarray(value), draw)
    try:
        return files | {name: dumps(value)}
    except Exception:
        return files


_OPTIONS = (b"epochs", b"hidden", b"seed", b"preset", b"logger", b"dataset", b"learning-rate", b"dropout", b"every",
            b"json", b"timeout", b"log-level", b"normalize-features", b"a.b", b'""', b'"a\\nb"', b"[a]",
            b"layers")  # fmt: skip
_TOML = (b"1", b"-1", b"0x" + b"f" * 6000, b"9" * 5000, b"1e400", b"nan", b"inf", b'"kipf"', b'"\\u0000"',
         b"[]", b"{}",
         b"[[[]]]", b"true", b"1979-05-27", b"07:32:00", b"0.5", b"[" * 300 + b"]" * 300, b"{a={b={}}}", b'"x"',
         b"'''" + b"x" * 5000 + b"'''", b"0b" + b"1" * 300, b"1_000", b"99999999999999999999")  # fmt: skip


def toml(files: Files, draw: random.Random) -> Files:
    lines = [draw.choice(_OPTIONS) + b" = " + draw.choice(_TOML) for _ in range(draw.choice((1, 1, 2, 5)))]
    return files | {"run.toml": b"\n".join(lines) + b"\n"}
