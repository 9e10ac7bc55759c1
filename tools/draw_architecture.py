"""Draws docs/architecture.svg from the imports in portgnn/ and backends/, and counts what a layout is held to.

python tools/draw_architecture.py                     writes the drawing
python tools/draw_architecture.py --check             says whether the committed one is current, and writes nothing
python tools/draw_architecture.py --figures CHECKOUT  prints the figures of a checkout as JSON

A folder of portgnn/ is a room, and so is a module beside them; backends/ is one; bench/ and its folders are rooms
that are held to the same rules and not drawn. An arrow from one room to another is an import anywhere in a module:
at its top, in a function when that is called, or for a type checker alone. What a longer way implies is not drawn.
"""

from __future__ import annotations

import ast
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import networkx as nx

Imports = Any  # networkx has no types

ROOT = Path(__file__).resolve().parents[1]
DRAWING = ROOT / "docs" / "architecture.svg"

LEFT_OUT = ("errors", "text", "_version")
"""Rooms that nearly all others import, and that import nothing but each other: held to the rules, not drawn."""
ADAPTERS, TOP, FOLDERS = "backends", "portgnn", ("harness", "peers", "studies")
FLOW = {
    TOP: "the names that users import",
    "cli": "options in, results out",
    "api": "train, predict, classify",
    "sklearn": "an estimator",
    "configuration": "runs in files",
    "studies": "many runs as one table",
    "_request": "a call, settled",
    "_weights": "what classes weigh",
    "verification": "the same numbers, proved",
    "testing": "the conformance kit",
    "benchmark": "verified, then timed",
    "results": "what a run leaves and tells",
    "loggers": "runs in TensorBoard, MLflow…",
    "logs": "records of a run",
    "plots": "pictures, by matplotlib",
    "report": "documents, pages, cells",
    "explaining": "where an answer comes from",
    "exports": "models leave, and enter",
    "prediction": "classes and scores",
    "checkpoints": "models and runs as files",
    "distributed": "parts of the graph, halos",
    "loaders": "sampled rows, chunks",
    "disk": "graphs in files, mapped",
    "training": "epochs, best parameters",
    "models": "networks and their layers",
    "placing": "a graph on a device",
    "datasets": "files become a Graph",
    "graphs": "edges, features, labels, splits",
    "tasks": "what a network is trained for",
    "metrics": "what is measured, by name",
    "presets": "named recipes",
    "recipe": "a run's hyperparameters",
    "optimization": "the optimizer's among them",
    "hyperparameters": "their fields, rules and help",
    "registry": "backends by name",
    "parts": "what adapters share",
    "random": "the same bits everywhere",
    "protocol": "the contract of a backend",
    "programs": "a network, written out",
    "_system": "files, locks, forks",
    "_markup": "HTML as a tree",
    ADAPTERS: "arrays on a device",
}


def imported(path: Path, modules: set[str]) -> Iterator[str]:
    """Names of our modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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


def modules_of(root: Path) -> dict[str, Path]:
    """Every module below portgnn/, backends/ and bench/ by its dotted name."""
    found = {}
    for base, folder in ((root, "portgnn"), (root / "backends", ""), (root, "bench")):
        for path in sorted((base / folder).rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str) -> str:
    """The room that a module is in: its folder, or itself where it stands beside the folders."""
    parts = module.split(".")
    if parts[0] == TOP:
        return TOP if len(parts) == 1 or parts[1] == "__main__" else parts[1]
    if parts[0] == "bench":
        return "/".join(parts[:2]) if len(parts) > 1 and parts[1] in FOLDERS else "bench"
    return ADAPTERS


def imports(root: Path = ROOT, room: Callable[[str], str] = room_of) -> Imports:
    """A node a room, an edge where a module of one imports a module of another. room: what a module's node is."""
    modules = modules_of(root)
    found: Imports = nx.DiGraph()
    for name, path in modules.items():
        found.add_node(room(name))
        for target in imported(path, set(modules)):
            if room(target) != room(name):
                found.add_edge(room(name), room(target), because=f"{name} imports {target}")
    return found


def drawn(rooms: Imports) -> Imports:
    """The rooms that have a box: those of portgnn/ and backends/ that are not imported all over."""
    return rooms.subgraph(name for name in rooms if not outside(name) and name not in LEFT_OUT)


def outside(room: str) -> bool:
    """Whether a room is one of bench/, which the library must not import."""
    return room.split("/")[0] == "bench"


def circles(graph: Imports) -> list[str]:
    """One line for each set of rooms or modules that import each other in a circle: the imports of one way round."""
    lines = []
    for group in nx.strongly_connected_components(graph):
        if len(group) > 1:
            circle = nx.find_cycle(graph.subgraph(group))
            lines.append("; ".join(graph.edges[edge[:2]]["because"] for edge in circle))
    return sorted(lines)


def back_up(graph: Imports) -> int:
    """How many arrows have to go before none is left in a circle; by P. Eades et al. 1993, which is near the fewest."""
    order: dict[str, int] = {}
    left, right = 0, len(graph)
    rest = graph.copy()
    while rest:
        sinks, sources = ([n for n, d in degree if d == 0] for degree in (rest.out_degree, rest.in_degree))
        if sinks:
            right, chosen = right - 1, min(sinks)
            order[chosen] = right
        else:
            chosen = min(sources) if sources else max(rest, key=lambda n: (rest.out_degree(n) - rest.in_degree(n), n))
            order[chosen], left = left, left + 1
        rest.remove_node(chosen)
    return sum(order[source] > order[target] for source, target in graph.edges)


def figures(root: Path) -> dict[str, Any]:
    """What a layout is held to, of any checkout: rooms, arrows, circles, long functions, lines by folder."""
    rooms, modules = imports(root), imports(root, str)
    lines: Counter[str] = Counter()
    for name in ("portgnn", "backends", "bench", "tests", "tools", "examples"):
        for path in (root / name).rglob("*.py"):
            inside = path.relative_to(root).parts
            folder = "/".join(inside[:2]) if len(inside) > 2 else inside[0]
            lines[folder] += len(path.read_text(encoding="utf-8").splitlines())
    long = [
        f"{path.relative_to(root)}:{name} {length} lines, {branches} branches"
        for path, name, length, branches in functions(root)
        if length > MOST_LINES or branches > MOST_BRANCHES
    ]
    return {
        "modules": len(modules),
        "rooms": len(rooms),
        "rooms that are folders": sum((root / "portgnn" / room).is_dir() or room == ADAPTERS for room in rooms),
        "arrows between rooms": rooms.number_of_edges(),
        "arrows that run back up": back_up(rooms),
        "circles of rooms": circles(rooms),
        "circles of modules": circles(modules),
        "long functions": long,
        "types left open in portgnn": open_types(root),
        "lines": dict(sorted(lines.items())),
    }


def open_types(root: Path) -> dict[str, int]:
    """Where portgnn/ tells the type checker nothing, or what it cannot see by itself."""
    found = {"Any": 0, "asserts that something is not None": 0, "type: ignore": 0, "cast": 0}
    for path in sorted((root / TOP).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        found["type: ignore"] += source.count("# type: ignore")
        for node in ast.walk(ast.parse(source)):
            found["Any"] += isinstance(node, ast.Name) and node.id == "Any"
            found["cast"] += isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cast"
            found["asserts that something is not None"] += (
                isinstance(node, ast.Assert)
                and isinstance(node.test, ast.Compare)
                and isinstance(node.test.ops[0], ast.IsNot)
            )
    return found


MOST_LINES, MOST_BRANCHES = 60, 8
BRANCHES = (ast.If, ast.For, ast.While, ast.ExceptHandler, ast.match_case)


def functions(root: Path) -> Iterator[tuple[Path, str, int, int]]:
    """(file, name, lines, branches) of the functions in portgnn/ and backends/; what is defined inside counts alone."""
    for folder in ("portgnn", "backends"):
        for path in sorted((root / folder).rglob("*.py")):
            source = path.read_text(encoding="utf-8")
            comments = source.splitlines()
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.FunctionDef) and "# long: " not in comments[node.lineno - 1]:
                    length = (node.end_lineno or node.lineno) - node.lineno + 1
                    yield path, node.name, length, sum(isinstance(each, BRANCHES) for each in _own(node))


def _own(function: ast.AST) -> Iterator[ast.AST]:
    for each in ast.iter_child_nodes(function):
        if not isinstance(each, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            yield each
            yield from _own(each)


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
    """The drawing. Raises SystemExit where rooms import each other in a circle."""
    if found := circles(graph):
        raise SystemExit(f"imports go round in a circle: {found[0]}")
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
            near = {each: beside.get(each, [each]) for each in row}  # a box without an arrow stays where it is
            middle = {each: sum(where[other] for other in near[each]) / len(near[each]) for each in row}
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
    if "--figures" in arguments:
        print(json.dumps(figures(Path(arguments[arguments.index("--figures") + 1]).resolve()), indent=1))
        return 0
    picture = svg(drawn(imports()))
    if "--check" in arguments:
        current = DRAWING.exists() and DRAWING.read_text(encoding="utf-8") == picture
        print(f"{DRAWING.relative_to(ROOT)} is {'current' if current else 'out of date: make drawing'}")
        return 0 if current else 1
    DRAWING.write_text(picture, encoding="utf-8")
    print(f"wrote {DRAWING.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
