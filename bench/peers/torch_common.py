"""What the peers on torch share: devices, the step of a training loop, and how a trained module is scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from portgnn.benchmark.contender import Recipe, Unsupported
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
    """A torch module trained as torch's tutorials do. forward(module) gives the logits of all nodes.

    compiled: the module is called through `torch.compile`. captured: the whole step is recorded once in a CUDA graph
    and replayed. Both keep one module, whose parameters start afresh in place: another one would be compiled anew.
    """

    def __init__(
        self,
        graph: BenchGraph,
        recipe: Recipe,
        device: str,
        make: Callable[[], torch.nn.Module],
        forward: Callable[[torch.nn.Module], torch.Tensor],
        options: dict[str, Any],
        *,
        compiled: bool = False,
        captured: bool = False,
    ) -> None:
        self.options, self._recipe, self._device = options, recipe, device
        self._compiled, self._captured = compiled, captured
        self._module: Any = None
        self._graph: Any = None
        self._prepared = not (compiled or captured)
        self._make, self._forward = make, forward
        self._labels = torch.tensor(graph.labels, device=device)
        # Masks over all nodes, as PyG's datasets carry them.
        self._masks = {}
        for split in ("train", "val", "test"):
            mask = torch.zeros(graph.nodes, dtype=torch.bool, device=device)
            mask[torch.tensor(getattr(graph, split), device=device)] = True
            # A mask's size is known once it is counted, which a captured step cannot wait for.
            self._masks[split] = mask.nonzero()[:, 0] if captured else mask
        self.reset(0)

    def reset(self, seed: int) -> None:
        torch.manual_seed(seed)
        if self._module is not None and (self._compiled or self._captured):
            self._module.reset_parameters()
            for state in self._optimizer.state.values():
                for value in state.values():
                    value.zero_()
            return
        self._module = self._make().to(self._device)
        self._called = torch.compile(self._module, dynamic=False) if self._compiled else self._module
        recipe = self._recipe
        self._optimizer = torch.optim.Adam(
            self._module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay,
            capturable=self._captured,
        )  # fmt: skip

    def train(self, epochs: int) -> None:
        self._module.train()
        if not self._prepared:
            self._prepare()
        for _ in range(epochs):
            if self._graph is not None:
                self._graph.replay()
            else:
                self._step()
        synchronize(self._device)

    def _prepare(self) -> None:
        """Compiles and captures. Raises Unsupported where that fails, so that a table says what failed."""
        what = "compile" if self._compiled else "capture"
        try:
            if self._compiled:
                self._step()
                self.reset(0)
                what = "capture"
            if self._captured:
                self._capture()
        except Exception as error:
            said = (str(error).strip().splitlines() or [""])[0][:200]
            raise Unsupported(f"failed to {what}: {type(error).__name__}: {said}") from error
        self._prepared = True

    def _step(self) -> None:
        mask, labels = self._masks["train"], self._labels
        self._optimizer.zero_grad()
        F.cross_entropy(self._forward(self._called)[mask], labels[mask]).backward()
        self._optimizer.step()

    def _capture(self) -> None:
        """Records one step, after a few on a stream of its own, as torch's guide to CUDA graphs has it."""
        before = {name: value.detach().clone() for name, value in self._module.state_dict().items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        self._optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self._step()
        self._graph = graph
        self._module.load_state_dict(before)
        for state in self._optimizer.state.values():
            for value in state.values():
                value.zero_()

    @torch.no_grad()
    def evaluate(self) -> None:
        self._module.eval()
        logits, mask = self._forward(self._called)[self._masks["val"]], self._labels[self._masks["val"]]
        loss = F.cross_entropy(logits, mask)
        right = (logits.argmax(dim=1) == mask).float().mean()
        loss.item(), right.item()

    @torch.no_grad()
    def test_accuracy(self) -> float:
        self._module.eval()
        mask = self._masks["test"]
        guess = self._forward(self._called)[mask].argmax(dim=1)
        return float((guess == self._labels[mask]).float().mean())
