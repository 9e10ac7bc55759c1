"""The page as text, and what notebooks show: every number is the file's, and nothing in a file is markup."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from results import RESULTS, benchmark, growth, run, trained, verification

from portgnn import cli, verify
from portgnn._markup import E, render
from portgnn.errors import ConfigError
from portgnn.report import page
from portgnn.report._svg import COLOURS, Bar, Series, bar_chart, line_chart, tick_text, ticks
from portgnn.report.cells import run_cell, verification_cell
from portgnn.report.documents import Document, recognise

EVIL = "</script></style></title><script>alert('1')</script><img src=x onerror=alert(2)>\"'&\x00\ud800"


def _documents(*data: dict[str, Any]) -> list[Document]:
    return [recognise(one, f"file {number}.json") for number, one in enumerate(data)]


def _everything() -> list[Document]:
    return _documents(run(), run(dtype="float64"), verification(), benchmark(), growth())


class Reader(HTMLParser):
    """The tags of a page, its text, and the tables by their label."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.open: list[list[str]] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "table":
            self.open = self.tables.setdefault(found.get("aria-label") or "", [])
        elif tag == "tr" and self.open is not None:
            self.open.append([])
        elif tag in ("td", "th") and self.open is not None:
            self.open[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1]:
            self.open[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.open = None


def test_the_page_has_every_section_and_names_nothing_outside() -> None:
    text = page(_everything())
    tags = Reader(text).tags
    assert [found["id"] for tag, found in tags if tag == "section"] == [
        "training", "verification", "benchmark", "growth", "machines",
    ]  # fmt: skip
    assert not re.search(r"https?://|//cdn|@import|url\(", text)
    assert not [tag for tag, found in tags if tag in ("link", "img", "iframe") or "src" in found]
    assert "default-src 'none'" in text
    ids = [found["id"] for _, found in tags if found.get("id")]
    assert len(ids) == len(set(ids))


def test_a_section_without_results_is_left_out() -> None:
    tags = Reader(page(_documents(verification()))).tags
    assert [found["id"] for tag, found in tags if tag == "section"] == ["verification", "machines"]


def test_the_verification_matrix_says_in_words_what_holds() -> None:
    tables = Reader(page(_documents(verification(), verification(backend="second", checks=[])))).tables
    rows = tables["Checks in float32: result and largest error"]
    assert rows[0] == ["check", "fakecpu", "secondcpu"]
    assert rows[1:] == [
        ["spmm", "ok 1e-07", "not run"],
        ["matmul", "FAILS 2e-04", "not run"],
        ["relu", "known gap 1e-02", "not run"],
        ["fit", "FAILS", "not run"],
    ]


def test_a_zero_is_no_rounded_number() -> None:
    checks = [{"name": "x", "max_error": 0.0, "tolerance": 1e-5, "passed": True, "hint": ""}]
    rows = Reader(page(_documents(verification(checks=checks)))).tables
    assert rows["Checks in float32: result and largest error"][1] == ["x", "ok 0"]


def test_tables_hold_the_numbers_of_the_files() -> None:
    tables = Reader(page(_everything())).tables
    first = tables["Training runs"][1]
    assert first[:7] == ["karate", "numpy", "cpu", "float32", "kipf", "0", "30"]
    assert first[8] == f"{trained().history.train_loss[-1]:.6f}"
    timed = [row for row in benchmark()["rows"] if row["status"] == "timed"]
    times = tables["file 3.json: cora, recipe pyg, hidden 16"]
    assert len(times) == 1 + len(timed)
    assert times[1][3] == f"{min(row['train_ms']['median'] for row in timed):.3f}"
    assert times[1][-1] == "1.00"
    sizes = tables["file 4.json: growth"]
    assert [row[3] for row in sizes[1:4]] == ["10,000", "100,000", "1,000,000"]
    assert sizes[1][-1] == f"{10_000_000 / 2**20:.0f}"


def test_runs_meant_to_agree_share_a_figure_and_others_do_not() -> None:
    one = page(_documents(run(), run(dtype="float64")))
    assert one.count("<figure>") == 1
    assert "30 of 30 epochs bit for bit equal" in one
    two = page(_documents(run(), run(seed=1)))
    assert two.count("<figure>") == 2
    assert "bit for bit" not in two


def test_each_figure_has_its_command() -> None:
    text = page(_everything())
    assert text.count("<figure>") == 3
    assert text.count("How to make this") == 4
    for part in (
        "portgnn train --dataset karate",
        "portgnn verify --backend fake",
        "python bench/run_all.py --datasets",
    ):
        assert part in text


def test_nothing_in_a_file_is_markup() -> None:
    def poisoned(value: Any, at: str = "") -> Any:
        if isinstance(value, dict):
            return {key: poisoned(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [poisoned(item, at) for item in value]
        kept = at in ("status", "kind", "series", "format", "dtype")
        return value + EVIL if isinstance(value, str) and not kept else value

    documents = [poisoned(d) for d in (run(notes=["split random:1"]), verification(note="n"), benchmark(), growth())]
    text = page(_documents(*documents))
    tags = Reader(text.encode("utf-8", "replace").decode()).tags
    assert [tag for tag, _ in tags].count("script") == 1
    assert "img" not in [tag for tag, _ in tags]
    assert not [found for _, found in tags if any(name.startswith("on") for name in found)]
    for cell in (run_cell(documents[0]), verification_cell(documents[1])):
        assert not {"script", "img"} & {tag for tag, _ in Reader(cell).tags}
        assert EVIL[:9] not in cell


JUNK = [None, True, 0, -1, 0.5, 1e308, 5e-324, "x", "", [], {}, [1], {"a": 1}, 10**400]


def _places(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a document; of a list the first three."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data[:3]) if isinstance(data, list) else ()
    for key, value in pairs:
        yield (*at, key)
        yield from _places(value, (*at, key))


@pytest.mark.parametrize("make", [run, verification, growth, benchmark])
def test_whatever_stands_in_a_file_there_is_a_page_or_an_error_of_one_line(make: Callable[[], dict[str, Any]]) -> None:
    draws, outcomes = random.Random(0), set()
    for place in _places(make()):
        data = make()
        data["rows"] = data.get("rows", [])[:3]
        target: Any = data
        for key in place[:-1]:
            target = target[key]
        target[place[-1]] = draws.choice(JUNK)
        try:
            documents = _documents(data)
        except ConfigError:
            outcomes.add("error")
            continue
        assert page(documents).endswith("</html>\n")
        outcomes.add("page")
    assert outcomes == {"error", "page"}


def test_text_and_attributes_are_escaped() -> None:
    # In a quoted attribute HTML leaves "<" as it is.
    made = render(E("p", "<b>&", E("br"), "\"'<", title='"><script>', data_value=1, hidden=None))
    assert made == '<p title="&quot;&gt;<script&gt;" data-value="1">&lt;b&gt;&amp;<br>"\'&lt;</p>'


# Charts


@pytest.mark.parametrize(
    ("low", "high", "log", "expected"),
    [
        (0.0, 1.0, False, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-3.0, 3.0, False, [-3, -2, -1, 0, 1, 2, 3]),
        (1.0, 200.0, False, [50, 100, 150, 200]),
        (1.0, 1e4, True, [1, 10, 100, 1e3, 1e4]),
        (0.6, 7.0, True, [1, 2, 5]),
        (1e-18, 1.0, True, [1e-18, 1e-14, 1e-10, 1e-6, 1e-2]),
        (0.61, 0.69, True, [0.62, 0.64, 0.66, 0.68]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, log: bool, expected: list[float]) -> None:
    assert ticks(low, high, log) == pytest.approx(expected)


def test_numbers_on_axes() -> None:
    assert [tick_text(v) for v in (0, 0.5, 1e-3, 1e-7, 2500, 1e6, 1e12)] == [
        "0", "0.5", "0.001", "1e-7", "2,500", "1e6", "1e12",
    ]  # fmt: skip


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("values", [[1.0], [1.0, 1.0], [1e-300, 1e300], [0.1, 0.2, 0.3], [5.0] * 1001])
def test_a_chart_of_any_positive_numbers_stays_in_its_frame(values: list[float], log: bool) -> None:
    text = render(line_chart([Series("x", list(enumerate(values, 1)))], "t", "x", "y", log_y=log))
    (points,) = re.findall(r'<polyline points="([^"]*)"', text)
    pairs = [tuple(map(float, pair.split(","))) for pair in points.split()]
    assert 1 <= len(pairs) <= 501
    assert all(0 <= x <= 360 and 0 <= y <= 250 for x, y in pairs)
    assert pairs[-1][0] == max(x for x, _ in pairs)


def test_higher_values_are_higher_and_logarithms_are_even() -> None:
    text = render(line_chart([Series("x", [(1, 1.0), (2, 10.0), (3, 100.0)])], "t", "x", "y", log_y=True))
    (points,) = re.findall(r'<polyline points="([^"]*)"', text)
    ys = [float(pair.split(",")[1]) for pair in points.split()]
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.2)
    assert ys[0] > ys[2]


def test_a_noisy_line_has_gaps_where_points_are_left_out() -> None:
    points = [(1.0, 1.0), (2.0, 2.0), (5.0, 1.0), (7.0, 3.0), (8.0, 1.0)]
    text = render(line_chart([Series("x", points)], "t", "x", "y", noisy=True))
    (path,) = re.findall(r'<path d="([^"]*)"', text)
    assert re.sub(r"[\d.,]+", "", path.replace("h0", "h")) == "MhLMhMhL"
    text = render(line_chart([Series("x", list(enumerate([1.0, 2.0] * 600)))], "t", "x", "y", noisy=True))
    assert text.count("h0") == 1


def test_bars_and_their_errors_are_where_the_axis_says() -> None:
    bars = [Bar("a", 1.0, 0.5, 2.0, "1"), Bar("b", 100.0, 90.0, 120.0, "100"), Bar("c", 10.0, 9.0, 12.0, "10")]
    text = render(bar_chart(bars, "t", "ms", width=760))
    widths = [float(w) for w in re.findall(r'<rect [^>]*width="([\d.]+)"', text)]
    assert widths[1] - widths[2] == pytest.approx(widths[2] - widths[0], abs=0.2)
    errors = [
        list(map(float, pair))
        for pair in re.findall(r'<line x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)"[^>]*class="error"', text)
    ]
    assert len(errors) == 3
    per_decade = widths[2] - widths[0]
    assert errors[0][1] - errors[0][0] == pytest.approx(per_decade * 0.60206, abs=0.3)


# Notebooks


def test_a_result_shows_itself_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    shown = trained()._repr_html_()
    assert shown.count("<polyline") == 3
    assert f"{trained().test_accuracy:.4f}" in shown
    assert "numpy cpu float32" in shown


def test_a_result_without_validation_shows_itself() -> None:
    shown = run_cell(run(val_loss=[], val_accuracy=[], test_accuracy=None))
    assert shown.count("<polyline") == 1
    assert "validation loss" not in shown


def test_a_verification_shows_its_failures_first() -> None:
    report = verify("numpy", only=lambda name: name in ("matmul", "spmm"))
    shown = report._repr_html_()
    assert "2 of 2 pass" in shown
    assert shown.count("<table") == 1
    failing = verification_cell(verification())
    assert "1 of 4 pass, first failure matmul" in failing
    before, _, _ = failing.partition("<details>")
    assert before.count("FAILS") == 2
    assert "spmm" not in before


# The command


def test_the_command_writes_one_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(run(dataset="half \ud800 pair")))
    out = tmp_path / "page.html"
    reports = sorted(map(str, RESULTS.glob("verify/*.json")))
    assert cli.main(["report", str(path), *reports, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"written to {out}\n"
    text = out.read_text(encoding="utf-8")
    assert f"1 training run, {len(reports)} verifications" in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.html", "run.json"]  # nothing half-written beside


@pytest.mark.parametrize(
    ("name", "content", "out", "words"),
    [
        ("x.json", "{}", "page.html", "holds neither"),
        ("x.json", "[", "page.html", "is not JSON"),
        ("x.safetensors", "", "page.html", "is a model"),
        ("x.json", "{}", "page.pdf", "must end in .html"),
        ("x.json", "{}", "no/page.html", "cannot write"),
    ],
)
def test_a_wrong_call_writes_nothing(
    name: str, content: str, out: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(content)
    assert cli.main(["report", str(tmp_path / name), "--out", str(tmp_path / out)]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert words in streams.err
    assert len(streams.err.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == [name]


# Colours


def _luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_stand_off_their_ground(scheme: int) -> None:
    """4.5:1 for text and 3:1 for lines and bars (WCAG 2.2, 1.4.3 and 1.4.11); axe cannot tell inside of an SVG."""
    style = files("portgnn.report").joinpath("page.css").read_text()
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", style)
    colours = {name: _luminance(values[scheme]) for name, *values in pairs}

    def contrast(one: str, other: str) -> float:
        low, high = sorted((colours[one], colours[other]))
        return (high + 0.05) / (low + 0.05)

    for ground in ("bg", "panel"):
        for name in ("fg", "soft", "link"):
            assert contrast(name, ground) >= 4.5, (name, ground)
    for name in ("pass", "fail", "known"):
        assert contrast(f"{name}-fg", name) >= 4.5, name
    for slot in range(len(COLOURS)):
        assert contrast(f"s{slot}", "bg") >= 3, slot
