"""Runs `portgnn verify` for every backend, device and dtype here, and makes README's table from the files.

python bench/studies/verify_matrix.py run [--backends numpy,torch] [--devices cpu] [--dtypes float64,float32]
    [--model all] [--out bench/results/verify]
python bench/studies/verify_matrix.py table bench/results/verify
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from portgnn.registry import available_backends, backend_class
from portgnn.results.environment import machine
from portgnn.verification import verify

RESULTS = Path(__file__).resolve().parents[1] / "results" / "verify"
UNITLESS = ("dropout.mean", "dropout.correlation", "synchronize", "value_and_grad.finite-differences", "xp.reductions")
"""Checks whose figure is no error of the backend: standard deviations, a share of time or of a bound, a difference
quotient."""


def run(backends: list[str], out: Path, devices: list[str], dtypes: list[str], model: str | None = None) -> None:
    """model: checks of this network, or of "all", in place of single operations'. Empty lists are everything."""
    out.mkdir(parents=True, exist_ok=True)
    for name, present in available_backends().items():
        if backends and name not in backends:
            continue
        for device in present:
            if devices and device.partition(":")[0] not in devices:
                continue
            for dtype in backend_class(name).dtypes(device):
                if dtypes and dtype not in dtypes:
                    continue
                clock = time.perf_counter()
                report = verify(name, device=device, dtype=dtype, model=model).to_dict()
                report["seconds"] = round(time.perf_counter() - clock, 1)
                report["setting"] = ""
                report["environment"] = machine() | {name: backend_class(name).environment()}
                (out / f"{name}-{device}-{dtype}.json".replace(":", "")).write_text(json.dumps(report, indent=1) + "\n")
                print(row(report), flush=True)


def row(report: dict[str, Any]) -> str:
    """One row of the table: what was checked, the largest error among values, and among the training runs."""
    measured = [c for c in report["checks"] if c["max_error"] is not None and c["name"] not in UNITLESS]
    runs = [c for c in measured if c["name"].startswith("trajectory")]
    others = [c for c in measured if not c["name"].startswith("trajectory")]
    passed = sum(c["passed"] for c in report["checks"])
    verdict = f"{passed} of {len(report['checks'])}"
    if report["first_failure"]:
        verdict += f", first `{report['first_failure']}`"

    def largest(checks: list[dict[str, Any]]) -> str:
        if not checks:
            return "none ran"
        worst = max(checks, key=lambda c: c["max_error"])
        return f"{worst['max_error']:.1e} ({worst['tolerance']:.0e})"

    gpu = next((v.get("gpu") for v in report["environment"].values() if isinstance(v, dict)), None)
    where = gpu if isinstance(gpu, str) and report["device"] != "cpu" else report["environment"]["machine"]
    if report["device"] != "cpu" and not isinstance(gpu, str):
        where = report["environment"].get("accelerator", where)
    setting = f", {report['setting']} on" if report.get("setting") else ""
    return (
        f"| `{report['backend']}` | {report['device']} ({where}) | {report['dtype']}{setting} | {verdict} "
        f"| {largest(others)} | {largest(runs)} |"
    )


def table(folder: Path) -> str:
    reports = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    reports.sort(key=lambda r: (r["device"] != "cpu", r["backend"], r["device"], r["dtype"], r.get("setting", "")))
    head = (
        "| backend | device | dtype | checks passed | largest error of an operation (tolerance) | of a training run |"
    )
    notes = [f"- `{r['backend']}` {r['device']} {r['dtype']}: {r['note']}" for r in reports if r.get("note")]
    return "\n".join([head, "|---|---|---|---|---|---|", *(row(report) for report in reports), "", *notes])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    running = commands.add_parser("run")
    running.add_argument("--backends", default="")
    running.add_argument("--devices", default="")
    running.add_argument("--dtypes", default="")
    running.add_argument("--model")
    running.add_argument("--out", type=Path, default=RESULTS)
    commands.add_parser("table").add_argument("folder", type=Path, nargs="?", default=RESULTS)
    options = parser.parse_args()
    if options.command == "run":
        lists = (options.backends, options.devices, options.dtypes)
        backends, devices, dtypes = ([name for name in each.split(",") if name] for each in lists)
        run(backends, options.out, devices, dtypes, options.model)
    else:
        print(table(options.folder))


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
