"""The LINQS layout: what an archive gives, and that a hostile or malformed one is refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn.datasets import load_graph
from portgnn.datasets._linqs import article_split, read_linqs
from portgnn.errors import DatasetError

CONTENT = "p3\t1\t0\t1\tTheory\np1\t0\t0\t1\tAgents\np2\t0\t0\t0\tTheory\n"
CITES = "p1\tp3\np3\tp1\np2\tp2\np2 p1\n"


def archive(path: Path, members: dict[str, str | bytes | tarfile.TarInfo]) -> Path:
    file = path / "cora.tgz"
    with tarfile.open(file, "w:gz") as tar:
        for name, value in members.items():
            if isinstance(value, tarfile.TarInfo):
                tar.addfile(value)
                continue
            content = value.encode() if isinstance(value, str) else value
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file


def toy(path: Path, content: str | bytes = CONTENT, cites: str | bytes = CITES) -> Path:
    return archive(path, {"cora/cora.content": content, "cora/cora.cites": cites})


def test_small_archive(tmp_path: Path) -> None:
    graph = read_linqs(toy(tmp_path))
    assert graph.node_ids is not None
    assert graph.labels is not None
    assert graph.node_ids.tolist() == ["p3", "p1", "p2"]
    assert graph.class_names == ("Agents", "Theory")
    assert graph.labels.tolist() == [1, 0, 1]
    assert isinstance(graph.features, sp.csr_array)
    assert graph.features.toarray().tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0]]
    assert graph.adjacency.toarray().tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert "4 published citations" in graph.notes[0]
    assert "1 self-loops dropped" in graph.notes
    assert graph.train is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("p1\t0\t2\t1\tTheory\n", "line 1: a word is neither 0 nor 1"),
        (CONTENT + "p4\t0\tx\t1\tTheory\n", "line 4: a word is neither 0 nor 1"),
        (CONTENT + "p4\t0 1\t1\tTheory\n", "line 4: a word is neither 0 nor 1"),
        (CONTENT + "p4\t0\t1\tTheory\n", "line 4: 2 words in 3 bytes, where line 1 has 3 in 5"),
        (CONTENT + "p4\t0\t11\t1\tTheory\n", "line 4: 3 words in 6 bytes"),
        ("p1\t01\tTheory\n", "line 1: a word is neither 0 nor 1"),
        ("p1 0 0 1 Theory\n", "line 1: b'p1 0 0 1 Theory' is not an id, words and a class"),
        ("p1\t0\t0\t\n", "line 1: b'p1\\t0\\t0\\t' is not an id"),
        ("\t0\t0\tTheory\n", "line 1: b'\\t0\\t0\\tTheory' is not an id"),
        ("p3\t1\t0\t1\tTheory\n\np1\t0\t0\t1\tAgents\n", "line 2: b'' is not an id"),
        (CONTENT + "p1\t0\t0\t1\tTheory\n", "line 4: paper p1 stands on line 2 already"),
        (b"p1\t0\t1\t\xff\n", "line 1: the id or the class is not UTF-8"),
    ],
)
def test_malformed_content(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read_linqs(toy(tmp_path, content=content))
    assert message in str(caught.value)
    assert "cora/cora.content" in str(caught.value)


@pytest.mark.parametrize(
    ("cites", "message"),
    [
        ("p1\tp3\np1\tp9\n", "line 2: paper 'p9' is not in the content file"),
        ("p8\tp3\n", "line 1: paper 'p8' is not in the content file"),
        ("p1\n", "line 1: b'p1' is not two paper ids"),
        ("p1 p2 p3\n", "line 1: b'p1 p2 p3' is not two paper ids"),
        ("p1 p2\n\np1 p3\n", "line 2: b'' is not two paper ids"),
    ],
)
def test_malformed_citations(tmp_path: Path, cites: str, message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read_linqs(toy(tmp_path, cites=cites))
    assert message in str(caught.value)
    assert "cora/cora.cites" in str(caught.value)


def linked(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("../x", "evil", 'with ".."'),
        ("cora/../../x", "evil", 'with ".."'),
        ("cora\\..\\..\\x", "evil", 'with ".."'),
        ("/etc/x", "evil", "its path is absolute"),
        ("C:/x", "evil", "its path is absolute"),
        ("cora/x", linked("cora/x", tarfile.SYMTYPE, "/etc/passwd"), "a link or a device"),
        ("cora/x", linked("cora/x", tarfile.LNKTYPE, "cora/cora.content"), "a link or a device"),
        ("cora/x", linked("cora/x", tarfile.CHRTYPE), "a link or a device"),
        ("cora/x", linked("cora/x", tarfile.FIFOTYPE), "a link or a device"),
    ],
)
@pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
def test_hostile_members_are_refused(
    tmp_path: Path, name: str, value: str | tarfile.TarInfo, message: str, last: bool
) -> None:
    good: dict[str, str | bytes | tarfile.TarInfo] = {"cora/cora.content": CONTENT, "cora/cora.cites": CITES}
    bad: dict[str, str | bytes | tarfile.TarInfo] = {name: value}
    with pytest.raises(DatasetError) as caught:
        read_linqs(archive(tmp_path, good | bad if last else bad | good))
    assert message in str(caught.value)
    assert repr(name) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["cora.tgz"]


def test_too_large_a_member_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cora.tgz"
    with tarfile.open(file, "w:gz") as tar:
        info = tarfile.TarInfo("cora/cora.content")
        info.size = 65 << 20
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    assert file.stat().st_size < 1 << 20
    with pytest.raises(DatasetError, match="of memory to read"):
        read_linqs(file)


def test_unreadable_archives(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no member cora/cora\.cites"):
        read_linqs(archive(tmp_path, {"cora/cora.content": CONTENT}))
    file = toy(tmp_path)
    whole = file.read_bytes()
    for content in (b"", b"<html></html>", whole[:40], whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(DatasetError, match=r"cora\.tgz"):
            read_linqs(file)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_linqs(tmp_path / "absent.tgz")


@pytest.mark.published_data
def test_published_archive() -> None:
    graph = load_graph("cora-linqs")
    assert (graph.num_nodes, graph.num_edges, graph.num_features, graph.num_classes) == (2708, 5278, 1433, 7)
    assert graph.class_names == (
        "Case_Based",
        "Genetic_Algorithms",
        "Neural_Networks",
        "Probabilistic_Methods",
        "Reinforcement_Learning",
        "Rule_Learning",
        "Theory",
    )
    assert graph.labels is not None
    assert np.bincount(graph.labels).tolist() == [298, 418, 818, 426, 217, 180, 351]
    assert any("5429 published citations" in note for note in graph.notes)
    for split, first, last in ((graph.train, 0, 139), (graph.val, 200, 499), (graph.test, 500, 1499)):
        assert split is not None
        np.testing.assert_array_equal(split, np.arange(first, last + 1))
    # Both layouts hold the same graph: same degrees and as many words, in whatever order.
    cora = load_graph("cora")
    for ours, theirs in ((graph.adjacency, cora.adjacency), (graph.features, cora.features)):
        np.testing.assert_array_equal(np.sort(np.diff(ours.indptr)), np.sort(np.diff(theirs.indptr)))


def test_article_split_is_by_position() -> None:
    graph = article_split(load_graph("csbm-cora"))
    assert graph.train is not None
    assert graph.train.tolist() == list(range(140))


def test_a_bomb_is_refused_within_its_bound(tmp_path: Path) -> None:
    """A header that claims half a gigabyte, in half a megabyte."""
    import gzip
    import tracemalloc

    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 512 << 20
    path = tmp_path / "cora.tgz"
    with gzip.open(path, "wb", 9) as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(512):
            file.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(DatasetError, match=r"would take 4\.0 GiB of memory"):
        read_linqs(path)
    assert tracemalloc.get_traced_memory()[1] < 300 << 20
    tracemalloc.stop()
