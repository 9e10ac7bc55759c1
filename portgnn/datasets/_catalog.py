"""What datasets there are: for each, what it holds, where it comes from and how to load it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from portgnn.datasets import _linqs, bundled
from portgnn.datasets import _planetoid as planetoid
from portgnn.datasets.download import Announce, FileSpec, fetch_all, locate
from portgnn.graphs.graph import Graph


@dataclass(frozen=True)
class Dataset:
    """A dataset that has a name.

    nodes, edges (undirected), features, classes: the sizes that `load` gives. files: what has to be fetched;
    none if the dataset is bundled. build: makes the graph of the files' paths, given in the order of `files`.
    """

    name: str
    description: str
    source: str
    paper: str
    licence: str
    nodes: int
    edges: int
    features: int
    classes: int
    build: Callable[[list[Path]], Graph]
    files: tuple[FileSpec, ...] = ()

    def at_hand(self) -> str | None:
        """Where it is: "bundled", "PORTGNN_DATA" or "cache"; None if any file is missing.

        Looks for files without reading them. Raises DatasetError if PORTGNN_DATA names no folder.
        """
        if not self.files:
            return "bundled"
        found = [locate(spec) for spec in self.files]
        origins = {place[0] for place in found if place is not None}
        if None in found:
            return None
        return "cache" if "cache" in origins else "PORTGNN_DATA"

    def load(self, *, within: float | None = None, announce: Announce | None = None) -> Graph:
        """The graph. Fetches what is missing; within: seconds that this may take.

        Raises DownloadError if a file cannot be had, DatasetError if one is not what it should be.
        """
        return self.build(fetch_all(self.files, within=within, announce=announce) if self.files else [])


def _planetoid(name: str, description: str, nodes: int, edges: int, features: int, classes: int) -> Dataset:
    def build(paths: list[Path]) -> Graph:
        return planetoid.read_planetoid(dict(zip(planetoid.PARTS, paths, strict=True)), name)

    return Dataset(
        name,
        description,
        source="https://github.com/kimiyoung/planetoid",
        paper="Yang, Cohen & Salakhutdinov 2016, Revisiting semi-supervised learning with graph embeddings",
        licence="MIT (the repository that publishes the files)",
        nodes=nodes,
        edges=edges,
        features=features,
        classes=classes,
        build=build,
        files=planetoid.files(name),
    )


def _cora_linqs(paths: list[Path]) -> Graph:
    return _linqs.article_split(_linqs.read_linqs(paths[0], "cora"))


_ALL = (
    _planetoid(
        "cora", "Machine-learning papers and their citations, Planetoid's split 140/500/1000", 2708, 5278, 1433, 7
    ),
    _planetoid(
        "citeseer", "Computer-science papers and their citations, Planetoid's split 120/500/1000", 3327, 4552, 3703, 6
    ),
    _planetoid("pubmed", "Papers on diabetes and their citations, Planetoid's split 60/500/1000", 19717, 44324, 500, 3),
    Dataset(
        "cora-linqs",
        "Cora with paper ids and class names, split by file order 140/300/1000",
        source="https://linqs-data.soe.ucsc.edu/public/lbc/cora.tgz",
        paper="Sen et al. 2008, Collective classification in network data; split: Bilot 2023, mlx-GCN",
        licence="not stated by the publisher",
        nodes=2708,
        edges=5278,
        features=1433,
        classes=7,
        build=_cora_linqs,
        files=(_linqs.FILE,),
    ),
    Dataset(
        "karate",
        "Zachary's karate club: who met whom, and which club each went to",
        source="bundled",
        paper="Zachary 1977, An information flow model for conflict and fission in small groups",
        licence="facts published in the paper",
        nodes=34,
        edges=78,
        features=34,
        classes=2,
        build=lambda _: bundled.karate(),
    ),
    Dataset(
        "csbm-cora",
        "Synthetic: a stochastic block model of Cora's size, degrees and class balance",
        source="bundled (drawn with a fixed seed)",
        paper="Deshpande, Sen, Montanari & Mossel 2018, Contextual stochastic block models",
        licence="MIT, as portgnn",
        nodes=2708,
        edges=5278,
        features=1433,
        classes=7,
        build=lambda _: bundled.csbm_cora(),
    ),
)

DATASETS: Mapping[str, Dataset] = {dataset.name: dataset for dataset in _ALL}
