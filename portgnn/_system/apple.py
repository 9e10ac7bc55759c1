"""What macOS's own tools say of a Mac: chip, cores, memory, Metal, power. Each may be missing, or say something new."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from portgnn._system.files import is_folder

Ask = Callable[..., str]
"""A command's words -> what it printed, "" where there is no such tool or it fails without a word."""

NUMBERS = (
    "hw.memsize", "hw.perflevel0.physicalcpu", "hw.perflevel1.physicalcpu", "hw.optional.arm64",
    "sysctl.proc_translated",
)  # fmt: skip
POWER_MODES = {"0": "automatic", "1": "low", "2": "high"}

ROSETTA = (
    "This Python was built for x86-64 and macOS translates it (Rosetta): the GPU cannot be used and everything is "
    "slow. Install a Python for arm64 (python.org's universal build, or Homebrew's in /opt/homebrew), make a new "
    "virtual environment with it and install portgnn there."
)
ROSETTA_CONDA = (
    "This conda is for x86-64 and macOS translates its Python (Rosetta): the GPU cannot be used and "
    "everything is slow. Make an environment for arm64, CONDA_SUBDIR=osx-arm64 conda create -n portgnn python=3.12, "
    "and install portgnn there."
)
NO_METAL = (
    "This Mac shows no Metal device: a virtual machine, or a login without a screen. Its GPU cannot be "
    "used; a terminal of the desktop has it."
)
LOW_POWER = (
    "Low Power Mode is on: chip and GPU are slowed down. Switch it off in System Settings, Battery, before you compare "
    "times."
)
ON_BATTERY = "The Mac runs on its battery, on which it may slow down: plug it in before you compare times."


def ask(*command: str) -> str:
    """What one of macOS's tools prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return done.stdout


def chip(ask: Ask = ask) -> str:
    """Such as "Apple M1 Pro"; "" where it cannot be said. Translated processes are told of a VirtualApple."""
    brand = ask("sysctl", "-n", "machdep.cpu.brand_string").strip()
    return "" if brand.startswith("VirtualApple") else brand


def facts(ask: Ask = ask) -> dict[str, Any]:
    """What `portgnn doctor` says of a Mac beside what it says of every machine."""
    displays = _displays(ask("system_profiler", "SPDisplaysDataType", "-json"))
    number = _numbers(ask("sysctl", *NUMBERS))
    gpu = displays[0] if displays else {}
    fast, slow = number.get("hw.perflevel0.physicalcpu"), number.get("hw.perflevel1.physicalcpu")
    memory = number.get("hw.memsize")
    return {
        "chip": chip(ask) or str(gpu.get("sppci_model", "unknown")),
        "gpu_cores": int(gpu["sppci_cores"]) if str(gpu.get("sppci_cores", "")).isdigit() else None,
        "performance_cores": fast,
        "efficiency_cores": slow,
        "memory_gib": None if memory is None else round(memory / 2**30, 1),
        "metal": _metal(displays),
        "macos": ask("sw_vers", "-productVersion").strip() or None,
        "power": _power(ask("pmset", "-g", "batt")),
        "power_mode": _power_mode(ask("pmset", "-g")),
        "arm64": number.get("hw.optional.arm64") == 1,
        "translated": number.get("sysctl.proc_translated") == 1,
    }


def troubles(machine: Mapping[str, Any], *, rosetta: bool, conda: bool) -> list[str]:
    """What is wrong with a Mac whose `facts` these are. rosetta: this process is translated; conda: it is conda's."""
    said = []
    if rosetta:
        said.append(ROSETTA_CONDA if conda else ROSETTA)
    if machine.get("arm64") and not rosetta and machine.get("metal") is None:
        said.append(NO_METAL)
    if machine.get("power_mode") == "low":
        said.append(LOW_POWER)
    if machine.get("power") == "battery":
        said.append(ON_BATTERY)
    return said


def is_conda(version: str = sys.version, prefix: str = sys.prefix) -> bool:
    """Whether a Python is conda's, by what it says of its build or by what lies beside it."""
    return bool(re.search(r"conda|Anaconda", version)) or is_folder(Path(prefix) / "conda-meta")


def _displays(text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)["SPDisplaysDataType"]
    except (ValueError, KeyError, TypeError):
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _metal(displays: list[dict[str, Any]]) -> str | None:
    """ "Metal 3", or "Metal" where its version is not said; None where no device has it.

    Releases of macOS have said it under several names: spdisplays_mtlgpufamilysupport: spdisplays_metal3,
    spdisplays_metal: spdisplays_supported, spdisplays_metalfamily: spdisplays_metalfeaturesetfamily...
    """
    for each in displays:
        said = " ".join(str(value) for name, value in each.items() if "metal" in name or "mtlgpu" in name)
        if version := re.search(r"metal(\d)", said):
            return f"Metal {version[1]}"
        if "supported" in said or "metalfeatureset" in said:
            return "Metal"
    return None


def _numbers(text: str) -> dict[str, int]:
    """`sysctl`'s lines "name: value"; unknown names are left out, and only an error tells of them."""
    rows = (line.partition(":") for line in text.splitlines())
    return {name.strip(): int(value) for name, _, value in rows if value.strip().isdigit()}


def _power(text: str) -> str | None:
    drawn = re.search(r"Now drawing from '(\w+) Power'", text)
    return None if drawn is None else {"AC": "mains", "Battery": "battery"}.get(drawn[1], drawn[1].lower())


def _power_mode(text: str) -> str | None:
    """`pmset -g` says lowpowermode 0 or 1, and powermode 0 to 2 where there is a High Power Mode, too."""
    found = re.search(r"^\s*powermode\s+(\d)", text, re.MULTILINE) or re.search(
        r"^\s*lowpowermode\s+(\d)", text, re.MULTILINE
    )
    return None if found is None else POWER_MODES.get(found[1], found[1])
