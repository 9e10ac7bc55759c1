"""A study on the page and in a notebook: its numbers, its boxes, nothing in it markup, and nothing missing unseen."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree.ElementTree import tostring

import pytest

import portgnn
from portgnn.errors import ConfigError
from portgnn.report import page, study_tables
from portgnn.report._svg import Box, box_chart
from portgnn.report.cells import study_cell
from portgnn.report.documents import recognise

EVIL = "</script><img src=x onerror=alert(1)>&|$_{}\\"


@pytest.fixture(scope="module")
def made() -> portgnn.Study:
    return portgnn.study(
        "karate",
        model=["gcn", "mlp"],
        values={"epochs": 5, "hidden": [2, 4]},
        seeds=3,
        jobs=1,
        command="portgnn study -x",
    )


@pytest.fixture
def data(made: portgnn.Study) -> dict[str, Any]:
    return json.loads(json.dumps(made.to_dict()))  # type: ignore[no-any-return]


def _tags(html: str) -> list[str]:
    found: list[str] = []
    reader = HTMLParser()
    reader.handle_starttag = lambda tag, attrs: found.append(tag)  # type: ignore[method-assign]
    reader.feed(html)
    return found


def test_the_page_has_every_row_and_a_dot_for_every_run(data: dict[str, Any]) -> None:
    html = page([recognise(data, "study.json")])
    for row in data["rows"]:
        assert study_tables.figure(row) in html
    assert "Made from: 1 study." in html
    assert "portgnn study -x" in html
    wide = html[html.index('class="wide"') : html.index('class="narrow"')]
    assert wide.count("<circle") == sum(len(row["runs"]) for row in data["rows"]) == 6
    assert wide.count("<rect") == 2
    assert "Settings that competed: 4" in html
    assert html.count("chosen</td>") == 2
    assert "validation loss, median run" in html


def test_what_is_in_a_study_is_no_markup(data: dict[str, Any]) -> None:
    for row in data["rows"]:
        row["dataset"] = EVIL
    data["splits"] = {EVIL: [None]}
    html = page([recognise(data, EVIL)])
    tags = _tags(html)
    assert "img" not in tags
    assert tags.count("script") == 1
    assert "img" not in _tags(study_cell(data))
    table = study_tables.as_latex(data)
    assert r"\&|\$\_\{\}\textbackslash{}" in table
    assert r"&\|$_{}" in study_tables.as_markdown(data)


def test_boxes_lie_where_their_values_do() -> None:
    box = Box("a", 0.0, 2.5, 5.0, 7.5, 10.0, [0.0, 5.0, 10.0])
    text = tostring(box_chart([box], "t", "x", width=760), encoding="unicode")
    dots = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', text)]
    left, width = (float(re.findall(rf'<rect [^>]*\b{name}="([\d.]+)"', text)[0]) for name in ("x", "width"))
    assert dots[1] - dots[0] == pytest.approx(dots[2] - dots[1], abs=0.2)
    assert (left - dots[0]) / (dots[2] - dots[0]) == pytest.approx(0.25, abs=0.01)
    assert width / (dots[2] - dots[0]) == pytest.approx(0.5, abs=0.01)


def test_a_notebook_shows_the_table(made: portgnn.Study) -> None:
    html = made._repr_html_()
    assert html.count("<table>") == 2
    assert study_tables.figure(made.rows[1]) in html


BREAKING = {
    "rows": lambda data: data.update(rows=[]),
    "a comparison is of a row that there is not": lambda data: data["comparisons"][0].update(second=7),
    "'mean' is missing": lambda data: data["rows"][0]["summary"].pop("mean"),
    "must be a list of numbers": lambda data: data["rows"][0]["curves"].update(train_loss=["x"]),
    "'runs' is missing": lambda data: data["rows"][1].pop("runs"),
}


@pytest.mark.parametrize("said", BREAKING)
def test_a_broken_document_is_one_line(said: str, data: dict[str, Any]) -> None:
    broken = copy.deepcopy(data)
    BREAKING[said](broken)
    with pytest.raises(ConfigError, match=said if said != "rows" else "a study without a row"):
        recognise(broken, "study.json")


def test_decimals_follow_the_deviation() -> None:
    found = [study_tables.decimals(value) for value in (0.0, 0.006, 0.06, 1.2, 34.0, 1e-9)]
    assert found == [4, 4, 3, 1, 0, 6]
    assert [study_tables.probability(p) for p in (None, 0.25, 0.00012)] == ["-", "0.250", "1e-04"]
