"""Time and peak memory of an epoch against the number of edges, and the sparse product's bandwidth.

Every measurement is a fresh process, because a peak that was once reached stays on the books.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.harness.known_peers import Options, peer_names
from bench.harness.rows import absences, disturbed, reference_row, where
from portgnn.benchmark import cases
from portgnn.benchmark.cases import OURS, Case, Contestant
from portgnn.benchmark.client import WorkerError, WorkerProcess, WorkerSpec
from portgnn.benchmark.contender import Recipe
from portgnn.benchmark.graphs import BenchGraph, arxiv_size, synthetic
from portgnn.benchmark.progress import Progress
from portgnn.benchmark.quiet import Meter, wait_for_quiet
from portgnn.benchmark.runner import Runner, document
from portgnn.benchmark.timing import Plan, summary
from portgnn.report.documents import form_of, number

SMALLEST = 10_000
VERIFIED_EDGES = 500_000
"""Verification trains the float64 reference too; beyond this size a form counts as verified by the sizes below."""

PEER_DEFAULT = ("pyg", "pyg-csr", "mlx-graphs")
MEMORY_SHARE = 0.85
"""Of the memory that is free at the start; a worker that takes more is ended before the system ends others."""


def sizes(max_edges: int) -> list[int]:
    """10^4, 10^5, … up to the limit."""
    found = []
    size = SMALLEST
    while size <= max_edges:
        found.append(size)
        size *= 10
    return found


def run_growth(options: Options, plan: Plan, max_edges: int, progress: Progress) -> dict[str, Any]:
    """A run of kind "growth": a row for each size and contender, and bandwidths at the largest size."""
    started = time.time()
    runner = Runner(options, plan, progress)
    rows, workers = runner.rows, runner.workers
    recipe = cases.recipe_of("pyg", hidden=options.hidden or 128)
    peers = list(PEER_DEFAULT) if options.peers is None else peer_names(options.peers)
    contestants = [*map(cases.own, runner.backends), *replace(options, peers=peers or ["none"]).beside()]
    # What did not fit once will not fit in a larger size.
    given_up: set[str] = set()
    graphs: list[Any] = [(f"{size:.0e} edges", lambda size=size: synthetic(size)) for size in sizes(max_edges)]
    if max_edges >= 2_400_000:
        graphs.append(("arxiv-size", arxiv_size))
    with tempfile.TemporaryDirectory(prefix="portgnn-bench-") as folder:
        for number, (name, make) in enumerate(graphs):
            series = "arxiv-size" if name == "arxiv-size" else "growth"
            progress.say(f"drawing {name}")
            graph = make()
            path = graph.save(Path(folder) / f"{number}.npz")
            for contestant in contestants:
                for case in _cases(contestant, graph, options, rows, workers):
                    key = f"{case.label}"
                    if key in given_up:
                        continue
                    progress.start(f"{name} · {case.label}", 1)
                    row = _measure(contestant.spec, case, graph, path, recipe, options, plan)
                    row["series"] = series
                    rows.append(row)
                    if row["status"] == "failed":
                        given_up.add(key)
            if name == "arxiv-size" or (number == len(graphs) - 1):
                rows += _bandwidths(contestants, graph, path, options, plan)
            path.unlink()
    return document(options, plan, rows, workers, time.time() - started) | {"kind": "growth"}


def _cases(
    contestant: Contestant,
    graph: BenchGraph,
    options: Options,
    rows: list[dict[str, Any]],
    workers: dict[str, Any],
) -> list[Case]:
    """CSR with the needed rows and with all, on each device; a contender that is absent is said so once."""
    spec, kind, title = contestant.spec, contestant.kind, contestant.title
    if spec.name not in workers:
        try:
            with WorkerProcess(spec, threads=options.threads) as worker:
                workers[spec.name] = worker.ask("hello")
        except WorkerError as error:
            workers[spec.name] = {"devices": [], "environment": {}}
            rows.append({"label": title, "contender": spec.name, "status": "absent", "reason": str(error)})
    devices = [d for d in workers[spec.name]["devices"] if options.devices is None or d in options.devices]
    if kind == "peer":
        return [Case(spec.name, kind, title, device) for device in devices]
    forms = [form for form in options.forms if form == "csr"] or list(options.forms)
    return cases.own_cases(spec.name, devices, graph, forms)


def _measure(
    spec: WorkerSpec, case: Case, graph: BenchGraph, path: Path, recipe: Recipe, options: Options, plan: Plan
) -> dict[str, Any]:
    row: dict[str, Any] = {"contender": spec.name, "kind": case.kind, "title": case.title, "label": case.label}
    row |= {"device": case.device, "case": case.options, "graph": graph.facts(), "dataset": graph.name}
    row |= {"recipe": recipe.name, "recipe_values": recipe.to_dict()}
    ask = {
        "case": "only",
        "graph": str(path),
        "recipe": recipe.to_dict(),
        "device": case.device,
        "options": case.options,
    }
    limit = int(free_bytes() * MEMORY_SHARE) or None
    try:
        if case.kind == OURS and graph.stored_edges <= VERIFIED_EDGES:
            with WorkerProcess(spec, threads=options.threads, timeout=options.timeout) as worker:
                worker.ask("prepare", **ask)
                verdict = worker.ask("verify", case="only", epochs=3)
            row["verification"] = verdict
            if not verdict["passed"]:
                return row | {"status": "refused", "reason": verdict["reason"]}
        wait_for_quiet(plan.pause, plan.quiet_wait)
        with WorkerProcess(spec, threads=options.threads, timeout=options.timeout, memory_limit=limit) as worker:
            row["baseline_bytes"] = worker.ask("hello")["baseline_bytes"]
            meter = Meter(worker.pid)
            built = worker.ask("prepare", keep=False, **ask)
            row |= {"options": built["options"], "prepare_ms": built["seconds"] * 1e3}
            row["first_epoch_ms"] = worker.ask("time", case="only", chunk=1, chunks=1)["seconds"][0] * 1e3
            once = worker.ask("time", case="only", chunk=1, chunks=1)["seconds"][0]
            chunk = max(1, min(plan.chunk, int(plan.turn_seconds / max(once, 1e-9)) // 3))
            taken = worker.ask("time", case="only", chunk=chunk, chunks=3, warm=chunk if chunk > 1 else 0)["seconds"]
            row["train_ms"] = summary([seconds * 1e3 / chunk for seconds in taken])
            row |= {"chunk_epochs": chunk, "others_cores": meter.others_cores()}
            row |= {"peak_bytes": worker.ask("memory")["peak_bytes"], "status": "timed"}
    except WorkerError as error:
        status = error.kind if error.kind == "unsupported" else "failed"
        row |= {"status": status, "reason": f"{error.kind}: {error}"}
    return row


def _bandwidths(
    contestants: Sequence[Contestant], graph: BenchGraph, path: Path, options: Options, plan: Plan
) -> list[dict[str, Any]]:
    """The sparse product of each of our backends and a plain copy on the same device."""
    rows = []
    for contestant in contestants:
        spec = contestant.spec
        if contestant.kind != OURS:
            continue
        row: dict[str, Any] = {"contender": spec.name, "kind": OURS, "title": contestant.title}
        row |= {"label": f"sparse product, {spec.name}", "graph": graph.facts(), "series": "bandwidth"}
        try:
            with WorkerProcess(spec, threads=options.threads, timeout=options.timeout) as worker:
                for device in worker.ask("hello")["devices"]:
                    if options.devices is not None and device not in options.devices:
                        continue
                    wait_for_quiet(plan.pause, plan.quiet_wait)
                    with_ = {"graph": str(path), "device": device, "columns": 64, "seconds": plan.turn_seconds}
                    found = worker.ask("call", operation="spmm_bandwidth", **with_)
                    rows.append(row | {"device": device, "status": "measured", "bandwidth": found})
        except WorkerError as error:
            rows.append(row | {"status": "failed", "reason": str(error)})
    return rows


def free_bytes() -> int:
    """Memory that can be had without swapping; 0 where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def growth_markdown(run: dict[str, Any]) -> str:
    """Time, memory and both beside PyG's, by size; then bandwidths."""
    timed = [row for row in run["rows"] if row.get("status") == "timed"]
    lines = ["### Growth with the number of edges", "", f"{where(run)}{disturbed(timed)}", ""]
    lines += ["| stored edges | | device | form | ms/epoch | peak MiB | × PyG, time | PyG's peak ÷ this |"]
    lines += ["| ---: | --- | --- | --- | ---: | ---: | ---: | ---: |"]
    by_size: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in timed:
        by_size.setdefault((row["graph"]["stored_edges"], row["series"]), []).append(row)
    for (edges, series), rows in sorted(by_size.items()):
        for row in sorted(rows, key=lambda row: row["train_ms"]["median"]):
            peer = reference_row(rows, "pyg", row["device"])
            name = f"**{row['title']}**" if row["kind"] == OURS else row["title"]
            size = f"{edges:,}" + (" (arxiv-size)" if series == "arxiv-size" else "")
            cells = [size, name, row["device"], form_of(row), number(row["train_ms"]["median"])]
            cells.append(f"{row['peak_bytes'] / 2**20:.0f}")
            for figure in ("time", "memory"):
                if peer is None:
                    cells.append("–")
                elif figure == "time":
                    cells.append(number(peer["train_ms"]["median"] / row["train_ms"]["median"]))
                else:
                    cells.append(number(peer["peak_bytes"] / row["peak_bytes"]))
            lines.append("| " + " | ".join(cells) + " |")
    measured = [row for row in run["rows"] if row.get("status") == "measured"]
    if measured:
        lines += ["", "Sparse product A·X in float32. GB/s by the bytes that nobody can avoid (each input read once,"]
        lines[-1] += " the output written once) and by those gathered (a row of X for every stored value):"
        lines += [
            "",
            "| | device | rows | stored values | columns | ms | GB/s unavoidable | GB/s gathered | copy GB/s |",
        ]
        lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for row in measured:
        b = row["bandwidth"]
        cells = [f"**{row['title']}**", row["device"], f"{b['rows']:,}", f"{b['nnz']:,}", str(b["columns"])]
        cells += [number(b["spmm_seconds"] * 1e3), number(b["compulsory_bytes"] / b["spmm_seconds"] / 1e9)]
        cells += [
            number(b["gathered_bytes"] / b["spmm_seconds"] / 1e9),
            number(b["copy_bytes"] / b["copy_seconds"] / 1e9),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    rest = {**run, "rows": [row for row in run["rows"] if row.get("status") not in ("timed", "measured")]}
    return "\n".join(lines) + "\n" + (f"\n{absences(rest)}" if rest["rows"] else "")
