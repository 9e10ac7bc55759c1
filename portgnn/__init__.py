"""portgnn: graph neural networks, trained on every array backend, with the same numbers on each.

Names are loaded on first use, so that `import portgnn` costs little and loads no framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portgnn._version import __version__ as __version__

if TYPE_CHECKING:
    from portgnn.api import classify, predict, train
    from portgnn.checkpoints.model import Model
    from portgnn.configuration import load_config
    from portgnn.datasets import load_graph, load_graphs
    from portgnn.errors import PortgnnError
    from portgnn.explaining.attention import Attention, attention
    from portgnn.explaining.explanation import Explanation, explain
    from portgnn.exports.entering import import_model
    from portgnn.exports.leaving import Exported, export
    from portgnn.graphs.graph import Graph
    from portgnn.graphs.sets import GraphSet
    from portgnn.models import Layer, Network, Parameter, Stacked
    from portgnn.prediction.estimate import estimate
    from portgnn.prediction.hidden import embed
    from portgnn.prediction.links import ScoredLinks, predict_links
    from portgnn.registry import available_backends, get_backend
    from portgnn.results.callbacks import Callback
    from portgnn.results.result import TrainResult
    from portgnn.studies import Study, study
    from portgnn.verification import VerifyReport, verify
    from portgnn.verification.seeds import SeedsReport, verify_seeds

_HOMES = {
    "Attention": "portgnn.explaining.attention",
    "Callback": "portgnn.results.callbacks",
    "Explanation": "portgnn.explaining.explanation",
    "Exported": "portgnn.exports.leaving",
    "Graph": "portgnn.graphs.graph",
    "GraphSet": "portgnn.graphs.sets",
    "Layer": "portgnn.models",
    "Model": "portgnn.checkpoints.model",
    "Network": "portgnn.models",
    "Parameter": "portgnn.models",
    "PortgnnError": "portgnn.errors",
    "ScoredLinks": "portgnn.prediction.links",
    "SeedsReport": "portgnn.verification.seeds",
    "Stacked": "portgnn.models",
    "Study": "portgnn.studies",
    "TrainResult": "portgnn.results.result",
    "VerifyReport": "portgnn.verification",
    "attention": "portgnn.explaining.attention",
    "available_backends": "portgnn.registry",
    "classify": "portgnn.api",
    "embed": "portgnn.prediction.hidden",
    "estimate": "portgnn.api",
    "explain": "portgnn.explaining.explanation",
    "export": "portgnn.exports.leaving",
    "get_backend": "portgnn.registry",
    "import_model": "portgnn.exports.entering",
    "load_config": "portgnn.configuration",
    "load_graph": "portgnn.datasets",
    "load_graphs": "portgnn.datasets",
    "predict": "portgnn.api",
    "predict_links": "portgnn.prediction.links",
    "study": "portgnn.studies",
    "train": "portgnn.api",
    "verify": "portgnn.verification",
    "verify_seeds": "portgnn.verification.seeds",
}

__all__ = [
    "Attention",
    "Callback",
    "Explanation",
    "Exported",
    "Graph",
    "GraphSet",
    "Layer",
    "Model",
    "Network",
    "Parameter",
    "PortgnnError",
    "ScoredLinks",
    "SeedsReport",
    "Stacked",
    "Study",
    "TrainResult",
    "VerifyReport",
    "attention",
    "available_backends",
    "classify",
    "embed",
    "estimate",
    "explain",
    "export",
    "get_backend",
    "import_model",
    "load_config",
    "load_graph",
    "load_graphs",
    "predict",
    "predict_links",
    "study",
    "train",
    "verify",
    "verify_seeds",
]


def __getattr__(name: str) -> object:
    import importlib

    if name == "models":
        return importlib.import_module("portgnn.models")
    if name not in _HOMES:
        raise AttributeError(f"module 'portgnn' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
