"""A trained model as a file, or a folder, that runs without portgnn; and how far what runs there is from portgnn."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn._system.files import check_writable, exists, is_folder, reason, whole_folder, write_atomically
from portgnn._version import __version__
from portgnn.checkpoints.model import Model
from portgnn.errors import ConfigError, near_matches
from portgnn.exports.recorder import check_leaves, recorded
from portgnn.graphs.graph import Graph
from portgnn.models import Network, name_of
from portgnn.prediction.predict import Trained, oriented, outputs_of, target_of, trained_model
from portgnn.programs import Exporter, Program
from portgnn.registry import get_backend, install_command, is_absent

GROUP = "portgnn.exporters"
BOUNDS = {"float64": 1e-12, "float32": 1e-5}
"""How far an answer may be from portgnn's, relative to the largest of all answers, or to 1 where that is less."""
NODES = 40
"""Of the graph that is drawn where none is given."""


@dataclass(frozen=True)
class Exported:
    """What left. path: the file or folder. largest_difference: of an answer to portgnn's own, on the graphs that were
    computed by both; bound: what is admitted of it. notes: what a user of the file should know.
    """

    path: Path
    to: str
    largest_difference: float
    bound: float
    graphs: tuple[str, ...]
    notes: tuple[str, ...]


def exporters() -> tuple[str, ...]:
    """The names of all forms that are registered, sorted."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def exporter(name: str) -> Exporter:
    """What writes a form. Raises ConfigError where it is unknown, or what it needs is not installed."""
    points: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        raise ConfigError(f"unknown form {name!r} to export to.{near_matches(name, points)}")
    try:
        return cast(Exporter, points[name].load()())
    except ImportError as error:
        if not is_absent(error):
            raise ConfigError(f"--to {name} cannot be imported: {error}") from None
        raise ConfigError(f"--to {name} needs {error.name}. Install it with: {install_command(points[name])}") from None


def export(
    model_or_path: Trained,
    to: str,
    out: str | os.PathLike[str] | None = None,
    *,
    graph: Graph | str | os.PathLike[str] | None = None,
    network: str | type[Network] | None = None,
    announce: Callable[[str], None] | None = None,
) -> Exported:
    """Writes a trained model in another form, after a look at what that computes.

    to: torch (a folder with one file of plain PyTorch, its weights and what is known of the model), pyg (the same in
        PyTorch Geometric's layers, with their names of the weights), onnx (one file), or state-dict (the weights
        alone); or what another package registers under `portgnn.exporters`.
    out: the file or folder to write, which must not exist; by default the model's name with the form behind it.
    graph: one whose answers are compared too, beside those of a drawn graph with weighted edges, loops and nodes that
        have none. network: the class of a model of the user's own, where it comes from a file.

    What is done to features is part of the networks that are written, so that they read features as they come. Raises
    ConfigError for what cannot leave, saying what and why, and where an answer differs by more than the bound; then
    nothing is written. Raises CheckpointError for an unreadable file, GraphError for a graph that does not fit.
    """
    given = model_or_path if network is None else Model.load(cast(str, model_or_path), network)
    trained = trained_model(given)
    check_leaves(trained)
    writer = exporter(to)
    target = _target(model_or_path, trained, to, writer.ending, out)
    program = recorded(trained, facts_of(trained), writer.calls)
    program = replace(program, facts=facts_of(trained) | {"notes": list(notes_of(trained, program, writer))})
    graphs = [_drawn(trained, program)]
    if graph is not None:
        graphs.append(target_of(graph, announce, (), (), trained.config.targets))
    files, bound = writer.written(program), BOUNDS[program.dtype]
    with tempfile.TemporaryDirectory() as scratch:
        place = _laid(files, Path(scratch) / f"model{writer.ending}")
        if writer.runs:
            difference = max(_difference(writer, place, program, trained, each) for each in graphs)
        else:
            graphs, bound = [], 0.0
            difference = _distance(writer.read(place), program)
    if not difference <= bound:  # a NaN is none either
        raise ConfigError(
            f"what was written for --to {to} differs by {difference:.2g} of the largest answer from portgnn's own, and "
            f"at most {bound:g} is admitted; nothing is kept of it"
        )
    if writer.ending:
        write_atomically(target, next(iter(files.values())))
    else:
        _filled(target, files)
    names = tuple(each.name for each in graphs)
    return Exported(target, to, difference, bound, names, tuple(program.facts["notes"]))


def facts_of(trained: Model) -> dict[str, Any]:
    """What a user of the file must know, and what brings the model back, as JSON."""
    config, split = trained.config, trained.split
    return {
        "written_by": f"portgnn {__version__}",
        "model": name_of(type(config).network_class),
        "task": config.task,
        "classes": list(trained.class_names),
        "features": trained.num_features,
        "feature_names": list(trained.feature_names),
        "normalize_features": config.normalize_features,
        "undirected": config.undirected,
        "trained_on": trained.dataset,
        # A digit a node: 1 trained on, 2 validated, 3 tested, 0 none of these.
        "split": None if split is None else "".join(map(str, split.tolist())),
        "recipe": asdict(config),
    }


DONE = {
    "row": "each row of the features is divided by its sum first",
    "standardize": "each column of the features is standardised first, as on the graph that the model was trained on",
    "none": "features are read as they are",
}


def notes_of(trained: Model, program: Program, writer: Exporter) -> list[str]:
    """What a user of the file should know, in sentences."""
    rule = trained.config.normalize_features
    notes = [f"{DONE[rule]}, {'by the network' if writer.runs else 'by whoever reads these weights'}"]
    if rule == "none":
        notes = [DONE[rule]]
    if program.source is not None and trained.config.undirected:
        notes.append("edges are to be given in both directions")
    notes += dict.fromkeys(f"{other.name} {other.differs}" for other, _ in program.called if other.differs)
    if not trained.config.network.prunable:
        notes.append("rows are normalised over all nodes that are given, and so each answer depends on all of them")
    return notes


def _target(given: object, trained: Model, to: str, ending: str, out: str | os.PathLike[str] | None) -> Path:
    """What is written. Raises ConfigError, before any work, where it cannot be."""
    path = given if isinstance(given, str | os.PathLike) else trained.dataset or "model"
    target = Path(out) if out is not None else Path(f"{Path(path).stem}-{to}{ending}")
    if ending:
        if target.suffix != ending:
            raise ConfigError(f"--out {target} must end in {ending}")
        check_writable(target)
    elif exists(target, ConfigError):
        raise ConfigError(f"{target} is there already, and a new folder is to be written; name another: --out FOLDER")
    elif not is_folder(target.parent, ConfigError):
        raise ConfigError(f"cannot write {target}: there is no folder {target.parent}")
    return target


def _laid(files: Mapping[str, bytes], place: Path) -> Path:
    if place.suffix:
        place.write_bytes(next(iter(files.values())))
        return place
    place.mkdir()
    for name, content in files.items():
        (place / name).write_bytes(content)
    return place


def _filled(target: Path, files: Mapping[str, bytes]) -> None:
    try:
        with whole_folder(target) as folder:
            for name, content in files.items():
                (folder / name).write_bytes(content)
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {reason(error)}") from None


def _difference(writer: Exporter, place: Path, program: Program, trained: Model, graph: Graph) -> float:
    """Of what was written there to portgnn's own answers, on one graph; relative to the largest of these, or to 1."""
    backend = get_backend("numpy", dtype=program.dtype)
    expected = trained.task().answers(outputs_of(trained, graph, backend))
    joined = oriented(graph, trained.config)[0].adjacency.tocoo()
    features = graph.features.toarray() if isinstance(graph.features, sp.csr_array) else graph.features
    found = writer.computed(
        place,
        np.ascontiguousarray(features, dtype=program.dtype),
        np.stack([joined.col, joined.row]).astype(np.int64),
        joined.data.astype(program.dtype),
    )
    if found.shape != expected.shape:
        return math.inf
    return float(np.abs(found - expected).max() / max(1.0, float(np.abs(expected).max())))


def _distance(found: Mapping[str, NDArray[np.floating]], program: Program) -> float:
    """Of arrays that were read back to the network's."""
    if set(found) != set(program.parameters):
        return math.inf
    return max((float(np.abs(found[name] - value).max()) for name, value in program.parameters.items()), default=0.0)


def _drawn(trained: Model, program: Program) -> Graph:
    """A graph with everything that a network may see for the first time: nodes without an edge and, unless another
    library's layers are known to differ there, weights, loops and edges of one direction.
    """
    random, plain = np.random.default_rng(0), any(other.differs for other, _ in program.called)
    apart = np.triu(random.random((NODES, NODES)) < 0.1, 1).astype(np.float64)
    dense = apart + apart.T
    if not plain:
        dense = apart * random.choice([0.5, 1.0, 2.0], apart.shape) + np.tril(random.random(apart.shape) < 0.05, -1)
        dense += np.diag(random.random(NODES) < 0.2)
    dense[[3, 7]] = dense[:, [3, 7]] = 0.0
    features = np.where(random.random((NODES, trained.num_features)) < 0.3, random.random((NODES, 1)) + 0.5, 0.0)
    moments = trained.moments
    if moments is not None:
        features = random.standard_normal(features.shape) * moments.scale
        features += 0.0 if moments.mean is None else moments.mean
    name = "a drawn graph" if not plain else "a drawn graph of edges that weigh 1"
    return Graph(sp.csr_array(dense), features, name=name)
