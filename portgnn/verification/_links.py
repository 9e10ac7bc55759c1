"""Checks of the link task: what decoders make of pairs of embeddings, the loss over them, and its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.presets import Config, preset
from portgnn.protocol import Backend, Params
from portgnn.tasks.link import BIAS0, BIAS1, WEIGHT0, WEIGHT1, Asked, Link, picking, signs
from portgnn.verification.cases import Case
from portgnn.verification.check import check
from portgnn.verification.draw import Draw, small_shapes
from portgnn.verification.measure import Floats, Measured, compare, fetch, worst

EXACT = ("float64", "float32")
ROWS = "rows"


@dataclass(frozen=True)
class Scored:
    """Embeddings [case.rows, case.columns], and case.inner pairs of nodes, of which edges join the first third.

    every: whether all pairs are asked for at once, in place of these.
    """

    case: Case
    decoder: str
    every: bool = False

    @property
    def config(self) -> Config:
        return preset("gae", decoder=self.decoder, embedding=max(self.case.columns, 1))

    @property
    def values(self) -> dict[str, Floats]:
        """Embeddings and the decoder's parameters; hidden numbers lie far from the kink of relu."""
        case, width = self.case, self.case.columns
        found = {ROWS: 0.5 * case.array("embeddings", case.rows, width)}
        found[ROWS][0] = 0.0  # as of a node without features
        if self.decoder == "bilinear":
            found[WEIGHT0] = case.array("weight", width, width)
        if self.decoder == "mlp":
            found[WEIGHT0] = case.array("first weight", width, width) / 16
            sides = np.where(np.arange(width) % 3 == 1, -4.0, 4.0)
            found |= {BIAS0: sides, WEIGHT1: case.array("second weight", width, 1), BIAS1: case.array("shift", 1)}
        return found

    @property
    def pairs(self) -> NDArray[np.int64]:
        """One of them twice, and node 0, whose embedding is zero, in one; or all, row by row."""
        if self.every:
            return np.stack(np.divmod(np.arange(self.case.rows**2), self.case.rows), axis=1)
        found = self.case.random("pairs").integers(0, self.case.rows, (self.case.inner, 2))
        found[-1] = found[0]
        found[0, 0] = 0
        return found

    @property
    def joined(self) -> NDArray[np.bool_]:
        return np.arange(len(self.pairs)) < max(len(self.pairs) // 3, 1)


def _scored(draw: Draw) -> tuple[Scored, ...]:
    stream = draw.stream("links")
    many = Case(int(stream.integers(20, 60)), int(stream.choice([127, 128, 129, 257])), int(stream.choice([7, 8, 16])))
    one, other = small_shapes(draw)
    return (
        Scored(one, "dot"), Scored(other, "mlp"), Scored(many, "mlp"), Scored(Case(2, 1, 1, seed=draw.seed), "dot"),
        Scored(other, "bilinear"), Scored(one, "dot", every=True), Scored(other, "bilinear", every=True),
    )  # fmt: skip


def stated(one: Scored, values: dict[str, Floats]) -> Floats:
    """The scores, as the papers state them: a dot product, maybe with a matrix between; relu and a linear layer."""
    left, right = (values[ROWS][end] for end in one.pairs.T)
    if one.decoder == "bilinear":
        between: Floats = np.einsum("pk,kl,pl->p", left, values[WEIGHT0], right)
        return between
    if one.decoder == "dot":
        dots: Floats = np.einsum("pk,pk->p", left, right)
        return dots
    hidden = np.maximum(np.einsum("pk,kh->ph", left * right, values[WEIGHT0]) + values[BIAS0], 0.0)
    scores: Floats = np.einsum("ph,h->p", hidden, values[WEIGHT1][:, 0]) + values[BIAS1][0]
    return scores


def stated_loss(scores: Floats, joined: NDArray[np.bool_]) -> Floats:
    """The mean of -log p of an edge and -log(1 - p) of another pair, p the sigmoid of the score."""
    return np.asarray(np.mean(np.log1p(np.exp(np.where(joined, -scores, scores)))))


def stated_gradient(one: Scored, values: dict[str, Floats]) -> dict[str, Floats]:
    """By the chain rule, from (p - y) / pairs down."""
    left, right = (values[ROWS][end] for end in one.pairs.T)
    scores, count = stated(one, values), len(one.pairs)
    slope = np.where(one.joined, -1.0 / (1.0 + np.exp(scores)), 1.0 / (1.0 + np.exp(-scores))) / count
    found, into = {}, slope[:, None]
    if one.decoder == "mlp":
        before = (left * right) @ values[WEIGHT0] + values[BIAS0]
        hidden, into = np.maximum(before, 0.0), slope[:, None] * values[WEIGHT1][:, 0] * (before > 0)
        found = {WEIGHT1: hidden.T @ slope[:, None], BIAS1: slope.sum(keepdims=True)}
        found |= {WEIGHT0: (left * right).T @ into, BIAS0: into.sum(axis=0)}
        into = into @ values[WEIGHT0].T
    to_left, to_right = into * right, into * left
    if one.decoder == "bilinear":
        found = {WEIGHT0: left.T @ (into * right)}
        to_left, to_right = to_left @ values[WEIGHT0].T, to_right @ values[WEIGHT0]
    rows = np.zeros_like(values[ROWS])
    np.add.at(rows, one.pairs[:, 0], to_left)
    np.add.at(rows, one.pairs[:, 1], to_right)
    return found | {ROWS: rows}


def _asked(backend: Backend, one: Scored) -> Asked:
    """The edges and the others picked by a matrix each, as an epoch has them; or nothing, for all pairs."""
    pairs, joined = one.pairs, one.joined
    if one.every:
        shape = (one.case.rows, one.case.rows)
        return Asked(
            weights=backend.asarray(np.full(shape, 1.0 / len(pairs))),
            labels=backend.asarray(signs(joined).reshape(shape)),
            count=len(pairs),
            picked=(),
        )
    parts = [part for part in (pairs[joined], pairs[~joined]) if len(part)]
    return Asked(
        weights=backend.asarray(np.full(len(pairs), 1.0 / len(pairs))),
        labels=backend.asarray(signs(joined)),
        count=len(pairs),
        picked=tuple(backend.csr(picking(part, one.case.rows)) for part in parts),
    )


def _placed(backend: Backend, one: Scored) -> tuple[dict[str, Any], dict[str, Floats]]:
    """The values on the device, and as the device has them."""
    placed = {name: backend.asarray(value) for name, value in one.values.items()}
    return placed, {name: backend.to_numpy(value).astype(np.float64) for name, value in placed.items()}


@check("link.scores", cases=_scored, full=_scored, dtypes=EXACT)
def scores(backend: Backend, one: Scored) -> Measured:
    """Of pairs, by either decoder."""
    placed, values = _placed(backend, one)
    got = fetch(backend, Link(one.config).head(backend, placed, placed[ROWS], _asked(backend, one)), "the scores")
    want = stated(one, values).reshape(got.shape)
    turned = {
        "one end of each pair stands for both": lambda: stated(_with_one_end(one), values).reshape(got.shape),
        "pairs are turned round": lambda: stated(_turned_round(one), values).reshape(got.shape),
    }
    return compare("the scores", got, want, max(float(np.abs(want).max()), 1.0), turned)


@check("link.loss", cases=_scored, full=_scored, dtypes=EXACT)
def loss(backend: Backend, one: Scored) -> Measured:
    """The mean binary cross-entropy of edges and other pairs, and its gradient in embeddings and decoder."""
    placed, values = _placed(backend, one)
    task, asked = Link(one.config), _asked(backend, one)

    def objective(params: Params) -> tuple[object, None]:
        return task.loss(backend, task.head(backend, params, params[ROWS], asked), asked), None

    (got, _), grads = backend.value_and_grad(objective)(placed)
    want, gradient = stated_loss(stated(one, values), one.joined), stated_gradient(one, values)
    size = max(float(np.abs(value).max()) for value in gradient.values())
    suspects = {"labels are turned round": lambda: stated_loss(stated(one, values), ~one.joined)}
    return worst(
        compare("the loss", fetch(backend, got, "the loss"), want, max(float(want), 1.0), suspects),
        *(
            compare(f"the gradient in {name}", fetch(backend, grads[name], name), value, size)
            for name, value in gradient.items()
        ),
    )


@dataclass(frozen=True)
class _OneEnd(Scored):
    @property
    def pairs(self) -> NDArray[np.int64]:
        return super().pairs[:, [0, 0]]


def _with_one_end(one: Scored) -> Scored:
    return _OneEnd(one.case, one.decoder, one.every)


@dataclass(frozen=True)
class _TurnedRound(Scored):
    @property
    def pairs(self) -> NDArray[np.int64]:
        return super().pairs[:, ::-1]


def _turned_round(one: Scored) -> Scored:
    return _TurnedRound(one.case, one.decoder, one.every)
