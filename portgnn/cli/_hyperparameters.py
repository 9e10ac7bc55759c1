"""One option for each hyperparameter of training and of portgnn's networks, made from the records themselves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import typer

from portgnn.cli import _completion
from portgnn.models import NETWORKS
from portgnn.presets import PRESETS
from portgnn.recipe import known, networks_with

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
    options = []
    for name, one in known().items():
        flag = "--" + name.replace("_", "-")
        declaration = f"{flag}/{one.off or f'--no-{flag[2:]}'}" if one.kind is bool else flag
        # Choices stay text here: Config checks them, for the shell as for Python.
        option = typer.Option(
            None,
            declaration,
            help=f"{one.help} {_defaults(name)}",
            metavar="|".join(one.choices) or None,
            show_default=False,
            rich_help_panel=one.group,
            autocompletion=_completion.choices(one.choices) if one.choices else None,
        )
        annotation: Any = one.kind | None
        options.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=annotation))
    return options


def _defaults(name: str) -> str:
    """The first preset's value, those of presets that have another, and which networks have it where not all do."""
    by_value: dict[Any, list[str]] = {}
    for preset, config in PRESETS.items():
        if hasattr(config, name):
            by_value.setdefault(getattr(config, name), []).append(preset)
    (first, _), *others = by_value.items()
    said = "; ".join([str(first), *(f"{', '.join(presets)} {value}" for value, presets in others)])
    having = networks_with(name)
    return f"({said})" if not having or next(iter(NETWORKS)) in having else f"Of {', '.join(having)} ({said})"
