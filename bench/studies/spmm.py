"""One large sparse product on every backend and device, beside cuSPARSE, a plain Triton kernel and a copy.

    python bench/studies/spmm.py --rows 1000000 --stored 25 --columns 64 --devices cuda,gpu --json OUT

Each product is compared with SciPy's in float64 on sampled rows first; a wrong one is reported and not timed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from portgnn.benchmark.timing import summary
from portgnn.registry import available_backends, backend_class
from portgnn.results.environment import machine

SAMPLED = 2000
TOLERANCE = 1e-4


def random_matrix(rows: int, stored: int, seed: int = 0) -> sp.csr_array:
    """Square, about `stored` values a row at uniformly random columns, float32."""
    generator = np.random.default_rng(seed)
    row = np.sort(generator.integers(0, rows, rows * stored))
    column = generator.integers(0, rows, rows * stored, dtype=np.int32)
    matrix = sp.csr_array((generator.random(rows * stored, dtype=np.float32), (row, column)), shape=(rows, rows))
    matrix.sum_duplicates()
    return matrix


class Timer:
    """Verifies and times products of one matrix with one dense x."""

    def __init__(self, matrix: sp.csr_array, x: np.ndarray, repeats: int) -> None:
        generator = np.random.default_rng(1)
        self.rows = np.unique(generator.integers(0, matrix.shape[0], SAMPLED))
        self.expected = matrix[self.rows].astype(np.float64) @ x.astype(np.float64)
        self.repeats = repeats
        self.bytes = matrix.nnz * (x.shape[1] * 4 + 8) + matrix.shape[0] * (x.shape[1] * 4 + 4)
        self.results: list[dict[str, Any]] = []

    def add(
        self, name: str, product: Callable[[], Any], to_numpy: Callable[[Any], Any], finish: Callable[..., None]
    ) -> None:
        try:
            self.results.append({"name": name} | self._measure(product, to_numpy, finish))
        except Exception as error:  # one contender's fault must not hide the others
            self.results.append({"name": name, "failed": str(error)[:300]})
        print(json.dumps(self.results[-1]), flush=True)

    def _measure(self, product: Any, to_numpy: Any, finish: Any) -> dict[str, Any]:
        found = to_numpy(product())[self.rows]
        error = float(np.abs(found - self.expected).max() / np.abs(self.expected).max())
        if not error <= TOLERANCE:
            return {"wrong": True, "max_error": error}
        times = []
        for _ in range(self.repeats):
            finish()
            clock = time.perf_counter()
            outs = [product() for _ in range(5)]
            finish(*outs)
            times.append((time.perf_counter() - clock) * 1e3 / 5)
        median = summary(times[1:])["median"]
        return {"max_error": error, "ms": summary(times[1:]), "gathered_TB_s": self.bytes / median / 1e9}


def cuda_yardsticks(timer: Timer, matrix: sp.csr_array, x: np.ndarray) -> None:
    """cuSPARSE through torch, with both index widths, the plain Triton kernel, and a copy's bandwidth."""
    try:
        import torch
    except ImportError:
        return
    if not torch.cuda.is_available():
        return

    def finish(*_: Any) -> None:
        torch.cuda.synchronize()

    dense = torch.tensor(x, device="cuda")
    for width in (torch.int64, torch.int32):
        parts = [torch.tensor(part, device="cuda").to(width) for part in (matrix.indptr, matrix.indices)]
        values = torch.tensor(matrix.data, device="cuda")
        csr = torch.sparse_csr_tensor(*parts, values, matrix.shape)
        timer.add(f"torch CSR (cuSPARSE), {width}", lambda csr=csr: csr @ dense, lambda y: y.cpu().numpy(), finish)
    from bench.studies.triton_rows import product

    timer.add("plain Triton rows", lambda: product(*parts, values, dense), lambda y: y.cpu().numpy(), finish)
    source = torch.empty(2**28, device="cuda")
    target = torch.empty_like(source)
    times = []
    for _ in range(10):
        finish()
        clock = time.perf_counter()
        for _ in range(5):
            target.copy_(source)
        finish()
        times.append((time.perf_counter() - clock) / 5)
    timer.results.append({"name": "copy", "TB_s": 2 * 4 * 2**28 / float(np.median(times)) / 1e12})
    print(json.dumps(timer.results[-1]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--stored", type=int, default=25, help="stored values a row")
    parser.add_argument("--columns", type=int, default=64)
    parser.add_argument("--devices", default="", help="only these devices, for example cuda,gpu")
    parser.add_argument("--backends", default="", help="only these backends")
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    matrix = random_matrix(options.rows, options.stored)
    x = np.random.default_rng(2).standard_normal((options.rows, options.columns)).astype(np.float32)
    timer = Timer(matrix, x, options.repeats)
    for name, devices in available_backends().items():
        for device in devices:
            if options.devices and device not in options.devices.split(","):
                continue
            if options.backends and name not in options.backends.split(","):
                continue
            backend = backend_class(name)(device, "float32")
            handle, dense = backend.csr(matrix), backend.asarray(x)
            timer.add(
                f"portgnn {name} {device}",
                lambda b=backend, h=handle, d=dense: b.spmm(h, d),
                backend.to_numpy,
                backend.synchronize,
            )
            del handle, dense
    cuda_yardsticks(timer, matrix, x)
    shape = {"rows": options.rows, "stored": int(matrix.nnz), "columns": options.columns}
    if options.json:
        options.json.write_text(json.dumps({"matrix": shape, "machine": machine(), "results": timer.results}, indent=1))


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
