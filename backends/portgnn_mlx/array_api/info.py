"""`__array_namespace_info__`: what this namespace has."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from portgnn_mlx.array_api import dtypes as dt
from portgnn_mlx.array_api.devices import Device, devices, on_gpu, placed


class Info:
    """The standard's inspection interface."""

    def capabilities(self) -> dict[str, Any]:
        """Arrays cannot be indexed by booleans: MLX refuses it. 10: what MLX's CUDA kernels take; others take more."""
        return {"boolean indexing": False, "data-dependent shapes": True, "max dimensions": 10}

    def default_device(self) -> mx.Device:
        return mx.default_device()

    def devices(self) -> list[mx.Device]:
        return devices()

    def default_dtypes(self, *, device: Device = None) -> dict[str, mx.Dtype]:
        placed(device)
        return {
            "real floating": dt.float32,
            "complex floating": dt.complex64,
            "integral": dt.int32,
            "indexing": dt.int32,
        }

    def dtypes(self, *, device: Device = None, kind: str | tuple[str, ...] | None = None) -> dict[str, mx.Dtype]:
        """Dtypes by name, of the kinds asked for. float64 is left out for a GPU."""
        gpu = on_gpu(placed(device))
        kinds: Any = ("bool", "numeric") if kind is None else kind
        return {
            name: dtype
            for name, dtype in dt.NAMES.items()
            if dt.isdtype(dtype, kinds) and not (gpu and dtype == dt.float64)
        }


def __array_namespace_info__() -> Info:
    """The inspection interface (array API standard 2024.12, "inspection")."""
    return Info()
