"""Matrices and tensors of other libraries: taken as they are meant, or refused in one line; never trusted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.sparse as sp

from portgnn import Graph
from portgnn.errors import GraphError
from portgnn.graphs.arrays import host
from portgnn.prediction.predict import Classified

FEATURES = np.eye(4, 2) + 1.0


def _broken(form: str) -> Any:
    """A matrix that was sound when it was made."""
    matrix = sp.csr_array(np.ones((4, 4))).asformat(form)
    if form in ("csr", "csc"):
        matrix.indices[3] = 2**30
    elif form == "bsr":
        matrix.indices[0] = 99
    elif form == "coo":
        matrix.coords[1][2] = 7
    elif form == "dia":
        matrix.offsets = matrix.offsets[:-1]
    elif form == "lil":
        matrix.rows[1][0] = 400
    else:
        matrix._dict[(9, 9)] = 1.0
    return matrix


@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo", "dia", "lil", "dok"])
def test_indices_out_of_range_never_reach_compiled_code(form: str) -> None:
    for make in (
        lambda: Graph.from_scipy(_broken(form), FEATURES),
        lambda: Graph(_broken(form), FEATURES),
        lambda: Graph(sp.csr_array((4, 4)), _broken(form)),
    ):
        with pytest.raises(GraphError, match=r"index|pointers|no valid|offsets"):
            make()
    sound = sp.csr_array(np.ones((4, 4))).asformat(form)
    assert Graph.from_scipy(sound, sound).adjacency.nnz == 16


@pytest.mark.parametrize(
    "indptr", [[0, 3, 2, 5, 5], [0, 2, 4, 6, 2**30], [1, 2, 3, 4, 5], [0, -2, 3, 4, 5], [0, 5], [0, 9, 9, 9, 5]]
)
def test_row_pointers_that_do_not_rise_are_refused(indptr: list[int]) -> None:
    matrix = sp.csr_array(np.eye(4) + np.eye(4, k=1))
    matrix.indptr = np.array(indptr, dtype=np.int32)
    with pytest.raises(GraphError, match="row pointers"):
        Graph.from_scipy(matrix, FEATURES)


def test_matrices_of_no_numbers_are_refused() -> None:
    for dtype in (complex, "U3"):
        with pytest.raises(GraphError, match="must be numbers"):
            Graph(np.ones((4, 4)).astype(dtype), FEATURES)
    with pytest.raises(GraphError, match="must be numbers"):
        Graph(sp.csr_array(np.eye(4, dtype=complex)), FEATURES)
    with pytest.raises(GraphError, match="cannot be read as an array"):
        Graph([[1, 2], [3]], FEATURES)


def test_unsigned_labels_are_labels() -> None:
    graph = Graph(np.eye(4), FEATURES, np.array([0, 1, 0, 2], dtype=np.uint8))
    assert graph.labels is not None
    assert graph.labels.tolist() == [0, 1, 0, 2]
    with pytest.raises(GraphError, match="label 18446744073709551615"):
        Graph(np.eye(4), FEATURES, np.array([0, 1, 0, 2**64 - 1], dtype=np.uint64))


@pytest.mark.parametrize("field", ["node_ids", "class_names", "feature_names"])
def test_names_under_a_mask(field: str) -> None:
    names = np.ma.array(["a", "b", "c", "d"], mask=[0, 1, 0, 0])
    fields: dict[str, Any] = {field: names}
    with pytest.raises(GraphError, match=f"{field} hides 1 values under a mask, first at .1."):
        Graph(np.eye(4), np.eye(4), [0, 1, 2, 3], **fields)
    assert list(getattr(Graph(np.eye(4), np.eye(4), **{field: np.ma.array(names.data)}), field)) == list("abcd")


def test_tensors_of_torch() -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor(FEATURES)
    edges = torch.tensor([[0, 1], [1, 2]])
    for given in (
        x.to(torch.bfloat16),
        x.half(),
        x.clone().requires_grad_(),
        x.to_sparse(),
        x.to_sparse_csr(),
        x.to_sparse_csc(),
        x.to(torch.bfloat16).requires_grad_(),
        x.to_sparse().requires_grad_(),
        x.half().to_sparse(),
        x.half().to_sparse_csr(),
    ):
        for graph in (
            Graph.from_pyg(SimpleNamespace(edge_index=edges, x=given)),
            Graph.from_edges([[0, 1]], given),
            Graph(torch.eye(4).to_sparse(), given),
        ):
            dense = graph.features.toarray() if sp.issparse(graph.features) else graph.features
            np.testing.assert_array_equal(dense, FEATURES)
    weights = torch.tensor([0.5, 2.0], dtype=torch.bfloat16, requires_grad=True)
    graph = Graph.from_pyg(SimpleNamespace(edge_index=edges, x=x, edge_weight=weights))
    assert graph.adjacency.data.tolist() == [0.5, 2.0]
    for odd in (x.to(torch.complex64), torch.empty(4, 2, device="meta")):
        with pytest.raises(GraphError, match=r"cannot be read|must be"):
            Graph.from_pyg(SimpleNamespace(edge_index=edges, x=odd))
    with pytest.raises(GraphError, match=r"edge_index|edges|dense|tensor"):
        Graph.from_pyg(SimpleNamespace(edge_index=torch.eye(4).to_sparse(), x=x))


def test_bfloat16_of_other_libraries() -> None:
    arrays: list[Any] = [FEATURES.astype(ml_dtypes.bfloat16)]
    try:
        import mlx.core as mx

        arrays.append(mx.array(FEATURES, dtype=mx.bfloat16))
    except ImportError:
        arrays.append(mx.array(FEATURES.T.copy(), dtype=mx.bfloat16).T)
    try:
        import jax.numpy as jnp

        arrays.append(jnp.asarray(FEATURES, dtype=jnp.bfloat16))
    except ImportError:
        pass
    for given in arrays:
        np.testing.assert_array_equal(Graph.from_edges([[0, 1]], given).features, FEATURES)


def _libraries() -> dict[str, Callable[[Any], Any]]:
    """Each library that is here, and how it takes an array, which it may share."""
    found: dict[str, Callable[[Any], Any]] = {"numpy": np.asarray}
    with suppress(ImportError):
        import torch

        found["torch"] = torch.from_dlpack
    with suppress(ImportError):
        import jax

        found["jax"] = jax.dlpack.from_dlpack
    return found


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_arrays_on_the_host_enter_and_leave_without_a_copy(library: str) -> None:
    if library not in (libraries := _libraries()):
        pytest.skip(f"{library} is not installed")
    take = libraries[library]
    given = take(np.zeros((64, 64), np.float32))
    first, second = host(given), host(given)
    assert np.shares_memory(first, second)
    answers = Classified(np.ones((64, 64), np.float32), ("a",) * 64, None, *3 * (np.zeros(64),), "")  # type: ignore[arg-type]
    np.testing.assert_array_equal(host(take(answers)), answers.logits)
    # JAX takes memory as it lies where it begins at a multiple of 64 bytes, and copies it else.
    assert np.shares_memory(host(take(answers)), answers.logits) or library == "jax"
    assert np.shares_memory(np.asarray(answers), answers.logits)
    assert np.asarray(answers, dtype=np.float64).dtype == np.float64


def test_an_mlx_array_enters_without_a_copy() -> None:
    """MLX copies what it takes: its memory is its own, for the GPU to see."""
    mx = pytest.importorskip("mlx.core")
    given = mx.zeros((64, 64))
    assert np.shares_memory(host(given), host(given))
    answers = Classified(np.ones((3, 2), np.float32), ("a", "b"), None, *3 * (np.zeros(3),), "")  # type: ignore[arg-type]
    assert mx.array(answers).tolist() == [[1.0, 1.0]] * 3


class Foreign:
    """An array of a library that NumPy cannot ask: DLPack alone, or on a device from which nothing comes unasked."""

    def __init__(self, values: Any, device: int = 1) -> None:
        self._values, self._device, self.shape, self.dtype = values, device, values.shape, values.dtype
        if device != 1:
            self.__class__ = type("Distant", (Foreign,), {"__array__": self._refuse})

    @staticmethod
    def _refuse(*_: Any, **__: Any) -> None:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device, 0

    def __dlpack__(self, *, dl_device: Any = None, **asked: Any) -> Any:
        assert self._device == 1 or dl_device == (1, 0)
        return self._values.__dlpack__(**asked)


@pytest.mark.parametrize("device", [1, 2])
def test_arrays_enter_by_dlpack(device: int) -> None:
    given = Foreign(np.array(FEATURES), device)
    np.testing.assert_array_equal(Graph.from_edges([[0, 1]], given).features, FEATURES)


def test_names_are_kept_at_their_own_length() -> None:
    graph = Graph(np.eye(4), FEATURES, node_ids=["a", "b\0", "", "x" * 1000])
    assert graph.node_ids.tolist() == ["a", "b\0", "", "x" * 1000]
    assert Graph(np.eye(4), FEATURES, node_ids=np.arange(4)).node_ids.tolist() == ["0", "1", "2", "3"]
    assert Graph(np.eye(4), FEATURES, node_ids=np.array([b"a", b"b", b"c", b"d"])).node_ids[0] == "a"
    with pytest.raises(GraphError, match="not ASCII"):
        Graph(np.eye(4), FEATURES, node_ids=np.array([b"\xff", b"b", b"c", b"d"]))
    with pytest.raises(GraphError, match="one name for each of 4 nodes"):
        Graph(np.eye(4), FEATURES, node_ids=["a"])
