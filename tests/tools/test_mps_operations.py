"""What is called on MPS, without a Mac: each operation has a kernel there, and no array of float64 is made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

torch = pytest.importorskip("torch")
pytest.importorskip("yaml")

from portgnn_torch import TorchBackend  # noqa: E402
from portgnn_torch.edges import largest  # noqa: E402

RESULTS = Path(__file__).parents[2] / "bench" / "results" / "mps-operations.json"
DRAWN = ("network gat", "network sage", "preset article", "task regression", "optimizer rmsprop", "clipped")


@pytest.fixture(scope="module")
def operations(tool: Callable[[str], ModuleType]) -> ModuleType:
    return tool("mps_operations")


@pytest.mark.parametrize("work", DRAWN)
def test_what_is_called_is_there(work: str, operations: ModuleType) -> None:
    """All others: python tools/mps_operations.py --json bench/results/mps-operations.json"""
    with operations.listening() as seen:
        operations.works()[work](operations.as_on_mps())
    assert len(seen.operations) > 15
    assert operations.missing(sorted(seen.operations)) == {}
    assert seen.wide == set()


def test_the_committed_list_is_of_all_works_and_has_no_gap(operations: ModuleType) -> None:
    found = json.loads(RESULTS.read_text())
    assert found["works"] == len(operations.works())
    assert (found["failed"], found["missing"], found["float64"]) == ({}, {}, [])
    assert set(found["operations"]).isdisjoint(operations.AVOIDED)
    assert len(found["operations"]) > 60


def test_what_is_avoided_is_missing_still(operations: ModuleType) -> None:
    assert set(operations.missing(list(operations.AVOIDED))) == set(operations.AVOIDED)


def test_a_planted_gap_and_a_planted_float64_are_found(operations: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def relu(self: TorchBackend, x: Any) -> Any:
        torch.ones(1, dtype=torch.float64)
        rows = torch.tensor([len(x)])
        return torch.relu(x) + 0 * torch.segment_reduce(x.detach(), "max", lengths=rows, axis=0, unsafe=True)

    monkeypatch.setattr(TorchBackend, "relu", relu)
    with operations.listening() as seen:
        operations.works()["preset pyg"](operations.as_on_mps())
    assert operations.missing(sorted(seen.operations)) == {"aten::segment_reduce": "has kernels for CPU, CUDA"}
    assert seen.wide == {"aten::ones"}


def test_the_backward_pass_is_seen_too(operations: ModuleType) -> None:
    with operations.listening() as seen:
        torch.relu(torch.ones(3, requires_grad=True)).sum().backward()
    assert "aten::threshold_backward" in seen.operations


@pytest.mark.parametrize("shape", [(), (3,)])
def test_the_largest_of_each_targets_edges_is_the_same_in_both_forms(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    dense = random.random((7, 5)) < 0.4
    dense[2] = False  # a target without an edge
    matrix = sp.csr_array(dense.astype(np.float64))
    values = torch.tensor(random.standard_normal((matrix.nnz, *(shape or (1,)))) - 2, dtype=torch.float32)
    found = [largest(TorchBackend("cpu", "float32", csr=csr).edges(matrix), values) for csr in (True, False)]
    assert torch.equal(*found)
    assert float(found[0][2].abs().sum()) == 0.0
    assert float(found[0].min()) < 0.0
