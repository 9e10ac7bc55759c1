"""Loops compiled for this machine's processor, where LLVM is installed and there is enough work to pay for its start.

LLVM comes with llvmlite (the extra `llvm`), the compiler below numba. Its start and the first loops take as long as
some hundred steps on a small graph save, so work is counted until it has cost as much: a process with less to do does
not wait, and one with more loses as long once. Which loops were taken cannot be seen in the numbers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from itertools import product as pairs
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.parts import _loops, host_threads, in_threads

PAYS_AFTER = 400_000_000
"""Multiplications of sparse products that take SciPy as long as LLVM's start takes: 0.1 s, and 400 steps on Cora."""
WIDEST = 64
"""Columns that one pass over a matrix sums, in registers."""
TURNED = 40
"""Multiplications that take SciPy as long as it takes to transpose one stored value."""
SHARED = 1 << 22
"""Multiplications, or elements of a mask, from which on a loop is shared among threads; they take 50 µs to start."""

Loop = Callable[..., None]

_INTEGER, _OBJECT = ctypes.c_int64, ctypes.c_void_p
_REAL = {"f": ctypes.c_float, "d": ctypes.c_double}


class Work:
    """How many multiplications have been done, and so whether compiled loops are taken."""

    def __init__(self) -> None:
        self.done = 0
        self.ready = False  # whether loops are compiled
        self.refused = False

    def counts(self, multiplications: int) -> bool:
        """Adds to what has been done; whether compiled loops are to be taken."""
        if self.ready or self.refused:
            return self.ready
        self.done += multiplications
        if self.done < PAYS_AFTER:
            return False
        self.ready = usable()
        self.refused = not self.ready
        return self.ready


WORK = Work()


def described() -> str:
    """What computes products, dropout masks and Adam, in one line for people. Compiles nothing."""
    if not _has_llvm():
        return "the libraries' own; portgnn[llvm] would compile faster ones"
    if WORK.refused:
        return f"the libraries' own; llvmlite {version('llvmlite')} compiles none that work here"
    return f"compiled by llvmlite {version('llvmlite')} after {PAYS_AFTER:.0e} multiplications"


def may_compile() -> bool:
    """Whether loops may be compiled here, now or when there has been enough work."""
    return not WORK.refused and _has_llvm()


@cache
def _has_llvm() -> bool:
    return find_spec("llvmlite") is not None


@cache
def usable() -> bool:
    """Whether loops compile here and compute what they should."""
    try:
        matrix = np.arange(3, dtype=np.int32), np.array([1, 0], dtype=np.int32), np.array([2.0, 3.0], dtype=np.float32)
        x, total = np.arange(1.0, 7.0, dtype=np.float32).reshape(2, 3), np.empty((2, 3), dtype=np.float32)
        product("csr", matrix, x, total)
        return bool((total == [[8, 10, 12], [3, 6, 9]]).all())
    # Whatever is wrong with a compiler that came from elsewhere: there is another way to the same numbers.
    except Exception:
        return False


def product(kind: str, matrix: Sequence[NDArray[Any]], x: NDArray[Any], total: NDArray[Any], threads: int = 1) -> None:
    """total = A @ x for contiguous x and total of one dtype; of a "csc" matrix, total += A @ x.

    matrix: starts and places, int32, and weights.
    """
    starts, stride = matrix[0], x.shape[1]
    objects, real = (*map(id, matrix), id(x), id(total)), x.dtype.char
    if (
        threads == 1 and 0 < stride <= WIDEST
    ):  # the usual case, in which what is around the loop takes longer than the loop
        _product(kind, stride, real)(0, len(starts) - 1, stride, 0, *objects)
        return
    _shared_product(kind, starts, stride, real, objects, threads)


def product_at(
    addresses: Sequence[int], rows: int, stride: int, real: str, starts: Callable[[], NDArray[Any]], threads: int = 1
) -> None:
    """total = A @ x for a CSR matrix and arrays that are not NumPy's.

    addresses: where the numbers of starts and places, int32, of weights, x and total lie, the latter three of the dtype
    with NumPy's character `real` and contiguous. starts: gives those of the matrix; called where they are needed.
    """
    if threads == 1 and 0 < stride <= WIDEST:
        _product("csr", stride, real, False)(0, rows, stride, 0, *addresses)
    else:
        _shared_product("csr", starts(), stride, real, addresses, threads, False)


def product_loop(width: int, real: str) -> Loop:
    """What one thread of `product_at` calls of a matrix's rows: of first, last, width, 0 and the addresses."""
    return _product("csr", width, real, False)


def _shared_product(
    kind: str,
    starts: NDArray[Any],
    stride: int,
    real: str,
    objects: Sequence[int],
    threads: int,
    are_arrays: bool = True,
) -> None:
    lines, columns = [0, len(starts) - 1], [0, stride]
    if kind == "csr":
        lines = [0, *np.searchsorted(starts, np.linspace(0, starts[-1], threads + 1)[1:-1]).tolist(), lines[-1]]
    else:  # what its lines write to is apart by columns alone
        columns = _parts(stride, threads)
    shares = []
    for (first, last), (left, right) in pairs(pairwise(lines), pairwise(columns)):
        blocks = [(column, min(WIDEST, right - column)) for column in range(left, right, WIDEST)]
        loops = [(_product(kind, width, real, are_arrays), column) for column, width in blocks if width]
        shares.append([(loop, first, last, stride, column, *objects) for loop, column in loops])
    _call(shares)


def products(work: int, widths: Iterable[int], real: str) -> Callable[[Any, NDArray[Any]], NDArray[Any]] | None:
    """`multiply(matrix, x)`: matrix @ x for CSR and contiguous x of the dtype with NumPy's character `real`, x of one
    of the widths; by loops that are compiled now, so that threads may call it at once. None where that is not worth it,
    of so many multiplications, or not possible.
    """
    if not WORK.counts(work):
        return None
    for width in {min(width, WIDEST) for width in widths} | {width % WIDEST for width in widths} - {0}:
        _product("csr", width, real)

    def multiply(matrix: Any, x: NDArray[Any]) -> NDArray[Any]:
        if matrix.indices.dtype != np.int32:
            found: NDArray[Any] = matrix @ x
            return found
        total = np.empty((matrix.shape[0], x.shape[1]), dtype=x.dtype)
        product("csr", (matrix.indptr, matrix.indices, matrix.data), x, total)
        return total

    return multiply


def is_symmetric(starts: NDArray[Any], places: NDArray[Any], weights: NDArray[Any]) -> bool | None:
    """Whether a canonical CSR matrix [n, n] is its own transpose; None where no loop is taken to find that out."""
    is_fit = starts.dtype == places.dtype == np.int32 and weights.dtype.char in _REAL
    if not is_fit or not WORK.counts(TURNED * len(places)):
        return None
    answer = np.zeros(1, dtype=np.int32)
    cursors = starts[:-1].copy()
    _symmetric(weights.dtype.char)(len(cursors), *map(id, (starts, places, weights, cursors, answer)))
    return bool(answer[0])


def mask(
    out: NDArray[Any],
    numbers: NDArray[np.uint32] | None,
    key: tuple[int, int],
    threshold: int,
    scale: float,
    constants: tuple[int, ...],
    threads: int = 1,
) -> None:
    """Writes `portgnn.random.dropout_mask` into a contiguous array: of elements 0, 1, … or of contiguous numbers.

    constants: `portgnn.random.HASH`.
    """
    loop = _mask(numbers is not None, out.dtype.char, constants)
    given = (*key, threshold, scale, id(out)) if numbers is None else (*key, threshold, scale, id(out), id(numbers))
    if threads == 1:
        loop(0, out.size, *given)
    else:
        _call([[(loop, first, last, *given)] for first, last in pairwise(_parts(out.size, threads))])


def adam(rates: Sequence[float], arrays: Sequence[NDArray[Any]]) -> None:
    """A step in place; see `portgnn.parts._loops.adam`. arrays: contiguous and of one dtype."""
    _adam(arrays[0].dtype.char)(0, arrays[0].size, *rates, *map(id, arrays))


def threads_for(operations: int) -> int:
    """How many threads share so many multiplications."""
    return host_threads() if operations >= SHARED else 1


def _parts(count: int, parts: int) -> list[int]:
    """Where so many parts of a count begin, and the last one's end."""
    return [count * part // parts for part in range(parts + 1)]


def _call(shares: list[list[Any]]) -> None:
    """Calls the loops of all shares, each share in a thread."""

    def work(share: list[Any]) -> None:
        for loop, *arguments in share:
            loop(*arguments)

    in_threads([partial(work, share) for share in shares])


@cache
def _product(kind: str, width: int, real: str, of_arrays: bool = True) -> Loop:
    """of_arrays: whether it is given the addresses of NumPy's arrays, and not of their numbers."""
    offset = _offset() if of_arrays else None
    return _compiled(_loops.product(kind, width, real, offset), (*(_INTEGER,) * 4, *(_OBJECT,) * 5))


@cache
def _symmetric(real: str) -> Loop:
    return _compiled(_loops.symmetric(real, _offset()), (_INTEGER, *(_OBJECT,) * 5))


@cache
def _mask(numbered: bool, real: str, constants: tuple[int, ...]) -> Loop:
    types = (_INTEGER, _INTEGER, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_int32, _REAL[real])
    return _compiled(_loops.mask(numbered, real, constants, _offset()), (*types, *(_OBJECT,) * (1 + numbered)))


@cache
def _adam(real: str) -> Loop:
    types = (_INTEGER, _INTEGER, *(_REAL[real],) * len(_loops.RATES))
    return _compiled(_loops.adam(real, _offset()), (*types, *(_OBJECT,) * 4))


@cache
def _offset() -> int:
    """How far behind the address of an array's object that of its numbers stands, found by looking.

    Raises OSError where it is at no place that NumPy's C interface knows.
    """
    arrays = [np.empty(size) for size in (1, 2, 3)]
    for offset in (16, 24, 32):
        if all(_OBJECT.from_address(id(array) + offset).value == array.ctypes.data for array in arrays):
            return offset
    raise OSError("arrays are laid out in an unknown way")


@cache
def _processor() -> tuple[Any, Any]:
    """LLVM, and its target for this machine's processor."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    return llvm, target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3)


def _compiled(source: str, types: Sequence[Any]) -> Loop:
    """In a thread of its own: Ctrl-C comes to the first thread, and ended there in a `__del__` of LLVM's, which loses
    what it raises, or took the process with it.
    """
    found: list[Loop] = []
    in_threads([lambda: None, lambda: found.append(_built(source, types))])
    return found[0]


def _built(source: str, types: Sequence[Any]) -> Loop:
    llvm, processor = _processor()
    module = llvm.parse_assembly(source)
    module.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    passes = llvm.create_pass_builder(processor, tuning)
    passes.getModulePassManager().run(module, passes)
    engine = llvm.create_mcjit_compiler(module, processor)
    engine.finalize_object()
    _ENGINES.append(engine)  # who owns the code
    return ctypes.CFUNCTYPE(None, *types)(engine.get_function_address("loop"))


_ENGINES: list[Any] = []
