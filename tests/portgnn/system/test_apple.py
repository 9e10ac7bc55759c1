"""What `portgnn doctor` says of Macs, from recorded outputs of macOS's own tools. No Mac is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from portgnn import cli
from portgnn._system import apple

MACS = json.loads(Path(__file__).with_name("macs.json").read_text())["macs"]


def _asked(mac: dict[str, Any]) -> apple.Ask:
    return lambda *command: mac["commands"][" ".join(command)]


@pytest.mark.parametrize("mac", MACS, ids=[mac["name"] for mac in MACS])
def test_a_mac_is_described(mac: dict[str, Any]) -> None:
    found = apple.facts(_asked(mac))
    assert found == mac["facts"]
    said = apple.troubles(found, rosetta=mac["rosetta"], conda=mac["conda"])
    assert said == [getattr(apple, name) for name in mac["troubles"]]


def test_tools_that_are_missing_or_say_something_new_are_no_error() -> None:
    for text in ("", "\x00\n", "[]", '{"SPDisplaysDataType": [3, {"sppci_cores": "many"}]}', "hw.memsize: lots\n: 3\n"):
        found = apple.facts(lambda *_, text=text: text)
        assert found["metal"] is None
        assert found["memory_gib"] is None
    assert apple.ask("portgnn-has-no-such-tool") == ""


@pytest.mark.parametrize(
    ("version", "conda"),
    [
        ("3.12.4 | packaged by conda-forge | (main, Jun 17 2024, 10:13:44) [Clang 16.0.6 ]", True),
        ("3.11.7 (main, Dec 15 2023, 12:09:04) [Clang 14.0.6 ]|Anaconda, Inc.|", True),
        ("3.12.4 (v3.12.4:8e8a4baf65, Jun  6 2024, 17:33:18) [Clang 13.0.0 (clang-1300.0.29.30)]", False),
    ],
)
def test_conda_is_known_by_its_build(version: str, conda: bool, tmp_path: Path) -> None:
    assert apple.is_conda(version, str(tmp_path)) is conda


def test_conda_is_known_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "conda-meta").mkdir()
    assert apple.is_conda("3.12.4 (main)", str(tmp_path))


def test_doctor_asks_a_mac(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    mac = next(mac for mac in MACS if mac["name"].startswith("M3 Max"))
    monkeypatch.setattr("portgnn.results.environment.platform.system", lambda: "Darwin")
    monkeypatch.setattr(apple.facts, "__defaults__", (_asked(mac),))
    monkeypatch.setattr("portgnn.cli._doctor.describe_backends", list)
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    for said in ("chip", "Apple M3 Max", "gpu_cores", "40", "128.0", "Metal 3", "battery"):
        assert said in out
    assert "PROBLEM: Low Power Mode is on" in out.replace("\n", " ")
