"""Checks of the protocol's verbs and of what the library takes from the array API, values only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.protocol import CSR, Array, Backend
from portgnn.verification.cases import Case
from portgnn.verification.check import check
from portgnn.verification.draw import rows
from portgnn.verification.measure import (
    Departure,
    Floats,
    Measured,
    Suspects,
    compare,
    dtype_name,
    fetch,
    largest,
    worst,
)
from portgnn.verification.oracle import log_softmax


def product_scale(a: Floats, b: Floats) -> float:
    """The size of a product's terms: where they cancel, its own size would blame the backend for rounding."""
    return float((np.abs(a) @ np.abs(b)).max(initial=0.0))


def rounded(x: Floats, bits: int) -> Floats:
    """x to `bits` significant bits."""
    fraction, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.round(np.ldexp(fraction, bits)), exponent - bits))


FULL_PRECISION = (
    'Switch it off (MLX: MLX_ENABLE_TF32=0; JAX: jax_default_matmul_precision="highest"; torch: '
    'torch.set_float32_matmul_precision("highest"))'
)
"""What to type, where a framework multiplies float32 in less."""


def lost_precision(backend: Backend, product: Callable[[Floats, Floats], Floats]) -> str:
    """Where products round their inputs, what to: exact for inputs of that many bits, and wrong for longer ones.

    product: a [m, k], b [k, n] on the host -> what the backend makes of a @ b.
    """
    case = Case(64, 64, 16, density=1.0, seed=77)
    a, b = case.array("a", 64, 64), case.array("b", 64, 16)

    def error(bits: int) -> float:
        x, y = rounded(a, bits), rounded(b, bits)
        return float(np.abs(product(x, y) - x @ y).max()) / product_scale(x, y)

    if backend.dtype == "bfloat16" or error(24) < 1e-5:
        return ""
    if error(11) < 3e-6:
        return f"products round their inputs to 11 bits: TF32. {FULL_PRECISION}"
    if error(8) < 3e-6:
        return f"products round their inputs to 8 bits: bfloat16. {FULL_PRECISION}"
    return "products accumulate in less than single precision"


def single_inside(backend: Backend, measured: Measured) -> Measured:
    """Adds, in float64, the reason for an error of float32's size."""
    if backend.dtype != "float64" or not 1e-10 < measured.error < 1e-5:
        return measured
    reason = f"right to {measured.error:.0e} only: a part of it computes in single precision"
    return Measured(measured.error, lambda: measured.explain() or reason)


def _layouts(x: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
    """One array as memory may hold it."""
    apart = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    apart[..., ::2] = x
    return {"in C order": x.copy(), "in Fortran order": x.copy(order="F"), "with gaps": apart[..., ::2]}


@check("asarray")
def asarray(backend: Backend, case: Case) -> Measured:
    """Floats take the instance's dtype, integers int32, booleans stay; later writes on either side do not show."""
    floats = case.array("floats", case.rows, case.columns)
    integers = case.random("integers").integers(-(2**31), 2**31, (case.rows, case.columns))
    words = case.element_numbers("words", case.rows)
    exact = [
        compare("asarray", fetch(backend, backend.asarray(integers), "asarray of integers", "int32"), integers),
        compare("asarray", fetch(backend, backend.asarray(words), "asarray of words", "int32"), words.view(np.int32)),
        compare("asarray", fetch(backend, backend.asarray(floats > 0), "asarray of booleans", "bool"), floats > 0),
    ]
    if any(one.error for one in exact):
        raise Departure("asarray changes integers or booleans")
    first, scalar = backend.asarray(case.array("first", case.rows, case.columns)), np.array(2.5)
    measured = [
        compare("asarray", fetch(backend, first, "asarray"), case.array("first", case.rows, case.columns)),
        compare("asarray", fetch(backend, backend.asarray(scalar), "asarray of a scalar"), scalar),
    ]
    # Where the dtypes agree there is nothing to convert, and no copy is made by the way.
    for kind in ("float64", "float32", "int32", "bool"):
        values = (floats if kind.startswith("float") else integers if kind == "int32" else floats > 0).astype(kind)
        for layout, source in _layouts(values).items():
            placed = backend.asarray(source)
            source[...] = values[::-1, ::-1] if kind == "bool" else np.ones((), kind)
            name = "float" if kind.startswith("float") else kind
            suspects: Suspects = {"asarray keeps the caller's memory": lambda source=source: source.astype(np.float64)}  # type: ignore[misc]
            host = fetch(backend, placed, f"asarray of {kind} {layout}", name)
            measured.append(compare("asarray", host, values, 1.0, suspects))
            host[...] = np.zeros((), host.dtype)
            measured.append(compare("asarray", backend.to_numpy(placed), values, 1.0))
    return worst(*measured)


def _dropped_product(backend: Backend, handle: Any, x: Array, case: Case) -> Floats:
    dropped: Any = backend.dropout(handle, 0.5, case.key)
    return fetch(backend, backend.spmm(dropped, x), "a product").astype(np.float64)


@check("csr")
def csr(backend: Backend, case: Case) -> Measured:
    """The handle's shape and nnz; neither the matrix nor element numbers of the caller are kept, or changed."""
    numbers = case.element_numbers("numbers", case.matrix.nnz)
    x = case.array("x", case.inner, case.columns)
    placed = backend.asarray(x)
    for given in (None, numbers):
        matrix, index = case.matrix.copy(), None if given is None else given.copy()
        handle = backend.csr(matrix, index)
        if not isinstance(handle, CSR):
            raise Departure("csr gives no handle with shape and nnz")
        if tuple(handle.shape) != case.matrix.shape or handle.nnz != case.matrix.nnz:
            raise Departure(
                f"a handle says {tuple(handle.shape)} with {handle.nnz} stored values, "
                f"not {case.matrix.shape} with {case.matrix.nnz}"
            )
        parts = {"values": matrix.data, "columns": matrix.indices, "row pointers": matrix.indptr}
        for (what, part), own in zip(
            parts.items(), (case.matrix.data, case.matrix.indices, case.matrix.indptr), strict=True
        ):
            if not np.array_equal(part, own):
                raise Departure(f"csr changes the {what} of the caller's matrix")
        if index is not None and not np.array_equal(index, numbers):
            raise Departure("csr changes the element numbers that it is given")
        untouched = _dropped_product(backend, backend.csr(case.matrix, given), placed, case)
        for part in (*parts.values(), *(() if index is None else (index,))):
            part[...] = 0
        off = np.abs(_dropped_product(backend, handle, placed, case) - untouched).max(initial=0.0)
        if off > 0.01 * (2 * product_scale(case.dense, x) or 1.0):
            raise Departure("csr keeps the caller's arrays: what the caller writes to them later shows in products")
    return Measured(0.0)


@check("matmul")
def matmul(backend: Backend, case: Case) -> Measured:
    """Dense times dense."""
    a, b = case.array("a", case.rows, case.inner), case.array("b", case.inner, case.columns)
    got = fetch(backend, backend.matmul(backend.asarray(a), backend.asarray(b)), "matmul")
    measured = compare("matmul", got, a @ b, product_scale(a, b))

    def product(x: Floats, y: Floats) -> Floats:
        return np.asarray(backend.to_numpy(backend.matmul(backend.asarray(x), backend.asarray(y))))

    return Measured(measured.error, lambda: measured.explain() or lost_precision(backend, product))


@check("spmm")
def spmm(backend: Backend, case: Case) -> Measured:
    """A handle times dense, through both verbs."""
    x = case.array("x", case.inner, case.columns)
    handle, dense = backend.csr(case.matrix), backend.asarray(x)
    want, scale = case.dense @ x, product_scale(case.dense, x)
    suspects = {
        "of the stored values of a row only the last counts": lambda: _last_of_row(case) @ x,
        "the product is with the transpose": lambda: case.dense.T @ x if case.rows == case.inner else want,
    }
    return worst(
        compare("spmm", fetch(backend, backend.spmm(handle, dense), "spmm"), want, scale, suspects),
        compare("matmul of a handle", fetch(backend, backend.matmul(handle, dense), "matmul"), want, scale, suspects),
    )


def _last_of_row(case: Case) -> Floats:
    out = np.zeros_like(case.dense)
    for row in range(case.rows):
        stored = np.flatnonzero(case.dense[row])
        out[row, stored[-1:]] = case.dense[row, stored[-1:]]
    return out


@check("relu")
def relu(backend: Backend, case: Case) -> Measured:
    x = case.array("x", case.rows, case.columns)
    x[::2, :1] = 0.0
    return compare("relu", fetch(backend, backend.relu(backend.asarray(x)), "relu"), np.maximum(x, 0.0))


@check("log_softmax", cases=rows)
def stable_log_softmax(backend: Backend, case: Case) -> Measured:
    """Rows of all sizes: ties, spreads past which exp underflows, and values at which it overflows."""
    x = case.array("x", case.rows, case.columns)
    measured = []
    for factor, shift in ((1.0, 0.0), (0.0, 1.0), (30.0, 0.0), (1.0, 1000.0), (1000.0, 0.0)):
        logits = x * factor + shift
        got = fetch(backend, backend.log_softmax(backend.asarray(logits)), "log_softmax")
        # A row's error grows with its entries, so each of these has its own scale.
        scale = max(1.0, largest(logits))
        suspects = {"log_softmax runs over the wrong axis": lambda logits=logits: log_softmax(logits, axis=0)}
        measured.append(compare("log_softmax", got, log_softmax(logits), scale, suspects))
    return single_inside(backend, worst(*measured))


@check("xp")
def array_api(backend: Backend, case: Case) -> Measured:
    """What model, loss and optimizer take from the standard: operators, add, sum, sqrt, argmax, comparison."""
    xp = backend.xp
    # A row, not a vector: operators of arrays of two ranks are a framework's own, and JAX's may be told to refuse them.
    a, b = case.array("a", case.rows, case.columns), case.array("b", 1, case.columns)
    x, y, bias = backend.asarray(a), backend.asarray(b), backend.asarray(b[0])
    count = fetch(backend, xp.sum(x > 0), "sum of booleans", _integer(backend, xp.sum(x > 0)))
    if int(count) != int((a > 0).sum()):
        raise Departure(f"sum of booleans counts {int(count)}, not {int((a > 0).sum())}")
    terms = largest(a) + largest(b)
    return worst(
        compare("x + y", fetch(backend, x + y, "x + y"), a + b, terms),
        compare("add(x, y)", fetch(backend, xp.add(x, bias), "add"), a + b, terms),
        compare("x - y", fetch(backend, x - y, "x - y"), a - b, terms),
        compare("x * y", fetch(backend, x * y, "x * y"), a * b),
        compare("x / c", fetch(backend, x / (y * y + 1.0), "x / y"), a / (b * b + 1.0)),
        compare("-x", fetch(backend, -x, "-x"), -a),
        compare("c * x", fetch(backend, 0.3 * x, "0.3 * x"), 0.3 * a),
        compare("sum", fetch(backend, xp.sum(x), "sum"), np.asarray(a.sum()), float(np.abs(a).sum())),
        compare("sqrt", fetch(backend, xp.sqrt(x * x), "sqrt"), np.abs(a)),
    )


@check("xp.argmax", cases=rows)
def first_of_largest(backend: Backend, case: Case) -> Measured:
    """argmax over the last axis takes the first of equals, and the comparison that counts correct rows is exact."""
    x = np.round(case.array("x", case.rows, case.columns))  # many ties
    got = backend.xp.argmax(backend.asarray(x), axis=-1)
    host = fetch(backend, got, "argmax", _integer(backend, got))
    want = x.argmax(axis=-1)
    if host.shape != want.shape or (host != want).any():
        last = x.shape[1] - 1 - x[:, ::-1].argmax(axis=-1)
        raise Departure(
            "argmax takes the last of equal values" if np.array_equal(host, last) else "argmax takes another element"
        )
    labels = want.astype(np.int32)
    labels[::3] = -1
    same = backend.xp.sum(got == backend.asarray(labels))
    return compare("matches", backend.to_numpy(same), np.asarray((want == labels).sum()))


def _integer(backend: Backend, x: Array) -> str:
    """The dtype of an integer array, which the standard leaves to the library."""
    name = dtype_name(backend, x)
    if not name.startswith(("int", "uint")):
        raise Departure(f"a whole number has dtype {name or 'none'}")
    return name
