"""MLX as a portgnn backend."""

import os

# MLX multiplies float32 in TF32 on CUDA unless told otherwise, and reads this once, when it first multiplies.
# A user's own setting stands; `portgnn verify` then names it.
os.environ.setdefault("MLX_ENABLE_TF32", "0")

from portgnn_mlx.backend import MLXBackend

__all__ = ["MLXBackend"]
