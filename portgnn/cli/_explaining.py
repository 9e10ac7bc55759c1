"""`portgnn explain`: which edges and features an answer comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portgnn._system.files import check_writable, write_atomically
from portgnn.checkpoints.model import Model
from portgnn.cli._output import announce, print_json, print_line, print_table
from portgnn.explaining.explanation import Explanation, explain


def run(
    model: Path,
    dataset: str,
    node: str,
    out: Path | None,
    network: str | None,
    edges: int,
    as_json: bool,
    **how: Any,
) -> None:
    """how: what `portgnn.explain` takes, by its names."""
    if out is not None:
        from portgnn import plots

        plots.check_format(out)
        check_writable(out)
        plots.check_library()
    found = explain(Model.load(model, network), dataset, node, edges=edges, announce=announce, **how)
    if out is not None:
        write_atomically(out, found.picture(out.suffix))
    if as_json:
        print_json({"model": str(model)} | found.to_dict(edges) | {"out": None if out is None else str(out)})
        return
    _print_found(found, edges)
    if out is None:
        announce("To draw the neighbourhood, add: --out why.svg")
    else:
        print_line(f"written to {out}")


def _print_found(found: Explanation, edges: int) -> None:
    document: Mapping[str, Any] = found.to_dict(edges)
    print_line(
        f"node {found.name}: {found.answer} ({found.predicted:.4f}), from {len(found.nodes)} nodes and "
        f"{len(found.edges)} edges"
    )
    print_table(
        ("source", "target", "score"),
        [(each["source"], each["target"], f"{each['score']:.4f}") for each in document["edges"]],
    )
    print_table(("feature", "score"), [(each["feature"], f"{each['score']:.4f}") for each in document["features"]])
    print_line(f"with these {found.kept} edges alone {found.with_edges:.4f}, without them {found.without_edges:.4f}")
