"""A CSR product for MLX's GPUs: one body of source for Metal and CUDA, where only how a thread finds itself differs.

A thread sums VECTOR neighbouring columns of one row. Where a product is too small to fill the GPU, SPLIT threads share
that work and add up with shuffles: one thread that walks a row alone waits for memory at each step. Rows of more than
LONG_ROW stored values are cut into pieces, which a second launch adds up.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import mlx.core as mx
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

LONG_ROW = 512
THREADS = 256
FILLS_A_GPU = 2**18
"""Threads from which on more of them gain nothing."""

_HEADER = """
template <typename T, int N> struct alignas(sizeof(T) * N) Pack { T at[N]; };
"""
_READ = """
template <int N, typename T> FUNCTION Pack<T, N> packed(const SPACE T* x, size_t at) {
    return ((const SPACE Pack<T, N>*)x)[at];
}
"""

# sizes: rows, columns, longest row that is summed here. `thread_number` comes from the device's own preamble.
_BODY = """
    const unsigned int lanes = sizes[1] / VECTOR;
    const unsigned int part = thread_number % SPLIT;
    const unsigned int row = thread_number / SPLIT / lanes;
    const unsigned int lane = thread_number / SPLIT % lanes;
    const bool inside = row < (unsigned int)sizes[0];
    const int first = inside ? starts[row] : 0;
    const int last = inside ? ends[row] : 0;
    const bool mine = inside && last - first <= sizes[2];
    float total[VECTOR];
    for (int c = 0; c < VECTOR; ++c) total[c] = 0.0f;
    if (mine) {
        #pragma unroll 4
        for (int e = first + (int)part; e < last; e += SPLIT) {
            const size_t source = INDEXED ? (size_t)indices[e] : (size_t)e;
            const float weight = INDEXED ? (float)values[e] : 1.0f;
            const Pack<T, VECTOR> found = packed<VECTOR>(x, source * lanes + lane);
            for (int c = 0; c < VECTOR; ++c) total[c] += weight * (float)found.at[c];
        }
    }
    // All threads of a warp take part: a shuffle must not wait for one that has left.
    for (int distance = SPLIT / 2; distance > 0; distance /= 2) {
        for (int c = 0; c < VECTOR; ++c) total[c] += SHUFFLE(total[c], distance);
    }
    if (mine && part == 0) {
        Pack<T, VECTOR> sum;
        for (int c = 0; c < VECTOR; ++c) sum.at[c] = (T)total[c];
        ((SPACE Pack<T, VECTOR>*)out)[(size_t)row * lanes + lane] = sum;
    }
"""

_INPUTS = ["starts", "ends", "indices", "values", "x", "sizes"]


def device_kernel(
    name: str, inputs: list[str], outputs: list[str], source: str, header: str = "", reads: str = ""
) -> Any:
    """A kernel for this machine's GPU.

    In its source, `thread_number` is the thread's number, SPACE the name of the GPU's memory, and SHUFFLE(value,
    distance) the value of the thread whose number differs in that bit. reads: functions (FUNCTION marks them) that
    read an input through a pointer of another type. MLX passes inputs of fewer than eight elements in Metal's constant
    space, to which no pointer of the device's may point, so that Metal has them for both.
    """
    make: Any
    spaces: tuple[str, ...]
    if mx.metal.is_available():
        make, space, number = mx.fast.metal_kernel, "device", "thread_position_in_grid.x"
        shuffle, function, spaces = "simd_shuffle_xor(", "inline", ("device", "constant")
    else:
        make, space, number = mx.fast.cuda_kernel, "", "blockIdx.x * blockDim.x + threadIdx.x"
        shuffle, function, spaces = "__shfl_xor_sync(0xffffffffu, ", "__device__ inline", ("",)
    header += "".join(reads.replace("FUNCTION", function).replace("SPACE", each) for each in spaces)
    # Not `thread`, which is a word of Metal.
    source = f"const unsigned int thread_number = {number};" + source
    source = source.replace("SPACE", space).replace("SHUFFLE(", shuffle)
    return make(name=name, input_names=inputs, output_names=outputs, header=header, source=source)


@cache
def _kernel() -> Any:
    return device_kernel("portgnn_spmm", _INPUTS, ["out"], _BODY, _HEADER, _READ)


class RowSums:
    """How the rows of one CSR pattern are shared among threads: made once, from host arrays."""

    def __init__(self, indptr: NDArray[Any]) -> None:
        self.rows = len(indptr) - 1
        starts, ends = indptr[:-1].astype(np.int32), indptr[1:].astype(np.int32)
        self.starts, self.ends = mx.array(starts), mx.array(ends)
        lengths = ends - starts
        self.longest = int(lengths.max(initial=0))
        long = np.flatnonzero(lengths > LONG_ROW).astype(np.int32)
        self.long = mx.array(long) if len(long) else None
        if len(long):
            pieces = -(-lengths[long] // LONG_ROW)
            bounds = np.cumsum(pieces).astype(np.int32)
            within = np.arange(bounds[-1]) - np.repeat(bounds - pieces, pieces)
            begin = (np.repeat(starts[long], pieces) + within * LONG_ROW).astype(np.int32)
            self.pieces = mx.array(begin), mx.array(np.minimum(begin + LONG_ROW, np.repeat(ends[long], pieces)))
            self.sums = mx.array((bounds - pieces).astype(np.int32)), mx.array(bounds)

    def product(self, indices: mx.array, values: mx.array, x: mx.array) -> mx.array:
        """The matrix [rows, n] with these column indices and values, times x [n, k]."""
        out = _launch(self.starts, self.ends, indices, values, x, LONG_ROW, True, min(self.longest, LONG_ROW))
        if self.long is not None:
            partial = _launch(*self.pieces, indices, values, x, LONG_ROW, True, LONG_ROW)
            out[self.long] = _launch(*self.sums, indices, values, partial, 2**31 - 1, False, 1)
        return out


def _launch(
    starts: mx.array,
    ends: mx.array,
    indices: mx.array,
    values: mx.array,
    x: mx.array,
    longest: int,
    indexed: bool,
    steps: int,
) -> mx.array:
    """longest: rows with more stored values are left out. steps: what the longest of the others has."""
    rows, columns = starts.shape[0], x.shape[1]
    if not rows * columns:  # a GPU takes no grid without threads
        return mx.zeros((rows, columns), x.dtype)
    vector = next(width for width in (4, 2, 1) if columns % width == 0)
    lanes = columns // vector
    split = 1
    while split < 32 and 4 * split < steps and 2 * split * rows * lanes <= FILLS_A_GPU:
        split *= 2
    result: mx.array = _kernel()(
        inputs=[starts, ends, indices, values, x, mx.array([rows, columns, longest], mx.int32)],
        template=[("T", x.dtype), ("VECTOR", vector), ("INDEXED", indexed), ("SPLIT", split)],
        grid=(rows * lanes * split, 1, 1),
        threadgroup=(THREADS, 1, 1),
        output_shapes=[(rows, columns)],
        output_dtypes=[x.dtype],
    )[0]
    return result


def right_or_warned(what: str, instead: str, check: Callable[[], bool]) -> bool:
    """Whether a kernel computes as it should on this machine's GPU; warns where it does not."""
    try:
        if check():
            return True
        problem = "computes wrong numbers"
    # A compiler or driver can fail in any way, and nobody's training may break on a kernel.
    except Exception as error:
        problem = f"does not run ({error})"
    warnings.warn(f"portgnn's {what} kernel {problem} on this GPU; {instead} is used", stacklevel=3)
    return False


@cache
def kernel_is_right() -> bool:
    """Whether the sparse product's kernel can be used here; warns once where it cannot."""

    def check() -> bool:
        generator = np.random.default_rng(0)
        matrix = sp.random_array((40, 2000), density=0.02, format="csr", rng=generator) + sp.csr_array(
            (generator.random(1500), (np.full(1500, 7), np.arange(1500))), shape=(40, 2000)
        )
        x = generator.standard_normal((2000, 6))
        indices, values = mx.array(matrix.indices.astype(np.int32)), mx.array(matrix.data, mx.float32)
        product = RowSums(matrix.indptr).product(indices, values, mx.array(x, mx.float32))
        return bool(np.allclose(np.array(product), matrix @ x, rtol=1e-4, atol=1e-3))

    return right_or_warned("sparse", "a slower product", check)
