"""The Metal kernels of the MLX adapter on the CPU: every class of shapes, and planted faults that must be seen.

    python tools/metal_kernels.py [--json bench/results/metal-kernels.json] [--only NAME ...]

No Mac is needed: tests/backends/metal.py makes the text that MLX would compile, reads it by Metal's rules, and runs it
as C++ with simdgroups of 32. Each class compares with a statement in float64 on the host. Each planted fault changes
the text or the host's side of a launch, and must be refused by one of the rules, by the compiler, while it runs, or by
its numbers.

Exit status 1: a class is wrong, or a fault was not seen. Speed, and what Metal's compiler does otherwise than g++, are
seen on a Mac alone: docs/try-on-a-mac.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import scipy.sparse as sp

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "backends"))

from metal import MetalError, MetalKernel, metal

import portgnn
from portgnn.parts import Adam
from portgnn_mlx import MLXBackend, kernels, optim

EPS = {mx.float32: 2.0**-24, mx.bfloat16: 2.0**-8}


@contextmanager
def on_metal() -> Iterator[list[MetalKernel]]:
    """MLX with a Metal on the CPU, and portgnn's kernels made for it."""
    makers = (kernels._kernel, optim._kernel)
    try:
        with metal() as made:
            for maker in makers:
                maker.cache_clear()
            yield made
    finally:
        for maker in makers:
            maker.cache_clear()


def rows_of(*lengths: int, columns: int = 2000) -> sp.csr_array:
    """A matrix with so many stored values in each row."""
    draw = np.random.default_rng(sum(lengths))
    indices = [
        np.zeros(0, np.int64),
        *(np.sort(draw.choice(columns, size=length, replace=False)) for length in lengths),
    ]
    indptr = np.cumsum([0, *lengths])
    return sp.csr_array(
        (draw.standard_normal(indptr[-1]), np.concatenate(indices), indptr), shape=(len(lengths), columns)
    )


def product(matrix: sp.csr_array, width: int, dtype: mx.Dtype = mx.float32) -> None:
    """A product beside SciPy's in float64, within the bound of a sum in float32 and one rounding to dtype."""
    draw = np.random.default_rng(width)
    x = mx.array(draw.standard_normal((matrix.shape[1], width)), mx.float32).astype(dtype)
    values = mx.array(matrix.data, mx.float32)
    indices = mx.array(matrix.indices.astype(np.int32))
    found = kernels.RowSums(matrix.indptr).product(indices, values, x)
    stored = sp.csr_array((np.array(values, dtype=np.float64), matrix.indices, matrix.indptr), shape=matrix.shape)
    wide = np.array(x.astype(mx.float32), dtype=np.float64)
    steps = np.diff(matrix.indptr).max(initial=0) + 8
    bound = (abs(stored) @ abs(wide)) * steps * EPS[mx.float32] + abs(stored @ wide) * EPS[dtype] + 1e-30
    apart = np.abs(np.array(found.astype(mx.float32), dtype=np.float64) - stored @ wide) / bound
    assert apart.size == 0 or apart.max() <= 1, f"{apart.max():.3g} times the bound"
    assert found.dtype == dtype


def adam(*shapes: tuple[int, ...]) -> None:
    """Three steps of `KernelAdam` beside `Adam` in float64."""
    draw = np.random.default_rng(len(shapes))
    names = [f"p{i}" for i in range(len(shapes))]
    rates = (0.01, 0.9, 0.999, 1e-8, {"p0": 0.1, "p2": 0.01})
    kernel = optim.KernelAdam(partial(mx.zeros, dtype=mx.float32), mx.sqrt, *rates)
    plain = Adam(partial(np.zeros, dtype=np.float64), np.sqrt, *rates)
    hosts = {name: draw.standard_normal(shape).astype(np.float32) for name, shape in zip(names, shapes, strict=True)}
    ours: Any = {name: mx.array(value) for name, value in hosts.items()}
    theirs: Any = {name: value.astype(np.float64) for name, value in hosts.items()}
    state, reference = kernel.init(ours), plain.init(theirs)
    for _ in range(3):
        grads = {name: (draw.standard_normal(hosts[name].shape)).astype(np.float32) for name in names}
        ours, state = kernel.step(ours, {name: mx.array(value) for name, value in grads.items()}, state)
        theirs, reference = plain.step(theirs, grads, reference)
    for name, value in (theirs | reference).items():
        np.testing.assert_allclose(np.array((ours | state)[name]), value, rtol=3e-6, atol=1e-7, err_msg=name)


class _Kernels(MLXBackend):
    """The CPU device with the ways of a GPU, kernels among them."""

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        super().__init__(device, dtype, shared_memory=False)
        self._has_kernel, self._adam_has_kernel = kernels.kernel_is_right(), optim.kernel_is_right()


def training() -> None:
    """Three epochs of a small graph beside NumPy: products, their gradients, dropout of stored features, Adam."""
    graph = portgnn.load_graph("karate")
    kernels.kernel_is_right.cache_clear()
    optim.kernel_is_right.cache_clear()
    try:
        options: dict[str, Any] = {"epochs": 3, "preset": "kipf", "hidden": 8}
        here = portgnn.train(graph, backend=_Kernels("cpu", "float32"), **options)
        there = portgnn.train(graph, backend="numpy", dtype="float64", **options)
    finally:
        kernels.kernel_is_right.cache_clear()
        optim.kernel_is_right.cache_clear()
    np.testing.assert_allclose(here.history.train_loss, there.history.train_loss, rtol=1e-5)


SHORT = (3, 0, 1, 4, 0, 2, 4, 0)
CLASSES: dict[str, Callable[[], None]] = {
    "four columns a thread": lambda: product(rows_of(*SHORT), 8),
    "two columns a thread": lambda: product(rows_of(*SHORT), 6),
    "one column a thread": lambda: product(rows_of(*SHORT), 3),
    "rows split in 2": lambda: product(rows_of(9, 0, 3, 8, 12, 10), 4),
    "rows split in 8": lambda: product(rows_of(40, 0, 1, 33, 7, 40), 4),
    "rows split in 32": lambda: product(rows_of(400, 0, 1, 31, 32, 33, 310), 4),
    "rows at the limit": lambda: product(rows_of(512, 511, 0, 513), 2),
    "long rows": lambda: product(rows_of(1500, 0, 1024, 3, 1025, 600), 4),
    "long rows alone": lambda: product(rows_of(1100, 700), 1),
    "no stored value": lambda: product(rows_of(0, 0, 0), 4),
    "one row": lambda: product(rows_of(5), 5),
    "one stored value": lambda: product(rows_of(0, 1, 0), 4),
    "small features": lambda: product(rows_of(1, 0, 2, 1, columns=3), 2),
    "no column": lambda: product(rows_of(*SHORT), 0),
    "no row": lambda: product(rows_of(columns=5), 4),
    "many threadgroups": lambda: product(rows_of(*(SHORT * 40)), 16),
    "bfloat16": lambda: product(rows_of(9, 0, 3, 600, 12), 8, mx.bfloat16),
    "Adam of one parameter": lambda: adam((5, 3)),
    "Adam of three": lambda: adam((70, 9), (9,), (3, 3)),
    "Adam of seven": lambda: adam((70, 9), (9,), (9, 3), (3,), (1,), (257,), (2, 2)),
    "training": training,
}


@dataclass(frozen=True)
class Fault:
    """Replaces `old` by `new` in the text of a kernel, or, where `of` names a module, its attribute `old` by `new`."""

    old: str
    new: Any
    of: Any = None
    shapes: str = "four columns a thread"
    """The class that is tried first; each compiles texts of its own."""

    @contextmanager
    def planted(self) -> Iterator[list[str]]:
        """Gives a list that holds something once the fault was met."""
        met: list[str] = []
        if self.of is not None:
            before = getattr(self.of, self.old)
            setattr(self.of, self.old, self.new(before) if callable(self.new) else self.new)
            met.append(self.old)
            try:
                yield met
            finally:
                setattr(self.of, self.old, before)
            return

        def changed(text: str) -> str:
            if self.old in text:
                met.append(self.old)
            return text.replace(self.old, self.new)

        MetalKernel.changed = staticmethod(changed)
        try:
            yield met
        finally:
            MetalKernel.changed = staticmethod(lambda text: text)


def _overlapping(before: Any) -> Any:
    class Pieces(before):  # type: ignore[misc]
        def __init__(self, indptr: Any) -> None:
            super().__init__(indptr)
            if self.long is not None:
                begin, end = self.pieces
                self.pieces = begin, mx.minimum(end + 1, mx.max(end))

    return Pieces


ONE, SEVEN, SPLIT, LIMIT = "Adam of one parameter", "Adam of seven", "rows split in 8", "rows at the limit"

FAULTS: dict[str, Fault] = {
    "a variable named thread": Fault("thread_number", "thread"),
    "a small input read as the device's": Fault(
        "Pack<T, N> packed(const constant T* x", "Pack<T, N> packed(const device bool* x", shapes="small features"
    ),
    "a shuffle of CUDA": Fault("simd_shuffle_xor(", "__shfl_xor_sync(0xffffffffu, "),
    "a sum in double": Fault("float total[VECTOR];", "double total[VECTOR];"),
    "C's square root": Fault("metal::sqrt(", "sqrtf(", shapes=ONE),
    "an atomic of 64 bits": Fault("float total[VECTOR];", "float total[VECTOR]; device atomic_ulong* count = 0;"),
    "four parameters a launch": Fault("AT_ONCE", 4, optim, shapes=SEVEN),
    "columns of the next row": Fault("source * lanes + lane", "source * (lanes + 1) + lane"),
    "rows one too low": Fault("(size_t)row * lanes", "(size_t)(row + 1) * lanes"),
    "parts take all values": Fault("e += SPLIT", "e += 1", shapes=SPLIT),
    "parts begin together": Fault("first + (int)part", "first", shapes=SPLIT),
    "half of the shuffles": Fault("distance = SPLIT / 2", "distance = SPLIT / 4", shapes=SPLIT),
    "a thread that leaves before the shuffle": Fault(
        "    // All threads of a warp",
        "    if (first + (int)part >= last) return;\n    // All threads of a warp",
        shapes=SPLIT,
    ),
    "every part writes": Fault("mine && part == 0", "mine", shapes=SPLIT),
    "the wrong part writes": Fault("part == 0", "part == SPLIT", shapes=SPLIT),
    "rows at the limit left out": Fault("last - first <= sizes[2]", "last - first < sizes[2]", shapes=LIMIT),
    "sums not set to zero": Fault("total[c] = 0.0f;", "{}"),
    "weights left out": Fault("total[c] += weight * ", "total[c] += "),
    "weights of the pieces' sums": Fault("INDEXED ? (float)values[e] : 1.0f", "(float)values[e]", shapes=LIMIT),
    "pieces that overlap": Fault("RowSums", _overlapping, kernels, shapes=LIMIT),
    "sums kept in T": Fault("float total[VECTOR];", "T total[VECTOR];", shapes="bfloat16"),
    "moments of the wrong rate": Fault(
        "* rates[4];\n        const float second",
        "* rates[5];\n        const float second",
        shapes=ONE,
    ),
    "decay left out": Fault(" + decays[0] * param", "", shapes=ONE),
    "one correction for both": Fault("second / next2", "second / next1", shapes=ONE),
    "eps below the root": Fault("/ next2) + rates[3])", "/ next2 + rates[3]))", shapes=ONE),
    "parameters that overlap": Fault(
        "thread_number < (unsigned int)ends[0 + 1]",
        "thread_number <= (unsigned int)ends[0 + 1]",
        shapes=SEVEN,
    ),
    "every thread writes the correction": Fault("if (thread_number == 0)", "if (true)", shapes=ONE),
    "a thread too few": Fault(
        "thread_number >= (unsigned int)ends[0]",
        "thread_number > (unsigned int)ends[0]",
        shapes=ONE,
    ),
}


def run(name: str) -> str | None:
    """What is wrong with a class of shapes; None where nothing is."""
    with on_metal():
        try:
            CLASSES[name]()
        except MetalError as error:
            return f"refused: {error}"
        except (AssertionError, ValueError) as error:
            return f"numbers: {str(error).strip().splitlines()[0]}"
    return None


def seen(name: str) -> tuple[str, str] | None:
    """The first class of shapes that sees a fault, and what it says. Raises LookupError where none meets it."""
    anywhere = False
    for each in sorted(CLASSES, key=FAULTS[name].shapes.__ne__):
        with FAULTS[name].planted() as met:
            said = run(each)
        anywhere |= bool(met)
        if said is not None:
            return each, said
    if not anywhere:
        raise LookupError(f"no class of shapes meets the fault: {name}")
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--only", nargs="+", default=[*CLASSES, *FAULTS], metavar="NAME", help="classes and faults")
    only = parser.parse_args().only
    begin, wrong = time.monotonic(), 0
    document: dict[str, Any] = {"mlx": portgnn.get_backend("mlx").environment()["version"], "classes": {}, "faults": {}}
    for name in (name for name in CLASSES if name in only):
        with on_metal() as made:
            said = None
            try:
                CLASSES[name]()
            except (MetalError, AssertionError, ValueError) as error:
                said = str(error).strip()
            launches = [
                {"kernel": kernel.name, **{key: str(value) for key, value in launch["template"].items()},
                 "constant": [word for word, space in launch["spaces"].items() if space == "constant"]}
                for kernel in made
                for launch in kernel.launches
            ]  # fmt: skip
        document["classes"][name] = {"right": said is None, "launches": launches[:8], "count": len(launches)}
        wrong += said is not None
        print(f"{'right' if said is None else 'WRONG'}  {name}  {len(launches)} launches  {said or ''}", flush=True)
    for name in (name for name in FAULTS if name in only):
        found = seen(name)
        document["faults"][name] = {"seen by": found[0], "said": found[1]} if found else None
        wrong += found is None
        print(f"{'seen  ' if found else 'UNSEEN'}  {name}: {' / '.join(found) if found else ''}", flush=True)
    document["seconds"] = round(time.monotonic() - begin)
    if parser.parse_args().json:
        parser.parse_args().json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from bench.harness.ending import ended

    ended(main)
