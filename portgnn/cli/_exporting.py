"""`portgnn export` and `portgnn import`: models leave, and enter."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from portgnn._system.files import check_writable
from portgnn.cli._output import announce, print_json, print_line


def leave(model: Path, to: str, out: Path | None, dataset: str | None, network: str | None, as_json: bool) -> None:
    from portgnn.exports.leaving import export

    found = export(model, to, out, graph=dataset, network=network, announce=announce)
    if as_json:
        print_json(asdict(found) | {"path": str(found.path)})
        return
    print_line(f"written to {found.path}")
    of = f"of the answers on {' and on '.join(found.graphs)}" if found.graphs else "of the weights, read again,"
    print_line(f"largest difference {of}: {found.largest_difference:.2g} (at most {found.bound:g} is admitted)")
    for note in found.notes:
        print_line(f"note: {note}")


def enter(source: Path, save: Path, options: Mapping[str, Any], as_json: bool) -> None:
    from portgnn.exports.entering import import_model

    check_writable(save)
    trained = import_model(source, announce=announce, **options)
    trained.save(save)
    if as_json:
        print_json({
            "model": str(save), "network": trained.config.model, "dataset": trained.dataset,
            "features": trained.num_features, "classes": list(trained.class_names),
            "normalize_features": trained.config.normalize_features,
            "parameters": {name: list(value.shape) for name, value in trained.params.items()},
        })  # fmt: skip
        return
    print_line(f"{trained!r}")
    print_line(f"written to {save}")
    dataset = shlex.quote(str(options["graph"] or trained.dataset))
    announce("Next, see whether it is right as often as where it comes from:",
             f"portgnn predict {shlex.quote(str(save))} --dataset {dataset}")  # fmt: skip
