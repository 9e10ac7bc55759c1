"""Runs the code blocks of a Markdown page, in order, in one folder and one Python namespace, as a reader would.

How a block is read goes by its language and by a comment before it:

- `python` runs in this process; `sh` runs in bash with the environment's own commands first.
- `text` right after a block that ran is what it printed. Figures of time (`1.2 ms`) are not compared, and those with an
  exponent (`3.1e-08`) to a factor of 10: they are rounding errors. Where the block names `bench/results`, they come out
  of a file, and count to the last digit. A line `...` stands for any lines.
- a block with `title="FILE"` is that file, which the blocks after it may read.
- `<!-- not run: REASON -->` before a block leaves it out; `<!-- quoted: PATH -->` says that it stands in that file.

Any other block is an error, so that no code of a page goes unrun by accident. `PORTGNN_UPDATE_DOCS=1` writes what
blocks printed into the page.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"<!-- (not run|quoted): (.+?) -->\s*$", re.DOTALL)
TITLE = re.compile(r'title="([\w./-]+)"')
TIME = re.compile(r"\d+(?:\.\d+)?(?= (?:ms|s|seconds)\b)")
RESULTS = "bench/results"
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
TINY = re.compile(r"\d(?:\.\d+)?e-\d+")


@dataclass(frozen=True)
class Block:
    """line: of the fence, from 1. mark: "not run" or "quoted", with what it says; "" without."""

    language: str
    info: str
    code: str
    line: int
    end: int
    mark: str = ""
    reason: str = ""


@dataclass
class Outcome:
    """How many blocks of a page ran, and which were left out, with reasons."""

    ran: int = 0
    outputs: int = 0
    files: int = 0
    quoted: int = 0
    left_out: list[tuple[int, str]] = field(default_factory=list)


class PageError(AssertionError):
    """A block that fails, prints something else than the page says, or is of no known kind."""


def blocks(path: Path) -> list[Block]:
    """All code blocks of a page, indented ones (language "") included."""
    found: list[Block] = []
    before: Token | None = None
    for token in MarkdownIt("commonmark").parse(path.read_text()):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            mark = MARK.search(before.content) if before is not None and before.type == "html_block" else None
            kind, reason = mark.groups() if mark else ("", "")
            info = token.info.strip()
            language = info.partition(" ")[0]
            found.append(Block(language, info, token.content, token.map[0] + 1, token.map[1], kind, reason))
        if not token.type.endswith("_open"):
            before = token
    return found


def run(path: Path, folder: Path) -> Outcome:
    """Runs a page in an empty folder. Raises PageError with the place of the block."""
    outcome = Outcome()
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed: str | None = None
    reads_results = False
    updates: list[tuple[Block, str]] = []
    with contextlib.chdir(folder), _importable(folder):
        for block in blocks(path):
            place = f"{path.name}:{block.line}"
            if block.mark == "not run":
                outcome.left_out.append((block.line, block.reason))
                printed = None
            elif block.mark == "quoted":
                if block.code.strip("\n") not in (ROOT / block.reason).read_text():
                    raise PageError(f"{place}: not in {block.reason}")
                outcome.quoted += 1
                printed = None
            elif TITLE.search(block.info):
                target = Path(TITLE.findall(block.info)[0])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.code)
                outcome.files += 1
            elif block.language == "python":
                printed, reads_results = _python(block, place, namespace), RESULTS in block.code
                outcome.ran += 1
            elif block.language == "sh":
                printed, reads_results = _shell(block, place), RESULTS in block.code
                outcome.ran += 1
            elif block.language == "text" and printed is not None:
                if not same(block.code, printed, exact=reads_results):
                    if not os.environ.get("PORTGNN_UPDATE_DOCS"):
                        raise PageError(f"{place}: the page says\n{block.code}\nand the code printed\n{printed}")
                    updates.append((block, printed))
                outcome.outputs += 1
                printed = None
            else:
                raise PageError(f"{place}: a block of kind {block.info!r} neither runs nor says why not")
    _write(path, updates)
    return outcome


def same(said: str, printed: str, exact: bool = False) -> bool:
    """Whether a block printed what the page says, but for times and for the last digits of rounding errors.

    exact: these count, too, since they come out of a file and not out of a clock.
    """
    if exact:
        return doctest.OutputChecker().check_output(f"{said.strip()}\n", f"{printed.strip()}\n", OPTIONS)
    if any(not _near(a, b) for a, b in zip(TINY.findall(said), TINY.findall(printed), strict=False)):
        return False
    want, got = (TINY.sub("TINY", TIME.sub("TIME", text)).strip() + "\n" for text in (said, printed))
    return doctest.OutputChecker().check_output(want, got, OPTIONS)


def _near(said: str, printed: str) -> bool:
    return float(said) / 10 <= float(printed) <= float(said) * 10


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """The folder's own modules can be imported, as in a Python that is started there, and are gone afterwards."""
    path = [*sys.path]
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = path
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(f"{folder}{os.sep}"):
                del sys.modules[name]


def _python(block: Block, place: str, namespace: dict[str, Any]) -> str:
    # Empty lines before it, so that a traceback names the line of the page.
    source = "\n" * block.line + block.code
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            exec(compile(source, place.partition(":")[0], "exec", dont_inherit=True), namespace)
        except Exception as fault:
            raise PageError(f"{place}: {type(fault).__name__}: {fault}") from fault
    return out.getvalue()


def _shell(block: Block, place: str) -> str:
    environment = dict(os.environ)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode:
        raise PageError(f"{place}: exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def _write(path: Path, updates: list[tuple[Block, str]]) -> None:
    lines = path.read_text().splitlines()
    for block, printed in reversed(updates):
        lines[block.line : block.end - 1] = [line.rstrip() for line in printed.strip("\n").splitlines()]
    if updates:
        path.write_text("\n".join(lines) + "\n")


def pages() -> Iterator[Path]:
    """README and everything under docs/."""
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))
