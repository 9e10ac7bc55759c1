"""Two processes that train together: what their collectives give, beside what NumPy makes of the same numbers.

    python -m portgnn.testing.joined BACKEND DTYPE SEED OUT

is one of them, in the environment of a launcher; `together` starts all and returns what each of them found.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.distributed.loop import Distributed
from portgnn.distributed.partition import Partition
from portgnn.distributed.routes import routing
from portgnn.distributed.watch import Watch
from portgnn.loaders.source import InMemory
from portgnn.protocol import Backend, Collectives, Params
from portgnn.training import fit
from portgnn.verification.cases import Recipe
from portgnn.verification.resolve import resolve

SIZE, COLUMNS = 2, 3
SECONDS = 60.0
ROWS = {"all": ((3, 2), (4, 1)), "none to itself": ((0, 5), (2, 0)), "one way": ((0, 4), (0, 0))}
"""How many rows each process hands to each."""
Found = dict[str, float]
"""The largest error of each thing that was tried, relative to the largest number in it; infinity for wrong shapes."""


def together(backend: Backend, seed: int, folder: Path) -> list[Found]:
    """What each of two processes found. Raises RuntimeError with their words where one of them fails."""
    kind: Any = type(backend)
    program = [sys.executable, "-m", "portgnn.testing.joined", f"{kind.__module__}:{kind.__qualname__}"]
    outs, port = [folder / f"{rank}.json" for rank in range(SIZE)], _free_ports(SIZE + 1)
    path = os.pathsep.join([str(Path.cwd()), *(each for each in sys.path if each)])
    running = []
    for rank, out in enumerate(outs):
        own = kind.launch_environment(rank, SIZE, port, folder)
        running.append(
            subprocess.Popen(
                [*program, backend.dtype, str(seed), str(out)],
                env=os.environ | {"PYTHONPATH": path} | own,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        )  # fmt: skip
    said = []
    try:
        for each in running:
            said.append(each.communicate(timeout=2 * SECONDS)[0])
    finally:
        for each in running:
            each.kill()
    if any(each.returncode for each in running):
        raise RuntimeError("\n".join(words[-2000:] for words in said))
    return [json.loads(out.read_text()) for out in outs]


def _free_ports(count: int) -> int:
    """The first of some ports in a row that nobody listens on, below those that the system gives away."""
    for first in range(20_000 + os.getpid() % 9_000, 32_000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise RuntimeError("there are no free ports")


def _error(got: NDArray[np.floating], want: NDArray[np.floating]) -> float:
    if got.shape != want.shape:
        return float("inf")
    return float(np.max(np.abs(got - want), initial=0.0) / (np.max(np.abs(want), initial=0.0) or 1.0))


class Tried:
    """One process's share of the trials. Each process draws the same numbers, and so knows what all of them hold."""

    def __init__(self, backend: Backend, group: Collectives, watch: Watch, seed: int) -> None:
        self._backend, self._group, self._watch = backend, group, watch
        self._drawn, self._seed = np.random.default_rng(seed), seed
        self.found: Found = {}

    def __call__(self) -> Found:
        self._sums()
        for name, counts in ROWS.items():
            self._rows(name, counts)
        self._routes()
        try:
            self._training()
        # With wrong collectives a training may end in any way, and the trials before it say more.
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
            self.found["training"] = float("inf")
        return self.found

    def _host(self, x: Any) -> NDArray[np.float64]:
        return np.asarray(self._backend.to_numpy(x), dtype=np.float64)

    def _held(self, shape: tuple[int, ...]) -> tuple[Any, NDArray[np.float64]]:
        """An array on the device, and what the device made of it."""
        placed = self._backend.asarray(self._drawn.standard_normal(shape))
        return placed, self._host(placed)

    def _sums(self) -> None:
        everybodys = [self._held((4, COLUMNS)) for _ in range(self._group.size)]
        mine, before = everybodys[self._group.rank]
        total = self._host(self._group.all_reduce(mine))
        self.found["all_reduce"] = _error(total, np.sum([host for _, host in everybodys], axis=0))
        self.found["all_reduce leaves its argument"] = _error(self._host(mine), before)

    def _rows(self, name: str, counts: tuple[tuple[int, ...], ...]) -> None:
        """Rows handed over, and the gradient of a weighted sum of those that came."""
        rank, sent = self._group.rank, [sum(row) for row in counts]
        everybodys = [self._held((rows, COLUMNS)) for rows in sent]
        weights = [self._held((sum(row[to] for row in counts), COLUMNS)) for to in range(self._group.size)]
        starts = [np.concatenate([[0], np.cumsum(row)]) for row in counts]
        arrivals = [np.concatenate([[0], np.cumsum([row[to] for row in counts])]) for to in range(self._group.size)]
        came = np.concatenate(
            [everybodys[p][1][starts[p][rank] : starts[p][rank + 1]] for p in range(self._group.size)]
        )
        back = np.concatenate(
            [weights[q][1][arrivals[q][rank] : arrivals[q][rank + 1]] for q in range(self._group.size)]
        )

        def loss(params: Params) -> tuple[Any, Any]:
            rows = self._group.exchange(params["x"], counts)
            return self._backend.xp.sum(rows * weights[rank][0]), rows

        (_, rows), grads = self._backend.value_and_grad(loss)({"x": everybodys[rank][0]})
        self.found[f"exchange, {name}"] = _error(self._host(rows), came)
        self.found[f"gradient of exchange, {name}"] = _error(self._host(grads["x"]), back)

    def _routes(self) -> None:
        """Rows that a product reads of the other process, and the gradients that go back to them, twice by one route.

        The adapter's own way where it has one. A row goes to both, another to none, and they go in no order.
        """
        rank, size, routes = self._group.rank, self._group.size, routing(self._backend, self._group)
        counts = ((2, 3), (1, 2))
        picked = [np.array([0, 3, 4, 0, 1]), np.array([2, 4, 0])]
        route = routes.route(picked[rank], counts)
        starts = [np.concatenate([[0], np.cumsum(row)]) for row in counts]
        for turn in ("", " again"):
            everybodys = [self._held((5, COLUMNS)) for _ in range(size)]
            weights = [self._held((4, COLUMNS)) for _ in range(size)]
            matrices = [
                [sp.csr_array(self._drawn.integers(-2, 3, (4, width)).astype(np.float64)) for width in (5, came)]
                for came in np.sum(counts, axis=0)
            ]
            came, back = [], np.zeros((5, COLUMNS))
            for p in range(size):
                came.append(everybodys[p][1][picked[p][starts[p][rank] : starts[p][rank + 1]]])
                going = slice(*starts[rank][p : p + 2])
                arrived = slice(*np.concatenate([[0], np.cumsum([row[p] for row in counts])])[rank : rank + 2])
                np.add.at(back, picked[rank][going], (matrices[p][1].T @ weights[p][1])[arrived])
            own, halo = (matrix.toarray() for matrix in matrices[rank])
            total, back = own @ everybodys[rank][1] + halo @ np.concatenate(came), back + own.T @ weights[rank][1]
            first, second = (self._backend.csr(matrix) for matrix in matrices[rank])
            for name in ("product", "fetched"):

                def loss(
                    params: Params, name: str = name, a: Any = first, b: Any = second, weight: Any = weights[rank][0]
                ) -> tuple[Any, Any]:
                    x, spmm = params["x"], self._backend.spmm
                    if name == "product":
                        rows = routes.product(route, a, b, x)
                    else:
                        rows = spmm(a, x) + spmm(b, routes.fetched(route, x))
                    return self._backend.xp.sum(rows * weight), rows

                (_, rows), grads = self._backend.value_and_grad(loss)({"x": everybodys[rank][0]})
                self.found[f"{name} by a route{turn}"] = _error(self._host(rows), total)
                self.found[f"gradient of {name} by a route{turn}"] = _error(self._host(grads["x"]), back)

    def _training(self) -> None:
        """Losses of some epochs beside those of the independent statement of the recipe."""
        recipe = Recipe("pyg", nodes=40, width=9, classes=3, hidden=4, epochs=3, seed=self._seed % 1000)
        owner = self._drawn.integers(0, self._group.size, recipe.graph.num_nodes).astype(np.int32)
        source = InMemory(recipe.prepared)
        engine = Distributed(self._backend, source, self._group, self._watch, Partition(owner=owner))
        history = fit(engine, recipe.seed).history
        want = np.array(recipe.course.metrics)[: len(history)]
        self.found["training"] = _error(np.array([history.train_loss, history.val_loss]).T, want[:, :2])


def main(arguments: list[str]) -> None:
    name, dtype, seed, out = arguments
    watch = Watch(SECONDS)
    kind: Any = type(resolve(name, None, dtype))
    group = kind.join(None, SECONDS, watch)
    found = Tried(kind(group.device, dtype), group, watch, int(seed))()
    Path(out).write_text(json.dumps(found))
    group.close()


if __name__ == "__main__":
    main(sys.argv[1:])
