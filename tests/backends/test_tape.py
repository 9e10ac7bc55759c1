# ruff: noqa: SIM905 (names of functions read better as text)
"""The tape: its verbs against differences, every name of the standard, and refusals that say what to do."""

from __future__ import annotations

import copy
import operator
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import array_api_compat.numpy as plain
import numpy as np
import pytest
import scipy.sparse as sp

from portgnn.testing.gradient_cases import GRADIENT_CASES, GradientCase, gradient, reference, slopes
from portgnn_numpy import NumPyBackend
from portgnn_numpy.namespace import PLAIN, RULES, tape_over
from portgnn_numpy.tape import Tape, Var, backward

# Not by get_backend: its self-check would refuse a broken tape before a test here could say what is broken.
BACKEND = NumPyBackend(dtype="float64")
XP = BACKEND.xp
SPARSE = BACKEND.csr(sp.csr_array(np.array([[0.0, 2.0, 0.0], [1.0, 0.0, -3.0]])))
Fn = Callable[..., Any]

VERBS: dict[str, tuple[Fn, tuple[tuple[int, ...], ...]]] = {
    "array add": (lambda a: np.arange(6.0).reshape(3, 2) + a, ((2,),)),
    "array sub": (lambda a: np.arange(6.0).reshape(3, 2) - a, ((3, 1),)),
    "array mul": (lambda a: np.arange(6.0).reshape(3, 2) * a, ((2,),)),
    "array div": (lambda a: np.arange(6.0).reshape(3, 2) / a, ((2,),)),
    "array power": (lambda a: np.arange(1.0, 7.0).reshape(3, 2) ** a, ((2,),)),
    "array remainder": (lambda a: np.arange(6.0) % a, ((1,),)),
    "scalar of NumPy": (lambda a: np.float64(2.0) * a - np.float64(1.0) / a, ((3,),)),
    "constant matmul": (lambda a: np.arange(6.0).reshape(2, 3) @ a, ((3, 4),)),
    "matmul constant": (lambda a: a @ np.arange(8.0).reshape(4, 2), ((3, 4),)),
    "constant matmul stack": (lambda a: np.arange(12.0).reshape(2, 2, 3) @ a, ((3, 4),)),
    "backend matmul": (lambda a, b: BACKEND.matmul(a, b), ((3, 4), (4, 2))),
    "spmm": (lambda a: BACKEND.spmm(SPARSE, a), ((3, 4),)),
    "sparse matmul": (lambda a: BACKEND.matmul(SPARSE, a), ((3, 4),)),
    "log_softmax": (lambda a: BACKEND.log_softmax(a), ((3, 4),)),
    "dropout": (lambda a: BACKEND.dropout(a, 0.4, (1, 2)), ((5, 4),)),
    "dropout by index": (
        lambda a: BACKEND.dropout(a, 0.4, (1, 2), np.arange(20, dtype=np.int32)[::-1].reshape(5, 4)), ((5, 4),),
    ),
    "T and mT": (lambda a: a.T @ a + a.mT @ a, ((3, 2),)),
    "iteration": (lambda a: sum((row * i for i, row in enumerate(a)), a[0]), ((3, 2),)),
    "mask of booleans": (lambda a: a[np.array([True, False, True])] * a[0], ((3, 2),)),
    "mask from a comparison": (lambda a: a[a > 0.9], ((3, 4),)),
    "index from a recorded argmax": (lambda a: a[XP.argmax(a[:, 0])], ((3, 2),)),
    "list of recorded": (lambda a: XP.asarray([a[0] * a[1], a[1], 2.0]), ((2,),)),
    "full": (lambda a: XP.full((2, 3), a[1]) + XP.full_like(np.ones((2, 3)), a[0]), ((2,),)),
    "cross broadcast": (lambda a, b: XP.linalg.cross(a, b), ((3,), (2, 3))),
    "solve stack": (lambda a, b: XP.linalg.solve(a + 2 * np.eye(2), b), ((3, 2, 2), (2, 2))),
    "unique": (lambda a: XP.unique_values(a) * XP.unique_all(a).values, ((4,),)),
    "diff joined": (lambda a, b: XP.diff(a, prepend=b, append=b), ((4,), (1,))),
    "prod of two axes": (lambda a: XP.prod(a, axis=(-1, 0)), ((2, 2, 3),)),
    "cumulative_prod first": (lambda a: XP.cumulative_prod(a, axis=0, include_initial=True), ((3, 2),)),
}  # fmt: skip
MINE = [GradientCase(name, lambda xp, *x, f=fn: f(*x), shapes) for name, (fn, shapes) in VERBS.items()]
MINE.append(GradientCase("relu", lambda xp, x: BACKEND.relu(x - 1.7), ((5, 4),), apart=20))


@pytest.mark.parametrize("case", [*MINE, *GRADIENT_CASES], ids=lambda case: case.name)
def test_gradients_are_slopes(case: GradientCase) -> None:
    at = case.draw(7)
    value, found = gradient(BACKEND, case, at)
    assert value == pytest.approx(reference(case)(*at), rel=1e-13)
    for got, want in zip(found, slopes(reference(case), at), strict=True):
        # The differences themselves are right to some 1e-11.
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10 * max(1.0, np.abs(want).max(initial=0.0)))


# Every function of the standard (2024.12), by what a recorded array meets there.
FLOATING = """abs acos acosh add asin asinh atan atan2 atanh clip copysign cos cosh divide exp expm1 hypot log
log10 log1p log2 logaddexp maximum minimum multiply negative positive pow reciprocal remainder sin sinh sqrt square
subtract tan tanh broadcast_arrays broadcast_to concat expand_dims flip matrix_transpose meshgrid moveaxis permute_dims
repeat reshape roll squeeze stack tile tril triu unstack where take take_along_axis sort diff astype matmul tensordot
vecdot cumulative_prod cumulative_sum max mean min prod std sum var
linalg.cholesky linalg.cross linalg.det linalg.diagonal linalg.eigh linalg.eigvalsh linalg.inv linalg.matmul
linalg.matrix_norm linalg.matrix_power linalg.matrix_transpose linalg.outer linalg.pinv linalg.qr linalg.slogdet
linalg.solve linalg.svdvals linalg.tensordot linalg.trace linalg.vecdot linalg.vector_norm""".split()
TRIED_HERE = "asarray full full_like unique_all unique_counts unique_inverse unique_values conj real".split()
STEPS = """all any argmax argmin argsort can_cast ceil count_nonzero empty_like equal finfo floor floor_divide greater
greater_equal iinfo imag isfinite isinf isnan less less_equal linalg.matrix_rank logical_and logical_not logical_or
logical_xor nonzero not_equal ones_like result_type round searchsorted sign signbit trunc zeros_like""".split()
REFUSED = """arange bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor eye
from_dlpack linspace nextafter linalg.svd fft.fft fft.ifft fft.fftn fft.ifftn fft.rfft fft.irfft fft.rfftn fft.irfftn
fft.hfft fft.ihfft fft.fftshift fft.ifftshift""".split()
OF_NO_ARRAY = "empty ones zeros isdtype __array_namespace_info__ fft.fftfreq fft.rfftfreq".split()
TWO = """equal floor_divide greater greater_equal less less_equal logical_and logical_or logical_xor not_equal
searchsorted""".split()


def _named(xp: Any, name: str) -> Any:
    return operator.attrgetter(name)(xp)


def test_every_name_of_the_standard_has_its_place() -> None:
    assert {*FLOATING, *TRIED_HERE} == set(RULES)
    assert set(STEPS) == PLAIN
    standard = {*FLOATING, *TRIED_HERE, *STEPS, *REFUSED, *OF_NO_ARRAY}
    assert len(standard) == sum(map(len, (FLOATING, TRIED_HERE, STEPS, REFUSED, OF_NO_ARRAY)))
    assert [name for name in standard if not callable(_named(XP, name))] == []
    # array-api-compat's namespace is NumPy's with the standard's names: none of the latter may be missing above.
    ours = {name for name in dir(plain.linalg) if f"linalg.{name}" in standard}
    assert {name.removeprefix("linalg.") for name in standard if name.startswith("linalg.")} == ours


def test_the_kit_has_a_case_for_every_rule() -> None:
    assert set(FLOATING) - {case.function for case in GRADIENT_CASES} == set()


@pytest.mark.parametrize("name", STEPS)
def test_a_function_without_slopes_takes_a_recorded_array_for_a_plain_one(name: str) -> None:
    x = np.array([[0.5, 1.5], [2.5, 2.5]])
    given: Any = (x[0], x[0]) if name == "searchsorted" else (x, x) if name in TWO else (x,)
    if name in ("can_cast", "finfo", "iinfo"):
        given = {"can_cast": (x, np.float64), "finfo": (x,), "iinfo": (np.arange(3),)}[name]
    recorded = tuple(Var.leaf(g, Tape(tape_over)) if isinstance(g, np.ndarray) else g for g in given)
    want, got = _named(plain, name)(*given), _named(XP, name)(*recorded)
    assert not isinstance(got, Var)
    if name == "empty_like":
        assert got.shape == want.shape
    elif name in ("finfo", "iinfo"):
        assert got.bits == want.bits
    else:
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", [*REFUSED, "cumsum", "einsum", "concatenate", "transpose", "linalg.norm"])
def test_a_function_without_a_rule_names_itself_and_what_to_use(name: str) -> None:
    x = Var.leaf(np.ones((2, 2)), Tape(tape_over))
    with pytest.raises(TypeError, match=rf"^xp\.{name} has no gradient on the tape\. \w+.*\.$"):
        _named(XP, name)(x, x) if name.startswith("bitwise") else _named(XP, name)(x)


def test_what_was_wrong_without_a_word() -> None:
    """Functions of the namespace took recorded arrays for sequences of numbers."""
    x = {"x": np.array([[1.0, 2.0]])}
    weights = np.arange(12.0).reshape(6, 2)
    for fn in (lambda x: XP.broadcast_to(x, (6, 2)), lambda x: XP.tile(x, (6, 1))):
        _, grads = BACKEND.value_and_grad(lambda p, fn=fn: (XP.sum(fn(p["x"]) * weights), None))(x)
        assert grads["x"].tolist() == [[30, 36]]
    for fn in (lambda x: XP.stack([x, x]), lambda x: XP.expand_dims(x, axis=0), lambda x: XP.squeeze(x, axis=0)):
        with pytest.raises(TypeError, match=r"a loss is a 0-d array, and this one has shape \["):
            BACKEND.value_and_grad(lambda p, fn=fn: (fn(p["x"]), None))(x)
    _, grads = BACKEND.value_and_grad(
        lambda p: (XP.sum(XP.squeeze(XP.stack([p["x"], 2 * p["x"]]), axis=1) * weights[:2]), None)
    )(x)
    assert grads["x"].tolist() == [[4, 7]]


def _divided(x: Any) -> Any:
    x[0] = 1.0


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (float, "branch with xp.where"), (int, "no Python number"), (bool, "no Python number"),
        (complex, "(loss, aux)"), (operator.index, "no Python number"),
        (lambda x: "yes" if x else "no", "branch with xp.where"),
        (np.asarray, "as xp.exp(x) for numpy.exp(x)"), (np.array, "no NumPy array"),
        (lambda x: np.array([x, x]), "NumPy"), (np.sum, "no NumPy array"),
        (lambda x: np.concatenate([x[None], x[None]]), "no NumPy array"),
        (_divided, "xp.where(mask, new, old)"), (lambda x: x.to_device("gpu"), "stays on its device"),
        (lambda x: XP.astype(x, XP.complex128), "complex"),
        (np.exp, "ufunc"), (len, "no length"), (iter, "no length"),
    ],
)  # fmt: skip
def test_what_would_lose_the_record_is_refused(use: Fn, says: str) -> None:
    with pytest.raises(TypeError) as refused:
        use(Var.leaf(np.array(2.0), Tape(tape_over)))
    assert says in str(refused.value)


def test_one_cannot_be_put_into_an_array_of_numpy() -> None:
    with pytest.raises(TypeError, match="no NumPy array"):
        np.zeros(3)[:2] = Var.leaf(np.ones(2), Tape(tape_over))
    # For a single number NumPy asks float(), and puts an error of its own before ours.
    with pytest.raises(ValueError, match="setting an array element") as refused:
        np.zeros(3)[0] = Var.leaf(np.array(2.0), Tape(tape_over))
    assert "no Python number" in str(refused.value.__cause__)


def test_a_method_that_arrays_of_the_standard_lack_names_the_function() -> None:
    with pytest.raises(AttributeError, match=r"as xp\.sum\(x\)"):
        Var.leaf(np.ones(2), Tape(tape_over)).sum()


def test_comparisons_are_plain() -> None:
    x, y = Var.leaf(np.array([1.0, 2.0]), Tape(tape_over)), np.array([2.0, 2.0])
    for compare in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne):
        for other in (y, Var.leaf(y, Tape(tape_over)), 2.0):
            assert compare(x, other).tolist() == compare(x.value, y).tolist()
        assert compare(y, x).tolist() == compare(y, x.value).tolist()
    assert (x // y).tolist() == [0, 1]
    assert (3.0 // x).tolist() == [3, 1]
    assert len({x, x}) == 1


def test_complex_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match="complex numbers"):
        BACKEND.value_and_grad(lambda p: (XP.abs(XP.sum(p["x"] * 1j)), None))({"x": np.ones(2)})


def test_a_gradient_has_its_parameters_dtype() -> None:
    wide = np.array([1.0, 2.0])
    _, grads = BACKEND.value_and_grad(lambda p: (XP.sum(p["x"] * wide) + XP.sum(p["y"] * 2.0), None))(
        {"x": np.ones(2, np.float32), "y": np.ones(2, np.float32)}
    )
    assert grads["x"].dtype == grads["y"].dtype == np.float32


# argument, factor of the loss -> gradient. In the obvious formula something overflows, or falls below the smallest
# number, though the result does neither.
LARGE: dict[str, tuple[Fn, float, float, float]] = {
    "1 / x": (lambda x: 1.0 / x, 1e200, 1e300, -1e-100),
    "reciprocal": (lambda x: XP.reciprocal(x), 1e200, 1e300, -1e-100),
    "x**-1": (lambda x: x**-1, 1e200, 1e300, -1e-100),
    "x**-1.0 of an array": (lambda x: x ** np.array(-1.0), 1e200, 1e300, -1e-100),
    "atan": (lambda x: XP.atan(x), 1e200, 1e300, 1e-100),
    "asinh": (lambda x: XP.asinh(x), 1e200, 1.0, 1e-200),
    "acosh": (lambda x: XP.acosh(x), 1e200, 1.0, 1e-200),
    "log10": (lambda x: XP.log10(x), 1.7e308, 1.0, 1 / 1.7e308 / np.log(10)),
    "square": (lambda x: XP.square(x * 1e-200), 1e308, 1e80, 2e-12),
    "hypot": (lambda x: XP.hypot(x, x), 1e200, 1.0, np.sqrt(2)),
    "std": (lambda x: XP.std(XP.stack([x, 3 * x])) , 1e150, 1.0, 1.0),
    "vector_norm": (lambda x: XP.linalg.vector_norm(XP.stack([3 * x, 4 * x])), 1e150, 1.0, 5.0),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_nothing_overflows_in_a_gradient_alone(name: str) -> None:
    fn, at, factor, want = LARGE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, grads = BACKEND.value_and_grad(lambda p: (XP.sum(fn(p["x"])) * factor, None))({"x": np.array(at)})
    assert float(grads["x"]) == pytest.approx(want, rel=1e-12)


def test_a_mean_of_nothing_is_nan_and_its_gradient_empty() -> None:
    with pytest.warns(RuntimeWarning):
        (value, _), grads = BACKEND.value_and_grad(lambda p: (XP.mean(p["x"]), None))({"x": np.zeros(0)})
    assert np.isnan(value)
    assert grads["x"].shape == (0,)


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


def test_a_named_tuple_in_aux_stays_one() -> None:
    def loss(params: dict[str, Any]) -> tuple[Any, Any]:
        found = XP.linalg.slogdet(params["x"])
        return found.logabsdet, found

    (_, aux), grads = BACKEND.value_and_grad(loss)({"x": 2 * np.eye(2)})
    assert aux.sign == 1
    assert isinstance(aux.logabsdet, np.generic | np.ndarray)
    np.testing.assert_allclose(grads["x"], np.eye(2) / 2)


def test_plain_arrays_pass_without_a_tape() -> None:
    for fn in (XP.exp, XP.sum, XP.mean, BACKEND.relu, BACKEND.log_softmax):
        assert not isinstance(fn(np.ones((2, 2))), Var)


def test_the_namespace_is_one_and_can_be_copied() -> None:
    assert NumPyBackend().xp is XP is tape_over(plain)
    assert XP.float64 is plain.float64
    assert XP.pi == plain.pi
    assert Var.leaf(np.ones(2), Tape(tape_over)).__array_namespace__() is XP
    assert copy.copy(XP).sum(np.ones(3)) == 3
    with pytest.raises(AttributeError):
        XP.no_such_function  # noqa: B018
    with pytest.raises((TypeError, pickle.PicklingError)):
        pickle.dumps(XP)


def test_deep_chains_do_not_meet_the_stack_limit() -> None:
    x = Var.leaf(np.array(1.0), Tape(tape_over))
    y = x
    for _ in range(5000):
        y = y + 1.0
    assert backward(y, {"x": x}, np.zeros_like)["x"] == 1
