"""A terminal run for README, drawn from what the commands print: docs/pictures/terminal.svg.

    python tools/terminal_picture.py

Needs Cora (PORTGNN_DATA, or the net), and torch beside NumPy.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

OUT = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "terminal.svg"
COLUMNS = 100
COMMANDS = (
    "portgnn train --dataset cora --backend torch --save cora.safetensors",
    "portgnn predict cora.safetensors --dataset cora --backend numpy --out nodes.csv",
)
GROUND, INK = (22, 27, 34), (230, 237, 243)
ANSI = (GROUND, (255, 123, 114), (63, 185, 80), (210, 153, 34), (88, 166, 255), (188, 140, 255), (57, 197, 207), INK)
THEME = TerminalTheme(GROUND, INK, list(ANSI))


def screen(commands: Sequence[str]) -> list[tuple[str, str]]:
    """Each command and what it printed, run one after the other in one empty folder."""
    found = []
    environment = os.environ | {"COLUMNS": str(COLUMNS), "NO_COLOR": "1"}
    with tempfile.TemporaryDirectory() as folder:
        for command in commands:
            program = [sys.executable, "-m", "portgnn", *shlex.split(command)[1:]]
            done = subprocess.run(
                program, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            if done.returncode:
                raise SystemExit(f"{command}: {done.stdout}")
            found.append((command, done.stdout.rstrip("\n")))
    return found


def svg(lines: Sequence[tuple[str, str]]) -> str:
    """The window as rich draws it, with the reader's own monospaced font: rich's asks another host for one."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115  # of no account
    for command, printed in lines:
        console.print(Text("$ ", style="green") + Text(command, style="bold"))
        console.print(Text(printed))
        console.print()
    drawn = console.export_svg(title="portgnn", theme=THEME, unique_id="portgnn")
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL).replace("Fira Code, monospace", "monospace")


def main(arguments: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--out", type=Path, default=OUT)
    given = made.parse_args(arguments)
    given.out.write_text(svg(screen(COMMANDS)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
