"""Heads: from rows of a network's last layer to what a task says something of, nodes or whole graphs.

Readouts of graphs have no parameters of their own. The sum and the mean of what a last layer makes of nodes are what it
would make of their sums, since its last product is linear and its shift is added once; attention takes its scores from
one more column of it: softmax over the nodes of a graph (Li et al. 2016, "Gated graph sequence neural networks", eq. 7,
with one gate a node).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from portgnn.graphs.sets import GraphSet
from portgnn.models.dress import observing, unshifted
from portgnn.parts import csr_pair, message_passing

if TYPE_CHECKING:
    import scipy.sparse as sp

    from portgnn.models.layer import Layer
    from portgnn.models.network import Network
    from portgnn.protocol import CSR, Array, Backend, EdgeHandle
    from portgnn.recipe import Config, Readout

NODES = ("auto", "none")
"""Readouts that leave nodes as they are."""
ALONG_EDGES = ("max", "attention")
"""Readouts that look at the nodes of a graph one by one."""


def settled_readout(config: Config, graph: object) -> Readout:
    """What `auto` comes to: the sum for a set of graphs (Xu et al. 2019, section 4.2), none for nodes."""
    if config.readout != "auto":
        return cast("Readout", config.readout)
    return "sum" if isinstance(graph, GraphSet) else "none"


def layers_of(config: Config, features: int, outputs: int) -> tuple[Layer, ...]:
    """The network's layers, for so many features and columns of the last; over a set, a norm over columns is that of
    the graphs of a batch in training, and afterwards of what it kept, and a sum over nodes takes the last layer's rows
    without their shift.
    """
    layers: tuple[Layer, ...] = config.network.built(features, outputs)
    if config.readout in NODES:
        return layers
    return observing(unshifted(layers) if config.readout == "sum" else layers)


def shift_of(config: Config) -> str:
    """The name of the parameter that is added to the sum over a graph's nodes, "" where there is none.

    It is the last layer's shift of all rows: added to each node's it would count once a node, and a step of the
    optimizer would move what is said of a large graph by as many times more.
    """
    if config.readout != "sum":
        return ""
    last = config.network.built(1, 1)[-1]
    return f"{last.shifted_by}{last.number}" if last.shifted_by else ""


def apart(network: Network) -> bool:
    """Whether what a network says of one graph of a set does not depend on the others, but by what its norm kept."""
    if network.prunable or getattr(network, "norm", "") != "batch":
        return network.prunable
    plain: Network = replace(cast(Any, network), norm="none")
    return plain.prunable


def width(readout: Readout, outputs: int) -> int:
    """Columns of the network's last layer for so many outputs."""
    return outputs + 1 if readout == "attention" else outputs


def placed_readout(
    backend: Backend, readout: Readout, members: sp.csr_array, transposed: sp.csr_array | None = None
) -> CSR | EdgeHandle:
    """members: CSR [graphs, rows], 1 at the rows of each graph's nodes (1/n of them for the mean), on the device.

    transposed: theirs, where it is known.
    """
    if readout in ALONG_EDGES:
        return message_passing(backend).edges(members)
    return csr_pair(backend, members, transposed)


def read_out(backend: Backend, readout: Readout, rows: Array, members: Any) -> Array:
    """[graphs, outputs] of the network's rows [rows, width]. members: what `placed_readout` gave."""
    if readout in ("sum", "mean"):
        return backend.matmul(members, rows)
    passing = message_passing(backend)
    if readout == "max":
        return passing.segment_max(members, passing.gather(members, rows, "source"))
    scores = passing.gather(members, rows[:, -1:], "source")
    return passing.edge_spmm(members, passing.edge_softmax(members, scores), rows[:, :-1])
