"""Classes out of labels as people write them: what stands for "unknown", and names that want a second look."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import GraphError
from portgnn.graphs.checks import UNLABELLED, bare, is_missing
from portgnn.text import shown

_WRITTEN = "na n/a #n/a <na> nan nat null nil none ? - -- . -1 -9 -99 -999 -9999 unknown unlabeled unlabelled undefined"
MARKERS = frozenset((*_WRITTEN.split(), "missing"))
"""What people and programs write where they know no class, in lower case. A class of that name is a doubt, not sure."""
_WHOLE = re.compile(r"([+-]?\d{1,18})(\.0*)?", re.ASCII)
_SCIENTIFIC = re.compile(r"[+-]?\d\.\d+[eE][+-]\d{2,3}", re.ASCII)
"""What numpy.savetxt writes, of integers too."""
_SHOWN = 5
SPLIT_WORDS = {"train": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}
"""Words for the parts of a split, and the number of each."""


@dataclass(frozen=True, eq=False)
class Classes:
    """labels: int64 [n], -1 where unknown; None if all are. names: of the classes. notes: for people to read."""

    labels: NDArray[np.int64] | None
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def classes_of(values: Iterable[object], unknown: Collection[str] = ()) -> Classes:
    """The classes of one label a node, of any type: sorted by name, or by value where all are whole numbers.

    Unknown are: None, NaN, masked and empty values; -1 where all other labels are whole numbers of 0 or more; the text
    "nan" where all others are numbers; and the texts in `unknown`. Space around a name is no part of it. Numbers that
    are all whole are integers, however they are written: pandas makes 0.0 of 0 where a label is missing.
    """
    texts = [_text(value) for value in values]
    counts = Counter(texts)
    name_of = {text: bare(text) for text in counts}
    notes = []
    spaced = sum(counts[text] for text, name in name_of.items() if name and name != text)
    if spaced:
        notes.append(f"{spaced} labels had space around them, which was taken off")
    wanted = {text.strip() for text in unknown}
    found = wanted & set(name_of.values())
    name_of = {text: "" if name in wanted else name for text, name in name_of.items()}
    notes += _as_numbers(name_of, counts)
    found |= wanted & set(name_of.values())
    name_of = {text: "" if name in wanted else name for text, name in name_of.items()}
    notes += _minus_one(name_of, counts)
    notes += [f"the label {text!r}, declared unknown, is at no node" for text in sorted(wanted - found - {""})]
    names = tuple(sorted(set(name_of.values()) - {""}, key=_order))
    if not names:
        return Classes(None, (), tuple(notes))
    number = {name: position for position, name in enumerate(names)} | {"": UNLABELLED}
    code = {text: number[name] for text, name in name_of.items()}
    labels = np.fromiter(map(code.__getitem__, texts), dtype=np.int64, count=len(texts))
    return Classes(labels, names, (*notes, *doubts(labels, names)))


def _text(value: Any) -> str:
    """A label as text, "" where there is none."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list | tuple | set | dict):
        raise GraphError(f"a label is {shown(value)}; a node has one class, a text or a number")
    return "" if is_missing(value) else str(value)


def _as_numbers(name_of: dict[str, str], counts: Counter[str]) -> list[str]:
    """Names that are all numbers: whole ones become integers, and the text nan unknown. Notes say so."""
    names = set(name_of.values()) - {""}
    nans = {name for name in names if name.lower().lstrip("+-") == "nan"}
    others = names - nans
    if not others or not all(map(_is_number, others)):
        return []
    notes = []
    if nans:
        hidden = sum(counts[text] for text, name in name_of.items() if name in nans)
        notes.append(f"the label {min(nans)!r} among numbers is taken for unknown ({hidden} nodes)")
    integer = {name: _integer(name) for name in others} if any("." in name for name in others) else {}
    whole = None not in integer.values()
    for text, name in name_of.items():
        name_of[text] = "" if name in nans else str(integer[name]) if whole and name in integer else name
    return notes


def _integer(name: str) -> int | None:
    """The whole number that a name is, None where it is another."""
    if match := _WHOLE.fullmatch(name):
        return int(match[1])
    if not _SCIENTIFIC.fullmatch(name):
        return None
    value = float(name)
    return int(value) if value.is_integer() and abs(value) < 2**53 else None


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return "_" not in name


def _minus_one(name_of: dict[str, str], counts: Counter[str]) -> list[str]:
    """-1 among whole numbers of 0 or more becomes unknown. Notes say so."""
    names = set(name_of.values()) - {""}
    others = names - {"-1"}
    if "-1" not in names or not all(name.isascii() and name.isdigit() for name in others):
        return []
    hidden = sum(counts[text] for text, name in name_of.items() if name == "-1")
    for text, name in name_of.items():
        name_of[text] = "" if name == "-1" else name
    only = "" if len(others) > 1 else "; if it is a class, give the classes names, such as minus and plus"
    return [f"the label -1 is taken for unknown ({hidden} nodes){only}"]


def _order(name: str) -> tuple[int, int, str]:
    """Whole numbers by value and before all other names; never by a set's order, which changes between runs."""
    plain = name.removeprefix("-")
    if plain.isascii() and plain.isdigit() and len(plain) < 19:
        return 0, int(name), name
    return 1, 0, name


def doubts(labels: NDArray[np.int64] | None, names: Sequence[str]) -> list[str]:
    """Notes on classes [n] that may be none: markers of "unknown", names that look alike, nodes' own names."""
    if labels is None or not len(names):
        return []
    nodes = np.bincount(labels[labels >= 0], minlength=len(names))
    notes = [
        f"class {name!r} ({count} nodes) may stand for unknown; if so, leave it out with --unknown={_quoted(name)} (in "
        f"Python unknown=[{name!r}])"
        for name, count in zip(names, nodes.tolist(), strict=True)
        if name.lower() in MARKERS
    ]
    alike: dict[str, list[str]] = {}
    for name in names:
        # 1 and 01, 1000 and 1e3 are one number.
        plain = " ".join((name if name.isascii() else unicodedata.normalize("NFKC", name)).casefold().split())
        alike.setdefault(str(float(plain)) if _is_number(plain) else plain, []).append(name)
    same = [group for group in alike.values() if len(group) > 1]
    if same:
        more = f" (and {len(same) - _SHOWN} more such)" if len(same) > _SHOWN else ""
        listed = "; ".join(" and ".join(repr(name[:40]) for name in group[:_SHOWN]) for group in same[:_SHOWN])
        notes.append(f"classes that look alike are kept apart: {listed}{more}")
    labelled, used = int(nodes.sum()), int(np.count_nonzero(nodes))
    if used > max(2, labelled / 2):
        what = "every node is a class of its own" if used == labelled else f"{labelled} labels make {used} classes"
        notes.append(f"{what}: if the labels are names or measurements, leave them out with --ignore and their column")
    return notes


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[\w./+-]+", name, re.ASCII) else "'" + name.replace("'", "'\\''") + "'"
