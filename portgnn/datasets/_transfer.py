"""One request for one file: every hop checked, the whole bounded in time and size, and no other file written to."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from portgnn.text import shortened

_MAX_REDIRECTS = 5


@dataclass(frozen=True)
class FileSpec:
    """One published file: its name, what it must contain, and where it is to be had.

    name: the file's name, in PORTGNN_DATA and in the cache.
    checksum: "sha256:<hex>", or "git-blob:<hex>" (SHA-1 of "blob <length>\\0" and the content); "" where none is known,
        so that the user has to accept that of the first download (see `portgnn.datasets._pins`).
    equal: checksums of other files that hold the same data, which PORTGNN_DATA and the cache may have in its place.
    mirrors: URLs, tried in turn.
    folder: the subfolder of PORTGNN_DATA and of the cache that it belongs in.
    max_bytes: a download that grows beyond this is broken off.
    connect_timeout, read_timeout: seconds to wait for a connection and for the next bytes.
    total_timeout: seconds for one whole download from one mirror.
    tries: how often a mirror is asked where the fault may pass (time-outs, broken connections, 429, 5xx);
        backoff: seconds before the second try, doubled before each further one.
    plain_http_hosts: hosts that may be asked without TLS. The published data needs none.
    remark: what a user should know when the checksum does not hold.
    """

    name: str
    checksum: str
    mirrors: tuple[str, ...]
    folder: str
    max_bytes: int
    connect_timeout: float = 5.0
    read_timeout: float = 15.0
    total_timeout: float = 300.0
    tries: int = 3
    backoff: float = 0.5
    plain_http_hosts: tuple[str, ...] = ()
    remark: str = ""
    equal: tuple[str, ...] = ()


class MirrorFault(Exception):
    """Why one mirror did not do; never leaves `portgnn.datasets`. passing: whether to ask again may help."""

    def __init__(self, reason: str, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing


def refusal(url: str, plain_http_hosts: Sequence[str] = ()) -> str | None:
    """Why this URL may not be asked, as a mirror or as the target of a redirect; None if it may."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        return f"refused to go to {shortened(url, 200)}: {error}"
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in plain_http_hosts):
        return None
    if parts.scheme == "http":
        return f"refused to go to {shortened(url, 200)}: plain http, which anybody on the way can alter"
    return f"refused to go to {shortened(url, 200)}: not an https address"


def receive(url: str, spec: FileSpec, part: Path, until: float) -> None:
    """Writes the body that `url` leads to into `part`, after what is there where the server offers that."""
    import requests
    import urllib3

    received = size_of(part)
    try:
        with _bounded(until) as session, _open(session, url, spec, until, received) as response:
            if response.status_code == 200:
                received = 0
            length = response.headers.get("Content-Length", "")
            expected = received + int(length) if length.isdigit() else None
            if expected is not None and expected > spec.max_bytes:
                raise MirrorFault(f"too large: {expected} bytes, where at most {spec.max_bytes} were due")
            with _opened(part, received) as file:
                for block in _blocks(response):
                    received += len(block)
                    _check_progress(received, spec, until, file)
                    file.write(block)
            if time.monotonic() > until:  # the connection was cut, which looks like an end
                raise MirrorFault(f"timed out after {received} bytes")
            if expected is not None and received != expected:
                raise MirrorFault(f"broke off after {received} of {expected} bytes", passing=True)
    # ValueError: a redirect to what is no URL.
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        if time.monotonic() > until:
            raise MirrorFault(f"timed out after {received} bytes" if received else "timed out") from None
        raise MirrorFault(_network_fault(error), passing=_may_pass(error)) from None


def _blocks(response: Any) -> Iterator[bytes]:
    # read1 hands over what has come; a whole block could take for ever to fill, drop by drop.
    read = getattr(response.raw, "read1", response.raw.read)
    while block := read(1 << 14):
        yield block


def _check_progress(received: int, spec: FileSpec, until: float, file: Any) -> None:
    """Raises MirrorFault for a body that is too long or too late; one that is too long leaves nothing behind."""
    if received > spec.max_bytes:
        file.truncate(0)
        raise MirrorFault(f"too large: more than {spec.max_bytes} bytes")
    if time.monotonic() > until:
        raise MirrorFault(f"timed out after {received} bytes")


@contextmanager
def _bounded(until: float) -> Iterator[Any]:
    """A session whose connections are cut at a time, wherever they are: in a handshake, in headers, in the body.

    The time-outs of requests are those of one wait. A server that sends a byte now and then, or "100 Continue" for
    ever, keeps within them. until: of `time.monotonic()`.
    """
    import requests
    import requests.adapters
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    # Copies of the sockets: a TLS connection takes the first one away, and cutting a copy cuts both.
    copies: list[socket.socket] = []
    ended = threading.Event()

    def watched(connection: Any, pool: Any) -> object:
        class Connection(connection):  # type: ignore[misc]
            def _new_conn(self) -> object:
                made = super()._new_conn()
                copies.append(made.dup())
                if ended.is_set():
                    cut()
                return made

        return type(pool.__name__, (pool,), {"ConnectionCls": Connection})

    def cut() -> None:
        ended.set()
        for each in copies:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    pools = {
        "http": watched(HTTPConnection, HTTPConnectionPool),
        "https": watched(HTTPSConnection, HTTPSConnectionPool),
    }

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
            super().init_poolmanager(*arguments, **more)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *arguments: Any, **more: Any) -> object:
            manager = super().proxy_manager_for(*arguments, **more)
            manager.pool_classes_by_scheme = pools
            return manager

    timer = threading.Timer(max(until - time.monotonic(), 0.0), cut)
    timer.daemon = True
    timer.start()
    try:
        with requests.Session() as session:
            for scheme in pools:
                session.mount(f"{scheme}://", Adapter())
            yield session
    finally:
        timer.cancel()
        for each in copies:
            each.close()


def size_of(part: Path) -> int:
    """Bytes of a part that is there, links not followed; 0 where none is."""
    try:
        return os.lstat(part).st_size
    except FileNotFoundError:
        return 0


def is_own(found: os.stat_result) -> bool:
    """Whether it is a file that only this user can have written: no link, no second name, nobody else's."""
    mine = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and mine


def _opened(part: Path, received: int) -> IO[bytes]:
    """The part, to write at its end, or from its start where nothing of it counts. Follows no link."""
    flags = os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(part, flags | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        handle = os.open(part, flags | os.O_APPEND)
    if not is_own(os.fstat(handle)):
        os.close(handle)
        raise MirrorFault(f"{part} is not a file of this user's own")
    if not received:
        os.ftruncate(handle, 0)
    return os.fdopen(handle, "ab")


def _may_pass(error: Exception) -> bool:
    import requests
    import urllib3

    if isinstance(error, requests.exceptions.SSLError):
        return False
    return isinstance(error, requests.ConnectionError | requests.Timeout | urllib3.exceptions.HTTPError)


def _open(session: Any, url: str, spec: FileSpec, until: float, received: int) -> Any:
    """The response with the body, after redirects; every hop is checked before it is asked.

    received: bytes that are here already; the status is 206 where the server goes on after them.
    """
    # Compressed on the way, Content-Length would not be the file's.
    headers = {"Accept-Encoding": "identity", "User-Agent": "portgnn"}
    if received:
        headers["Range"] = f"bytes={received}-"
    for _ in range(_MAX_REDIRECTS + 1):
        if (reason := refusal(url, spec.plain_http_hosts)) is not None:
            raise MirrorFault(reason)
        left = max(until - time.monotonic(), 0.05)
        response = session.get(
            url,
            stream=True,
            allow_redirects=False,
            timeout=(min(spec.connect_timeout, left), min(spec.read_timeout, left)),
            headers=headers,
        )
        if response.is_redirect:
            response.close()
            url = urljoin(url, response.headers["Location"])
            continue
        status = response.status_code
        if received and status == 206:
            if response.headers.get("Content-Range", "").startswith(f"bytes {received}-"):
                return response
            status = 416
        if received and status == 416:
            response.close()
            received = 0
            del headers["Range"]
            continue
        if status != 200:
            response.close()
            raise MirrorFault(
                f"HTTP status {status} {shortened(response.reason or '', 100)}".rstrip(), status == 429 or status >= 500
            )
        return response
    raise MirrorFault(f"more than {_MAX_REDIRECTS} redirects")


def _network_fault(error: Exception) -> str:
    import requests
    import urllib3

    timeouts = (requests.Timeout, urllib3.exceptions.TimeoutError)
    if isinstance(error, timeouts) or "timed out" in str(error).lower():
        return "timed out"
    if isinstance(error, requests.exceptions.SSLError):
        return f"the TLS certificate could not be verified ({error})"
    if "IncompleteRead" in str(error) or isinstance(error, urllib3.exceptions.ProtocolError):
        return f"the connection broke off ({shortened(str(error), 200)})"
    if "resolve" in str(error).lower():
        return "the host's name could not be resolved; is there a network?"
    return f"{type(error).__name__}: {shortened(str(error), 200)}"
