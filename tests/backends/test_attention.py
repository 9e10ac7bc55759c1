"""Attention in one verb: what adapters have of their own against what `portgnn.parts` makes of other verbs.

On CUDA torch's kernels are held to the same by `portgnn verify --backend torch --device cuda`, whose check "attend" has
a row that is longer than a kernel takes in one piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn.parts import PlainEdges, attended, message_passing
from portgnn.protocol import EdgeDropout
from portgnn.verification import CHECKS
from portgnn.verification._edges import SLOPE, Attended
from portgnn.verification._edges import attended as stated
from portgnn.verification.draw import Draw
from portgnn.verification.measure import Departure
from portgnn.verification.tolerances import tolerance

torch = pytest.importorskip("torch")

from portgnn_torch import TorchBackend, attention_host  # noqa: E402

SHAPES = (
    # targets, sources, heads, width, density
    (1, 1, 1, 1, 1.0),
    (4, 4, 2, 3, 0.0),
    (7, 9, 1, 5, 0.4),
    (30, 31, 8, 8, 0.3),
    (12, 20, 3, 7, 0.3),
    (5, 6, 2, 40, 1.0),
    (3, 1500, 2, 5, 0.9),
)
ATTEND = next(check for check in CHECKS if check.name == "attend")


def graded(backend: Any, attend: Callable[..., Any], given: list[Any], cotangent: Any) -> list[Any]:
    leaves = [each.clone().requires_grad_() for each in given]
    out = attend(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, cotangent)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 1e-5)])
def test_torch_on_the_cpu_gives_what_other_verbs_give(shape: Any, dtype: str, bound: float) -> None:
    targets, sources, heads, width, density = shape
    random = np.random.default_rng(3)
    present = random.random((targets, sources)) < density
    present[targets // 2] &= targets == 1  # a target without an edge
    backend = TorchBackend("cpu", dtype)
    edges = backend.edges(sp.csr_array(present.astype(np.float64)))
    numbers = backend.asarray(random.integers(0, 2**32, (int(present.sum()), heads), dtype=np.uint32))
    for dynamic in (False, True):
        for dropout in (None, EdgeDropout(0.6, (5, 4_000_000_000)), EdgeDropout(0.6, (5, 4_000_000_000), numbers)):
            wide = heads * width
            made = [(sources, wide), (targets, wide if dynamic else heads), (heads, width)]
            given = [backend.asarray(random.standard_normal(each) / width**0.5) for each in made]
            cotangent = backend.asarray(random.standard_normal((targets, wide)))
            rest = (SLOPE, dropout, dynamic)
            own = graded(backend, lambda *a, rest=rest: backend.attend(edges, *a, *rest), given, cotangent)
            plain = graded(backend, lambda *a, rest=rest: attended(backend, edges, *a, *rest), given, cotangent)
            for a, b in zip(own, plain, strict=True):
                assert a.shape == b.shape
                assert float((a - b).abs().sum()) <= bound * (1.0 + float(b.abs().sum()))


@pytest.mark.parametrize("pieces", [False, True])
def test_jax_gives_what_other_verbs_give(pieces: bool) -> None:
    """In float64, over a graph with a target that has no edge and one that has more than a piece of pieces."""
    jax = pytest.importorskip("jax")
    from portgnn_jax import JAXBackend
    from portgnn_numpy import NumPyBackend

    random = np.random.default_rng(3)
    present = random.random((5, 300)) < np.array([0.01, 0.0, 0.02, 0.9, 0.01])[:, None]
    matrix, stored = sp.csr_array(present.astype(np.float64)), int(present.sum())
    shapes = {"rows": (300, 6), "wide": (5, 6), "narrow": (5, 2), "weights": (2, 3), "values": (stored, 2)}
    params = {name: random.integers(-8, 9, shape) / 8.0 + 1 / 64 for name, shape in shapes.items()}
    onto = {shape: random.standard_normal(shape) for shape in ((5, 6), (5, 2), (stored, 2), (stored, 6))}
    ids = random.integers(0, 2**32, (stored, 2), dtype=np.uint32)

    def graded(backend: Any, verbs: Any, compiled: Callable[..., Any]) -> list[Any]:
        edges, dropout = verbs.edges(matrix), EdgeDropout(0.6, (5, 4_000_000_000), backend.asarray(ids))
        held = {shape: backend.asarray(value) for shape, value in onto.items()}

        def loss(p: Any) -> tuple[Any, Any]:
            rows, values = p["rows"], p["values"]
            outs = [
                verbs.attend(edges, rows, p["narrow"], p["weights"], SLOPE, dropout),
                verbs.attend(edges, rows, p["wide"], p["weights"], SLOPE, None, True),
                verbs.gather(edges, rows, "source"), verbs.gather(edges, p["wide"], "target"),
                verbs.segment_sum(edges, values), verbs.segment_max(edges, values), verbs.edge_softmax(edges, values),
                verbs.edge_spmm(edges, values, rows),
            ]  # fmt: skip
            return sum(backend.xp.sum(out * held[out.shape]) for out in outs), outs

        call = compiled(backend.value_and_grad(loss))
        (_, outs), grads = call({name: backend.asarray(value) for name, value in params.items()})
        return [backend.to_numpy(each) for each in (*outs, *(grads[name] for name in params))]

    own = JAXBackend("cpu", "float64", pieces=pieces)
    plain = NumPyBackend("cpu", "float64")
    wanted = graded(plain, PlainEdges(plain), lambda call: call)
    for got, want in zip(graded(own, own, jax.jit), wanted, strict=True):
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= 1e-12 * np.abs(want).max()


def test_jax_attends_where_there_are_no_edges() -> None:
    pytest.importorskip("jax")
    from portgnn_jax import JAXBackend

    backend = JAXBackend("cpu", "float32", pieces=True)
    given = [backend.asarray(np.ones(shape)) for shape in ((4, 6), (3, 6), (2, 3))]
    for verbs in (backend, PlainEdges(backend)):
        edges = verbs.edges(sp.csr_array((3, 4)))
        _, grads = backend.value_and_grad(
            lambda p, verbs=verbs, edges=edges: (
                backend.xp.sum(verbs.attend(edges, p["0"], p["1"], p["2"], SLOPE, None, True)), None,
            )
        )({str(number): value for number, value in enumerate(given)})  # fmt: skip
        assert all((backend.to_numpy(grad) == 0).all() for grad in grads.values())


def test_blocks_that_end_within_a_target_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 256 edges, where a target has some 1,300 and others few or none."""
    random = np.random.default_rng(7)
    present = random.random((40, 1500)) < np.where(np.arange(40) % 9 == 0, 0.9, 0.004)[:, None]
    backend = TorchBackend("cpu", "float64")
    given = [backend.asarray(random.standard_normal(shape)) for shape in ((1500, 6), (40, 6), (2, 3))]
    cotangent = backend.asarray(random.standard_normal((40, 6)))
    found = []
    for numbers in (attention_host.NUMBERS, 1):
        monkeypatch.setattr(attention_host, "NUMBERS", numbers)
        edges = backend.edges(sp.csr_array(present.astype(np.float64)))
        found.append(graded(backend, lambda *a, e=edges: backend.attend(e, *a, SLOPE, None, True), given, cotangent))
        assert len(edges.blocks) == 2
    assert len(next(iter(edges.blocks.values()))) > 20
    for one, other in zip(*found, strict=True):
        assert float((one - other).abs().max()) <= 1e-13 * float(one.abs().max())


@pytest.mark.parametrize("dynamic", [False, True])
def test_the_statement_of_verify_has_the_gradient_of_its_own_values(dynamic: bool) -> None:
    case = Attended(4, 6, 2, 3, 0.5, True, dynamic, seed=11)
    cotangent = case.quarters(7, 4, 6)
    _, grads, sizes = stated(case, cotangent)
    step = 1e-6
    for name, grad in grads.items():
        assert sizes[name] > 0
        for at in np.ndindex(grad.shape):
            values = []
            for sign in (1, -1):
                moved = Moved(4, 6, 2, 3, 0.5, True, dynamic, seed=11, moved=(name, at, sign * step))
                values.append(float((stated(moved, cotangent)[0] * cotangent).sum()))
            assert (values[0] - values[1]) / (2 * step) == pytest.approx(grad[at], abs=1e-8)


class Moved(Attended):
    def __init__(self, *given: Any, moved: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        object.__setattr__(self, "moved", moved)

    @property
    def params(self) -> dict[str, Any]:
        name, at, by = self.moved  # type: ignore[attr-defined]
        found = super().params
        found[name][at] += by
        return found


class Faulty(TorchBackend):
    """Attention by the other verbs, of which one is wrong."""

    def attend(self, a: Any, *given: Any) -> Any:
        return attended(self, a, *given)


class WithoutLoops(Faulty):
    def edge_softmax(self, a: Any, scores: Any) -> Any:
        return super().edge_softmax(a, torch.where((a.rows == a.columns)[:, None], scores - 1e9, scores))


class OffByOne(Faulty):
    def attend(self, a: Any, rows: Any, target: Any, weights: Any, slope: float, dropout: Any, dynamic: bool) -> Any:
        if dropout is not None:
            numbers = dropout.numbers
            if numbers is None:
                numbers = torch.arange(len(a.rows) * len(weights), dtype=torch.int32).reshape(-1, len(weights))
            dropout = dropout._replace(numbers=numbers + 1)
        return super().attend(a, rows, target, weights, slope, dropout, dynamic)


class Unshifted(Faulty):
    def edge_softmax(self, a: Any, scores: Any) -> Any:
        raised = torch.exp(scores)
        return raised / self.gather(a, self.segment_sum(a, raised), "target")


class ConstantShares(Faulty):
    def edge_softmax(self, a: Any, scores: Any) -> Any:
        return super().edge_softmax(a, scores).detach()


class OtherSlope(Faulty):
    def attend(self, a: Any, rows: Any, target: Any, weights: Any, slope: float, dropout: Any, dynamic: bool) -> Any:
        return super().attend(a, rows, target, weights, 0.2, dropout, dynamic)


@pytest.mark.parametrize("fault", [WithoutLoops, OffByOne, Unshifted, ConstantShares, OtherSlope])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_verify_catches_attention_that_is_wrong(fault: Any, dtype: str) -> None:
    bound = tolerance("attend", dtype, "cpu").value
    errors = []
    for case in ATTEND.of(Draw(5, dtype)):
        try:
            errors.append(ATTEND(fault("cpu", dtype), case).error)
        except Departure:
            errors.append(np.inf)
    assert not max(errors) <= bound
    assert max(ATTEND(TorchBackend("cpu", dtype), case).error for case in ATTEND.of(Draw(5, dtype))) <= bound


def test_a_backend_with_edges_alone_gets_attention() -> None:
    class EdgesAlone:
        """A torch backend that has the verbs of `MessagePassing` and no `attend`."""

        def __init__(self) -> None:
            self._inner = TorchBackend("cpu", "float64")

        def __getattr__(self, name: str) -> Any:
            if name == "attend":
                raise AttributeError(name)
            return getattr(self._inner, name)

    edges_alone: Any = EdgesAlone()
    verbs = message_passing(edges_alone)
    assert verbs is not edges_alone
    case = Attended(5, 6, 2, 3, seed=1)
    given = [edges_alone.asarray(each) for each in case.params.values()]
    out = verbs.attend(verbs.edges(case.matrix), *given, SLOPE)
    assert np.allclose(edges_alone.to_numpy(out), stated(case, np.zeros((5, 6)))[0], atol=1e-14)
