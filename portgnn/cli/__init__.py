"""The `portgnn` command. Results go to stdout, everything else to stderr.

Exit status: 0 done; 2 for input, a machine or a network that cannot be used (one line says why); 130 after
Ctrl-C. Anything else is a fault of portgnn's own and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence

BAD_INPUT = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. arguments: by default those of the process. Returns the exit status."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    import typer

    from portgnn.cli.app import app
    from portgnn.cli.examples import with_examples
    from portgnn.cli.output import error
    from portgnn.errors import PortgnnError

    # What typer raises for a wrong option; by this route, since typer moved from click to a copy of its own.
    usage_error = typer.BadParameter.__base__
    assert usage_error is not None
    with_examples(app)
    command = typer.main.get_command(app)
    try:
        status = command.main(
            args=None if arguments is None else list(arguments), prog_name="portgnn", standalone_mode=False
        )
    except typer.Abort:
        return INTERRUPTED
    except PortgnnError as fault:
        error(str(fault))
        return BAD_INPUT
    except Exception as fault:
        if not isinstance(fault, usage_error):
            raise
        error(f"{fault.format_message().rstrip('.')}. Type: portgnn --help")  # type: ignore[attr-defined]
        return BAD_INPUT
    return status if isinstance(status, int) else 0
