"""The commands for models that are trained: they leave, enter, and are looked into."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from portgnn.cli import _completion
from portgnn.cli import _options as given
from portgnn.cli._grouped import EXPLANATION, OUTPUT, Grouped
from portgnn.cli._hyperparameters import with_hyperparameters
from portgnn.hyperparameters import DATA, NETWORK, TRAINING
from portgnn.models import NETWORKS


def register(app: typer.Typer) -> None:
    """Gives the application these commands."""
    app.command(cls=Grouped)(predict)
    app.command(cls=Grouped)(explain)
    app.command(cls=Grouped)(export)
    app.command("import", cls=Grouped)(with_hyperparameters(enter))


def predict(
    model: given.ModelFile,
    dataset: Annotated[str, typer.Option(help="Name or path of the graph.", autocompletion=_completion.datasets)],
    network: given.OwnNetwork = None,
    split: given.ReportSplit = None,
    backend: given.BackendName = "numpy",
    device: given.DeviceName = None,
    dtype: given.DtypeName = "float32",
    unknown: given.Unknown = None,
    ignore: given.Ignore = None,
    pairs: given.PairsFile = None,
    links_of: given.LinksOf = None,
    k: given.HowMany = 10,
    layer: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="The rows of this layer, in place of what is said of nodes.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    out: given.Predictions = None,
    rows: Annotated[
        bool, typer.Option("--rows", help="With --json: a record a node as well.", rich_help_panel=OUTPUT)
    ] = False,
    csv_safe: given.CsvSafe = True,
    as_json: given.AsJson = False,
) -> None:
    """Classify the nodes of a graph with a trained model, or score its links."""
    from portgnn.cli._links import run

    read = {"unknown": unknown or (), "ignore": ignore or ()}
    where: dict[str, Any] = {"backend": backend, "device": device, "dtype": dtype}
    if rows and not as_json:
        from portgnn.errors import ConfigError

        raise ConfigError("--rows is of --json; for rows alone, take --out nodes.csv or --out -")
    where |= {"split": split, "out": out, "csv_safe": csv_safe, "rows": rows, "as_json": as_json}
    run(model, dataset, read, pairs=pairs, node=links_of, k=k, network=network, layer=layer, **where)


def explain(
    model: given.ModelFile,
    dataset: Annotated[
        str,
        typer.Option(help="Name or path of the graph.", autocompletion=_completion.datasets, rich_help_panel=DATA),
    ],
    node: Annotated[str, typer.Option(metavar="NODE", help="Its number or name.", rich_help_panel=DATA)],
    network: given.OwnNetwork = None,
    unknown: given.Unknown = None,
    ignore: given.Ignore = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="gradient|mask",
            help="The gradient times the input, or masks that are learned (GNNExplainer).",
            autocompletion=_completion.choices(("gradient", "mask")),
            rich_help_panel=EXPLANATION,
        ),
    ] = "gradient",
    answer: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS", help="Of which class (label, value); what the network says.", rich_help_panel=EXPLANATION
        ),
    ] = None,
    epochs: Annotated[
        int, typer.Option(min=1, help="Steps that the masks are learned in.", rich_help_panel=EXPLANATION)
    ] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the masks' first values.", rich_help_panel=EXPLANATION)] = 0,
    edges: Annotated[
        int,
        typer.Option(
            min=0, help="How many of the strongest are told, kept alone and left out.", rich_help_panel=EXPLANATION
        ),
    ] = 10,
    backend: given.BackendName = "numpy",
    device: given.DeviceName = None,
    dtype: given.DtypeName = "float32",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the neighbourhood: .svg, .png or .pdf.", rich_help_panel=OUTPUT),
    ] = None,
    as_json: given.AsJson = False,
) -> None:
    """Say which edges and features of its neighbourhood a node's answer comes from."""
    from portgnn.cli._explaining import run

    how: dict[str, object] = {"method": method, "answer": answer, "epochs": epochs, "seed": seed}
    how |= {"backend": backend, "device": device, "dtype": dtype}
    run(model, dataset, node, out, network, edges, as_json, **how, unknown=unknown or (), ignore=ignore or ())


def export(
    model: given.ModelFile,
    to: Annotated[
        str,
        typer.Option(
            metavar="torch|pyg|onnx|state-dict",
            help="The form: a folder of plain PyTorch, the same in PyTorch Geometric's layers, one file of ONNX, or "
            "the weights alone.",
            rich_help_panel=OUTPUT,
            autocompletion=_completion.forms,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The file or folder to write (MODEL-FORM).", rich_help_panel=OUTPUT),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Name or path of a graph whose answers are compared, too.",
            autocompletion=_completion.datasets,
            rich_help_panel=DATA,
        ),
    ] = None,
    network: given.OwnNetwork = None,
    as_json: given.AsJson = False,
) -> None:
    """Write a trained model so that it runs without portgnn, and say how far its answers are from portgnn's."""
    from portgnn.cli._exporting import leave

    leave(model, to, out, dataset, network, as_json)


def enter(
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="WEIGHTS",
            help="A state_dict of PyTorch Geometric's layers (.pt, .safetensors), or a folder of portgnn export.",
        ),
    ],
    save: Annotated[
        Path, typer.Option(metavar="FILE", help="The model to write, as safetensors.", rich_help_panel=OUTPUT)
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|MODULE:CLASS",
            help=f"Network: {', '.join(NETWORKS)}, or a class of your own.",
            autocompletion=_completion.networks,
            rich_help_panel=NETWORK,
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Name or path of the graph that it was trained on.",
            autocompletion=_completion.datasets,
            rich_help_panel=DATA,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Recipe whose network it is.", autocompletion=_completion.presets, rich_help_panel=TRAINING),
    ] = None,
    split: given.TrainingSplit = None,
    unknown: given.Unknown = None,
    ignore: given.Ignore = None,
    as_json: given.AsJson = False,
    **hyperparameters: object,
) -> None:
    """Make a model of weights that PyTorch Geometric's layers were trained to."""
    from portgnn.cli._exporting import enter as run

    chosen = {name: value for name, value in hyperparameters.items() if value is not None}
    options = {"model": model, "graph": dataset, "preset": preset, "split": split, "unknown": unknown or None}
    run(weights, save, options | {"ignore": ignore or None} | chosen, as_json)
