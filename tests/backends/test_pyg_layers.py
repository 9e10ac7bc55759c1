"""PyTorch Geometric's own layers as judges: the same parameters on the same graphs, value for value and gradients too.

The comparison itself is bench/studies/layers.py, whose results are committed; here it runs where PyG is installed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from portgnn.models import NETWORKS

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results" / "pyg-layers.json"


@pytest.fixture(scope="module")
def study() -> Any:
    pytest.importorskip("torch_geometric", reason="PyTorch Geometric, the judge, is not installed")
    sys.path.insert(0, str(ROOT))
    import bench.studies.layers as study

    return study


def test_each_layer_is_pygs(study: Any) -> None:
    found = study.rows(["numpy", "torch"], seeds=1)
    assert {network for network, _ in study.NETWORKS.values()} == set(NETWORKS)
    for name, row in found.items():
        for backend, errors in row.items():
            assert backend == "differs" or max(errors.values()) <= study.BAR, name


def test_the_comparison_sees_another_parameter(study: Any) -> None:
    """A judge that says yes to everything would be none."""
    graph, config = study.drawn_graph("isolated", 0), study.recipe("gatv2", {"heads": 2})
    prepared = study.Prepared.of(graph, config)
    params = study.initial_values(prepared.layers, 0)
    weight = study.np.ones((graph.num_nodes, graph.num_classes))
    logits, grads = study.theirs(graph, config, params, weight)
    assert set(grads) == set(params)
    for name in params:
        other, _ = study.theirs(graph, config, params | {name: params[name] + 0.5}, weight)
        assert abs(other - logits).max() > 1e-6, name
    with pytest.raises(ValueError, match="have no"):
        study.theirs(graph, config, params | {"more0": weight}, weight)


def test_the_committed_results_hold_the_bar() -> None:
    document = json.loads(RESULTS.read_text())
    assert document["bar"] == 1e-12
    numbers = [
        each
        for row in document["rows"].values()
        for backend, of in row.items()
        if backend != "differs"
        for each in of.values()
    ]
    assert len(numbers) >= 4 * 50
    assert max(numbers) == document["largest"] <= document["bar"]
    named = [name for name, row in document["rows"].items() if "differs" in row]
    assert len(named) <= 6  # weights that PyG does not take, and its Laplacian
