"""One option for each field of `portgnn.presets.Config`, made from the record itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

import typer

from portgnn.cli import completion
from portgnn.presets import PRESETS, Config

HELP: dict[str, str] = {
    "layers": "Number of layers.",
    "hidden": "Width of the hidden layers.",
    "input_dropout": "Dropout rate on the features.",
    "dropout": "Dropout rate on the input of every further layer.",
    "bias": "None, after the propagation, or before it.",
    "normalize_features": "Divide each row of the features by its sum, or standardize columns (auto: see the docs).",
    "l2": "Penalty l2/2 * |W0|^2 on the first layer's weight, part of the loss.",
    "weight_decay": "L2 on every parameter, inside Adam.",
    "learning_rate": "Adam's step size.",
    "beta1": "Adam's decay of the first moment.",
    "beta2": "Adam's decay of the second moment.",
    "eps": "Adam's epsilon, outside the root.",
    "epochs": "Epochs at most.",
    "stopping": "Stop when the validation loss exceeds its mean over a window, or when patience has run out.",
    "patience": "Epochs of the window or of the patience; 0 never stops early.",
    "stop_after": "Share of the epochs before which training does not stop.",
    "restore_best": "Return the parameters of the lowest validation loss.",
    "undirected": "Let every edge count in both directions, or keep the directions of the data.",
    "features": "Form in which the features are stored.",
    "adjacency": "Form in which the adjacency is stored.",
    "rows": "Compute only the rows that the loss reads, or all.",
    "loader": "Train on all nodes at once, on sampled neighbourhoods, or on clusters of nodes.",
    "batch_size": "Training nodes of a sampled batch; nodes of a cluster batch.",
    "fanout": "Neighbours sampled a node, from the output layer back: numbers or all.",
}

NEGATIONS = {"undirected": "--directed"}
RULE = "--normalize-features"


def with_hyperparameters(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option, None where it is not given, for each field of Config in place of its **kwargs."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    options = hyperparameter_options()

    def run(**values: Any) -> None:
        command(**values)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {p.name: p.annotation for p in [*own, *options]}
    # typer reads the options from here.
    run.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    return run


def modern(arguments: Sequence[str]) -> list[str]:
    """The arguments with what used to be a switch, --normalize-features and --no-normalize-features, as an option.

    No command that has the option takes an argument of its own, so that a word after it is its value.
    """
    words = []
    for at, word in enumerate(arguments):
        following = arguments[at + 1] if at + 1 < len(arguments) else "-"
        if word == RULE and following.startswith("-"):
            words.append(f"{RULE}=row")
        else:
            words.append(f"{RULE}=none" if word == f"--no-{RULE[2:]}" else word)
    return words


def with_options_of(command: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command of **options with the options of another."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        function.__annotations__ = command.__annotations__
        function.__signature__ = inspect.signature(command)  # type: ignore[attr-defined]
        return function

    return decorate


def hyperparameter_options() -> list[inspect.Parameter]:
    """Keyword-only parameters that typer turns into options."""
    hints = get_type_hints(Config)
    options = []
    for field in fields(Config):
        if field.name == "preset":
            continue
        hint = hints[field.name]
        flag = "--" + field.name.replace("_", "-")
        off = NEGATIONS.get(field.name, f"--no-{flag[2:]}")
        declaration = f"{flag}/{off}" if hint is bool else flag
        choices = get_args(hint) if get_origin(hint) is not None else ()
        # Choices stay text here: Config checks them, for the shell as for Python.
        option = typer.Option(
            None,
            declaration,
            help=f"{HELP[field.name]} {_defaults(field.name)}",
            metavar="|".join(choices) or None,
            show_default=False,
            autocompletion=completion.choices(choices) if choices else None,
        )
        annotation: Any = (str if choices else hint) | None
        options.append(
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=annotation)
        )
    return options


def _defaults(name: str) -> str:
    values = {preset: getattr(config, name) for preset, config in PRESETS.items()}
    if len(set(values.values())) == 1:
        return f"({next(iter(values.values()))})"
    return "(" + ", ".join(f"{preset} {value}" for preset, value in values.items()) + ")"
