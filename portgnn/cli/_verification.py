"""`portgnn verify`."""

from __future__ import annotations

import shlex
from typing import Any

from portgnn.cli._output import announce, print_json, print_line, print_table


def run(backend: str, device: str | None, dtype: str, draw: int | None, model: list[Any] | None, as_json: bool) -> int:
    """Returns the exit status: 0 where every check passed, else 1."""
    from portgnn.verification import CheckResult, verify

    def tell(check: CheckResult) -> None:
        if not check.passed:
            announce(f"{check.name} departs")

    report = verify(backend, device=device, dtype=dtype, draw=draw, model=model, on_check=None if as_json else tell)
    if as_json:
        print_json(report.to_dict())
        return 0 if report.passed else 1
    rows = [
        (
            check.name,
            "-" if check.max_error is None else f"{check.max_error:.1e}",
            f"{check.tolerance:.0e}",
            "ok" if check.passed else "FAILS",
            check.hint,
        )
        for check in report.checks
    ]
    print_table(
        ("check", "largest error", "tolerance", "state", "hint"), rows, give_up=("tolerance", "hint", "largest error")
    )
    print_line(f"Inputs were drawn from {report.draw}; to repeat this: --draw {report.draw}")
    where = f"{report.backend} on {report.device} in {report.dtype}"
    if report.passed:
        print_line(f"{where}: all {len(report.checks)} checks pass.")
        words = ["portgnn", "train", "--backend", backend, "--device", report.device, "--dtype", dtype]
        announce("Next, train on it:", shlex.join(words))
        return 0
    failed = [check for check in report.checks if not check.passed]
    hint = f": {failed[0].hint}" if failed[0].hint else ""
    print_line(f"{where}: {len(failed)} of {len(report.checks)} checks fail, first {failed[0].name}{hint}")
    announce("Next, the settings and versions of this machine:", "portgnn doctor")
    return 1
