"""Charts as inline SVG: their text and axes take the page's colour, and each line a CSS variable of its own.

A chart is drawn for a width in CSS pixels at which its text has a readable size; pages scale it a little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from portgnn._markup import E

COLOURS = ("#0072b2", "#d55e00", "#00805f", "#a8478a", "#946200", "#555555")
"""After M. Okabe and K. Ito, "Color universal design", 2008, darkened to stand 3:1 off white."""
DASHES = ("", "7 4", "2 3", "9 3 2 3", "5 2", "1 2")
MOST_POINTS = 400
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 26, 40
BAR_STEP = 36
BOX_STEP = 52


@dataclass(frozen=True)
class Series:
    """A line. points: (x, y), both finite. slot: which colour and dash it has. mark: a point to ring."""

    name: str
    points: Sequence[tuple[float, float]]
    slot: int = 0
    mark: tuple[float, float] | None = None


@dataclass(frozen=True)
class Box:
    """Quartiles with whiskers, and all that they are of. note: behind the label."""

    label: str
    low: float
    q1: float
    median: float
    q3: float
    high: float
    points: Sequence[float]
    note: str = ""
    slot: int = 0


@dataclass(frozen=True)
class Bar:
    """A bar from the axis to `value`, with an error bar from `low` to `high`."""

    label: str
    value: float
    low: float
    high: float
    text: str
    slot: int = 0


def colour(slot: int) -> str:
    return f"var(--s{slot % len(COLOURS)},{COLOURS[slot % len(COLOURS)]})"


def line_chart(
    lines: Sequence[Series],
    title: str,
    x_label: str,
    y_label: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    dots: bool = False,
    level: tuple[float, str] | None = None,
    noisy: bool = False,
    width: int = 360,
    height: int = 250,
) -> Element:
    """Lines on common axes. dots: mark each point. level: a horizontal dotted line and what it is.
    noisy: lines that jump from point to point, thin and whole, since dashes would not show in them; where x leaves
        out a whole number, they have a gap."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points] + ([level[0]] if level else [])
    across = _Axis(xs, log_x, LEFT, width - RIGHT, pad=0.03 if dots else 0.0)
    up = _Axis(ys, log_y, height - BOTTOM, TOP, pad=0.05)
    parts: list[Element] = [_text(title, LEFT, 14, weight="600")]
    parts += _grid(across, up, f"{x_label} (dotted: {level[1]})" if level else x_label, y_label, width, height)
    if level:
        at = f"{up(level[0]):.1f}"
        parts.append(_line(LEFT, at, width - RIGHT, at, stroke="currentColor", stroke_dasharray="1 3"))
    for number, line in enumerate(lines):
        points = line.points if noisy else _thinned(line.points)
        places = [(f"{across(x):.1f}", f"{up(y):.1f}") for x, y in points]
        look = {"fill": "none", "style": f"stroke:{colour(line.slot)}", "stroke_linejoin": "round"}
        if noisy:
            # A step of no length and a round end make a dot of a point that stands alone.
            starts = [not n or points[n][0] - points[n - 1][0] > 1 for n in range(len(points))]
            path = "".join(f"M{x},{y}h0" if new else f"L{x},{y}" for (x, y), new in zip(places, starts, strict=True))
            parts.append(E("path", d=path, stroke_width=1.4, stroke_linecap="round", **look))
        else:
            # The first is wide and later ones thin and dashed: equal curves lie on each other, and all must show.
            wide = 3.2 if number == 0 and len(lines) > 1 else 1.8
            corners = " ".join(f"{x},{y}" for x, y in places)
            parts.append(E("polyline", points=corners, stroke_width=wide, stroke_dasharray=_dash(line.slot), **look))
        for x, y in points if dots else []:
            spot = f"fill:{colour(line.slot)}"
            parts.append(E("circle", cx=f"{across(x):.1f}", cy=f"{up(y):.1f}", r=3, style=spot))
        if line.mark:
            x, y = line.mark
            ring = f"stroke:{colour(line.slot)}"
            centre = {"cx": f"{across(x):.1f}", "cy": f"{up(y):.1f}"}
            parts.append(E("circle", r=4.5, fill="none", stroke_width=1.6, style=ring, **centre))
    return _svg(width, height, f"{title}: {y_label} against {x_label}", parts)


def bar_chart(bars: Sequence[Bar], title: str, x_label: str, *, width: int) -> Element:
    """Horizontal bars on a logarithmic axis, each below its label, which so has room on a phone, too.

    title: for those who hear the page; the chart does not show it.
    """
    height = BAR_STEP * len(bars) + 46
    values = [v for bar in bars for v in (bar.low, bar.value, bar.high)]
    lowest = min(values) / 1.6
    axis = _Axis([lowest, *values], True, 6, width - 64, pad=0.0)
    bottom = height - 40
    parts = []
    for tick in axis.ticks:
        x = f"{axis(tick):.1f}"
        parts.append(_line(x, 0, x, bottom, stroke="currentColor", stroke_opacity=0.15))
        parts.append(_text(tick_text(tick), float(x), bottom + 15, anchor="middle", size=11))
    parts.append(_text(x_label, 6, height - 8, size=12))
    fits = (width - 12) / 6.2
    for number, bar in enumerate(bars):
        y = 2 + BAR_STEP * number
        label = bar.label if len(bar.label) <= fits else bar.label[: int(fits) - 1] + "…"
        start, end = axis(lowest), axis(bar.value)
        parts.append(_text(label, 6, y + 10, size=12))
        parts.append(
            E(
                "rect",
                x=f"{start:.1f}",
                y=y + 15,
                width=f"{max(end - start, 1):.1f}",
                height=13,
                rx=2,
                style=f"fill:{colour(bar.slot)}",
                class_="bar",
            )
        )
        low, high, middle = f"{axis(bar.low):.1f}", f"{axis(bar.high):.1f}", y + 21.5
        whisker = {"stroke": "currentColor", "stroke_width": 1.4}
        parts.append(_line(low, middle, high, middle, class_="error", **whisker))
        parts += [_line(x, middle - 4, x, middle + 4, **whisker) for x in (low, high)]
        parts.append(_text(bar.text, max(end, float(high)) + 6, middle + 4, size=12))
    return _svg(width, height, f"{title}: {x_label}", parts)


def box_chart(boxes: Sequence[Box], title: str, x_label: str, *, width: int) -> Element:
    """Horizontal boxes on a common axis, each below its label, with a dot for every value.

    title: for those who hear the page; the chart does not show it.
    """
    height = BOX_STEP * len(boxes) + 46
    axis = _Axis([v for box in boxes for v in (box.low, box.high, *box.points)], False, 10, width - 10, pad=0.03)
    bottom = height - 40
    parts = []
    for tick in axis.ticks:
        x = f"{axis(tick):.1f}"
        parts.append(_line(x, 0, x, bottom, stroke="currentColor", stroke_opacity=0.15))
        parts.append(_text(tick_text(tick), float(x), bottom + 15, anchor="middle", size=11))
    parts.append(_text(x_label, 6, height - 8, size=12))
    fits = (width - 12) / 6.2
    for number, box in enumerate(boxes):
        said = f"{box.label}  {box.note}"
        y = 2 + BOX_STEP * number
        parts.append(_text(said if len(said) <= fits else said[: int(fits) - 1] + "…", 6, y + 10, size=12))
        parts += _box(box, axis, y + 24)
    return _svg(width, height, f"{title}: {x_label}", parts)


def _box(box: Box, axis: _Axis, middle: float) -> list[Element]:
    low, q1, median, q3, high = (axis(value) for value in (box.low, box.q1, box.median, box.q3, box.high))
    whisker = {"stroke": "currentColor", "stroke_width": 1.4}
    parts = [
        _line(f"{a:.1f}", middle, f"{b:.1f}", middle, class_="error", **whisker) for a, b in ((low, q1), (q3, high))
    ]
    parts += [_line(f"{x:.1f}", middle - 4, f"{x:.1f}", middle + 4, **whisker) for x in (low, high)]
    look = f"stroke:{colour(box.slot)};fill:{colour(box.slot)}"
    size = {"y": middle - 8, "width": f"{max(q3 - q1, 1):.1f}", "height": 16, "rx": 2}
    parts.append(E("rect", x=f"{q1:.1f}", style=look, fill_opacity=0.25, stroke_width=1.4, **size))
    parts.append(
        _line(f"{median:.1f}", middle - 8, f"{median:.1f}", middle + 8, stroke="currentColor", stroke_width=2.4)
    )
    for value in box.points:
        spot = f"fill:{colour(box.slot)}"
        parts.append(E("circle", cx=f"{axis(value):.1f}", cy=middle + 15, r=2, style=spot, fill_opacity=0.7))
    return parts


def swatch(slot: int) -> Element:
    """A piece of a line, for a legend."""
    line = _line(1, 5, 27, 5, stroke_width=2.6, stroke_dasharray=_dash(slot), style=f"stroke:{colour(slot)}")
    return E("svg", line, width=28, height=10, viewBox="0 0 28 10", aria_hidden="true")


def tick_text(value: float) -> str:
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:,.10g}"
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def ticks(low: float, high: float, log: bool, most: int = 6) -> list[float]:
    """Round numbers inside [low, high], at most about `most` of them."""
    if not log:
        rough = (high - low) / most or 1.0
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * f for f in (1, 2, 5, 10) if power * f >= rough * 0.999)
        first = math.ceil(low / step - 1e-9)
        return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first >= 2:
        stride = math.ceil((last - first + 1) / most)
        return [float(f"1e{power}") for power in range(first, last + 1, stride)]
    every = [f * 10.0**p for p in range(first - 1, last + 1) for f in (1, 2, 5)]
    inside = [float(f"{v:.6g}") for v in every if low * 0.999 <= v <= high * 1.001]
    return inside if len(inside) > 1 else ticks(low, high, log=False)


class _Axis:
    """Data to pixels, and where the ticks are."""

    def __init__(self, values: Sequence[float], log: bool, start: float, end: float, pad: float) -> None:
        low, high = min(values, default=1.0), max(values, default=1.0)
        if log:
            low, high = math.log10(low), math.log10(high)
        if high - low < 1e-12 * max(abs(high), abs(low), 1e-300):
            around = 0.5 if log else (abs(low) * 0.5 or 0.5)
            low, high = low - around, high + around
        room = (high - low) * pad
        self.low, self.high, self.start, self.end = low - room, high + room, start, end
        if log:  # a power of ten beyond these is no float
            self.low, self.high = max(self.low, -307.0), min(self.high, 308.0)
        self.scale: Callable[[float], float] = math.log10 if log else float
        low, high = (10.0**self.low, 10.0**self.high) if log else (self.low, self.high)
        self.ticks = ticks(low, high, log)

    def __call__(self, value: float) -> float:
        return self.start + (self.scale(value) - self.low) / (self.high - self.low) * (self.end - self.start)


def _grid(across: _Axis, up: _Axis, x_label: str, y_label: str, width: int, height: int) -> list[Element]:
    parts = []
    for tick in up.ticks:
        y = f"{up(tick):.1f}"
        parts.append(_line(LEFT, y, width - RIGHT, y, stroke="currentColor", stroke_opacity=0.15))
        parts.append(_text(tick_text(tick), LEFT - 6, float(y) + 4, anchor="end", size=11))
    for tick in across.ticks:
        x = f"{across(tick):.1f}"
        parts.append(_line(x, height - BOTTOM, x, height - BOTTOM + 4, stroke="currentColor", stroke_opacity=0.5))
        parts.append(_text(tick_text(tick), float(x), height - BOTTOM + 16, anchor="middle", size=11))
    floor = height - BOTTOM
    parts.append(_line(LEFT, floor, width - RIGHT, floor, stroke="currentColor", stroke_opacity=0.5))
    parts.append(_text(x_label, (LEFT + width - RIGHT) / 2, height - 6, anchor="middle", size=12))
    middle = (TOP + floor) / 2
    turned = _text(y_label, 12, middle, anchor="middle", size=12)
    turned.set("transform", f"rotate(-90 12 {middle:.1f})")
    return [*parts, turned]


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    stride = max(1, math.ceil(len(points) / MOST_POINTS))
    kept = list(points[::stride])
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def _dash(slot: int) -> str | None:
    return DASHES[slot % len(DASHES)] or None


def _line(x1: object, y1: object, x2: object, y2: object, **more: object) -> Element:
    return E("line", x1=x1, y1=y1, x2=x2, y2=y2, **more)


def _text(
    content: str, x: float, y: float, *, anchor: str | None = None, size: int = 13, weight: str | None = None
) -> Element:
    return E("text", content, x=f"{x:.1f}", y=f"{y:.1f}", fill="currentColor", font_size=size, text_anchor=anchor,
             font_weight=weight)  # fmt: skip


def _svg(width: int, height: int, label: str, parts: Sequence[Element]) -> Element:
    # No namespace: inside HTML there is none to give. The width bounds how far a page may scale it up.
    style = f"width:100%;max-width:{width * 1.25:.0f}px;height:auto"
    named = {"role": "img", "aria_label": label, "class_": "chart", "font_family": "system-ui, sans-serif"}
    return E("svg", *parts, viewBox=f"0 0 {width} {height}", style=style, **named)
