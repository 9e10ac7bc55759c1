"""A model as a program: what is done to features and edges before the network, the network, and its task's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portgnn.checkpoints.model import Model
from portgnn.errors import ConfigError
from portgnn.exports.counterparts import Stand, left, stood_in
from portgnn.exports.tracing import Namespace, Tape, Traced, unknown
from portgnn.models.layer import Layer, Weighting
from portgnn.parts import attended
from portgnn.placing import forward
from portgnn.placing.edges import Ends, weights_of
from portgnn.placing.operands import Operands
from portgnn.programs import APART, EDGES, GIVEN, NODES, Kind, Program, Value
from portgnn.protocol import Capabilities, Key, Params

Array: TypeAlias = Any
"""A `Traced`: its operators are made, and not written."""


class Recorder:
    """A `Backend` with `MessagePassing`, for a network whose dropout is off."""

    name, device = "recorder", "none"
    capabilities = Capabilities(lazy=True, deterministic=True)

    def __init__(self, tape: Tape) -> None:
        self.tape, self.dtype, self.xp = tape, tape.dtype.name, Namespace(tape)

    def __getattr__(self, name: str) -> Any:
        raise unknown(f"backend.{name}")

    def called(self, number: int, width: int, x: Array, *carried: Array) -> Array:
        """A layer of another library's, by its number."""
        return self.tape.add("called", (NODES, width), x, *carried, layer=number)

    def asarray(self, x: NDArray[np.generic]) -> Array:
        return self.tape.constant(np.asarray(x))

    def matmul(self, a: Any, b: Any) -> Array:
        if isinstance(a, Joined):
            return self.edge_spmm(a, self.xp.expand_dims(a.weights, axis=1), b)
        return self.xp.matmul(a, b)

    spmm = matmul

    matmul_add = propagated = elu = None  # of its own

    def attend(self, *given: Any) -> Array:
        return attended(self, *given)

    def relu(self, x: Array) -> Array:
        return self.tape.add("relu", x.shape, x)

    def log_softmax(self, x: Array) -> Array:
        xp = self.xp
        lower = x - xp.max(x, axis=-1, keepdims=True)
        return lower - xp.log(xp.sum(xp.exp(lower), axis=-1, keepdims=True))

    def edges(self, matrix: Any) -> Any:
        raise unknown("edges of its own")

    def edge_weights(self, a: Joined) -> Array:
        return a.weights

    def gather(self, a: Joined, x: Array, end: str) -> Array:
        return self.tape.taken(x, a.source if end == "source" else a.target)

    def segment_sum(self, a: Joined, values: Array) -> Array:
        return total(values, a.target)

    def segment_max(self, a: Joined, values: Array) -> Array:
        return self.tape.add("largest", (NODES, *values.shape[1:]), values, a.target)

    def edge_softmax(self, a: Joined, scores: Array) -> Array:
        raised = self.xp.exp(scores - self.gather(a, self.segment_max(a, scores), "target"))
        return raised / self.gather(a, total(raised, a.target), "target")

    def edge_spmm(self, a: Joined, values: Array, x: Array) -> Array:
        sent, xp = self.gather(a, x, "source"), self.xp
        heads = values.shape[1]
        if heads > 1:
            sent = xp.reshape(sent, (EDGES, heads, sent.shape[1] // heads))
            values = xp.expand_dims(values, axis=2)
        received = total(values * sent, a.target)
        return xp.reshape(received, (NODES, x.shape[1])) if heads > 1 else received

    def dropout(self, x: Array, rate: float, key: Key, index: Any = None) -> Array:
        raise unknown("dropout where it is not trained")


def total(values: Array, index: Array) -> Array:
    """Of the values whose node an index names, [nodes, …]."""
    return values.tape.add("total", (NODES, *values.shape[1:]), values, index)


@dataclass(frozen=True, eq=False)
class Joined:
    """Edges as they were given, with a loop at every node; of A + I, in `portgnn.placing.edges`.

    source, target: int [edges]. weights: [edges], by the network's rule.
    """

    source: Array
    target: Array
    weights: Array


@dataclass(frozen=True, eq=False)
class TracedSums:
    """The `Sums` of edges that were given: `nodes` are all of them, and values of all are what is asked for."""

    given: Array
    target: Array
    is_added: Array

    @cached_property
    def _plain(self) -> Array:
        return total(self.given, self.target)

    def looped(self, nodes: Any) -> Any:
        return self._plain + np.where(self.is_added, 1.0, 0.0)

    def plain(self, nodes: Any) -> Any:
        return self._plain

    def added(self, nodes: Any) -> Any:
        return self.is_added


def joined(recorder: Recorder, edges: Sequence[Array], rule: Weighting) -> Joined:
    """A + I and what its edges weigh: a loop that has a weight keeps it, and every other node gets one of 1."""
    tape, xp = recorder.tape, recorder.xp
    source, target, given = edges
    apart = source != target
    loops = total(xp.where(apart, 0.0, given), target)
    is_added = loops == 0
    nodes = tape.add("arange", (NODES,), kind="int")

    def both(of_edges: Array, of_nodes: Any) -> Array:
        kept = tape.add("compress", (APART,), of_edges, apart, kind=of_edges.value.kind)
        return tape.add("concat", (EDGES,), kept, of_nodes, axis=0, kind=of_edges.value.kind)

    ends = both(source, nodes), both(target, nodes)
    values = both(given, xp.where(is_added, 1.0, loops))
    sums: Array = TracedSums(given, target, is_added)
    rows, columns = (Ends(nodes, end) for end in (ends[1], ends[0]))  # type: ignore[arg-type]
    return Joined(*ends, weights_of(rule, values, rows, columns, sums)(slice(None)))


def prepared(recorder: Recorder, model: Model, features: Array) -> Array:
    """The features as the recipe has them: `portgnn.placing.features` on rows of which none overflows."""
    xp, moments = recorder.xp, model.moments
    if moments is not None:
        centred = features if moments.mean is None else features - moments.mean
        return centred / moments.scale
    if model.config.normalize_features == "row":
        sums = xp.sum(features, axis=1, keepdims=True)
        return features / xp.where(sums == 0, 1.0, sums)
    return features


def recorded(model: Model, facts: Mapping[str, Any], calls: bool = False) -> Program:
    """The program of a model. calls: layers that another library has are called in place of written out.

    Raises ConfigError, naming what it is, for a network with something that no exported form has a word for.
    """
    dtype = next((value.dtype.name for value in model.params.values()), "float32")
    tape = Tape(dtype)
    recorder = Recorder(tape)
    features = Traced(tape, Value((NODES, model.num_features), "float", "x"))
    ends: tuple[tuple[str, Kind], ...] = (("source", "int"), ("target", "int"), ("weights", "float"))
    edges = [Traced(tape, Value((GIVEN,), kind, name)) for name, kind in ends]
    params: Params = {name: Traced(tape, Value(value.shape, "float", name)) for name, value in model.params.items()}
    layers, others = stood_in(model.layers) if calls else (model.layers, ())
    output: Array = rows_of(recorder, layers, params, prepared(recorder, model, features), edges, model)
    output = model.task().answers(output)
    kept, used = needed(tape, output.value)
    arrays = {name: array for name, array in (*model.params.items(), *tape.constants.items()) if name in used}
    reads = any(layer.along != "nothing" for layer in layers)
    given = [each.value if reads else None for each in edges]
    title = f"{model.config.preset} on {model.dataset or 'a graph'}, trained by portgnn"
    called = tuple(zip(others, left(others, model.params), strict=True))
    source, target, weights = given
    return Program(kept, arrays, features.value, source, target, weights, output.value, dtype, title, facts, called)


def rows_of(
    recorder: Recorder, layers: tuple[Layer, ...], params: Params, features: Array, edges: list[Array], model: Model
) -> Array:
    """What the last layer gives, by the one forward pass."""
    reads = [layer for layer in layers if layer.along != "nothing"]
    matrix: Any = None
    if reads:
        plain = all(isinstance(layer, Stand) for layer in reads)
        matrix = Joined(*edges) if plain else joined(recorder, edges, model.config.network.weighting)
    nothing: Any = None
    operands = Operands(
        features=features,
        adjacency=tuple(matrix if layer.along != "nothing" else None for layer in layers),
        picked=(None,) * len(layers),
        index=(None,) * len(layers),
        edge_index=(None,) * len(layers),
        weights=nothing,
        labels=nothing,
        count=0,
    )
    found: Any = forward.outputs(recorder, layers, params, operands)
    return found


def needed(tape: Tape, output: Value) -> tuple[tuple[Any, ...], set[str]]:
    """The instructions that the output comes from, in order, and the names of what they read."""
    wanted, names, kept = {output}, set[str](), []
    for each in reversed(tape.instructions):
        if each.output in wanted:
            kept.append(each)
            arrays = [operand for operand in each.operands if isinstance(operand, Value)]
            wanted.update(arrays)
            names.update(array.name for array in arrays if array.name)
    return tuple(reversed(kept)), names


def check_leaves(model: Model) -> None:
    """Raises ConfigError for a model whose answers are not of nodes."""
    from portgnn.tasks.heads import NODES as OF_NODES

    task = model.task()
    if task.about != "nodes":
        raise ConfigError("the model scores pairs of nodes, and what leaves are networks that say something of a node")
    if model.config.readout not in OF_NODES:
        raise ConfigError(
            f"the model reads whole graphs out (readout={model.config.readout}), and what leaves are networks that say "
            "something of a node"
        )
