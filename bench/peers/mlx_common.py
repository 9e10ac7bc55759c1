"""What the peers on MLX share: devices, a lazy training step that is evaluated each epoch, and scoring."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_map

from portgnn.benchmark.contender import Recipe
from portgnn.benchmark.graphs import BenchGraph


def environment() -> dict[str, Any]:
    return {"mlx": version("mlx"), "gpu": mx.is_available(mx.gpu)}


def devices() -> tuple[str, ...]:
    return ("gpu", "cpu") if mx.is_available(mx.gpu) else ("cpu",)


def use(device: str) -> None:
    mx.set_default_device(mx.Device(mx.gpu if device == "gpu" else mx.cpu))


class ModuleProgram:
    """An MLX module trained as MLX's examples do: value_and_grad, update, one mx.eval an epoch.

    compiled: the step goes through `mx.compile`, with parameters, moments and the random state as its state.
    """

    def __init__(
        self,
        graph: BenchGraph,
        recipe: Recipe,
        device: str,
        make: Callable[[], nn.Module],
        forward: Callable[[nn.Module], mx.array],
        options: dict[str, Any],
        *,
        compiled: bool = False,
    ) -> None:
        self._compiled = compiled
        self.options, self._recipe, self._device, self._graph = options, recipe, device, graph
        self._make, self._forward = make, forward
        use(device)
        self._labels = mx.array(graph.labels.astype(np.int32))
        self._index = {split: mx.array(getattr(graph, split).astype(np.int32)) for split in ("train", "val", "test")}
        self.reset(0)

    def reset(self, seed: int) -> None:
        use(self._device)
        mx.random.seed(seed)
        self._module = self._make()
        # Bias-corrected, as Adam is everywhere else; MLX leaves the correction off unless asked.
        self._optimizer = optim.Adam(learning_rate=self._recipe.learning_rate, bias_correction=True)
        index, labels, forward = self._index["train"], self._labels, self._forward

        def loss(module: nn.Module) -> mx.array:
            return nn.losses.cross_entropy(forward(module)[index], labels[index], reduction="mean")

        self._loss_and_grad = nn.value_and_grad(self._module, loss)
        self._optimizer.init(self._module.trainable_parameters())
        mx.eval(self._module.parameters(), self._optimizer.state)
        # Dropout looks at this when a step is traced.
        self._module.train()
        state = [self._module.state, self._optimizer.state, mx.random.state]
        self._step: Any = mx.compile(self._one, inputs=state, outputs=state) if self._compiled else self._one

    def _one(self) -> mx.array:
        module, decay = self._module, self._recipe.weight_decay
        loss, grads = self._loss_and_grad(module)
        if decay:
            grads = tree_map(lambda g, p: g + decay * p, grads, module.trainable_parameters())
        self._optimizer.update(module, grads)
        return loss

    def train(self, epochs: int) -> None:
        use(self._device)
        module, optimizer = self._module, self._optimizer
        module.train()
        for _ in range(epochs):
            loss = self._step()
            mx.eval(module.parameters(), optimizer.state, loss)
        mx.synchronize()

    def evaluate(self) -> None:
        use(self._device)
        self._module.eval()
        index = self._index["val"]
        logits, labels = self._forward(self._module)[index], self._labels[index]
        loss = nn.losses.cross_entropy(logits, labels, reduction="mean")
        right = mx.mean(mx.argmax(logits, axis=1) == labels)
        loss.item(), right.item()

    def test_accuracy(self) -> float:
        use(self._device)
        self._module.eval()
        index = self._index["test"]
        guess = mx.argmax(self._forward(self._module)[index], axis=1)
        return float(mx.mean(guess == self._labels[index]).item())
