"""The functions of the array API standard that networks, losses, optimizers and sets of graphs are written in.

`Backend.xp` of TensorFlow, whose own functions have other names (`reduce_sum`, `gather`) and take no mixed dtypes. It
does not claim to be the whole standard: there is no `__array_api_version__`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from portgnn_tensorflow.sums import summed, together

Axis = int | Sequence[int] | None

bool = tf.bool
int32, int64, float32, float64 = tf.int32, tf.int64, tf.float32, tf.float64
uint32 = tf.uint32
newaxis = None
pi = 3.141592653589793
inf, nan = float("inf"), float("nan")

exp, log, sqrt, tanh = tf.exp, tf.math.log, tf.sqrt, tf.tanh
expm1, log1p, sin, cos, sinh, cosh = tf.math.expm1, tf.math.log1p, tf.sin, tf.cos, tf.sinh, tf.cosh
ceil, floor, round, sign, square = tf.math.ceil, tf.floor, tf.round, tf.sign, tf.square
isnan, isinf, isfinite = tf.math.is_nan, tf.math.is_inf, tf.math.is_finite
negative, reciprocal = tf.negative, tf.math.reciprocal
logical_not, bitwise_invert = tf.logical_not, tf.bitwise.invert
zeros_like, ones_like = tf.zeros_like, tf.ones_like


def _pair(a: Any, b: Any) -> tuple[Any, Any]:
    """Python numbers become arrays of the other's dtype."""
    dtype = a.dtype if tf.is_tensor(a) else b.dtype
    return tf.convert_to_tensor(a, dtype), tf.convert_to_tensor(b, dtype)


def _as(value: Any, dtype: Any) -> Any:
    """A number as an array: `tf.cast` would round it to float32 first."""
    return tf.cast(value, dtype) if tf.is_tensor(value) else tf.constant(value, dtype)


def _of_two(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    return lambda x1, x2, /: function(*_pair(x1, x2))


add, subtract, multiply = (_of_two(lambda a, b, f=f: f(*together(a, b))) for f in (tf.add, tf.subtract, tf.multiply))
divide, pow, remainder = _of_two(tf.divide), _of_two(tf.pow), _of_two(tf.math.floormod)
floor_divide = _of_two(tf.math.floordiv)
equal, not_equal = _of_two(tf.equal), _of_two(tf.not_equal)
less, less_equal = _of_two(tf.less), _of_two(tf.less_equal)
greater, greater_equal = _of_two(tf.greater), _of_two(tf.greater_equal)
logical_and, logical_or, logical_xor = _of_two(tf.logical_and), _of_two(tf.logical_or), _of_two(tf.math.logical_xor)
bitwise_and, bitwise_or = _of_two(tf.bitwise.bitwise_and), _of_two(tf.bitwise.bitwise_or)
bitwise_xor = _of_two(tf.bitwise.bitwise_xor)
bitwise_left_shift, bitwise_right_shift = _of_two(tf.bitwise.left_shift), _of_two(tf.bitwise.right_shift)


def _sharing(pick: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """The larger or smaller of two, where equal values share the gradient evenly (docs/gradients.md)."""

    @tf.custom_gradient
    def picked(a: Any, b: Any) -> Any:
        value = pick(a, b)

        def pull(grad: Any) -> tuple[Any, Any]:
            of_a, of_b = tf.cast(a == value, grad.dtype), tf.cast(b == value, grad.dtype)
            share = grad / tf.maximum(of_a + of_b, 1)
            return share * of_a, share * of_b

        return value, pull

    def call(x1: Any, x2: Any, /) -> Any:
        a, b = _pair(x1, x2)
        if not a.dtype.is_floating:
            return pick(a, b)
        shape = tf.broadcast_static_shape(a.shape, b.shape)
        return picked(tf.broadcast_to(a, shape), tf.broadcast_to(b, shape))

    return call


maximum, minimum = _sharing(tf.maximum), _sharing(tf.minimum)


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    if min is not None:
        x = tf.where(x < min, _as(min, x.dtype), x)
    return x if max is None else tf.where(x > max, _as(max, x.dtype), x)


def abs(x: Any, /) -> Any:
    return tf.abs(x)


def where(condition: Any, x1: Any, x2: Any, /) -> Any:
    return tf.where(condition, *_pair(x1, x2))


def sum(x: Any, /, *, axis: Axis = None, keepdims: Any = False, dtype: Any = None) -> Any:
    """The standard's sum; small integers are added as int64."""
    if dtype is not None:
        x = tf.cast(x, dtype)
    elif x.dtype == tf.bool or x.dtype.is_integer:
        x = tf.cast(x, tf.int64)
    return summed(x, axis, keepdims)


def mean(x: Any, /, *, axis: Axis = None, keepdims: Any = False) -> Any:
    total = summed(x, axis, keepdims)
    return total / (math.prod(x.shape) / math.prod(total.shape))


def max(x: Any, /, *, axis: Axis = None, keepdims: Any = False) -> Any:
    return tf.reduce_max(x, axis=axis, keepdims=keepdims)


def min(x: Any, /, *, axis: Axis = None, keepdims: Any = False) -> Any:
    return tf.reduce_min(x, axis=axis, keepdims=keepdims)


def any(x: Any, /, *, axis: Axis = None, keepdims: Any = False) -> Any:
    return tf.reduce_any(tf.cast(x, tf.bool), axis=axis, keepdims=keepdims)


def all(x: Any, /, *, axis: Axis = None, keepdims: Any = False) -> Any:
    return tf.reduce_all(tf.cast(x, tf.bool), axis=axis, keepdims=keepdims)


def argmax(x: Any, /, *, axis: int | None = None, keepdims: Any = False) -> Any:
    """The first of equal values, int32."""
    found = tf.argmax(tf.reshape(x, [-1]) if axis is None else x, axis=axis or 0, output_type=tf.int32)
    return tf.expand_dims(found, axis or 0) if keepdims else found


def argmin(x: Any, /, *, axis: int | None = None, keepdims: Any = False) -> Any:
    """The first of equal values, int32."""
    return argmax(-x, axis=axis, keepdims=keepdims)


def var(x: Any, /, *, axis: Axis = None, correction: float = 0.0, keepdims: Any = False) -> Any:
    middle = mean(x, axis=axis, keepdims=True)
    total = summed(tf.square(x - middle), axis, keepdims)
    return total / (math.prod(x.shape) / math.prod(middle.shape) - correction)


def prod(x: Any, /, *, axis: Axis = None, keepdims: Any = False, dtype: Any = None) -> Any:
    if dtype is None and (x.dtype == tf.bool or x.dtype.is_integer):
        dtype = tf.int64
    return tf.reduce_prod(x if dtype is None else tf.cast(x, dtype), axis=axis, keepdims=keepdims)


def logaddexp(x1: Any, x2: Any, /) -> Any:
    """log(exp(a) + exp(b)) without overflow."""
    a, b = _pair(x1, x2)
    top, apart = maximum(a, b), tf.where(a == b, tf.zeros_like(a - b), a - b)
    return top + tf.math.log1p(tf.exp(-tf.abs(apart)))


def argsort(x: Any, /, *, axis: int = -1, descending: Any = False, stable: Any = True) -> Any:
    return tf.argsort(x, axis=axis, direction="DESCENDING" if descending else "ASCENDING", stable=stable)


def sort(x: Any, /, *, axis: int = -1, descending: Any = False, stable: Any = True) -> Any:
    return take_along_axis(x, argsort(tf.stop_gradient(x), axis=axis, descending=descending), axis=axis)


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    return tf.gather(x, indices, axis=0 if axis is None else axis)


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    last = len(x.shape) - 1
    order = [i for i in range(last + 1) if i != axis % (last + 1)] + [axis % (last + 1)]
    back = [order.index(i) for i in range(last + 1)]
    picked = tf.gather(tf.transpose(x, order), tf.transpose(indices, order), axis=last, batch_dims=last)
    return tf.transpose(picked, back)


def astype(x: Any, dtype: Any, /, *, copy: Any = True) -> Any:
    return tf.cast(x, dtype)


def asarray(x: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Any:
    return tf.convert_to_tensor(x) if dtype is None else tf.cast(tf.convert_to_tensor(x), dtype)


def zeros(shape: Any, *, dtype: Any = tf.float32, device: Any = None) -> Any:
    return tf.zeros(shape, dtype)


def ones(shape: Any, *, dtype: Any = tf.float32, device: Any = None) -> Any:
    return tf.ones(shape, dtype)


def full(shape: Any, value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    return tf.fill(shape, _as(value, dtype or tf.float32))


def full_like(x: Any, /, value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    return tf.fill(x.shape, _as(value, dtype or x.dtype))


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Any:
    return tf.range(*((0, start) if stop is None else (start, stop)), step, dtype=dtype or tf.int64)


def reshape(x: Any, /, shape: Any, *, copy: Any = None) -> Any:
    return tf.reshape(x, shape)


def permute_dims(x: Any, /, axes: Sequence[int]) -> Any:
    return tf.transpose(x, axes)


def matrix_transpose(x: Any, /) -> Any:
    return tf.linalg.matrix_transpose(x)


def expand_dims(x: Any, /, *, axis: int = 0) -> Any:
    return tf.expand_dims(x, axis)


def squeeze(x: Any, /, axis: Any) -> Any:
    return tf.squeeze(x, axis)


def concat(arrays: Sequence[Any], /, *, axis: int | None = 0) -> Any:
    return tf.concat([tf.reshape(x, [-1]) for x in arrays] if axis is None else list(arrays), axis or 0)


def stack(arrays: Sequence[Any], /, *, axis: int = 0) -> Any:
    return tf.stack(list(arrays), axis=axis)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    return tuple(tf.unstack(x, axis=axis))


def broadcast_to(x: Any, /, shape: Any) -> Any:
    return tf.broadcast_to(x, shape)


def flip(x: Any, /, *, axis: Axis = None) -> Any:
    axes = range(len(x.shape)) if axis is None else [axis] if isinstance(axis, int) else axis
    return tf.reverse(x, [i % len(x.shape) for i in axes])


def cumulative_sum(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: Any = False) -> Any:
    return tf.cumsum(x if dtype is None else tf.cast(x, dtype), axis=axis or 0)


def matmul(x1: Any, x2: Any, /) -> Any:
    return tf.matmul(x1, x2)


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    return tf.reduce_sum(x1 * x2, axis=axis)
