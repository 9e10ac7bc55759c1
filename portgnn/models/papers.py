"""Each network once more, as its paper states it: dense, in NumPy, and by none of the code that trains it.

A statement is `f(network, p, x, a, drop) -> logits [n, classes]`. p: parameters by their names. x: features [n, f], and
a: weights of the edges [n, n], a[i, j] of the edge from j to i, without added loops. drop: the dropout of an epoch.

Arrays may be complex, and parameters may have axes in front. With i*h added to a number that a function depends on, the
imaginary part of the function, divided by h, is its derivative, to the last digit for a tiny h (Squire & Trapp 1998,
"Using complex variables to estimate derivatives of real functions"); so what is compared (relu, max) is the real part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = dict[str, Any]
Numbers: TypeAlias = Any
"""Arrays of NumPy, real or complex."""


class Drop(Protocol):
    """Dropout by the numbers of layers and elements; without training it changes nothing."""

    def rows(self, layer: int, x: Numbers) -> Numbers:
        """On a layer's input [..., n, k]."""

    def edges(self, layer: int, values: Numbers) -> Numbers:
        """On values of edges [..., n, n, k], the target first."""


Statement: TypeAlias = Callable[[Any, Values, Numbers, Numbers, Drop], Numbers]


def gcn(network: Any, p: Values, x: Numbers, a: Numbers, drop: Drop) -> Numbers:
    """Kipf & Welling 2017, eq. 2 and 8."""
    s = symmetric(a)

    def convolved(layer: int, h: Numbers) -> Numbers:
        h = h @ p[f"weight{layer}"]
        if network.bias == "before":
            return s @ (h + row(p[f"bias{layer}"]))
        return s @ h + (row(p[f"bias{layer}"]) if network.bias == "after" else 0.0)

    return stacked(network, p, x, drop, convolved)


def mlp(network: object, p: Values, x: Numbers, a: Numbers, drop: Drop) -> Numbers:
    return stacked(network, p, x, drop, lambda layer, h: h @ p[f"weight{layer}"] + row(p[f"bias{layer}"]))


def sgc(network: Any, p: Values, x: Numbers, a: Numbers, drop: Drop) -> Numbers:
    """Wu et al. 2019, eq. 8."""
    power = np.linalg.matrix_power(symmetric(a), network.hops)
    return (power @ drop.rows(0, x)) @ p["weight0"] + row(p[f"bias{network.hops - 1}"])


def appnp(network: Any, p: Values, x: Numbers, a: Numbers, drop: Drop) -> Numbers:
    """Klicpera et al. 2019, eq. 4."""
    first = mlp(network, p, x, a, drop)
    z, s = first, symmetric(a)
    for _ in range(network.hops):
        z = (1 - network.alpha) * (s @ z) + network.alpha * first
    return z


def sage(network: Any, p: Values, x: Numbers, a: Numbers, drop: Drop) -> Numbers:
    """Hamilton et al. 2017, algorithm 1, lines 4 and 5."""
    degree = a.sum(axis=1, keepdims=True)
    mean = a / np.where(degree == 0, 1, degree)

    def convolved(layer: int, h: Numbers) -> Numbers:
        seen = mean @ h if network.aggregator == "mean" else _largest(h, a != 0)
        return seen @ p[f"weight{layer}"] + h @ p[f"own{layer}"] + row(p[f"bias{layer}"])

    return stacked(network, p, x, drop, convolved)


def gin(network: object, p: Values, x: Numbers, a: Numbers, drop: Drop) -> Numbers:
    """Xu et al. 2019, eq. 4.1."""

    def convolved(layer: int, h: Numbers) -> Numbers:
        z = (1 + p[f"eps{layer}"][..., None, None]) * h + a @ h
        inner = relu(z @ p[f"weight{layer}"] + row(p[f"bias{layer}"]))
        return inner @ p[f"outer{layer}"] + row(p[f"outer_bias{layer}"])

    return stacked(network, p, x, drop, convolved)


def gat(network: object, p: Values, x: Numbers, a: Numbers, drop: Drop) -> Numbers:
    """Veličković et al. 2018, eq. 3 to 6."""
    neighbours = looped(a) != 0

    def convolved(layer: int, h: Numbers) -> Numbers:
        heads = by_head(h @ p[f"weight{layer}"], p[f"source{layer}"].shape[-2])
        to, of = (np.sum(heads * p[f"{end}{layer}"][..., None, :, :], axis=-1) for end in ("target", "source"))
        scores = leaky(to[..., :, None, :] + of[..., None, :, :], 0.2)
        return _attended(network, layer, scores, neighbours, heads, drop) + row(p[f"bias{layer}"])

    return stacked(network, p, x, drop, convolved)


def gatv2(network: object, p: Values, x: Numbers, a: Numbers, drop: Drop) -> Numbers:
    """Brody et al. 2022, eq. 7."""
    neighbours = looped(a) != 0

    def convolved(layer: int, h: Numbers) -> Numbers:
        score = p[f"score{layer}"]
        of = by_head(h @ p[f"weight{layer}"] + row(p[f"weight_bias{layer}"]), score.shape[-2])
        to = by_head(h @ p[f"target{layer}"] + row(p[f"target_bias{layer}"]), score.shape[-2])
        both = leaky(to[..., :, None, :, :] + of[..., None, :, :, :], 0.2)
        scores = np.sum(both * score[..., None, None, :, :], axis=-1)
        return _attended(network, layer, scores, neighbours, of, drop) + row(p[f"bias{layer}"])

    return stacked(network, p, x, drop, convolved)


def gcn2(network: Any, p: Values, x: Numbers, a: Numbers, drop: Drop) -> Numbers:
    """Chen et al. 2020, eq. 5."""
    s, h = symmetric(a), relu(drop.rows(0, x) @ p["weight0"] + row(p["bias0"]))
    first = h
    for number in range(1, network.layers + 1):
        beta = np.log(network.theta / number + 1)
        mixed = (1 - network.alpha) * (s @ drop.rows(number + 1, h)) + network.alpha * first
        h = relu((1 - beta) * mixed + beta * (mixed @ p[f"weight{number + 1}"]))
    last = network.layers + 2
    return drop.rows(last, h) @ p[f"weight{last}"] + row(p[f"bias{last}"])


def cheb(network: Any, p: Values, x: Numbers, a: Numbers, drop: Drop) -> Numbers:
    """Defferrard et al. 2016, eq. 4: T_k(x) = 2 x T_{k-1}(x) - T_{k-2}(x)."""
    degree = a.sum(axis=1)
    root = np.where(degree == 0, 0.0, 1 / np.sqrt(np.where(degree == 0, 1.0, degree)))
    laplacian = np.eye(len(a)) - root[:, None] * a * root[None, :]
    scaled = laplacian - np.eye(len(a))
    h = x
    for layer in range(network.layers):
        number = layer * network.terms
        h = drop.rows(number, h)
        terms = [h, scaled @ h]
        while len(terms) < network.terms:
            terms.append(2 * (scaled @ terms[-1]) - terms[-2])
        weight = p[f"weight{number}"]
        h = sum(terms[k] @ weight[..., k, :, :] for k in range(network.terms))
        h = h + row(p[f"bias{number + network.terms - 1}"])
        h = h if layer == network.layers - 1 else relu(h)
    return h


STATEMENTS: dict[str, Statement] = {
    "gcn": gcn,
    "mlp": mlp,
    "sgc": sgc,
    "appnp": appnp,
    "sage": sage,
    "gin": gin,
    "gat": gat,
    "gatv2": gatv2,
    "gcn2": gcn2,
    "cheb": cheb,
}
"""By the network's name."""


def stacked(network: Any, p: Values, x: Numbers, drop: Drop, convolved: Callable[[int, Numbers], Numbers]) -> Numbers:
    """Layers one after the other, with what they may wear: `portgnn.models.dress` names the papers."""
    h, outputs = x, []
    for layer in range(network.layers):
        is_last = layer == network.layers - 1 and network.jumping == "none"
        given = drop.rows(layer, h)
        h = convolved(layer, given)
        if network.residual == "linear":
            h = h + given @ p[f"residual{layer}"]
        if not is_last:
            if network.norm != "none":
                h = _normed(h, -1 if network.norm == "layer" else -2, p[f"scale{layer}"], p[f"shift{layer}"])
            h = ACTIVATIONS[network.activation](h)
            if network.residual == "add" and layer and h.shape[-1] == given.shape[-1]:
                h = h + given
        outputs.append(h)
    if network.jumping == "none":
        return h
    if network.jumping == "cat":
        joined = np.concatenate(_led(outputs), axis=-1)
    else:
        joined = outputs[-1] if network.jumping == "last" else outputs[0]
        for each in outputs[1:] if network.jumping != "last" else ():
            joined = _larger(joined, each) if network.jumping == "max" else joined + each
    last = network.layers
    return drop.rows(last, joined) @ p[f"weight{last}"] + row(p[f"bias{last}"])


def symmetric(a: Numbers) -> Numbers:
    """D^-1/2 (A + I) D^-1/2."""
    full = looped(a)
    root = 1 / np.sqrt(full.sum(axis=1))
    return root[:, None] * full * root[None, :]


def looped(a: Numbers) -> Numbers:
    """A + I, where a loop that is there keeps its weight."""
    return a + np.diag((np.diag(a) == 0).astype(float))


def real(x: Numbers) -> NDArray[np.float64]:
    """The real part; 0 where a product of two imaginary parts, some 1e-60, is all that is in it."""
    return np.where(np.abs(x.real) < 1e-45, 0.0, x.real)


def row(bias: Numbers) -> Numbers:
    """A bias [..., k] as one row of [..., n, k]."""
    return bias[..., None, :]


def by_head(h: Numbers, heads: int) -> Numbers:
    """[..., n, heads * width] -> [..., n, heads, width]."""
    return h.reshape(*h.shape[:-1], heads, h.shape[-1] // heads)


def relu(x: Numbers) -> Numbers:
    return np.where(real(x) > 0, x, 0)


def leaky(x: Numbers, slope: float) -> Numbers:
    return np.where(real(x) > 0, x, slope * x)


def elu(x: Numbers) -> Numbers:
    return np.where(real(x) > 0, x, np.exp(np.where(real(x) > 0, 0, x)) - 1)


def gelu(x: Numbers) -> Numbers:
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


ACTIVATIONS: dict[str, Callable[[Numbers], Numbers]] = {
    "relu": relu,
    "elu": elu,
    "leaky_relu": lambda x: leaky(x, 0.01),
    "gelu": gelu,
}


def _attended(
    network: Any, layer: int, scores: Numbers, neighbours: NDArray[np.bool_], rows: Numbers, drop: Drop
) -> Numbers:
    """scores [..., n, n, heads], the target first; rows [..., n, heads, width] -> [..., n, width of the output]."""
    seen = neighbours[..., None]
    highest = np.where(seen, scores.real, -np.inf).max(axis=-2, keepdims=True)
    raised = np.where(seen, np.exp(np.where(seen, scores - highest, 0)), 0)
    shares = drop.edges(layer, raised / raised.sum(axis=-2, keepdims=True))
    out = np.einsum("...ijh,...jhd->...ihd", shares, rows)
    is_last = layer == network.layers - 1 and network.jumping == "none"
    return out.mean(axis=-2) if is_last else out.reshape(*out.shape[:-2], -1)


def _largest(h: Numbers, neighbours: NDArray[np.bool_]) -> Numbers:
    """The largest number of each column over the neighbours; equal ones share it, and there may be none."""
    seen = np.where(neighbours[..., None], real(h)[..., None, :, :], -np.inf)
    first = seen == seen.max(axis=-2, keepdims=True)
    first &= neighbours[..., None]
    count = first.sum(axis=-2)
    return np.where(first, h[..., None, :, :], 0).sum(axis=-2) / np.where(count == 0, 1, count)


def _larger(x: Numbers, y: Numbers) -> Numbers:
    return np.where(real(x) == real(y), (x + y) / 2, np.where(real(x) > real(y), x, y))


def _normed(h: Numbers, axis: int, scale: Numbers, shift: Numbers) -> Numbers:
    centred = h - h.mean(axis=axis, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=axis, keepdims=True) + 1e-5) * row(scale) + row(shift)


def _led(arrays: list[Numbers]) -> list[Numbers]:
    """The arrays with the same axes in front of their rows."""
    lead = np.broadcast_shapes(*(each.shape[:-1] for each in arrays))
    return [np.broadcast_to(each, (*lead, each.shape[-1])) for each in arrays]
