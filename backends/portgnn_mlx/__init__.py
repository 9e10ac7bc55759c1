"""MLX as a portgnn backend."""

from portgnn_mlx.backend import MLXBackend

__all__ = ["MLXBackend"]
