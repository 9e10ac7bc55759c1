"""The drawing is the code's own, and its arrows point one way."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def draw(tool: Callable[[str], ModuleType]) -> ModuleType:
    return tool("draw_architecture")


def test_the_drawing_is_current(draw: ModuleType) -> None:
    assert draw.DRAWING.read_text(encoding="utf-8") == draw.svg(draw.imports()), "type: make drawing"


def test_nothing_in_the_library_imports_an_adapter(draw: ModuleType) -> None:
    graph = draw.imports()
    assert list(graph.predecessors(draw.ADAPTERS)) == []
    assert list(graph.successors(draw.ADAPTERS)) == ["protocol"]
    assert list(graph.successors("protocol")) == []


def test_every_box_says_what_it_is_for_and_stands_in_the_drawing(draw: ModuleType) -> None:
    graph = draw.imports()
    assert set(graph) == set(draw.FLOW)
    tree = ElementTree.fromstring(draw.DRAWING.read_text(encoding="utf-8"))
    names = {each.text for each in tree.iter("{http://www.w3.org/2000/svg}text") if each.get("class") == "name"}
    assert names == set(graph)
    assert len(graph) >= 12
    assert graph.number_of_edges() > 2 * len(graph)


def _planted(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"portgnn/__init__.py": "", "backends/own/__init__.py": "", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_planted_import_is_found(draw: ModuleType, tmp_path: Path) -> None:
    root = _planted(
        tmp_path,
        {
            "portgnn/graph.py": "import own",
            "portgnn/presets.py": "if True:\n    from portgnn import graph\n",
            "portgnn/api.py": "def f():\n    from portgnn import graph\n",
            "portgnn/cli/app.py": "if TYPE_CHECKING:\n    from portgnn import graph\nelse:\n    import portgnn.api\n",
        },
    )
    assert set(draw.imports(root).edges) == {
        ("graph", draw.ADAPTERS),
        ("network", "graph"),
        ("command line", "calls"),
    }


def test_a_circle_and_a_stranger_are_refused(draw: ModuleType, tmp_path: Path) -> None:
    circle = {"portgnn/graph.py": "import portgnn.presets", "portgnn/presets.py": "import portgnn.graph"}
    with pytest.raises(SystemExit, match=r"circle: portgnn\.\w+ imports portgnn\.\w+; portgnn"):
        draw.svg(draw.imports(_planted(tmp_path / "a", circle)))
    with pytest.raises(SystemExit, match=r"portgnn/stranger\.py is in no box"):
        draw.imports(_planted(tmp_path / "b", {"portgnn/stranger.py": "import portgnn.graph"}))
    with pytest.raises(SystemExit, match="relative import"):
        draw.imports(_planted(tmp_path / "c", {"portgnn/graph.py": "from . import model"}))
