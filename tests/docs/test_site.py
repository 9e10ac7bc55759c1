"""The site builds without a warning or the net, every page is reachable, and its figures are those of the files."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

ROOT = Path(__file__).parents[2]

NO_NET = """
import socket, sys
def refuse(*a, **k): raise OSError("the build asked for the net")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from mkdocs.__main__ import cli
sys.exit(cli(["build", "--strict", "--site-dir", sys.argv[1]]))
"""


def _build(target: Path, config: Path | None = None) -> subprocess.CompletedProcess[str]:
    script = NO_NET if config is None else NO_NET.replace('"--strict"', f'"--strict", "-f", {str(config)!r}')
    return subprocess.run(
        [sys.executable, "-c", script, str(target)],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = _build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder


class Addresses(HTMLParser):
    """What a page loads (scripts, styles, images, fonts) and what it links to; the ids that it has."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        given = dict(attributes)
        self.ids |= {given["id"]} if given.get("id") else set()
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.loads.append(given["src"])
        elif tag == "link" and given.get("href") and given.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(given["href"])


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        assert [address for address in Addresses(page).loads if urlsplit(address).netloc] == [], page
        # The theme fetches Mermaid's script from another host wherever a page has a diagram of it.
        assert 'class="mermaid"' not in page.read_text(), page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?https?:", style.read_text()), style


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    found = {page: Addresses(page) for page in site.rglob("*.html") if page.name != "404.html"}
    broken = []
    for page, addresses in found.items():
        for link in addresses.links:
            parts = urlsplit(urljoin(f"http://site/{page.relative_to(site).as_posix()}", link))
            if parts.netloc != "site":
                continue
            target = site / parts.path.lstrip("/")
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (parts.fragment and parts.fragment not in found[target].ids):
                broken.append((page.relative_to(site).as_posix(), link))
    assert broken == []


def test_the_support_matrix_has_a_row_for_every_result(site: Path) -> None:
    page = (site / "support" / "index.html").read_text()
    files = list((ROOT / "bench" / "results" / "verify").glob("*.json"))
    rows = re.findall(r"<tr>\s*<td><code>(\w+)</code></td>\s*<td>(.+?)</td>\s*<td>(\w+)", page)
    assert len(rows) == len(files) >= 20
    for path in files:
        report = json.loads(path.read_text())
        assert any(
            (b, t) == (report["backend"], report["dtype"]) and d.startswith(report["device"]) for b, d, t in rows
        )


def test_figures_are_made_from_the_files(site: Path) -> None:
    """The largest error of a TF32 run, and the article's code on one H100, as a reader sees them."""
    tf32 = json.loads((ROOT / "bench/results/verify/jax-cuda-float32-tf32.json").read_text())
    error = next(check["max_error"] for check in tf32["checks"] if check["name"] == "matmul")
    assert f"{error:.1e}" in (site / "explanations" / "tf32" / "index.html").read_text()
    bench = json.loads((ROOT / "bench/results/cora-h100.json").read_text())
    ms = next(row["train_ms"]["median"] for row in bench["rows"] if row["contender"] == "article-torch")
    assert f">{ms:.2f}<" in (site / "explanations" / "article" / "index.html").read_text().replace(" ", "")


def test_what_a_screen_reader_is_told(site: Path) -> None:
    """`tools/accessibility.py` finds the rest, with axe-core in a browser."""
    for page in ("index.html", "verify/index.html"):
        text = (site / page).read_text()
        assert len(re.findall(r'<div class="md-search"[^>]* role="dialog"[^>]*>', text)) == 1
        assert re.search(r'<div class="md-search"[^>]* role="dialog" aria-label="Search">', text)
        assert "focus.js" in text


def test_the_networks_are_those_that_there_are(site: Path) -> None:
    import portgnn

    page = (site / "networks" / "index.html").read_text()
    rows = [re.findall(r"<td.*?>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)]
    found = {row[0]: row for row in rows if len(row) == 5 and row[0].startswith("<code>")}
    facts = portgnn.models()
    assert list(found) == [f"<code>{each.name}</code>" for each in facts]
    for each in facts:
        row = found[f"<code>{each.name}</code>"]
        assert each.about in html.unescape(row[1])
        assert all(f"<code>{name}</code> {value}" in row[3] for name, value in each.hyperparameters.items())
        assert all(f"<code>{name}</code>" in row[4] for name in each.presets)
    assert "GATv2Conv" in page  # the table of PyG's layers


def test_the_reference_has_every_public_name(site: Path) -> None:
    import portgnn
    from portgnn import protocol

    api = Addresses(site / "reference" / "api" / "index.html").ids
    for name in portgnn.__all__:
        assert any(one.rpartition(".")[2] == name for one in api), name
    ids = Addresses(site / "reference" / "protocol" / "index.html").ids
    for name in ("asarray", "csr", "spmm", "value_and_grad", "compile", "synchronize"):
        assert f"portgnn.protocol.Backend.{name}" in ids
    assert protocol.Backend.spmm.__doc__ is not None
    assert "Never densifies" in (site / "reference" / "protocol" / "index.html").read_text()


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# One\n\n[two](two.md)\n")
    config = tmp_path / "mkdocs.yml"
    config.write_text("site_name: broken\n")
    done = _build(tmp_path / "site", config)
    assert done.returncode == 1
    assert "two.md" in done.stderr


def test_an_unknown_figure_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# One\n\n<!-- made: no-such-figure -->\n")
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"site_name: broken\nhooks: [{ROOT / 'docs' / 'hooks.py'}]\n")
    done = _build(tmp_path / "site", config)
    assert done.returncode != 0
    assert "no-such-figure" in done.stdout + done.stderr
