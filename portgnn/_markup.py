"""HTML and SVG as a tree: what is put into it as text comes out as text, whatever it holds."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, tostring

from portgnn.text import printable, shortened

LEFT = "text-align:left"

Child = Element | str | None | Iterable["Child"]


def E(tag: str, *children: Child, **attributes: object) -> Element:
    """An element. `class_` stands for class and `aria_label` for aria-label; None leaves an attribute out."""
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            made.set(name.rstrip("_").replace("_", "-"), printable(str(value), lines=True))
    for child in children:
        _append(made, child)
    return made


def _append(parent: Element, child: Child) -> None:
    if child is None:
        return
    if isinstance(child, Element):
        parent.append(child)
    elif isinstance(child, str):
        child = printable(child, lines=True)
        if len(parent):
            parent[-1].tail = (parent[-1].tail or "") + child
        else:
            parent.text = (parent.text or "") + child
    else:
        for one in child:
            _append(parent, one)


def render(element: Element) -> str:
    """The element as HTML, escaped."""
    return tostring(element, encoding="unicode", method="html")


def facts_table(facts: Iterable[tuple[str, str]]) -> Element:
    """A table of names and values, as a notebook shows it; long values are cut."""
    rows = [
        E("tr", E("th", name, scope="row", style=LEFT), E("td", shortened(value, 200), style=LEFT))
        for name, value in facts
    ]
    return E("table", E("tbody", *rows))
