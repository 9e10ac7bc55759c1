"""What tests of downloads share: a server on this machine, and a cache of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from http_server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own; no data folder; proxies out of the way of the loopback address."""
    monkeypatch.setenv("PORTGNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PORTGNN_DATA", raising=False)
    monkeypatch.delenv("PORTGNN_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    return tmp_path / "cache"
