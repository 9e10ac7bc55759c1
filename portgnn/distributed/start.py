"""How a process of a distributed run begins, what it keeps, and who speaks."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import Any

from portgnn._system.files import exists
from portgnn.checkpoints import runs
from portgnn.distributed.watch import Watch
from portgnn.errors import BackendError, CheckpointError, ConfigError
from portgnn.protocol import Collectives, Joining
from portgnn.registry import available_backends, backend_class
from portgnn.training import Progress


class ProcessGroup:
    """The processes of a run, joined. resume: the checkpoint to go on from, after a restart too."""

    def __init__(
        self, backend: object, checkpoint: Path | None, resume: Path | None, transport: str | None, timeout: float
    ) -> None:
        """Raises BackendError where the processes cannot join, ConfigError for an option that cannot be used."""
        if not isinstance(timeout, float | int) or isinstance(timeout, bool) or not 0 < timeout < 1e9:
            raise ConfigError(f"timeout={timeout!r} must be a number of seconds above 0")
        if backend is None and resume is not None:
            backend = runs.load_run(resume)[0].backend
        if not isinstance(backend, str):
            raise ConfigError(f"a distributed run needs a backend; type --backend with one of: {_able()}")
        found = backend_class(backend)
        if not isinstance(found, Joining):
            raise BackendError(f"the {backend} backend has no collectives; with them: {_able()}")
        self.watch = Watch(timeout)
        self.collectives: Collectives = found.join(transport, timeout, self.watch)
        self.is_first = self.collectives.rank == 0
        self.resume = resume
        if (
            resume is None
            and checkpoint is not None
            and self.collectives.restarts
            and exists(checkpoint, CheckpointError)
        ):
            self.resume = checkpoint

    def checkpointer(
        self,
        path: Path,
        run: runs.Run,
        every: int,
        tell: Callable[[str], None],
        any_of: Callable[[bool], bool],
        new: bool,
    ) -> SharedCheckpointer:
        """What keeps the run: the first process writes the file. any_of: whether a flag is set on any process."""
        own = runs.FileCheckpointer(path, run, every, tell, new) if self.is_first else Follower(every)
        return SharedCheckpointer(own, any_of)

    def close(self) -> None:
        self.collectives.close()


def _able() -> str:
    """The backends here that have collectives."""
    names = [name for name in available_backends() if isinstance(backend_class(name), Joining)]
    return ", ".join(names) or "none here"


class SharedCheckpointer(AbstractContextManager["SharedCheckpointer"]):
    """Checkpointers of all processes, which leave together when one of them is told to."""

    def __init__(self, own: runs.FileCheckpointer | Follower, any_of: Callable[[bool], bool]) -> None:
        self._own, self._any = own, any_of
        self.every = own.every

    def __enter__(self) -> SharedCheckpointer:
        self._own.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._own.__exit__(*exception)

    def keep(self, progress: Progress) -> None:
        self._own.keep(progress)

    def stop(self) -> bool:
        return self._any(self._own.stop())

    def leave(self) -> None:
        if self._own.stop():
            self._own.leave()
        raise SystemExit(runs.TERMINATED)  # another process was told to

    def advice(self) -> str:
        return self._own.advice()


class Follower:
    """Writes nothing, and answers a signal only between chunks of epochs, as the process that writes does."""

    def __init__(self, every: int) -> None:
        self.every = every
        self._caught: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Follower:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if self._caught is not None:
            os._exit(128 + number)
        self._caught = number

    def keep(self, progress: Progress) -> None:
        pass

    def stop(self) -> bool:
        return self._caught is not None

    def leave(self) -> None:
        if self._caught == signal.SIGINT:
            raise KeyboardInterrupt

    def advice(self) -> str:
        return "the first process says where"
