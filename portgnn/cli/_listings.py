"""`portgnn backends`, `portgnn datasets` and `portgnn models`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portgnn.cli._output import announce, print_json, print_line, print_table
from portgnn.errors import ConfigError
from portgnn.protocol import BackendClass
from portgnn.registry import Registered, backend_class, registered_backends


def describe_backends() -> list[dict[str, Any]]:
    """One record for each registered backend, fit for JSON; imports their frameworks."""
    return [_describe(found) for found in registered_backends()]


def _describe(found: Registered) -> dict[str, object]:
    kind = backend_class(found.name) if found.available else None
    return {
        "name": found.name,
        "available": found.available,
        "devices": {device: list(kind.dtypes(device)) for device in found.devices} if kind else {},
        "environment": _environment(kind) if kind else {},
        "problem": found.problem or None,
        "install": found.install,
    }


def _environment(kind: BackendClass) -> Mapping[str, object]:
    try:
        return kind.environment()
    except Exception as fault:  # a broken driver must not hide the rest of the report
        return {"fault": str(fault)}


def list_backends(as_json: bool) -> None:
    records = describe_backends()
    if as_json:
        print_json(records)
        return
    rows = []
    for record in records:
        version = str(record["environment"].get("version", "")) if record["available"] else ""
        if not record["available"]:
            rows.append((record["name"], version, "-", "-", f"{record['problem']}: {record['install']}"))
        for device, dtypes in record["devices"].items():
            rows.append((record["name"], version, device, ", ".join(dtypes), "ready"))
    print_table(("backend", "version", "device", "dtypes", "state"), rows, give_up=("version", "dtypes"))
    announce("Next, prove one on this machine:", "portgnn verify --backend NAME --device DEVICE")


def list_models(as_json: bool) -> None:
    from dataclasses import asdict

    from portgnn.presets import models

    found = models()
    if as_json:
        print_json([asdict(each) for each in found])
        return
    rows = [
        (each.name, each.paper, ", ".join(f"{name} {value}" for name, value in each.hyperparameters.items()),
         ", ".join(each.presets))
        for each in found
    ]  # fmt: skip
    print_table(("model", "paper", "hyperparameters", "presets"), rows, give_up=("hyperparameters", "paper"))
    announce("Next, train one:", "portgnn train --model NAME")


def run_datasets(fetch: str | None, accept_checksum: bool, as_json: bool) -> None:
    """Lists the datasets, or brings the files of one here."""
    if fetch is not None:
        fetch_dataset(fetch, accept_checksum, as_json)
    elif accept_checksum:
        raise ConfigError("--accept-checksum is of one dataset; name it with --fetch NAME")
    else:
        list_datasets(as_json)


def list_datasets(as_json: bool) -> None:
    from portgnn.datasets import describe_datasets, describe_graph_sets

    records, sets = describe_datasets(), describe_graph_sets()
    if as_json:
        print_json([*records, *sets])
        return
    sizes = ("nodes", "edges", "features", "classes")
    rows = [
        (
            record["name"],
            *(f"{record[size]:,}" for size in sizes),
            record["at_hand"] or "to be fetched",
            record["description"],
        )
        for record in records
    ]
    print_table(("dataset", *sizes, "at hand", "description"), rows, give_up=("features", "classes", "edges"))
    print_line("")
    rows = [
        (
            each["name"],
            f"{each['graphs']:,}",
            str(each["classes"]),
            each["at_hand"] or "to be fetched",
            each["description"],
        )
        for each in sets
    ]
    print_table(("set of graphs", "graphs", "classes", "at hand", "description"), rows, give_up=("classes",))
    announce("Next, train on one:", "portgnn train --dataset NAME")


def fetch_dataset(name: str, accept_checksum: bool, as_json: bool) -> None:
    """Brings a dataset's files here. accept_checksum: also those of which no checksum is known."""
    from portgnn.datasets import fetch_files

    paths = fetch_files(name, accept_checksum=accept_checksum, announce=announce)
    if as_json:
        print_json({"dataset": name, "files": [str(path) for path in paths]})
        return
    for path in paths:
        print_line(str(path))
    announce("Next, train on it:", f"portgnn train --dataset {name}")
