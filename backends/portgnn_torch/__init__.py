"""PyTorch as a portgnn backend."""

from portgnn_torch.backend import TorchBackend

__all__ = ["TorchBackend"]
