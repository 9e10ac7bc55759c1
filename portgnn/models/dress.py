"""What any layer may wear around its own three parts: a residual connection, a norm, an activation, a jump to the end.

    H' = norm(layer(H) + H W_residual), activated                        residual "linear" (Luo et al. 2024, eq. 3)
    H' = norm(layer(H)), activated, + H                                   residual "add" (Kipf & Welling 2017, eq. 14)

A norm over columns of batches keeps the mean and the variance that it saw, and takes these afterwards (Ioffe & Szegedy
2015, algorithm 2). And, where layers jump (Xu et al. 2018, section 3.3), a last layer reads all of their H', or that of
the last one alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from portgnn.models.activations import Activation, activated
from portgnn.models.layer import FOUND, SHARE, Along, Kept, Layer, Parameter

if TYPE_CHECKING:
    from portgnn.protocol import CSR, Array, Backend, Params

Norm = Literal["none", "layer", "batch"]
Residual = Literal["none", "add", "linear"]
Jumping = Literal["none", "cat", "max", "sum", "last"]

EPS = 1e-5
"""Added to variances, as torch.nn's LayerNorm and BatchNorm1d do."""
MOMENTUM = 0.1
"""How much of a kept mean and variance a batch replaces, as in torch.nn's BatchNorm1d."""


@dataclass(frozen=True)
class Dress:
    """The options of a stack of layers. running: the norm "batch" keeps what it saw of batches, for afterwards.

    late: what shifts all rows of the last layer alike is left to whoever sums them.
    """

    activation: Activation = "relu"
    norm: Norm = "none"
    residual: Residual = "none"
    jumping: Jumping = "none"
    running: bool = False
    late: bool = False

    @property
    def jumps(self) -> bool:
        return self.jumping != "none"

    def seen(self, before: int, width: int) -> int:
        """How wide what the last layer reads is, after one more layer."""
        return before + width if self.jumping == "cat" else width

    def on(self, layer: Layer, seen: int, ends: bool) -> Layer:
        """The layer in this dress; itself where it has none.

        seen: as above, before it. ends: it is the last that jumps.

        The network's last layer has no norm and no activation.
        """
        plain = self.activation == "relu" or layer.is_last
        if plain and (self.norm == "none" or layer.is_last) and self.residual == "none" and not self.jumps:
            return layer
        width = self.seen(seen, layer.fan_out) if ends and self.jumps else layer.fan_out
        carries = seen > 0 and self.jumping != "last"
        return Dressed(layer.number, layer.fan_in, width, layer.dropout, layer.is_last, layer, self, carries, ends)


@dataclass(frozen=True)
class Dressed(Layer):
    """A layer in its dress. carries: whether layers before it jump. ends: whether it is the last that does."""

    inner: Layer = None  # type: ignore[assignment]  # a field behind those with defaults needs one
    dress: Dress = Dress()
    carries: bool = False
    ends: bool = False

    @property
    def along(self) -> Along:
        return self.inner.along

    @property
    def keeps(self) -> bool:
        return self.inner.keeps or self.residual != "none" or self.carries

    @property
    def commutes(self) -> bool:
        return self.inner.commutes and not self.keeps

    @property
    def reads_dense(self) -> bool:
        return self.inner.reads_dense

    @property
    def edge_dropout(self) -> float:
        return self.inner.edge_dropout

    @property
    def edge_values(self) -> int:
        return self.inner.edge_values

    @property
    def residual(self) -> Residual:
        """The layer's own: only rows that are equally wide, and are not features, can be added as they are."""
        adds = self.number > 0 and self.fan_in == self.inner.fan_out and not self.is_last
        return "none" if self.dress.residual == "add" and not adds else self.dress.residual

    @property
    def norm(self) -> Norm:
        return "none" if self.is_last else self.dress.norm

    @property
    def observes(self) -> bool:
        return self.norm == "batch" and self.dress.running

    def parameters(self) -> Mapping[str, Parameter]:
        found = dict(self.inner.parameters())
        if self.observes:
            # It would have no gradient but rounding, which an optimizer that scales gradients makes steps of.
            found.pop(self.inner.shifted_by, None)
        if self.residual == "linear":
            found["residual"] = Parameter((self.fan_in, self.inner.fan_out))
        if self.norm != "none":
            found["scale"] = Parameter((self.inner.fan_out,), "ones", "other")
            found["shift"] = Parameter((self.inner.fan_out,), "zeros", "bias")
        if self.observes:
            found["mean"] = Parameter((self.inner.fan_out,), "zeros", "other", decay=0.0)
            found["variance"] = Parameter((self.inner.fan_out,), "ones", "other", decay=0.0)
        return found

    @property
    def shifted_by(self) -> str:
        return self.inner.shifted_by if self.is_last else ""

    def own(self, params: Mapping[str, Array]) -> Params:
        found = super().own(params)
        if self.dress.late and self.shifted_by:
            found[self.shifted_by] = found[self.shifted_by] * 0.0
        if self.observes and self.inner.shifted_by:
            found[self.inner.shifted_by] = found["shift"] * 0.0
        return found

    def message(self, backend: Backend, params: Params, x: Array | CSR, *seen: Array) -> tuple[Array | CSR, Kept]:
        sent, kept = self.inner.message(backend, params, x)
        if not self.keeps:
            return sent, None
        beside = backend.matmul(x, params["residual"]) if self.residual == "linear" else x
        return sent, (kept, beside if self.residual != "none" else None, *seen)

    def aggregate(self, backend: Backend, params: Params, edges: Any, sent: Array, kept: Kept) -> Array:
        return self.inner.aggregate(backend, params, edges, sent, kept[0] if kept else None)

    def update(self, backend: Backend, params: Params, total: Array, kept: Kept) -> Array | tuple[Array, ...]:
        inner, beside, *seen = kept or (None, None)
        output: Any = self.inner.update(backend, params, total, inner)
        if self.residual == "linear":
            output = output + beside
        if self.observes:
            output = _running(backend, output, params)
        elif self.norm != "none":
            output = normed(backend, output, self.norm, params["scale"], params["shift"])
        if not self.is_last:
            output = activated(backend, output, self.dress.activation)
        if self.residual == "add":
            output = output + beside
        if self.dress.jumping in ("none", "last"):
            return output
        all_seen = self._joined(backend, seen[0], output) if seen else output
        return all_seen if self.ends else (output, all_seen)

    def activate(self, backend: Backend, output: Array) -> Array:
        return output  # it has been

    def _joined(self, backend: Backend, seen: Array, output: Array) -> Array:
        xp, jumping = backend.xp, self.dress.jumping
        if jumping == "cat":
            return xp.concat([seen, output], axis=1)
        return xp.maximum(seen, output) if jumping == "max" else seen + output


def normed(backend: Backend, x: Array, norm: Norm, scale: Array, shift: Array) -> Array:
    """Rows ("layer", Ba et al. 2016, eq. 3) or columns ("batch", Ioffe & Szegedy 2015, algorithm 1) to mean 0 and
    variance 1, times a scale, plus a shift. Columns are those of all nodes, in training and afterwards alike.
    """
    xp, axis = backend.xp, 1 if norm == "layer" else 0
    centred = x - xp.mean(x, axis=axis, keepdims=True)
    variance = xp.mean(centred * centred, axis=axis, keepdims=True)
    return xp.add(centred / xp.sqrt(variance + EPS) * scale, shift)


def _running(backend: Backend, x: Array, params: Params) -> Array:
    """Columns to mean 0 and variance 1 by those of the rows that count, in training, and by the kept ones else."""
    xp, share = backend.xp, params.get(SHARE)
    if share is None:
        centred, variance = x - params["mean"], params["variance"]
    else:
        mean = xp.sum(x * share[:, :1], axis=0)
        centred = x - mean
        squares = centred * centred
        variance = xp.sum(squares * share[:, :1], axis=0)
        for name, value in (("mean", mean), ("variance", xp.sum(squares * share[:, 1:], axis=0))):
            params[FOUND][name] = params[name] * (1.0 - MOMENTUM) + value * MOMENTUM
    return xp.add(centred / xp.sqrt(variance + EPS) * params["scale"], params["shift"])


def unshifted(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The layers, the last without what shifts all of its rows alike, if anything does."""
    *before, last = layers
    if not last.shifted_by:
        return layers
    if isinstance(last, Dressed):
        return *before, replace(last, dress=replace(last.dress, late=True))
    place = last.number, last.fan_in, last.fan_out, last.dropout, last.is_last
    return *before, Dressed(*place, last, Dress(late=True))


def observing(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The layers for batches of rows that are whole: a norm over columns keeps what it saw."""
    return tuple(
        replace(layer, dress=replace(layer.dress, running=True)) if isinstance(layer, Dressed) else layer
        for layer in layers
    )
