"""`portgnn man`: the manual page, made from the commands themselves, so that it never says what a command does not do.

In roff's man macros (groff_man(7)). click-man makes such pages of click's commands; typer's are no longer click's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Protocol, cast

from portgnn._version import __version__
from portgnn.cli._examples import EXAMPLES

STATUS = (
    ("0", "Done."),
    ("1", "A verification, a comparison or a check that was asked for failed."),
    ("2", "Input, a machine or a network that cannot be used; one line on stderr says why."),
    ("130", "Ended by Ctrl-C."),
    ("141", "The reader of a list has gone."),
)
ENVIRONMENT = (
    ("PORTGNN_DATA", "A folder that datasets are read from before they are fetched."),
    ("PORTGNN_CACHE", "Where datasets are kept once fetched."),
    ("PORTGNN_COMPILED", "Where compiled programs are kept for later processes; off: nowhere."),
    ("PORTGNN_DRAW", "The seed of what verify draws."),
    ("PORTGNN_OFFLINE", "Nothing is fetched where this is set."),
    ("PORTGNN_BROWSER", "The browser that prints a report, where it is not one of those on PATH."),
    ("PORTGNN_MAX_MEMORY", "Bytes that a file may claim before it is refused."),
)


class Parameter(Protocol):
    """What a page takes of an option or an argument."""

    hidden: bool
    opts: list[str]
    secondary_opts: list[str]
    param_type_name: str
    rich_help_panel: str | None

    def get_help_record(self, context: object) -> tuple[str, str] | None: ...


class Command(Protocol):
    """What a page takes of a command."""

    hidden: bool
    help: str | None
    params: list[Parameter]

    def collect_usage_pieces(self, context: object) -> list[str]: ...


class Group(Protocol):
    """Commands by name, groups of them among these."""

    help: str | None
    commands: dict[str, object]


def manual(app: object) -> str:
    """The page in roff: every command with its options in their groups, examples, exit status, environment.

    app: the program as typer makes it, a group of click's kind.
    """
    root = cast(Group, app)
    lines = [f'.TH PORTGNN 1 "" "portgnn {__version__}" "User Commands"', ".SH NAME"]
    lines += [f"portgnn \\- {_text(_sentence(root.help).rstrip('.'))}"]
    lines += [
        ".SH SYNOPSIS",
        ".B portgnn",
        r"\fICOMMAND\fR [\fIOPTION\fR]...",
        ".SH DESCRIPTION",
        _text(root.help or ""),
    ]
    lines += ["Results go to stdout, everything else to stderr.", ".SH COMMANDS"]
    for name, command in _commands(root, ""):
        lines += _command(name, command)
    lines += [".SH EXIT STATUS", *_terms(STATUS), ".SH ENVIRONMENT", *_terms(ENVIRONMENT)]
    return "\n".join(lines) + "\n"


def _commands(group: Group, before: str) -> Iterator[tuple[str, Command]]:
    for name, command in group.commands.items():
        whole = f"{before} {name}".strip()
        if hasattr(command, "commands"):
            yield from _commands(cast(Group, command), whole)
        elif not cast(Command, command).hidden:
            yield whole, cast(Command, command)


def _command(name: str, command: Command) -> list[str]:
    import typer

    context = typer.Context(command, info_name=name)  # type: ignore[arg-type]  # typer's own, seen by its shape
    pieces = " ".join(command.collect_usage_pieces(context))
    lines = [f'.SS "portgnn {_text(name)} {_text(pieces)}"', _text(command.help or "")]
    groups: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None and not parameter.hidden:
            groups.setdefault(parameter.rich_help_panel or "", []).append(record)
    for group, records in groups.items():
        lines += [".PP", f".I {_text(group)}"] if group else []
        lines += _terms(records)
    examples = EXAMPLES.get(name) or EXAMPLES.get(name.split()[0], ())  # those of a group are its commands'
    if examples:
        lines += [".PP", "Examples:", ".PP", ".nf", ".RS"]
        lines += [_text(line if not remark else f"{line}  # {remark}") for line, remark in examples]
        lines += [".RE", ".fi"]
    return lines


def _terms(records: Iterable[tuple[str, str]]) -> list[str]:
    found: list[str] = []
    for term, text in records:
        found += [".TP", f"\\fB{_text(term)}\\fR", _text(re.sub(r"\s+", " ", text))]
    return found


def _sentence(text: str | None) -> str:
    return (text or "").strip().split("\n", 1)[0]


def _text(text: str) -> str:
    """Words as roff takes them: no backslash, hyphen or leading dot has a meaning of its own."""
    plain = re.sub(r"[ \t]*\n[ \t]*\n\s*", "\n.PP\n", text.strip().replace("\\", r"\e").replace("-", r"\-"))
    return re.sub(r"^(?!\.PP$)([.'])", r"\\&\1", plain, flags=re.MULTILINE)
