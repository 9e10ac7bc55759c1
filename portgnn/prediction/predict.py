"""What a trained model says of a graph's nodes, and how right it is on nodes that it was and was not trained on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from portgnn import tasks
from portgnn.checkpoints.model import Model
from portgnn.errors import CheckpointError, ConfigError, DatasetError, GraphError
from portgnn.graphs.checks import bare, checked_names
from portgnn.graphs.fingerprint import fingerprints
from portgnn.graphs.graph import UNLABELLED, Graph
from portgnn.graphs.sets import GraphSet
from portgnn.loaders.sets import GraphBatches, PreparedSet
from portgnn.placing.prepared import Prepared
from portgnn.prediction.evaluation import (
    MAIN,
    TRAIN,
    Evaluation,
    evaluate_parts,
    labels_for,
    members_of,
    noun_of,
    part_names,
    split_codes,
)
from portgnn.prediction.handing import HandedOn
from portgnn.presets import Config
from portgnn.protocol import Backend
from portgnn.registry import backend_of
from portgnn.tasks.heads import NODES
from portgnn.training import logits, memory


class Finished(Protocol):
    """What holds a trained model, as a `portgnn.TrainResult` does."""

    @property
    def model(self) -> Model: ...


Trained = Model | Finished | str | os.PathLike[str]
Target = Graph | GraphSet | str | os.PathLike[str]
Subjects = TypeVar("Subjects", bound=Graph | GraphSet)


@dataclass(frozen=True, eq=False)
class Classified(HandedOn):
    """A model's word on every node of a graph; as an array of another library, its logits.

    logits: [n, c]; column j is of class `class_names[j]`. class_names: the model's classes in the model's order, which
    need not be that of the graph. graph: what was classified.
    labels: int64 [n], the graph's labels as numbers of the model's classes (-1: unknown), so that
        `labels == logits.argmax(axis=1)` says which predictions are right; `graph.labels` counts in the graph's order.
    codes: uint8 [n], 1 for nodes that were trained on, 2 validated, 3 tested, 0 for others.
    split: where these come from: "model" (kept with it, and this is the graph that it was trained on), "given" (asked
        for), "graph" (they came with the graph), or "" where nobody says.
    notes: what a reader of the scores should know.
    """

    logits: NDArray[np.floating]
    class_names: tuple[str, ...]
    graph: Graph | GraphSet
    labels: NDArray[np.int64]
    codes: NDArray[np.uint8]
    split: str
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """One line: the arrays have too many."""
        return f"Classified: {self.graph!r}; {self.main!r}"

    @property
    def array(self) -> NDArray[np.floating]:
        return self.logits

    @property
    def predicted(self) -> NDArray[np.int64]:
        """[n]: the number, among `class_names`, of each node's likeliest class."""
        best: NDArray[np.int64] = self.logits.argmax(axis=1)
        return best

    @property
    def parts(self) -> NDArray[np.str_]:
        """[n]: "train", "validation", "test", "other" for other labelled nodes ("labelled" where the split is not
        known), and "" for those without a label.
        """
        return part_names(self.labels, self.codes, known=bool(self.split))

    @cached_property
    def evaluations(self) -> dict[str, Evaluation]:
        """Scores by part; a part without labelled nodes is absent."""
        return evaluate_parts(self.logits, self.labels, self.parts, self.class_names)

    @property
    def main(self) -> Evaluation | None:
        """The scores that say most: on test nodes, else on others that were not trained on; None without labels."""
        return next((self.evaluations[part] for part in MAIN if part in self.evaluations), None)


def predict(
    model_or_path: Trained,
    graph: Target,
    *,
    class_names: Sequence[str] | None = None,
    backend: str | Backend = "numpy",
    device: str | None = None,
    dtype: object = "float32",
    unknown: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
) -> NDArray[np.floating]:
    """Logits [nodes, classes] of a trained model, on any backend, for the graph it was trained on or another; of a
    model of whole graphs, [graphs, classes] for a set, and [1, classes] for one graph. Of a model of several labels,
    logits [nodes, labels]; of a regression, values [nodes, targets] in the targets' units.

    Column j is of the model's class j (`Model.class_names`), while `graph.labels` counts in the graph's own order of
    classes: the same where the graph is the one trained on, not elsewhere. To compare, give
    `class_names=graph.class_names`: columns then are of these classes in this order, followed by the model's others.
    Or take `portgnn.classify`, which returns labels in the model's order and scores by part of the split.

    Features are normalised as on the graph that the model was trained on. unknown, ignore: the labels and columns to
    leave out of the graph; see `portgnn.load_graph`. Of a model of links, the embeddings, [nodes, width].

    Raises GraphError where the graph's features do not fit the model or its classes are not the model's, ConfigError
    for class_names that the model does not have, CheckpointError for an unreadable file, OutOfMemoryError.
    """
    trained = trained_model(model_or_path)
    columns = None if class_names is None else _columns(trained.class_names, class_names)
    target = subject_of(trained, graph, None, unknown, ignore)
    found = trained.task().answers(outputs_of(trained, target, backend_of(backend, device, dtype)))
    return found if columns is None else found[:, columns]


def classify(
    model_or_path: Trained,
    graph: Target,
    *,
    split: str | None = None,
    backend: str | Backend = "numpy",
    device: str | None = None,
    dtype: object = "float32",
    unknown: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
    announce: Callable[[str], None] | None = None,
) -> Classified:
    """The class of each node of a graph, and scores of labelled nodes by part: training, validation, test, others.

    split: the split to report by; see `portgnn.load_graph`. None takes the one that the model keeps, where this is the
        graph that it was trained on, whatever split the graph brings; and else the graph's own.
    unknown, ignore: the labels and columns to leave out of the graph; see `portgnn.load_graph`.
    announce: called with what the user should know, as are the notes of the result.

    Raises what `predict` and `portgnn.load_graph` raise.
    """
    trained = trained_model(model_or_path)
    if tasks.of(trained.config).about != "nodes":
        raise ConfigError(
            "the model scores pairs of nodes and knows no classes; take portgnn.predict_links, in the shell "
            "portgnn predict with --pairs or --links-of"
        )
    check_classes(trained)
    target = subject_of(trained, graph, announce, unknown, ignore)
    # Before the work: a split that cannot be made is no reason to wait.
    check_fit(trained, target)
    labels = labels_for(target, trained.class_names)
    codes, source, notes = split_of(trained, target, split)
    logits = outputs_of(trained, target, backend_of(backend, device, dtype))
    notes = notes if (labels != UNLABELLED).any() else ()
    if announce is not None:
        for note in notes:
            announce(f"{target.name}: {note}.")
    return Classified(logits, trained.class_names, target, labels, codes, source, notes)


def split_of(
    trained: Model, graph: Graph | GraphSet, split: str | None = None
) -> tuple[NDArray[np.uint8], str, tuple[str, ...]]:
    """Each node's part of the split, as codes [n], where that comes from, and what to say about it.

    See `Classified`. Raises ConfigError or GraphError for a split that cannot be made.
    """
    from portgnn.datasets.splits import with_split

    asked: Graph | GraphSet = graph if split is None else with_split(graph, split)
    structure, whole = fingerprints(oriented(asked, trained.config)[0])
    same = trained.structure == structure or trained.fingerprint == whole
    kept = trained.split if same else None
    if kept is not None and len(kept) != members_of(graph):
        raise CheckpointError(
            f"the model keeps a split of {len(kept)} {noun_of(graph)}s for {members_of(graph)} of them"
        )
    codes = split_codes(asked)
    if kept is not None and split is None:
        return kept, "model", ()
    source = "given" if split is not None else "graph" if codes.any() else ""
    note = ""
    if kept is not None:
        seen = int(((kept == TRAIN) & (codes != TRAIN)).sum())
        note = f"the model was trained on {seen} nodes that are outside the training part here" if seen else ""
    elif trained.fingerprint != whole and not (trained.structure and trained.split is not None):
        note = "the model does not say which nodes it was trained on, and these may be among those that are scored"
        if split is None:
            note += "; if this is its graph, give the split of the training: --split, in Python split="
    elif trained.fingerprint != whole:
        note = (
            f"this is not the graph that the model was trained on ({trained.dataset or 'unnamed'}), or it has changed "
            "since; nodes of both may have been trained on"
        )
    return codes, source, (note,) if note else ()


def check_fit(trained: Model, graph: Graph | GraphSet) -> None:
    """Raises GraphError, naming the features or classes at fault, where a model cannot be used on a graph."""
    of = f"the model was trained on {trained.dataset or 'a graph'}"
    if trained.feature_names and graph.feature_names and trained.feature_names != graph.feature_names:
        missing = [name for name in trained.feature_names if name not in set(graph.feature_names)]
        unknown = [name for name in graph.feature_names if name not in set(trained.feature_names)]
        faults = [f"{graph.name} lacks {_names(missing)}"] if missing else []
        faults += [f"the model does not know {_names(unknown)} (--ignore leaves a column out)"] if unknown else []
        at = next(
            (
                i
                for i, pair in enumerate(zip(trained.feature_names, graph.feature_names, strict=False))
                if pair[0] != pair[1]
            ),
            0,
        )
        faults = faults or [
            f"they stand in another order, first at column {at + 1}: {graph.feature_names[at]!r} "
            f"where the model expects {trained.feature_names[at]!r}"
        ]
        raise GraphError(f"the features of {graph.name} are not those that {of} with: {'; '.join(faults)}")
    if graph.num_features != trained.num_features:
        raise GraphError(f"{graph.name} has {graph.num_features} features a node; {of} with {trained.num_features}")
    task = trained.task(graph)
    unknown = [name for name in task.given if name not in set(trained.class_names)]
    if unknown:
        raise GraphError(
            f"{graph.name} has {task.things} that the model does not know: {_names(unknown)}; it knows "
            f"{_names(trained.class_names)}. Leave the labels out to predict without comparing."
        )


def subject_of(
    trained: Model,
    graph: Target,
    announce: Callable[[str], None] | None = None,
    unknown: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
) -> Graph | GraphSet:
    """What a model says something of, read where it is a name or a path: a graph, whose nodes it knows, or a set. For a
    model of whole graphs, one graph is a set of one.

    Raises ConfigError for a set and a model of nodes.
    """
    from portgnn.datasets import is_graph_set, load_graphs
    from portgnn.datasets.selection import texts
    from portgnn.datasets.sets import selected_set

    of_nodes = trained.config.readout in NODES
    if isinstance(graph, GraphSet):
        graph = selected_set(graph, texts(unknown, "unknown"), texts(ignore, "ignore"))
    elif is_graph_set(graph):
        graph = load_graphs(cast(str, graph), unknown=unknown, ignore=ignore, announce=announce)
    else:
        single = target_of(graph, announce, unknown, ignore, trained.config.targets)
        bare = replace(single, labels=None, class_names=(), train=None, val=None, test=None, stored_splits=())
        return single if of_nodes else GraphSet.of([bare], name=single.name)
    if of_nodes:
        raise ConfigError(f"the model says something of nodes, and {graph.name} is a set of graphs; give one of them")
    return graph


def oriented(graph: Subjects, config: Config) -> tuple[Subjects, str]:
    """The graph with its edges as the recipe counts them, and a note on what was done; "" where nothing was."""
    if graph.is_undirected or not config.undirected:
        return graph, ""
    note = f"directed edges symmetrised, as the {config.preset} recipe has it; --directed keeps them as they are"
    return cast(Subjects, replace(graph.symmetrized(), notes=(*graph.notes, note))), note


def trained_model(given: Trained) -> Model:
    """The model of a result, or in a file. Raises CheckpointError for an unreadable file."""
    if isinstance(given, Model):
        return given
    held = getattr(given, "model", None)
    return held if isinstance(held, Model) else Model.load(given)  # type: ignore[arg-type]


def prepared_for(trained: Model, graph: Graph) -> Prepared:
    """A graph as the model was trained on its own. Raises GraphError where it does not fit the model."""
    check_fit(trained, graph)
    return Prepared.of(oriented(graph, trained.config)[0], trained.config, trained.moments)


def outputs_of(trained: Model, graph: Graph | GraphSet, backend: Backend) -> NDArray[np.floating]:
    if isinstance(graph, GraphSet):
        check_fit(trained, graph)
        problem = PreparedSet(oriented(graph, trained.config)[0], trained.config, trained.moments, trained.layers)
        with memory.told(problem, backend):
            return GraphBatches(backend, problem).outputs(trained.params)
    prepared = prepared_for(trained, graph)
    with memory.told(prepared, backend):
        return logits(backend, prepared, trained.params, trained.layers)


def check_classes(trained: Model) -> None:
    """Raises ConfigError for a model that says something else of nodes than a class of each."""
    if trained.config.task != "classes":
        raise ConfigError(
            f"the model says {trained.task().things} of nodes, and no class of each; take portgnn.predict or "
            "portgnn.estimate"
        )


def _columns(own: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """The places, among a model's classes, of those wanted and then of the others."""
    try:
        wanted = [bare(name) for name in checked_names(wanted, "class_names")]
    except GraphError as error:
        raise ConfigError(str(error)) from None
    place = {name: at for at, name in enumerate(map(bare, own))}
    unknown = [name for name in wanted if name not in place]
    if unknown or len(set(wanted)) < len(wanted):
        fault = f"{_names(unknown)} is none of its classes" if unknown else "a class is named twice"
        raise ConfigError(f"class_names does not fit the model: {fault}; it knows {_names(own)}")
    named = set(wanted)
    return [place[name] for name in wanted] + [at for at, name in enumerate(map(bare, own)) if name not in named]


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def target_of(
    graph: Target,
    announce: Callable[[str], None] | None,
    unknown: str | Sequence[str],
    ignore: str | Sequence[str],
    learned: Sequence[str] = (),
) -> Graph:
    """The graph that is asked about, read where it is a name or a path. learned: columns that are targets, where there
    are such. Raises DatasetError for a set of graphs.
    """
    from portgnn.datasets import load_graph
    from portgnn.datasets.selection import selected, targeted, texts

    if isinstance(graph, GraphSet):
        raise ConfigError(f"{graph.name} is a set of graphs, and this is of one graph; give one of them")
    if isinstance(graph, Graph):
        single = selected(graph, texts(unknown, "unknown"), texts(ignore, "ignore"))
        return targeted(single, learned) if set(learned) <= set(single.feature_names) else single
    if learned:
        try:
            return load_graph(graph, unknown=unknown, ignore=ignore, target=learned, announce=announce)
        except DatasetError:
            pass  # nodes of which nothing is known need no such columns
    return load_graph(graph, unknown=unknown, ignore=ignore, announce=announce)
