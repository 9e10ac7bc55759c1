"""The charts, as PNG: one bar a contender, and growth with the number of edges. portgnn.plots draws them."""

from __future__ import annotations

import importlib.util
from typing import Any


def require_matplotlib() -> str:
    """What to type where matplotlib is absent, else nothing."""
    if importlib.util.find_spec("matplotlib") is None:
        return 'charts need matplotlib. Install it with: pip install "portgnn[plot]"'
    return ""


def bars(run: dict[str, Any]) -> bytes:
    """The first group of a run, fastest at the top."""
    return _png("benchmark", run)


def growth(run: dict[str, Any]) -> bytes:
    """Time and peak memory of an epoch against stored edges."""
    return _png("growth", run)


def _png(kind: str, run: dict[str, Any]) -> bytes:
    from portgnn.plots import draw, image

    return image(draw(kind, runs=[run]), ".png")
