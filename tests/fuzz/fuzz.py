"""Damages valid inputs of every reader at random: each must load into something valid or raise a PortgnnError.

    python tests/fuzz/fuzz.py --mutations 24000

No other exception, no call that takes longer than a time limit, and no memory beyond a limit that the operating
system enforces (where it can: Linux). A finding is written to a folder and named. Exits with 1 after a finding.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "portgnn" / "datasets"):
    sys.path.insert(0, str(folder))

from readers import Files, Reader, readers  # noqa: E402

from portgnn.errors import PortgnnError  # noqa: E402

SECONDS = 10
"""For one input: a thousand times what a valid one takes, so that a busy machine is no finding."""
MEMORY = 1 << 30
"""Bytes that reading may add to the process. Valid inputs here have a few kilobytes."""

_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
_NUMBERS = (b"0", b"1", b"2", b"3", b"7", b"-1", b"100", b"2147483648", b"99999999999999999999", b"1e308", b"0.5")


@dataclass
class Report:
    """What happened, reader by reader."""

    loaded: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest: float = 0.0

    @property
    def inputs(self) -> int:
        return self.loaded.total() + self.refused.total() + len(self.findings)


class _TooSlowError(BaseException):
    """Not an Exception: no reader's handler may swallow it."""


def mutated(content: bytes, draw: random.Random, words: tuple[bytes, ...]) -> bytes:
    """One to four changes. Text mostly stays text, so that more than the decoder is tried."""
    data = bytearray(content)
    text = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        if text and draw.random() < 0.8:
            _change_text(data, draw, words)
        else:
            _change_bytes(data, draw, words)
    return bytes(data)


def _change_text(data: bytearray, draw: random.Random, words: tuple[bytes, ...]) -> None:
    """A number, a line, a piece or a character in place of another."""
    kind = draw.randrange(6)
    at = draw.randrange(len(data) + 1)
    if kind == 0 and (numbers := list(re.finditer(rb"\d+", data))):
        match = draw.choice(numbers)
        data[match.start() : match.end()] = draw.choice(_NUMBERS)
    elif kind == 1:
        lines = bytes(data).split(b"\n")
        lines[draw.randrange(len(lines))] = draw.choice(lines)
        data[:] = b"\n".join(lines)
    elif kind == 2 and words:
        data[at:at] = draw.choice(words)
    elif kind == 3:
        end = at + draw.choice((1, 2, 5, 20))
        other = draw.randrange(len(data) + 1)
        data[other:other] = data[at:end]
    elif kind == 4:
        del data[at : at + draw.choice((1, 1, 3, 10, 40))]
    else:
        data[at : at + 1] = bytes([draw.randrange(32, 127)])


def _change_bytes(data: bytearray, draw: random.Random, words: tuple[bytes, ...]) -> None:
    """Bits, bytes, runs cut, doubled, replaced by words, by noise or by big numbers."""
    kind = draw.randrange(9)
    at = draw.randrange(len(data) + 1)
    end = min(len(data), at + draw.choice((1, 2, 4, 8, 64, 1024)))
    if kind == 0 and at < len(data):
        data[at] ^= 1 << draw.randrange(8)
    elif kind == 1 and at < len(data):
        data[at] = draw.choice(_INTERESTING)
    elif kind == 2:
        del data[at:end]
    elif kind == 3:
        data[at:at] = data[at:end] * draw.choice((1, 1, 3))
    elif kind == 4 and draw.random() < 0.3:
        del data[at:]
    elif kind == 5 and words:
        data[at:at] = draw.choice(words)
    elif kind == 6 and words:
        word = draw.choice(words)
        data[at : at + len(word)] = word
    elif kind == 7:
        data[at:end] = draw.randbytes(end - at)
    elif kind == 8:
        size = draw.choice((1, 2, 4, 8))
        value = draw.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**62)) % 2 ** (8 * size)
        data[at : at + size] = value.to_bytes(size, "little")


def attempt(name: str, reader: Reader, files: Files, folder: Path, report: Report) -> None:
    """Reads one input and counts what happened."""
    for file, content in files.items():
        (folder / file).write_bytes(content)
    started = time.monotonic()
    alarm = hasattr(signal, "setitimer")
    if alarm:
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        reader.read(folder)
        report.loaded[name] += 1
    except PortgnnError as error:
        if str(error):
            report.refused[name] += 1
        else:
            report.findings.append(f"{name}: an error without a message")
    except _TooSlowError:
        report.findings.append(f"{name}: took longer than {SECONDS} s")
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        report.findings.append(f"{name}: {type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})")
    finally:
        if alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
    report.slowest = max(report.slowest, time.monotonic() - started)


def fuzz(mutations: int, seed: int = 0, only: str | None = None, keep: Path | None = None) -> Report:
    """Tries `mutations` damaged inputs, shared among the readers. keep: a folder for inputs that are findings."""
    report = Report()
    with tempfile.TemporaryDirectory() as scratch:
        known = readers(Path(scratch) / "valid")
        chosen = {name: reader for name, reader in known.items() if only in (None, name)}
        limit = _limit_memory()
        before = signal.signal(signal.SIGALRM, _too_slow) if hasattr(signal, "SIGALRM") else None
        try:
            for name, reader in chosen.items():
                folder = Path(scratch) / name
                folder.mkdir()
                attempt(name, reader, reader.files, folder, report)
                if report.loaded[name] != 1:
                    raise AssertionError(f"the valid input of {name} does not load: {report.findings}")
                draw = random.Random(f"{seed} {name}")
                for number in range(mutations // len(chosen)):
                    files = dict(reader.files)
                    target = draw.choice(sorted(files))
                    inside = reader.inside.get(target)
                    if inside is not None and draw.random() < 0.8:
                        files[target] = inside(files[target], lambda c, d=draw, w=reader.words: mutated(c, d, w))
                    else:
                        files[target] = mutated(files[target], draw, reader.words)
                    found = len(report.findings)
                    attempt(name, reader, files, folder, report)
                    if keep is not None and len(report.findings) > found:
                        place = keep / f"{name}-{seed}-{number}"
                        place.mkdir(parents=True, exist_ok=True)
                        for file, content in files.items():
                            (place / file).write_bytes(content)
        finally:
            if before is not None:
                signal.signal(signal.SIGALRM, before)
            _restore_memory(limit)
    return report


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise _TooSlowError


def _limit_memory() -> tuple[int, int] | None:
    """Holds the process to its present size and MEMORY more, where the system can. Returns the limit before."""
    if sys.platform != "linux":
        return None
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, before[1]))
    return before


def _restore_memory(limit: tuple[int, int] | None) -> None:
    if limit is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, limit)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=24_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="One reader.")
    parser.add_argument("--keep", type=Path, help="Folder for the inputs that are findings.")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    started = time.monotonic()
    report = fuzz(given.mutations, given.seed, given.only, given.keep)
    for name in sorted({*report.loaded, *report.refused}):
        print(f"{name:14} {report.loaded[name]:6} loaded {report.refused[name]:6} refused")
    for finding, count in Counter(report.findings).most_common(40):
        print(f"FINDING x{count}: {finding}")
    print(
        f"{report.inputs} inputs in {time.monotonic() - started:.0f} s, {len(report.findings)} findings, slowest "
        f"{report.slowest:.2f} s"
    )
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
