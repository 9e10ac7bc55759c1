"""k3-node's GCN, on Keras with JAX or torch below: the custom training loops of Keras's own guides.

On JAX the step is one jitted function over stateless calls with its state donated, on torch a plain loop;
`Model.fit` would add Keras's callbacks to every epoch of one batch.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import keras
import numpy as np
from k3_node.models import GCN

from portgnn.benchmark.contender import Program, Recipe, Unsupported
from portgnn.benchmark.graphs import BenchGraph


class K3Node:
    """framework: "jax" or "torch", which KERAS_BACKEND must agree with; compiled: torch.compile around the model."""

    def __init__(self, framework: str, compiled: bool = False) -> None:
        if keras.config.backend() != framework:
            raise RuntimeError(f"Keras runs on {keras.config.backend()}, not on {framework}")
        self._framework, self._compiled = framework, compiled

    def environment(self) -> dict[str, Any]:
        names = ("k3-node", "keras", self._framework)
        return {name.replace("-", "_"): version(name) for name in names}

    def devices(self) -> tuple[str, ...]:
        if self._framework == "jax":
            import jax

            return ("cpu",) if jax.default_backend() == "cpu" else ("gpu",)
        import torch

        return ("cuda",) if torch.cuda.is_available() else ("cpu",)

    def build(self, graph: BenchGraph, recipe: Recipe, device: str, options: dict[str, Any]) -> Program:
        if recipe.input_dropout:
            raise Unsupported("its GCN drops out hidden layers only")
        if recipe.bias == "before":
            raise Unsupported("its GCNConv adds the bias after the propagation")
        torch_program = CompiledTorchProgram if self._compiled else TorchProgram
        program = JaxProgram if self._framework == "jax" else torch_program
        return program(graph, recipe)


class _Common:
    def __init__(self, graph: BenchGraph, recipe: Recipe) -> None:
        self._graph, self._recipe = graph, recipe
        self.options = {
            "form": "edges",
            "rows": "all",
            "features": "dense",
            "normalisation": "cached=True",
            "optimizer": "keras Adam with its decoupled weight decay",
        }
        to = keras.ops.convert_to_tensor
        self._x = to(graph.dense_features(recipe.normalize_features))
        self._edges = to(graph.edge_index().astype(np.int32))
        self._labels = {s: to(graph.labels[getattr(graph, s)].astype(np.int32)) for s in ("train", "val", "test")}
        self._index = {s: to(getattr(graph, s).astype(np.int32)) for s in ("train", "val", "test")}
        self.reset(0)

    def reset(self, seed: int) -> None:
        recipe, graph = self._recipe, self._graph
        keras.utils.set_random_seed(seed)
        dimensions = recipe.dimensions(graph)
        self._model = GCN(
            dimensions[0], recipe.hidden, recipe.layers, dimensions[-1], recipe.dropout,
            bias=recipe.bias != "none", cached=True,
        )  # fmt: skip
        self._model(self._x, self._edges, training=False)  # builds the weights and fills the caches
        self._optimizer = keras.optimizers.Adam(recipe.learning_rate, weight_decay=recipe.weight_decay or None)
        self._optimizer.build(self._model.trainable_variables)
        self._start()

    def _start(self) -> None:
        raise NotImplementedError

    def _logits(self) -> Any:
        raise NotImplementedError

    def _loss(self, logits: Any, split: str) -> Any:
        picked = keras.ops.take(logits, self._index[split], axis=0)
        losses = keras.losses.sparse_categorical_crossentropy(self._labels[split], picked, from_logits=True)
        return keras.ops.mean(losses)

    def evaluate(self) -> None:
        logits = self._logits()
        float(self._loss(logits, "val"))
        self._score(logits, "val")

    def test_accuracy(self) -> float:
        return self._score(self._logits(), "test")

    def _score(self, logits: Any, split: str) -> float:
        guess = keras.ops.convert_to_numpy(logits)[getattr(self._graph, split)].argmax(axis=1)
        return float(np.mean(guess == self._graph.labels[getattr(self._graph, split)]))


class JaxProgram(_Common):
    """State lives outside the model, as Keras's guide to JAX training loops has it."""

    def _start(self) -> None:
        import jax

        model, optimizer = self._model, self._optimizer

        def loss(trainable: Any, fixed: Any, x: Any, edges: Any) -> tuple[Any, Any]:
            logits, fixed = model.stateless_call(trainable, fixed, x, edges, training=True)
            return self._loss(logits, "train"), fixed

        gradient = jax.value_and_grad(loss, has_aux=True)

        def step(state: Any, x: Any, edges: Any) -> tuple[Any, Any]:
            trainable, fixed, moments = state
            (value, fixed), grads = gradient(trainable, fixed, x, edges)
            trainable, moments = optimizer.stateless_apply(moments, grads, trainable)
            return value, (trainable, fixed, moments)

        def forward(trainable: Any, fixed: Any, x: Any, edges: Any) -> Any:
            return model.stateless_call(trainable, fixed, x, edges, training=False)[0]

        self._step = jax.jit(step, donate_argnums=0)
        self._forward = jax.jit(forward)
        values = [
            [jax.numpy.array(v.value, copy=True) for v in group]
            for group in (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
        ]
        self._state: Any = tuple(values)

    def train(self, epochs: int) -> None:
        import jax

        state = self._state
        for _ in range(epochs):
            _, state = self._step(state, self._x, self._edges)
        self._state = jax.block_until_ready(state)

    def _logits(self) -> Any:
        return self._forward(self._state[0], self._state[1], self._x, self._edges)


class TorchProgram(_Common):
    """Keras's guide to torch training loops: backward, then the Keras optimizer."""

    def _start(self) -> None:
        self._variables = list(self._model.trainable_variables)
        self._called = self._call()

    def _call(self) -> Any:
        return self._model

    def train(self, epochs: int) -> None:
        import torch

        model = self._model
        for _ in range(epochs):
            model.zero_grad()
            loss = self._loss(self._called(self._x, self._edges, training=True), "train")
            loss.backward()
            grads = [variable.value.grad for variable in self._variables]
            with torch.no_grad():
                self._optimizer.apply(grads, self._variables)
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    def _logits(self) -> Any:
        import torch

        with torch.no_grad():
            return self._called(self._x, self._edges, training=False)


class CompiledTorchProgram(TorchProgram):
    """The same through torch.compile. Parameters start afresh in a new model, compiled outside the clock."""

    def _call(self) -> Any:
        import torch

        called = torch.compile(self._model, dynamic=False)
        called(self._x, self._edges, training=True)
        return called


def contender(argument: str | None) -> K3Node:
    framework, _, how = (argument or "jax").partition("+")
    return K3Node(framework, how == "compiled")
