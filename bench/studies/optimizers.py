"""Whether optimizers, schedules and clipping come to the same numbers on every backend, and to torch.optim's.

python bench/studies/optimizers.py [--backends numpy,torch,mlx,jax] [--epochs 200] [--steps 3000]
    [--json bench/results/optimizers.json]

1. Curves of Cora in float64, so many epochs of recipe `kipf` without early stopping: the largest difference of a
   training or validation loss from NumPy's, relative to it.
2. So many steps of each optimizer, under each schedule and clip, on drawn gradients, beside torch.optim and
   torch.optim.lr_scheduler in float64: the largest difference of a parameter, relative to the largest.

Needs torch, and Cora (PORTGNN_DATA).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from numpy.typing import NDArray

import portgnn
from portgnn import Graph, get_backend
from portgnn.benchmark.runner import git_revision
from portgnn.parts import plain_batches
from portgnn.presets import Config
from portgnn.protocol import Batching, State
from portgnn.registry import backend_class
from portgnn.results.environment import machine
from portgnn.training import join_state, parameters_of, split_state
from portgnn.training.optimizers import optimizer_of
from portgnn.training.schedules import schedule_of

Options = dict[str, Any]

OPTIMIZERS: dict[str, Options] = {
    "adam": {},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.01},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.2},
    "sgd with momentum": {"optimizer": "sgd", "learning_rate": 0.2, "momentum": 0.9},
    "sgd, Nesterov": {"optimizer": "sgd", "learning_rate": 0.2, "momentum": 0.9, "nesterov": True},
    "rmsprop": {"optimizer": "rmsprop"},
    "rmsprop with momentum": {"optimizer": "rmsprop", "momentum": 0.5, "weight_decay": 5e-4},
}
SCHEDULES: dict[str, Options] = {
    "step": {"schedule": "step", "schedule_every": 40},
    "exponential": {"schedule": "exponential"},
    "cosine": {"schedule": "cosine", "min_learning_rate": 1e-4},
    "cosine after a warm-up": {"schedule": "cosine", "warmup": 20},
    "plateau": {"schedule": "plateau", "schedule_patience": 3, "schedule_threshold": 0.02},
    "warm-up alone": {"warmup": 20},
}
CLIPS: dict[str, Options] = {"clipped by norm": {"clip_norm": 0.05}, "clipped by value": {"clip_value": 0.002}}
SHAPES = {"weight0": (30, 16), "bias0": (16,), "weight1": (16, 7)}
DECAYS = {"weight0": 0.01, "weight1": 0.003}


def rows() -> dict[str, Options]:
    """Each optimizer, each schedule and clip with Adam, and some with SGD."""
    changes, found = SCHEDULES | CLIPS, dict(OPTIMIZERS)
    found |= {f"adam, {more}": options for more, options in changes.items()}
    nesterov = OPTIMIZERS["sgd, Nesterov"]
    with_it = ("cosine after a warm-up", "plateau", "clipped by norm")
    return found | {f"sgd, Nesterov, {more}": nesterov | changes[more] for more in with_it}


def curves(graph: Graph, backend: str, epochs: int, options: Options) -> NDArray[np.float64]:
    """[2, epochs]: training and validation losses."""
    result = portgnn.train(
        graph, backend=backend, device="cpu", dtype="float64", epochs=epochs, patience=0, seed=0, **options
    )
    return np.array([result.history.train_loss, result.history.val_loss])


def gradients(steps: int) -> list[dict[str, NDArray[np.float64]]]:
    draw = np.random.default_rng(16)
    sizes = np.exp(draw.normal(0.0, 1.0, steps))
    return [{name: size * draw.standard_normal(shape) for name, shape in SHAPES.items()} for size in sizes]


def loss_at(step: int) -> float:
    """What a schedule is told: it falls, and stands still now and then."""
    return float(np.exp(-(step // 50) / 8) * (1.5 if step % 50 > 20 else 1.0))


def start() -> dict[str, NDArray[np.float64]]:
    draw = np.random.default_rng(1)
    return {name: draw.standard_normal(shape) for name, shape in SHAPES.items()}


def ours(backend: str, steps: int, options: Options) -> dict[str, NDArray[np.float64]]:
    made, config = get_backend(backend, device="cpu", dtype="float64"), Config(epochs=steps, **options)
    optimizer = optimizer_of(made, config, DECAYS)
    schedule = schedule_of(made, config)

    def step(state: State, keys: Any, batch: Any) -> tuple[State, tuple[Any, ...]]:
        """As after an epoch, of which the loss is given."""
        grads, loss = batch
        params, moments = split_state(state)
        params, moments = optimizer.step(params, grads, moments)
        after = join_state(params, moments)
        return (after if schedule is None else schedule.advanced(after, loss)), ()

    compiled = made.compile_batches(step) if isinstance(made, Batching) else plain_batches(made, step)
    params = {name: made.asarray(value) for name, value in start().items()}
    state = join_state(params, optimizer.init(params))
    keys = np.zeros((1, 2), dtype=np.uint32)
    for at, grads in enumerate(gradients(steps)):
        placed = {name: made.asarray(value) for name, value in grads.items()}
        state, _ = compiled(state, keys, (placed, made.asarray(np.array(loss_at(at)))))
    return {name: made.to_numpy(value) for name, value in parameters_of(state).items()}


def torch_optimizer(config: Config, params: dict[str, torch.Tensor]) -> torch.optim.Optimizer:
    groups: Any = [{"params": [value], "weight_decay": DECAYS.get(name, 0.0)} for name, value in params.items()]
    rate, betas = config.learning_rate, (config.beta1, config.beta2)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, rate, momentum=config.momentum, nesterov=config.nesterov)
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, rate, alpha=config.rho, eps=config.eps, momentum=config.momentum)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, rate, betas=betas, eps=config.eps)


def torch_scheduler(config: Config, optimizer: torch.optim.Optimizer) -> Any:
    from torch.optim import lr_scheduler as lr

    left, factor = config.epochs - config.warmup, config.schedule_factor
    if config.schedule == "plateau":
        patience, threshold = config.schedule_patience, config.schedule_threshold
        return lr.ReduceLROnPlateau(
            optimizer, factor=factor, patience=patience, threshold=threshold, min_lr=config.min_learning_rate, eps=0
        )
    after: Any = {
        "constant": lambda: lr.ConstantLR(optimizer, factor=1.0),
        "step": lambda: lr.StepLR(optimizer, config.schedule_every, factor),
        "exponential": lambda: lr.ExponentialLR(optimizer, factor ** (1 / config.schedule_every)),
        "cosine": lambda: lr.CosineAnnealingLR(optimizer, left, config.min_learning_rate),
    }[config.schedule]()
    if not config.warmup:
        return after
    rise = lr.LinearLR(optimizer, 1 / config.warmup, 1.0, config.warmup - 1)
    return lr.SequentialLR(optimizer, [rise, after], [config.warmup])


def theirs(steps: int, options: Options) -> dict[str, NDArray[np.float64]]:
    config = Config(epochs=steps, **options)
    params = {name: torch.tensor(value, requires_grad=True) for name, value in start().items()}
    optimizer = torch_optimizer(config, params)
    scheduler = torch_scheduler(config, optimizer)
    for step, grads in enumerate(gradients(steps)):
        for name, value in params.items():
            value.grad = torch.tensor(grads[name])
        if config.clip_norm:
            # torch's own adds 1e-6 to the norm; its norm is the reference here.
            norm = torch.nn.utils.get_total_norm([value.grad for value in params.values() if value.grad is not None])
            torch.nn.utils.clip_grads_with_norm_(
                list(params.values()), config.clip_norm, torch.clamp(norm - 1e-6, min=0)
            )
        if config.clip_value:
            torch.nn.utils.clip_grad_value_(list(params.values()), config.clip_value)
        optimizer.step()
        scheduler.step(*([loss_at(step)] if config.schedule == "plateau" else []))
    return {name: value.detach().numpy() for name, value in params.items()}


def apart(found: dict[str, NDArray[np.float64]], want: dict[str, NDArray[np.float64]]) -> float:
    largest = max(float(np.abs(value).max()) for value in want.values())
    return max(float(np.abs(found[name] - want[name]).max()) for name in want) / largest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default="numpy,torch,mlx,jax")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    names, clock = given.backends.split(","), time.monotonic()
    graph, found = portgnn.load_graph("cora"), []
    for row, options in rows().items():
        reference = curves(graph, names[0], given.epochs, options)
        curve = {
            name: float(np.max(np.abs(curves(graph, name, given.epochs, options) / reference - 1)))
            for name in names[1:]
        }
        want = theirs(given.steps, options)
        steps = {name: apart(ours(name, given.steps, options), want) for name in names}
        found.append({"row": row, "options": options, "last_val_loss": float(reference[1, -1]), "curves": curve,
                      "beside_torch": steps})  # fmt: skip
        worst = f"curves {max(curve.values(), default=0.0):.1e}, beside torch.optim {max(steps.values()):.1e}"
        print(f"{row}: {worst} ({time.monotonic() - clock:.0f} s)", flush=True)
    most = {key: max(max(row[key].values(), default=0.0) for row in found) for key in ("curves", "beside_torch")}
    print(f"all: curves {most['curves']:.1e}, beside torch.optim {most['beside_torch']:.1e}")
    if given.json:
        versions = {name: backend_class(name).environment()["version"] for name in names}
        head = {"format": "portgnn-optimizers", "made": datetime.now(UTC).isoformat(timespec="seconds")}
        head |= {"git": git_revision(), "machine": machine(), "versions": versions, "dataset": "cora"}
        head |= {"dtype": "float64", "epochs": given.epochs, "steps": given.steps, "largest": most}
        given.json.write_text(json.dumps(head | {"rows": found}, indent=1) + "\n")
    return int(most["curves"] > 1e-12 or most["beside_torch"] > 1e-13)


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
