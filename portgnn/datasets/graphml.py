"""GraphML and GML files through networkx, held at arm's length: no entities, bounded size, no stray exception."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from portgnn.datasets.convert import from_networkx
from portgnn.errors import DatasetError, GraphError, PortgnnError
from portgnn.graph import Graph

MAX_BYTES = 256 << 20
"""networkx keeps about a kilobyte a node: larger graphs belong into CSV or Parquet."""
_MAX_DEPTH = 100


def read_markup(path: Path) -> Graph:
    """Reads a GraphML (`.graphml`) or GML (`.gml`) file. Needs networkx.

    Of the node attributes, `label` is the class's name (GML, where `label` names the node: `class`) and `split`
    the node's split; all others are features, a number for every node. The edge attribute `weight` is the
    weight. A file that is undirected gives edges both ways.

    Raises DatasetError naming the file; XML with a document type or entities is refused before it is read.
    """
    try:
        import networkx
    except ImportError:
        raise DatasetError(f'{path} needs networkx. Install it with: pip install "portgnn[data]"') from None
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DatasetError(f"{path} has more than {MAX_BYTES} bytes; write it as nodes.csv and edges.csv")
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from None
    graphml = path.suffix.lower() == ".graphml"
    if graphml:
        _check_xml(path, content)
    try:
        graph = networkx.read_graphml(io.BytesIO(content)) if graphml else networkx.read_gml(io.BytesIO(content))
        return _graph(path, graph, "label" if graphml else "class")
    except PortgnnError as error:
        raise DatasetError(f"{path}: {error}") from None
    # networkx lets through whatever a malformed file makes it stumble over.
    except Exception as error:
        raise DatasetError(f"{path} cannot be read: {type(error).__name__}: {str(error)[:200]}") from None


def _graph(path: Path, graph: Any, label: str) -> Graph:
    nodes = list(graph.nodes)
    if not nodes:
        raise GraphError("the graph has no nodes")
    # GraphML's defaults stand apart from the nodes: networkx leaves it to its callers to apply them.
    for name, value in dict(graph.graph.get("node_default", {})).items():
        for node in nodes:
            graph.nodes[node].setdefault(name, value)
    names = dict.fromkeys(name for _, data in graph.nodes(data=True) for name in data)
    features = [name for name in names if name not in (label, "split")]
    for name in features:
        for node in nodes:
            value = graph.nodes[node].get(name)
            if not isinstance(value, int | float):
                raise GraphError(
                    f"node {str(node)[:40]!r}: attribute {str(name)[:40]!r} is {str(value)[:40]!r}; a "
                    "feature needs a number at every node"
                )
    parts: dict[str, Any] = {}
    for position, node in enumerate(nodes):
        word = graph.nodes[node].get("split", "")
        if word not in ("", "train", "val", "test"):
            raise GraphError(f"node {str(node)[:40]!r}: split {str(word)[:40]!r} is none of train, val, test")
        if word:
            parts.setdefault(str(word), []).append(position)
    return from_networkx(graph, features or "features", label, name=path.stem, **parts)


class _Refused(Exception):
    """Why the XML is not read; never leaves this module."""


def _check_xml(path: Path, content: bytes) -> None:
    """A pass of the bare parser: a document type is the only door to entities, and deep nesting to recursion."""
    from xml.parsers import expat

    depth = 0

    def refuse(*_: Any) -> None:
        raise _Refused("it has a document type or entities, which GraphML does not need")

    def start(*_: Any) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise _Refused(f"its elements are nested more than {_MAX_DEPTH} deep")

    def end(*_: Any) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(content, True)
    except _Refused as reason:
        raise DatasetError(f"{path} was not read: {reason}") from None
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise DatasetError(f"{path} is not well-formed XML: {error}") from None
