"""Every error that portgnn raises on purpose. Messages say what is wrong, where, and what to type."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from portgnn.text import printable, shortened

_LONGEST_MESSAGE = 1000


class PortgnnError(ValueError):
    """Base of all errors that a user's input, machine or network can cause. The shell exits with 2.

    Messages quote names, paths and servers, so what a terminal would obey is written as escapes, and of what is too
    long for a reader the beginning and the end are shown.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(_fit_to_show(each) if isinstance(each, str) else each for each in arguments))


def _fit_to_show(text: str) -> str:
    return shortened(printable(text, lines=True), _LONGEST_MESSAGE)


class BackendError(PortgnnError):
    """A backend, device or dtype that does not exist, is not installed or does not work here."""


class ConfigError(PortgnnError):
    """A preset, hyperparameter or option that cannot be used."""


class MissingLibraryError(ConfigError, ImportError):
    """An optional library that is not installed."""


class GraphError(PortgnnError):
    """A graph whose edges, features, labels or splits are not valid."""


class DatasetError(PortgnnError):
    """A dataset that is unknown, unreadable or not what it should be."""


class DownloadError(DatasetError):
    """A file that could not be fetched whole and verified."""


class CheckpointError(PortgnnError):
    """A checkpoint that cannot be read or does not fit."""


class OutOfMemoryError(PortgnnError):
    """A device or the host has too little memory for the run. An adapter may raise it; see portgnn.training.memory."""


class PeerLostError(PortgnnError):
    """Another process of a distributed run has ended or does not answer."""


class LoggerError(PortgnnError):
    """A logger that cannot record the run."""


_LONGEST = 100
"""Letters up to which a name is compared with others: that takes time with the square of its length."""


def nearest(name: str, known: Iterable[str]) -> str:
    """What follows the list of known names in a message: the nearest one, or nothing."""
    close = difflib.get_close_matches(name[:_LONGEST], list(known), n=1, cutoff=0.5)
    return f". Did you mean {close[0]!r}?" if close else ""


def near_matches(name: str, known: Iterable[str]) -> str:
    """The end of an "unknown X" message: near matches first, then everything known."""
    names = sorted(known)
    close = difflib.get_close_matches(name[:_LONGEST], names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(match) for match in close)}?" if close else ""
    return f"{hint} Known: {', '.join(names) if names else 'none'}."
