"""Faults of the library itself, by patches of public places: graph, operands, loop, loaders, files, scores, splits."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from plant import everywhere, library

from portgnn import parts, training
from portgnn.checkpoints import runs
from portgnn.graphs import graph
from portgnn.loaders import batch, cluster, inference, neighbor
from portgnn.loaders.source import InMemory
from portgnn.metrics import Accuracy
from portgnn.models.network import Stacked
from portgnn.placing import edges, features, forward
from portgnn.placing import whole as placed
from portgnn.prediction import evaluation
from portgnn.presets import Config
from portgnn.tasks import Labels
from portgnn.training import Course, History, WholeGraph, objective

Patch = pytest.MonkeyPatch

# The graph and what is multiplied.


def _normalized(monkeypatch: Patch, wrong: Any) -> None:
    monkeypatch.setattr(edges, "normalized_adjacency", wrong)


@library("self-loops counted twice", "host.normalisation")
def twice(monkeypatch: Patch) -> None:
    right = edges.normalized_adjacency
    _normalized(monkeypatch, lambda a: right(graph.canonical_csr(a + sp.diags_array(a.diagonal() > 0).astype(float))))


@library("degrees by columns", "host.normalisation")
def columns(monkeypatch: Patch) -> None:
    right = edges.normalized_adjacency
    _normalized(monkeypatch, lambda a: graph.canonical_csr(right(graph.canonical_csr(a.T)).T))


@library("weights ignored in degrees", "host.normalisation")
def unweighted(monkeypatch: Patch) -> None:
    def wrong(a: Any) -> Any:
        full = graph.canonical_csr(a + sp.diags_array(np.where(a.diagonal() == 0, 1.0, 0.0)))
        root = sp.diags_array(1 / np.sqrt(np.diff(full.indptr)))
        return graph.canonical_csr(root @ full @ root)

    _normalized(monkeypatch, wrong)


def _scaled(monkeypatch: Patch, wrong: Any) -> None:
    right = features.row_scaled

    def row_scaled(given: Any) -> Any:
        same, scale = right(given)
        return same, wrong(given, scale)

    everywhere(monkeypatch, right, row_scaled)


@library("row scales by absolute values", "host.normalisation")
def absolute(monkeypatch: Patch) -> None:
    def wrong(given: Any, scale: Any) -> Any:
        sums = np.asarray(abs(given).sum(axis=1)).ravel()
        return np.divide(1.0, sums, out=np.ones_like(sums), where=sums != 0)

    _scaled(monkeypatch, wrong)


@library("rows with a negative sum left as they are", "host.normalisation")
def negative(monkeypatch: Patch) -> None:
    _scaled(monkeypatch, lambda given, scale: np.where(scale < 0, 1.0, scale))


@library("dense features multiplied by scales of other rows", "model.logits|model.loss|compile.epochs|fit|train")
def other_rows(monkeypatch: Patch) -> None:
    right = placed.dense_product

    def product(blocks: Any, prepared: Any, rows: Any, dtype: str) -> Any:
        return right(blocks, prepared, np.roll(rows, 1), dtype)

    monkeypatch.setattr(placed, "dense_product", product)


@library("element numbers of a part of the rows counted from 0", "model.loss|model.gradient|compile.epochs|fit|train")
def local(monkeypatch: Patch) -> None:
    monkeypatch.setattr(placed, "layer_elements", lambda layers, *rest: (None,) * len(layers))


@library("element numbers of stored values off by one row", "model.loss|model.gradient|compile.epochs|fit|train")
def stored(monkeypatch: Patch) -> None:
    right = placed.stored_elements
    monkeypatch.setattr(placed, "stored_elements", lambda start, end: right(start, end) + 1)


@library("a receptive field one hop short", "model.loss|model.gradient|model.evaluation|compile.epochs|fit")
def short(monkeypatch: Patch) -> None:
    right = placed.field_in

    def field(adjacency: Any, rows: Any, layers: Any, most: int | None = None) -> Any:
        found = right(adjacency, rows, layers, most)
        if len(found.levels[0]) == adjacency.shape[0] or len(layers) < 2:
            return found
        kept = np.isin(found.levels[0], found.levels[1])
        first = graph.canonical_csr(sp.csr_array(found.blocks[0].toarray() * kept[None, :]))
        return replace(found, blocks=(first, *found.blocks[1:]))

    monkeypatch.setattr(placed, "field_in", field)


@library("a widening layer multiplied without its adjacency", "model.logits")
def widening(monkeypatch: Patch) -> None:
    right = forward.outputs

    def outputs(backend: Any, layers: Any, params: Any, given: Any, keys: Any = None) -> Any:
        last = layers[-1]
        if last.number and last.fan_out > last.fan_in and last.bias != "before":
            given = replace(given, adjacency=(*given.adjacency[:-1], None))
        return right(backend, layers, params, given, keys)

    monkeypatch.setattr(forward, "outputs", outputs)


@library("the penalty on all weights", "model.loss")
def penalty(monkeypatch: Patch) -> None:
    def l2_penalty(backend: Any, params: Any, penalised: Any) -> Any:
        return sum(backend.xp.sum(w * w) for w in params.values()) * (0.5 * penalised["weight0"])

    monkeypatch.setattr(objective, "l2_penalty", l2_penalty)


@library("right answers counted over all rows", "model.evaluation")
def all_rows(monkeypatch: Patch) -> None:
    def sums(metric: Any, xp: Any, outputs: Any, counted: Any) -> Any:
        return (xp.sum(xp.argmax(outputs, axis=-1) == xp.maximum(counted.labels, counted.labels * 0)),)

    monkeypatch.setattr(Accuracy, "sums", sums)


@library("weight decay left off the biases", "compile.epochs")
def no_bias_decay(monkeypatch: Patch) -> None:
    right = objective.decays

    def decays(config: Config, layers: Any) -> Any:
        return {name: decay for name, decay in right(config, layers).items() if name.startswith("weight")}

    monkeypatch.setattr(objective, "decays", decays)


@library("Adam by its defaults", "compile.epochs")
def defaults(monkeypatch: Patch) -> None:
    def make_optimizer(backend: Any, task: Any) -> Any:
        return backend.adam(task.config.learning_rate, weight_decay=objective.decays(task.config, task.layers))

    everywhere(monkeypatch, training.make_optimizer, make_optimizer)


@library("the last layer without dropout", "model.loss")
def undropped(monkeypatch: Patch) -> None:
    def dropout_rates(self: Stacked) -> Any:
        return (self.input_dropout, *(self.dropout,) * (self.layers - 2), *([0.0] if self.layers > 1 else []))

    monkeypatch.setattr(Stacked, "dropout_rates", dropout_rates)


# The loop.


def _stops(name: str) -> Any:
    def add(wrong: Any) -> Any:
        right = Config.stops
        library(name, "loop|fit")(
            lambda monkeypatch: monkeypatch.setattr(Config, "stops", lambda c, l: wrong(right, c, l))
        )
        return wrong

    return add


@_stops("patience counted one short")
def _short(right: Any, config: Config, losses: Any) -> bool:
    return right(replace(config, patience=max(config.patience - 1, 1)) if config.patience else config, losses)


@_stops("the window holds the last epoch")
def _own(right: Any, config: Config, losses: Any) -> bool:
    if config.stopping != "window" or not config.patience or len(losses) <= config.patience + 1:
        return right(config, losses)
    return len(losses) - 1 >= int(config.stop_after * config.epochs) and losses[-1] > np.mean(
        losses[-config.patience :]
    )


@_stops("stop_after ignored")
def _early(right: Any, config: Config, losses: Any) -> bool:
    return right(replace(config, stop_after=0.0), losses)


@_stops("ties count as better")
def _ties(right: Any, config: Config, losses: Any) -> bool:
    if config.stopping != "patience" or not config.patience or len(losses) - 1 < int(config.stop_after * config.epochs):
        return right(config, losses)
    best = max(i for i, loss in enumerate(losses) if loss == min(losses))
    return len(losses) - 1 - best >= config.patience


@_stops("patience 0 stops at once")
def _zero(right: Any, config: Config, losses: Any) -> bool:
    return True if not config.patience else right(config, losses)


def _best(monkeypatch: Patch, wrong: Any) -> None:
    monkeypatch.setattr(Course, "best_epoch", property(lambda self: wrong(self.history)))


@library("the last of equal losses is the best", "loop|fit")
def last_best(monkeypatch: Patch) -> None:
    _best(monkeypatch, lambda h: max((i for i, loss in enumerate(h.val_loss) if loss == min(h.val_loss)), default=0))


@library("the best by accuracy", "loop|fit")
def by_accuracy(monkeypatch: Patch) -> None:
    _best(monkeypatch, lambda h: int(np.argmax(h.val_accuracy)) if h.val_accuracy else len(h) - 1)


@library("what is run again begins an epoch late", "loop|fit")
def replay(monkeypatch: Patch) -> None:
    right = Course._again

    def again(self: Any, before: Any, epochs: range) -> Any:
        return right(self, before, range(epochs.start + 1, epochs.stop) if len(epochs) > 1 else epochs)

    monkeypatch.setattr(Course, "_again", again)


@library("keys counted from the chunk", "loop|fit|train")
def chunk_keys(monkeypatch: Patch) -> None:
    right = Course._keys
    monkeypatch.setattr(Course, "_keys", lambda self, epochs: right(self, range(len(epochs))))


@library("history cut an epoch late", "loop|fit")
def uncut(monkeypatch: Patch) -> None:
    right = History.cut
    monkeypatch.setattr(History, "cut", lambda self, epochs: right(self, epochs + 1))


@library("what ran too far is kept", "loop|fit")
def too_far(monkeypatch: Patch) -> None:
    right = Course._again

    def again(self: Any, before: Any, epochs: range) -> Any:
        return self._state if self.stopped else right(self, before, epochs)

    monkeypatch.setattr(Course, "_again", again)


@library("moments lost in a run's file", "loop.resume")
def lost(monkeypatch: Patch) -> None:
    right = runs.save_run
    monkeypatch.setattr(runs, "save_run", lambda path, run, progress: right(path, run, replace(
        progress, state={n: v * (n.startswith("param.")) for n, v in progress.state.items()})))  # fmt: skip


@library("the best state lost in a run's file", "loop.resume")
def best_lost(monkeypatch: Patch) -> None:
    right = runs.save_run
    monkeypatch.setattr(runs, "save_run", lambda path, run, progress: right(path, run, replace(
        progress, best_state=progress.best_state and progress.state)))  # fmt: skip


@library("a resumed run's best epoch forgotten", "loop.resume")
def start_lost(monkeypatch: Patch) -> None:
    right = runs.load_run

    def load_run(path: Any) -> Any:
        run, progress = right(path)
        return run, replace(progress, best_start=0)

    monkeypatch.setattr(runs, "load_run", load_run)


# Batches.


@library("sampled neighbours not weighted", "batches.samples")
def unweighted_samples(monkeypatch: Patch) -> None:
    right = InMemory.csr
    monkeypatch.setattr(InMemory, "csr", lambda self, nodes, counts, at, scale=None: right(self, nodes, counts, at))


@library("self-loops weighted as neighbours are", "batches.samples")
def weighted_loops(monkeypatch: Patch) -> None:
    right = InMemory.csr

    def csr(self: Any, nodes: Any, counts: Any, at: Any, scale: Any = None) -> Any:
        found = right(self, nodes, counts, at)
        if scale is not None:
            found.data = found.data * np.repeat(scale, counts)
        return found

    monkeypatch.setattr(InMemory, "csr", csr)


@library("the first neighbours taken", "batches.samples")
def first_taken(monkeypatch: Patch) -> None:
    monkeypatch.setattr(neighbor, "distinct", lambda populations, k, draw: np.tile(np.arange(k), (len(populations), 1)))


@library("the last batch of an epoch left out", "batches.samples")
def dropped(monkeypatch: Patch) -> None:
    right = neighbor.batches

    def batches(source: Any, nodes: Any, draw: Any) -> Any:
        made = list(right(source, nodes, draw))
        return iter(made[:-1] or made)

    monkeypatch.setattr(neighbor, "batches", batches)


@library("the same order in every epoch", "batches.samples")
def same_order(monkeypatch: Patch) -> None:
    right = neighbor.batches
    monkeypatch.setattr(neighbor, "batches", lambda source, nodes, draw: right(source, nodes, np.random.default_rng(0)))


@library("cluster edges keep the whole graph's normalisation", "batches.samples")
def whole_normalisation(monkeypatch: Patch) -> None:
    def within(source: Any, nodes: Any) -> Any:
        return SimpleNamespace(weighted=lambda rule: source.rows(nodes)[:, nodes])

    monkeypatch.setattr(cluster, "within_nodes", within)


@library("batches weighted by batch_size", "batches|batches.samples")
def by_size(monkeypatch: Patch) -> None:
    right = batch.assemble

    def assemble(source: Any, block: Any, *more: Any) -> Any:
        made = right(source, block, *more)
        weights = made.targets.weights * made.count / source.config.batch_size
        return replace(made, targets=replace(made.targets, weights=weights))

    everywhere(monkeypatch, right, assemble)


@library("inference without the bias", "batches|batches.inference")
def no_bias(monkeypatch: Patch) -> None:
    right = inference.Inference.logits

    def logits(self: Any, params: Any) -> Any:
        zeros = {n: v * 0 if n.startswith("bias") else v for n, v in params.items()}
        return right(self, zeros) + 0.0

    monkeypatch.setattr(inference.Inference, "logits", logits)


@library("plain batches keep the old keys", "batches.step|batches")
def old_keys(monkeypatch: Patch) -> None:
    def plain(backend: Any, step: Any) -> Any:
        return lambda state, keys, given: step(state, (keys * 0).tolist(), given)

    everywhere(monkeypatch, parts.plain_batches, plain)


# Scores, splits, files.


@library("macro F1 over classes that never occur", "host.evaluation")
def empty_classes(monkeypatch: Patch) -> None:
    right = evaluation.score

    def score(*args: Any, **named: Any) -> Any:
        found = right(*args, **named)
        return replace(found, macro_f1=float(np.mean([row.f1 for row in found.classes])) * 0.999)

    monkeypatch.setattr(evaluation, "score", score)


@library("confusion transposed", "host.evaluation")
def transposed(monkeypatch: Patch) -> None:
    right = evaluation.score
    monkeypatch.setattr(
        evaluation, "score", lambda *a, **b: replace(right(*a, **b), confusion=right(*a, **b).confusion.T)
    )


@library("ten bins of calibration", "host.evaluation")
def ten_bins(monkeypatch: Patch) -> None:
    right = evaluation.calibration_error
    monkeypatch.setattr(evaluation, "calibration_error", lambda p, labels: right(p, labels, 10))


@library("labels by number, not by name", "host.evaluation")
def by_number(monkeypatch: Patch) -> None:
    monkeypatch.setattr(evaluation, "labels_for", lambda given, names: given.labels)


@library("test nodes among the others", "host.evaluation")
def mixed(monkeypatch: Patch) -> None:
    right = evaluation.split_codes
    monkeypatch.setattr(evaluation, "split_codes", lambda given: np.where(right(given) == 3, 0, right(given)))


@library("a split without its seed", "host.splits")
def seedless(monkeypatch: Patch) -> None:
    from portgnn.datasets import splits

    right = splits._order
    monkeypatch.setattr(splits, "_order", lambda n, seed: right(n, 0))


@library("a split in the nodes' order", "host.splits")
def ordered(monkeypatch: Patch) -> None:
    from portgnn.datasets import splits

    monkeypatch.setattr(splits, "_order", lambda n, seed: np.arange(n))


@library("predictions with dropout's scale", "train")
def scaled(monkeypatch: Patch) -> None:
    from portgnn.prediction import predict

    right = predict.logits
    monkeypatch.setattr(predict, "logits", lambda *given: right(*given) * 1.01)


@library("models saved in half precision", "train")
def half(monkeypatch: Patch) -> None:
    from portgnn.checkpoints.model import Model

    right = Model.save
    monkeypatch.setattr(Model, "save", lambda self, path: right(replace(
        self, params={n: v.astype(np.float16).astype(v.dtype) for n, v in self.params.items()}), path))  # fmt: skip


@library("test accuracy over validation nodes", "train")
def wrong_nodes(monkeypatch: Patch) -> None:
    right = WholeGraph.scores

    def scores(self: Any, params: Any, nodes: Any) -> dict[str, float]:
        graph = self.problem.graph
        other = graph.train if graph.val is None else np.concatenate([graph.val, graph.train])
        return {name: 1.0 - value for name, value in right(self, params, other).items()}

    monkeypatch.setattr(WholeGraph, "scores", scores)


@library("binary cross-entropy in bits", "tasks.loss")
def bits(monkeypatch: Patch) -> None:
    right = Labels.loss
    monkeypatch.setattr(Labels, "loss", lambda *given: right(*given) / float(np.log(2.0)))


@library("the mean over a graph's rows for their sum", "sets.readout")
def mean_for_sum(monkeypatch: Patch) -> None:
    from portgnn.loaders import sets

    right = sets._members

    def members(problem: Any, graphs: Any, shape: Any) -> Any:
        found = right(problem, graphs, shape)
        if problem.config.readout == "sum":
            found.data[: int(problem.graph.sizes[graphs].sum())] = np.repeat(
                1.0 / problem.graph.sizes[graphs], problem.graph.sizes[graphs]
            )
        return found

    monkeypatch.setattr(sets, "_members", members)


@library("edges of one graph of a batch are those of the next", "sets.step")
def shifted_edges(monkeypatch: Patch) -> None:
    from portgnn.loaders.sets import PreparedSet

    right = PreparedSet.block

    def block(self: Any, graphs: Any, nodes: Any) -> Any:
        data, indices, indptr = right(self, graphs, nodes)
        return data, np.minimum(indices + 1, len(nodes) - 1).astype(np.int32), indptr

    monkeypatch.setattr(PreparedSet, "block", block)
