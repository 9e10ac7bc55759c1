"""The array API standard's namespace for MLX: names, signatures, dtypes, special values, against NumPy."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mlx.core")

import mlx.core as mx

from portgnn_mlx import array_api as xp

ELEMENTWISE_ONE = [
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bitwise_invert", "ceil", "conj", "cos", "cosh",
    "exp", "expm1", "floor", "imag", "isfinite", "isinf", "isnan", "log", "log1p", "log2", "log10", "logical_not",
    "negative", "positive", "real", "reciprocal", "round", "sign", "signbit", "sin", "sinh", "square", "sqrt",
    "tan", "tanh", "trunc",
]  # fmt: skip
ELEMENTWISE_TWO = [
    "add", "atan2", "bitwise_and", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
    "copysign", "divide", "equal", "floor_divide", "greater", "greater_equal", "hypot", "less", "less_equal",
    "logaddexp", "logical_and", "logical_or", "logical_xor", "maximum", "minimum", "multiply", "nextafter",
    "not_equal", "pow", "remainder", "subtract",
]  # fmt: skip
KEYWORDS = {
    "sum": "axis dtype keepdims", "prod": "axis dtype keepdims", "max": "axis keepdims", "min": "axis keepdims",
    "mean": "axis keepdims", "std": "axis correction keepdims", "var": "axis correction keepdims",
    "all": "axis keepdims", "any": "axis keepdims", "argmax": "axis keepdims", "argmin": "axis keepdims",
    "count_nonzero": "axis keepdims", "cumulative_sum": "axis dtype include_initial", "diff": "axis n prepend append",
    "cumulative_prod": "axis dtype include_initial", "sort": "axis descending stable", "concat": "axis",
    "argsort": "axis descending stable", "asarray": "dtype device copy", "zeros": "dtype device", "take": "axis",
    "arange": "dtype device", "linspace": "dtype device endpoint", "eye": "k dtype device", "full": "dtype device",
    "from_dlpack": "device copy", "astype": "copy device", "searchsorted": "side sorter", "tensordot": "axes",
}  # fmt: skip
OTHERS = [
    "broadcast_arrays", "broadcast_to", "can_cast", "clip", "empty", "empty_like", "expand_dims", "finfo", "flip",
    "full_like", "iinfo", "isdtype", "matmul", "matrix_transpose", "meshgrid", "moveaxis", "nonzero", "ones",
    "ones_like", "permute_dims", "repeat", "reshape", "result_type", "roll", "squeeze", "stack", "take_along_axis",
    "tile", "tril", "triu", "unique_all", "unique_counts", "unique_inverse", "unique_values", "unstack", "vecdot",
    "where", "zeros_like", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float32", "float64", "complex64", "e", "inf", "nan", "newaxis", "pi",
]  # fmt: skip


@pytest.fixture(autouse=True)
def on_the_cpu() -> Any:
    with mx.stream(mx.cpu):
        yield


def test_every_name_of_the_standard() -> None:
    names = [*ELEMENTWISE_ONE, *ELEMENTWISE_TWO, *KEYWORDS, *OTHERS, "__array_namespace_info__", "linalg", "fft"]
    assert [name for name in names if not hasattr(xp, name)] == []
    assert xp.__array_api_version__ == "2024.12"


def test_signatures() -> None:
    """Operands by position, options by keyword."""
    kinds = inspect.Parameter
    for name in (*ELEMENTWISE_ONE, *ELEMENTWISE_TWO):
        parameters = list(inspect.signature(getattr(xp, name)).parameters.values())
        names = ["x"] if name in ELEMENTWISE_ONE else ["x1", "x2"]
        assert [each.name for each in parameters] == names, name
        assert all(each.kind is kinds.POSITIONAL_ONLY for each in parameters), name
        assert getattr(xp, name).__doc__, name
    for name, options in KEYWORDS.items():
        parameters = inspect.signature(getattr(xp, name)).parameters
        given = [each.name for each in parameters.values() if each.kind is kinds.KEYWORD_ONLY]
        assert given == options.split(), name


def test_dtypes_survive_a_comparison_with_anything() -> None:
    for other in (None, 3, "float32", float, np.float32, np.dtype("float32"), object()):
        assert (xp.float32 == other) is False
        assert xp.float32 != other
        assert (other == xp.float32) is False
    assert xp.zeros(1).dtype == xp.float32
    assert {xp.float32: 1}[xp.zeros(1).dtype] == 1
    assert None not in (xp.float32, xp.int8)


def test_arrays_and_dtypes_are_mlx_s_own() -> None:
    assert type(xp.asarray([1, 2])) is mx.array
    assert type(xp.float64) is mx.Dtype


PROMOTIONS = {
    ("int8", "uint8"): "int16", ("int16", "uint16"): "int32", ("int32", "uint32"): "int64",
    ("uint8", "uint64"): "uint64",
    ("float32", "float64"): "float64", ("float32", "complex64"): "complex64", ("int8", "int64"): "int64",
}  # fmt: skip


def test_promotion() -> None:
    for (left, right), want in PROMOTIONS.items():
        for a, b in ((left, right), (right, left)):
            a, b = getattr(xp, a), getattr(xp, b)
            assert xp.result_type(a, b) == getattr(xp, want)
            assert xp.add(xp.ones(2, dtype=a), xp.ones(2, dtype=b)).dtype == getattr(xp, want)
    assert xp.add(xp.ones(2, dtype=xp.uint8), 1).dtype == xp.uint8
    assert xp.add(1.5, xp.ones(2, dtype=xp.float64)).dtype == xp.float64
    assert xp.where(xp.asarray([True]), 1, xp.ones(1, dtype=xp.int64)).dtype == xp.int64


@pytest.mark.parametrize(
    ("left", "right", "says"),
    [("uint64", "int8", "no integer dtype holds both"), ("float64", "complex64", "complex128")],
)
def test_dtypes_that_nothing_holds_together_are_refused(left: str, right: str, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        xp.multiply(xp.ones(1, dtype=getattr(xp, left)), xp.ones(1, dtype=getattr(xp, right)))


def test_asarray_keeps_the_dtype_and_every_bit() -> None:
    """MLX itself makes float32 of a NumPy array in float64, and refuses integers from 2**63 on."""
    host = np.random.default_rng(0).normal(size=5)
    assert np.array_equal(np.array(xp.asarray(host)), host)
    assert xp.asarray(host).dtype == xp.float64
    assert xp.asarray(2**63).dtype == xp.uint64
    assert int(xp.asarray([2**64 - 1])[0]) == 2**64 - 1
    assert xp.asarray([1, 2**40]).dtype == xp.int64
    assert xp.asarray([1, 2.5]).dtype == xp.float32
    assert xp.full(2, 2**63 + 1).tolist() == [2**63 + 1] * 2
    with pytest.raises(TypeError, match="complex128"):
        xp.asarray(np.zeros(2, dtype=complex))
    with pytest.raises(ValueError, match="without a copy"):
        xp.asarray([1.0], copy=False)
    source = xp.asarray([1.0, 2.0])
    copied = xp.asarray(source, copy=True)
    copied[0] = 9.0
    assert source.tolist() == [1.0, 2.0]


def test_arange_counts_from_its_start() -> None:
    """MLX adds steps up: 4e-3 off at a million in float32."""
    got = np.array(xp.arange(0.0, 1.0, 1e-6, dtype=xp.float32), dtype=np.float64)
    assert np.abs(got - np.arange(1_000_000) * 1e-6).max() < 2e-7
    assert xp.arange(2**64 - 3, 2**64 - 1, dtype=xp.uint64).tolist() == [2**64 - 3, 2**64 - 2]
    assert xp.arange(3, -3, -2).tolist() == [3, 1, -1]
    assert xp.linspace(0, 1, 5, endpoint=False).tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


VALUES = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -2.0, 3.5, -2.5, 1e10, 1e-10, 700.0, -700.0, np.inf, -np.inf, np.nan]
NAMES_IN_NUMPY = {"acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan",
    "atanh": "arctanh", "atan2": "arctan2", "bitwise_invert": "invert", "pow": "power"}  # fmt: skip
NOT_OF_FLOATS = {"bitwise_invert", "logical_not", "conj", "real", "imag"}
# The standard differs from NumPy: -5.0 // inf is -0 there and not -1, inf // 5.0 is inf and not NaN.
NOT_AS_NUMPY = {"floor_divide"}


def same(got: Any, want: Any, tolerance: float) -> Any:
    """Equal to a relative tolerance, NaN, infinities and the signs of zeros exactly."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype
    if want.dtype == bool:
        return got == want
    with np.errstate(all="ignore"):
        close = np.abs(got - want) <= tolerance * np.abs(want)
    exact = (got == want) & (np.signbit(got) == np.signbit(want))
    return np.where(np.isnan(want), np.isnan(got), np.where((want == 0) | np.isinf(want), exact, close))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [each for each in ELEMENTWISE_ONE if each not in NOT_OF_FLOATS])
def test_special_values_of_one(name: str, dtype: str) -> None:
    x = np.array(VALUES, dtype=dtype)
    with np.errstate(all="ignore"):
        want = getattr(np, NAMES_IN_NUMPY.get(name, name))(x)
    got = getattr(xp, name)(xp.asarray(x))
    fine = same(np.array(got), want, 1e-6 if dtype == "float32" else 1e-14)
    assert fine.all(), (x[~fine], np.array(got)[~fine], want[~fine])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "name",
    [each for each in ELEMENTWISE_TWO if not each.startswith(("bitwise", "logical")) and each not in NOT_AS_NUMPY],
)
def test_special_values_of_two(name: str, dtype: str) -> None:
    x, y = np.array(list(itertools.product(VALUES, VALUES)), dtype=dtype).T
    with np.errstate(all="ignore"):
        want = getattr(np, NAMES_IN_NUMPY.get(name, name))(x, y)
    got = getattr(xp, name)(xp.asarray(x), xp.asarray(y))
    fine = same(np.array(got), want, 1e-6 if dtype == "float32" else 1e-14)
    assert fine.all(), (x[~fine], y[~fine], np.array(got)[~fine], want[~fine])


def test_floor_divide() -> None:
    x = xp.asarray([7.0, -7.0, 0.7, 1.0, -5.0, np.inf, 1.0, -1.0], dtype=xp.float64)
    y = xp.asarray([2.0, 2.0, 0.1, 0.1, np.inf, 2.0, 0.0, 0.0], dtype=xp.float64)
    want = [3.0, -4.0, 0.7 // 0.1, 1.0 // 0.1, -0.0, np.inf, np.inf, -np.inf]
    assert same(np.array(xp.floor_divide(x, y)), np.array(want), 0.0).all()


def test_integer_division_never_ends_the_process() -> None:
    """MLX divides as the processor does, which stops at the smallest integer over -1."""
    for dtype in (xp.int32, xp.int64):
        smallest = xp.iinfo(dtype).min
        x = xp.asarray([smallest, 7, -7, 7], dtype=dtype)
        y = xp.asarray([-1, 2, 2, -1], dtype=dtype)
        assert xp.floor_divide(x, y).tolist() == [smallest, 3, -4, -7]
        assert xp.remainder(x, y).tolist() == [0, 1, 1, 0]


def test_complex_functions() -> None:
    z = np.array([1 + 2j, -0.3 + 1e-4j, 1e-5 - 1e-5j, 0j, -2 - 3j], dtype=np.complex64)
    for name in ("exp", "expm1", "log", "sqrt", "sin", "tanh", "square", "sign", "conj", "round", "reciprocal"):
        with np.errstate(all="ignore"):
            want = getattr(np, name)(z)
        got = np.array(getattr(xp, name)(xp.asarray(z)))
        finite = np.isfinite(want)
        np.testing.assert_allclose(got[finite], want[finite], rtol=3e-6, atol=1e-9, err_msg=name)
    gradient = mx.grad(lambda x: xp.sum(xp.abs(xp.expm1(xp.multiply(x, 1 + 0.5j)))))(xp.asarray([0.7, 0.2]))
    at = np.array([0.7, 0.2])
    step = 1e-6
    size = lambda x: np.abs(np.expm1(x * (1 + 0.5j)))  # noqa: E731
    np.testing.assert_allclose(np.array(gradient), (size(at + step) - size(at - step)) / (2 * step), rtol=1e-4)


def test_what_is_missing_in_mlx() -> None:
    x = xp.asarray([[3, 0, 1], [0, 3, 1]])
    assert [each.tolist() for each in xp.nonzero(x)] == [[0, 0, 1, 1], [0, 2, 1, 2]]
    found = xp.unique_all(x)
    assert found.values.tolist() == [0, 1, 3]
    assert found.indices.tolist() == [1, 2, 0]
    assert found.inverse_indices.tolist() == [[2, 0, 1], [0, 2, 1]]
    assert found.counts.tolist() == [2, 2, 2]
    assert xp.unique_values(xp.asarray([np.nan, 1.0, np.nan])).shape == (3,)
    assert xp.repeat(xp.asarray([1, 2, 3]), xp.asarray([0, 2, 1])).tolist() == [2, 2, 3]
    assert xp.argsort(xp.asarray([1, 2, 2, 0]), descending=True).tolist() == [1, 2, 0, 3]
    assert xp.searchsorted(
        xp.asarray([3, 1, 2]), xp.asarray([2]), side="right", sorter=xp.asarray([1, 2, 0])
    ).tolist() == [2]
    assert xp.matmul(xp.asarray([[1, 2]]), xp.asarray([[3], [2**30]])).tolist() == [[3 + 2**31 - 2**32]]
    assert xp.argmax(x, axis=1).dtype == xp.int32


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_linear_algebra(dtype: str) -> None:
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-12}
    draw = np.random.default_rng(3)
    a, b = draw.normal(size=(2, 5, 3)).astype(dtype), draw.normal(size=(2, 3, 3)).astype(dtype)
    spd = (b @ b.swapaxes(-1, -2) + 3 * np.eye(3)).astype(dtype)
    x, y, s = xp.asarray(a), xp.asarray(b), xp.asarray(spd)
    q, r = xp.linalg.qr(x, mode="complete")
    assert q.shape == (2, 5, 5)
    u, values, vh = xp.linalg.svd(x, full_matrices=False)
    pairs = [
        (xp.matmul(q, r), a),
        (xp.matmul(u * values[:, None, :], vh), a),
        (xp.linalg.pinv(x), np.linalg.pinv(a)),
        (xp.linalg.det(y), np.linalg.det(b)),
        (xp.linalg.solve(y, xp.asarray(a[0, :3])), np.linalg.solve(b, np.broadcast_to(a[0, :3], (2, 3, 3)))),
        (xp.linalg.cholesky(s), np.linalg.cholesky(spd)),
        (xp.linalg.eigvalsh(s), np.linalg.eigvalsh(spd)),
        (xp.linalg.matrix_power(y, -3), np.linalg.matrix_power(b, -3)),
        (xp.linalg.matrix_norm(x, ord=1), np.linalg.norm(a, ord=1, axis=(-2, -1))),
        (xp.linalg.vector_norm(x, ord=3, axis=1), np.linalg.norm(a, ord=3, axis=1)),
        (xp.linalg.cross(x, x[:, :1]), np.cross(a, a[:, :1])),
        (xp.tensordot(x, y, axes=([0, 2], [0, 1])), np.tensordot(a, b, axes=([0, 2], [0, 1]))),
    ]
    for got, want in pairs:
        np.testing.assert_allclose(np.array(got), want, **tolerance)
    assert xp.linalg.matrix_rank(xp.ones((4, 3))).tolist() == 1


def test_shapes_of_stacks_shifts_and_empty_matrices() -> None:
    """A determinant of MLX loses axes of length 1; a shift by the width of a dtype leaves its bits."""
    x = xp.ones((1, 2, 1, 1), dtype=xp.float64)
    assert xp.linalg.det(x).shape == xp.linalg.slogdet(x).logabsdet.shape == (1, 2)
    assert xp.linalg.solve(xp.zeros((0, 0), dtype=xp.float64), xp.zeros((0, 2), dtype=xp.float64)).dtype == xp.float64
    assert xp.bitwise_left_shift(xp.asarray([1, 1]), xp.asarray([32, 31])).tolist() == [0, -(2**31)]
    assert xp.bitwise_right_shift(xp.asarray([-8, 8]), xp.asarray([40, 40])).tolist() == [-1, 0]
    with pytest.raises(ValueError, match="lengths differ"):
        xp.vecdot(xp.ones((2, 3)), xp.ones((2, 1)))


def test_complex_linear_algebra_by_numpy() -> None:
    draw = np.random.default_rng(4)
    a = (draw.normal(size=(3, 3)) + 1j * draw.normal(size=(3, 3))).astype(np.complex64)
    z = xp.asarray(a)
    np.testing.assert_allclose(np.array(xp.linalg.inv(z)), np.linalg.inv(a), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.array(xp.linalg.det(z)), np.linalg.det(a), rtol=1e-4)
    assert xp.linalg.det(z).shape == xp.linalg.slogdet(z).sign.shape == ()
    q, r = xp.linalg.qr(z)
    np.testing.assert_allclose(np.array(xp.matmul(q, r)), a, rtol=1e-4, atol=1e-5)


def test_fourier_transforms() -> None:
    x = np.random.default_rng(5).normal(size=(4, 6)).astype(np.float32)
    for name in ("fft", "rfft", "ihfft", "fftn", "rfftn"):
        for norm in ("backward", "ortho", "forward"):
            want = getattr(np.fft, name)(x, norm=norm)
            np.testing.assert_allclose(np.array(getattr(xp.fft, name)(xp.asarray(x), norm=norm)), want, atol=2e-5)
    half = np.fft.rfft(x).astype(np.complex64)
    np.testing.assert_allclose(np.array(xp.fft.hfft(xp.asarray(half), n=6)), np.fft.hfft(half, n=6), atol=1e-4)
    assert xp.fft.fftfreq(5, d=0.5).tolist() == pytest.approx(np.fft.fftfreq(5, 0.5).tolist())
    with pytest.raises(TypeError, match="single precision"):
        xp.fft.fft(xp.asarray(x, dtype=xp.float64))


def test_float64_on_a_gpu_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is needed for that: only the question whether one would run the operation is answered yes."""
    from portgnn_mlx.array_api import dtypes, info

    monkeypatch.setattr(dtypes, "on_gpu", lambda device=None: True)
    monkeypatch.setattr(info, "on_gpu", lambda device=None: True)
    for make in (
        lambda: xp.zeros(2, dtype=xp.float64),
        lambda: xp.asarray(np.zeros(2)),
        lambda: xp.astype(xp.ones(2), xp.float64),
        lambda: xp.arange(3, dtype=xp.float64),
    ):
        with pytest.raises(ValueError, match="float64 is on MLX's CPU device alone"):
            make()
    assert "float64" not in xp.__array_namespace_info__().dtypes()
    assert xp.zeros(2).dtype == xp.float32


def test_what_the_namespace_says_of_itself() -> None:
    info = xp.__array_namespace_info__()
    assert info.default_device() == mx.Device(mx.cpu)
    assert set(info.dtypes(kind="real floating")) == {"float32", "float64"}
    assert info.default_dtypes()["indexing"] == xp.int32
    assert info.capabilities()["boolean indexing"] is False
    assert xp.zeros(2, device="cpu").shape == xp.zeros(2, device=mx.cpu).shape == (2,)
    with pytest.raises(ValueError, match="no device 'tpu'"):
        xp.zeros(2, device="tpu")


def test_functions_stay_lazy() -> None:
    """A function that evaluated would meet what cannot be evaluated: an array inside a compiled function."""
    lazy = [*ELEMENTWISE_ONE, "sum", "prod", "max", "mean", "std", "sort", "argsort", "argmax", "flip"]

    def all_of(x: Any) -> list[Any]:
        made = [getattr(xp, name)(x) for name in lazy if name not in ("bitwise_invert", "logical_not")]
        return [
            *made,
            xp.logaddexp(x, x),
            xp.hypot(x, x),
            xp.linalg.inv(x),
            xp.linalg.qr(x)[0],
            xp.cumulative_sum(x, axis=0),
        ]

    for dtype in (xp.float32, xp.float64):
        mx.eval(mx.compile(all_of)(xp.eye(3, dtype=dtype) + 1.0))
