"""The options of `portgnn study`. What it does is in `_study`, loaded when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from portgnn.cli import _completion
from portgnn.cli._grouped import OUTPUT
from portgnn.cli._options import AsJson, DeviceName, Ignore, Unknown
from portgnn.hyperparameters import DATA, EXECUTION, NETWORK, TRAINING


def study(  # long: an option is a parameter
    config: Annotated[
        Path | None,
        typer.Option(rich_help_panel=EXECUTION, metavar="FILE.toml", help="Read options from a file; those here win."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=DATA,
            metavar="LIST",
            help="Names or paths, with commas between.",
            autocompletion=_completion.datasets,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(rich_help_panel=DATA, metavar="LIST", help="As for train; the data's own where none is named."),
    ] = None,
    splits: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=DATA, metavar="N", help="Splits: of those that the data have, or drawn as --split says."
        ),
    ] = None,
    unknown: Unknown = None,
    ignore: Ignore = None,
    model: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=NETWORK,
            metavar="LIST",
            help="Networks, with commas between (gcn).",
            autocompletion=_completion.networks,
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            rich_help_panel=NETWORK,
            metavar="NAME=LIST;...",
            help='Hyperparameters and their values: "hidden=16,64; dropout=0.3,0.5"; repeatable. For --search also '
            'ranges: "learning_rate=1e-4..1e-1 log".',
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=TRAINING,
            metavar="LIST",
            help="Recipes (each model's own).",
            autocompletion=_completion.presets,
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(rich_help_panel=TRAINING, metavar="N|LIST", help="How many, from 0, or which (10).")
    ] = None,
    search: Annotated[
        int | None,
        typer.Option(rich_help_panel=TRAINING, metavar="N", help="Draw N settings a row with optuna, in place of all."),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=TRAINING, metavar="val_METRIC", help="Choose settings by this curve (the metric's own)."
        ),
    ] = None,
    each: Annotated[
        bool | None, typer.Option("--each", rich_help_panel=OUTPUT, help="A row for every setting; choose none.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(rich_help_panel=OUTPUT, help="Of the test nodes (the task's first, as accuracy).")
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=EXECUTION, metavar="LIST", help="Backends (numpy).", autocompletion=_completion.backends
        ),
    ] = None,
    device: DeviceName = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=EXECUTION,
            metavar="LIST",
            help="float64, float32 or bfloat16 (float32).",
            autocompletion=_completion.dtypes,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "-j", "--jobs", rich_help_panel=EXECUTION, metavar="N", help="Processes (one a core, or an accelerator)."
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(rich_help_panel=OUTPUT, metavar="FOLDER", help="Keep runs and tables here, and go on (study)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a grid, or search it, over seeds and splits; compare the rows. An interrupted study goes on."""
    options = locals()
    from portgnn.cli._study import run

    run(options)
