"""`portgnn plot`: results as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from portgnn import tasks
from portgnn._system.files import check_writable, write_atomically
from portgnn.checkpoints.model import Model
from portgnn.cli._output import announce, print_json, print_line
from portgnn.errors import ConfigError
from portgnn.plots import OF_MODELS
from portgnn.prediction.predict import target_of
from portgnn.report.documents import Document, differing
from portgnn.report.documents import read as document_of

MODEL = ".safetensors"
HELD = {"train": "a training run", "verify": "a verification", "benchmark": "a benchmark", "growth": "a growth run"}


def run(
    results: Sequence[Path],
    *,
    out: Path,
    kind: str | None,
    dataset: str | None,
    network: str | None,
    read: Mapping[str, Any],
    map: str,
    as_json: bool,
) -> None:
    """read: how to read the dataset, for `portgnn.load_graph`."""
    from portgnn import plots

    plots.check_format(out)
    check_writable(out)
    models = [path for path in results if path.suffix == MODEL]
    documents = [document_of(path) for path in results if path.suffix != MODEL]
    chosen = kind or _suited(documents)
    _check(chosen, documents, models, results)
    runs = [document.data for document in documents]
    model = graph = None
    if models:
        from portgnn.plots.nodes import graph_of

        model = Model.load(models[0], network)
        about = tasks.of(model.config).about
        if about != "nodes":
            raise ConfigError(f"the model says something of {about}, and a {chosen} is of nodes")
        graph = (
            graph_of(model) if dataset is None else target_of(dataset, announce, **read, learned=model.config.targets)
        )
    axes = plots.draw(chosen, runs=runs, model=model, graph=graph, map=map)
    write_atomically(out, plots.image(axes, out.suffix))
    if as_json:
        print_json({"kind": chosen, "out": str(out)})
    else:
        print_line(f"written to {out}")


def _suited(documents: Sequence[Document]) -> str:
    """The kind of picture for some results: a comparison where runs are meant to give the same numbers."""
    if not documents:
        return "map"
    first = documents[0]
    if first.kind != "train":
        return first.kind
    runs = [document.data for document in documents if document.kind == "train"]
    return "curves" if len(runs) < 2 or any(differing(runs[0], run) for run in runs[1:]) else "compare"


def _check(kind: str, documents: Sequence[Document], models: Sequence[Path], results: Sequence[Path]) -> None:
    """Raises ConfigError for a result that the picture does not show: none is left out in silence."""
    if kind == "verify":
        raise ConfigError(f"{documents[0].name} is a verification; type: portgnn report {documents[0].name}")
    if kind in OF_MODELS:
        if documents:
            raise ConfigError(f"{documents[0].name} holds {HELD[documents[0].kind]}; a {kind} is drawn from a model, "
                              "which portgnn train --save FILE.safetensors keeps")  # fmt: skip
        if len(models) > 1:
            raise ConfigError(f"a {kind} shows one model, and {len(models)} are given")
        return
    if models:
        raise ConfigError(f"{models[0]} is a model; of one, --kind {', --kind '.join(OF_MODELS[:-1])} or --kind "
                          f"{OF_MODELS[-1]} can be drawn")  # fmt: skip
    wanted = kind if kind in ("benchmark", "growth") else "train"
    other = next((document for document in documents if document.kind != wanted), None)
    if other is not None:
        raise ConfigError(f"{other.name} holds {HELD[other.kind]}, and --kind {kind} shows {HELD[wanted]}")
    if wanted != "train" and len(results) > 1:
        raise ConfigError(f"a picture of kind {kind} shows one file, and {len(results)} are given")
