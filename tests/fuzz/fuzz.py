"""Damages valid inputs of every reader at random: each must load into something valid or raise a PortgnnError.

    python tests/fuzz/fuzz.py --mutations 105000 --json bench/results/fuzz.json

No other exception, no death of the process, no call that takes longer than a time limit, and no memory beyond a limit
that the operating system enforces. Inputs are read in forked processes; after one that ended its process, the next
goes on. A finding is named by reader and number, and with --keep written to a folder. Exits with 1 after a finding.
Needs Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import re
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "portgnn" / "datasets"):
    sys.path.insert(0, str(folder))

from readers import Files, Reader, readers  # noqa: E402

from portgnn.errors import PortgnnError  # noqa: E402

SECONDS = 10
"""For one input: a thousand times what a valid one takes, so that a busy machine is no finding."""
MEMORY = 1 << 30
"""Bytes that reading may add to the process. Valid inputs here have a few kilobytes."""

HANGS = 60
"""Seconds without a word after which compiled code is taken to hang."""
LONGEST = 1000
"""Letters of a message."""

_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
_NUMBERS = (b"0", b"1", b"2", b"3", b"7", b"-1", b"100", b"2147483648", b"99999999999999999999", b"1e308", b"0.5")


@dataclass(frozen=True)
class Outcome:
    """Of one input. kind: loaded, refused, finding or death. seconds: on the processor. peak: bytes resident."""

    kind: str
    finding: str
    seconds: float
    peak: int


@dataclass
class Tally:
    """What happened to one reader's inputs."""

    kinds: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest: float = 0.0
    largest: int = 0

    def add(self, outcome: Outcome) -> None:
        self.kinds[outcome.kind] += 1
        if outcome.finding:
            self.findings.append(outcome.finding)
        self.slowest = max(self.slowest, outcome.seconds)
        self.largest = max(self.largest, outcome.peak)

    def row(self) -> dict[str, Any]:
        return {
            "inputs": self.kinds.total(), "loaded": self.kinds["loaded"], "refused": self.kinds["refused"],
            "foreign": self.kinds["finding"], "deaths": self.kinds["death"], "slowest_s": round(self.slowest, 3),
            "largest_bytes": self.largest,
        }  # fmt: skip


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


def attempt(reader: Reader, files: Files, folder: Path) -> Outcome:
    """Reads one input in this process, and says what happened."""
    shutil.rmtree(folder, ignore_errors=True)
    for file, content in files.items():
        place = folder / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    Path("/proc/self/clear_refs").write_text("5")
    started = time.process_time()
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    finding = ""
    try:
        reader.read(folder)
        kind = "loaded"
    except PortgnnError as error:
        kind, text = "refused", str(error)
        if not text or "\n" in text or len(text) > LONGEST:
            kind, finding = "finding", f"a message of {len(text)} letters: {text[:60]!r}"
    except _TooSlowError:
        kind, finding = "finding", f"took longer than {SECONDS} s"
    # PanicException of Rust's libraries is no Exception.
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        kind = "finding"
        finding = f"{type(error).__name__}: {str(error)[:200]} ({Path(last.filename).name}:{last.lineno})"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return Outcome(kind, finding, time.process_time() - started, _peak())


def _peak() -> int:
    """Bytes that this process had resident at most since /proc/self/clear_refs was written."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def damaged(name: str, reader: Reader, seed: int, number: int) -> Files:
    """The input of a number: the same wherever and whenever it is made."""
    draw = random.Random(f"{seed} {name} {number}")
    files = dict(reader.files)
    if reader.damage and draw.random() < 0.6:
        for _ in range(draw.choice((1, 1, 1, 2))):
            try:
                files = draw.choice(reader.damage)(files, draw)
            # What has been damaged once may be more than the second damage can take apart.
            except Exception:
                break
        return files
    target = draw.choice(sorted(files))
    inside = reader.inside.get(target)
    if inside is not None and draw.random() < 0.8:
        files[target] = inside(files[target], lambda content: mutated(content, draw, reader.words))
    else:
        files[target] = mutated(files[target], draw, reader.words)
    return files


def _work(name: str, reader: Reader, seed: int, numbers: range, folder: Path, pipe: IO[str]) -> None:
    """A child's life: two lines on the pipe for each input, before and after it is read."""
    signal.signal(signal.SIGALRM, _too_slow)
    warnings.simplefilter("ignore")
    limit_memory()
    for number in numbers:
        files = damaged(name, reader, seed, number)
        pipe.write(f"{number}\n")
        pipe.flush()
        outcome = attempt(reader, files, folder)
        pipe.write(json.dumps([outcome.kind, outcome.finding, outcome.seconds, outcome.peak]) + "\n")


def _forked(work: Callable[[IO[str]], None]) -> tuple[int, IO[str]]:
    down, up = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.close(down)
            with os.fdopen(up, "w") as pipe:
                work(pipe)
            code = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    os.close(up)
    return child, os.fdopen(down)


def run_range(name: str, reader: Reader, seed: int, numbers: range, folder: Path) -> Iterator[tuple[int, Outcome]]:
    """Outcomes of some inputs, read in a child; after a death, in another one from the next input on."""
    left = numbers
    while left:
        child, pipe = _forked(lambda out, left=left: _work(name, reader, seed, left, folder, out))  # type: ignore[misc]
        before, begun = left, None
        with pipe:
            for line in _lines(pipe):
                if begun is None:
                    begun = int(line)
                else:
                    yield begun, Outcome(*json.loads(line))
                    left, begun = range(begun + 1, numbers.stop), None
        if begun is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)  # where it hangs
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if begun is not None:
            yield begun, Outcome("death", f"the process ended with {code}", 0.0, 0)
            left = range(begun + 1, numbers.stop)
        elif left == before:
            # The library that writes the damaged file ended the process: no reader has seen it.
            print(f"{name} {left.start}: no input was made, {code}")
            left = range(left.start + 1, numbers.stop)


def _lines(pipe: IO[str]) -> Iterator[str]:
    """Whole lines, until the writer ends or says nothing for a while; unbuffered, so that the wait sees each byte."""
    rest = b""
    while select.select([pipe.fileno()], [], [], HANGS)[0] and (piece := os.read(pipe.fileno(), 1 << 16)):
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line.decode() for line in whole)


def fuzz(
    mutations: int,
    seed: int = 0,
    only: str | None = None,
    keep: Path | None = None,
    say: Callable[[str], None] = print,
    share: tuple[int, int] = (0, 1),
) -> dict[str, Tally]:
    """Tries `mutations` damaged inputs, shared among the readers. keep: a folder for inputs that are findings.

    share: (i, n) reads the i-th of n parts of each reader's inputs.
    """
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory() as scratch:
        known = readers(Path(scratch) / "valid")
        chosen = {name: reader for name, reader in known.items() if only in (None, name)}
        for name, reader in chosen.items():
            tally = tallies[name] = Tally()
            folder = Path(scratch) / name
            _check_valid(name, reader, folder)
            for number, outcome in run_range(name, reader, seed, _part(mutations // len(chosen), *share), folder):
                tally.add(outcome)
                if not outcome.finding:
                    continue
                say(f"FINDING {name} {number}: {outcome.finding}")
                if keep is not None:
                    for file, content in damaged(name, reader, seed, number).items():
                        place = keep / f"{name}-{seed}-{number}" / file
                        place.parent.mkdir(parents=True, exist_ok=True)
                        place.write_bytes(content)
    return tallies


def _part(count: int, i: int, n: int) -> range:
    return range(count * i // n, count * (i + 1) // n)


def _together(given: argparse.Namespace) -> dict[str, Tally]:
    """The tallies of some processes, each with a part of the inputs."""

    def work(pipe: IO[str], i: int) -> None:
        found = fuzz(given.mutations, given.seed, given.only, given.keep, share=(i, given.jobs))
        sys.stdout.flush()
        pipe.write(json.dumps({name: vars(tally) for name, tally in found.items()}))

    children = [_forked(lambda pipe, i=i: work(pipe, i)) for i in range(given.jobs)]  # type: ignore[misc]
    tallies: dict[str, Tally] = {}
    for child, pipe in children:
        with pipe:
            said = json.loads(pipe.read())
        os.waitpid(child, 0)
        for name, each in said.items():
            tally = tallies.setdefault(name, Tally())
            tally.kinds.update(each["kinds"])
            tally.findings += each["findings"]
            tally.slowest, tally.largest = max(tally.slowest, each["slowest"]), max(tally.largest, each["largest"])
    return tallies


def _check_valid(name: str, reader: Reader, folder: Path) -> None:
    def work(pipe: IO[str]) -> None:
        signal.signal(signal.SIGALRM, _too_slow)
        outcome = attempt(reader, reader.files, folder)
        pipe.write(outcome.kind + outcome.finding)

    child, pipe = _forked(work)
    with pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if said != "loaded":
        raise AssertionError(f"the valid input of {name} does not load: {said}")


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise _TooSlowError


def limit_memory() -> None:
    """Holds the process to its present size and MEMORY more."""
    import resource

    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=24_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="One reader.")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="Folder for the inputs that are findings.")
    parser.add_argument("--json", type=Path, help="File for the figures.")
    given = parser.parse_args()
    started = time.monotonic()
    rows = {name: tally.row() for name, tally in _together(given).items()}
    counts = ("inputs", "loaded", "refused", "foreign", "deaths")
    total = {key: sum(row[key] for row in rows.values()) for key in counts}
    total |= {key: max(row[key] for row in rows.values()) for key in ("slowest_s", "largest_bytes")}
    for name, row in (rows | {"all": total}).items():
        print(f"{name:24} " + "  ".join(f"{key} {value}" for key, value in row.items()))
    print(f"{time.monotonic() - started:.0f} s")
    if given.json is not None:
        import portgnn

        document = {
            "format": "portgnn-fuzz", "seed": given.seed, "portgnn": portgnn.__version__,
            "python": platform.python_version(), "seconds_limit": SECONDS, "memory_limit_bytes": MEMORY,
            "total": total, "readers": rows,
        }  # fmt: skip
        given.json.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if total["foreign"] or total["deaths"] else 0


if __name__ == "__main__":
    sys.exit(main())
