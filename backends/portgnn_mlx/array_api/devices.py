"""Devices. In MLX a device belongs to an operation and not to an array: memory is shared, and `device=` of a creation
function says where the array is made."""

from __future__ import annotations

from typing import TypeAlias

import mlx.core as mx

Device: TypeAlias = mx.Device | mx.DeviceType | str | None
"""A device, its type (`mx.cpu`, `mx.gpu`), "cpu", "gpu", or None for MLX's default."""

_TYPES = {"cpu": mx.cpu, "gpu": mx.gpu}


def placed(device: Device) -> mx.Device | None:
    """The device meant, None for the default. Raises ValueError for one that is not here."""
    if device is None or isinstance(device, mx.Device):
        found = device
    elif isinstance(device, mx.DeviceType):
        found = mx.Device(device)
    elif device in _TYPES:
        found = mx.Device(_TYPES[device])
    else:
        raise ValueError(f'no device {device!r}: MLX has "cpu" and "gpu"')
    if found is not None and not mx.is_available(found):
        raise ValueError(f"no {found} on this machine; it has {', '.join(map(str, devices()))}")
    return found


def devices() -> list[mx.Device]:
    """Devices on this machine."""
    types = (mx.cpu, mx.gpu) if mx.is_available(mx.gpu) else (mx.cpu,)
    return [mx.Device(each) for each in types]


def on_gpu(device: mx.Device | None = None) -> bool:
    """Whether an operation on the device (None: the default, which `mx.stream` changes) runs on a GPU."""
    return (mx.default_device() if device is None else device).type is mx.gpu


def linalg_stream() -> mx.Device | None:
    """Where factorisations run: MLX has them on the CPU alone."""
    return mx.Device(mx.cpu) if on_gpu() else None
