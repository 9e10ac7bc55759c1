"""Checks of what a backend may do in one pass: attention along edges, a product with a sum, an activation.

Each is stated here once more, edge by edge in float64, with its gradient by hand. A backend without a form of its own
is held to the same with what `portgnn.parts` makes of its other verbs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.parts import elu, matmul_add, message_passing, propagated
from portgnn.protocol import Backend, EdgeDropout, Keys, Params, State, Step
from portgnn.verification import oracle
from portgnn.verification._gradients import pulled
from portgnn.verification._verbs import product_scale
from portgnn.verification.cases import Case
from portgnn.verification.check import check
from portgnn.verification.draw import Draw, small_shapes
from portgnn.verification.measure import Floats, Measured, Suspects, compare, fetch, largest, worst

SLOPE = 0.25
LONG = 1100
"""Edges of a long row: more than a kernel takes in one piece."""


@dataclass(frozen=True)
class Attended:
    """Attention over a random graph [targets, sources], whose first target has no edge and whose last hears everybody.

    rate: of dropout on the shares; by element numbers of its own where `numbered`. Rows, scores and weights are whole
    quarters, and no sum of both ends is 0: which side of the leaky relu an edge is on is no matter of rounding.
    """

    targets: int
    sources: int
    heads: int
    width: int
    rate: float = 0.0
    numbered: bool = False
    dynamic: bool = False
    seed: int = 0
    raised: float = 0.0
    """Of the last target's scores, by so much that exp overflows unless they are shifted first."""

    @property
    def matrix(self) -> sp.csr_array:
        present = np.random.default_rng([self.seed, 1]).random((self.targets, self.sources)) < 3 / self.sources
        present[0], present[-1] = self.targets == 1, True
        return sp.csr_array(present.astype(np.float64))

    def quarters(self, purpose: int, *shape: int) -> Floats:
        return np.random.default_rng([self.seed, purpose]).integers(-4, 5, shape) / 4.0

    @property
    def params(self) -> dict[str, Floats]:
        wide = self.heads * self.width
        target = self.quarters(3, self.targets, wide if self.dynamic else self.heads) + 1 / 32
        target[-1] += self.raised
        return {"rows": self.quarters(2, self.sources, wide), "target": target,
                "weights": self.quarters(4, self.heads, self.width)}  # fmt: skip

    @property
    def key(self) -> tuple[int, int]:
        first, second = np.random.default_rng([self.seed, 5]).integers(0, 2**32, 2)
        return int(first), int(second)

    def numbers(self, edges: int) -> NDArray[np.uint32]:
        """Of the shares, [edges, heads]."""
        if self.numbered:
            stream = np.random.default_rng([self.seed, 6])
            return stream.integers(0, 2**32, (edges, self.heads), dtype=np.uint32)
        return np.arange(edges * self.heads, dtype=np.uint32).reshape(edges, self.heads)


def attended(case: Attended, cotangent: Floats) -> tuple[Floats, dict[str, Floats], dict[str, float]]:
    """The output, its gradients, and the size of the terms that each gradient sums."""
    matrix, params, (heads, width) = case.matrix, case.params, (case.heads, case.width)
    to, of = np.repeat(np.arange(case.targets), np.diff(matrix.indptr)), matrix.indices
    w, x = params["weights"], params["rows"].reshape(-1, heads, width)[of]
    kept = np.ones((len(of), heads))
    if case.rate:
        kept = oracle.mask(case.key, case.numbers(len(of)).ravel(), case.rate).reshape(kept.shape)

    def summed(values: Floats, at: Any, rows: int) -> Floats:
        total = np.zeros((rows, *values.shape[1:]))
        np.add.at(total, at, values)
        return total

    if case.dynamic:
        both = x + params["target"].reshape(-1, heads, width)[to]
        scores = (np.where(both > 0, both, SLOPE * both) * w).sum(axis=2)
    else:
        both = (x * w).sum(axis=2) + params["target"][to]
        scores = np.where(both > 0, both, SLOPE * both)
    most = np.full((case.targets, heads), -np.inf)
    np.maximum.at(most, to, scores)
    raised = np.exp(scores - most[to])
    share = raised / summed(raised, to, case.targets)[to]
    out = summed((share * kept)[:, :, None] * x, to, case.targets).reshape(case.targets, -1)

    g = cotangent.reshape(-1, heads, width)[to]
    of_share = (g * x).sum(axis=2) * kept
    of_score = share * (of_share - summed(share * of_share, to, case.targets)[to])
    size = share * (np.abs(g) * np.abs(x)).sum(axis=2) * kept
    size = size + share * summed(size, to, case.targets)[to]
    slope = np.where(both > 0, 1.0, SLOPE)
    if case.dynamic:
        of_both, size = of_score[:, :, None] * w * slope, size[:, :, None] * np.abs(w)
        of_weights, weights_size = of_score[:, :, None] * both * slope, size * np.abs(both)
        of_rows, rows_size = of_both, size
    else:
        of_both = of_score * slope
        of_weights, weights_size = of_both[:, :, None] * x, size[:, :, None] * np.abs(x)
        of_rows, rows_size = of_both[:, :, None] * w, size[:, :, None] * np.abs(w)
    of_rows = of_rows + (share * kept)[:, :, None] * g
    rows_size = rows_size + (share * kept)[:, :, None] * np.abs(g)
    grads = {
        "rows": summed(of_rows, of, case.sources).reshape(case.sources, -1),
        "target": summed(of_both, to, case.targets).reshape(case.targets, -1),
        "weights": of_weights.sum(axis=0),
    }
    sizes = {
        "rows": largest(summed(rows_size, of, case.sources)),
        "target": largest(summed(size, to, case.targets)),
        "weights": largest(weights_size.sum(axis=0)),
    }
    return out, grads, sizes


def _graphs(draw: Draw) -> tuple[Attended, ...]:
    """One node, widths that are no power of two, a long row; each kind of score and of dropout among them."""
    raised = 0.0 if draw.dtype == "bfloat16" else 1000.0  # which has no eighths there
    stream = draw.stream("attention")
    seeds = [int(seed) for seed in stream.integers(2**31, size=4)]
    n, heads, width = (int(number) for number in (stream.integers(5, 20), stream.integers(2, 9), stream.integers(2, 9)))
    return (
        Attended(1, 1, 1, width, seed=seeds[0]),
        Attended(n, n + 2, heads, 5, 0.5, True, False, seed=seeds[1]),
        Attended(n, n + 2, 3, width, 0.5, False, True, seed=seeds[2]),
        Attended(3, LONG, 2, 3, 0.25, True, bool(stream.integers(2)), seed=seeds[3], raised=raised),
    )


@check("attend", cases=_graphs, full=_graphs)
def attend(backend: Backend, case: Attended) -> Measured:
    """Shares by softmax over each target's edges, dropped out, times the sources' rows, and all gradients: compiled,
    as in training.
    """
    cotangent = case.quarters(7, case.targets, case.heads * case.width)
    want, of, sizes = attended(case, cotangent)
    state, step = _attending(backend, case, cotangent)
    state, _ = backend.compile(step)(state, np.array([[case.key]], dtype=np.uint32))
    scale = largest(case.params["rows"]) / (1 - case.rate) or 1.0
    measured = [compare("attention", fetch(backend, state["out"], "attention"), want, scale)]
    for name in of:
        got = fetch(backend, state[f"of.{name}"], f"the gradient in {name}")
        measured.append(compare(f"the gradient in {name}", got, of[name], sizes[name] or 1.0))
    return worst(*measured)


def _attending(backend: Backend, case: Attended, cotangent: Floats) -> tuple[State, Step]:
    """A step that leaves the output and the gradients in its state, and the state to begin with."""
    verbs: Any = message_passing(backend)
    matrix, weight = case.matrix, backend.asarray(cotangent)
    edges = verbs.edges(matrix)
    index = backend.asarray(case.numbers(matrix.nnz)) if case.numbered else None

    def step(state: State, keys: Keys) -> tuple[State, tuple[Any, ...]]:
        dropout = EdgeDropout(case.rate, keys[0], index) if case.rate else None

        def loss(p: Params) -> tuple[Any, Any]:
            out = verbs.attend(edges, p["rows"], p["target"], p["weights"], SLOPE, dropout, case.dynamic)
            return backend.xp.sum(out * weight), out

        (value, out), grads = backend.value_and_grad(loss)({name: state[name] for name in case.params})
        return state | {"out": out} | {f"of.{name}": grad for name, grad in grads.items()}, (value,)

    host = case.params | {"out": 0 * cotangent} | {f"of.{name}": 0 * value for name, value in case.params.items()}
    return {name: backend.asarray(value) for name, value in host.items()}, step


def _products(draw: Draw) -> tuple[Case, ...]:
    """Small ones, and two whose sums have so many numbers that a backend may take them in one pass, one of a square."""
    seeds = draw.stream("products").integers(2**31, size=3)
    sizes = ((4100, 12, 64), (17, 17, 3), (660, 660, 400))
    return (*small_shapes(draw)[:2], *(Case(*size, seed=int(seed)) for size, seed in zip(sizes, seeds, strict=True)))


@check("matmul_add", cases=_products, full=_products)
def fused_product(backend: Backend, case: Case) -> Measured:
    """scale * (a @ b) + y of a handle, and of a dense array with one row for y; and its gradients.

    Of a square handle as well what comes of several such steps, y being where they began, or something else.
    """
    b, y = case.array("b", case.inner, case.columns), case.array("y", case.rows, case.columns)
    c = case.array("c", case.rows, case.columns)
    a, measured = case.dense, []
    for left, beside in ((backend.csr(case.matrix), y), (backend.asarray(a), y[0])):

        def fn(p: Params, left: Any = left) -> Any:
            return matmul_add(backend, left, p["b"], p["y"], 0.75)

        want, size = 0.75 * (a @ b) + beside, product_scale(a, b) + largest(y)
        placed = {"b": backend.asarray(b), "y": backend.asarray(beside)}
        measured.append(compare("matmul_add", fetch(backend, fn(placed), "matmul_add"), want, size))
        _, grads = pulled(backend, fn, {"b": b, "y": beside}, c)
        of_y = c.sum(axis=0) if beside.ndim == 1 else c
        measured += [
            compare("the gradient in b", grads["b"], 0.75 * (a.T @ c), product_scale(a.T, c)),
            compare("the gradient in y", grads["y"], of_y, float(np.abs(c).sum()) or 1.0),
        ]
    return worst(*measured, *(_steps(backend, case, b, y, c) if case.rows == case.inner else ()))


def _steps(backend: Backend, case: Case, x: Floats, y: Floats, c: Floats, times: int = 3) -> list[Measured]:
    """`propagated`: x = 0.9 a @ x + 0.1 first, so many times, from x itself and from y; and its gradients."""
    a, handle = case.dense, backend.csr(case.matrix)

    def stated(a: Floats, x: Floats, first: Floats) -> Floats:
        for _ in range(times):
            x = 0.9 * (a @ x) + 0.1 * first
        return x

    nothing = np.zeros_like(x)
    size, back = (largest(stated(abs(m), abs(one), abs(one) + abs(y))) for m, one in ((a, x), (a.T, c)))
    own = propagated(backend, handle, (placed := backend.asarray(x)), placed, 0.1, times)
    other = propagated(backend, handle, placed, backend.asarray(y), 0.1, times)
    _, of_own = pulled(backend, lambda p: propagated(backend, handle, p["x"], p["x"], 0.1, times), {"x": x}, c)
    _, of_other = pulled(
        backend, lambda p: propagated(backend, handle, p["x"], p["y"], 0.1, times), {"x": x, "y": y}, c
    )
    return [
        compare("steps", fetch(backend, own, "propagated"), stated(a, x, x), size),
        compare("steps from elsewhere", fetch(backend, other, "propagated"), stated(a, x, y), size),
        compare("the steps' gradient", of_own["x"], stated(a.T, c, c), back),
        compare("the gradient in x", of_other["x"], stated(a.T, c, nothing), back),
        compare("the gradient in first", of_other["y"], stated(a.T, c, c) - stated(a.T, c, nothing), back),
    ]


@check("elu", cases=small_shapes)
def activation(backend: Backend, case: Case) -> Measured:
    """exp(x) - 1 below 0, to the last digits of small x; slope 1 at 0."""
    x, c = case.array("x", case.rows, case.columns), case.array("c", case.rows, case.columns)
    x[::2, :1] = 0.0
    x[1::2, :1] *= 2.0**-20
    below = np.minimum(x, 0.0)
    want = np.where(x > 0, x, np.expm1(below))
    got = fetch(backend, elu(backend, backend.asarray(x)), "elu")
    _, grads = pulled(backend, lambda p: elu(backend, p["x"]), {"x": x}, c)
    suspects: Suspects = {"at 0 the gradient is 0 and not 1": lambda: c * np.where(x == 0, 0.0, np.exp(below))}
    tiny = np.abs(x) < 1e-3  # held to their own size
    return worst(
        compare("elu", got, want),
        compare("elu of small numbers", got[tiny], want[tiny]),
        compare("the gradient", grads["x"], c * np.exp(below), largest(c), suspects),
    )
