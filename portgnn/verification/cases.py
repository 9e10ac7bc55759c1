"""What checks compute on: shapes and seeds, from which all arrays follow. `portgnn.verification.draw` draws them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.graphs.graph import Graph, canonical_csr
from portgnn.models.dress import Dress
from portgnn.placing.prepared import Prepared
from portgnn.presets import PRESETS as NAMED
from portgnn.presets import Config, preset
from portgnn.verification.measure import Floats
from portgnn.verification.oracle import MODEL, Course, Network

FORMS = ("sparse", "dense")
ADJACENCIES = ("csr", "dense")


def _bare(config: Config) -> bool:
    return Dress(config.activation, config.norm, config.residual, config.jumping) == Dress()


PRESETS = tuple(
    name for name, config in NAMED.items() if config.model == MODEL and config.task == "auto" and _bare(config)
)
"""Those of the network that `oracle` states, bare and with a gradient by hand; `_models` has the others."""


@dataclass(frozen=True)
class Case:
    """A sparse matrix [rows, inner] and dense arrays that fit it, drawn from a seed.

    density: share of stored values. The first row and column of larger matrices stay empty.
    """

    rows: int
    inner: int
    columns: int
    density: float = 0.3
    seed: int = 0

    def random(self, purpose: str) -> np.random.Generator:
        """A stream for each purpose, so that one array does not depend on which others were drawn."""
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode())])

    def array(self, purpose: str, *shape: int) -> Floats:
        """Normal numbers that float32 holds exactly: the error measured is the backend's, not the rounding's."""
        return self.random(purpose).standard_normal(shape).astype(np.float32).astype(np.float64)

    @cached_property
    def _parts(self) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
        random = self.random("matrix")
        count = int(np.ceil(self.density * self.rows * self.inner)) * 2
        r = random.integers(min(self.rows > 2, self.rows - 1), self.rows, count)
        c = random.integers(min(self.inner > 2, self.inner - 1), self.inner, count)
        return random.standard_normal(count).astype(np.float32).astype(np.float64), r, c

    @cached_property
    def matrix(self) -> sp.csr_array:
        """Canonical, made from triplets of which many name the same place."""
        values, r, c = self._parts
        return canonical_csr(sp.coo_array((values, (r, c)), shape=(self.rows, self.inner)))

    @cached_property
    def dense(self) -> Floats:
        """The same matrix, without SciPy."""
        values, r, c = self._parts
        out = np.zeros((self.rows, self.inner))
        np.add.at(out, (r, c), values)
        return out

    @property
    def key(self) -> tuple[int, int]:
        words = self.random("key").integers(0, 2**32, 2)
        return int(words[0]), int(words[1])

    def element_numbers(self, purpose: str, *shape: int) -> NDArray[np.uint32]:
        """Element numbers from the whole 32-bit range."""
        return self.random(purpose).integers(0, 2**32, shape, dtype=np.uint32)


@dataclass(frozen=True)
class Recipe:
    """A preset on a graph. nodes: 0 for the bundled graph of Cora's size, else a random directed one.

    options: hyperparameters that replace the preset's. rows: as in `Config`, empty for the preset's. sparse_graph:
    few edges, so that a loss does not read every node. signed: features of both signs, dense.
    """

    preset: str = "kipf"
    adjacency: str = "csr"
    features: str = "sparse"
    nodes: int = 40
    width: int = 30
    classes: int = 4
    hidden: int = 16
    epochs: int = 20
    seed: int = 0
    options: tuple[tuple[str, Any], ...] = ()
    rows: str = ""
    sparse_graph: bool = False
    signed: bool = False

    def but(self, **changes: Any) -> Recipe:
        """Another recipe. Fields that are no field of a recipe are options."""
        own = {name: value for name, value in changes.items() if name in self.__dataclass_fields__}
        options = dict(self.options) | {name: value for name, value in changes.items() if name not in own}
        return replace(self, **own, options=tuple(options.items()))

    @property
    def config(self) -> Config:
        given: dict[str, Any] = {
            "adjacency": self.adjacency,
            "features": self.features,
            "hidden": self.hidden,
            "epochs": self.epochs,
            "rows": self.rows or None,
        }
        return preset(self.preset, **(given | dict(self.options)))

    @property
    def graph(self) -> Graph:
        if not self.nodes:
            return _bundled()
        return _graph(self.nodes, self.width, self.classes, self.seed, self.sparse_graph, self.signed)

    @property
    def prepared(self) -> Prepared:
        return Prepared.of(self.graph, self.config)

    @property
    def oracle(self) -> Network:
        return _network(self._stated)

    @property
    def course(self) -> Course:
        return _course(self._stated)

    @property
    def margin(self) -> float:
        """How near 0 an input of ReLU comes in training, as a share of the largest of its layer."""
        return self.course.margin

    @property
    def sparse(self) -> bool:
        """Whether the reference takes the features in sparse form: without dropout on them it changes no number."""
        return self.features == "sparse" or not self.config.input_dropout

    @property
    def _stated(self) -> Recipe:
        """The recipe without what changes no number."""
        return replace(self, adjacency="csr", rows="", features="sparse" if self.sparse else "dense")


def recipes(**fields: Any) -> tuple[Recipe, ...]:
    """Every preset in every form."""
    return tuple(
        Recipe(name, adjacency, form, **fields) for name in PRESETS for adjacency in ADJACENCIES for form in FORMS
    )


@lru_cache(maxsize=64)
def _network(recipe: Recipe) -> Network:
    return Network(recipe.graph, recipe.config, recipe.features == "sparse")


@lru_cache(maxsize=64)
def _course(recipe: Recipe) -> Course:
    return _network(recipe).train(recipe.seed, recipe.epochs)


@lru_cache(maxsize=1)
def _bundled() -> Graph:
    from portgnn.datasets.bundled import csbm_cora

    return csbm_cora()


@lru_cache(maxsize=64)
def _graph(nodes: int, width: int, classes: int, seed: int, sparse_graph: bool, signed: bool) -> Graph:
    random = np.random.default_rng([seed, nodes, width, classes])
    count = nodes if sparse_graph else 3 * nodes
    source, target = random.integers(0, nodes, (2, count))
    linked = (target != nodes - 1) & (source != nodes - 1)  # the last node is isolated
    weights = random.integers(1, 4, count) / 2.0
    adjacency = sp.coo_array((weights[linked], (target[linked], source[linked])), shape=(nodes, nodes))
    present = random.random((nodes, width)) < 0.3
    features = np.where(present, random.integers(1, 9, (nodes, width)) / 4.0, 0.0)
    if signed:
        features = np.where(present, features - random.integers(0, 2, (nodes, width)) * 3.0, features)
    labels = random.integers(0, classes, nodes)
    order = random.permutation(nodes)
    part = max(nodes // (5 if sparse_graph else 3), 1)
    if sparse_graph:  # and some nodes whose class nobody knows
        labels[order[4 * part :]] = -1
    return Graph(
        adjacency=adjacency,
        features=sp.csr_array(features),
        labels=labels,
        train=order[:part],
        name=f"random-{nodes}",
        val=order[part : 2 * part] if nodes > 1 else None,
        test=order[2 * part : 3 * part] if sparse_graph and nodes > 2 else None,
        class_names=tuple(f"class {c}" for c in range(classes)),
    )
