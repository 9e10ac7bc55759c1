"""What typer says of a wrong option, in one line that ends in what to type."""

from __future__ import annotations

import difflib
import re
import shlex
from typing import Any

from portgnn.hyperparameters import meant
from portgnn.recipe import known
from portgnn.registry import registered_names
from portgnn.text import shortened

_LONG_WORD = re.compile(r"\S{120,}")
_EXTRA = re.compile(r"Got unexpected extra argument(?:\(s\)|s)? \((\S+).*\)$")


def usage(fault: object) -> str:
    """The message of a usage error of typer's: near option names, and the help of the command that was typed."""
    context = getattr(fault, "ctx", None)
    said = _LONG_WORD.sub(lambda found: shortened(found[0], 60), _said(fault, context)).rstrip(".")
    end = "" if said.endswith(("?", "!")) else "."
    return f"{said}{end} Type: {context.command_path if context else 'portgnn'} --help"


def _said(fault: Any, context: Any) -> str:
    flags = [flag for each in context.command.params for flag in each.opts] if context else []
    name = getattr(fault, "option_name", None)
    if name is not None and hasattr(fault, "possibilities"):
        other = f"--{meant(known(), name.lstrip('-').replace('-', '_')).replace('_', '-')}"
        near = [other] if other in flags else difflib.get_close_matches(name, flags, n=2, cutoff=0.6)
        return f"{fault.message}. Did you mean {' or '.join(near)}?" if near else str(fault.message)
    said = str(fault.format_message())
    extra = _EXTRA.match(said)
    if extra and "--dataset" in flags:  # a word without an option is a dataset to most who type one
        option = "--backend" if "--backend" in flags and extra[1] in registered_names() else "--dataset"
        return f"There is no place for {extra[1]!r}. Did you mean {option} {shlex.quote(extra[1])}?"
    return said
