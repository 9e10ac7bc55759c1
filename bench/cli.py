"""The command line of run_all.py."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import table
from bench.harness.known_peers import PEERS, Options
from portgnn.benchmark import cases
from portgnn.benchmark.progress import Progress
from portgnn.benchmark.runner import Runner
from portgnn.benchmark.timing import Plan
from portgnn.errors import ConfigError, PortgnnError
from portgnn.report import page
from portgnn.report.documents import recognise


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="run_all.py", description="Times portgnn's backends beside their peers.")

    def names(text: str) -> list[str]:
        return [name for name in text.split(",") if name]

    add = made.add_argument
    add("--quick", action="store_true", help="few rounds, Cora alone (csbm-cora where Cora is not at hand)")
    add("--backends", type=names, metavar="A,B", help="registered names or module:Class; default: all; none: none")
    add("--peers", type=names, metavar="A,B", help=f"of {', '.join(PEERS)}; default: all; none: none")
    add("--datasets", type=names, metavar="A,B", help="names, arxiv-size or synthetic:EDGES; default: cora,citeseer")
    add("--recipes", type=names, metavar="A,B", help=f"of {', '.join(cases.RECIPES)}; default: pyg,kipf")
    add("--forms", type=names, metavar="A,B", help="of csr, dense, edges; default: all three")
    add("--devices", type=names, metavar="A,B", help="default: every device of every contender")
    add("--rounds", type=int, help="turns of every contender")
    add("--epochs", type=int, help="most epochs of a turn")
    add("--chunk", type=int, help="epochs between two readings of the clock")
    add("--hidden", type=int, help="hidden width, in place of the recipe's")
    add("--threads", type=int, metavar="N", help="cores and threads of every worker; default: all")
    add("--seed", type=int, default=0)
    add("--programs-alone", action="store_true", help="verify the programs, and leave the operations to portgnn verify")
    add("--peer-python", action="append", default=[], metavar="[NAME=]PATH", help="interpreter of a peer, or of all")
    add("--json", type=Path, metavar="OUT", help="write the run as one JSON document")
    add("--report", type=Path, metavar="OUT.html", help="write a page, as `portgnn report` does")
    add("--article-compat", action="store_true", help="what each flaw of the article's protocol costs, and no more")
    add("--growth", action="store_true", help="time and memory against the number of edges, and no more")
    add("--model", metavar="NAME", help="a network, or all, beside PyTorch Geometric's layers, and no more")
    add("--max-edges", type=float, default=1e7, metavar="N", help="largest graph of --growth")
    return made


def python_table(given: Sequence[str]) -> dict[str, str]:
    """NAME=PATH as a dictionary; a PATH alone stands under the empty name, for all peers."""
    table_: dict[str, str] = {}
    for text in given:
        name, separator, path = text.partition("=")
        table_ |= {name: path} if separator else {"": text}
    return table_


def plan_of(given: argparse.Namespace) -> Plan:
    plan = Plan.quick() if given.quick else Plan()
    wanted = {name: getattr(given, name) for name in ("rounds", "epochs", "chunk")}
    named = {name: value for name, value in wanted.items() if value is not None}
    return replace(plan, operations=not given.programs_alone, **named)


def options_of(given: argparse.Namespace) -> Options:
    datasets = given.datasets or (quick_datasets() if given.quick else list(cases.DATASETS))
    return Options(
        datasets=datasets,
        recipes=given.recipes or (["pyg"] if given.quick else ["pyg", "kipf"]),
        backends=given.backends,
        peers=given.peers,
        devices=given.devices,
        forms=given.forms or ("csr", "dense", "edges"),
        peer_pythons=python_table(given.peer_python),
        threads=given.threads,
        seed=given.seed,
        hidden=given.hidden,
    )


def quick_datasets() -> list[str]:
    """Cora, or its stand-in where it would have to be fetched."""
    from portgnn.datasets import describe_datasets

    at_hand = {record["name"] for record in describe_datasets() if record["at_hand"]}
    return ["cora"] if "cora" in at_hand else ["csbm-cora"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, 1 where a backend failed verification or its worker, 2 for a wrong call."""
    made = parser()
    given = made.parse_args(arguments)
    if given.report is not None and given.article_compat:
        made.error("--article-compat makes a table and no page; leave --report out")
    try:
        if given.model:
            return networks(given)
        options = options_of(given)
        options.beside()
        with Progress() as progress:
            run = produce(given, options, progress)
    except (ValueError, PortgnnError) as error:
        made.error(str(error))
    write(run, given.json, given.report)
    print(table.markdown([run]), end="")
    return (
        1
        if any(row.get("status") in ("refused", "failed") and row.get("kind") == cases.OURS for row in run["rows"])
        else 0
    )


def networks(given: argparse.Namespace) -> int:
    """Milliseconds a step of networks on each dataset and device, in this interpreter, which has PyG."""
    from bench.studies.networks import main as study

    datasets, devices = given.datasets or ["cora"], given.devices or ["cpu"]
    if given.json is not None and len(datasets) * len(devices) > 1:
        raise ConfigError("--json takes the rows of one dataset on one device; name one with --datasets and --devices")
    for dataset in datasets:
        for device in devices:
            asked = ["--networks", given.model, "--dataset", dataset, "--device", device]
            for name in ("backends", "rounds", "epochs", "json"):
                value = getattr(given, name)
                asked += [] if value is None else [f"--{name}", ",".join(value) if name == "backends" else str(value)]
            study(asked)
    return 0


def produce(given: argparse.Namespace, options: Options, progress: Progress) -> dict[str, Any]:
    if given.article_compat:
        from bench.studies.article_compat import run_compat

        return run_compat(options, plan_of(given), progress)
    if given.growth:
        from bench.studies.growth import run_growth

        return run_growth(options, plan_of(given), int(given.max_edges), progress)
    return Runner(options, plan_of(given), progress, options.beside()).run()


def write(run: dict[str, Any], json_path: Path | None, report_path: Path | None) -> None:
    if json_path is not None:
        json_path.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {json_path}", file=sys.stderr)
    if report_path is not None:
        report_path.write_text(page([recognise(run, str(json_path or "run.json"))]), encoding="utf-8")
        print(f"wrote {report_path}", file=sys.stderr)
