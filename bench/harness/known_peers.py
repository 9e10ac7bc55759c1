"""The peers by name: what a table calls each, which module of `bench.peers` trains it, and what it needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portgnn.benchmark import cases, runner
from portgnn.benchmark.client import WorkerSpec

HERE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Peer:
    """module: the contender under bench.peers. title: how tables call it. needs: what to install."""

    module: str
    title: str
    needs: str
    argument: str | None = None
    env: dict[str, str] = field(default_factory=dict)


PEERS: dict[str, Peer] = {
    "pyg": Peer("pyg", "PyG GCN (edge_index, cached)", "torch-geometric", "edge_index"),
    "pyg-csr": Peer("pyg", "PyG GCN (CSR adjacency)", "torch-geometric", "csr"),
    "pyg-compiled": Peer("pyg", "PyG GCN (compiled)", "torch-geometric", "compiled"),
    "pyg-csr-compiled": Peer("pyg", "PyG GCN (CSR adjacency, compiled)", "torch-geometric", "csr+compiled"),
    "pyg-captured": Peer("pyg", "PyG GCN (compiled, step in a CUDA graph)", "torch-geometric", "compiled+captured"),
    "pyg-csr-captured": Peer("pyg", "PyG GCN (CSR, step in a CUDA graph)", "torch-geometric", "csr+captured"),
    "jax-bcoo": Peer("jax_by_hand", "JAX by hand (jit, scan, BCOO)", "jax", "bcoo"),
    "jax-segments": Peer("jax_by_hand", "JAX by hand (jit, scan, segment sums)", "jax", "segments"),
    "jraph": Peer("jax_by_hand", "jraph GraphConvolution (jit, scan)", "jraph", "jraph"),
    "mlx-graphs": Peer("mlx_graphs", "mlx-graphs GCNConv", "mlx-graphs"),
    "mlx-graphs-compiled": Peer("mlx_graphs", "mlx-graphs GCNConv (mx.compile)", "mlx-graphs", "compiled"),
    "k3-node-jax": Peer("k3_node", "k3-node GCN (JAX)", "k3-node and jax", "jax", {"KERAS_BACKEND": "jax"}),
    "k3-node-torch": Peer("k3_node", "k3-node GCN (torch)", "k3-node and torch", "torch", {"KERAS_BACKEND": "torch"}),
    "k3-node-torch-compiled": Peer(
        "k3_node", "k3-node GCN (torch, compiled)", "k3-node and torch", "torch+compiled", {"KERAS_BACKEND": "torch"}
    ),
    "scikit-network": Peer("scikit_network", "scikit-network GNNClassifier", "scikit-network"),
    "article-torch": Peer("article_torch", "the article's dense torch code", "torch"),
    "article-mlx": Peer("article_mlx", "the article's dense MLX code", "mlx"),
}

FAMILIES: dict[str, tuple[str, ...]] = {
    "PyG": ("pyg", "pyg-csr", "pyg-compiled", "pyg-csr-compiled", "pyg-captured", "pyg-csr-captured"),
    "JAX by hand": ("jax-bcoo", "jax-segments"),
    "jraph": ("jraph",),
    "article torch": ("article-torch",),
    "article MLX": ("article-mlx",),
    "mlx-graphs": ("mlx-graphs", "mlx-graphs-compiled"),
    "k3-node": ("k3-node-jax", "k3-node-torch", "k3-node-torch-compiled"),
    "scikit-network": ("scikit-network",),
}
"""Peers by library: a table's ratio is to the fastest of a family that it holds."""


def find_python(name: str, given: dict[str, str], default: str) -> str:
    """The interpreter for a peer: its own entry, else the longest entry that its name starts with, else default."""
    fitting = [key for key in given if name == key or name.startswith(f"{key}-")]
    return given[max(fitting, key=len)] if fitting else given.get("", default)


def peer_spec(name: str, pythons: dict[str, str]) -> WorkerSpec:
    peer = PEERS[name]
    python = find_python(name, pythons, sys.executable)
    # A worker finds portgnn beside its own file; where that is installed, this folder is not beside it.
    found = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return WorkerSpec(name, f"bench.peers.{peer.module}", peer.argument, python, {"PYTHONPATH": found} | peer.env)


def peer_names(names: Sequence[str] | None) -> list[str]:
    """Those asked for, by default all. Raises ValueError for a stranger."""
    return cases.selected(names, tuple(PEERS))


@dataclass(frozen=True)
class Options(runner.Options):
    """What one run covers. peers: None for all that are here. peer_pythons: their interpreters, by name."""

    peers: Sequence[str] | None = None
    peer_pythons: dict[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        # Names only: paths say nothing to a reader.
        return super().record() | {"peer_pythons": sorted(self.peer_pythons)}

    def beside(self) -> list[cases.Contestant]:
        """The peers that take part. Raises ValueError for a name that is none."""
        names = peer_names(self.peers)
        return [
            cases.Contestant(peer_spec(name, self.peer_pythons), "peer", PEERS[name].title, PEERS[name].needs)
            for name in names
        ]
