"""Conventions and refusals on each backend, and a sample of the slopes of torch, MLX and JAX; the kit has them all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from portgnn.protocol import Backend
from portgnn.registry import backend_class
from portgnn.testing import test_gradients as kit
from portgnn.testing.conftest import is_held_to
from portgnn.testing.gradient_cases import GRADIENT_CASES, gradient, reference, slopes
from portgnn.testing.gradient_ties import TIES, Tie, at_the_edge, gradient_at
from portgnn.verification.gaps import gap

FRAMEWORKS = ("numpy", "torch", "mlx", "jax")
DRAWN = np.random.default_rng(20)
CASES = [GRADIENT_CASES[i] for i in DRAWN.choice(len(GRADIENT_CASES), 24, replace=False)]
PLACES = (*TIES, *at_the_edge("float64"))


def _on(name: str, dtype: str = "float64") -> Backend:
    return backend_class(name)("cpu", dtype)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_gradients_agree(name: str) -> None:
    """1e-10 in float64 against differences, element by element. JAX compiles each operation for each shape: fewer."""
    on, off = _on(name), []
    for case in CASES[: 8 if name == "jax" else None]:
        if gap(on, f"gradient.{case.name}") or not is_held_to(on, case.name):
            continue
        at = case.draw(3)
        _, found = gradient(on, case, at)
        wanted = slopes(reference(case), at)
        for got, want in zip(found, wanted, strict=True):
            if not np.allclose(got, want, rtol=1e-10, atol=1e-10 * np.abs(want).max()):
                off.append((case.name, float(np.abs(got - want).max())))
    assert off == []


def test_a_rule_without_its_convention_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every convention, that the framework that has another one fails it where its own function comes back."""
    import array_api_compat.torch as torch_own
    import jax.numpy as jax_own

    from portgnn_jax import array_api as jax_ours
    from portgnn_jax import gradients as jax_rules
    from portgnn_torch import array_api as torch_ours
    from portgnn_torch import gradients as torch_rules

    pairs = (("torch", torch_ours, torch_own, torch_rules), ("jax", jax_ours, jax_own, jax_rules))
    for name, ours, own, rules in pairs:
        on, unseen = _on(name), {each for each in ours.__all__ if hasattr(rules, each)} - {"take_along_axis"}
        for tie in PLACES:
            if tie.function in unseen:
                with monkeypatch.context() as back:
                    back.setattr(ours, tie.function, getattr(own, tie.function))
                    if not _holds(on, tie):
                        unseen.discard(tie.function)
        assert unseen == set(), name


def _holds(on: Backend, tie: Tie) -> bool:
    try:
        found = gradient_at(on, tie)
    except Exception:
        return False
    return all(np.allclose(got, want, 1e-13, 0, equal_nan=True) for got, want in zip(found, tie.want, strict=True))


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_conventions_are_the_same(name: str) -> None:
    on = _on(name)
    held = [tie for tie in PLACES if is_held_to(on, tie.name)]
    if name == "jax":  # compiles each operation; the sweep of tools/gradients_table.py has them all
        held = [tie for tie in held if tie.function in on.xp.__all__ or gap(on, f"gradient.{tie.name}")]
    assert {tie.name for tie in held if not _holds(on, tie)} == {
        tie.name for tie in held if gap(on, f"gradient.{tie.name}")
    }


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("what", kit.NO_LOSS)
def test_what_is_no_loss_is_refused(name: str, what: str) -> None:
    kit.test_what_is_no_loss_is_refused(what, _on(name, "float32"))


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_loss_without_aux_is_refused(name: str) -> None:
    kit.test_a_loss_without_aux_is_refused(_on(name, "float32"))


def test_the_namespaces_of_torch_and_jax_are_the_frameworks_but_for_gradients() -> None:
    """No function on the way of training is wrapped."""
    import array_api_compat.torch as torch_own
    import jax.numpy as jax_own

    for name, own in (("torch", torch_own), ("jax", jax_own)):
        xp: Any = _on(name).xp
        for function in ("sum", "argmax", "matmul", "reshape", "concat", "mean", "max"):
            assert getattr(xp, function) is getattr(own, function)
        assert xp.__array_api_version__ == "2024.12"
    assert _on("torch").xp.where is torch_own.where
    # JAX's functions of complex numbers are mended, and its `where` broadcasts whatever JAX is told; of real arrays of
    # one rank the program is the same.
    import jax

    xp = _on("jax").xp
    for function in ("exp", "log", "sqrt", "tanh"):
        programs = [str(jax.make_jaxpr(getattr(space, function))(1.5)) for space in (xp, jax_own)]
        assert programs[0] == programs[1]
    rows = [[1.5, 2.5], [3.5, 4.5]]
    programs = [
        str(jax.make_jaxpr(lambda x, where=space.where: where(x > 2.0, x, x + 1.0))(jax_own.asarray(rows)))
        for space in (xp, jax_own)
    ]
    assert programs[0] == programs[1]
