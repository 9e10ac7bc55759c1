"""Networks: one module each, and what a network is (`portgnn.models.layer`, `portgnn.models.network`).

Whoever computes a network (`portgnn.placing.forward`: all rows, batches, parts of several processes; and, in chunks,
`portgnn.loaders.inference`) asks of it what these protocols name, and knows none by its name.
"""

from __future__ import annotations

from typing import Any

from portgnn.errors import ConfigError, near_matches
from portgnn.hyperparameters import hyperparameters
from portgnn.models.gcn import GCN
from portgnn.models.layer import Layer, Parameter
from portgnn.models.network import Network, Stacked

__all__ = ["NETWORKS", "Layer", "Network", "Parameter", "Stacked", "named"]

NETWORKS: dict[str, type[Network]] = {"gcn": GCN}
"""Every network that comes with portgnn, by its name."""


def named(name: str, settings: Any) -> Network:
    """The network of that name with its hyperparameters out of the attributes of `settings`.

    Raises ConfigError for an unknown name, and for a value that the network does not take.
    """
    if name not in NETWORKS:
        raise ConfigError(f"unknown network {name!r}.{near_matches(name, NETWORKS)}")
    kind = NETWORKS[name]
    return kind(**{each: getattr(settings, each) for each in hyperparameters(kind)})
