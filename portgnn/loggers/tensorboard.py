"""TensorBoard, by its own package, which needs no framework to write and brings the viewer.

torch.utils.tensorboard writes through the same two classes and needs PyTorch; tensorboardX imports PyTorch where it
finds it, and a run on one framework is not to load another.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from portgnn.loggers._base import Epochs, Logger, library
from portgnn.results.callbacks import RunFacts
from portgnn.tasks import curve


class TensorBoard(Logger):
    """Event files in a folder. Values are float32 there, as the format has it.

    A second run in the same folder takes the place of the first on the page, whose file stays.
    """

    def __init__(self, folder: str | os.PathLike[str] = "runs/portgnn") -> None:
        """Raises MissingLibraryError without TensorBoard."""
        self.folder = os.fspath(folder)
        self._files = library("tensorboard.summary.writer.event_file_writer", "tensorboard", "tensorboard")
        self._events = library("tensorboard.compat.proto.event_pb2", "tensorboard", "tensorboard")
        self._summaries = library("tensorboard.compat.proto.summary_pb2", "tensorboard", "tensorboard")
        self._tensors = library("tensorboard.compat.proto.tensor_pb2", "tensorboard", "tensorboard")
        self._text = library("tensorboard.plugins.text.metadata", "tensorboard", "tensorboard")

    def open(self, facts: RunFacts, parameters: dict[str, object]) -> None:
        self._writer = self._files.EventFileWriter(self.folder)
        log = self._events.SessionLog
        # A start at step 0 hides the points of an earlier run; readers look for it from this version on.
        self._add(step=0, file_version="brain.Event:2")
        self._add(step=0, session_log=log(status=log.START))
        rows = [f"| {name} | {json.dumps(value)} |" for name, value in parameters.items()]
        self._add(step=0, summary=self._table("run", "\n".join(["| parameter | value |", "|---|---|", *rows])))
        self._writer.flush()  # the folder is there, and can be written, before the first epoch

    def write(self, epochs: Epochs) -> None:
        for epoch, values in epochs:
            self._scalars(epoch, values)

    def summarize(self, epoch: int, values: dict[str, float]) -> None:
        self._scalars(epoch, values)

    def close(self, failed: bool) -> None:
        self._writer.close()

    def _table(self, tag: str, markdown: str) -> object:
        text = self._tensors.TensorProto(dtype="DT_STRING", string_val=[markdown.encode()])
        metadata = self._text.create_summary_metadata(display_name=tag, description="")
        return self._summaries.Summary(value=[self._summaries.Summary.Value(tag=tag, metadata=metadata, tensor=text)])

    def _scalars(self, step: int, values: dict[str, float]) -> None:
        value_of = self._summaries.Summary.Value
        scalars = [value_of(tag=_tag(name), simple_value=value) for name, value in values.items()]
        self._add(step=step, summary=self._summaries.Summary(value=scalars))

    def _add(self, **content: Any) -> None:
        self._writer.add_event(self._events.Event(wall_time=time.time(), **content))


def _tag(name: str) -> str:
    """The page groups curves by what stands before the slash."""
    known = curve(name)
    return f"{known.quantity.name}/{known.part}" if known else f"run/{name}"
