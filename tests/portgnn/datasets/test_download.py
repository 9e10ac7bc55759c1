"""A file arrives whole and verified or not at all, and the error says what to type."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from http_server import Server, body, redirect, status

from portgnn.datasets import download
from portgnn.datasets.download import FileSpec, digest, fetch, fetch_all, locate, refusal
from portgnn.errors import DatasetError, DownloadError

CONTENT = bytes(range(256)) * 400

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def spec(server: Server) -> FileSpec:
    return FileSpec(
        name="file.bin",
        checksum="sha256:" + hashlib.sha256(CONTENT).hexdigest(),
        mirrors=(server.url("/one"), server.url("/two")),
        folder="sub",
        max_bytes=1 << 20,
        connect_timeout=0.5,
        read_timeout=0.3,
        total_timeout=1.0,
        plain_http_hosts=("127.0.0.1",),
    )


def left_behind(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_a_file_is_fetched_once(spec: FileSpec, server: Server, cache: Path) -> None:
    server.answers["/one"] = body(CONTENT)
    path = fetch(spec)
    assert path == cache / "sub" / "file.bin"
    assert path.read_bytes() == CONTENT
    assert fetch(spec) == path
    assert server.requests == ["/one"]
    assert left_behind(cache) == ["file.bin"]
    assert server.headers[0]["accept-encoding"] == "identity"


def test_the_second_mirror_serves_where_the_first_does_not(spec: FileSpec, server: Server) -> None:
    server.answers["/two"] = body(CONTENT)
    assert fetch(spec).read_bytes() == CONTENT
    assert server.requests == ["/one", "/two"]


def stall(server: Server) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(CONTENT[:1000])
        handler.wfile.flush()
        server.released.wait(20)

    return answer


def silent(server: Server) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda handler: server.released.wait(20) and None


def drip(server: Server) -> Callable[[BaseHTTPRequestHandler], None]:
    """A byte now and then: no read ever times out."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        while not server.released.wait(0.05):
            try:
                handler.wfile.write(b"x")
            except OSError:
                return

    return answer


def truncated(_: Server) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(CONTENT[:5000])

    return answer


def endless(server: Server) -> Callable[[BaseHTTPRequestHandler], None]:
    """Without a Content-Length, so that only counting helps."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not server.released.is_set():
            try:
                handler.wfile.write(bytes(1 << 16))
            except OSError:
                return

    return answer


def too_long(_: Server) -> Callable[[BaseHTTPRequestHandler], None]:
    return body(bytes((1 << 20) + 1))


def wrong(_: Server) -> Callable[[BaseHTTPRequestHandler], None]:
    return body(CONTENT[:-1] + b"!")


def cut_without_length(_: Server) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT[:5000])

    return answer


FAULTS: dict[str, tuple[Callable[[Server], Any], str]] = {
    "404": (lambda _: status(404), "HTTP status 404"),
    "500": (lambda _: status(500), "HTTP status 500"),
    "wrong bytes": (wrong, "not the published file: sha256"),
    "stall": (stall, "timed out"),
    "silence": (silent, "timed out"),
    "drip": (drip, "timed out after"),
    "truncated": (truncated, "broke off"),
    "cut without a length": (cut_without_length, "not the published file"),
    "endless": (endless, "too large: more than 1048576 bytes"),
    "too long": (too_long, "too large: 1048577 bytes"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_leave_nothing_behind(spec: FileSpec, server: Server, cache: Path, fault: str) -> None:
    answer, reason = FAULTS[fault]
    server.answers["/one"] = answer(server)
    start = time.monotonic()
    with pytest.raises(DownloadError) as caught:
        fetch(replace(spec, mirrors=(spec.mirrors[0],)))
    assert time.monotonic() - start < 5
    message = str(caught.value)
    assert reason in message
    assert spec.mirrors[0] in message
    assert message.startswith("file.bin could not be fetched")
    assert f"Put the file at {cache / 'sub' / 'file.bin'}, or set PORTGNN_DATA" in message
    assert left_behind(cache) == []
    # And the next mirror is asked all the same.
    server.answers["/two"] = body(CONTENT)
    assert fetch(spec).read_bytes() == CONTENT
    assert left_behind(cache) == ["file.bin"]


def test_nobody_listens(spec: FileSpec, server: Server) -> None:
    port = server.port
    server.close()
    with pytest.raises(DownloadError, match=rf"http://127\.0\.0\.1:{port}/one: .*; .*:{port}/two: "):
        fetch(spec)


def test_redirects_are_followed(spec: FileSpec, server: Server) -> None:
    server.answers |= {"/one": redirect("/there"), "/there": redirect(server.url("/two"))}
    server.answers["/two"] = body(CONTENT)
    assert fetch(spec).read_bytes() == CONTENT
    assert server.requests == ["/one", "/there", "/two"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://localhost:{port}/two", "plain http"),
        ("http://example.org/two", "plain http"),
        ("ftp://127.0.0.1/two", "not an https address"),
        ("file:///etc/hosts", "not an https address"),
        ("http://[::1/two", "Invalid IPv6 URL"),
        ("/one", "more than 5 redirects"),
    ],
)
def test_redirects_are_refused(spec: FileSpec, server: Server, cache: Path, target: str, reason: str) -> None:
    server.answers |= {"/one": redirect(target.format(port=server.port)), "/two": body(CONTENT)}
    with pytest.raises(DownloadError) as caught:
        fetch(replace(spec, mirrors=(spec.mirrors[0],)))
    assert reason in str(caught.value)
    assert "/two" not in server.requests
    assert left_behind(cache) == []


def test_plain_http_needs_leave(spec: FileSpec, server: Server) -> None:
    server.answers["/one"] = body(CONTENT)
    with pytest.raises(DownloadError, match="plain http"):
        fetch(replace(spec, plain_http_hosts=()))
    assert server.requests == []
    assert refusal("https://example.org/x") is None
    assert refusal("http://127.0.0.1/x", ("127.0.0.1",)) is None
    assert refusal("http://127.0.0.1.example.org/x", ("127.0.0.1",)) is not None
    assert refusal("http://user@127.0.0.1:80@example.org/x", ("127.0.0.1",)) is not None
    assert FileSpec("n", "sha256:0", (), "f", 1).plain_http_hosts == ()


def test_tls_certificates_are_verified(spec: FileSpec, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    seen: list[Any] = []
    send = requests.Session.send

    def record(self: requests.Session, request: Any, **options: Any) -> Any:
        seen.append(options["verify"])
        return send(self, request, **options)

    monkeypatch.setattr(requests.Session, "send", record)
    server.answers["/one"] = body(CONTENT)
    fetch(spec)
    assert seen
    assert all(verify is not False for verify in seen)


def test_offline_never_asks(spec: FileSpec, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers["/one"] = body(CONTENT)
    monkeypatch.setenv("PORTGNN_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"file\.bin is not at hand.*unset PORTGNN_OFFLINE"):
        fetch(spec)
    (cache / "sub").mkdir(parents=True)
    (cache / "sub" / "file.bin").write_bytes(b"damaged")
    with pytest.raises(DownloadError, match=r"file\.bin is damaged .*unset PORTGNN_OFFLINE"):
        fetch(spec)
    assert (cache / "sub" / "file.bin").read_bytes() == b"damaged"
    assert server.requests == []
    for value in ("0", "", "no", "False"):
        monkeypatch.setenv("PORTGNN_OFFLINE", value)
        assert not download.offline()


def test_a_damaged_copy_in_the_cache_is_replaced(spec: FileSpec, server: Server, cache: Path) -> None:
    server.answers["/one"] = body(CONTENT)
    fetch(spec).write_bytes(CONTENT[:-1])
    assert fetch(spec).read_bytes() == CONTENT
    assert len(server.requests) == 2


@pytest.mark.parametrize("folder", [".", "sub"])
def test_the_data_folder_comes_first(
    spec: FileSpec, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    mine = tmp_path / "data" / folder / "file.bin"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(CONTENT)
    monkeypatch.setenv("PORTGNN_DATA", str(tmp_path / "data"))
    assert fetch(spec).samefile(mine)
    found = locate(spec)
    assert found is not None
    assert found[0] == "PORTGNN_DATA"
    assert server.requests == []


def test_a_wrong_file_in_the_data_folder_is_an_error(
    spec: FileSpec, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/one"] = body(CONTENT)
    mine = tmp_path / "file.bin"
    mine.write_bytes(b"mine")
    monkeypatch.setenv("PORTGNN_DATA", str(tmp_path))
    with pytest.raises(DatasetError) as caught:
        fetch(spec)
    assert not isinstance(caught.value, DownloadError)
    for part in (str(mine), hashlib.sha256(b"mine").hexdigest(), hashlib.sha256(CONTENT).hexdigest()):
        assert part in str(caught.value)
    assert mine.read_bytes() == b"mine"
    assert server.requests == []


def test_data_folder_that_is_none(spec: FileSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTGNN_DATA", str(tmp_path / "absent"))
    with pytest.raises(DatasetError, match=r"PORTGNN_DATA names .*absent, which is not a folder"):
        fetch(spec)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="folder modes do not bind Windows, nor root")
def test_cache_that_cannot_be_written(spec: FileSpec, server: Server, cache: Path) -> None:
    server.answers["/one"] = body(CONTENT)
    cache.mkdir(mode=0o500)
    with pytest.raises(DownloadError, match="Name a folder that can be written to: PORTGNN_CACHE="):
        fetch(spec)


def test_cache_that_is_a_file(spec: FileSpec, server: Server, cache: Path) -> None:
    server.answers["/one"] = body(CONTENT)
    cache.write_text("")
    with pytest.raises(DownloadError, match=r"cannot be stored in .*PORTGNN_CACHE="):
        fetch(spec)


def test_git_blob_checksums(spec: FileSpec, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "hello"
    file.write_bytes(b"hello\n")
    # What `git hash-object` prints for this content.
    assert digest(file, "git-blob") == "ce013625030ba8dba906f756967f9e9ca394464a"
    server.answers["/one"] = body(b"hello\n")
    by_id = replace(spec, checksum="git-blob:ce013625030ba8dba906f756967f9e9ca394464a")
    assert fetch(by_id).read_bytes() == b"hello\n"
    server.answers["/one"] = body(b"hullo\n")
    with pytest.raises(DownloadError, match="not the published file: git-blob"):
        fetch(replace(by_id, name="other.bin"))
    with pytest.raises(DatasetError, match="unknown kind of checksum 'md5'"):
        digest(file, "md5")


def test_a_budget_binds_all_files_together(spec: FileSpec, server: Server, cache: Path) -> None:
    server.answers |= {"/one": drip(server), "/two": drip(server)}
    patient = replace(spec, total_timeout=60.0, read_timeout=60.0)
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"timed out|no time left|within 0\.6 s"):
        fetch_all([patient, replace(patient, name="second.bin")], within=0.6)
    assert time.monotonic() - start < 2
    assert left_behind(cache) == []


def test_a_budget_binds_what_requests_cannot_bound(spec: FileSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(4))
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"file\.bin could not be fetched within 0.2 s"):
        fetch_all([replace(spec, mirrors=("https://example.invalid/x",))], within=0.2)
    assert time.monotonic() - start < 2


def test_downloads_are_announced(spec: FileSpec, server: Server, cache: Path) -> None:
    server.answers["/one"] = body(CONTENT)
    said: list[str] = []
    paths = fetch_all([spec], announce=said.append)
    assert [path.name for path in paths] == ["file.bin"]
    assert len(said) == 1
    assert "Fetching 1 file (file.bin" in said[0]
    assert str(cache / "sub") in said[0]
    fetch_all([spec], announce=said.append)
    assert len(said) == 1


def test_a_failed_rename_leaves_nothing_behind(
    spec: FileSpec, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/one"] = body(CONTENT)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DownloadError, match="No space left on device"):
        fetch(spec)
    assert left_behind(cache) == []


def test_platform_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert download.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("PORTGNN_CACHE")
    assert "portgnn" in str(download.cache_folder())


def test_importing_loads_no_network_library() -> None:
    import subprocess

    code = (
        "import sys, portgnn.datasets; "
        "print([name for name in ('requests', 'platformdirs', 'urllib3') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == "[]"


def _drip(handler: BaseHTTPRequestHandler) -> None:
    """A status line, and then a header that grows by a byte at a time and does not end."""
    with contextlib.suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            handler.wfile.write(b"x")
            time.sleep(0.1)


def _continue(handler: BaseHTTPRequestHandler) -> None:
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            time.sleep(0.001)


def _slow_body(handler: BaseHTTPRequestHandler) -> None:
    with contextlib.suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            handler.wfile.write(b"x")
            time.sleep(0.1)


@pytest.mark.parametrize("answer", [_drip, _continue, _slow_body])
def test_the_total_time_bounds_headers_too(answer: Any, spec: FileSpec, server: Server, cache: Path) -> None:
    server.answers["/one"] = answer
    start = time.monotonic()
    with pytest.raises(DownloadError, match="timed out"):
        fetch(replace(spec, mirrors=spec.mirrors[:1], total_timeout=1.0, read_timeout=10.0))
    assert 0.9 < time.monotonic() - start < 4
    assert [path.name for path in (cache / "sub").iterdir()] == []


def test_a_link_at_a_parts_name_is_not_followed(spec: FileSpec, server: Server, cache: Path, tmp_path: Path) -> None:
    server.answers["/one"] = body(CONTENT)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (cache / "sub").mkdir(parents=True)
    for name in (".file.bin.part", ".file.bin.0123456789ab.part"):
        (cache / "sub" / name).symlink_to(victim)
    (tmp_path / "second").write_bytes(CONTENT[:10])
    os.link(tmp_path / "second", cache / "sub" / ".file.bin.ba9876543210.part")
    assert fetch(spec).read_bytes() == CONTENT
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "second").read_bytes() == CONTENT[:10]
    assert not (cache / "sub" / ".file.bin.0123456789ab.part").is_symlink()


def test_a_link_at_the_locks_name_is_not_followed(spec: FileSpec, server: Server, cache: Path, tmp_path: Path) -> None:
    server.answers["/one"] = body(CONTENT)
    (cache / "sub").mkdir(parents=True)
    (cache / "sub" / ".file.bin.lock").symlink_to(tmp_path / "made")
    with pytest.raises(DownloadError, match="cannot be stored"):
        fetch(spec)
    assert not (tmp_path / "made").exists()


def test_a_servers_words_give_no_orders(spec: FileSpec, server: Server, cache: Path) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\x9b31m" + "x" * 5000

    def words(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(f"HTTP/1.1 404 {evil}\r\n\r\n".encode("latin-1"))

    def elsewhere(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(f"HTTP/1.1 302 Found\r\nLocation: http://a{evil}/\r\n\r\n".encode("latin-1"))

    def nonsense(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(f"{evil}\r\n\r\n".encode("latin-1"))

    for answer in (words, elsewhere, nonsense):
        server.answers["/one"] = answer
        with pytest.raises(DownloadError) as caught:
            fetch(replace(spec, mirrors=spec.mirrors[:1], tries=1))
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", str(caught.value))
        assert len(str(caught.value)) < 1500
