"""Draws docs/architecture.svg from the import statements of portgnn/ and backends/.

python tools/draw_architecture.py          writes the drawing
python tools/draw_architecture.py --check  says whether the committed one is current, and writes nothing

A folder is one box; the modules beside them are put together by GROUPS. An arrow from one box to another is an import
at the top of a module: what a function imports when it is called, and what only a type checker reads, draw none. An
arrow that a longer way implies is left out.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import networkx as nx

Imports = Any  # networkx has no types

ROOT = Path(__file__).resolve().parents[1]
DRAWING = ROOT / "docs" / "architecture.svg"

GROUPS: dict[str, tuple[str, ...]] = {
    "command line": ("cli", "__main__"),
    "calls": ("api", "request", "prediction", "configuration", "sklearn"),
    "pictures": ("plots", "documents", "report"),
    "logging": ("loggers", "logs"),
    "checks": ("verification", "testing"),
    "result": ("result", "callbacks"),
    "batches": ("loaders", "outofcore", "folder", "mapped"),
    "training loop": ("training", "runs", "checkpoint", "memory", "environment"),
    "network": ("models", "presets", "hyperparameters"),
    "placing": ("placing", "features", "objective"),
    "graph": ("graph", "graphs", "graph_checks", "arrays", "fingerprint", "evaluation"),
    "protocol": ("protocol", "parts", "random", "registry"),
}
"""Top modules and folders of portgnn/ that are one box; every other folder is a box of its own name."""
EVERYWHERE = ("errors", "files", "forks", "lock", "text", "markup", "untrusted", "_version", "__init__")
"""What is imported all over, or imports all: no box."""
ADAPTERS = "backends"
FLOW = {
    "command line": "options in, result out",
    "datasets": "files become a Graph",
    "graph": "edges, features, labels, splits",
    "calls": "train, predict",
    "network": "recipe, layers of a network",
    "placing": "operands, forward pass, loss",
    "training loop": "epochs, best parameters",
    "batches": "sampled rows, files on disk",
    "result": "curves, model, callbacks",
    "distributed": "parts of the graph, halos",
    "protocol": "the contract of a backend",
    ADAPTERS: "arrays on a device",
    "checks": "the same numbers, proved",
    "pictures": "curves, pages",
    "logging": "records of a run",
}


def imported(path: Path, modules: set[str]) -> Iterator[str]:
    """Names of our modules that a file imports when it is loaded."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _loaded(tree.body):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise SystemExit(f"{path}:{node.lineno}: a relative import, which this script does not follow")
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules else node.module for name in names]
        else:
            continue
        yield from (name for name in names if name in modules)


def _loaded(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when a module is loaded; `if TYPE_CHECKING` and functions are left out."""
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.If) and ast.unparse(statement.test).endswith("TYPE_CHECKING"):
            yield from _loaded(statement.orelse)
            continue
        yield statement
        for field in ("body", "orelse", "finalbody", "handlers"):
            yield from _loaded(getattr(statement, field, []))


def modules_of(root: Path) -> dict[str, Path]:
    """Every module below portgnn/ and backends/ by its dotted name."""
    found = {}
    for base, folder in ((root, root / "portgnn"), (root / "backends", root / "backends")):
        for path in folder.rglob("*.py"):
            parts = path.relative_to(base).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def box_of(module: str) -> str:
    """The box that a module is drawn in; "" for none. Raises SystemExit for a top module without a group."""
    package, _, rest = module.partition(".")
    if package != "portgnn":
        return ADAPTERS
    top = rest.partition(".")[0] or "__init__"
    if top in EVERYWHERE:
        return ""
    for box, members in GROUPS.items():
        if top in members:
            return box
    if (ROOT / "portgnn" / top).is_dir():
        return top
    raise SystemExit(f"portgnn/{top}.py is in no box: add it to GROUPS in tools/draw_architecture.py")


def imports(root: Path = ROOT) -> Imports:
    """A node a box, an edge where a module of one imports a module of another."""
    modules = modules_of(root)
    drawn: Imports = nx.DiGraph()
    for name, path in sorted(modules.items()):
        box = box_of(name)
        if not box:
            continue
        drawn.add_node(box)
        for target in imported(path, set(modules)):
            if box_of(target) not in ("", box):
                drawn.add_edge(box, box_of(target), because=f"{name} imports {target}")
    return drawn


WIDTH, HEIGHT, ACROSS, DOWN, MARGIN, LANE = 196, 58, 26, 48, 16, 8
SWEEPS = 6
Place = str | tuple[str, str, int]
"""A box, or the lane of an arrow (from, to) in a row."""

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2933; text-anchor: middle }
  .name { font-weight: 600; font-size: 14px }
  rect { fill: #f3f6f8; stroke: #52606d }
  .adapter { fill: #e3f4f1; stroke: #0f766e }
  path { fill: none; stroke: #52606d; stroke-width: 1.3 }
  marker path { fill: #52606d; stroke: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e7eb } rect { fill: #1f2933; stroke: #9aa5b1 } .adapter { fill: #134e4a; stroke: #5eead4 }
    path { stroke: #9aa5b1 } marker path { fill: #9aa5b1 }
  }
"""


def svg(graph: Imports) -> str:
    """The drawing. Raises SystemExit where boxes import each other in a circle."""
    if not nx.is_directed_acyclic_graph(graph):
        circle = nx.find_cycle(graph)
        reasons = "; ".join(graph.edges[edge[:2]]["because"] for edge in circle)
        raise SystemExit(f"imports go round in a circle: {reasons}")
    arrows = nx.transitive_reduction(graph)
    rows, ways = _rows(arrows)
    widths = [sum(_width(each) for each in row) + ACROSS * (len(row) - 1) for row in rows]
    at: dict[Place, tuple[float, float]] = {}
    for level, row in enumerate(rows):
        x = MARGIN + (max(widths) - widths[level]) / 2
        for each in row:
            at[each] = (x + _width(each) / 2, MARGIN + level * (HEIGHT + DOWN))
            x += _width(each) + ACROSS
    across = 2 * MARGIN + max(widths)
    down = 2 * MARGIN + len(rows) * (HEIGHT + DOWN) - DOWN
    words = "; ".join(f"{box} imports {', '.join(sorted(arrows[box]))}" for box in sorted(arrows) if arrows[box])
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across:.0f} {down:.0f}" role="img" '
        'aria-labelledby="title description">',
        '<title id="title">What imports what in portgnn</title>',
        f'<desc id="description">{escape(words)}.</desc>',
        f"<style>{STYLE}</style>",
        '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z"/></marker>',
    ]
    for way in ways:
        lines.append(f'<path d="{_curve([at[each] for each in way])}" marker-end="url(#head)"/>')
    for box in sorted(graph):
        middle, y = at[box]
        kind = ' class="adapter"' if box == ADAPTERS else ""
        lines.append(f'<rect x="{middle - WIDTH / 2:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="6"{kind}/>')
        lines.append(f'<text class="name" x="{middle:.0f}" y="{y + 24:.0f}">{escape(box)}</text>')
        lines.append(f'<text x="{middle:.0f}" y="{y + 43:.0f}">{escape(FLOW.get(box, ""))}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _width(place: Place) -> int:
    return WIDTH if isinstance(place, str) else LANE


def _rows(arrows: Imports) -> tuple[list[list[Place]], list[list[Place]]]:
    """The places of each row, from the top, and the places that each arrow runs through.

    A box stands as far down as what it imports lets it. An arrow over several rows has a lane in each row between, so
    that it passes beside the boxes there (Sugiyama et al. 1981).
    """
    rows: list[list[Place]] = [sorted(row) for row in nx.topological_generations(arrows.reverse())][::-1]
    level = {box: at for at, row in enumerate(rows) for box in row}
    ways: list[list[Place]] = []
    beside: dict[Place, list[Place]] = {}
    for source, target in sorted(arrows.edges):
        lanes: list[Place] = []
        for at in range(level[source] + 1, level[target]):
            lanes.append((source, target, at))
            rows[at].append(lanes[-1])
        ways.append([source, *lanes, target])
        for upper, lower in pairwise(ways[-1]):
            beside.setdefault(upper, []).append(lower)
            beside.setdefault(lower, []).append(upper)
    for _ in range(SWEEPS):
        for row in (*rows, *reversed(rows)):
            where = {each: at / max(len(other) - 1, 1) for other in rows for at, each in enumerate(other)}
            middle = {each: sum(where[near] for near in beside[each]) / len(beside[each]) for each in row}
            row.sort(key=lambda each: (middle[each], str(each)))
    return rows, ways


def _curve(points: list[tuple[float, float]]) -> str:
    """From the lower edge of the first place to the upper edge of the last, straight down in the lanes between."""
    (x, y), *others = points
    path = f"M{x:.0f} {y + HEIGHT:.0f}"
    for at, (to_x, to_y) in enumerate(others):
        bend = DOWN / 2
        path += f"C{x:.0f} {to_y - bend:.0f} {to_x:.0f} {to_y - bend:.0f} {to_x:.0f} {to_y:.0f}"
        if at < len(others) - 1:
            path += f"V{to_y + HEIGHT:.0f}"
        x = to_x
    return path


def main(arguments: list[str]) -> int:
    drawn = svg(imports())
    if "--check" in arguments:
        current = DRAWING.exists() and DRAWING.read_text(encoding="utf-8") == drawn
        print(f"{DRAWING.relative_to(ROOT)} is {'current' if current else 'out of date: make drawing'}")
        return 0 if current else 1
    DRAWING.write_text(drawn, encoding="utf-8")
    print(f"wrote {DRAWING.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
