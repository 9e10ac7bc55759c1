"""Notices when another process no longer answers, whatever the transport does about it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT = 2
GRACE = 5.0
"""Seconds that a transport's own time limit has to report first: its message says more."""


class Watch:
    """Ends this process, with a message, where it waits for others longer than `timeout` seconds.

    A wait that hangs in a transport's own code cannot be raised out of: only ending the process remains. `with
    watch():` goes around each wait. end: is called with the exit status.
    """

    def __init__(self, timeout: float, end: Callable[[int], object] = os._exit) -> None:
        self.who = "this process"
        self._timeout, self._end = timeout, end
        self._since: float | None = None
        threading.Thread(target=self._look, name="portgnn-watch", daemon=True).start()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        is_inside_another, self._since = self._since is not None, time.monotonic()
        try:
            yield
        finally:
            # A wait inside another has shown that the others are alive: the outer one's time begins anew.
            self._since = time.monotonic() if is_inside_another else None

    def lost(self, reason: str) -> str:
        """What to tell the user. reason: the transport's own words, or how long it was waited."""
        words = " ".join(reason.split())[:200]
        return f"{self.who} has lost another: it has ended or does not answer. {words}"

    def _look(self) -> None:
        while True:
            time.sleep(min(self._timeout / 10, 1.0))
            since = self._since
            if since is not None and time.monotonic() - since > self._timeout + GRACE:
                message = self.lost(f"Waited {self._timeout + GRACE:.0f} s.")
                print(f"error: {message}", file=sys.stderr, flush=True)
                self._end(EXIT)
                return
