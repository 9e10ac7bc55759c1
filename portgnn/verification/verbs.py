"""Checks of the protocol's verbs and of what the library takes from the array API, values only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from portgnn.protocol import CSR, Backend
from portgnn.verification.cases import Case
from portgnn.verification.check import check
from portgnn.verification.measure import Departure, Floats, Measured, compare, dtype_name, fetch, worst
from portgnn.verification.oracle import log_softmax


def product_scale(a: Floats, b: Floats) -> float:
    """The size of a product's terms: where they cancel, its own size would blame the backend for rounding."""
    return float((np.abs(a) @ np.abs(b)).max(initial=0.0))


def rounded(x: Floats, bits: int) -> Floats:
    """x to `bits` significant bits."""
    fraction, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.round(np.ldexp(fraction, bits)), exponent - bits))


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
        return (
            "products round their inputs to 11 bits: TF32. Switch it off (MLX: MLX_ENABLE_TF32=0; JAX: "
            'jax_default_matmul_precision="highest"; torch: torch.backends.cuda.matmul.allow_tf32 = False)'
        )
    if error(8) < 3e-6:
        return "products round their inputs to 8 bits: bfloat16"
    return "products accumulate in less than single precision"


def single_inside(backend: Backend, measured: Measured) -> Measured:
    """Adds, in float64, the reason for an error of float32's size."""
    if backend.dtype != "float64" or not 1e-10 < measured.error < 1e-5:
        return measured
    reason = f"right to {measured.error:.0e} only: a part of it computes in single precision"
    return Measured(measured.error, lambda: measured.explain() or reason)


@check("asarray")
def asarray(backend: Backend, case: Case) -> Measured:
    """Floats take the instance's dtype, integers int32, booleans stay; later writes to the source do not show."""
    floats = case.array("floats", case.rows, case.columns)
    integers = case.random("integers").integers(-(2**31), 2**31, (case.rows, case.columns))
    words = case.element_numbers("words", case.rows)
    source, scalar = floats.copy(), np.array(2.5)
    placed, first = backend.asarray(source), backend.asarray(case.array("first", case.rows, case.columns))
    source[:] = -1.0
    exact = [
        compare("asarray", fetch(backend, backend.asarray(integers), "asarray of integers", "int32"), integers),
        compare("asarray", fetch(backend, backend.asarray(words), "asarray of words", "int32"), words.view(np.int32)),
        compare("asarray", fetch(backend, backend.asarray(floats > 0), "asarray of booleans", "bool"), floats > 0),
    ]
    if any(one.error for one in exact):
        raise Departure("asarray changes integers or booleans")
    host = fetch(backend, placed, "asarray of floats")
    host_again = backend.to_numpy(placed)
    host_again[:] = -1.0
    return worst(
        compare("asarray", host, floats, suspects={"asarray keeps the caller's memory": lambda: source}),
        compare("asarray", fetch(backend, placed, "asarray"), floats),
        compare("asarray", fetch(backend, first, "asarray"), case.array("first", case.rows, case.columns)),
        compare("asarray", fetch(backend, backend.asarray(scalar), "asarray of a scalar"), scalar),
    )


@check("csr")
def csr(backend: Backend, case: Case) -> Measured:
    """The handle's shape and nnz, with and without element numbers."""
    numbers = case.element_numbers("numbers", case.matrix.nnz)
    for handle in (backend.csr(case.matrix), backend.csr(case.matrix, numbers)):
        if not isinstance(handle, CSR):
            raise Departure("csr gives no handle with shape and nnz")
        if tuple(handle.shape) != case.matrix.shape or handle.nnz != case.matrix.nnz:
            raise Departure(
                f"a handle says {tuple(handle.shape)} with {handle.nnz} stored values, "
                f"not {case.matrix.shape} with {case.matrix.nnz}"
            )
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
    x[::2, 0] = 0.0
    return compare("relu", fetch(backend, backend.relu(backend.asarray(x)), "relu"), np.maximum(x, 0.0))


@check("log_softmax")
def stable_log_softmax(backend: Backend, case: Case) -> Measured:
    """Rows of all sizes: ties, spreads past which exp underflows, and values at which it overflows."""
    x = case.array("x", case.rows, case.columns)
    measured = []
    for factor, shift in ((1.0, 0.0), (0.0, 1.0), (30.0, 0.0), (1.0, 1000.0), (1000.0, 0.0)):
        logits = x * factor + shift
        got = fetch(backend, backend.log_softmax(backend.asarray(logits)), "log_softmax")
        # A row's error grows with its entries, so each of these has its own scale.
        scale = max(1.0, float(np.abs(logits).max()))
        suspects = {"log_softmax runs over the wrong axis": lambda logits=logits: log_softmax(logits, axis=0)}
        measured.append(compare("log_softmax", got, log_softmax(logits), scale, suspects))
    return single_inside(backend, worst(*measured))


@check("xp")
def array_api(backend: Backend, case: Case) -> Measured:
    """What model, loss and optimizer take from the standard: operators, sum, sqrt, argmax, comparison."""
    xp = backend.xp
    a, b = case.array("a", case.rows, case.columns), case.array("b", case.columns)
    x, y = backend.asarray(a), backend.asarray(b)
    count = fetch(backend, xp.sum(x > 0), "sum of booleans", _integer(backend, xp.sum(x > 0)))
    if int(count) != int((a > 0).sum()):
        raise Departure(f"sum of booleans counts {int(count)}, not {int((a > 0).sum())}")
    return worst(
        compare("x + y", fetch(backend, x + y, "x + y"), a + b),
        compare("x - y", fetch(backend, x - y, "x - y"), a - b),
        compare("x * y", fetch(backend, x * y, "x * y"), a * b),
        compare("x / c", fetch(backend, x / (y * y + 1.0), "x / y"), a / (b * b + 1.0)),
        compare("-x", fetch(backend, -x, "-x"), -a),
        compare("c * x", fetch(backend, 0.3 * x, "0.3 * x"), 0.3 * a),
        compare("sum", fetch(backend, xp.sum(x), "sum"), np.asarray(a.sum()), float(np.abs(a).sum())),
        compare("sqrt", fetch(backend, xp.sqrt(x * x), "sqrt"), np.abs(a)),
    )


@check("xp.argmax")
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


def _integer(backend: Backend, x: object) -> str:
    """The dtype of an integer array, which the standard leaves to the library."""
    name = dtype_name(backend, x)
    if not name.startswith(("int", "uint")):
        raise Departure(f"a whole number has dtype {name or 'none'}")
    return name
