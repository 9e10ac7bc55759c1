"""Finds a published file: in PORTGNN_DATA, in the cache, or on the net; whole and verified, or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from portgnn._system.files import beside, expanded, hidden, is_file, is_folder, temporaries
from portgnn._system.lock import locked
from portgnn.datasets import _pins as pins
from portgnn.datasets._transfer import FileSpec as FileSpec
from portgnn.datasets._transfer import MirrorFault, is_own, receive, size_of
from portgnn.datasets._transfer import refusal as refusal
from portgnn.errors import DatasetError, DownloadError

Announce = Callable[[str], None]


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
    from platformdirs import user_cache_path

    return user_cache_path("portgnn")


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

    A file whose checksum nobody knows yet is used once the user has accepted it (`portgnn.datasets._pins`).

    Raises DatasetError if the copy in PORTGNN_DATA is not the published file: it is the user's, and is
    neither used nor touched. Raises DatasetError, with the checksum, for a file that is to be accepted, DownloadError
    if the file is not at hand and cannot be had. A damaged copy in the cache is fetched again.
    """
    found = locate(spec)
    if found is not None:
        origin, path = found
        _check_pinned(spec, path)
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
    path = _download(spec, deadline)
    _check_pinned(spec, path)
    return path


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
    # In the target's folder, since a rename is atomic only within one file system.
    part = _begun(target) if alone else hidden(target, f"{os.getpid()}-{secrets.token_hex(6)}.part")
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


def _begun(target: Path) -> Path:
    """Where to receive the file: the largest part that a killed process of this user left, or a new name.

    Called under the lock. Whatever else bears such a name (a link, another user's file) is taken away.
    """
    left = {part: os.lstat(part) for part in temporaries(target)}
    own = [part for part, found in left.items() if is_own(found)]
    best = max(own, key=lambda part: left[part].st_size, default=None)
    for part in left:
        if part != best:
            _remove(part)
    return best or beside(target)


def _from_mirror(url: str, spec: FileSpec, target: Path, part: Path, until: float) -> str | None:
    """Tries one mirror until it serves, or fails for good. Returns the fault, None where `target` is there."""
    for attempt in range(1, spec.tries + 1):
        resumed = size_of(part) > 0
        try:
            receive(url, spec, part, until)
            wrong = _checksum_fault(spec, part)
            if wrong is None:
                os.replace(part, target)
                return None
            # Pieces of two different files do not make one: the next try starts from nothing.
            _remove(part)
            raise MirrorFault(f"not the published file: {wrong}", passing=resumed)
        except MirrorFault as fault:
            reason, passing = str(fault), fault.passing
        # Some spread, so that processes which failed together do not all come back together.
        pause = spec.backoff * 2 ** (attempt - 1) * (1 + secrets.randbelow(250) / 1000)
        if not passing or attempt == spec.tries or time.monotonic() + pause >= until:
            return reason if attempt == 1 else f"{reason} (try {attempt})"
        time.sleep(pause)
    return "it was not asked"


def _checksum_fault(spec: FileSpec, path: Path) -> str | None:
    """What is wrong with a file; None where it is the one that is due, or where nobody knows which one is."""
    due = _due(spec)
    if not due:
        return None
    kind, _, expected = due.partition(":")
    found = _digest(path, kind)
    if found == expected:
        return None
    if any(_digest(path, other) == known for other, _, known in (each.partition(":") for each in spec.equal)):
        return None
    return f"{kind} {found}, expected {expected}{'' if spec.checksum else ', which was accepted before'}"


def _due(spec: FileSpec) -> str:
    """The checksum that a file must have: the known one, or the one that the user accepted; "" where there is none."""
    return spec.checksum or pins.pinned(cache_folder(), pin_name(spec))


def pin_name(spec: FileSpec) -> str:
    return f"{spec.folder}/{spec.name}"


def _check_pinned(spec: FileSpec, path: Path) -> None:
    """Pins the checksum of a file that has none where the user accepts it, and else raises DatasetError with it."""
    if _due(spec):
        return
    checksum = f"sha256:{_digest(path, 'sha256')}"
    if pins.accepts():
        pins.pin(cache_folder(), pin_name(spec), checksum)
        return
    raise DatasetError(
        f"{path} is there, and portgnn knows no checksum to hold it against. Its own is {checksum}. If you trust it, "
        "type: portgnn datasets --fetch NAME --accept-checksum (load_graph's accept_checksum=True); from then on, a "
        "file that differs is refused."
    )


def _digest(path: Path, kind: str) -> str:
    try:
        return digest(path, kind)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from None


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
