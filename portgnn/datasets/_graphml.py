"""GraphML and GML files through networkx, held at arm's length: no entities, bounded size, no stray exception."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from portgnn._system.untrusted import check_need, check_regular, opened
from portgnn.datasets._gml import parsed_gml
from portgnn.datasets.selection import advice, check_ignored, feature_doubts
from portgnn.errors import DatasetError, GraphError, PortgnnError
from portgnn.graphs.graph import Graph
from portgnn.text import shown

MAX_BYTES = 256 << 20
"""networkx keeps about a kilobyte a node: larger graphs belong into CSV or Parquet."""
_MAX_DEPTH = 100
_ONE = "keep one, give one another name, or leave them out with --ignore {}"
_VALUE_BYTES = 200
"""Of memory at the peak, for an attribute of a node."""


def read_markup(path: Path, unknown: Collection[str] = (), ignore: Collection[str] = ()) -> Graph:
    """Reads a GraphML (`.graphml`) or GML (`.gml`) file. Needs networkx.

    Of the node attributes, `label` is the class's name (GML, where `label` names the node: `class`) and `split`
    the node's split; all others are features, a number for every node. The edge attribute `weight` is the
    weight, and others are left out, with a note. Defaults of GraphML's keys count where a value is missing. A file that
    is undirected gives edges both ways.

    unknown: labels that stand for none. ignore: attributes of nodes or edges that are left out, whatever they hold.

    Raises DatasetError naming the file; XML with a document type or entities is refused before it is read.
    """
    try:
        import networkx  # noqa: F401 (both of its readers' graphs are its own)
    except ImportError:
        raise DatasetError(f'{path} needs networkx. Install it with: pip install "portgnn[data]"') from None
    try:
        if check_regular(path) > MAX_BYTES:
            raise DatasetError(f"{path} has more than {MAX_BYTES} bytes; write it as nodes.csv and edges.csv")
        with opened(path) as file:
            content = file.read()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from None
    graphml = path.suffix.lower() == ".graphml"
    if graphml:
        _check_xml(path, content)
    try:
        with _no_collection():
            graph = _parsed(content, ignore) if graphml else parsed_gml(content)
        return _graph(path, graph, "label" if graphml else "class", unknown, ignore)
    except PortgnnError as error:
        raise DatasetError(f"{path}: {error}") from None
    # networkx lets through whatever a malformed file makes it stumble over.
    except Exception as error:
        raise DatasetError(f"{path} cannot be read: {type(error).__name__}: {str(error)[:200]}") from None


def _parsed(content: bytes, ignore: Collection[str]) -> object:
    """The graph of a GraphML file, with the defaults of its keys put in where a node or an edge has no value.

    networkx reads them and leaves it to its callers to apply them; those of keys for all kinds it does not keep.
    """
    from xml.etree.ElementTree import fromstring

    from networkx.readwrite.graphml import GraphMLReader

    reader = GraphMLReader()
    xml = fromstring(content)
    if not xml.findall(f"{{{reader.NS_GRAPHML}}}graph"):
        xml = fromstring(content.replace(b"<graphml>", f'<graphml xmlns="{reader.NS_GRAPHML}">'.encode(), 1))
    found = xml.findall(f"{{{reader.NS_GRAPHML}}}graph")
    if len(found) != 1:
        raise GraphError(f"it cannot be read: it holds {len(found)} graphs, where one is wanted")
    _check_elements(xml, f"{{{reader.NS_GRAPHML}}}")
    _check_values(xml, f"{{{reader.NS_GRAPHML}}}", ignore)
    keys, defaults = reader.find_graphml_keys(xml)
    graph = reader.make_graph(found[0], keys, defaults)
    for what, count in (("node", graph.number_of_nodes()), ("edge", graph.number_of_edges())):
        told = sum(1 for _ in xml.iter(f"{{{reader.NS_GRAPHML}}}{what}"))
        if told != count:
            raise GraphError(
                f"{told - count} of its {told} {what}s lie outside of its graph, or in a graph inside of a node; put "
                "all of them into one graph"
            )
    # Each default is a value of every node or edge: 3,000 of them for 3,000 nodes stand in 300 KB.
    ends = len(defaults) * (graph.number_of_nodes() + graph.number_of_edges())
    check_need("the defaults of its keys", _VALUE_BYTES * ends, len(content))
    for key, value in defaults.items():
        name, kind = keys[key]["name"], keys[key]["for"]
        of_nodes, of_edges = (kind in (what, "all", None) for what in ("node", "edge"))
        for data in (*(_of_nodes(graph) if of_nodes else ()), *(_of_edges(graph) if of_edges else ())):
            data.setdefault(name, value)
    return graph


def _of_nodes(graph: Any) -> list[dict[str, object]]:
    """The attributes of each node."""
    return [data for _, data in graph.nodes(data=True)]


def _of_edges(graph: Any) -> list[dict[str, object]]:
    """The attributes of each edge."""
    return [data for _, _, data in graph.edges(data=True)]


def _check_elements(xml: Any, space: str) -> None:
    """What networkx would take for something else: it keeps the last of two nodes with one id, and of two edges with
    one id and the same ends, makes nodes of unknown ends, and the text None of an empty default.

    Empty defaults are taken out, and edges numbered. Raises GraphError for the rest.
    """
    for key in xml.iter(f"{space}key"):
        default = key.find(f"{space}default")
        if default is not None and not (default.text or "").strip():
            key.remove(default)
    known: set[str | None] = set()
    for node in xml.iter(f"{space}node"):
        name = node.get("id")
        if name is None or name in known:
            raise GraphError("a node has no id" if name is None else f"two nodes have the id {shown(name)}")
        known.add(name)
    for number, edge in enumerate(xml.iter(f"{space}edge")):
        for end in ("source", "target"):
            if edge.get(end) not in known:
                raise GraphError(f"edge {number}: its {end} {shown(edge.get(end))} is the id of no node")
        if edge.get("weight") is not None:
            raise GraphError(f"edge {number}: weight is an attribute of XML, where GraphML has <data key=…>")
        # As a key of its own: networkx takes an attribute named key for one where there is no id.
        edge.set("id", str(number))


def _check_values(xml: Any, space: str, ignore: Collection[str]) -> None:
    """Of two values of one name in a node or an edge networkx keeps the last."""
    names = _names_of_keys(xml, space, ignore)
    for kind in ("node", "edge"):
        for number, element in enumerate(xml.iter(f"{space}{kind}")):
            seen = set(ignore)
            for data in element.findall(f"{space}data"):
                found = _drawn(data) if len(data) else {names.get(data.get("key"), "")}
                if twice := (found & seen) - set(ignore):
                    where = f"node {shown(element.get('id'))}" if kind == "node" else f"edge {number}"
                    raise GraphError(f"{where} has two values of {shown(min(twice))}; {_ONE.format(min(twice)[:40])}")
                seen |= found


def _names_of_keys(xml: Any, space: str, ignore: Collection[str]) -> dict[str | None, str]:
    """The names of attributes by the ids of their keys, of which networkx takes the last.

    Two keys may have one name: networkx writes whole numbers and others by one each. Raises GraphError where ids or
    defaults differ in nothing that tells which one counts.
    """
    names: dict[str | None, str] = {}
    defaults: dict[tuple[str, str], str] = {}
    for key in xml.iter(f"{space}key"):
        if key.get("id") in names:
            raise GraphError(f"two keys have the id {shown(key.get('id'))}")
        name = names[key.get("id")] = key.get("yfiles.type") or key.get("attr.name") or ""
        value, kind = key.findtext(f"{space}default"), key.get("for") or "all"
        for each in () if value is None or name in ignore else ("node", "edge") if kind == "all" else (kind,):
            if defaults.setdefault((each, name), value) != value:
                raise GraphError(f"two defaults of the {each}s' {shown(name)}; {_ONE.format(name[:40])}")
    return names


def _drawn(data: Any) -> set[str]:
    """Attributes that networkx makes of yEd's drawing: a label, and a place."""
    tags = {element.tag.rpartition("}")[2] for element in data.iter()}
    found = {"label"} if tags & {"NodeLabel", "EdgeLabel"} else set()
    return found | {"x", "y"} if "Geometry" in tags else found


def _graph(path: Path, graph: Any, label: str, unknown: Collection[str], ignore: Collection[str]) -> Graph:
    nodes = list(graph.nodes)
    if not nodes:
        raise GraphError("the graph has no nodes")
    # A feature of the first node is one of every node.
    given = {name for _, data in graph.nodes(data=True) for name in data}
    check_need("the attributes", _VALUE_BYTES * len(given) * len(nodes), path.stat().st_size)
    names = dict.fromkeys(name for _, data in graph.nodes(data=True) for name in data)
    of_edges = dict.fromkeys(name for _, _, data in graph.edges(data=True) for name in data)
    check_ignored(ignore, map(str, [*names, *of_edges]), "the graph")
    for data in (*_of_nodes(graph), *_of_edges(graph)):
        for name in ignore:
            data.pop(name, None)
    _check_single(graph, (label, "split"))
    features = [name for name in names if name not in (label, "split", *ignore)]
    if features == ["features"] and all(isinstance(graph.nodes[node].get("features"), list) for node in nodes):
        # What `to_networkx` made and networkx wrote: one list a node.
        return Graph.from_networkx(graph, "features", label, unknown=unknown, name=path.stem)
    for name in features:
        for node in nodes:
            value = graph.nodes[node].get(name)
            if not isinstance(value, int | float):
                raise GraphError(
                    f"node {shown(str(node))}: attribute {shown(str(name))} is {shown(value)}; a feature needs a "
                    f"number at every node; {advice([str(name)])}"
                )
    columns = {name: np.array([float(graph.nodes[node][name]) for node in nodes]) for name in features}
    notes = feature_doubts(features, columns)
    return Graph.from_networkx(graph, features or None, label, unknown=unknown, name=path.stem, notes=notes)


def _check_single(graph: Any, names: Iterable[str]) -> None:
    """Raises GraphError where one of these attributes is several values."""
    for name in names:
        for node, data in graph.nodes(data=True):
            if isinstance(data.get(name), list | dict):
                where = f"node {shown(str(node))}: {shown(name)} is {shown(data[name])}"
                raise GraphError(f"{where}, where one text or number is needed")


@contextmanager
def _no_collection() -> Iterator[None]:
    """No collection of garbage, of which parsing makes none in cycles: it would take a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Refused(Exception):
    """Why the XML is not read; never leaves this module."""


def _check_xml(path: Path, content: bytes) -> None:
    """A pass of the bare parser: a document type is the only door to entities, and deep nesting to recursion."""
    from xml.parsers import expat

    depth = 0

    def refuse(*_: object) -> None:
        raise _Refused("it has a document type or entities, which GraphML does not need")

    def start(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise _Refused(f"its elements are nested more than {_MAX_DEPTH} deep")

    def end(*_: object) -> None:
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
