"""`portgnn verify --seeds`."""

from __future__ import annotations

import shlex
from typing import Any

from portgnn.cli._output import announce, print_json, print_line, print_table
from portgnn.errors import ConfigError

KINKS = 4
"""Kinks of one seed that are printed; --json has all."""


def refuse(options: dict[str, Any]) -> None:
    """Raises ConfigError for options of whole trainings where none were asked for."""
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(f"{given[0]} is for whole trainings: add --seeds 20, or leave it out")


def run(backend: str, device: str | None, dtype: str, seeds: int, as_json: bool, **options: Any) -> int:
    """Returns the exit status: 0 where every seed agrees or every departure is explained, else 1."""
    from portgnn.verification.seeds import SeedResult, verify_seeds

    done = 0

    def tell(result: SeedResult) -> None:
        nonlocal done
        done += 1
        announce(f"seed {result.seed} ({done} of {seeds}): {_error(result.error)}, {result.state}")

    given = {name: value for name, value in options.items() if value is not None}
    report = verify_seeds(
        backend,
        seeds=seeds,
        device=device,
        dtype=dtype,
        on_seed=None if as_json else tell,
        announce=announce,
        **given,
    )
    if as_json:
        print_json(report.to_dict())
        return 0 if report.passed else 1
    rows = [
        (
            str(one.seed),
            _error(one.error),
            str(len(one.kinks)) if one.first is not None else "",
            _error(one.explained) if one.explained is not None else "",
            "ok" if one.state == "agrees" else one.state,
            one.hint,
        )
        for one in report.seeds
    ]
    columns = ("seed", "largest difference", "kinks", "with their sides", "state", "hint")
    print_table(columns, rows, give_up=("hint", "with their sides", "kinks"))
    for one in report.seeds:
        for kink in one.kinks[:KINKS]:
            print_line(f"seed {one.seed}: kink at {kink}")
        if len(one.kinks) > KINKS:
            print_line(f"seed {one.seed}: {len(one.kinks) - KINKS} kinks more; --json has all")
    of = report.summary()
    print_line(
        f"{report.backend} on {report.device} in {report.dtype}, {report.preset} on {report.dataset}, {report.epochs} "
        f"epochs: the losses differ by {_error(of['median'])} in the median seed, {_error(of['largest'])} at most."
    )
    agree = of["seeds"] - of["departing"]
    print_line(
        f"Of {of['seeds']} seeds, {agree} agree to {report.tolerance:.0e}; {of['explained']} part at kinks of relu and "
        f"agree with its sides; {of['unexplained']} are not explained."
    )
    if not report.passed:
        words = ["portgnn", "verify", "--backend", backend, "--device", report.device, "--dtype", dtype]
        announce(f"Next, the checks of single operations:\n  {shlex.join(words)}")
    return 0 if report.passed else 1


def _error(error: float | None) -> str:
    return "-" if error is None else f"{error:.1e}"
