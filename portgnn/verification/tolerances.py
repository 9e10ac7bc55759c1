"""How far each check may be off, as data: (check, dtype, device kind) -> tolerance, with the reason for a loose one.

Errors are as `portgnn.verification.measure` defines them: relative to the largest value or to the size of the
terms. The last row that matches counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Tolerance:
    check: str
    dtype: str
    device: str
    """Kind of device: "cpu", "gpu" or "*"."""
    value: float
    reason: str = ""


TOLERANCES = (
    Tolerance("*", "float64", "*", 1e-12),
    Tolerance("*", "float32", "cpu", 1e-5),
    Tolerance("*", "float32", "gpu", 1e-4, "other summation orders and intrinsics; a sixth of TF32's 3e-4 at most"),
    Tolerance("*", "bfloat16", "*", 3e-2, "bfloat16 stores 8 bits, 4e-3; a few operations follow one another"),
    Tolerance(
        "value_and_grad.finite-differences",
        "float64",
        "*",
        1e-6,
        "central differences with step 1e-5 are right to about 1e-9 themselves, less near a kink of relu",
    ),
    Tolerance(
        "trajectory.article.*",
        "bfloat16",
        "*",
        0.2,
        "features as they are, not normalised, through three layers: 9e-2 after 200 epochs, when the loss is small",
    ),
    Tolerance("xp.reductions*", "*", "*", 1.0, "share of a bound that grows with log n; 0.7 was seen at most"),
    Tolerance(
        "gradient.slope", "float64", "*", 1e-10, "differences of eighth order are right to some 1e-12 themselves"
    ),
    Tolerance("gradient.slope", "float32", "*", 1e-4, "of decompositions, which multiply rounding by their condition"),
    Tolerance("gradient.convention", "float64", "*", 1e-14, "exact but for the last digits"),
    Tolerance("gradient.convention", "float32", "*", 1e-6, "exact but for the last digits"),
    Tolerance(
        "adam.1100-steps",
        "float32",
        "*",
        1e-4,
        "a parameter is rounded at each step, 6e-8 of its size, and one gradient lets them all go one way: 6.6e-5",
    ),
    *(
        Tolerance(
            name,
            "float32",
            "cpu",
            1e-4,
            "Adam divides a gradient by its own size, so that rounding moves a nearly vanishing one: 5e-5 in 237 draws",
        )
        for name in ("compile.epochs", "fit", "batches")
    ),
    Tolerance(
        "xp.statistics", "bfloat16", "*", 0.1, "a product of 165 numbers, rounded after each: 7.8e-2 in 30 draws"
    ),
    Tolerance(
        "model.*",
        "bfloat16",
        "*",
        0.5,
        "features and parameters of size 1, not normalised, through 4 layers: 0.34",
    ),
    Tolerance(
        "model.*.epochs",
        "float32",
        "cpu",
        1e-4,
        "epochs of Adam, as those above: 8.4e-6 of attention was seen in a few draws",
    ),
    Tolerance("csr", "*", "*", 0.0, "exact or wrong"),
    Tolerance("xp.argmax", "*", "*", 0.0, "exact or wrong"),
    Tolerance("dropout.bits", "*", "*", 0.0, "the share of bits that differ: none may"),
    Tolerance("dropout.keys", "*", "*", 0.0, "the share of keys that differ: none may"),
    Tolerance("dropout.mean", "*", "*", 5.0, "standard deviations; a fair coin stays within 5"),
    Tolerance("dropout.correlation", "*", "*", 5.0, "standard deviations; independent bits stay within 5"),
    Tolerance("synchronize", "*", "*", 0.5, "share of the time: near 0 where it waits, near 1 where it does not"),
)


def device_kind(device: str) -> str:
    """ "cpu" or "gpu"."""
    return "cpu" if device.partition(":")[0] == "cpu" else "gpu"


def tolerance(check: str, dtype: str, device: str) -> Tolerance:
    """The row for a check. device: as the backend names it."""
    kind = device_kind(device)
    found = [
        row
        for row in TOLERANCES
        if fnmatchcase(check, row.check) and row.dtype in ("*", dtype) and row.device in ("*", kind)
    ]
    if not found:
        raise KeyError(f"no tolerance for {check} in {dtype} on {kind}")
    return found[-1]
