"""Checks of `value_and_grad`: every verb's gradient, written out by hand, and the rules of purity."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.protocol import Array, Backend, Params
from portgnn.verification._verbs import lost_precision, product_scale, single_inside
from portgnn.verification.cases import Case
from portgnn.verification.check import check
from portgnn.verification.draw import rows, small_shapes
from portgnn.verification.measure import Departure, Floats, Measured, Suspects, compare, fetch, largest, worst
from portgnn.verification.oracle import log_softmax

Outputs = Callable[[Params], Array]


def pulled(
    backend: Backend, fn: Outputs, params: dict[str, Floats], cotangent: Floats
) -> tuple[NDArray[np.generic], dict[str, NDArray[np.generic]]]:
    """sum(fn(params) * cotangent) and its gradients on the host."""
    weight = backend.asarray(cotangent)

    def loss(given: Params) -> tuple[Array, None]:
        return backend.xp.sum(fn(given) * weight), None

    placed = {name: backend.asarray(value) for name, value in params.items()}
    (value, _), grads = backend.value_and_grad(loss)(placed)
    if set(grads) != set(params):
        raise Departure(f"gradients are given for {sorted(grads)}, not for {sorted(params)}")
    return fetch(backend, value, "the loss"), {
        name: fetch(backend, grad, f"the gradient in {name}") for name, grad in grads.items()
    }


@check("matmul.gradient")
def of_matmul(backend: Backend, case: Case) -> Measured:
    a, b = case.array("a", case.rows, case.inner), case.array("b", case.inner, case.columns)
    c = case.array("c", case.rows, case.columns)
    _, both = pulled(backend, lambda p: backend.matmul(p["a"], p["b"]), {"a": a, "b": b}, c)
    # As in the model: the left factor a constant.
    fixed = backend.asarray(a)
    _, right = pulled(backend, lambda p: backend.matmul(fixed, p["b"]), {"b": b}, c)
    worst_of = worst(
        compare("the gradient in a", both["a"], c @ b.T, product_scale(c, b.T)),
        compare("the gradient in b", both["b"], a.T @ c, product_scale(a.T, c)),
        compare("the gradient in b", right["b"], a.T @ c, product_scale(a.T, c)),
    )

    def product(x: Floats, y: Floats) -> Floats:
        left, start = backend.asarray(x.T), np.zeros((x.shape[0], y.shape[1]))
        grads = pulled(backend, lambda p: backend.matmul(left, p["b"]), {"b": start}, y)[1]
        return np.asarray(grads["b"])

    return Measured(worst_of.error, lambda: worst_of.explain() or lost_precision(backend, product))


@check("spmm.gradient")
def of_spmm(backend: Backend, case: Case) -> Measured:
    x, c = case.array("x", case.inner, case.columns), case.array("c", case.rows, case.columns)
    handle = backend.csr(case.matrix)
    a, scale = case.dense, product_scale(case.dense.T, c)
    want = a.T @ c
    suspects: Suspects = {
        "the backward pass multiplies with the matrix, not with its transpose": lambda: (
            a @ c if case.rows == case.inner else want
        )
    }
    measured = []
    for verb in (backend.spmm, backend.matmul):
        value, grads = pulled(backend, lambda p, verb=verb: verb(handle, p["x"]), {"x": x}, c)  # type: ignore[misc]
        measured.append(compare("the gradient", grads["x"], want, scale, suspects))
        measured.append(
            compare("the loss", value, np.asarray((a @ x * c).sum()), float((abs(a) @ abs(x) * abs(c)).sum()))
        )
    return worst(*measured)


@check("relu.gradient")
def of_relu(backend: Backend, case: Case) -> Measured:
    """Above all at 0, where it is 0."""
    x, c = case.array("x", case.rows, case.columns), case.array("c", case.rows, case.columns)
    x[::2, :1] = 0.0
    _, grads = pulled(backend, lambda p: backend.relu(p["x"]), {"x": x}, c)
    at_zero = "at 0 the gradient is {} and not 0"
    return compare(
        "the gradient", grads["x"], c * (x > 0), largest(c),
        {at_zero.format(1): lambda: c * (x >= 0), at_zero.format(0.5): lambda: c * ((x > 0) + 0.5 * (x == 0))},
    )  # fmt: skip


@check("log_softmax.gradient", cases=rows)
def of_log_softmax(backend: Backend, case: Case) -> Measured:
    x, c = case.array("x", case.rows, case.columns), case.array("c", case.rows, case.columns)
    x[:1] = 1.0  # a row of ties
    measured = []
    for factor in (1.0, 30.0):
        logits = x * factor
        _, grads = pulled(backend, lambda p: backend.log_softmax(p["x"]), {"x": logits}, c)
        want = c - np.exp(log_softmax(logits)) * c.sum(axis=-1, keepdims=True)
        scale = max(largest(c), float(np.abs(c).sum(axis=-1).max(initial=0.0)))
        # Softmax of large logits amplifies their rounding.
        measured.append(compare("the gradient", grads["x"], want, scale * factor))
    return single_inside(backend, worst(*measured))


@check("xp.gradient")
def of_array_api(backend: Backend, case: Case) -> Measured:
    """Operators with broadcasting, as the bias and the penalty use them, and a parameter used twice."""
    a, b = case.array("a", case.rows, case.columns), case.array("b", 1, case.columns)
    c = case.array("c", case.rows, case.columns)
    xp = backend.xp
    # Whole numbers of one sign: what a bias gathers over many rows neither cancels nor is rounded.
    whole = np.asarray(case.random("whole").integers(1, 4, c.shape), dtype=np.float64)
    _, grads = pulled(backend, lambda p: xp.add(p["a"], p["b"]) - p["a"] * 0.25, {"a": a, "b": b[0]}, whole)
    _, row = pulled(backend, lambda p: p["a"] + p["b"], {"a": a, "b": b}, whole)
    _, mixed = pulled(backend, lambda p: p["a"] * p["b"] + p["a"] * p["a"] * 0.5, {"a": a, "b": b}, c)
    _, penal = pulled(backend, lambda p: p["a"] + xp.sum(p["b"] * p["b"]) * 0.5, {"a": a, "b": b}, c)
    _, minus = pulled(backend, lambda p: -p["a"], {"a": a}, c)
    total = float(np.abs(c).sum())
    size = max(largest(a), largest(b), 1.0)
    return worst(
        compare("the gradient of a - a/4", grads["a"], 0.75 * whole),
        compare("the gradient of a bias", grads["b"], whole.sum(axis=0)),
        compare("the gradient of a row that is added", row["b"], whole.sum(axis=0, keepdims=True)),
        compare("the gradient of a product", mixed["a"], c * (b + a), largest(c) * size),
        compare(
            "the gradient of a broadcast factor",
            mixed["b"],
            (c * a).sum(axis=0, keepdims=True),
            float(np.abs(c * a).sum()),
        ),
        compare("the gradient of a penalty", penal["b"], b * c.sum(), total * size),
        compare("the gradient of a negation", minus["a"], -c),
    )


@check("value_and_grad.rules")
def rules(backend: Backend, case: Case) -> Measured:
    """Zeros for what the loss ignores, auxiliary results, further arguments, untouched inputs, no accumulation."""
    xp = backend.xp
    a, b = case.array("a", case.rows, case.columns), case.array("b", case.rows, case.columns)
    params = {"a": backend.asarray(a), "unused": backend.asarray(case.array("u", case.inner))}
    other = {"a": backend.asarray(b), "unused": params["unused"]}

    def loss(given: Params, factor: Any) -> tuple[Any, Any]:
        squared = given["a"] * given["a"]
        return xp.sum(squared * factor), (squared, factor)

    call = backend.value_and_grad(loss)
    factor = backend.asarray(b)
    measured = []
    results, total = [], np.zeros_like(a)
    for given, host in ((params, a), (params, a), (other, b), (params, a)):
        (value, aux), grads = call(given, factor)
        if set(grads) != {"a", "unused"}:
            raise Departure(f"gradients are given for {sorted(grads)}, not for ['a', 'unused']")
        total = total + 2 * host * b
        zero = fetch(backend, grads["unused"], "the gradient of an unused parameter")
        measured += [
            compare("the loss", fetch(backend, value, "the loss"), np.asarray((host**2 * b).sum()),
                    float((host**2 * abs(b)).sum())),
            compare("the gradient", fetch(backend, grads["a"], "the gradient"), 2 * host * b,
                    suspects={"gradients accumulate from call to call": partial(np.copy, total)}),
            compare("an unused parameter's gradient", zero, np.zeros(case.inner), 1.0),
            compare("aux", backend.to_numpy(aux[0]), host**2),
            compare("aux", backend.to_numpy(aux[1]), b),
        ]  # fmt: skip
        results.append(backend.to_numpy(grads["a"]))
    repeats = [results[i] for i in (0, 1, 3)]
    if worst(*measured).error > 0.01:
        return worst(*measured)
    if backend.capabilities.deterministic and any((again != repeats[0]).any() for again in repeats):
        raise Departure("the same call gives other bits the second time, though the backend says it is deterministic")
    inputs = worst(
        compare("a parameter", backend.to_numpy(params["a"]), a), compare("an argument", backend.to_numpy(factor), b)
    )
    if set(params) != {"a", "unused"}:
        raise Departure("value_and_grad changes the dictionary of parameters")
    constant = backend.value_and_grad(lambda given: (xp.sum(factor), None))
    (_, _), grads = constant(params)
    nothing = fetch(backend, grads["a"], "the gradient of a constant")
    return worst(*measured, inputs, compare("the gradient of a constant", nothing, np.zeros_like(a), 1.0))


@check("value_and_grad.finite-differences", cases=small_shapes, dtypes=("float64",))
def finite_differences(backend: Backend, case: Case) -> Measured:
    """A small network's gradient against central differences of the backend's own forward pass."""
    x = backend.asarray(case.array("x", case.rows, case.inner))
    handle = backend.csr(_square(case).matrix)
    c = backend.asarray(case.array("c", case.rows, case.columns))

    def loss(given: Params) -> tuple[Array, None]:
        hidden = backend.spmm(handle, backend.matmul(x, given["w"])) + given["b"]
        kept = backend.dropout(hidden, 0.5, case.key)
        return backend.xp.sum(backend.log_softmax(kept) * c), None

    host = {"w": case.array("w", case.inner, case.columns), "b": case.array("bias", case.columns)}
    call = backend.value_and_grad(loss)

    def at(point: dict[str, Floats]) -> tuple[NDArray[np.floating], Params]:
        (value, _), grads = call({name: backend.asarray(array) for name, array in point.items()})
        return backend.to_numpy(value), grads

    _, grads = at(host)
    step, measured = 1e-5, []
    scale = max(float(np.abs(backend.to_numpy(grad)).max()) for grad in grads.values())
    for name, value in host.items():
        got = backend.to_numpy(grads[name]).ravel()
        for i in case.random(f"places in {name}").integers(0, value.size, 4):
            sides = []
            for sign in (1, -1):
                moved = value.copy()
                moved.flat[i] += sign * step
                sides.append(at(host | {name: moved})[0])
            slope = (sides[0] - sides[1]) / (2 * step)
            measured.append(compare(f"the gradient in {name}", got[i], np.asarray(slope), max(scale, 1.0)))
    return worst(*measured)


def _square(case: Case) -> Case:
    return Case(case.rows, case.rows, case.columns, case.density, case.seed)
