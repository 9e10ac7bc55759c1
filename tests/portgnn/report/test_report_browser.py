"""The page in a real Chromium, without a network: charts, sorting, colours, keyboard, a phone's width.

PORTGNN_AXE=path/to/axe.min.js (npm's axe-core) runs its accessibility rules over the page as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from results import RESULTS, benchmark, growth, run, trained, verification

from portgnn.report import page
from portgnn.report.documents import read, recognise
from portgnn.report.printing import found_browser

sync_api = pytest.importorskip("playwright.sync_api", reason="the browser is driven with playwright")

CHROMIUM = found_browser()
AXE = os.environ.get("PORTGNN_AXE")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

DESK, PHONE = (1200, 900), (360, 740)
VISIBLE = "elements => elements.map(e => e.getBoundingClientRect()).filter(r => r.width > 100 && r.height > 60).length"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    wide = trained("float64").to_dict()
    documents = [recognise(one, f"{i}.json") for i, one in enumerate((run(), wide, run(seed=1)))]
    documents += [read(path) for path in sorted(RESULTS.glob("verify/*float32*.json"))]
    documents += [recognise(verification(note="a note"), "x.json"), recognise(growth(), "growth.json")]
    documents += [recognise(benchmark(), f"{name}.json") for name in ("bench", "again")]
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(documents), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Opened:
    """A page, and everything it said or asked for."""

    def __init__(self, browser: Any, address: str, size: tuple[int, int] = DESK, scheme: str = "light") -> None:
        width, height = size
        # Text as large as a reader's system may make it is no part of these tests: a scale of 1.
        view = {"width": width, "height": height}
        self.context = browser.new_context(viewport=view, color_scheme=scheme, offline=True)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE])
def test_every_chart_is_there_and_nothing_is_asked_for(
    browser: Any, address: str, size: tuple[int, int], scheme: str
) -> None:
    with Opened(browser, address, size, scheme) as opened:
        assert opened.said == []
        assert opened.asked == [address]
        found = opened.page
        # Two runs together: three curves and their difference; one alone: three; two benchmarks; growth: two.
        counts = {"training": 7, "benchmark": 2, "growth": 2}
        for section, count in counts.items():
            assert found.locator(f"#{section} svg.chart").evaluate_all(VISIBLE) == count, section
        assert found.locator("#benchmark svg.chart:visible .bar").count() == 28
        assert found.locator("#benchmark svg.chart:visible .error").count() == 28
        assert found.locator("table.matrix td.fail").count() > 2
        assert found.evaluate("document.documentElement.scrollWidth") <= size[0]


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_no_text_of_a_chart_leaves_it_or_lies_on_another(browser: Any, address: str, size: tuple[int, int]) -> None:
    script = """charts => charts.flatMap(chart => {
      const frame = chart.getBoundingClientRect();
      if (!frame.width) return [];
      const texts = [...chart.querySelectorAll("text")].map(t => [t.textContent, t.getBoundingClientRect()]);
      const out = texts.filter(([_, r]) => r.left < frame.left - 1 || r.right > frame.right + 1
        || r.top < frame.top - 1 || r.bottom > frame.bottom + 1).map(([t]) => `leaves: ${t}`);
      texts.forEach(([t, a], i) => texts.slice(i + 1).forEach(([u, b]) => {
        if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3)
          out.push(`${t} on ${u}`);
      }));
      return out;
    })"""
    with Opened(browser, address, size) as opened:
        assert opened.page.locator("svg.chart").evaluate_all(script) == []


def _column(opened: Any, label: str, number: int) -> list[str]:
    cells = opened.page.locator(f"table[aria-label={label!r}] tbody td:nth-child({number})")
    return [cell if cell is not None else "" for cell in cells.evaluate_all("c => c.map(e => e.dataset.value)")]


def test_tables_sort(browser: Any, address: str) -> None:
    label = "bench.json: cora, recipe pyg, hidden 16"
    with Opened(browser, address) as opened:
        table = opened.page.locator(f"table[aria-label={label!r}]")
        head, accuracy = table.locator("th").nth(3), table.locator("th").nth(7)
        assert head.get_attribute("aria-sort") is None
        before = _column(opened, label, 4)
        assert [float(v) for v in before] == sorted(map(float, before))  # as the page has it: from fast to slow
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "ascending"
        assert _column(opened, label, 4) == before
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        assert _column(opened, label, 4) == before[::-1]
        accuracy.locator("button").click()
        assert head.get_attribute("aria-sort") is None
        for _ in range(2):  # whichever way, what has no value stays below
            found = _column(opened, label, 8)
            assert "" in found
            values = [float(v) for v in found if v]
            assert found == [*(v for v in found if v), *[""] * found.count("")]
            assert values in (sorted(values), sorted(values, reverse=True))
            assert len(set(values)) > 2
            accuracy.locator("button").click()
        table.locator("th button").first.click()
        names = table.locator("tbody td:first-child").all_text_contents()
        assert names == sorted(names, key=str.casefold)
        assert names[0] == "k3-node GCN (JAX)"


def test_the_button_changes_the_colours(browser: Any, address: str) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    for scheme in ("light", "dark"):
        with Opened(browser, address, scheme=scheme) as opened:
            button = opened.page.locator("button.theme")
            first = opened.page.evaluate(colour)
            assert button.get_attribute("aria-pressed") == str(scheme == "dark").lower()
            button.click()
            second = opened.page.evaluate(colour)
            assert {first, second} == {"rgb(255, 255, 255)", "rgb(20, 23, 26)"}
            assert button.get_attribute("aria-pressed") == str(scheme == "light").lower()
            line = opened.page.locator("polyline").first
            assert line.evaluate("e => getComputedStyle(e).stroke") != "none"
            button.click()
            assert opened.page.evaluate(colour) == first


def test_the_keyboard_reaches_everything(browser: Any, address: str) -> None:
    with Opened(browser, address) as opened:
        keys, focused = opened.page.keyboard, "document.activeElement"
        keys.press("Tab")
        assert opened.page.evaluate(f"{focused}.className") == "skip"
        assert opened.page.locator(".skip").bounding_box()["x"] >= 0
        keys.press("Enter")
        assert opened.page.evaluate(f"{focused}.id") == "main"
        seen = []
        for _ in range(40):
            keys.press("Tab")
            seen.append(opened.page.evaluate(f"{focused}.tagName + ' ' + {focused}.className"))
            outline = opened.page.evaluate(f"getComputedStyle({focused}).outlineStyle")
            assert outline == "solid", seen[-1]
        assert {"SUMMARY ", "DIV scroll", "BUTTON "} <= set(seen)
        button = opened.page.locator("table.sortable th button").first
        button.focus()
        keys.press("Enter")
        assert opened.page.locator("table.sortable th").first.get_attribute("aria-sort") == "ascending"
        keys.press("Space")
        assert opened.page.locator("table.sortable th").first.get_attribute("aria-sort") == "descending"


@pytest.mark.skipif(AXE is None, reason="PORTGNN_AXE names no axe.min.js")
@pytest.mark.parametrize(("size", "scheme"), [(DESK, "light"), (DESK, "dark"), (PHONE, "light"), (PHONE, "dark")])
def test_axe_finds_nothing(browser: Any, address: str, size: tuple[int, int], scheme: str) -> None:
    with Opened(browser, address, size, scheme) as opened:
        opened.page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true })")
        opened.page.evaluate(Path(AXE or "").read_text(encoding="utf-8"))
        found = opened.page.evaluate("axe.run()")
        assert found["passes"]
        assert [(v["impact"], v["id"], v["nodes"][0]["html"][:120]) for v in found["violations"]] == []
