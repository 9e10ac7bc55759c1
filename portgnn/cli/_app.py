"""The commands and their options. What a command does is in a module of its own, loaded when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from portgnn.cli import _completion, _inside
from portgnn.cli import _options as given
from portgnn.cli._examples import epilog
from portgnn.cli._grouped import OUTPUT, FileOrStdout, Grouped
from portgnn.cli._hyperparameters import with_hyperparameters, with_options_of
from portgnn.cli._options import (
    AcceptChecksum,
    AsJson,
    BackendName,
    DeviceName,
    DtypeName,
    Fetch,
    Ignore,
    OwnNetwork,
    Unknown,
)
from portgnn.cli._study_options import study
from portgnn.hyperparameters import EXECUTION, NETWORK, TRAINING
from portgnn.models import NETWORKS
from portgnn.presets import PRESETS

app = typer.Typer(
    help="Graph neural networks on every array backend, with the same numbers on each.",
    epilog=epilog(""),
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from portgnn._version import __version__

        print(f"portgnn {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def portgnn(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command(cls=Grouped)
@with_hyperparameters
def train(  # long: an option is a parameter
    config: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=EXECUTION, metavar="FILE.toml", help="Read options from a file; those given here win."
        ),
    ] = None,
    dataset: given.GraphOrStandIn = None,
    backend: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=EXECUTION,
            help="Backend (numpy); see portgnn backends.",
            autocompletion=_completion.backends,
        ),
    ] = None,
    device: DeviceName = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=EXECUTION, help="float64, float32 or bfloat16 (float32).", autocompletion=_completion.dtypes
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=TRAINING,
            help=f"Recipe: {', '.join(PRESETS)} (the model's own; kipf).",
            autocompletion=_completion.presets,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=NETWORK,
            metavar="NAME|MODULE:CLASS",
            help=f"Network: {', '.join(NETWORKS)}, or a class of your own (the preset's; gcn).",
            autocompletion=_completion.networks,
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            rich_help_panel=NETWORK,
            metavar="NAME=VALUE",
            help="A hyperparameter of a network of your own; repeatable.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(rich_help_panel=TRAINING, help="Seed of the weights and of dropout (0).")
    ] = None,
    split: given.TrainingSplit = None,
    unknown: Unknown = None,
    ignore: Ignore = None,
    save: given.SaveFile = None,
    checkpoint: given.CheckpointFile = None,
    every: Annotated[
        int | None, typer.Option(rich_help_panel=OUTPUT, help="Epochs from one checkpoint to the next (50).")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=OUTPUT,
            metavar="FILE",
            help="Go on with a run that --checkpoint kept; it knows its options.",
        ),
    ] = None,
    distributed: Annotated[
        bool | None,
        typer.Option(
            "--distributed",
            rich_help_panel=EXECUTION,
            help="Train with the processes that the backend's launcher started.",
        ),
    ] = None,
    transport: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=EXECUTION, help="Of a distributed run: gloo, nccl, ring or mpi; by default the fastest."
        ),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(rich_help_panel=EXECUTION, help="Seconds that a process waits for another (60).")
    ] = None,
    logger: Annotated[
        list[str] | None,
        typer.Option(
            rich_help_panel=OUTPUT,
            metavar="LOGGER",
            help="Record the run: tensorboard[:FOLDER], mlflow[:URI] or wandb[:PROJECT]; repeatable.",
        ),
    ] = None,
    log_file: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=OUTPUT, metavar="FILE", help="Add records of the run to a file, as JSON lines (-: stderr)."
        ),
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=OUTPUT,
            metavar="debug|info|warning|error",
            help="Of the records: debug has every epoch (info).",
        ),
    ] = None,
    as_json: AsJson = False,
    **hyperparameters: object,
) -> None:
    """Train a network and test it."""
    options = {**locals(), **hyperparameters}  # every option by its name
    del options["hyperparameters"]
    from portgnn.cli import _configuration as configuration

    configuration.train(options)


configurations = typer.Typer(
    help="Configuration files of portgnn train.", epilog=epilog("config"), rich_markup_mode=None
)
app.add_typer(configurations, name="config")


@configurations.callback(invoke_without_command=True)
def configuration(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@configurations.command(cls=Grouped)
@with_options_of(train)
def show(**options: Any) -> None:
    """Print as TOML all that portgnn train would do with these options and files."""
    from portgnn.cli import _configuration as configuration

    configuration.show(options)


app.command(cls=Grouped)(study)


@app.command(cls=Grouped)
def convert(
    dataset: Annotated[
        str, typer.Argument(metavar="PATH", help="Name or path of a graph.", autocompletion=_completion.datasets)
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT.graph", help="The folder to write.")],
    split: Annotated[str | None, typer.Option(help="How to split the nodes, as for train.")] = None,
    unknown: Unknown = None,
    ignore: Ignore = None,
    target: Annotated[
        str,
        typer.Option(metavar="COLUMNS", help="Columns of the nodes that are what to learn, with commas between."),
    ] = "",
    directed: Annotated[bool, typer.Option("--directed", help="Keep the directions of edges.")] = False,
    streamed: Annotated[
        bool, typer.Option("--streamed", help="Read nodes.parquet and edges.parquet of a folder block by block.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a graph as memory-mapped files. train --loader reads only the rows that it needs from them."""
    from portgnn.cli._conversion import run

    read = {"split": split, "unknown": unknown or (), "ignore": ignore or (), "target": target}
    run(dataset, out, read, directed=directed, streamed=streamed, as_json=as_json)


_inside.register(app)


@app.command(cls=Grouped)
def verify(
    backend: BackendName = "numpy",
    device: DeviceName = None,
    dtype: DtypeName = "float32",
    draw: Annotated[
        int | None,
        typer.Option(metavar="SEED", min=0, help="Of sizes, rates and values of the checks; a fresh one each time."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|MODULE:CLASS|all",
            help="Instead of single operations: this network, every one, or your own; repeatable.",
            autocompletion=_completion.networks,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(metavar="N", help="Instead of single operations: whole trainings of the seeds 0 to N-1."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Of --seeds: name or path, as for train.", autocompletion=_completion.datasets)
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Of --seeds: the recipe (kipf).", autocompletion=_completion.presets)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Of --seeds: epochs of each training (200).")] = None,
    adjacency: Annotated[
        str | None, typer.Option(metavar="auto|csr|dense", help="Of --seeds: form of the adjacency; the preset's.")
    ] = None,
    features: Annotated[
        str | None, typer.Option(metavar="auto|sparse|dense", help="Of --seeds: form of the features; the preset's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove that a backend computes the same numbers here. Names the first operation that does not."""
    from portgnn.cli import _seeds as trainings
    from portgnn.cli import _verification

    recipe = {
        "dataset": dataset,
        "preset": preset,
        "epochs": epochs,
        "adjacency": adjacency,
        "features": features,
    }
    if seeds is not None:
        if draw is not None:
            from portgnn.errors import ConfigError

            raise ConfigError("--draw is of the checks of single operations; leave it or --seeds out")
        raise typer.Exit(trainings.run(backend, device, dtype, seeds, as_json, **recipe))
    trainings.refuse(recipe)
    raise typer.Exit(_verification.run(backend, device, dtype, draw, model or None, as_json))


@app.command(cls=FileOrStdout)
def bench(
    quick: given.Quick = False,
    dataset: given.GraphOrStandIn = None,
    backend: given.Backends = None,
    device: given.Devices = None,
    threads: given.Threads = None,
    seconds: given.Seconds = None,
    json_file: given.JsonFile = None,
    report: given.Page = None,
    share: given.Share = None,
) -> None:
    """Time every backend and device of this machine, each verified first, and name the fastest."""
    from portgnn.cli._benchmark import run

    status = run(dataset, backend, device, threads, seconds, quick, json_file=json_file, report=report, share=share)
    raise typer.Exit(status)


@app.command(cls=Grouped)
def backends(as_json: AsJson = False) -> None:
    """List the backends and devices. Those that are absent come with the command that installs them."""
    from portgnn.cli._listings import list_backends

    list_backends(as_json)


@app.command(cls=Grouped)
def datasets(fetch: Fetch = None, accept_checksum: AcceptChecksum = False, as_json: AsJson = False) -> None:
    """List the datasets that have a name, and where they are; or bring one here."""
    from portgnn.cli._listings import run_datasets

    run_datasets(fetch, accept_checksum, as_json)


@app.command(cls=Grouped)
def models(as_json: AsJson = False) -> None:
    """List the networks: the paper, hyperparameters and recipes of each."""
    from portgnn.cli._listings import list_models

    list_models(as_json)


@app.command(cls=Grouped)
def man() -> None:
    """Print this program's manual page, for man and for packages."""
    from portgnn.cli._manual import manual

    print(manual(typer.main.get_command(app)), end="")


@app.command(cls=Grouped)
def doctor(as_json: AsJson = False) -> None:
    """Examine this machine: frameworks, devices, settings. Each problem comes with what to do about it."""
    from portgnn.cli._doctor import run

    run(as_json)


@app.command(cls=Grouped)
def plot(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULT...", help="JSON of portgnn train or the benchmark, or a model that train --save wrote."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The picture to write: .png, .svg or .pdf.")],
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="curves|compare|confusion|estimates|map|benchmark|growth", help="By default what suits the results."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Graph of the model; by default the one that it was trained on, by its name.",
            autocompletion=_completion.datasets,
        ),
    ] = None,
    network: OwnNetwork = None,
    unknown: Unknown = None,
    ignore: Ignore = None,
    map: Annotated[str, typer.Option(metavar="pca|tsne|umap", help="How to bring the nodes into the plane.")] = "pca",
    as_json: AsJson = False,
) -> None:
    """Draw results: curves, differences between backends, a confusion matrix, residuals, a map of the nodes."""
    from portgnn.cli._plotting import run

    read = {"unknown": unknown or (), "ignore": ignore or ()}
    run(results, out=out, kind=kind, dataset=dataset, network=network, read=read, map=map, as_json=as_json)


@app.command(cls=Grouped)
def report(
    results: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="JSON of train, verify or the benchmark, in any mixture.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="The page to write.")] = Path("report.html"),
    pdf: Annotated[
        Path | None, typer.Option(metavar="FILE.pdf", help="Print the page, too, by a Chromium, Chrome or Edge.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put results on one HTML page: curves, verification, benchmark, growth, hardware and versions."""
    from portgnn.cli._reporting import run

    run(results, out, pdf, as_json)
