"""What XLA compiled is kept, in a folder that is named or found, and left alone where it cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

jax = pytest.importorskip("jax")

from jax.experimental.compilation_cache import compilation_cache  # noqa: E402

from portgnn_jax import cache  # noqa: E402

OPTIONS = (
    "jax_compilation_cache_dir", "jax_compilation_cache_max_size", "jax_persistent_cache_min_compile_time_secs",
)  # fmt: skip
keep: Any = cache.keep_compiled.__wrapped__


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """JAX's options, which are the process's, as if nobody had set any, and then as they were."""
    were = {name: getattr(jax.config, name) for name in OPTIONS}
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield
    for name, value in were.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_programs_are_kept_in_the_folder_of_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTGNN_COMPILED", str(tmp_path / "kept"))
    monkeypatch.setattr(cache, "LEAST_SECONDS", 0.0)
    folder = keep()
    assert folder is not None
    assert folder.parent == tmp_path / "kept"
    assert jax.config.jax_compilation_cache_max_size == cache.LARGEST
    jax.jit(lambda x: x * 3.0 + 1.25)(jax.numpy.ones(7)).block_until_ready()
    assert list(folder.glob("*-cache"))


def test_the_folder_lies_beside_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORTGNN_COMPILED", raising=False)
    monkeypatch.setenv("PORTGNN_CACHE", str(tmp_path))
    assert keep() == next((tmp_path / "jax").iterdir())


@pytest.mark.parametrize("value", ["off", "0", "~no-such-user-anywhere/x"])
def test_nothing_is_kept_where_it_is_not_to_be(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTGNN_COMPILED", value)
    assert keep() is None
    assert jax.config.jax_compilation_cache_dir is None


def test_a_place_that_is_no_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PORTGNN_COMPILED", str(tmp_path / "file"))
    assert keep() is None


def test_a_users_own_cache_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTGNN_COMPILED", str(tmp_path))
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    assert keep() is None
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")


def test_without_a_bound_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTGNN_COMPILED", str(tmp_path))
    monkeypatch.setattr(cache, "find_spec", lambda name: None)
    assert keep() is None
