"""What every program under test looks like to the clock: portgnn's backends and the peers alike."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from portgnn.benchmark.graphs import BenchGraph


@dataclass(frozen=True)
class Recipe:
    """What is trained. The names and meanings are those of `portgnn.presets.Config`."""

    name: str
    layers: int
    hidden: int
    input_dropout: float
    dropout: float
    bias: str
    normalize_features: bool
    l2: float
    weight_decay: float
    learning_rate: float
    epochs: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def dimensions(self, graph: BenchGraph) -> tuple[int, ...]:
        return (int(graph.features.shape[1]), *(self.hidden,) * (self.layers - 1), graph.classes)


class Unsupported(Exception):
    """This contender cannot do what the case asks for; the message says why."""


class Program(Protocol):
    """One prepared training run. `train` and `evaluate` return when the work is done, not when it is queued."""

    options: dict[str, Any]
    """Exactly what runs, for the record: whatever differs from the recipe is said here."""

    def reset(self, seed: int) -> None:
        """Fresh parameters and optimizer state."""

    def train(self, epochs: int) -> None:
        """That many training steps, and nothing else."""

    def evaluate(self) -> None:
        """One validation: loss and accuracy on the validation split, without dropout."""

    def test_accuracy(self) -> float:
        """Accuracy of the present parameters on the test split, without dropout."""


class Contender(Protocol):
    """A module that builds programs."""

    def environment(self) -> dict[str, Any]:
        """Versions and settings. Raises ImportError where what is needed is not installed."""

    def devices(self) -> tuple[str, ...]:
        """Devices it can use here, the fastest first."""

    def build(self, graph: BenchGraph, recipe: Recipe, device: str, options: dict[str, object]) -> Program:
        """Raises Unsupported where it cannot."""


THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
RECORDED_PREFIXES = ("OMP_", "MKL_", "OPENBLAS_", "KMP_", "GOMP_", "XLA_", "JAX_", "MLX_", "TORCH_", "CUDA_", "KERAS_")
# OpenBLAS picks its kernels by these where they are set; forced values were seen to slow NumPy's products.
DROPPED_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def process_facts() -> dict[str, object]:
    """Interpreter, cores and the variables that change how fast a worker runs."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "python": platform.python_version(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "variables": {k: v for k, v in sorted(os.environ.items()) if k.startswith(RECORDED_PREFIXES)},
    }


def peak_memory_bytes() -> int:
    """The most memory that this process ever held resident."""
    try:
        # Not ru_maxrss: on Linux it survives exec, so a worker would report its parent's peak.
        with open("/proc/self/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
