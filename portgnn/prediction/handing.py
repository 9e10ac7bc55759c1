"""Predictions as an array of another library: by DLPack where it takes that, and by NumPy's protocol where not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class HandedOn:
    """What says its numbers as one array, so that `torch.from_dlpack(answer)` or `np.asarray(answer)` takes it.

    On a CPU both share the memory: what is written there is written here.
    """

    @property
    def array(self) -> NDArray[np.floating]:
        """The numbers, on the host."""
        raise NotImplementedError

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.floating]:
        return np.array(self.array, dtype=dtype, copy=copy)

    def __dlpack__(self, **asked: Any) -> Any:
        """As NumPy's arrays have it. Raises BufferError for a device that is not the CPU."""
        return self.array.__dlpack__(**asked)

    def __dlpack_device__(self) -> tuple[int, int]:
        kind, number = self.array.__dlpack_device__()
        return int(kind), int(number)
