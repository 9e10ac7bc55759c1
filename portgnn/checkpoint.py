"""Trained models as safetensors: parameters as tensors, everything else as JSON in the header. No pickle."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import CheckpointError, PortgnnError
from portgnn.presets import Config

FORMAT = "portgnn-model"
VERSION = 1


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network on the host: what any backend needs to predict.

    params: name -> array in the dtype it was trained in. dataset: the name of the graph it was trained on.
    """

    params: dict[str, NDArray[Any]]
    config: Config
    class_names: tuple[str, ...]
    num_features: int
    dataset: str = ""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the model to a temporary file beside `path` and renames it: never half a checkpoint.

        Raises CheckpointError where the file cannot be written.
        """
        from safetensors.numpy import save

        target = Path(path)
        header = {
            "format": FORMAT,
            "version": str(VERSION),
            "config": json.dumps(asdict(self.config)),
            "class_names": json.dumps(list(self.class_names)),
            "num_features": str(self.num_features),
            "dataset": self.dataset,
        }
        content = save({name: np.ascontiguousarray(value) for name, value in self.params.items()}, header)
        write_atomically(target, content)
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """Reads a checkpoint. Raises CheckpointError where it is missing, damaged or not portgnn's."""
        from safetensors import SafetensorError, safe_open

        source = Path(path)
        if not source.is_file():
            raise CheckpointError(f"there is no model file {source}")
        try:
            with safe_open(source, framework="numpy") as file:
                header = file.metadata() or {}
                params = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{source} is not a readable safetensors file: {error}") from None
        if header.get("format") != FORMAT:
            raise CheckpointError(f"{source} is a safetensors file, but not one that portgnn wrote")
        if header.get("version") != str(VERSION):
            raise CheckpointError(f"{source} has format version {header.get('version')}; this portgnn reads {VERSION}")
        try:
            model = cls(
                params,
                Config(**json.loads(header["config"])),
                tuple(json.loads(header["class_names"])),
                int(header["num_features"]),
                header.get("dataset", ""),
            )
            model.check()
        except CheckpointError as error:
            raise CheckpointError(f"{source}: {error}") from None
        except (PortgnnError, KeyError, ValueError, TypeError) as error:
            raise CheckpointError(f"{source} has a damaged header: {error}") from None
        return model

    def check(self) -> None:
        """Raises CheckpointError unless every parameter is there, finite and of the shape that the recipe gives."""
        from portgnn.model import parameter_shapes

        hidden = (self.config.hidden,) * (self.config.layers - 1)
        wanted = parameter_shapes(self.config, (self.num_features, *hidden, len(self.class_names)))
        found = {name: value.shape for name, value in self.params.items()}
        if found != wanted:
            raise CheckpointError(f"the parameters are {found}, and the recipe needs {wanted}")
        for name, value in self.params.items():
            if value.dtype.kind != "f" or not np.isfinite(value).all():
                raise CheckpointError(f"parameter {name} is not finite floating numbers")


def write_atomically(target: Path, content: bytes) -> None:
    """Writes `content` beside `target`, flushes it to the disk and renames it. Raises CheckpointError."""
    try:
        # Not tempfile's: its files are for their owner alone, and a result is to be shared as the umask says.
        name = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            name.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CheckpointError(f"cannot write {target}: {error.strerror or error}") from None
