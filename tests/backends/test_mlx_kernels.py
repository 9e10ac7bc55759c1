"""What happens where one of MLX's GPU kernels does not work; no GPU is needed for that."""

from __future__ import annotations

import warnings

import pytest

pytest.importorskip("mlx.core")

from portgnn_mlx.kernels import right_or_warned


def test_a_kernel_that_is_right_is_used_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert right_or_warned("sparse", "a slower product", lambda: True)


def test_a_kernel_that_is_wrong_is_left_out_with_a_warning() -> None:
    with pytest.warns(
        UserWarning, match="portgnn's Adam kernel computes wrong numbers on this GPU; the plain one is used"
    ):
        assert not right_or_warned("Adam", "the plain one", lambda: False)


def test_a_kernel_that_does_not_compile_is_left_out_with_its_error() -> None:
    def broken() -> bool:
        raise RuntimeError("no compiler")

    with pytest.warns(UserWarning, match=r"does not run \(no compiler\)"):
        assert not right_or_warned("sparse", "a slower product", broken)
