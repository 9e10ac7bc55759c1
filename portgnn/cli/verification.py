"""`portgnn verify`."""

from __future__ import annotations

from portgnn.cli.output import announce, print_json, print_table


def run(backend: str, device: str | None, dtype: str, as_json: bool) -> int:
    """Returns the exit status: 0 where every check passed, else 1."""
    from portgnn.verification import CheckResult, verify

    def tell(check: CheckResult) -> None:
        if not check.passed:
            announce(f"{check.name} departs")

    report = verify(backend, device=device, dtype=dtype, on_check=None if as_json else tell)
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
    print_table(("check", "largest error", "tolerance", "", "hint"), rows)
    where = f"{report.backend} on {report.device} in {report.dtype}"
    if report.passed:
        print(f"{where}: all {len(report.checks)} checks pass.")
        return 0
    failed = [check for check in report.checks if not check.passed]
    hint = f": {failed[0].hint}" if failed[0].hint else ""
    print(f"{where}: {len(failed)} of {len(report.checks)} checks fail, first {failed[0].name}{hint}")
    return 1
