"""Runs recorded by libraries that follow experiments. Each is optional and loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module

from portgnn.errors import ConfigError, near_matches
from portgnn.loggers._base import Logger

__all__ = ["Logger", "logger_of"]

KINDS = {
    "tensorboard": "portgnn.loggers.tensorboard:TensorBoard",
    "mlflow": "portgnn.loggers.mlflow:MLflow",
    "wandb": "portgnn.loggers.wandb:WandB",
}


def logger_of(text: str) -> Logger:
    """The logger that `--logger` names: tensorboard[:FOLDER], mlflow[:URI] or wandb[:PROJECT].

    Raises ConfigError for another one, MissingLibraryError where its library is not installed.
    """
    kind, colon, where = text.partition(":")
    if kind not in KINDS:
        raise ConfigError(f"there is no logger {kind!r}.{near_matches(kind, KINDS)}")
    if colon and not where:
        raise ConfigError(f"--logger {text} names nothing after the colon; leave the colon out for the default")
    module, _, name = KINDS[kind].partition(":")
    made = getattr(import_module(module), name)
    logger: Logger = made(where) if where else made()
    return logger
