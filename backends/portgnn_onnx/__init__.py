"""Programs as files of ONNX, looked at in onnxruntime."""

from portgnn_onnx.export import OnnxFile

__all__ = ["OnnxFile"]
