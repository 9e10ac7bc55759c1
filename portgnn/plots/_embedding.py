"""The nodes of a graph as a trained network sees them, and these in two dimensions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import ConfigError

PERPLEXITY = 30


def project(points: NDArray[np.generic], how: str) -> tuple[NDArray[np.float64], tuple[str, str]]:
    """Points [n, d] in the plane, [n, 2], and what the two axes are. how: pca, tsne or umap.

    The same points give the same picture. Raises ConfigError without the library that tsne and umap need.
    """
    values = np.asarray(points, dtype=np.float64)
    if how == "pca":
        return _pca(values)
    if len(values) < 4:
        raise ConfigError(f"{how} needs at least 4 nodes, and there are {len(values)}; type --map pca")
    if how == "tsne":
        try:
            from sklearn.manifold import TSNE
        except ImportError:
            raise ConfigError('tsne needs scikit-learn. Install it with: pip install "portgnn[sklearn]"') from None
        perplexity = min(PERPLEXITY, (len(values) - 1) / 3)
        found = TSNE(init="pca", random_state=0, perplexity=perplexity).fit_transform(values)
        return np.asarray(found, dtype=np.float64), ("t-SNE, no unit", "t-SNE, no unit")
    try:
        from umap import UMAP
    except ImportError:
        raise ConfigError("umap needs umap-learn. Install it with: pip install umap-learn") from None
    found = UMAP(random_state=0, n_jobs=1, n_neighbors=min(15, len(values) - 1)).fit_transform(values)
    return np.asarray(found, dtype=np.float64), ("UMAP, no unit", "UMAP, no unit")


def _pca(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[str, str]]:
    """The first two principal components: the centred points' products with the first right singular vectors
    (I. T. Jolliffe, "Principal component analysis", 2002, section 3.5).

    A vector's sign is free; it is chosen so that its largest entry is positive.
    """
    centred = values - values.mean(axis=0)
    _, singular, vectors = np.linalg.svd(centred, full_matrices=False)
    vectors, singular = vectors[:2], singular**2
    if len(vectors) < 2:  # one column, or one node: the second axis is flat
        vectors = np.vstack([vectors, np.zeros((2 - len(vectors), values.shape[1]))])
        singular = np.append(singular, [0.0])
    largest = vectors[np.arange(2), np.abs(vectors).argmax(axis=1)]
    vectors = vectors * np.where(largest < 0, -1.0, 1.0)[:, None]
    shares = singular / (singular.sum() or 1.0)
    first, second = (f"{name} principal component ({share:.0%} of the variance)"
                     for name, share in zip(("first", "second"), shares, strict=False))  # fmt: skip
    return centred @ vectors.T, (first, second)
