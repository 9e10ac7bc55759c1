"""Which sets of graphs have a name: those of the TU collection that are compared on most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from portgnn.datasets._tu import read_tu
from portgnn.datasets.download import Announce, FileSpec, fetch_all, locate
from portgnn.graphs.sets import GraphSet

_MIRROR = "https://raw.githubusercontent.com/bknyaz/graph_nn/master/data"


@dataclass(frozen=True)
class Collection:
    """A set of graphs that has a name. graphs, classes: the sizes that `load` gives."""

    name: str
    description: str
    graphs: int
    classes: int
    file: FileSpec
    source: str = "https://chrsmrrs.github.io/datasets"
    paper: str = "Morris et al. 2020, TUDataset: a collection of benchmark datasets for learning with graphs"
    licence: str = "not stated by the publisher"

    def at_hand(self) -> str | None:
        """ "PORTGNN_DATA" or "cache"; None where the file has to be fetched."""
        found = locate(self.file)
        return None if found is None else found[0]

    def load(self, *, announce: Announce | None = None) -> GraphSet:
        """The set. Raises DownloadError if the file cannot be had, DatasetError if it is not what it should be."""
        return read_tu(fetch_all([self.file], announce=announce)[0], self.name)


def _tu(name: str, graphs: int, classes: int, description: str, checksum: str) -> Collection:
    """checksum: SHA-256, or git's own of a file, as the repository that keeps the archives states it."""
    kind = "sha256" if len(checksum) == 64 else "git-blob"
    file = FileSpec(f"{name}.zip", f"{kind}:{checksum}", (f"{_MIRROR}/{name}.zip",), "tudataset", 256 << 20)
    return Collection(name, description, graphs, classes, file)


_ALL = (
    _tu("MUTAG", 188, 2, "Molecules, and whether they harm bacteria's genes",
        "20f52db82d6d85d5f67d2fa42c3fb705d05934be44329314ab17b05d0c012f7e"),
    _tu("PROTEINS", 1113, 2, "Proteins as graphs of helices, sheets and turns: enzymes or not",
        "fe9d19741637486ea1fd285bf669fce0b117e10b03cdd379f6a5e6197fc830ae"),
    _tu("ENZYMES", 600, 6, "Enzymes as graphs of helices, sheets and turns, by what they catalyse",
        "0ca7125d7978788346fc6ba5c3cc643b6122153b304220c2230bcb09f99f8ffb"),
    _tu("NCI1", 4110, 2, "Molecules, and whether they stop a lung cancer's cells",
        "8401fcfcfda2190390cece386305522e47103fda"),
    _tu("NCI109", 4127, 2, "Molecules, and whether they stop an ovarian cancer's cells",
        "05bbcd4252629de40525854232ec72078ac67ee9"),
    _tu("DD", 1178, 2, "Proteins as graphs of amino acids: enzymes or not",
        "f870f0bca12659ebb5d9811be54bbb6ad8e93e74"),
    _tu("PTC_MR", 344, 2, "Molecules, and whether they give male rats cancer",
        "2a0acd0bffd115e2ffbbae6429796115ac53510c"),
    _tu("AIDS", 2000, 2, "Molecules, and whether they act against HIV",
        "367464ede273e2171a29473742c3924265b2c8f2"),
    _tu("Mutagenicity", 4337, 2, "Molecules, and whether they are mutagenic",
        "07750f74cfde459f83c987fbf20bb04abd68ffe0"),
    _tu("FRANKENSTEIN", 4337, 2, "The same molecules with images' features at their atoms",
        "4cd47cd064692550d4acc3eac277053e3294499a"),
    _tu("BZR", 405, 2, "Molecules, and whether they bind to a receptor",
        "82c6200d6dd2d6215fa6f0fffebe878c43a51ef0"),
    _tu("COX2", 467, 2, "Molecules, and whether they stop an enzyme",
        "500bb7886d2eeddc969de73e04fd43f6986e49e5"),
    _tu("DHFR", 756, 2, "Molecules, and whether they stop an enzyme",
        "da0dc86f32dd25ab55b927fbab8ff707943566bd"),
    _tu("COLLAB", 5000, 3, "Who works with whom, by the field of physics",
        "3a6eb289bd2c3ba2fdf081831a1a26acedcb72e0"),
    _tu("IMDB-BINARY", 1000, 2, "Actors around an actor, by the genre",
        "0b94ba9cc6be1c8fd8b47d018d5b6ca28c792b33"),
    _tu("IMDB-MULTI", 1500, 3, "Actors around an actor, by the genre",
        "0d1b911297f178db1dc98673e18671debca19f60"),
    _tu("REDDIT-BINARY", 2000, 2, "Who answers whom in a discussion, by its kind",
        "11278dba786498d1b1aa9f7c96036f1d562cfbbd"),
    _tu("REDDIT-MULTI-5K", 4999, 5, "Who answers whom in a discussion, by its topic",
        "076ae8725ead054ef81a5aca867b169c15b98c20"),
)  # fmt: skip

COLLECTIONS: Mapping[str, Collection] = {each.name: each for each in _ALL}
