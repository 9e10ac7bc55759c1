"""The `portgnn` command. Results go to stdout, everything else to stderr.

Exit status: 0 done; 2 for input, a machine or a network that cannot be used, or a stdout that did not take the result
(one line says why); 130 after Ctrl-C; 141 where the reader of a list has gone. Anything else is a fault of portgnn's
own and keeps its traceback. What stderr does not take is left out, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portgnn.cli._streams import Guard

BAD_INPUT = 2
INTERRUPTED = 130
READER_LEFT = 141


COMPUTING = ("train", "predict", "verify", "study", "bench")
"""Commands whose result took work, and is worth a file where stdout does not take it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. arguments: by default those of the process. Returns the exit status."""
    import sys

    from portgnn.cli._streams import guarded

    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with guarded() as (out, err):
            out.test()
            if out.fault:
                return _untold(out, "")
            status = _run(given)
            out.flush()
            err.flush()
            if not out.fault or status not in (0, 1):
                return status
            return _untold(out, next((word for word in given if word in COMPUTING), ""))
    except KeyboardInterrupt:
        return INTERRUPTED


def _untold(out: Guard, command: str) -> int:
    """Says that stdout took no result, and where a command's that computed one is now."""
    import sys

    from portgnn.cli._output import error
    from portgnn.cli._streams import rescued

    if out.reader_left and not command:
        return READER_LEFT
    place = rescued(out, command) if command else ""
    if command and not place:
        sys.stderr.write("".join(out.kept or []))
    error(f"cannot write to stdout: {out.fault}" + (f"; the result is in {place}" if place else ""))
    return BAD_INPUT


def _run(arguments: list[str]) -> int:
    import typer

    from portgnn.cli._app import app
    from portgnn.cli._examples import with_examples
    from portgnn.cli._hyperparameters import modern
    from portgnn.cli._mistakes import usage
    from portgnn.cli._output import error
    from portgnn.errors import PortgnnError

    # What typer raises for a wrong option; by this route, since typer moved from click to a copy of its own.
    usage_error = typer.BadParameter.__base__
    assert usage_error is not None
    with_examples(app)
    command = typer.main.get_command(app)
    try:
        status = command.main(args=modern(arguments), prog_name="portgnn", standalone_mode=False)
    except typer.Abort:
        return INTERRUPTED
    except PortgnnError as fault:
        error(str(fault))
        return BAD_INPUT
    except Exception as fault:
        if not isinstance(fault, usage_error):
            raise
        error(usage(fault))
        return BAD_INPUT
    return status if isinstance(status, int) else 0
