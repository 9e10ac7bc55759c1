"""What each flaw of the article's protocol costs: its recipe re-run with them switched on one at a time."""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness.known_peers import PEERS, Options, peer_spec
from bench.harness.rows import where
from bench.peers.article_protocol import FLAWS
from portgnn.benchmark import cases
from portgnn.benchmark.client import WorkerError, WorkerProcess
from portgnn.benchmark.progress import Progress
from portgnn.benchmark.published import by_machine
from portgnn.benchmark.quiet import wait_for_quiet
from portgnn.benchmark.runner import document
from portgnn.benchmark.timing import Plan, summary
from portgnn.report.documents import number

ARTICLE_PEERS = ("article-torch", "article-mlx")
DATASETS = ("cora-linqs", "cora", "csbm-cora")
"""The article's own split first; without it the flaws still show, on other nodes."""

PUBLISHED: tuple[tuple[str, str], ...] = tuple(by_machine().items())
"""ms/epoch as the article gives them (Bilot 2023). It gives no accuracies."""

PATIENCE = 20


def variants() -> dict[str, list[str]]:
    """None of the flaws, each alone, all together."""
    return {"corrected": [], **{name: [name] for name in FLAWS}, "all flaws, as published": list(FLAWS)}


def run_compat(options: Options, plan: Plan, progress: Progress) -> dict[str, Any]:
    """A run of kind "article-compat": one row a framework, device and variant."""
    started, rows, workers = time.time(), [], {}
    graph = first_graph(progress)
    recipe = cases.recipe_of("article")
    repeats = max(2, plan.rounds // 2)
    epochs = min(recipe.epochs, max(plan.epochs, 25))
    with tempfile.TemporaryDirectory(prefix="portgnn-bench-") as folder, contextlib.ExitStack() as stack:
        path = graph.save(Path(folder) / "graph.npz")
        open_: list[tuple[str, WorkerProcess, str]] = []
        for name in ARTICLE_PEERS:
            if options.peers is not None and name not in options.peers:
                continue
            try:
                worker = WorkerProcess(peer_spec(name, options.peer_pythons), threads=options.threads)
                stack.callback(worker.close)
                workers[name] = worker.ask("hello")
            except WorkerError as error:
                reason = f"{error} (needs {PEERS[name].needs})"
                rows.append({"contender": name, "label": PEERS[name].title, "status": "absent", "reason": reason})
                continue
            devices = [d for d in workers[name]["devices"] if options.devices is None or d in options.devices]
            open_ += [(name, worker, device) for device in devices]
        found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        progress.start(f"{graph.name} · article-compat", repeats * len(variants()) * len(open_))
        # Repeats outermost: frameworks and variants take turns, so that drift hits all alike.
        for repeat in range(repeats):
            for variant, flaws in variants().items():
                for name, worker, device in open_:
                    wait_for_quiet(plan.pause, plan.quiet_wait)
                    arguments = {"graph": str(path), "recipe": recipe.to_dict(), "device": device, "flaws": flaws}
                    how = {"epochs": epochs, "patience": PATIENCE, "seed": options.seed + repeat}
                    answer = worker.ask("call", operation="compat", **arguments, **how)
                    found.setdefault((name, device, variant), []).append(answer)
                    progress.advance(f"{name} {device} {variant}")
    for (name, device, variant), answers in found.items():
        accuracies = [answer["test_accuracy"] for answer in answers]
        row = {"contender": name, "kind": "peer", "title": PEERS[name].title, "label": PEERS[name].title}
        row |= {"device": device, "variant": variant, "flaws": answers[0]["flaws"], "status": "timed"}
        row |= {"train_ms": summary([answer["ms"] for answer in answers]), "test_accuracies": accuracies}
        rows.append(row | {"epochs": [answer["epochs"] for answer in answers], "graph": graph.facts()})
    run = document(options, plan, rows, workers, time.time() - started)
    return run | {"kind": "article-compat", "dataset": graph.name, "recipe": asdict(recipe)}


def first_graph(progress: Progress) -> Any:
    """The first dataset that can be had."""
    for name in DATASETS[:-1]:
        try:
            return cases.load(name)
        except Exception as error:
            progress.say(f"{name}: {error}")
    return cases.load(DATASETS[-1])


def compat_markdown(run: dict[str, Any]) -> str:
    """One line a variant, one pair of columns a framework and device; then the published figures."""
    timed = [row for row in run["rows"] if row["status"] == "timed"]
    columns = list(dict.fromkeys((row["title"], row["contender"], row["device"]) for row in timed))
    head = ["protocol"]
    for title, _, device in columns:
        head += [f"{title}, {device}: ms/epoch", "test accuracy"]
    lines = [f"### What each flaw of the article's protocol costs ({run['dataset']})", "", where(run), ""]
    lines += ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for variant in variants():
        cells = [f"`{variant}`: {FLAWS[variant]}" if variant in FLAWS else variant]
        for _, contender, device in columns:
            same = [r for r in timed if (r["contender"], r["device"], r["variant"]) == (contender, device, variant)]
            if not same or (variant in FLAWS and not same[0]["flaws"]):
                cells += ["not in this code", "–"] if same else ["–", "–"]
                continue
            accuracies = same[0]["test_accuracies"]
            cells.append(number(same[0]["train_ms"]["median"]))
            cells.append(f"{np.mean(accuracies):.3f} ({min(accuracies):.3f}–{max(accuracies):.3f})")
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "Published (Bilot 2023), ms/epoch, all flaws included; no accuracy was published:", ""]
    lines += [f"- {machine}: {figures}" for machine, figures in PUBLISHED]
    absent = [f"- {row['status']}: {row['label']}: {row['reason']}" for row in run["rows"] if row["status"] != "timed"]
    return "\n".join([*lines, *(["", "Not timed:", "", *absent] if absent else [])]) + "\n"
