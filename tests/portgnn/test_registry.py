"""Finding backends: names, installation advice, devices, dtypes and the self-check, with made-up backends."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import numpy as np
import pytest

from portgnn import available_backends, get_backend, registry
from portgnn.errors import BackendError
from portgnn_numpy import NumPyBackend


class Gadget(NumPyBackend):
    """A backend as somebody else might write it: a fast device that lacks float64, and a CPU."""

    name = "gadget"
    broken: ClassVar[set[str]] = set()

    @staticmethod
    def devices() -> tuple[str, ...]:
        return ("npu", "cpu")

    @staticmethod
    def dtypes(device: str) -> tuple[str, ...]:
        return ("float32",) if device == "npu" else ("float64", "float32")

    def spmm(self, a: Any, x: Any) -> Any:
        if self.device in self.broken:
            raise RuntimeError("driver is out of date")
        return super().spmm(a, x)


class NoDevice(Gadget):
    name = "nodevice"

    @staticmethod
    def devices() -> tuple[str, ...]:
        return ()


class Untransposed(Gadget):
    """Computes the right product and a wrong gradient."""

    name = "untransposed"

    def _transpose(self, matrix: Any) -> Any:
        return -super()._transpose(matrix)


class Explodes:
    @staticmethod
    def devices() -> tuple[str, ...]:
        raise OSError("libgadget.so: wrong ELF class")


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """`register({name: "module:Class [extra]"})`: the only backends there are."""

    def replace(points: dict[str, str]) -> None:
        known = [EntryPoint(name, value, registry.GROUP) for name, value in points.items()]
        monkeypatch.setattr(
            registry, "entry_points", lambda group, name=None: [p for p in known if name in (None, p.name)]
        )

    return replace


@pytest.fixture
def gadgets(register: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gadget, "broken", set())
    here = __name__
    register(
        {
            "numpy": "portgnn_numpy:NumPyBackend",
            "gadget": f"{here}:Gadget",
            "nodevice": f"{here}:NoDevice",
            "untransposed": f"{here}:Untransposed",
            "absent": "no_such_framework.adapter:Backend [extra1,extra2]",
            "explodes": f"{here}:Explodes",
            "misnamed": f"{here}:NoSuchClass",
        }
    )


def test_the_embedded_backend_is_always_there() -> None:
    assert available_backends()["numpy"] == ("cpu",)
    backend = get_backend()
    assert (backend.name, backend.device, backend.dtype) == ("numpy", "cpu", "float32")


def test_unknown_names_get_near_matches() -> None:
    with pytest.raises(BackendError, match=r"unknown backend 'nunpy'\. Did you mean 'numpy'.*\? Known: .*numpy"):
        get_backend("nunpy")


@pytest.mark.usefixtures("gadgets")
def test_an_absent_framework_names_the_command_that_installs_it() -> None:
    message = (
        r'The absent backend is not installed\. Install it with: pip install ".*\[extra1,extra2\]"\. '
        r"Available here: gadget, numpy, untransposed\."
    )
    with pytest.raises(BackendError, match=message):
        get_backend("absent")


def test_an_entry_point_of_ours_installs_an_extra_of_ours() -> None:
    found = {backend.name: backend.install for backend in registry.registered_backends()}
    assert found["torch"] == 'pip install "portgnn[torch]"'
    assert found["numpy"] == 'pip install "portgnn"'


@pytest.mark.usefixtures("gadgets")
def test_every_state_of_a_backend_is_reported() -> None:
    found = {backend.name: backend for backend in registry.registered_backends()}
    assert list(found) == sorted(found)
    assert found["gadget"].devices == ("npu", "cpu")
    assert found["gadget"].available
    assert found["nodevice"].problem == "finds no device"
    assert found["absent"].problem == "not installed"
    assert "wrong ELF class" in found["explodes"].problem
    assert "NoSuchClass" in found["misnamed"].problem
    assert not any(found[name].available for name in ("nodevice", "absent", "explodes", "misnamed"))


def test_a_broken_import_is_not_called_absent(register: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_installed.py").write_text("raise ImportError('libcudart.so.12: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    register({"half": "half_installed:Backend"})
    with pytest.raises(BackendError, match=r"installed but cannot be imported: libcudart\.so\.12"):
        get_backend("half")


@pytest.mark.usefixtures("gadgets")
@pytest.mark.parametrize(
    ("name", "device", "dtype", "message"),
    [
        ("gadget", "tpu", "float32", "the gadget backend has no device 'tpu' here; it has npu, cpu"),
        ("gadget", "npu", "float64", "gadget on npu has no float64; it has float32"),
        ("gadget", None, "bfloat16", r"no gadget device here \(npu, cpu\) has bfloat16"),
        ("gadget", None, "flaot32", "unknown dtype 'flaot32'. Did you mean 'float32'"),
        ("misnamed", None, "float32", "misnamed backend is installed but cannot be imported: .*NoSuchClass"),
        ("explodes", None, "float32", "the explodes backend cannot look for devices: libgadget.so"),
        ("nodevice", None, "float32", "the nodevice backend finds no device on this machine"),
        ("untransposed", None, "float32", "no untransposed device passes its self-check: npu: .*wrong product"),
    ],
)
def test_what_cannot_be_had_is_named(name: str, device: str | None, dtype: str, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        get_backend(name, device=device, dtype=dtype)


@pytest.mark.usefixtures("gadgets")
def test_the_fastest_device_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_backend("gadget").device == "npu"
    assert get_backend("gadget", dtype="float64").device == "cpu"
    monkeypatch.setattr(Gadget, "broken", {"npu"})
    assert get_backend("gadget").device == "cpu"
    assert get_backend("gadget", device="npu").device == "npu"  # asked for by name: never replaced
    monkeypatch.setattr(Gadget, "broken", {"npu", "cpu"})
    with pytest.raises(BackendError, match="npu: driver is out of date; cpu: driver is out of date"):
        get_backend("gadget")


@pytest.mark.usefixtures("gadgets")
def test_a_backend_from_elsewhere_trains() -> None:
    from portgnn import train

    foreign, own = (train("karate", backend=name, epochs=10) for name in ("gadget", "numpy"))
    assert (foreign.backend, foreign.device) == ("gadget", "npu")
    np.testing.assert_array_equal(foreign.history.train_loss, own.history.train_loss)


def test_two_instances_work_side_by_side() -> None:
    single, double = get_backend("numpy"), get_backend("numpy", dtype="float64")
    assert single.asarray(np.ones(2)).dtype == np.float32
    assert double.asarray(np.ones(2, dtype=np.float32)).dtype == np.float64


@pytest.mark.parametrize("name", ["numpy", "torch", "mlx", "jax"])
def test_every_installed_backend_passes_its_self_check(name: str) -> None:
    for device, dtype in [("cpu", "float32"), ("cpu", "float64")]:
        registry.self_check(get_backend(name, device=device, dtype=dtype))
