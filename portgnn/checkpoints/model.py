"""Trained models as safetensors: parameters as tensors, everything else as JSON in the header. No pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn import tasks
from portgnn._system.files import is_file, write_atomically
from portgnn._system.untrusted import opened
from portgnn.errors import CheckpointError, ConfigError, PortgnnError
from portgnn.graphs.checks import bare_names
from portgnn.models import Network, name_of, network_class
from portgnn.models.layer import Layer, shapes_of
from portgnn.placing.features import Moments
from portgnn.recipe import Config, config_of
from portgnn.tasks.heads import layers_of
from portgnn.text import printable, shortened, shown

FORMAT = "portgnn-model"
VERSIONS = (1, 2)
"""Formats that can be read; the last one is written. Those of version 1 have no split and no moments."""
MAX_HEADER = 16 << 20
SPLIT, MEAN, SCALE = "split", "feature_mean", "feature_scale"
"""Names of arrays beside the parameters."""
OTHER_FORMS = {
    "portgnn-run": "holds a run in the middle of its training, not a model; finish it with: portgnn train --resume",
    "portgnn-model": "holds a trained model, not a run that could go on; train with --checkpoint FILE for one",
}


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network on the host: what any backend needs to predict.

    params: name -> array in the dtype it was trained in. dataset: the name of the graph it was trained on, and
    fingerprint that graph's (see `portgnn.graphs.fingerprint`). feature_names: of its columns, where they have names.
    moments: what its columns were standardised by, where they were. split: uint8 [nodes of that graph], the part of
    each in training (see `portgnn.prediction.evaluation.split_codes`), and structure the fingerprint of adjacency and
    features alone, by which that graph is known again; None and "" in files of version 0.1. class_names: of all that
    the model says of a node, classes or labels or values; constants: what its task keeps of that graph beside.
    """

    params: dict[str, NDArray[np.floating]]
    config: Config
    class_names: tuple[str, ...]
    num_features: int
    dataset: str = ""
    fingerprint: str = ""
    feature_names: tuple[str, ...] = ()
    moments: Moments | None = None
    split: NDArray[np.uint8] | None = None
    structure: str = ""
    constants: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)

    def __repr__(self) -> str:
        """One line: the arrays have too many."""
        shapes = ", ".join(f"{name} {'x'.join(map(str, value.shape))}" for name, value in self.params.items())
        things = tasks.of(self.config).things
        trained = f", trained on {printable(shortened(self.dataset, 40))!r}" if self.dataset else ""
        return f"Model: {self.config.preset}, {shortened(shapes, 200)}, {len(self.class_names)} {things}{trained}"

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The network's, for the model's features and classes."""
        return layers_of(self.config, self.num_features, tasks.of(self.config).width(len(self.class_names)))

    def task(self, graph: tasks.Subject | None = None) -> tasks.Task:
        """What it was trained for, on another graph."""
        return tasks.of(self.config, graph, self.constants)

    def _check_constants(self) -> None:
        names, k = tasks.of(self.config).constant_names, len(self.class_names)
        if set(self.constants) != set(names):
            raise CheckpointError(f"the task {self.config.task} needs {', '.join(names) or 'no constants'}")
        for name, values in self.constants.items():
            if values.dtype != np.float64 or values.shape != (k,) or not np.isfinite(values).all():
                raise CheckpointError(f"{name} is not {k} finite numbers in float64")
            if name.endswith("scale") and not (values > 0).all():
                raise CheckpointError(f"{name} is not above 0")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the model to a temporary file beside `path` and renames it: never half a checkpoint.

        Raises CheckpointError where the file cannot be written.
        """
        from safetensors.numpy import save

        target = Path(path)
        header = {
            "format": FORMAT,
            "version": str(VERSIONS[-1]),
            "config": json.dumps(asdict(self.config)),
            "class_names": json.dumps(list(self.class_names)),
            "num_features": str(self.num_features),
            "dataset": self.dataset,
            "fingerprint": self.fingerprint,
            "feature_names": json.dumps(list(self.feature_names)),
            "structure": self.structure,
        }
        tensors = self.params | {} if self.split is None else self.params | {SPLIT: self.split}
        if self.moments is not None:
            tensors |= {SCALE: self.moments.scale}
            tensors |= {} if self.moments.mean is None else {MEAN: self.moments.mean}
        tensors |= dict(self.constants)
        content = save({name: np.asarray(value, order="C") for name, value in tensors.items()}, header)
        write_atomically(target, content)
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str], network: str | type[Network] | None = None) -> Model:
        """Reads a checkpoint. Raises CheckpointError where it is missing, damaged, not portgnn's or of another network.

        network: the class, or "package.module:Class", of a network that is not portgnn's own; a file alone does not
        have code imported.
        """
        source = Path(path)
        header, params = read_safetensors(source, FORMAT, VERSIONS, "model")
        split, mean, scale = (params.pop(name, None) for name in (SPLIT, MEAN, SCALE))
        try:
            config = read_config(json.loads(header["config"]), network)
            kept = {name: params.pop(name) for name in tasks.of(config).constant_names if name in params}
            model = cls(
                params,
                config,
                bare_names(read_names(json.loads(header["class_names"]))),
                int(header["num_features"]),
                header.get("dataset", ""),
                header.get("fingerprint", ""),
                read_names(json.loads(header.get("feature_names", "[]"))),
                None if scale is None else Moments(mean, scale),
                split,
                header.get("structure", ""),
                kept,
            )
            model.check()
        except CheckpointError as error:
            raise CheckpointError(f"{source}: {error}") from None
        except (PortgnnError, KeyError, ValueError, TypeError, RecursionError, OverflowError) as error:
            raise CheckpointError(f"{source} has a damaged header: {str(error)[:200]}") from None
        return model

    def check(self) -> None:
        """Raises CheckpointError unless every parameter is there, finite and of the shape that the recipe gives."""
        check_parameters(self.params, self.config, self.num_features, len(self.class_names))
        if self.feature_names and len(self.feature_names) != self.num_features:
            raise CheckpointError(f"there are {len(self.feature_names)} names for {self.num_features} features")
        rule, moments, split = self.config.normalize_features, self.moments, self.split
        if rule == "auto":
            raise CheckpointError("the recipe does not say what was done to the features")
        if (rule == "standardize") != (moments is not None):
            raise CheckpointError(f"the recipe's rule for features is {rule}, which the arrays do not fit")
        for values in () if moments is None else (moments.scale, moments.mean):
            if values is None:
                continue
            if values.dtype != np.float64 or values.shape != (self.num_features,) or not np.isfinite(values).all():
                raise CheckpointError(f"the columns' moments are not {self.num_features} finite numbers in float64")
        self._check_constants()
        if moments is not None and not (moments.scale > 0).all():
            raise CheckpointError("a column's deviation is not above 0")
        if split is not None and (split.dtype != np.uint8 or split.ndim != 1 or (split > 3).any()):
            raise CheckpointError("the split is not a list of the nodes' parts")


def check_parameters(
    params: dict[str, NDArray[np.floating]], config: Config, num_features: int, num_classes: int
) -> None:
    """Raises CheckpointError unless the parameters are finite and have the names and shapes that the recipe gives."""
    task = tasks.of(config)
    layers = layers_of(config, num_features, task.width(num_classes))
    head = {name: parameter.shape for name, parameter in task.parameters(layers[-1].fan_out).items()}
    wanted = shapes_of(layers) | head
    found = {name: value.shape for name, value in params.items()}
    if found != wanted:
        raise CheckpointError(f"the parameters are {shown(found, 200)}, and the recipe needs {shown(wanted, 200)}")
    for name, value in params.items():
        if value.dtype.kind != "f" or not np.isfinite(value).all():
            raise CheckpointError(f"parameter {name[:40]} is not finite floating numbers")


def read_config(document: object, network: str | type[Network] | None = None) -> Config:
    """A recipe out of a header. Raises PortgnnError for what is none, and where it is another network's.

    network: the user's own, whose module a file cannot have imported by itself.
    """
    if not isinstance(document, dict):
        raise CheckpointError(f"the recipe is {str(document)[:40]}")
    model = document.get("model", "gcn")
    try:
        kind = network_class(model if network is None else network, may_import=network is not None)
    except ConfigError as error:  # the file may be well, and its network not at hand
        raise CheckpointError(str(error)) from None
    if network is not None and name_of(kind) != model:
        raise CheckpointError(f"the file is of the network {shown(model, 80)}, and not of {name_of(kind)}")
    fitting = {each.name for each in fields(config_of(kind))}
    if set(document) - fitting:
        more = ", ".join(sorted(set(document) - fitting))[:80]
        raise CheckpointError(
            f"the recipe has settings that this portgnn does not know ({more}); was the file written by a newer one?"
        )
    return Config(**{"task": "classes"} | document | {"model": kind})  # the one task that older files have


def read_names(document: object) -> tuple[str, ...]:
    """Names out of a header. Raises ValueError where they are not a list of texts."""
    if not isinstance(document, list) or not all(type(name) is str for name in document):
        raise ValueError(f"{str(document)[:40]!r} is not a list of names")
    # JSON can spell half of a surrogate pair, which no file can be written with.
    "".join(document).encode()
    return tuple(document)


def read_safetensors(
    path: Path, form: str, versions: tuple[int, ...], kind: str
) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Header and tensors of a file that portgnn wrote. Nothing in it is run, and its header is bounded.

    form, versions: what the header must say. kind: what to call the file in messages. Raises CheckpointError.
    """
    from safetensors import SafetensorError, safe_open

    if not is_file(path, CheckpointError):
        raise CheckpointError(f"there is no {kind} file {path}")
    try:
        with opened(path, CheckpointError) as raw:
            length = int.from_bytes(raw.read(8), "little")
        if length > MAX_HEADER:
            raise ValueError(f"its header claims {length} bytes, where at most {MAX_HEADER} are admitted")
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("format") == form and header.get("version") in {str(version) for version in versions}:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except CheckpointError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {str(error)[:200]}") from None
    found = header.get("format")
    if found != form:
        if found in OTHER_FORMS:
            raise CheckpointError(f"{path} {OTHER_FORMS[found]}")
        raise CheckpointError(f"{path} is a safetensors file, but not one that portgnn wrote")
    if header.get("version") not in {str(version) for version in versions}:
        raise CheckpointError(
            f"{path} has format version {str(header.get('version'))[:20]}; this portgnn reads {versions[-1]}"
        )
    return header, tensors
