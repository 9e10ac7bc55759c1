"""portgnn's networks out of PyTorch Geometric's own layers, for the same recipes and with the same parameters.

Dropout stands where portgnn's networks have it; everything else is what PyG's layers do by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import (
    APPNP,
    ChebConv,
    GATConv,
    GATv2Conv,
    GCN2Conv,
    GCNConv,
    GINConv,
    Linear,
    SAGEConv,
    SGConv,
)

WEIGHTED = ("gcn", "sgc", "appnp", "gcn2", "cheb")
"""Those whose layers in PyG take weights of edges."""


@dataclass(frozen=True)
class Same:
    """One parameter of both. name: portgnn's. seen: PyG's array in portgnn's shape. part: of portgnn's first axis."""

    name: str
    parameter: nn.Parameter
    seen: Callable[[Tensor], Tensor] = lambda x: x
    part: int | None = None


class PyGNetwork(nn.Module):
    """One of portgnn's networks in PyG's layers. config: a recipe of portgnn's; its options of dress are not here."""

    def __init__(self, config: Any, features: int, classes: int) -> None:
        super().__init__()
        self.network, self.kind = config.network, config.model
        made = self._deep if self.kind == "gcn2" else self._flat if self.kind == "sgc" else self._stacked
        made(features, classes)

    def _flat(self, features: int, classes: int) -> None:
        self.layers = nn.ModuleList([SGConv(features, classes, self.network.hops, cached=True)])

    def _deep(self, features: int, classes: int) -> None:
        of = self.network
        self.first, self.last = Linear(features, of.hidden), Linear(of.hidden, classes)
        self.layers = nn.ModuleList(
            GCN2Conv(of.hidden, of.alpha, of.theta, number, cached=True) for number in range(1, of.layers + 1)
        )

    def _stacked(self, features: int, classes: int) -> None:
        of, layers, width = self.network, [], features
        for number in range(of.layers):
            is_last = number == of.layers - 1
            layer, width = self._layer(width, classes if is_last else of.hidden, is_last)
            layers.append(layer)
        self.layers = nn.ModuleList(layers)
        if self.kind == "appnp":
            self.propagation = APPNP(of.hops, of.alpha, cached=True)

    def _layer(self, fan_in: int, fan_out: int, is_last: bool) -> tuple[nn.Module, int]:
        of = self.network
        if self.kind == "gcn":
            return GCNConv(fan_in, fan_out, bias=of.bias == "after", cached=True), fan_out
        if self.kind in ("mlp", "appnp"):
            return Linear(fan_in, fan_out), fan_out
        if self.kind == "sage":
            return SAGEConv(fan_in, fan_out, aggr=of.aggregator), fan_out
        if self.kind == "cheb":
            return ChebConv(fan_in, fan_out, of.terms), fan_out
        if self.kind == "gin":
            inner = nn.Sequential(Linear(fan_in, of.hidden), nn.ReLU(), Linear(of.hidden, fan_out))
            return GINConv(inner, train_eps=True), fan_out
        heads = of.output_heads if is_last else of.heads
        conv = {"gat": GATConv, "gatv2": GATv2Conv}[self.kind]
        made = conv(fan_in, fan_out, heads, concat=not is_last, dropout=of.attention_dropout)
        return made, fan_out if is_last else heads * fan_out

    def forward(self, x: Tensor, edges: Tensor, weights: Tensor | None = None) -> Tensor:
        of = self.network
        x = F.dropout(x, of.input_dropout, self.training)
        also = (weights,) if self.kind in WEIGHTED else ()
        if self.kind == "gcn2":
            x = first = self.first(x).relu()
            for layer in self.layers:
                x = layer(F.dropout(x, of.dropout, self.training), first, edges, *also).relu()
            return self.last(F.dropout(x, of.dropout, self.training))
        for number, layer in enumerate(self.layers):
            if number:
                x = F.elu(x) if self.kind in ("gat", "gatv2") else x.relu()
                x = F.dropout(x, of.dropout, self.training)
            x = layer(x) if self.kind in ("mlp", "appnp") else layer(x, edges, *also)
        return self.propagation(x, edges, *also) if self.kind == "appnp" else x

    def same(self) -> Iterator[Same]:
        """Each of its parameters beside portgnn's."""
        if self.kind == "gcn2":
            yield from _linear(self.first, 0)
            for number, layer in enumerate(self.layers, 2):
                yield Same(f"weight{number}", layer.weight1)
            yield from _linear(self.last, len(self.layers) + 2)
            return
        for number, layer in enumerate(self.layers):
            yield from self._same(layer, number)

    def _same(self, layer: Any, number: int) -> Iterator[Same]:
        if self.kind in ("mlp", "appnp"):
            yield from _linear(layer, number)
        elif self.kind == "sgc":
            yield from _linear(layer.lin, 0, bias=f"bias{self.network.hops - 1}")
        elif self.kind == "gcn":
            yield from _linear(layer.lin, number)
        elif self.kind == "sage":
            yield from _linear(layer.lin_l, number)
            yield from _linear(layer.lin_r, number, "own")
        elif self.kind == "cheb":
            first = number * self.network.terms
            for k, each in enumerate(layer.lins):
                yield Same(f"weight{first}", each.weight, _turned, k)
            yield Same(f"bias{first + self.network.terms - 1}", layer.bias)
        elif self.kind == "gin":
            yield from _linear(layer.nn[0], number)
            yield from _linear(layer.nn[2], number, "outer", f"outer_bias{number}")
            yield Same(f"eps{number}", layer.eps, lambda x: x.reshape(()))
        elif self.kind == "gat":
            yield from _linear(layer.lin, number)
            yield Same(f"source{number}", layer.att_src, lambda x: x[0])
            yield Same(f"target{number}", layer.att_dst, lambda x: x[0])
        else:
            yield from _linear(layer.lin_l, number, bias=f"weight_bias{number}")
            yield from _linear(layer.lin_r, number, "target", f"target_bias{number}")
            yield Same(f"score{number}", layer.att, lambda x: x[0])
        if self.kind in ("gcn", "gat", "gatv2") and layer.bias is not None:
            yield Same(f"bias{number}", layer.bias)

    def load(self, params: dict[str, Any]) -> None:
        """Takes portgnn's parameters: NumPy arrays by name. Raises KeyError, ValueError for one too few or too many."""
        seen = set()
        with torch.no_grad():
            for one in self.same():
                value = params[one.name] if one.part is None else params[one.name][one.part]
                one.seen(one.parameter.data).copy_(torch.as_tensor(value))
                seen.add(one.name)
        if seen != set(params):
            raise ValueError(f"PyG's layers have no {sorted(set(params) - seen)}")

    def gradients(self) -> dict[str, Any]:
        """The gradients of a backward pass by portgnn's names, as NumPy arrays."""
        whole, parts = {}, {}
        for one in self.same():
            grad = torch.zeros_like(one.parameter) if one.parameter.grad is None else one.parameter.grad
            array = one.seen(grad).cpu().numpy()
            if one.part is None:
                whole[one.name] = array
            else:
                parts.setdefault(one.name, []).append(array)
        return whole | {name: np.stack(arrays) for name, arrays in parts.items()}


def _turned(x: Tensor) -> Tensor:
    return x.T


def _linear(layer: Any, number: int, weight: str = "weight", bias: str | None = None) -> Iterator[Same]:
    yield Same(f"{weight}{number}", layer.weight, _turned)
    if layer.bias is not None:
        yield Same(bias or f"bias{number}", layer.bias)
