"""The devices that torch has here, by its interface for any accelerator: NVIDIA's and AMD's ("cuda"), Apple's, Intel's.

torch is built for one kind of accelerator, and says which. A module of that kind counts the devices.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

FALLBACK = "PYTORCH_ENABLE_MPS_FALLBACK"
KNOWN = {"cuda": ("float64", "float32", "bfloat16"), "cpu": ("float64", "float32", "bfloat16"), "mps": ("float32",)}
"""dtypes of devices that need not be asked: making an array there takes seconds, or is no proof (MPS has bfloat16, but
not all that a step in it calls)."""


def accelerators() -> tuple[torch.device, ...]:
    """The accelerators of this machine, by number."""
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None:
        return ()
    module = torch.get_device_module(accelerator.type)
    if not module.is_available():
        return ()
    return tuple(torch.device(accelerator.type, number) for number in range(module.device_count()))


def names() -> tuple[str, ...]:
    """As portgnn writes them: "cuda", "cuda:1", …, "cpu"."""
    return (*(f"{each.type}:{each.index}" if each.index else each.type for each in accelerators()), "cpu")


def dtypes(device: str) -> tuple[str, ...]:
    """The floating dtypes that a device holds and adds."""
    kind = torch.device(device).type
    return KNOWN[kind] if kind in KNOWN else tuple(name for name in KNOWN["cpu"] if _adds(device, name))


def _adds(device: str, dtype: str) -> bool:
    try:
        one = torch.ones(1, dtype=getattr(torch, dtype), device=device)
        return bool((one + one).item() == 2.0)
    except (RuntimeError, TypeError, NotImplementedError):
        return False


def facts() -> dict[str, Any]:
    """What `environment` says of the accelerator."""
    found = accelerators()
    if not found:
        return {}
    module = torch.get_device_module(found[0].type)
    said: dict[str, Any] = {"accelerator": found[0].type}
    if hasattr(module, "get_device_name"):
        said["gpu"] = module.get_device_name()
    said |= {name: of for name in ("cuda", "hip", "xpu") if (of := getattr(torch.version, name, None))}
    return said | ({"fallback": os.environ.get(FALLBACK, "0")} if found[0].type == "mps" else {})


def announce_fallback(device: torch.device) -> None:
    """Has torch name each operation that it computes on the CPU in place of a device; by itself it names the first."""
    if device.type == "mps" and os.environ.get(FALLBACK) == "1":
        torch.set_warn_always(True)


def troubles(machine: Mapping[str, Any]) -> tuple[str, ...]:
    """What is known to be wrong with this torch on a machine that `portgnn doctor` describes."""
    if "chip" not in machine:
        return ()
    release = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    said = []
    if (2, 7) <= release < (2, 14):
        said.append(
            f"torch {torch.__version__} on mps can multiply wrongly, by what was in memory before "
            "(pytorch/pytorch#193487, seen in 2.7 to 2.13): run portgnn verify first, and prefer a newer torch"
        )
    if release < (2, 14) and str(machine["chip"]).startswith(("Apple M1", "Apple M2")):
        said.append(
            f"torch {torch.__version__} on mps of an M1 or M2 multiplies wrongly where 32,767 numbers or more are "
            "summed, "
            "as in gradients of graphs with so many nodes (pytorch/pytorch#195163): take another device for them"
        )
    if str(machine.get("macos", "")).startswith(("26.0", "26.1", "26.2", "26.3")):
        said.append(
            f"macOS {machine['macos']} gives wrong products of expanded arrays on mps (pytorch/pytorch#180201): "
            "update macOS to 26.4"
        )
    if os.environ.get(FALLBACK) == "1":
        said.append(f"{FALLBACK}=1: what mps lacks runs on the CPU, slowly; each such operation is named on stderr")
    return tuple(said)
