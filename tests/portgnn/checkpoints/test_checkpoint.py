"""Checkpoints: what goes in comes out, what is damaged is refused, nothing is left half-written."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from portgnn import Model, train
from portgnn.errors import CheckpointError
from portgnn.presets import preset


@pytest.fixture(scope="module")
def model() -> Model:
    return train("karate", epochs=5, bias="after", dtype="float64").model


def test_a_model_comes_back_bit_for_bit(model: Model, tmp_path: Path) -> None:
    path = model.save(tmp_path / "model.safetensors")
    back = Model.load(path)
    assert (back.config, back.class_names, back.num_features, back.dataset) == (
        preset("kipf", epochs=5, bias="after", normalize_features="row", task="classes", readout="none"),
        ("instructor", "officer"),
        34,
        "karate",
    )
    assert set(back.params) == {"weight0", "weight1", "bias0", "bias1"}
    for name, value in model.params.items():
        assert back.params[name].dtype == value.dtype == np.float64
        np.testing.assert_array_equal(back.params[name], value)


def test_the_file_is_plain_safetensors(model: Model, tmp_path: Path) -> None:
    path = model.save(tmp_path / "model.safetensors")
    assert set(load(path.read_bytes())) == {*model.params, "split"}


def test_odd_class_names_survive(model: Model, tmp_path: Path) -> None:
    odd = replace(model, class_names=('quote " \\ new\nline', "ünïcode 図"))
    assert Model.load(odd.save(tmp_path / "m")).class_names == odd.class_names


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, -100, -1])
def test_a_file_cut_short_is_refused(model: Model, tmp_path: Path, keep: int) -> None:
    path = model.save(tmp_path / "model.safetensors")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        Model.load(path)


def test_noise_is_refused(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for length in (1, 8, 9, 64, 4096):
        path = tmp_path / "noise"
        path.write_bytes(draw.bytes(length))
        with pytest.raises(CheckpointError):
            Model.load(path)


def _rewritten(model: Model, path: Path, header: dict[str, str | None], **params: Any) -> Path:
    from safetensors import safe_open

    model.save(path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() | header
    content = {name: value for name, value in (model.params | params).items() if value is not None}
    path.write_bytes(save(content, {key: value for key, value in metadata.items() if value is not None}))
    return path


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format": None}, "not one that portgnn wrote"),
        ({"format": "other"}, "not one that portgnn wrote"),
        ({"version": "99"}, "format version 99; this portgnn reads 2"),
        ({"config": None}, "damaged header"),
        ({"config": "{"}, "damaged header"),
        ({"config": "[" * 200_000}, "damaged header: maximum recursion depth"),
        ({"class_names": '["\\ud800", "b"]'}, "damaged header"),
        ({"config": "[]"}, r"the recipe is \[\]"),
        ({"config": json.dumps({"model": "gta"})}, "m: unknown network 'gta'. Did you mean 'gat'"),
        ({"config": json.dumps({"model": "os:path"})}, r"m: os:path is .*, and no portgnn\.Network"),
        ({"config": json.dumps({"model": "antigravity:Net"})}, "a file's word is not enough to import its code"),
        ({"config": json.dumps({"hidden": 0})}, "damaged header: hidden=0"),
        ({"config": json.dumps({"wings": 2})}, r"does not know \(wings\); was the file written by a newer one"),
        ({"class_names": "7"}, "damaged header"),
        ({"class_names": '["one"]'}, "the recipe needs"),
        ({"num_features": "many"}, "damaged header"),
        ({"num_features": "35"}, "the recipe needs"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    model: Model, tmp_path: Path, header: dict[str, str | None], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        Model.load(_rewritten(model, tmp_path / "m", header))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"weight1": None}, "the recipe needs"),
        ({"weight9": np.ones((2, 2))}, "the recipe needs"),
        ({"weight1": np.ones((2, 16))}, "the recipe needs"),
        ({"weight1": np.full((16, 2), np.nan)}, "weight1 is not finite"),
        ({"weight1": np.ones((16, 2), dtype=np.int64)}, "weight1 is not finite floating numbers"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(
    model: Model, tmp_path: Path, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        Model.load(_rewritten(model, tmp_path / "m", {}, **params))


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(save({"weight0": np.ones((2, 2))}))
    with pytest.raises(CheckpointError, match="not one that portgnn wrote"):
        Model.load(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(CheckpointError, match="there is no model file"):
            Model.load(path)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_what_was_there(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"before")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(CheckpointError, match=r"cannot write .*No space left on device"):
        model.save(path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_nothing(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.save(tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(model: Model, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot write .*No such file"):
        model.save(tmp_path / "none" / "model.safetensors")


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_the_umask_decides_who_may_read(model: Model, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = model.save(tmp_path / "model.safetensors")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


class _Trap:
    """What a pickle can do to whoever loads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["pickle", "zip", "npz"])
def test_a_malicious_checkpoint_is_refused_before_its_code_runs(tmp_path: Path, kind: str) -> None:
    import pickle
    import zipfile

    from portgnn.checkpoints.runs import load_run

    trap, path = tmp_path / "sprung", tmp_path / "model"
    content = pickle.dumps(_Trap(trap))
    if kind == "pickle":
        path.write_bytes(content)
    elif kind == "zip":  # as frameworks save
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", content)
    else:
        with path.open("wb") as file:
            np.savez(file, weight0=np.array([_Trap(trap)], dtype=object))
    for load_it in (Model.load, load_run):
        with pytest.raises(CheckpointError, match="not a readable safetensors file"):
            load_it(path)
    assert not trap.exists()
    pickle.loads(content)
    assert trap.exists()  # the trap works
