"""How a program of bench/ or tools/ ends: with its status, or with the one line that says what cannot be done."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from portgnn.errors import PortgnnError


def ended(program: Callable[..., int | None], *given: object) -> NoReturn:
    """Calls the program and leaves with what it returns; with status 2 and one line for what portgnn's errors tell.

    A file, a graph or a backend that cannot be had is no fault of the program, and its traceback says nothing more.
    """
    try:
        status = program(*given)
    except PortgnnError as error:
        print(f"{Path(sys.argv[0]).name}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    sys.exit(status or 0)
