"""Options under headings in `--help`: a command with many of them says which belong together."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from portgnn.hyperparameters import DATA, EXECUTION, LINKS, NETWORK, TRAINING

OUTPUT, ARGUMENTS, EXPLANATION = "output", "arguments", "explanation"
ORDER = (DATA, NETWORK, TRAINING, LINKS, EXPLANATION, EXECUTION, OUTPUT)
"""Headings, as given to `typer.Option(rich_help_panel=...)`; options without one come last."""


STDOUT = "-"
"""In place of a file's name."""


class Grouped(TyperCommand):
    """A command whose `--help` has a heading for each group of options."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        rows: dict[str, list[tuple[str, str]]] = {group: [] for group in (ARGUMENTS, *ORDER)}
        for each in self.get_params(ctx):
            record = each.get_help_record(ctx)
            if record is not None:
                group = ARGUMENTS if each.param_type_name == "argument" else getattr(each, "rich_help_panel", None)
                rows.setdefault(group or "", []).append(record)
        for group, records in rows.items():
            if records:
                heading = f"{group.capitalize()} options" if group else "Options"
                with formatter.section("Arguments" if group == ARGUMENTS else heading):
                    formatter.write_dl(records)


class FileOrStdout(Grouped):
    """A command whose `--json` may be followed by a file; alone, as in all other commands, it is for stdout."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        told: list[str] = []
        for word, after in zip(args, [*args[1:], ""], strict=True):
            told += [word, STDOUT] if word == "--json" and (not after or after.startswith("--")) else [word]
        return super().parse_args(ctx, told)
