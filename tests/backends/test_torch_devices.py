"""Which devices the torch adapter finds, with torch's list of accelerators faked: no vendor's machine is needed."""

from __future__ import annotations

import types
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from portgnn_torch import TorchBackend, devices  # noqa: E402


def _fake(monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int = 1, available: bool = True) -> None:
    module = types.SimpleNamespace(is_available=lambda: available, device_count=lambda: count)
    accelerator = None if kind is None else torch.device(kind)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: accelerator)
    monkeypatch.setattr(torch, "get_device_module", lambda _: module)


@pytest.mark.parametrize(
    ("kind", "count", "available", "names"),
    [
        (None, 0, True, ("cpu",)),
        ("cuda", 1, True, ("cuda", "cpu")),  # NVIDIA's, and AMD's in a build for ROCm
        ("cuda", 3, True, ("cuda", "cuda:1", "cuda:2", "cpu")),
        ("cuda", 1, False, ("cpu",)),  # built for it, and no driver
        ("mps", 1, True, ("mps", "cpu")),
        ("xpu", 2, True, ("xpu", "xpu:1", "cpu")),
        ("hpu", 1, True, ("hpu", "cpu")),
    ],
)
def test_devices_are_torchs(
    monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int, available: bool, names: tuple[str, ...]
) -> None:
    _fake(monkeypatch, kind, count, available)
    assert TorchBackend.devices() == names
    listed = TorchBackend.xp.__array_namespace_info__().devices()
    assert [each.type for each in listed] == ["cpu"] + [name.partition(":")[0] for name in names[:-1]]


def test_dtypes_of_an_accelerator_that_is_not_known_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = torch.ones

    def ones(*shape: int, dtype: Any, device: str) -> Any:
        if dtype == torch.float64:
            raise RuntimeError("Required aspect fp64 is not supported on the device")
        return plain(*shape, dtype=dtype)

    monkeypatch.setattr(torch, "ones", ones)
    assert TorchBackend.dtypes("xpu:1") == ("float32", "bfloat16")
    assert TorchBackend.dtypes("mps") == ("float32",)
    assert TorchBackend.dtypes("cuda:1") == ("float64", "float32", "bfloat16")


def test_what_falls_back_to_the_cpu_is_named_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        devices.announce_fallback(torch.device("mps"))
        assert not torch.is_warn_always_enabled()
        monkeypatch.setenv(devices.FALLBACK, "1")
        devices.announce_fallback(torch.device("cpu"))
        assert not torch.is_warn_always_enabled()
        TorchBackend("mps", "float32")
        assert torch.is_warn_always_enabled()
    finally:
        torch.set_warn_always(False)


@pytest.mark.parametrize(
    ("version", "machine", "numbers"),
    [
        ("2.13.0", {}, ()),  # no Mac
        ("2.13.0", {"chip": "Apple M1 Pro", "macos": "15.3"}, ("193487", "195163")),
        ("2.13.0", {"chip": "Apple M4", "macos": "26.2"}, ("193487", "180201")),
        ("2.14.0", {"chip": "Apple M2", "macos": "26.4"}, ()),
    ],
)
def test_versions_that_are_wrong_on_a_mac(
    monkeypatch: pytest.MonkeyPatch, version: str, machine: dict[str, str], numbers: tuple[str, ...]
) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    monkeypatch.delenv(devices.FALLBACK, raising=False)
    said = TorchBackend.troubles(machine)
    assert len(said) == len(numbers)
    assert all(number in each for number, each in zip(numbers, said, strict=True))
    monkeypatch.setenv(devices.FALLBACK, "1")
    assert len(TorchBackend.troubles(machine)) == len(numbers) + bool(machine)
