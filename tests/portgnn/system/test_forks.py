"""A fork after a framework has worked: one line in place of a process that hangs."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from typing import Any

import pytest

import portgnn
from portgnn._system import forks
from portgnn.errors import BackendError

CODE = """
import multiprocessing, sys, portgnn
from portgnn import load_graph
name = sys.argv[1]
on = portgnn.get_backend(name, device="cpu")
result = portgnn.train("karate", backend=on, epochs=2)

def tried(use):
    try:
        return str(use())
    except portgnn.PortgnnError as error:
        return f"{type(error).__name__}: {error}"

def work(queue):
    for use in (lambda: portgnn.get_backend(name), lambda: portgnn.train("karate", backend=name, epochs=2),
                lambda: portgnn.train("karate", backend=on, epochs=2),
                lambda: portgnn.predict(result, "karate", backend=on),
                lambda: portgnn.verify(on), lambda: portgnn.verify(name),
                lambda: portgnn.train("karate", epochs=2).backend):
        queue.put(tried(use))

context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=work, args=(queue,))
process.start()
print("\\n".join(queue.get(timeout=60) for _ in range(7)))
process.join()
print("and the parent goes on:", portgnn.train("karate", backend=on, epochs=2).epochs_run)
"""


@pytest.mark.parametrize("backend", ["torch", "mlx", "jax"])
def test_a_fork_after_a_framework_worked_says_spawn(backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, backend], capture_output=True, text=True, timeout=300, check=True
    )
    *refused, on_numpy, last = done.stdout.splitlines()
    assert len(refused) == 6
    for line in refused:
        assert line.startswith("BackendError: this process was forked from one in which")
        assert 'multiprocessing.get_context("spawn")' in line
    assert on_numpy == "numpy"
    assert last == "and the parent goes on: 2"


def _losses(_: int) -> Any:
    return portgnn.train("karate", epochs=3).history.train_loss


def test_numpy_works_in_forks() -> None:
    expected = _losses(0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(_losses, range(4)).get(timeout=60) == [expected] * 4


def test_a_framework_that_worked_in_the_fork_alone_is_free_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "_first", {})
    forks.check("torch")  # nothing has worked
    portgnn.get_backend("torch", device="cpu")
    forks.check("torch")  # it has, here
    monkeypatch.setattr(forks.os, "getpid", lambda: -1)
    with pytest.raises(BackendError, match="spawn"):
        forks.check("torch")
    forks.check("numpy")
