"""Whether a release's tag is the version that the package, the changelog and the citation have.

python tools/check_version.py v0.2.0           silent where all four agree; else one line for each that does not
python tools/check_version.py v0.2.0 --notes   the changelog's section, too
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def faults(tag: str, root: Path = ROOT) -> list[str]:
    """What is not of the tag's version."""
    version = tag.removeprefix("v")
    if not re.fullmatch(r"v\d+\.\d+\.\d+((a|b|rc)\d+)?", tag):
        return [f"{tag} is no tag of a release: v1.2.3"]
    found = []
    packaged = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    if packaged != version:
        found.append(f"pyproject.toml has version {packaged}, and the tag is {tag}")
    if not notes(version, root):
        found.append(f"CHANGELOG.md has no section of {version} with a date: ## [{version}] - 2027-01-31")
    cited = re.search(r"^version: ?\"?([^\"\n]+)", (root / "CITATION.cff").read_text(), re.MULTILINE)
    if cited is None or cited[1] != version:
        found.append(f"CITATION.cff has version {cited[1] if cited else 'none'}, and the tag is {tag}")
    return found


def notes(version: str, root: Path = ROOT) -> str:
    """The changelog's section of a version, without its head; "" where it has none with a date."""
    text = (root / "CHANGELOG.md").read_text()
    head = re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n", text, re.MULTILINE)
    return (
        ""
        if head is None
        else re.split(r"^(?:## |\[[^\]]+\]: )", text[head.end() :], maxsplit=1, flags=re.M)[0].strip()
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag")
    parser.add_argument("--notes", action="store_true")
    given = parser.parse_args(arguments)
    found = faults(given.tag)
    for fault in found:
        print(f"error: {fault}", file=sys.stderr)
    if given.notes and not found:
        print(notes(given.tag.removeprefix("v")))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
