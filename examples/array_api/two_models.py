"""No graph at all: logistic regression and a network of two layers, from one source on every backend.

    python examples/array_api/two_models.py [--backends numpy,torch,mlx,jax] [--picture curves.svg] [--json out.json]

A loss is written once against `backend.xp`, the array API standard's namespace; `value_and_grad` and `adam` of the
protocol do the rest. It trains in float64 and prints how far each backend's losses are from the first one's. A backend
that is not registered is named "package.module:Class". So is the fifth, ../custom_backend's, with few --steps, since
tinygrad compiles a kernel for each operation: portgnn_tinygrad:TinygradBackend.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import BackendError
from portgnn.protocol import Backend
from portgnn.verification.resolve import resolve

Floats = NDArray[np.float64]
Loss = Callable[[Backend, dict[str, Any], Any, Any], Any]

STEPS = 100


def moons(count: int = 200, seed: int = 0) -> tuple[Floats, Floats]:
    """Two interleaved half circles with noise: points [count, 2] and classes [count], 0 or 1."""
    random = np.random.default_rng(seed)
    angle = np.linspace(0.0, np.pi, count // 2)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.concatenate([upper, np.array([1.0, 0.5]) - upper]) + random.normal(0.0, 0.15, (count, 2))
    return points, np.repeat([0.0, 1.0], count // 2)


def cross_entropy(backend: Backend, score: Any, y: Any) -> Any:
    """The mean of log(1 + exp(score)) - y * score, in a form that does not overflow: [n], [n] -> a number."""
    # log(1 + exp(s)) = max(s, 0) + log(1 + exp(-|s|)); relu(s) + relu(-s) is |s|.
    xp, positive, negative = backend.xp, backend.relu(score), backend.relu(-score)
    return xp.mean(positive + xp.log(1.0 + xp.exp(-(positive + negative))) - y * score)


def logistic_regression(backend: Backend, params: dict[str, Any], x: Any, y: Any) -> Any:
    return cross_entropy(backend, backend.xp.reshape(x @ params["w"], (-1,)) + params["b"], y)


def network(backend: Backend, params: dict[str, Any], x: Any, y: Any) -> Any:
    xp = backend.xp
    hidden = xp.tanh(x @ params["w1"] + params["b1"])
    return cross_entropy(backend, xp.reshape(hidden @ params["w2"], (-1,)) + params["b2"], y)


def start(sizes: dict[str, tuple[int, ...]], seed: int = 1) -> dict[str, Floats]:
    """Parameters drawn from a normal distribution, biases 0; the same on every backend."""
    random = np.random.default_rng(seed)
    return {name: random.normal(0.0, 0.7, size) if len(size) > 1 else np.zeros(size) for name, size in sizes.items()}


MODELS: dict[str, tuple[Loss, dict[str, tuple[int, ...]]]] = {
    "logistic regression": (logistic_regression, {"w": (2, 1), "b": (1,)}),
    "network": (network, {"w1": (2, 16), "b1": (16,), "w2": (16, 1), "b2": (1,)}),
}


def train(backend: Backend, model: str, steps: int = STEPS, learning_rate: float = 0.05) -> list[float]:
    """The loss before each step of Adam."""
    loss, sizes = MODELS[model]
    x, y = (backend.asarray(array) for array in moons())
    params = {name: backend.asarray(array) for name, array in start(sizes).items()}
    optimizer = backend.adam(learning_rate)
    state = optimizer.init(params)
    call = backend.value_and_grad(lambda params: (loss(backend, params, x, y), None))
    losses = []
    for _ in range(steps):
        (value, _), grads = call(params)
        losses.append(float(backend.to_numpy(value)))
        params, state = optimizer.step(params, grads, state)
    return losses


def compare(names: Sequence[str], steps: int = STEPS) -> dict[str, dict[str, list[float]]]:
    """Losses by model and backend, on the CPU in float64 (CuPy: on its GPU)."""
    backends = [resolve(name, None if "cupy" in name.lower() else "cpu", "float64") for name in names]
    return {model: {on.name: train(on, model, steps) for on in backends} for model in MODELS}


def distances(curves: dict[str, list[float]]) -> dict[str, float]:
    """How far each backend's losses are from the first one's, at most, relative to the loss."""
    first = np.array(next(iter(curves.values())))
    return {name: float(np.max(np.abs(np.array(losses) / first - 1.0))) for name, losses in curves.items()}


def table(found: dict[str, dict[str, list[float]]]) -> str:
    lines = [f"{'model':<20} {'backend':<10} {'first loss':>10} {'last loss':>10} {'largest difference':>18}"]
    for model, curves in found.items():
        for name, far in distances(curves).items():
            losses = curves[name]
            lines.append(f"{model:<20} {name:<10} {losses[0]:>10.6f} {losses[-1]:>10.6f} {far:>18.1e}")
    return "\n".join(lines)


def draw(found: dict[str, dict[str, list[float]]], path: Path) -> None:
    """The curves over each other: the first is wide, so that all of them show."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "portgnn"
    import matplotlib.pyplot as plt

    from portgnn.plots import style

    figure, axes = plt.subplots(1, len(found), figsize=(9, 3.6), layout="constrained")
    for one, (model, curves) in zip(axes, found.items(), strict=True):
        for slot, (name, losses) in enumerate(curves.items()):
            one.plot(range(len(losses)), losses, label=name, **style.line(slot, len(curves)))
        one.set(title=model, xlabel="step", ylabel="loss (nats a point)")
        one.grid(alpha=0.3)
        one.legend()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default="numpy,torch,mlx,jax")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--picture", type=Path, help="where the curves go: an .svg, .png or .pdf")
    parser.add_argument("--json", type=Path, help="where the losses go")
    given = parser.parse_args()
    if given.steps < 1:
        parser.error(f"--steps {given.steps}: at least one step is needed")
    try:
        found = compare(given.backends.split(","), given.steps)
    except BackendError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if given.picture:
        draw(found, given.picture)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
