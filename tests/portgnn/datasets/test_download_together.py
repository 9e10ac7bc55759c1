"""Tries again, goes on where it broke off, and fetches once for all who ask at the same time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from http_server import Answer, Server, body, by_range, in_turn, status

from portgnn._system.lock import locked
from portgnn.datasets.download import FileSpec, fetch
from portgnn.errors import DownloadError

CONTENT = bytes(range(256)) * 400

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def spec(server: Server) -> FileSpec:
    return FileSpec(
        name="file.bin",
        checksum="sha256:" + hashlib.sha256(CONTENT).hexdigest(),
        mirrors=(server.url("/one"),),
        folder="sub",
        max_bytes=1 << 20,
        connect_timeout=1,
        read_timeout=0.5,
        total_timeout=5,
        backoff=0.01,
        plain_http_hosts=("127.0.0.1",),
    )


def left_behind(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def half(handler: BaseHTTPRequestHandler) -> None:
    """Dies half way."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    handler.wfile.write(CONTENT[: len(CONTENT) // 2])


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


@pytest.mark.parametrize(
    "fault", [status(500), status(503), status(429), half, hang_up], ids=["500", "503", "429", "half", "hang up"]
)
def test_what_may_pass_is_tried_again(spec: FileSpec, server: Server, cache: Path, fault: Answer) -> None:
    server.answers["/one"] = in_turn(fault, fault, body(CONTENT))
    assert fetch(spec).read_bytes() == CONTENT
    assert len(server.requests) == 3
    assert left_behind(cache) == ["file.bin"]


def test_it_gives_up_in_the_end(spec: FileSpec, server: Server, cache: Path) -> None:
    server.answers["/one"] = status(500)
    with pytest.raises(DownloadError, match=r"HTTP status 500 .*\(try 3\)"):
        fetch(spec)
    assert len(server.requests) == 3
    assert left_behind(cache) == []


@pytest.mark.parametrize("fault", [status(404), status(403), body(b"other")], ids=["404", "403", "wrong bytes"])
def test_what_will_not_pass_is_not(spec: FileSpec, server: Server, fault: Answer) -> None:
    server.answers["/one"] = fault
    with pytest.raises(DownloadError):
        fetch(spec)
    assert len(server.requests) == 1


def test_the_pauses_grow(spec: FileSpec, server: Server) -> None:
    server.answers["/one"] = status(500)
    start = time.monotonic()
    with pytest.raises(DownloadError):
        fetch(replace(spec, backoff=0.2))
    assert 0.6 <= time.monotonic() - start < 3


def test_a_broken_download_goes_on_where_it_broke_off(spec: FileSpec, server: Server, cache: Path) -> None:
    server.answers["/one"] = in_turn(by_range(CONTENT, cut=40_000), by_range(CONTENT))
    assert fetch(spec).read_bytes() == CONTENT
    assert [headers.get("range") for headers in server.headers] == [None, "bytes=40000-"]
    assert left_behind(cache) == ["file.bin"]


def test_the_next_mirror_goes_on_too(spec: FileSpec, server: Server) -> None:
    server.answers |= {"/one": in_turn(by_range(CONTENT, cut=40_000), status(404)), "/two": by_range(CONTENT)}
    assert fetch(replace(spec, mirrors=(*spec.mirrors, server.url("/two")))).read_bytes() == CONTENT
    assert server.headers[-1]["range"] == "bytes=40000-"


def test_what_a_killed_process_left_is_continued(spec: FileSpec, server: Server, cache: Path) -> None:
    (cache / "sub").mkdir(parents=True)
    (cache / "sub" / ".file.bin.0123456789ab.part").write_bytes(CONTENT[:50_000])
    (cache / "sub" / ".file.bin.lock").touch()
    server.answers["/one"] = by_range(CONTENT)
    assert fetch(spec).read_bytes() == CONTENT
    assert server.headers[0]["range"] == "bytes=50000-"
    assert left_behind(cache) == ["file.bin"]


@pytest.mark.parametrize("size", [50_000, len(CONTENT), len(CONTENT) + 1])
def test_a_wrong_beginning_is_thrown_away(spec: FileSpec, server: Server, cache: Path, size: int) -> None:
    (cache / "sub").mkdir(parents=True)
    (cache / "sub" / ".file.bin.0123456789ab.part").write_bytes(b"\0" * size)
    server.answers["/one"] = by_range(CONTENT)
    assert fetch(spec).read_bytes() == CONTENT
    assert server.headers[-1].get("range") is None
    assert left_behind(cache) == ["file.bin"]


def test_a_server_without_ranges_sends_all_again(spec: FileSpec, server: Server) -> None:
    server.answers["/one"] = in_turn(half, body(CONTENT))
    assert fetch(spec).read_bytes() == CONTENT


def test_a_server_that_sends_another_range_is_asked_for_all(spec: FileSpec, server: Server) -> None:
    def liar(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}")
        handler.end_headers()
        handler.wfile.write(CONTENT[7:])

    server.answers["/one"] = in_turn(by_range(CONTENT, cut=40_000), liar, body(CONTENT))
    # At once, rather than by a checksum that does not hold and a third try.
    assert fetch(replace(spec, tries=2)).read_bytes() == CONTENT
    assert [headers.get("range") for headers in server.headers] == [None, "bytes=40000-", None]


def test_a_length_that_is_too_small_is_found_out(spec: FileSpec, server: Server, cache: Path) -> None:
    def short(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(CONTENT)

    server.answers["/one"] = short
    with pytest.raises(DownloadError, match="not the published file"):
        fetch(spec)
    assert left_behind(cache) == []


_ASK = """
import sys
from portgnn.datasets.download import FileSpec, fetch
checksum, url = sys.argv[1:]
spec = FileSpec("file.bin", checksum, (url,), "sub", 1 << 20, plain_http_hosts=("127.0.0.1",))
print(len(fetch(spec).read_bytes()))
"""


def test_eight_processes_fetch_once(spec: FileSpec, server: Server, cache: Path) -> None:
    def slowly(handler: BaseHTTPRequestHandler) -> None:
        # Until all eight surely want it: those that start late must wait or find it, not ask.
        time.sleep(2.0)
        body(CONTENT)(handler)

    server.answers["/one"] = slowly
    asking = [
        subprocess.Popen([sys.executable, "-c", _ASK, spec.checksum, url], stdout=subprocess.PIPE, text=True)
        for url in spec.mirrors * 8
    ]
    answers = [process.communicate(timeout=60)[0] for process in asking]
    assert [process.returncode for process in asking] == [0] * 8
    assert answers == [f"{len(CONTENT)}\n"] * 8
    assert server.requests == ["/one"]
    assert left_behind(cache) == ["file.bin"]


def test_a_killed_holder_holds_up_nobody(spec: FileSpec, server: Server, cache: Path) -> None:
    server.answers["/one"] = in_turn(lambda handler: server.released.wait(30) and None, body(CONTENT))
    process = subprocess.Popen([sys.executable, "-c", _ASK, spec.checksum, spec.mirrors[0]])
    while not server.requests:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait(10)
    assert left_behind(cache) == [".file.bin.lock"]
    start = time.monotonic()
    assert fetch(spec).read_bytes() == CONTENT
    assert time.monotonic() - start < 3
    assert left_behind(cache) == ["file.bin"]


def test_a_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    inside, most, entries = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, entries
        for _ in range(5):
            with locked(tmp_path / "lock", time.monotonic() + 30) as lock:
                assert lock.alone
                inside += 1
                most, entries = max(most, inside), entries + 1
                time.sleep(0.005)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, entries) == (1, 30)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="the lock is held here by fcntl")
def test_a_lock_that_cannot_be_had_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", time.monotonic() + 1) as first:
        start = time.monotonic()
        with locked(tmp_path / "lock", start + 0.2) as second:
            assert (first.alone, second.alone) == (True, False)
            assert second.holder.startswith(f"process {os.getpid()} on ")
        assert 0.2 <= time.monotonic() - start < 1
    assert list(tmp_path.iterdir()) == []
