"""Every operation of the tape against central finite differences, broadcasting included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn_numpy import NumPyBackend
from portgnn_numpy.tape import Var, backward

# Not by get_backend: its self-check would refuse a broken tape before a test here could say what is broken.
BACKEND = NumPyBackend(dtype="float64")
XP = BACKEND.xp
SPARSE = BACKEND.csr(sp.csr_array(np.array([[0.0, 2.0, 0.0], [1.0, 0.0, -3.0]])))
Fn = Callable[..., Any]

# name -> (function, shapes of its recorded arguments)
CASES: dict[str, tuple[Fn, tuple[tuple[int, ...], ...]]] = {
    "add": (lambda a, b: a + b, ((3, 2), (3, 2))),
    "add row": (lambda a, b: a + b, ((3, 2), (2,))),
    "add column": (lambda a, b: a + b, ((3, 2), (3, 1))),
    "add both ways": (lambda a, b: a + b, ((3, 1), (1, 2))),
    "add 0-d": (lambda a, b: a + b, ((3, 2), ())),
    "add number": (lambda a: a + 2.0, ((3, 2),)),
    "number add": (lambda a: 2.0 + a, ((3, 2),)),
    "array add": (lambda a: np.arange(6.0).reshape(3, 2) + a, ((2,),)),
    "sub": (lambda a, b: a - b, ((3, 2), (2,))),
    "sub 0-d": (lambda a, b: a - b, ((), (3, 2))),
    "number sub": (lambda a: 1.0 - a, ((3, 2),)),
    "array sub": (lambda a: np.arange(6.0).reshape(3, 2) - a, ((3, 1),)),
    "mul": (lambda a, b: a * b, ((3, 2), (3, 2))),
    "mul row": (lambda a, b: a * b, ((2,), (3, 2))),
    "mul column": (lambda a, b: a * b, ((3, 2), (3, 1))),
    "mul three axes": (lambda a, b: a * b, ((4, 1, 2), (3, 1))),
    "mul number": (lambda a: a * 3.0, ((3, 2),)),
    "array mul": (lambda a: np.arange(6.0).reshape(3, 2) * a, ((2,),)),
    "mul itself": (lambda a: a * a, ((3, 2),)),
    "div": (lambda a, b: a / b, ((3, 2), (2,))),
    "div wide": (lambda a, b: a / b, ((1, 2), (3, 1))),
    "div number": (lambda a: a / 4.0, ((3, 2),)),
    "number div": (lambda a: 1.0 / a, ((3, 2),)),
    "neg": (lambda a: -a, ((3, 2),)),
    "square": (lambda a: a**2, ((3, 2),)),
    "power": (lambda a: a**-1.5, ((3, 2),)),
    "matmul": (lambda a, b: a @ b, ((3, 4), (4, 2))),
    "matmul constant": (lambda a: a @ np.arange(8.0).reshape(4, 2), ((3, 4),)),
    "constant matmul": (lambda a: np.arange(6.0).reshape(2, 3) @ a, ((3, 4),)),
    "matmul itself": (lambda a: a @ a, ((3, 3),)),
    "backend matmul": (lambda a, b: BACKEND.matmul(a, b), ((3, 4), (4, 2))),
    "spmm": (lambda a: BACKEND.spmm(SPARSE, a), ((3, 4),)),
    "sparse matmul": (lambda a: BACKEND.matmul(SPARSE, a), ((3, 4),)),
    "relu": (lambda a: BACKEND.relu(a - 1.0), ((5, 4),)),
    "log_softmax": (lambda a: BACKEND.log_softmax(a), ((3, 4),)),
    "dropout": (lambda a: BACKEND.dropout(a, 0.4, (1, 2)), ((5, 4),)),
    "dropout by index": (
        lambda a: BACKEND.dropout(a, 0.4, (1, 2), np.arange(20, dtype=np.int32)[::-1].reshape(5, 4)),
        ((5, 4),),
    ),
    "exp": (lambda a: XP.exp(a), ((3, 2),)),
    "log": (lambda a: XP.log(a), ((3, 2),)),
    "sqrt": (lambda a: XP.sqrt(a), ((3, 2),)),
    "abs": (lambda a: XP.abs(a - 1.0), ((3, 2),)),
    "sum": (lambda a: XP.sum(a), ((3, 2),)),
    "sum axis 0": (lambda a: XP.sum(a, axis=0), ((3, 2),)),
    "sum last axis": (lambda a: XP.sum(a, axis=-1), ((3, 2),)),
    "sum keepdims": (lambda a: XP.sum(a, axis=1, keepdims=True), ((3, 2),)),
    "sum two axes": (lambda a: XP.sum(a, axis=(0, 2)), ((3, 2, 4),)),
    "mean": (lambda a: XP.mean(a), ((3, 2),)),
    "mean axis": (lambda a: XP.mean(a, axis=0), ((3, 2),)),
    "mean keepdims": (lambda a: XP.mean(a, axis=-1, keepdims=True), ((3, 2),)),
    "used twice": (lambda a, b: (a + b) * a - XP.exp(a), ((3, 2), (2,))),
}


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_finite_differences(case: str) -> None:
    fn, shapes = CASES[case]
    draw = np.random.default_rng(len(case))
    # Away from 0 and from 1, where relu, abs, log and roots have no derivative or a huge one.
    params = {
        str(i): np.asarray(draw.uniform(0.3, 0.9, shape) + draw.integers(0, 2, shape)) for i, shape in enumerate(shapes)
    }
    weight = draw.normal(size=np.shape(fn(*params.values())))

    def loss(given: dict[str, Any]) -> tuple[Any, None]:
        return XP.sum(fn(*given.values()) * weight), None

    (value, _), gradients = BACKEND.value_and_grad(loss)(params)
    assert not isinstance(value, Var)
    assert float(value) == pytest.approx(float(loss(params)[0]), rel=1e-15)
    step = 1e-5
    for name, array in params.items():
        assert gradients[name].shape == array.shape
        for at in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                moved = params | {name: array.copy()}
                moved[name][at] += sign * step
                ends.append(float(loss(moved)[0]))
            # Central differences err by step**2 times a third derivative (<= ~30 here) and rounding / step.
            assert gradients[name][at] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-7, abs=1e-8)


def test_every_rule_of_the_tape_is_tried_above() -> None:
    rules = {name for name in vars(type(XP)) if not name.startswith("_")}
    assert rules <= {case.split()[0] for case in CASES}
    operators = {name for name in vars(Var) if name.startswith("__") and callable(getattr(Var, name))}
    operators -= {"__init__", "__slots__"} | {name for name in operators if hasattr(object, name)}
    tried = "__add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __rtruediv__ __pow__ __neg__"
    assert operators == {*tried.split(), "__matmul__", "__rmatmul__"}


def test_relu_has_gradient_zero_at_zero() -> None:
    _, gradients = BACKEND.value_and_grad(lambda p: (XP.sum(BACKEND.relu(p["x"])), None))(
        {"x": np.array([-1.0, 0.0, 1.0])}
    )
    assert gradients["x"].tolist() == [0, 0, 1]


def test_log_softmax_does_not_overflow() -> None:
    got = BACKEND.log_softmax(np.array([[1e4, 0.0], [-1e4, -1e4]]))
    np.testing.assert_allclose(got, [[0, -1e4], [-np.log(2), -np.log(2)]])


def test_a_parameter_that_the_loss_ignores_gets_zeros() -> None:
    params = {"used": np.array(2.0), "unused": np.ones((2, 3))}
    _, gradients = BACKEND.value_and_grad(lambda p: (p["used"] * 3.0, None))(params)
    assert gradients["used"] == 3
    np.testing.assert_array_equal(gradients["unused"], np.zeros((2, 3)))
    (loss, _), gradients = BACKEND.value_and_grad(lambda p: (np.array(1.0), None))(params)
    assert loss == 1
    assert not gradients["used"]


def test_nothing_accumulates_and_aux_is_plain() -> None:
    grad = BACKEND.value_and_grad(lambda p: (XP.sum(p["x"] * p["x"]), {"twice": (p["x"] + p["x"], 1)}))
    first, second = (grad({"x": np.array([1.0, 2.0])}) for _ in range(2))
    assert first[1]["x"].tolist() == second[1]["x"].tolist() == [2, 4]
    assert isinstance(first[0][1]["twice"][0], np.ndarray)


def test_plain_arrays_pass_without_a_tape() -> None:
    for fn in (XP.exp, XP.sum, XP.mean, BACKEND.relu, BACKEND.log_softmax):
        assert not isinstance(fn(np.ones((2, 2))), Var)


def test_a_function_without_a_rule_refuses_a_recorded_array() -> None:
    with pytest.raises(TypeError):
        XP.tanh(Var.leaf(np.ones(2), []))


def test_deep_chains_do_not_meet_the_stack_limit() -> None:
    x = Var.leaf(np.array(1.0), [])
    y = x
    for _ in range(5000):
        y = y + 1.0
    assert backward(y, {"x": x}, np.zeros_like)["x"] == 1
