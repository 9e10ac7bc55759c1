"""TensorFlow as a portgnn backend."""

import os

# Before it is imported: by itself TensorFlow writes a page of notes on stderr. Errors stay.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from portgnn_tensorflow.backend import TensorFlowBackend

__all__ = ["TensorFlowBackend"]
