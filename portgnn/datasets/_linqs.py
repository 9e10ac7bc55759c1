"""Cora in the layout of the LINQS group: one row of words a paper, one line a citation.

P. Sen, G. Namata, M. Bilgic, L. Getoor, B. Gallagher and T. Eliassi-Rad, "Collective classification in
network data", AI Magazine 29(3), 2008; https://linqs-data.soe.ucsc.edu/public/lbc/cora.tgz. The archive holds

    cora/cora.content   paper id, words (0 or 1), class name, between tabs
    cora/cora.cites     id of the cited paper, id of the citing paper, between white space
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path, PurePosixPath

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn._system.untrusted import admitted, check_need, opened
from portgnn.datasets.download import FileSpec
from portgnn.errors import DatasetError, GraphError
from portgnn.graphs.graph import Graph
from portgnn.graphs.labels import classes_of
from portgnn.text import shown

_MAX_MEMBER_BYTES = 64 << 20
_MAX_MEMBERS = 100
_BYTES_A_BYTE = 8
"""Bytes of memory at the peak, for a byte of the unpacked archive: the words as text, as bytes, and which are 1."""

FILE = FileSpec(
    name="cora.tgz",
    # Not of the original archive, whose checksum we have no trustworthy record of, but of one that was
    # rebuilt with the published ids, words, classes and citations and with another order of rows. A split by
    # file order picks other papers in the two, so that to accept either would make results depend on which
    # one was found.
    checksum="sha256:dd5cb8b9b2468a886fc5498f146acf4945b0576f89a0d7ab822f5444dbb8b9ab",
    mirrors=("https://linqs-data.soe.ucsc.edu/public/lbc/cora.tgz",),
    folder="linqs",
    max_bytes=8 << 20,
    remark="(The checksum that portgnn knows is that of a rebuilt archive with the published papers and "
    "citations in another order of rows; the original archive's is not known to us, so that the "
    "original is not accepted.)",
)


def article_split(graph: Graph) -> Graph:
    """The split by file order of T. Bilot's mlx-GCN (2023): 0-139 train, 200-499 val, 500-1499 test."""
    return graph.with_splits(np.arange(140), np.arange(200, 500), np.arange(500, 1500))


def read_linqs(archive: Path, name: str = "cora") -> Graph:
    """Reads NAME/NAME.content and NAME/NAME.cites out of a .tgz archive, in memory.

    adjacency: float64 CSR [n, n]; citations in both directions, once, without self-loops. features: float64
    CSR [n, f] of ones. labels: int64 [n]; class_names in alphabetical order. node_ids: the papers' ids, in
    file order. No splits.

    Raises DatasetError naming the archive, the member and the line at fault.
    """
    members = _members(archive, (f"{name}/{name}.content", f"{name}/{name}.cites"))
    (content_name, content), (cites_name, cites) = members.items()
    ids, features, classes = _content(content, f"{archive}, {content_name}")
    edges, loops = _cites(cites, ids, f"{archive}, {cites_name}")
    found = classes_of(classes)
    notes = [f"{len(edges) + loops} published citations symmetrised, repeated ones counted once"]
    if loops:
        notes.append(f"{loops} self-loops dropped")
    try:
        return Graph.from_edges(
            edges,
            features,
            found.labels,
            num_nodes=len(ids),
            name=f"{name}-linqs",
            class_names=found.names,
            node_ids=ids,
            notes=(*notes, *found.notes),
        )
    except GraphError as error:
        raise DatasetError(f"{archive}: {error}") from None


def _members(archive: Path, wanted: tuple[str, str]) -> dict[str, bytes]:
    """The wanted members' bytes. Nothing is written to disk; one suspicious member condemns the archive."""
    found: dict[str, bytes] = {}
    try:
        # Unpacked first, to a bound: tarfile reads headers of whatever size they claim.
        with opened(archive) as raw, gzip.open(raw) as packed:
            size = os.fstat(raw.fileno()).st_size
            most = admitted(size) // _BYTES_A_BYTE
            content = packed.read(most + 1)
            # What gzip says at its end of how much there is, for the message alone.
            raw.seek(-4, os.SEEK_END)
            said = int.from_bytes(raw.read(4), "little") if len(content) > most else 0
        check_need(archive, _BYTES_A_BYTE * max(len(content), said), size)
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for count, member in enumerate(tar, start=1):
                fault = _member_fault(member)
                if fault is None and count > _MAX_MEMBERS:
                    fault = f"there are more than {_MAX_MEMBERS} members"
                if fault is not None:
                    raise DatasetError(
                        f"{archive}, member {shown(member.name)}: {fault}. The archive is not the "
                        "published one and was not read."
                    )
                if member.name in wanted and (file := tar.extractfile(member)) is not None:
                    found[member.name] = file.read()
    except DatasetError:
        raise
    # Beside its own errors, tarfile lets through what a damaged header makes it stumble over (PAX records, sparse
    # maps), and gzip what zlib says.
    except Exception as error:
        raise DatasetError(f"{archive} cannot be read as a .tgz archive: {str(error)[:200]}") from None
    for name in wanted:
        if name not in found:
            raise DatasetError(f"{archive} has no member {name}")
    return {name: found[name] for name in wanted}


def _member_fault(member: tarfile.TarInfo) -> str | None:
    path = PurePosixPath(member.name.replace("\\", "/"))
    if path.is_absolute() or ":" in member.name:
        return "its path is absolute"
    if ".." in path.parts:
        return 'its path leads out of the archive with ".."'
    if not (member.isfile() or member.isdir()) or member.issparse():
        return "it is a link or a device, not a file"
    if member.size > _MAX_MEMBER_BYTES:
        return f"it has {member.size} bytes, where at most {_MAX_MEMBER_BYTES} are admitted"
    return None


def _lines(raw: bytes) -> list[bytes]:
    lines = raw.replace(b"\r\n", b"\n").split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _content(raw: bytes, where: str) -> tuple[list[str], sp.csr_array, list[str]]:
    """Ids, words [n, f] and class names, in file order."""
    line_of: dict[str, int] = {}
    rows: list[bytes] = []
    classes: list[str] = []
    for number, line in enumerate(_lines(raw), start=1):
        # Only the ends are split off: to make 3.9 million words into objects would take most of a second.
        start, end = line.find(b"\t"), line.rfind(b"\t")
        if not 0 < start < end < len(line) - 1:
            raise DatasetError(f"{where}, line {number}: {line[:40]!r} is not an id, words and a class between tabs")
        try:
            paper, label = line[:start].decode(), line[end + 1 :].decode()
        except UnicodeDecodeError:
            raise DatasetError(f"{where}, line {number}: the id or the class is not UTF-8") from None
        if line_of.setdefault(paper, number) != number:
            raise DatasetError(f"{where}, line {number}: paper {paper:.40} stands on line {line_of[paper]} already")
        words = line[start + 1 : end]
        if rows and len(words) != len(rows[0]):
            found, expected = words.count(b"\t") + 1, rows[0].count(b"\t") + 1
            raise DatasetError(
                f"{where}, line {number}: {found} words in {len(words)} bytes, where line 1 "
                f"has {expected} in {len(rows[0])}; each must be 0 or 1"
            )
        rows.append(words)
        classes.append(label)
    if not rows:
        raise DatasetError(f"{where} is empty")
    block = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), len(rows[0]))
    bits, tabs = block[:, 0::2], block[:, 1::2]
    wrong = (bits != ord("0")) & (bits != ord("1"))
    bad = np.flatnonzero(wrong.any(axis=1) | (tabs != ord("\t")).any(axis=1) | (block.shape[1] % 2 == 0))
    if len(bad):
        raise DatasetError(f"{where}, line {bad[0] + 1}: a word is neither 0 nor 1")
    # Not by way of a dense matrix of numbers, which would have eight bytes for each of the text's.
    places = np.flatnonzero(bits == ord("1"))
    columns = places % bits.shape[1]
    indptr = np.searchsorted(places, np.arange(len(rows) + 1) * bits.shape[1])
    return list(line_of), sp.csr_array((np.ones(len(places)), columns, indptr), shape=bits.shape), classes


def _cites(raw: bytes, ids: list[str], where: str) -> tuple[NDArray[np.int64], int]:
    """Pairs [m, 2] (citing, cited) of node numbers without self-loops, and how many self-loops there were."""
    index = {paper.encode(): node for node, paper in enumerate(ids)}
    pairs: list[tuple[int, int]] = []
    loops = 0
    for number, line in enumerate(_lines(raw), start=1):
        papers = line.split()
        if len(papers) != 2:
            raise DatasetError(f"{where}, line {number}: {line[:40]!r} is not two paper ids")
        cited, citing = (index.get(paper, -1) for paper in papers)
        if cited < 0 or citing < 0:
            unknown = papers[0 if cited < 0 else 1].decode(errors="replace")
            raise DatasetError(f"{where}, line {number}: paper {unknown!r:.40} is not in the content file")
        if cited == citing:
            loops += 1
        else:
            pairs.append((citing, cited))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2), loops
