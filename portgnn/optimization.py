"""The hyperparameters of a run's optimizer: which one, how its rate changes, and what gradients are made before it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from portgnn.errors import ConfigError
from portgnn.hyperparameters import EXECUTION, INFINITY, NOT_NEGATIVE, POSITIVE, RATE, TRAINING, Bounds, hyperparameter

OptimizerName = Literal["adam", "adamw", "sgd", "rmsprop"]
ScheduleName = Literal["constant", "step", "exponential", "cosine", "plateau"]

_FACTOR = Bounds("above 0 and below 1", above=0, below=1)
_EPOCHS = (Bounds("at least 1", least=1), Bounds("below 2**31", below=2**31))
_COUNT = (Bounds("0 or more", least=0), Bounds("below 2**31", below=2**31))

MOST_RATES = 2**20
"""Epochs of a schedule at most: a run keeps the rate of each on its device, and looks it up in each step."""


@dataclass(frozen=True)
class Optimization:
    """The part of a recipe that says how parameters follow their gradients; fields of `portgnn.recipe.Config`."""

    optimizer: OptimizerName = hyperparameter(
        "adam", "What turns gradients into steps.", TRAINING, names=("optim", "optimiser")
    )
    """"adam" (Kingma & Ba 2015), "adamw" (Loshchilov & Hutter 2019), "sgd" (with momentum, and Nesterov's, Sutskever et
    al. 2013) and "rmsprop" (Tieleman & Hinton 2012), each as torch.optim has it."""
    learning_rate: float = hyperparameter(
        0.01, "Step size of the optimizer.", TRAINING, bounds=POSITIVE, names=("step_size",)
    )
    weight_decay: float = hyperparameter(
        0.0, "L2 on every parameter, added to its gradient; decoupled with adamw.", TRAINING, bounds=NOT_NEGATIVE,
        names=("decay",),
    )  # fmt: skip
    """weight_decay * parameter is added to every gradient; adamw subtracts rate * weight_decay * parameter from the
    parameter itself. Not part of the reported loss."""
    beta1: float = hyperparameter(0.9, "Decay of the first moment, of adam and adamw.", TRAINING, bounds=RATE)
    beta2: float = hyperparameter(0.999, "Decay of the second moment, of adam and adamw.", TRAINING, bounds=RATE)
    eps: float = hyperparameter(
        1e-8, "Epsilon of adam, adamw and rmsprop, outside the root.", TRAINING, bounds=POSITIVE, names=("epsilon",)
    )
    momentum: float = hyperparameter(0.0, "Momentum of sgd and rmsprop.", TRAINING, bounds=RATE)
    nesterov: bool = hyperparameter(False, "Nesterov's momentum, of sgd.", TRAINING)
    rho: float = hyperparameter(
        0.99, "Decay of the mean square of gradients, of rmsprop.", TRAINING, bounds=RATE, names=("smoothing",)
    )
    """What torch.optim.RMSprop calls alpha."""
    schedule: ScheduleName = hyperparameter(
        "constant", "How the learning rate goes on from epoch to epoch.", TRAINING,
        names=("scheduler", "lr_scheduler", "lr_schedule"),
    )  # fmt: skip
    """t counts epochs, from 0 at the end of the warm-up. "step": learning_rate * factor ** floor(t / every);
    "exponential": learning_rate * factor ** (t / every); "cosine": from learning_rate down to min_learning_rate at the
    last epoch's end, along half a cosine (Loshchilov & Hutter 2017); "plateau": times factor whenever the validation
    loss, without a validation split the training loss, has not improved for more than `schedule_patience` epochs."""
    schedule_factor: float = hyperparameter(
        0.5, "What step, exponential and plateau multiply the rate with.", TRAINING, bounds=_FACTOR,
        names=("gamma", "lr_gamma", "decay_rate", "lr_decay"),
    )  # fmt: skip
    schedule_every: int = hyperparameter(
        50, "Epochs after which step and exponential have multiplied the rate once.", TRAINING, bounds=_EPOCHS,
        names=("decay_steps", "lr_step_size"),
    )  # fmt: skip
    schedule_patience: int = hyperparameter(
        10, "Epochs without a better loss that plateau lets pass.", TRAINING, bounds=_COUNT, names=("lr_patience",)
    )
    schedule_threshold: float = hyperparameter(
        1e-4, "Share by which a loss must fall to be a better one to plateau.", TRAINING, bounds=RATE
    )
    min_learning_rate: float = hyperparameter(
        0.0, "Where cosine ends, and below which plateau does not go.", TRAINING, bounds=NOT_NEGATIVE,
        names=("min_lr", "eta_min"),
    )  # fmt: skip
    warmup: int = hyperparameter(
        0, "Epochs over which the rate rises in equal steps to the full one, before any schedule.", TRAINING,
        bounds=_COUNT, names=("warmup_epochs", "warm_up"),
    )  # fmt: skip
    clip_norm: float = hyperparameter(
        0.0, "Norm of all gradients together above which they are scaled down to it; 0 for none.", TRAINING,
        bounds=Bounds("finite and not negative", least=0, below=INFINITY),
        names=("max_grad_norm", "max_norm", "gradient_clip_val", "clipnorm", "global_clipnorm"),
    )  # fmt: skip
    """Pascanu et al. 2013. Before the weight decay, and of the sums over all processes."""
    clip_value: float = hyperparameter(
        0.0, "Size to which each entry of a gradient is cut; 0 for none.", TRAINING, bounds=NOT_NEGATIVE,
        names=("clipvalue",),
    )  # fmt: skip
    accumulate: int = hyperparameter(
        1, "Batches whose gradients make one step of the optimizer.", EXECUTION, bounds=_EPOCHS,
        names=("accumulate_grad_batches", "gradient_accumulation_steps", "accumulation_steps"),
    )  # fmt: skip
    """Their mean over all training nodes of these batches; what is left at the end of an epoch makes a step, too."""

    @property
    def is_scheduled(self) -> bool:
        """Whether the rate changes from epoch to epoch."""
        return self.schedule != "constant" or self.warmup > 0


READ_BY: dict[str, tuple[str, tuple[str, ...]]] = {
    "beta1": ("optimizer", ("adam", "adamw")),
    "beta2": ("optimizer", ("adam", "adamw")),
    "eps": ("optimizer", ("adam", "adamw", "rmsprop")),
    "momentum": ("optimizer", ("sgd", "rmsprop")),
    "nesterov": ("optimizer", ("sgd",)),
    "rho": ("optimizer", ("rmsprop",)),
    "schedule_factor": ("schedule", ("step", "exponential", "plateau")),
    "schedule_every": ("schedule", ("step", "exponential")),
    "schedule_patience": ("schedule", ("plateau",)),
    "schedule_threshold": ("schedule", ("plateau",)),
    "min_learning_rate": ("schedule", ("cosine", "plateau")),
}
"""What only some optimizers or schedules read: the hyperparameter that chooses, and its values that do."""


def check_optimization(config: object) -> None:
    """Of a whole recipe. Raises ConfigError for values that do not go together, saying what to type in their place."""
    defaults = {each.name: each.default for each in fields(Optimization)}
    for name, (chooser, readers) in READ_BY.items():
        value, chosen = getattr(config, name), getattr(config, chooser)
        if value != defaults[name] and chosen not in readers:
            others = " or ".join(f"--{chooser} {each}" for each in readers)
            raise ConfigError(
                f"{name}={value} is nothing to {chooser}={chosen}; leave {_flag(name)} out, or take {others}"
            )
    for applies, message in _rules(config):
        if applies:
            raise ConfigError(message)


def check_has_batches(config: Any) -> None:
    """Of a run on one graph. Raises ConfigError where an epoch is one step, and gradients of several are asked for."""
    if config.accumulate > 1 and config.loader == "full":
        raise ConfigError(
            f"accumulate={config.accumulate} adds up gradients of batches, and an epoch of loader={config.loader} is "
            "one step here; leave --accumulate out, or take --loader neighbor or --loader cluster"
        )


def _rules(config: Any) -> tuple[tuple[object, str], ...]:
    """What may be wrong with several values together, and what to say of it."""
    places = config.epochs if config.schedule in ("step", "exponential", "cosine") else config.warmup
    return (
        (
            config.nesterov and not config.momentum,
            "nesterov looks ahead along the momentum, and momentum=0.0; give --momentum 0.9, or leave --nesterov out",
        ),
        (
            config.clip_norm and config.clip_value,
            f"clip_norm={config.clip_norm} and clip_value={config.clip_value} are two ways to clip gradients; leave "
            "one of them out",
        ),
        (
            config.warmup >= config.epochs,
            f"warmup={config.warmup} leaves none of epochs={config.epochs} for the full learning rate; give a smaller "
            "--warmup or more --epochs",
        ),
        (
            config.min_learning_rate > config.learning_rate,
            f"min_learning_rate={config.min_learning_rate} is above learning_rate={config.learning_rate}; give a "
            "smaller --min-learning-rate",
        ),
        (
            places > MOST_RATES,
            f"schedule={config.schedule} with warmup={config.warmup} keeps a rate for each of {places} epochs, and "
            f"{MOST_RATES} is the most; give fewer epochs",
        ),
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
