"""Checks of dropout: the same bits everywhere, on dense arrays and on handles, and fair ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.protocol import Backend, Key, Params
from portgnn.random import dropout_keys
from portgnn.verification._gradients import pulled
from portgnn.verification._verbs import product_scale
from portgnn.verification.cases import Case
from portgnn.verification.check import check
from portgnn.verification.draw import Draw, rates
from portgnn.verification.measure import Departure, Floats, Measured, Suspects, compare, fetch, largest, worst
from portgnn.verification.oracle import epoch_keys, hash_bits, mask, signed

KEYS = ((0, 0), (1, 2), (2**31 - 1, 2**31), (2**32 - 1, 2**32 - 1), (0xDEADBEEF, 0x9E3779B9))


@check("dropout.bits")
def bits(backend: Backend, case: Case) -> Measured:
    """The share of bits that differ, for counted and for given elements, with words up to 2**32 - 1."""
    n = case.rows * case.columns
    numbers = case.element_numbers("numbers", case.rows, case.columns)
    placed = backend.asarray(numbers)
    wrong = []
    for key in (*KEYS, case.key):
        for index, want in ((n, hash_bits(key, np.arange(n))), (placed, hash_bits(key, numbers))):
            got = fetch(backend, backend.random_bits(key, index), "random_bits", "int32")
            if got.shape != want.shape:
                raise Departure(f"random_bits has shape {list(got.shape)}, not {list(want.shape)}")
            wrong.append(Measured(float((got != signed(want)).sum() / max(got.size, 1))))
    return worst(*wrong)


def _seeds(draw: Draw) -> tuple[int, ...]:
    return (0, int(draw.stream("seeds").integers(2**32)), int(draw.stream("seeds").integers(2**62)))


@check("dropout.keys", cases=_seeds, full=(0, 1, 2, 7, 2**31, 2**40))
def keys(backend: Backend, seed: int) -> Measured:
    """The keys of epochs: the same whether drawn together or one by one, and none twice."""
    together = dropout_keys(seed, range(20), 3)
    alone = np.array([epoch_keys(seed, epoch, 3) for epoch in range(20)])
    if len(np.unique(together.reshape(-1, 2), axis=0)) != 60:
        raise Departure("two layers or epochs share a dropout key")
    return Measured(float((together != alone).mean()))


def _wrong_masks(case: Case, x: Floats, key: Key, rate: float, index: Any = None) -> Suspects:
    ids = np.arange(x.size).reshape(x.shape)
    given = ids if index is None else index
    return {
        "what is kept is not scaled by 1/(1 - rate)": lambda: x * mask(key, given, rate) * (1 - rate),
        "the mask is shifted by one element": lambda: x * mask(key, given + 1, rate),
        "the mask lies one element too early": lambda: x * mask(key, given - 1, rate),
        "it drops what it should keep": lambda: x * ((mask(key, given, rate) == 0) / (1 - rate)),
        "the given element numbers are ignored": lambda: x * mask(key, ids, rate),
        "nothing is dropped": lambda: x,
        "elements are numbered column by column": lambda: x * mask(key, ids, rate).reshape(x.T.shape).T,
    }


@check("dropout.dense")
def dense(backend: Backend, case: Case) -> Measured:
    x = case.array("x", case.rows, case.columns)
    numbers = case.element_numbers("numbers", case.rows, case.columns)
    placed, index = backend.asarray(x), backend.asarray(numbers)
    measured = [compare("dropout at rate 0", backend.to_numpy(backend.dropout(placed, 0.0, case.key)), x)]
    for rate in rates(case.random("rates")):
        for key in (case.key, KEYS[3]):
            got = fetch(backend, backend.dropout(placed, rate, key), "dropout")
            want = x * mask(key, np.arange(x.size), rate).reshape(x.shape)
            measured.append(compare("dropout", got, want, suspects=_wrong_masks(case, x, key, rate)))
            got = fetch(backend, backend.dropout(placed, rate, key, index), "dropout with index")
            suspects = _wrong_masks(case, x, key, rate, numbers)
            measured.append(compare("dropout with index", got, x * mask(key, numbers, rate), suspects=suspects))
    measured.append(compare("the input", backend.to_numpy(placed), x))
    return worst(*measured)


def _dropped(case: Case, values: Floats) -> Floats:
    """The dense matrix with other stored values."""
    matrix = case.matrix
    return np.asarray(sp.csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape).toarray())


def _product(case: Case, values: Callable[[], Floats], x: Floats) -> Floats:
    return np.asarray(_dropped(case, values()) @ x)


def _by_column(case: Case, order: NDArray[np.intp], rate: float) -> Floats:
    """Stored values that meet the mask column by column."""
    kept = np.empty(len(order))
    kept[order] = mask(case.key, np.arange(len(order)), rate)
    return np.asarray(case.matrix.data * kept)


def _handles(backend: Backend, case: Case) -> Iterator[tuple[str, Any, Any]]:
    yield "a handle", backend.csr(case.matrix), np.arange(case.matrix.nnz)
    numbers = case.element_numbers("numbers", case.matrix.nnz)
    yield "a handle with index", backend.csr(case.matrix, numbers), numbers


@check("dropout.handle")
def handle(backend: Backend, case: Case) -> Measured:
    """Stored values are dropped by their place in storage or their given number; the handle itself stays whole."""
    x = case.array("x", case.inner, case.columns)
    placed, data = backend.asarray(x), case.matrix.data
    order = np.argsort(case.matrix.indices, kind="stable")  # column by column
    scale = 2 * product_scale(case.dense, x)
    measured = []
    for what, whole, ids in _handles(backend, case):
        for rate in rates(case.random("rates")):
            lighter: Any = backend.dropout(whole, rate, case.key)
            if tuple(lighter.shape) != case.matrix.shape or lighter.nnz != case.matrix.nnz:
                raise Departure(f"dropout on {what} changes its shape or number of stored values")
            got = fetch(backend, backend.spmm(lighter, placed), f"dropout on {what}")
            wrong = dict(_wrong_masks(case, data, case.key, rate, ids))
            wrong["the mask meets the stored values in another order: unsorted indices"] = partial(
                _by_column, case, order, rate
            )
            suspects = {reason: partial(_product, case, make, x) for reason, make in wrong.items()}
            want = _dropped(case, data * mask(case.key, ids, rate)) @ x
            measured.append(compare(f"dropout on {what}", got, want, scale / (1 - rate), suspects))
        again = fetch(backend, backend.spmm(whole, placed), what)
        measured.append(compare(f"{what} after dropout", again, case.dense @ x, scale))
    return worst(*measured)


@check("dropout.gradient")
def gradient(backend: Backend, case: Case) -> Measured:
    """Through a dense mask, and through products with a handle whose stored values were dropped."""
    x, c = case.array("x", case.rows, case.columns), case.array("c", case.rows, case.columns)
    measured = []
    for rate in rates(case.random("rates"))[:2]:
        kept = mask(case.key, np.arange(x.size), rate).reshape(x.shape)
        _, grads = pulled(backend, lambda p, rate=rate: backend.dropout(p["x"], rate, case.key), {"x": x}, c)  # type: ignore[misc]
        unscaled: Suspects = {
            "what is kept is not scaled by 1/(1 - rate)": lambda kept=kept, rate=rate: c * kept * (1 - rate),  # type: ignore[misc]
            "the mask is lost": lambda: c,
        }
        measured.append(compare("the gradient", grads["x"], c * kept, largest(c), unscaled))
    w = case.array("w", case.inner, case.columns)
    for what, whole, ids in _handles(backend, case):
        a = _dropped(case, case.matrix.data * mask(case.key, ids, 0.5))

        def through(p: Params, whole: Any = whole) -> Any:
            return backend.spmm(backend.dropout(whole, 0.5, case.key), p["w"])

        _, grads = pulled(backend, through, {"w": w}, c)
        stale = {"the backward pass multiplies with the values from before dropout": lambda: case.dense.T @ c}
        measured.append(
            compare(f"the gradient through {what}", grads["w"], a.T @ c, product_scale(2 * case.dense.T, c), stale)
        )
    return worst(*measured)


def _masks(backend: Backend) -> list[Floats]:
    """Masks of neighbouring epochs, layers and seeds, 0 or 1."""
    ones = backend.asarray(np.ones((500, 40)))
    found = []
    for seed in (0, 1):
        for key in dropout_keys(seed, range(3), 2).reshape(-1, 2).tolist():
            found.append(backend.to_numpy(backend.dropout(ones, 0.5, key)).ravel().astype(np.float64) / 2)
    return found


@check("dropout.mean", cases=(0,), full=(0,))
def mean(backend: Backend, _: int) -> Measured:
    """How far the kept share lies from 1 - rate, in standard deviations."""
    found = _masks(backend)
    return worst(*(Measured(abs(float(one.mean()) - 0.5) / (0.5 / one.size**0.5)) for one in found))


@check("dropout.correlation", cases=(0,), full=(0,))
def correlation(backend: Backend, _: int) -> Measured:
    """Between masks of different keys, and between neighbours in one mask, in standard deviations."""
    found = [one - one.mean() for one in _masks(backend)]
    if any(not one.any() for one in found):
        raise Departure("a mask keeps everything or nothing")
    root = found[0].size ** 0.5

    def between(one: Floats, other: Floats) -> Measured:
        rho = abs(float(one @ other)) / float(np.linalg.norm(one) * np.linalg.norm(other))
        hint = "two epochs, layers or seeds have the same mask" if rho > 0.99 else ""
        return Measured(rho * root, lambda: hint)

    pairs = [between(one, other) for i, one in enumerate(found) for other in found[:i]]
    lagged = [between(one[lag:], one[:-lag]) for one in found for lag in (1, 2, 16, 40)]
    return worst(*pairs, *lagged)
