"""What the article that this project grew out of published: another's measurements, by another method."""

from __future__ import annotations

from dataclasses import dataclass

METHOD = (
    "published by another (Bilot 2023), by another method: an epoch with its validation, which took the training "
    "pass's logits; the clock stopped before queued work was done; no accuracy was published"
)


@dataclass(frozen=True)
class Published:
    """machine: as the article names it. on: framework or device there. ms: of an epoch with its validation."""

    machine: str
    on: str
    ms: float


PUBLISHED: tuple[Published, ...] = (
    Published("M1 Pro", "CPU", 45.58),
    Published("M1 Pro", "MPS", 21.10),
    Published("M1 Pro", "MLX", 9.02),
    Published("M2 Ultra", "CPU", 9.31),
    Published("M2 Ultra", "MPS", 7.19),
    Published("M2 Ultra", "MLX", 5.80),
    Published("M3 Max", "CPU", 7.07),
    Published("M3 Max", "MPS", 4.80),
    Published("M3 Max", "MLX", 4.72),
    Published("V100 PCIe", "CUDA", 3.83),
    Published("V100 NVLink", "CUDA", 3.51),
)
"""CPU, MPS and CUDA are PyTorch's there. Cora, three layers, dense features and adjacency."""


def by_machine() -> dict[str, str]:
    """Each machine's figures as one text."""
    found: dict[str, list[str]] = {}
    for each in PUBLISHED:
        found.setdefault(each.machine, []).append(f"{each.on} {each.ms:.2f}")
    return {machine: ", ".join(figures) for machine, figures in found.items()}
