"""Networks: one module each, and what a network is (`portgnn.models.layer`, `portgnn.models.network`).

Whoever computes a network (`portgnn.placing.forward`: all rows, batches, parts of several processes; and, in chunks,
`portgnn.loaders.inference`) asks of it what these protocols name, and knows none by its name.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any

from portgnn.errors import ConfigError, near_matches
from portgnn.models.appnp import APPNP
from portgnn.models.cheb import Cheb
from portgnn.models.gat import GAT, GATv2
from portgnn.models.gcn import GCN
from portgnn.models.gcn2 import GCN2
from portgnn.models.gin import GIN
from portgnn.models.layer import Layer, Parameter
from portgnn.models.linear import Linear
from portgnn.models.mlp import MLP
from portgnn.models.network import Network, Stacked
from portgnn.models.sage import SAGE
from portgnn.models.sgc import SGC
from portgnn.text import shown

__all__ = ["NETWORKS", "Layer", "Linear", "Network", "Parameter", "Stacked", "name_of", "network_class", "own_network"]

NETWORKS: dict[str, type[Network]] = {
    "gcn": GCN,
    "mlp": MLP,
    "sgc": SGC,
    "appnp": APPNP,
    "sage": SAGE,
    "gin": GIN,
    "gat": GAT,
    "gatv2": GATv2,
    "gcn2": GCN2,
    "cheb": Cheb,
}
"""Every network that comes with portgnn, by its name."""


def network_class(model: str | type[Network], may_import: bool = True) -> type[Network]:
    """The class of a network: by its name, as "package.module:Class" of the user's own, or as it is.

    may_import: whether a module is imported that has not been; not for a name that comes out of somebody's file.
    Raises ConfigError for what is no network.
    """
    if isinstance(model, type):
        return _checked(model, model.__name__)
    if not isinstance(model, str):
        raise ConfigError(f"model={shown(model, 80)} must be a network's name, module:Class, or the class itself")
    if model in NETWORKS:
        return NETWORKS[model]
    module, _, name = model.partition(":")
    if not name:
        near = near_matches(model, NETWORKS)
        raise ConfigError(f"unknown network {model!r}.{near} Or name a class of your own, as package.module:MyNet")
    found: Any = _module(module, model, may_import)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise ConfigError(f"module {module} has no {name}, which model={model} names")
    return _checked(found, model)


def name_of(kind: type[Network]) -> str:
    """By what `network_class` finds it."""
    for name, each in NETWORKS.items():
        if each is kind:
            return name
    return f"{kind.__module__}:{kind.__qualname__}"


def own_network(model: str | type[Network] | None) -> str | type[Network] | None:
    """The model where it is a network of the user's own, which no file names with enough authority to import it."""
    return None if isinstance(model, str) and model in NETWORKS else model


def _module(name: str, model: str, may_import: bool) -> object:
    if name in sys.modules:
        return sys.modules[name]
    if not may_import:
        raise ConfigError(
            f"this needs the network {model}, and a file's word is not enough to import its code; name it: "
            f"--network {model}, or in Python portgnn.Model.load(FILE, network=), or import {name} before"
        )
    # As `python -m` has it: modules of the folder that one works in.
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"model={model}: {error}; is the module in this folder, or installed?") from None
    except Exception as error:  # whatever the user's module does when it is imported
        raise ConfigError(f"model={model}: importing {name} failed: {type(error).__name__}: {error!s:.200}") from None


def _checked(found: object, model: str) -> type[Network]:
    if not (isinstance(found, type) and issubclass(found, Network)):
        what = found.__name__ if isinstance(found, type) else shown(found, 60)
        raise ConfigError(f"{model} is {what}, and no portgnn.Network; see docs/write-a-network.md")
    if getattr(found, "__abstractmethods__", None):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise ConfigError(f"the network {model} lacks {missing}; see docs/write-a-network.md")
    return found


class _Listing(ModuleType):
    """`portgnn.models` is a room and, called, the list of what is in it: both names are what people type."""

    def __call__(self) -> object:
        # By its name, as portgnn/__init__.py finds what it offers: the list has the recipes too, and no network does.
        return importlib.import_module("portgnn.presets").models()


sys.modules[__name__].__class__ = _Listing
