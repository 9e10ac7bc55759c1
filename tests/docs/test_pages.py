"""Every code block of every page runs, and prints what the page says; what does not run says why."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import pages

LEFT_OUT = {
    "README.md": 3,
    "docs/array-api.md": 1,
    "docs/benchmark.md": 4,
    "docs/clusters.md": 3,
    "docs/data.md": 2,
    "docs/export.md": 1,
    "docs/graph-sets.md": 1,
    "docs/optimizers.md": 1,
    "docs/reference/testing.md": 1,
    "docs/studies.md": 1,
    "docs/try-on-a-mac.md": 1,
    "docs/tutorial.md": 3,
    "docs/write-a-backend.md": 3,
}
"""How many blocks of a page carry `not run`: one more is a decision, made here."""


def _parameters() -> list[object]:
    """The pages that have code; those that name Cora need its published files."""
    made = []
    for path in pages.pages():
        found = pages.blocks(path)
        code = "\n".join(block.code for block in found if not block.mark and block.language in ("python", "sh"))
        needs = re.search(r"(?<![\w-])(cora|citeseer)(?![\w-])", code)
        marks = [pytest.mark.published_data] if needs else []
        if found:
            made.append(pytest.param(path, id=path.relative_to(pages.ROOT).as_posix(), marks=marks))
    return made


@pytest.mark.parametrize("path", _parameters())
def test_a_page_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bench").symlink_to(pages.ROOT / "bench")  # pages of a clone's reader are read in the clone
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    outcome = pages.run(path, tmp_path)
    assert outcome.ran + outcome.files + outcome.quoted + len(outcome.left_out) > 0


def test_what_does_not_run_is_counted_and_says_why() -> None:
    counted = {}
    for path in pages.pages():
        left_out = [block for block in pages.blocks(path) if block.mark == "not run"]
        assert all(len(block.reason) > 10 for block in left_out)
        if left_out:
            counted[path.relative_to(pages.ROOT).as_posix()] = len(left_out)
    assert counted == LEFT_OUT


def test_most_blocks_run() -> None:
    found = [block for path in pages.pages() for block in pages.blocks(path)]
    ran = [block for block in found if not block.mark and block.language in ("python", "sh")]
    assert len(ran) >= 60


WRONG = {
    "print(1 + 1)": "3",  # another result
    "print('1.0e-08')": "1.0e-05",  # a rounding error that grew
    "raise ValueError('x')": "",
}


@pytest.mark.parametrize("code", WRONG)
def test_a_wrong_page_fails(code: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```python\n{code}\n```\n\n```text\n{WRONG[code]}\n```\n")
    with pytest.raises(pages.PageError, match=r"page\.md:"):
        pages.run(page, tmp_path)


def test_a_block_of_no_kind_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for text in (
        "    indented\n",
        "```toml\na = 1\n```\n",
        "```text\nprinted by nothing\n```\n",
        "```sh\nfalse\n```\n",
    ):
        page.write_text(text)
        with pytest.raises(pages.PageError):
            pages.run(page, tmp_path)


def test_figures_out_of_a_file_count_to_the_last_digit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORTGNN_UPDATE_DOCS", raising=False)
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    for read, passes in (("open('bench/results/x').read()", False), ("'0.526 ms'", True)):
        (tmp_path / "bench" / "results").mkdir(parents=True, exist_ok=True)
        (tmp_path / "bench" / "results" / "x").write_text("0.526 ms")
        page.write_text(f"```python\nprint({read})\n```\n\n```text\n0.64 ms\n```\n")
        with contextlib.nullcontext() if passes else pytest.raises(pages.PageError, match=r"0\.64"):
            pages.run(page, tmp_path)


def test_times_and_rounding_may_differ(tmp_path: Path) -> None:
    assert pages.same("1.2 ms, 3.1e-08", "97 ms, 9.0e-08")
    assert pages.same("a\n...\nc", "a\nb\nb\nc")
    assert not pages.same("1.2 times", "1.3 times")
    assert not pages.same("0.8190", "0.8200")
