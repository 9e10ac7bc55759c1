"""Finds a published file: in PORTGNN_DATA, in the cache, or on the net; whole and verified, or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from portgnn.errors import DatasetError, DownloadError
from portgnn.files import exists, expanded, is_file, is_folder
from portgnn.lock import locked

Announce = Callable[[str], None]

_MAX_REDIRECTS = 5


@dataclass(frozen=True)
class FileSpec:
    """One published file: its name, what it must contain, and where it is to be had.

    name: the file's name, in PORTGNN_DATA and in the cache.
    checksum: "sha256:<hex>", or "git-blob:<hex>" (SHA-1 of "blob <length>\\0" and the content).
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


def data_folder() -> Path | None:
    """The folder that PORTGNN_DATA names, None where it is not set. DatasetError if it is no folder."""
    value = os.environ.get("PORTGNN_DATA", "")
    if not value:
        return None
    folder = expanded(value, "PORTGNN_DATA")
    if not is_folder(folder):
        raise DatasetError(
            f"PORTGNN_DATA names {folder}, which is not a folder. Name the folder that holds "
            "the data, or type: unset PORTGNN_DATA"
        )
    return folder


def cache_folder() -> Path:
    """PORTGNN_CACHE, else the platform's cache folder for portgnn. It need not exist."""
    value = os.environ.get("PORTGNN_CACHE", "")
    if value:
        return expanded(value, "PORTGNN_CACHE")
    import pooch

    return Path(pooch.os_cache("portgnn"))


def offline() -> bool:
    """Whether PORTGNN_OFFLINE forbids the net."""
    return os.environ.get("PORTGNN_OFFLINE", "").strip().lower() not in {"", "0", "no", "false", "off"}


def locate(spec: FileSpec) -> tuple[str, Path] | None:
    """("PORTGNN_DATA" or "cache", path) of a file at hand, not yet verified; None if it is not there."""
    data = data_folder()
    if data is not None:
        for path in (data / spec.name, data / spec.folder / spec.name):
            if is_file(path):
                return "PORTGNN_DATA", path
    path = _cached(spec)
    return ("cache", path) if is_file(path) else None


def fetch(spec: FileSpec, *, deadline: float | None = None) -> Path:
    """The path of a verified copy of the file, downloaded into the cache if it is not at hand.

    deadline: a `time.monotonic()` after which a download gives up.

    Raises DatasetError if the copy in PORTGNN_DATA is not the published file: it is the user's, and is
    neither used nor touched. Raises DownloadError if the file is not at hand and cannot be had. A damaged
    copy in the cache is fetched again.
    """
    found = locate(spec)
    if found is not None:
        origin, path = found
        wrong = _checksum_fault(spec, path)
        if wrong is None:
            return path
        if origin == "PORTGNN_DATA":
            raise DatasetError(
                _sentences(
                    f"{path} (found through PORTGNN_DATA) is not the published {spec.name}: {wrong}.",
                    spec.remark,
                    "Replace it, or move it away to have it fetched.",
                )
            )
        if offline():
            raise DownloadError(
                f"{path} is damaged ({wrong}), and PORTGNN_OFFLINE forbids to fetch it "
                f"again. {_way_out(spec, offline_hint=True)}"
            )
    if offline():
        raise DownloadError(
            f"{spec.name} is not at hand, and PORTGNN_OFFLINE forbids to fetch it. {_way_out(spec, offline_hint=True)}"
        )
    return _download(spec, deadline)


def fetch_all(
    specs: Sequence[FileSpec], *, within: float | None = None, announce: Announce | None = None
) -> list[Path]:
    """`fetch` for each of several files; within: seconds for all together, then DownloadError is raised."""
    missing = [spec for spec in specs if locate(spec) is None]
    if missing and announce is not None and not offline():
        hosts = ", ".join(dict.fromkeys(urlsplit(url).hostname or url for url in missing[0].mirrors))
        announce(
            f"Fetching {len(missing)} {'file' if len(missing) == 1 else 'files'} ({missing[0].name}, …) "
            f"from {hosts} into {_cached(missing[0]).parent}"
        )
    if within is None:
        return [fetch(spec) for spec in specs]
    deadline = time.monotonic() + within
    outcome: list[list[Path] | BaseException] = []

    def work() -> None:
        try:
            outcome.append([fetch(spec, deadline=deadline) for spec in specs])
        except BaseException as error:  # handed to the caller's thread, which raises it
            outcome.append(error)

    # A thread, because no time-out of requests bounds the look-up of a host's name.
    worker = threading.Thread(target=work, name="portgnn-fetch", daemon=True)
    worker.start()
    worker.join(within + 0.5)
    if not outcome:
        raise DownloadError(f"{specs[0].name} could not be fetched within {within:g} s. {_way_out(specs[0])}")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def digest(path: Path, kind: str) -> str:
    """The hex digest of a file; kind: "sha256" or "git-blob"."""
    if kind == "git-blob":
        # Git hashes a header with the length in front of the content, with SHA-1.
        state = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    elif kind == "sha256":
        state = hashlib.sha256()
    else:
        raise DatasetError(f"unknown kind of checksum {kind!r} for {path.name}; known: git-blob, sha256")
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def refusal(url: str, plain_http_hosts: Sequence[str] = ()) -> str | None:
    """Why this URL may not be asked, as a mirror or as the target of a redirect; None if it may."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        return f"refused to go to {url}: {error}"
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in plain_http_hosts):
        return None
    if parts.scheme == "http":
        return f"refused to go to {url}: plain http, which anybody on the way can alter"
    return f"refused to go to {url}: not an https address"


def _download(spec: FileSpec, deadline: float | None) -> Path:
    """The file from the first mirror that has it; processes that start together wait for the first of them."""
    target = _cached(spec)
    patience = time.monotonic() + spec.total_timeout * max(len(spec.mirrors), 1)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.with_name(f".{target.name}.lock"), min(patience, deadline or patience)) as lock:
            # Once more, now that nobody else writes: another process may have fetched it meanwhile.
            if is_file(target):
                if _checksum_fault(spec, target) is None:
                    return target
                _remove(target)
            return _from_mirrors(spec, target, deadline, lock.alone)
    except OSError as error:
        raise _unwritable(spec, error) from None


def _from_mirrors(spec: FileSpec, target: Path, deadline: float | None, alone: bool) -> Path:
    # In the target's folder, since a rename is atomic only within one file system. Under the lock it has a fixed
    # name, so that what a killed process had received is continued.
    mark = "" if alone else f".{os.getpid()}-{secrets.token_hex(4)}"
    part = target.with_name(f".{target.name}{mark}.part")
    faults = []
    try:
        for url in spec.mirrors:
            if deadline is not None and time.monotonic() >= deadline:
                faults.append(f"{url}: no time left")
                break
            until = time.monotonic() + spec.total_timeout
            fault = _from_mirror(url, spec, target, part, until if deadline is None else min(until, deadline))
            if fault is None:
                return target
            faults.append(f"{url}: {fault}")
    finally:
        _remove(part)
    tried = f"{spec.name} could not be fetched. Tried {'; '.join(faults)}."
    raise DownloadError(_sentences(tried, spec.remark, _way_out(spec)))


class _MirrorFault(Exception):
    """Why one mirror did not do; never leaves this module. passing: whether to ask again may help."""

    def __init__(self, reason: str, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing


def _from_mirror(url: str, spec: FileSpec, target: Path, part: Path, until: float) -> str | None:
    """Tries one mirror until it serves, or fails for good. Returns the fault, None where `target` is there."""
    for attempt in range(1, spec.tries + 1):
        resumed = exists(part)
        try:
            _receive(url, spec, part, until)
            wrong = _checksum_fault(spec, part)
            if wrong is None:
                os.replace(part, target)
                return None
            # Pieces of two different files do not make one: the next try starts from nothing.
            _remove(part)
            raise _MirrorFault(f"not the published file: {wrong}", passing=resumed)
        except _MirrorFault as fault:
            reason, passing = str(fault), fault.passing
        # Some spread, so that processes which failed together do not all come back together.
        pause = spec.backoff * 2 ** (attempt - 1) * (1 + secrets.randbelow(250) / 1000)
        if not passing or attempt == spec.tries or time.monotonic() + pause >= until:
            return reason if attempt == 1 else f"{reason} (try {attempt})"
        time.sleep(pause)
    return "it was not asked"


def _receive(url: str, spec: FileSpec, part: Path, until: float) -> None:
    """Writes the body that `url` leads to into `part`, after what is there where the server offers that."""
    import requests
    import urllib3

    received = part.stat().st_size if exists(part) else 0
    try:
        with requests.Session() as session, _open(session, url, spec, until, received) as response:
            if response.status_code == 200:
                received = 0
            length = response.headers.get("Content-Length", "")
            expected = received + int(length) if length.isdigit() else None
            if expected is not None and expected > spec.max_bytes:
                raise _MirrorFault(f"too large: {expected} bytes, where at most {spec.max_bytes} were due")
            # read1 hands over what has come; a whole block could take for ever to fill, drop by drop.
            read = getattr(response.raw, "read1", response.raw.read)
            with part.open("ab" if received else "wb") as file:
                while block := read(1 << 14):
                    received += len(block)
                    if received > spec.max_bytes:
                        _remove(part)
                        raise _MirrorFault(f"too large: more than {spec.max_bytes} bytes")
                    if time.monotonic() > until:
                        raise _MirrorFault(f"timed out after {received} bytes")
                    file.write(block)
            if expected is not None and received != expected:
                raise _MirrorFault(f"broke off after {received} of {expected} bytes", passing=True)
    # ValueError: a redirect to what is no URL.
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise _MirrorFault(_network_fault(error), passing=_may_pass(error)) from None


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
            raise _MirrorFault(reason)
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
            raise _MirrorFault(f"HTTP status {status} {response.reason}".rstrip(), status == 429 or status >= 500)
        return response
    raise _MirrorFault(f"more than {_MAX_REDIRECTS} redirects")


def _network_fault(error: Exception) -> str:
    import requests
    import urllib3

    timeouts = (requests.Timeout, urllib3.exceptions.TimeoutError)
    if isinstance(error, timeouts) or "timed out" in str(error).lower():
        return "timed out"
    if isinstance(error, requests.exceptions.SSLError):
        return f"the TLS certificate could not be verified ({error})"
    if "IncompleteRead" in str(error) or isinstance(error, urllib3.exceptions.ProtocolError):
        return f"the connection broke off ({error})"
    if "resolve" in str(error).lower():
        return "the host's name could not be resolved; is there a network?"
    return f"{type(error).__name__}: {error}"


def _checksum_fault(spec: FileSpec, path: Path) -> str | None:
    kind, _, expected = spec.checksum.partition(":")
    try:
        found = digest(path, kind)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from None
    return None if found == expected else f"{kind} {found}, expected {expected}"


def _cached(spec: FileSpec) -> Path:
    return cache_folder() / spec.folder / spec.name


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(f"{path} cannot be removed: {error.strerror or error}") from None


def _unwritable(spec: FileSpec, error: OSError) -> DownloadError:
    folder = _cached(spec).parent
    return DownloadError(
        f"{spec.name} cannot be stored in {folder}: {error.strerror or error}. "
        "Name a folder that can be written to: PORTGNN_CACHE=/path/to/folder"
    )


def _sentences(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _way_out(spec: FileSpec, *, offline_hint: bool = False) -> str:
    unset = "Type: unset PORTGNN_OFFLINE. Or put" if offline_hint else "Put"
    return f"{unset} the file at {_cached(spec)}, or set PORTGNN_DATA to a folder that holds it."
