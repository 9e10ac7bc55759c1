"""The Metal kernels of the MLX adapter, as the text that MLX would compile: read by Metal's rules and run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

mx = pytest.importorskip("mlx.core")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "backends"))

import host_compiler  # noqa: E402
from metal import MetalError, metal, problems  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "metal-kernels.json"
# Each compiles a text of its own. All others: python tools/metal_kernels.py
DRAWN = ("rows split in 8", "long rows", "small features", "no column", "Adam of one parameter")
DRAWN_FAULTS = (
    "a variable named thread", "a shuffle of CUDA", "a sum in double", "four parameters a launch",
    "a thread that leaves before the shuffle",
)  # fmt: skip
needs_compiler = pytest.mark.skipif(not host_compiler.has_compiler(), reason="g++ compiles what is run here")


@pytest.fixture(scope="module")
def kernels(tool: Callable[[str], ModuleType]) -> ModuleType:
    return tool("metal_kernels")


@needs_compiler
@pytest.mark.parametrize("shapes", DRAWN)
def test_a_class_of_shapes_is_right(shapes: str, kernels: ModuleType) -> None:
    assert kernels.run(shapes) is None


@needs_compiler
@pytest.mark.parametrize("fault", DRAWN_FAULTS)
def test_a_planted_fault_is_seen(fault: str, kernels: ModuleType) -> None:
    with kernels.FAULTS[fault].planted() as met:
        assert kernels.run(kernels.FAULTS[fault].shapes) is not None
    assert met


def test_the_committed_results_are_of_all_classes_and_faults(kernels: ModuleType) -> None:
    document = json.loads(RESULTS.read_text())
    assert list(document["classes"]) == list(kernels.CLASSES)
    assert all(each["right"] for each in document["classes"].values())
    assert list(document["faults"]) == list(kernels.FAULTS)
    assert all(document["faults"].values())
    assert len(document["faults"]) >= 10


def test_every_kernel_of_the_adapter_is_run() -> None:
    """A new `device_kernel` needs a class of shapes in tools/metal_kernels.py."""
    sources = (ROOT / "backends" / "portgnn_mlx").rglob("*.py")
    makers = sum(source.read_text().count("device_kernel(") for source in sources) - 1  # its own definition
    launched = {
        row["kernel"] for each in json.loads(RESULTS.read_text())["classes"].values() for row in each["launches"]
    }
    assert len({name.rstrip("0123456789_") for name in launched}) == makers


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("__syncthreads();", "a word of CUDA: __syncthreads"),
        ("float y = sqrtf(x[0]);", "a function of C that Metal lacks: sqrtf"),
        ("double y = 0;", "a type that Metal lacks: double"),
        ("atomic<uint64_t> y;", "an atomic of 64 bits: atomic<uint64_t"),
        ("auto y = (device atomic<float>*)x;", "an addition of floats in no fixed order: atomic<float>"),
        ("int device = 1;", "a word of Metal used as a name, or a space without a pointer: device"),
        ("throw 1;", "C++ that Metal leaves out: throw"),
    ],
)
def test_words_that_metal_refuses(line: str, problem: str) -> None:
    assert problems(f"[[kernel]] void f(const device float* x [[buffer(0)]]) {{ {line} }}") == [problem]
    assert problems(f"[[kernel]] void f(const device float* x [[buffer(0)]]) {{ // {line}\n }}") == []


@needs_compiler
def test_threadgroups_meet_and_simdgroups_add() -> None:
    """What the simulation says of words that a kernel may use next: shared memory, barriers, sums of a simdgroup."""
    source = """
    threadgroup float part[8];
    const uint at = thread_position_in_grid.x;
    const float sum = simd_sum(x[at]);
    if (thread_index_in_simdgroup == 0) part[simdgroup_index_in_threadgroup] = sum;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float total = 0.0f;
    for (uint i = 0; i < threads_per_threadgroup.x / 32; ++i) total += part[i];
    out[at] = total;
    """
    x = np.arange(192, dtype=np.float32)
    with metal():
        sums = mx.fast.metal_kernel(name="sums", input_names=["x"], output_names=["out"], source=source)
        form = {"output_shapes": [(192,)], "output_dtypes": [mx.float32], "threadgroup": (96, 1, 1)}
        found = np.array(sums(inputs=[mx.array(x)], grid=(192, 1, 1), **form)[0])
        np.testing.assert_array_equal(found, np.repeat(x.reshape(2, 96).sum(1), 96))
        with pytest.raises(MetalError, match="outside of x"):
            sums(inputs=[mx.array(x[:100])], grid=(192, 1, 1), **form)
