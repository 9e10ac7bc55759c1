"""What the peers on torch share: devices, the step of a training loop, and how a trained module is scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from portgnn.benchmark.contender import Recipe
from portgnn.benchmark.graphs import BenchGraph


def environment() -> dict[str, Any]:
    facts: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        facts |= {"cuda": torch.version.cuda, "gpu": torch.cuda.get_device_name()}
    return facts


def devices() -> tuple[str, ...]:
    found = ["cuda"] if torch.cuda.is_available() else []
    return (*found, *(["mps"] if torch.backends.mps.is_available() else []), "cpu")


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


class ModuleProgram:
    """A torch module trained as torch's tutorials do. forward(module) gives the logits of all nodes."""

    def __init__(
        self,
        graph: BenchGraph,
        recipe: Recipe,
        device: str,
        make: Callable[[], torch.nn.Module],
        forward: Callable[[torch.nn.Module], torch.Tensor],
        options: dict[str, Any],
    ) -> None:
        self.options, self._recipe, self._device = options, recipe, device
        self._make, self._forward = make, forward
        self._labels = torch.tensor(graph.labels, device=device)
        # Masks over all nodes, as PyG's datasets carry them.
        self._masks = {}
        for split in ("train", "val", "test"):
            mask = torch.zeros(graph.nodes, dtype=torch.bool, device=device)
            mask[torch.tensor(getattr(graph, split), device=device)] = True
            self._masks[split] = mask
        self.reset(0)

    def reset(self, seed: int) -> None:
        torch.manual_seed(seed)
        self._module = self._make().to(self._device)
        recipe = self._recipe
        self._optimizer = torch.optim.Adam(
            self._module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )

    def train(self, epochs: int) -> None:
        module, optimizer, mask, labels = self._module, self._optimizer, self._masks["train"], self._labels
        module.train()
        for _ in range(epochs):
            optimizer.zero_grad()
            logits = self._forward(module)
            loss = F.cross_entropy(logits[mask], labels[mask])
            loss.backward()
            optimizer.step()
        synchronize(self._device)

    @torch.no_grad()
    def evaluate(self) -> None:
        self._module.eval()
        logits, mask = self._forward(self._module)[self._masks["val"]], self._labels[self._masks["val"]]
        loss = F.cross_entropy(logits, mask)
        right = (logits.argmax(dim=1) == mask).float().mean()
        loss.item(), right.item()

    @torch.no_grad()
    def test_accuracy(self) -> float:
        self._module.eval()
        mask = self._masks["test"]
        guess = self._forward(self._module)[mask].argmax(dim=1)
        return float((guess == self._labels[mask]).float().mean())
