"""What all tests share: one thread a process, no net, the published data where it is, and small graphs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

# ruff: noqa: E402
# Before any framework is loaded: spinning threads of several processes on few cores starve each other.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("PORTGNN_OFFLINE", "1")
# A change must not pass or fail by luck: `make sweep` draws anew, and so does everybody's `portgnn verify`.
os.environ.setdefault("PORTGNN_DRAW", "20261126")
# What XLA compiled serves all processes of the tests, in a folder of their own; it may speak of it on stderr.
USER = getattr(os, "getuid", lambda: "user")()  # whose number may have no name
os.environ.setdefault("PORTGNN_COMPILED", os.path.join(tempfile.gettempdir(), f"portgnn-tests-{USER}"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
BESIDE = Path(__file__).parents[2] / "shared" / "data"
if "PORTGNN_DATA" not in os.environ and BESIDE.is_dir():
    os.environ["PORTGNN_DATA"] = str(BESIDE)

import hypothesis
import numpy as np
import pytest
import scipy.sparse as sp

from portgnn import Graph, load_graph
from portgnn.datasets import describe_datasets

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


def _missing_data() -> str:
    """Why tests marked published_data cannot run here; empty where they can."""
    folder = os.environ.get("PORTGNN_DATA")
    if not folder:
        return "PORTGNN_DATA is not set and there is no ../shared/data"
    absent = [
        record["name"]
        for record in describe_datasets()
        if record["name"] in ("cora", "citeseer") and record["at_hand"] is None
    ]
    return f"{folder} lacks {' and '.join(absent)}" if absent else ""


def pytest_report_header(config: pytest.Config) -> str:
    reason = _missing_data()
    if reason:
        return f"published data: ABSENT ({reason}); tests marked published_data are deselected"
    return f"published data: {os.environ['PORTGNN_DATA']}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not _missing_data():
        return
    left_out = [item for item in items if item.get_closest_marker("published_data")]
    if left_out:
        items[:] = [item for item in items if not item.get_closest_marker("published_data")]
        config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reason = _missing_data()
    if reason:
        terminalreporter.write_line(f"Deselected: tests marked published_data, since {reason}.")


@pytest.fixture(scope="session")
def csbm() -> Graph:
    """The bundled graph of Cora's size."""
    return load_graph("csbm-cora")


@pytest.fixture(scope="session")
def cora() -> Graph:
    return load_graph("cora")


MakeGraph = Callable[..., Graph]


@pytest.fixture(scope="session")
def make_graph() -> MakeGraph:
    """`make_graph(seed, nodes, width, classes, sparse)`: a random graph with splits and an isolated node."""

    def make(seed: int = 0, nodes: int = 40, width: int = 12, classes: int = 3, sparse: bool = False) -> Graph:
        draw = np.random.default_rng(seed)
        edges = draw.integers(0, nodes - 1, size=(3 * nodes, 2))  # the last node stays isolated
        edges = edges[edges[:, 0] != edges[:, 1]]
        features = draw.random((nodes, width)) * (draw.random((nodes, width)) < 0.4)
        order = draw.permutation(nodes)
        return Graph.from_edges(
            edges,
            sp.csr_array(features) if sparse else features,
            np.arange(nodes) % classes,
            train=order[:8],
            val=order[8:16],
            test=order[16:32],
            name="random",
        )

    return make
