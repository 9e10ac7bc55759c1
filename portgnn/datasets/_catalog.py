"""What datasets there are: for each, what it holds, where it comes from and how to load it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from portgnn.datasets import _linqs, _npz, _ogb, bundled
from portgnn.datasets import _planetoid as planetoid
from portgnn.datasets.download import Announce, FileSpec, fetch_all, locate
from portgnn.graphs.graph import Graph


@dataclass(frozen=True)
class Dataset:
    """A dataset that has a name.

    nodes, edges (undirected, unless the description says otherwise), features, classes: the sizes that `load` gives.
    files: what has to be fetched; none if the dataset is bundled. build: makes the graph of the files' paths, given in
    the order of `files`, or of nothing where there are none.
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
    build: Callable[..., Graph]
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
        return self.build(fetch_all(self.files, within=within, announce=announce)) if self.files else self.build()


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


_HETEROPHILOUS = "https://github.com/yandex-research/heterophilous-graphs"
_SHCHUR = "https://github.com/shchur/gnn-benchmark"
_RAW = "https://raw.githubusercontent.com"


def _sizes(counts: tuple[int, ...]) -> dict[str, Any]:
    return dict(zip(("nodes", "edges", "features", "classes"), counts, strict=True))


def _heterophilous(name: str, checksum: str, description: str, *sizes: int) -> Dataset:
    file = FileSpec(
        f"{name.replace('-', '_')}.npz",
        f"sha256:{checksum}",
        (f"{_RAW}/yandex-research/heterophilous-graphs/main/data/{name.replace('-', '_')}.npz",),
        "heterophilous",
        64 << 20,
    )
    return Dataset(
        name,
        f"{description}, ten splits (stored:0 to stored:9)",
        _HETEROPHILOUS,
        "Platonov et al. 2023, A critical look at the evaluation of GNNs under heterophily; Pei et al. 2020",
        "MIT (the repository that publishes the files)",
        **_sizes(sizes),
        build=lambda paths: _npz.read_npz(paths[0], name=name),
        files=(file,),
    )


def _both_ways(graph: Graph) -> Graph:
    """Without loops, of which one of these sets has one, and with every edge in both directions."""
    loops = int(np.count_nonzero(graph.adjacency.diagonal()))
    plain = graph.adjacency - sp.diags_array(graph.adjacency.diagonal())
    notes = (*graph.notes, f"{loops} self-loops dropped") if loops else graph.notes
    return replace(graph, adjacency=plain, notes=notes).symmetrized()


def _shchur(
    name: str, published: str, checksum: str, description: str, *sizes: int, equal: tuple[str, ...] = ()
) -> Dataset:
    """Its edges go one way in the file; they count both ways, as in the paper and wherever else these are used."""
    file = FileSpec(
        f"{name.replace('-', '_')}.npz",
        f"git-blob:{checksum}",  # as the repository that publishes them counts its files
        (f"{_RAW}/shchur/gnn-benchmark/master/data/npz/{published}.npz",),
        "shchur",
        128 << 20,
        equal=equal,
    )
    return Dataset(
        name,
        f"{description}; no split of its own",
        _SHCHUR,
        "Shchur et al. 2018, Pitfalls of graph neural network evaluation",
        "MIT (the repository that publishes the files)",
        **_sizes(sizes),
        build=lambda paths: _both_ways(_npz.read_npz(paths[0], name=name)),
        files=(file,),
    )


def _ogbn(name: str, most: int, licence: str, description: str, *sizes: int, undirected: bool) -> Dataset:
    """No checksum of the archive is known to portgnn; see `portgnn.datasets._pins`."""
    short = name.removeprefix("ogbn-")
    file = FileSpec(
        f"{short}.zip", "", (f"https://snap.stanford.edu/ogb/data/nodeproppred/{short}.zip",), "ogb", most,
        total_timeout=3600.0,
    )  # fmt: skip
    return Dataset(
        name,
        description,
        "https://ogb.stanford.edu",
        "Hu et al. 2020, Open graph benchmark: datasets for machine learning on graphs",
        licence,
        **_sizes(sizes),
        build=lambda paths: _ogb.read_ogb(paths[0], name, undirected=undirected),
        files=(file,),
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
        build=bundled.karate,
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
        build=bundled.csbm_cora,
    ),
    _heterophilous(
        "actor", "c350eef06b2c2a9bf8218be2b57cac6d4003d0922eb597a039e9123f75817816",
        "Actors who share a page, and words of their pages", 7600, 26659, 932, 5,
    ),
    _heterophilous(
        "chameleon-filtered", "bf46f07e1fb5249280447e5fe3100f3e82fc4b93ad1e13ffcfdec924b6ac0bb5",
        "Pages of an encyclopedia on chameleons, without the duplicates", 890, 8854, 2325, 5,
    ),
    _heterophilous(
        "cornell", "684c54ba3daa13b0ba1f04a3d6dd1b1175c1ae9bdeb982851fd4ff96d3aac298",
        "Web pages of a university and their links", 183, 277, 1703, 5,
    ),
    _heterophilous(
        "minesweeper", "e664c8dacf1e8ac466c2c09ed4b237bd2c5541f47a6eae9c6092cb87f16412b3",
        "A drawn field of mines, scored by ROC-AUC", 10_000, 39_402, 7, 2,
    ),
    _heterophilous(
        "texas", "b164b99e6c3d43e4ab07488ec59bd8c815f90cbc1bd4cf425ce587d2b534d844",
        "Web pages of a university and their links", 183, 279, 1703, 5,
    ),
    _heterophilous(
        "wisconsin", "2543c89838cfc75f737f7c4664cc1d097f8268602c20b2d1bd4f21407df9c074",
        "Web pages of a university and their links", 251, 450, 1703, 5,
    ),
    _shchur(
        "amazon-computers", "amazon_electronics_computers", "8120e4148a330b3fafe37c4476823302d9d834b9",
        "Computers that are bought together, and words of their reviews", 13_752, 245_861, 767, 10,
    ),
    _shchur(
        "amazon-photo", "amazon_electronics_photo", "97323743cb56aca9dd611f5b4b46862c1c9c6bd9",
        "Cameras that are bought together, and words of their reviews", 7650, 119_081, 745, 8,
        # The same arrays, without the names, which are pickles there.
        equal=("sha256:4f552b0f6631b465c417b05db89d9d280fa7d01061b89fcc4602d88dd82ed22d",),
    ),
    _shchur(
        "coauthor-cs", "ms_academic_cs", "9bdd7da943d86b74297e8d32e99eb64245b52835",
        "Authors of computer science who wrote a paper together", 18_333, 81_894, 6805, 15,
    ),
    _shchur(
        "coauthor-physics", "ms_academic_phy", "8d8bc12e29aa67f6753a712080eae81079bd7d01",
        "Authors of physics who wrote a paper together", 34_493, 247_962, 8415, 5,
    ),
    _ogbn(
        "ogbn-arxiv", 1 << 30, "ODC-BY", "Papers of computer science and what they cite (directed), split by year",
        169_343, 1_166_243, 128, 40, undirected=False,
    ),
    _ogbn(
        "ogbn-products", 4 << 30, "Amazon license", "Products that are bought together, split by sales rank",
        2_449_029, 61_859_140, 100, 47, undirected=True,
    ),
)  # fmt: skip

DATASETS: Mapping[str, Dataset] = {dataset.name: dataset for dataset in _ALL}
