"""Names, the default and its stand-in, and the bundled graphs."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn.datasets import dataset_names, describe_datasets, load_graph
from portgnn.datasets._catalog import DATASETS
from portgnn.errors import DatasetError, DownloadError


@pytest.fixture
def nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORTGNN_DATA", raising=False)
    monkeypatch.setenv("PORTGNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PORTGNN_OFFLINE", "1")


def test_names() -> None:
    assert dataset_names() == tuple(DATASETS)
    assert {"cora", "citeseer", "pubmed", "cora-linqs", "karate", "csbm-cora"} <= set(DATASETS)


@pytest.mark.usefixtures("nothing_at_hand")
def test_descriptions_are_json() -> None:
    records = describe_datasets()
    assert json.loads(json.dumps(records)) == records
    assert [record["name"] for record in records] == list(DATASETS)
    bundled = [record["name"] for record in records if record["at_hand"] == "bundled"]
    assert {"karate", "csbm-cora"} <= set(bundled)
    assert all((name in bundled) is not bool(dataset.files) for name, dataset in DATASETS.items())
    assert {record["at_hand"] for record in records} == {None, "bundled"}
    assert all(record["paper"] and record["licence"] and record["source"] for record in records)


@pytest.mark.parametrize("place", ["PORTGNN_DATA", "cache"])
@pytest.mark.usefixtures("nothing_at_hand")
def test_at_hand_needs_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    root = tmp_path / "cache"
    if place == "PORTGNN_DATA":
        root = tmp_path / "data"
        root.mkdir()
        monkeypatch.setenv("PORTGNN_DATA", str(root))
    (root / "planetoid").mkdir(parents=True)
    for spec in DATASETS["cora"].files:
        assert DATASETS["cora"].at_hand() is None
        (root / "planetoid" / spec.name).touch()
    assert DATASETS["cora"].at_hand() == place


@pytest.mark.usefixtures("nothing_at_hand")
def test_the_default_is_replaced_loudly() -> None:
    said: list[str] = []
    graph = load_graph(announce=said.append)
    assert graph.name == "csbm-cora"
    assert any(note.startswith("NOT cora: no dataset was named") for note in graph.notes)
    assert len(said) == 1
    assert said[0].startswith("WARNING: NOT cora")
    assert "PORTGNN_OFFLINE" in said[0]
    assert not any("NOT cora" in note for note in load_graph("csbm-cora").notes)


@pytest.mark.usefixtures("nothing_at_hand")
@pytest.mark.parametrize("name", ["cora", "citeseer", "pubmed", "cora-linqs"])
def test_a_named_dataset_is_never_replaced(name: str) -> None:
    with pytest.raises(DownloadError, match=f"{DATASETS[name].files[0].name} is not at hand"):
        load_graph(name)


@pytest.mark.usefixtures("nothing_at_hand")
def test_the_default_does_not_hide_damaged_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ind.cora.x").write_bytes(b"damaged")
    monkeypatch.setenv("PORTGNN_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match=r"ind\.cora\.x .* is not the published"):
        load_graph()


@pytest.mark.usefixtures("nothing_at_hand")
def test_another_linqs_archive_is_refused_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cora.tgz").write_bytes(b"the original")
    monkeypatch.setenv("PORTGNN_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match=r"is not the published.*that of a rebuilt archive"):
        load_graph("cora-linqs")


@pytest.mark.published_data
def test_the_default_is_cora() -> None:
    said: list[str] = []
    graph = load_graph(announce=said.append)
    assert graph.name == "cora"
    assert said == []


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no dataset 'coar'.* Did you mean 'cora'.* Known: "):
        load_graph("coar")
    with pytest.raises(DatasetError, match="no dataset '', and no file or folder"):
        load_graph("")
    absent = str(tmp_path / "absent.npz")
    with pytest.raises(DatasetError, match="and no file or folder of that name"):
        load_graph(absent)
    with pytest.raises(DatasetError, match=r"has no nodes\.csv; a graph's folder holds"):
        load_graph(str(tmp_path))


@pytest.mark.parametrize("name", ["karate", "csbm-cora"])
def test_catalogue_sizes_hold(name: str) -> None:
    graph, entry = load_graph(name), DATASETS[name]
    assert (graph.num_nodes, graph.num_edges, graph.num_features, graph.num_classes) == (
        entry.nodes,
        entry.edges,
        entry.features,
        entry.classes,
    )
    assert graph.is_undirected
    assert not graph.adjacency.diagonal().any()
    assert isinstance(graph.features, sp.csr_array)


@pytest.mark.published_data
@pytest.mark.parametrize("name", ["cora", "citeseer", "cora-linqs"])
def test_catalogue_sizes_hold_for_published_data(name: str) -> None:
    test_catalogue_sizes_hold(name)


def test_karate() -> None:
    graph = load_graph("karate")
    degrees = np.diff(graph.adjacency.indptr)
    assert degrees.tolist() == [
        16,
        9,
        10,
        6,
        3,
        4,
        4,
        4,
        5,
        2,
        3,
        1,
        2,
        5,
        2,
        2,
        2,
        2,
        2,
        3,
        2,
        2,
        2,
        5,
        3,
        3,
        2,
        4,
        3,
        4,
        4,
        6,
        12,
        17,
    ]
    assert graph.labels is not None
    assert np.bincount(graph.labels).tolist() == [17, 17]
    rows, columns = graph.adjacency.nonzero()
    # In the published split, 10 of the 78 ties go across; member 8's choice of club adds one.
    assert np.count_nonzero(graph.labels[rows] != graph.labels[columns]) // 2 == 11
    assert graph.train is not None
    assert graph.train.tolist() == [0, 33]


def fingerprint(*arrays: Any) -> str:
    state = hashlib.sha256()
    for array in arrays:
        state.update(np.ascontiguousarray(array).astype("<i8").tobytes())
    return state.hexdigest()


def test_csbm_cora_is_the_same_everywhere() -> None:
    graph = load_graph("csbm-cora")
    assert isinstance(graph.features, sp.csr_array)
    assert set(graph.adjacency.data) == set(graph.features.data) == {1.0}
    assert (
        fingerprint(
            graph.adjacency.indptr,
            graph.adjacency.indices,
            graph.features.indptr,
            graph.features.indices,
            graph.labels,
            graph.train,
            graph.val,
            graph.test,
        )
        == "5b9464dcea41ea9d40ce8b292b953be90882100a06541be4cd69540458b4b16f"
    )


def test_csbm_cora_looks_like_cora() -> None:
    graph = load_graph("csbm-cora")
    assert graph.labels is not None
    assert np.bincount(graph.labels).tolist() == [351, 217, 418, 818, 426, 298, 180]
    assert graph.train is not None
    assert graph.val is not None
    assert graph.test is not None
    assert np.bincount(graph.labels[graph.train]).tolist() == [20] * 7
    assert (len(graph.val), len(graph.test)) == (500, 1000)
    rows, columns = graph.adjacency.nonzero()
    assert np.mean(graph.labels[rows] == graph.labels[columns]) == pytest.approx(0.81, abs=0.01)
    degrees = np.diff(graph.adjacency.indptr)
    assert degrees.min() == 1
    assert 80 < degrees.max() < 200
    words = np.diff(graph.features.indptr)
    assert words.mean() == pytest.approx(18.2, abs=0.5)
    assert words.min() > 0


def test_csbm_cora_is_drawn_quickly() -> None:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        load_graph("csbm-cora")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.3
