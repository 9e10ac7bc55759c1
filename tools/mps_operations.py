"""Which of torch's operations portgnn calls on a device like MPS, and whether the installed torch has them there.

    python tools/mps_operations.py [--json bench/results/mps-operations.json]

No Mac is needed: what is dispatched is recorded on the CPU, by an adapter that takes the ways that it takes on MPS
(edge lists in place of CSR, dropout bits hashed on the device, no recording), and looked up in the list of operations
that torch ships (torchgen's native_functions.yaml). An operation is there if it has a kernel for MPS or is composed of
others, which are recorded in its place. Arrays of float64, which MPS cannot hold, are recorded, too.

Exit status 1 names what is missing. What a kernel computes is seen on a Mac alone: docs/try-on-a-mac.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import portgnn
from portgnn.models import NETWORKS
from portgnn_torch import TorchBackend

ABSENT_DTYPES = (torch.float64, torch.complex128)
"""What MPS cannot hold."""

CONVERSION, HOST = "aten::_to_copy", "aten::lift_fresh"
"""The first may read such an array if it makes none: the host's, on its way to the device. The second is what
`torch.from_numpy` dispatches, whose array is the host's in any case."""

AVOIDED: dict[str, tuple[str, str]] = {
    "aten::segment_reduce": (
        "has kernels for CPU and CUDA alone",
        "scatter_reduce_ by amax, beside edge lists",
    ),
    "aten::_spdiags": ("has a kernel for the CPU alone", "matrices are put together by SciPy, on the host"),
    "aten::sparse_sampled_addmm": ("has kernels for CSR on CPU and CUDA alone", "gathers along edges, and index_add"),
}
"""Operations that a reader would expect here and that MPS lacks: why, and the form that avoids them. A test asks that
each is still missing and that none is called."""


@dataclass
class Seen:
    """What was dispatched. operations: by name with overload, the dtypes of their tensors. wide: those with float64."""

    operations: dict[str, set[str]] = field(default_factory=dict)
    wide: set[str] = field(default_factory=set)


class _Listener(TorchDispatchMode):
    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
        overload = func._schema.overload_name
        name = f"{func._schema.name}{'.' if overload else ''}{overload}"
        self._seen.operations.setdefault(name, set()).update(str(t.dtype).removeprefix("torch.") for t in tensors)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        on_host = name == HOST or (name == CONVERSION and not any(t.dtype in ABSENT_DTYPES for t in made))
        if not on_host and any(t.dtype in ABSENT_DTYPES for t in tensors):
            self._seen.wide.add(name)
        return result


@contextmanager
def listening() -> Iterator[Seen]:
    """What torch dispatches inside of the block, the backward pass included."""
    seen = Seen()
    with _Listener(seen):
        yield seen


def as_on_mps() -> TorchBackend:
    """The adapter on the CPU, on the ways that it takes on MPS."""
    backend = TorchBackend("cpu", "float32", csr=False)
    backend._on_host = False
    return backend


def graph(task: str = "classes") -> portgnn.Graph:
    """A small graph with every split, and targets of a task."""
    random = np.random.default_rng(0)
    nodes, edges = 24, random.integers(0, 24, (60, 2))
    features, labels = random.random((nodes, 5)), random.integers(0, 3, nodes)
    split = {"train": list(range(12)), "val": list(range(12, 18)), "test": list(range(18, 24))}
    more: dict[str, Any] = {}
    if task == "labels":
        more["targets"] = (random.random((nodes, 3)) < 0.5).astype(np.int64)
    elif task == "regression":
        more["targets"] = random.standard_normal((nodes, 2))
    return portgnn.Graph.from_edges(edges, features, labels if not more else None, **more, **split)


def works() -> dict[str, Callable[[TorchBackend], Any]]:
    """What is done, by name: each network, task, optimizer and option, whole and in batches; and predictions."""

    def train(task: str = "classes", **how: Any) -> Callable[[TorchBackend], Any]:
        def work(backend: TorchBackend) -> Any:
            trained = portgnn.train(graph(task), backend=backend, epochs=2, **how)
            if task != "link":
                portgnn.predict(trained, graph(task), backend=backend)
            return trained

        return work

    found = {f"network {name}": train(model=name) for name in NETWORKS}
    found |= {f"preset {name}": train(preset=name) for name in ("pyg", "article")}
    found |= {f"task {task}": train(task) for task in ("labels", "regression")}
    found["task link"] = lambda backend: portgnn.train(graph(), backend=backend, epochs=2, task="link")
    found |= {f"optimizer {name}": train(optimizer=name) for name in ("adam", "adamw", "sgd", "rmsprop")}
    found |= {f"norm {name}": train(norm=name, layers=3) for name in ("batch", "layer")}
    found["residual, jumping"] = train(residual="add", jumping="cat", layers=3)
    found["clipped"] = train(clip_norm=0.1)
    found["loader neighbor"] = train(loader="neighbor", fanout=[3, 3], batch_size=6)
    found["sage, max"] = train(model="sage", aggregator="max")
    return found


def declared() -> dict[str, dict[str, Any]]:
    """torch's own list, by name with overload."""
    import torchgen

    path = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native" / "native_functions.yaml"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    entries = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    return {f"aten::{entry['func'].partition('(')[0]}": entry for entry in entries}


def keys_of(entry: dict[str, Any], entries: dict[str, dict[str, Any]]) -> set[str]:
    """The dispatch keys that have a kernel; one without any is composed of other operations."""
    delegate = entry.get("structured_delegate")
    if delegate:
        return keys_of(entries[f"aten::{delegate}"], entries)
    if "dispatch" not in entry:
        return {"CompositeImplicitAutograd"}
    return {key.strip() for keys in entry["dispatch"] for key in keys.split(",")}


def missing(operations: Sequence[str]) -> dict[str, str]:
    """Operations without a kernel for MPS, and what they have in its place."""
    entries, found = declared(), {}
    for name in operations:
        if not name.startswith("aten::"):
            found[name] = "is none of torch's own"
            continue
        entry = entries.get(name)
        if entry is None:
            found[name] = "is not in torch's list"
            continue
        keys = keys_of(entry, entries)
        composed = any(key.startswith(("CompositeImplicit", "CompositeExplicit")) for key in keys)
        if "MPS" not in keys and not composed:
            found[name] = f"has kernels for {', '.join(sorted(keys))}"
    return found


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="mps_operations.py", description="torch's operations that MPS must have.")
    parser.add_argument("--json", type=Path, help="write what was found")
    given = parser.parse_args(arguments)
    whole, failed = Seen(), {}
    for name, work in works().items():
        with listening() as seen:
            try:
                work(as_on_mps())
            except Exception as error:
                failed[name] = f"{type(error).__name__}: {error}"
        for operation, dtypes in seen.operations.items():
            whole.operations.setdefault(operation, set()).update(dtypes)
        whole.wide |= seen.wide
    gaps = missing(sorted(whole.operations))
    document = {
        "format": "portgnn-mps-operations", "torch": torch.__version__, "works": len(works()), "failed": failed,
        "operations": {name: sorted(dtypes) for name, dtypes in sorted(whole.operations.items())},
        "missing": gaps, "float64": sorted(whole.wide), "avoided": {name: list(why) for name, why in AVOIDED.items()},
    }  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"{len(whole.operations)} operations in {len(works())} works; {len(gaps)} without a kernel for MPS; "
          f"{len(whole.wide)} with float64")  # fmt: skip
    for name, why in (gaps | dict.fromkeys(sorted(whole.wide), "an array of float64") | failed).items():
        print(f"{name}: {why}")
    return 1 if gaps or whole.wide or failed else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from bench.harness.ending import ended

    ended(main, sys.argv[1:])
