"""The kit's options. pytest reads no conftest of a package named with --pyargs in time for its options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from portgnn.protocol import Backend
    from portgnn.verification.check import Check
    from portgnn.verification.draw import Draw

BACKEND: pytest.StashKey[Backend] = pytest.StashKey()
DRAW: pytest.StashKey[Draw] = pytest.StashKey()
NETWORKS: pytest.StashKey[tuple[Check, ...]] = pytest.StashKey()
"""The checks of the networks that the run is asked for."""


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Adds the options where the kit is what runs: others' plugins may want the same names elsewhere."""
    if not any(
        argument.replace("/", ".").rstrip(".").partition("::")[0].find("portgnn.testing") >= 0 for argument in args
    ):
        return
    group = parser.getgroup("portgnn", "portgnn's conformance kit")
    group.addoption("--backend", help="registered name, or package.module:Class")
    group.addoption("--device", help="device; by default the fastest that works")
    group.addoption("--dtype", default="float32", help="float64, float32 (default) or bfloat16")
    group.addoption("--examples", type=int, default=20, help="drawn cases a check (default 20)")
    group.addoption("--draw", type=int, help="seed of all that is drawn, to repeat a run (default: a fresh one)")
    group.addoption("--epochs", type=int, default=200, help="epochs of a trajectory (default 200)")
    group.addoption(
        "--model", action="append", default=[], metavar="NAME",
        help="check a network too: its name, package.module:Class or all; may be given several times",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Finds the backend before anything is collected, so that one that does not exist fails the run."""
    name = config.getoption("--backend", None)
    if name is None or not hasattr(config.option, "examples"):
        return
    from portgnn.errors import BackendError, ConfigError
    from portgnn.verification import network_checks
    from portgnn.verification.draw import Draw, fresh_seed
    from portgnn.verification.resolve import resolve

    given = config.getoption("--draw")
    try:
        config.stash[BACKEND] = resolve(name, config.getoption("--device"), config.getoption("--dtype"))
        config.stash[DRAW] = Draw(fresh_seed() if given is None else given, config.stash[BACKEND].dtype)
        config.stash[NETWORKS] = network_checks(config.getoption("--model"))
    except (BackendError, ConfigError) as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header(config: pytest.Config) -> str | None:
    backend = config.stash.get(BACKEND, None)
    if backend is None:
        return None
    again = f"to repeat this run: --draw {config.stash[DRAW].seed}"
    return f"portgnn: {backend.name} on {backend.device}, {backend.dtype}; {again}"
