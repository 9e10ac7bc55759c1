"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from portgnn.cli import _completion
from portgnn.cli._grouped import OUTPUT
from portgnn.hyperparameters import DATA, EXECUTION, LINKS, NETWORK

ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="A model that portgnn train --save wrote.")]
BackendName = Annotated[
    str,
    typer.Option(help="Backend; see portgnn backends.", autocompletion=_completion.backends, rich_help_panel=EXECUTION),
]
DeviceName = Annotated[
    str | None, typer.Option(help="Device; by default the fastest that passes a self-check.", rich_help_panel=EXECUTION)
]
DtypeName = Annotated[
    str,
    typer.Option(help="float64, float32 or bfloat16.", autocompletion=_completion.dtypes, rich_help_panel=EXECUTION),
]
Unknown = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT", help="A label that stands for none, such as NA or ?; repeatable.", rich_help_panel=DATA
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN", help="A column or attribute of the files to leave out; repeatable.", rich_help_panel=DATA
    ),
]
OwnNetwork = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:CLASS", help="The class of the model, where it is one of your own.", rich_help_panel=NETWORK
    ),
]
Fetch = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Bring the files of this one here, and check them.", autocompletion=_completion.datasets
    ),
]
AcceptChecksum = Annotated[
    bool,
    typer.Option("--accept-checksum", help="Of --fetch: trust a file that no checksum is known of, and keep its own."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout and nothing else.", rich_help_panel=OUTPUT)
]

PairsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Of a model of links: pairs of nodes to score, a .csv of source,target.",
        rich_help_panel=LINKS,
    ),
]
LinksOf = Annotated[
    str | None,
    typer.Option(
        metavar="NODE", help="Of a model of links: a node whose best new links are wanted.", rich_help_panel=LINKS
    ),
]
HowMany = Annotated[
    int, typer.Option("-k", "--k", min=1, help="How many new links of the node.", rich_help_panel=LINKS)
]
ReportSplit = Annotated[
    str | None,
    typer.Option(
        help="Report by this split, as for train; by default by the one that the model was trained with.",
        rich_help_panel=DATA,
    ),
]
Predictions = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|-",
        help="Write a line a node, or a pair: .csv, .npz or .parquet, or on stdout.",
        rich_help_panel=OUTPUT,
    ),
]
CsvSafe = Annotated[
    bool,
    typer.Option(
        "--csv-safe/--no-csv-safe",
        help="In a .csv, put ' before names that a spreadsheet would run.",
        rich_help_panel=OUTPUT,
    ),
]
TrainingSplit = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=DATA,
        help="given, public, random:TRAIN:VAL[:SEED] (nodes a class) or fraction:TRAIN:VAL[:SEED].",
    ),
]
SaveFile = Annotated[
    Path | None, typer.Option(rich_help_panel=OUTPUT, metavar="FILE", help="Save the model as safetensors.")
]
CheckpointFile = Annotated[
    Path | None,
    typer.Option(rich_help_panel=OUTPUT, metavar="FILE", help="Keep the run in a file from which it can be resumed."),
]

Quick = Annotated[bool, typer.Option("--quick", help="About one minute in place of three.")]
GraphOrStandIn = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=DATA,
        help="Name or path; by default cora, or csbm-cora where cora cannot be had.",
        autocompletion=_completion.datasets,
    ),
]
Backends = Annotated[
    list[str] | None,
    typer.Option(
        rich_help_panel=EXECUTION,
        metavar="NAME",
        help="Only this backend; repeatable.",
        autocompletion=_completion.backends,
    ),
]
Devices = Annotated[
    list[str] | None,
    typer.Option(rich_help_panel=EXECUTION, metavar="NAME", help="Only this device, such as cpu; repeatable."),
]
Threads = Annotated[
    int | None, typer.Option(rich_help_panel=EXECUTION, metavar="N", help="Cores of every backend (all).")
]
Seconds = Annotated[
    float | None, typer.Option(rich_help_panel=EXECUTION, metavar="N", help="Of the whole run, about (180).")
]
JsonFile = Annotated[
    str | None,
    typer.Option(
        "--json",
        rich_help_panel=OUTPUT,
        metavar="[FILE]",
        help="Write the result as JSON; without FILE on stdout, alone there.",
    ),
]
Page = Annotated[
    Path | None,
    typer.Option(rich_help_panel=OUTPUT, metavar="FILE.html", help="Write a page, as portgnn report does."),
]
Share = Annotated[
    Path | None,
    typer.Option(rich_help_panel=OUTPUT, metavar="FILE.json", help="Write a result without personal data, to pass on."),
]
