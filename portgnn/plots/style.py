"""Colours that can be told apart by readers with any colour vision, each with a dash and a marker beside it."""

from __future__ import annotations

from typing import Any

from portgnn.text import printable

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""M. Okabe and K. Ito, "Color universal design", 2008; without their yellow, which white paper swallows."""
DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1.5, 2)), (0, (3, 1.5)), (0, (8, 2, 1, 2, 1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
OURS, PEER = COLOURS[0], "#9aa0a6"


def words(text: str) -> str:
    """Names out of files as a picture takes them: no control characters, and a dollar sign begins no formula."""
    return printable(text).replace("$", r"\$")


def line(slot: int, count: int = 1) -> dict[str, Any]:
    """How the line of a slot is drawn. The first of several is wide: equal curves lie on each other, and all must
    show."""
    width = 4.0 if slot == 0 and count > 1 else 1.5
    alpha = 0.45 if slot == 0 and count > 1 else 1.0
    return {
        "color": COLOURS[slot % len(COLOURS)],
        "linestyle": DASHES[slot % len(DASHES)],
        "linewidth": width,
        "alpha": alpha,
    }


def point(slot: int) -> dict[str, object]:
    """Colour and marker of a class; classes beyond the colours take the next marker."""
    return {
        "color": COLOURS[slot % len(COLOURS)],
        "marker": MARKERS[(slot + slot // len(COLOURS)) % len(MARKERS)],
    }
