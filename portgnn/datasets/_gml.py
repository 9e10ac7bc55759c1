"""GML text into a networkx graph (Himsolt, "GML: A portable Graph File Format", 1997).

networkx reads GML as well, in four times the time: a file of 960 KB can take it longer than any file of its size may.
`docs/decisions.md` has figures, and what else differs.
"""

from __future__ import annotations

import html
import re
from typing import Any

from portgnn.errors import GraphError
from portgnn.text import shown

_KEY, _REAL, _INTEGER, _TEXT, _OPEN, _CLOSE, _OTHER = range(1, 8)
_TOKENS = re.compile(
    r"#[^\n]*"
    r"|([A-Za-z][0-9A-Za-z_]*\b)"
    r"|([+-]?(?:[0-9]*\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[Ee][+-]?[0-9])|INF)(?:[Ee][+-]?[0-9]+)?)"
    r"|([+-]?[0-9]+)"
    r'|("[^"]*")'
    r"|(\[)|(\])|(\S)"
)
_ENTITY = re.compile("&(?:[0-9A-Za-z]+|#(?:[0-9]+|x[0-9A-Fa-f]+));")
_MAX_DEPTH = 100
_BARE = ("id", "label", "source", "target")
"""Keys whose values some programs write as words without quotes."""
_LIST = "_networkx_list_start"
"""What networkx writes as the first value of a list of one or two."""


class _Several(list[Any]):
    """The values of a key that stands several times in one list."""


def parsed_gml(content: bytes) -> object:
    """The graph of a GML file as networkx has it: of nodes named by their `label`, or by `id` where none has a label.

    Raises GraphError with the line for what is no GML, and for nodes or edges that cannot be told apart.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        raise GraphError(f"line {line}: not UTF-8; save the file as UTF-8") from None
    found = _pairs(text).get("graph")
    if isinstance(found, _Several):
        raise GraphError(f"it holds {len(found)} graphs, where one is wanted")
    if not isinstance(found, dict):
        raise GraphError("it holds no graph; GML begins with: graph [ node [ id 0 ] …")
    return _graph(found)


def _pairs(text: str) -> dict[str, Any]:
    """What the text's keys stand for: numbers, texts and further pairs."""
    here: dict[str, Any] = {}
    outer: list[dict[str, object]] = []
    key = ""
    for match in (each for each in _TOKENS.finditer(text) if each.lastindex):
        kind, token = match.lastindex or 0, match[0]
        if not key:
            if kind == _KEY:
                key = token
            elif kind == _CLOSE and outer:
                here = outer.pop()
            else:
                raise GraphError(f"line {_line(text, match.start())}: {shown(token)}, where a key is needed")
            continue
        try:
            value: Any = {} if kind == _OPEN else _value(kind, token, key)
        except ValueError:
            where = f"line {_line(text, match.start())}"
            raise GraphError(f"{where}: {shown(token)}, where key {shown(key)} needs a number, a text or [") from None
        _put(here, key, value)
        key = ""
        if kind == _OPEN:
            outer.append(here)
            here = value
            if len(outer) > _MAX_DEPTH:
                raise GraphError(f"line {_line(text, match.start())}: lists nested more than {_MAX_DEPTH} deep")
    if key or outer:
        raise GraphError(f"it ends {f'after the key {shown(key)}' if key else 'before its lists are closed with ]'}")
    return here


def _value(kind: int, token: str, key: str) -> object:
    """Raises ValueError for what is no value."""
    if kind == _INTEGER:
        return int(token)
    if kind == _REAL or (kind == _KEY and token in ("NAN", "INF")):
        return float(token)
    if kind == _TEXT:
        text = token[1:-1]
        if "\n" in text:
            text = " ".join(map(str.strip, text.splitlines()))
        text = _ENTITY.sub(lambda found: html.unescape(found[0]), text) if "&" in text else text
        return [] if text in ("[]", "()") else text
    if kind == _KEY and key in _BARE:
        return token
    raise ValueError


def _put(pairs: dict[str, object], key: str, value: object) -> None:
    if key not in pairs:
        pairs[key] = value
    elif isinstance(before := pairs[key], _Several):
        before.append(value)
    else:
        pairs[key] = _Several([before, value])


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _graph(found: dict[str, object]) -> object:
    import networkx

    nodes, edges = _records(found.pop("node", _Several()), "node"), _records(found.pop("edge", _Several()), "edge")
    directed, several = _switch(found, "directed"), _switch(found, "multigraph")
    kinds = {(0, 0): "Graph", (1, 0): "DiGraph", (0, 1): "MultiGraph", (1, 1): "MultiDiGraph"}
    graph = getattr(networkx, kinds[directed, several])()
    graph.graph.update({key: _plain(value) for key, value in found.items()})
    named = any("label" in node for node in nodes)
    names: dict[object, object] = {}
    for number, node in enumerate(nodes):
        node_id, name = _field(node, "id", f"node {number}"), node.pop("label", None)
        name = node_id if not named else name
        if name is None:
            raise GraphError(f"node {number} has no label, and others have one")
        for what, value, known in (("id", node_id, names), ("label", name, graph)):
            if not isinstance(value, str | int | float):
                raise GraphError(f"node {number}: {what} {shown(value)} is no name")
            if value in known:
                raise GraphError(f"two nodes have the {what} {shown(value)}; give them distinct ones")
        names[node_id] = name
        graph.add_node(name, **node)
    for number, edge in enumerate(edges):
        ends = [_end(edge, end, number, names) for end in ("source", "target")]
        if not several and graph.has_edge(*ends):
            raise GraphError(
                f"edge {number} joins {shown(ends[0])} and {shown(ends[1])} once more; where edges are parallel, the "
                "file says so by: multigraph 1"
            )
        edge.pop("key", None)
        graph.add_edges_from([(*ends, edge)])
    return graph


def _switch(found: dict[str, object], key: str) -> int:
    value = found.pop(key, 0)
    if type(value) is not int or value not in (0, 1):
        raise GraphError(f"the graph's {key} is {shown(_plain(value))}; it is 0 or 1, once")
    return value


def _end(edge: dict[str, object], end: str, number: int, names: dict[object, object]) -> object:
    value = _field(edge, end, f"edge {number}")
    if isinstance(value, dict | list) or value not in names:
        raise GraphError(f"edge {number}: its {end} {shown(value)} is the id of no node")
    return names[value]


def _records(value: Any, what: str) -> list[dict[str, Any]]:
    records = value if isinstance(value, _Several) else [value]
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise GraphError(f"{what} {number} is {shown(record)}, where a list in [ ] is needed")
        for key, held in record.items():
            if isinstance(held, _Several):
                record[key] = _plain(held)
    return records


def _plain(value: object) -> object:
    """The list that a repeated key is, as networkx writes one."""
    if isinstance(value, _Several):
        return value[1:] if value[0] == _LIST else list(value)
    return value


def _field(record: dict[str, object], key: str, where: str) -> object:
    if key not in record:
        raise GraphError(f"{where} has no {key}")
    return record.pop(key)
