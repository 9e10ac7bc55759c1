"""The graph as it travels to a worker: one .npz file that needs NumPy and SciPy to read, and nothing else.

Peers live in environments without portgnn, so what they need of a graph (its normalisation, its edge list) is
written here once more, and all of them start from the same bytes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
DENSE_LIMIT = 20_000
"""Nodes beyond which a dense adjacency (float32) would take more than 1.6 GB."""


@dataclass(frozen=True, eq=False)
class BenchGraph:
    """adjacency: CSR [n, n], row i holds the neighbours that node i sums over, no self-loops.

    features: CSR or dense [n, f]. labels: [n]. train, val, test: node numbers. classes: number of classes.
    """

    name: str
    adjacency: sp.csr_array
    features: Any
    labels: NDArray[np.int64]
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    classes: int

    @property
    def nodes(self) -> int:
        return int(self.adjacency.shape[0])

    @property
    def stored_edges(self) -> int:
        return int(self.adjacency.nnz)

    def facts(self) -> dict[str, Any]:
        """The sizes that a reader of a result needs."""
        stored = self.features.nnz if sp.issparse(self.features) else self.features.size
        return {
            "nodes": self.nodes,
            "stored_edges": self.stored_edges,
            "features": int(self.features.shape[1]),
            "stored_features": int(stored),
            "classes": self.classes,
            "train_nodes": len(self.train),
        }

    def dense_features(self, row_normalised: bool) -> NDArray[np.float32]:
        """float32 [n, f], each row divided by its sum where asked for."""
        dense = self.features.toarray() if sp.issparse(self.features) else np.asarray(self.features)
        if row_normalised:
            sums = dense.sum(axis=1, keepdims=True)
            dense = np.divide(dense, sums, out=np.array(dense, dtype=np.float64), where=sums != 0)
        return np.ascontiguousarray(dense, dtype=np.float32)

    def edge_index(self) -> NDArray[np.int64]:
        """[2, stored edges]: source in row 0, target in row 1, without self-loops."""
        rows = np.repeat(np.arange(self.nodes), np.diff(self.adjacency.indptr))
        return np.stack([self.adjacency.indices.astype(np.int64), rows])

    def normalised(self) -> sp.csr_array:
        """D^-1/2 (A + I) D^-1/2, float32."""
        looped = (self.adjacency + sp.eye_array(self.nodes, format="csr")).tocsr()
        scale = sp.diags_array(1.0 / np.sqrt(np.asarray(looped.sum(axis=1)).ravel()))
        return sp.csr_array((scale @ looped @ scale).astype(np.float32))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the .npz, uncompressed: large graphs are read by many workers."""
        arrays: dict[str, Any] = {"name": self.name, "classes": self.classes, "labels": self.labels}
        arrays |= {split: getattr(self, split) for split in SPLITS}
        arrays |= _parts("adjacency", self.adjacency)
        arrays |= _parts("features", self.features) if sp.issparse(self.features) else {"features": self.features}
        np.savez(path, **arrays)
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BenchGraph:
        with np.load(path, allow_pickle=False) as file:
            features = file["features"] if "features" in file else _csr("features", file)
            train, val, test = (file[split] for split in SPLITS)
            adjacency = _csr("adjacency", file)
            return cls(str(file["name"]), adjacency, features, file["labels"], train, val, test, int(file["classes"]))


def synthetic(
    stored_edges: int, *, nodes: int | None = None, features: int = 128, classes: int = 40, seed: int = 0
) -> BenchGraph:
    """A degree-corrected random graph of about this many stored edges (both directions counted).

    Degrees follow a power law, as citation networks do; 7 edges in 10 stay inside a class, so that there is
    something to learn. Half of the nodes train, a quarter each validates and tests.
    """
    n = nodes if nodes is not None else max(stored_edges // 14, 4 * classes)
    generator = np.random.default_rng([seed, stored_edges, n])
    labels = np.sort(generator.integers(0, classes, n)).astype(np.int64)
    attraction = 1.0 / np.sqrt(generator.random(n) + 1e-4)
    ends = np.cumsum(attraction)
    first = np.searchsorted(labels, np.arange(classes))
    last = np.searchsorted(labels, np.arange(classes), side="right") - 1
    low, high = (ends - attraction)[np.minimum(first, n - 1)], ends[last]
    # Repeated pairs fall together, so draw until enough distinct ones are there.
    pairs = np.empty(0, dtype=np.int64)
    while len(pairs) < stored_edges // 2:
        # Past a point only denser graphs than anybody trains on would need more than a few turns.
        missing = max(int((stored_edges // 2 - len(pairs)) * 1.1), 16)
        source = np.searchsorted(ends, generator.random(missing) * ends[-1])
        inside = generator.random(missing) < 0.7
        group = labels[np.minimum(source, n - 1)]
        start = np.where(inside, low[group], 0.0)
        stop = np.where(inside, high[group], ends[-1])
        target = np.searchsorted(ends, start + generator.random(missing) * (stop - start))
        a, b = np.minimum(source, target), np.minimum(np.maximum(source, target), n - 1)
        pairs = np.unique(np.concatenate([pairs, (a * n + b)[a != b]]))
    pairs = generator.permutation(pairs)[: stored_edges // 2]
    a, b = (pairs // n).astype(np.int32), (pairs % n).astype(np.int32)
    half = sp.csr_array((np.ones(len(a), dtype=np.float32), (a, b)), shape=(n, n))
    adjacency = sp.csr_array(half + half.T)
    adjacency.sort_indices()
    centres = generator.standard_normal((classes, features), dtype=np.float32)
    noisy = generator.standard_normal((n, features), dtype=np.float32)
    noisy += 0.5 * centres[labels]
    order = generator.permutation(n)
    train, val, test = (np.sort(part) for part in np.split(order, [n // 2, n // 2 + n // 4]))
    return BenchGraph(f"synthetic-{adjacency.nnz}", adjacency, noisy, labels, train, val, test, classes)


def arxiv_size() -> BenchGraph:
    """A random graph with the numbers of ogbn-arxiv: nodes, stored edges, features and classes."""
    return synthetic(2_315_598, nodes=169_343, features=128, classes=40)


def _parts(name: str, matrix: sp.csr_array) -> dict[str, object]:
    return {
        f"{name}.data": matrix.data,
        f"{name}.indices": matrix.indices,
        f"{name}.indptr": matrix.indptr,
        f"{name}.shape": np.array(matrix.shape),
    }


def _csr(name: str, file: Any) -> sp.csr_array:
    parts = (file[f"{name}.data"], file[f"{name}.indices"], file[f"{name}.indptr"])
    return sp.csr_array(parts, shape=tuple(file[f"{name}.shape"].tolist()))
