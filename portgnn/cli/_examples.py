"""The examples below each command's `--help`. Tests run every one of them, in this order in one folder."""

from __future__ import annotations

import typer

WIDTH = 80
"""Columns that a help is read in, of which two indent it and four set off a remark."""

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("portgnn train", "train on Cora, or on a synthetic graph of its size"),
        ("portgnn doctor", "what this machine offers"),
        ("portgnn --install-completion", "Tab completes commands, options and names"),
    ),
    "train": (
        ("portgnn train --dataset karate", "the default recipe on NumPy"),
        ("portgnn train --dataset karate --seed 1 --save karate.safetensors", "keep the model"),
        ("portgnn train --dataset karate --preset pyg --epochs 40 --checkpoint run.ckpt", "a run that can be resumed"),
        ("portgnn train --resume run.ckpt --epochs 60", "and goes on here"),
        ("portgnn train --dataset karate --json > karate.json", "every epoch's losses"),
        ("portgnn train --dataset karate --model gat --heads 4", "another network, by its own recipe"),
        ("portgnn train --dataset karate --task link --save links.safetensors", "which nodes are joined"),
    ),
    "study": (
        ("portgnn study --dataset karate --model gcn,mlp --seeds 3 -j 1", "two networks"),
        ("portgnn study --dataset karate --seeds 3 --set hidden=8,16 -j 1", "trains what is new"),
    ),
    "config": (
        ("portgnn config show --dataset karate --preset pyg > run.toml", "every option and its value"),
        ("portgnn train --config run.toml --seed 1", "the file's run, with another seed"),
    ),
    "predict": (
        ("portgnn predict karate.safetensors --dataset karate", "classes and scores"),
        ("portgnn predict karate.safetensors --dataset karate --out nodes.csv", "a line a node"),
        ("portgnn predict links.safetensors --dataset karate --links-of 3 --k 5", "its likeliest new links"),
    ),
    "explain": (
        ("portgnn explain karate.safetensors --dataset karate --node 8", "the edges and features it comes from"),
        ("portgnn explain karate.safetensors --dataset karate --node 8 --out why.svg", "drawn"),
    ),
    "export": (
        ("portgnn export karate.safetensors --to torch", "plain PyTorch: a folder of one module and its weights"),
        ("portgnn export karate.safetensors --to onnx --dataset karate", "karate-onnx.onnx; its answers compared"),
    ),
    "import": (
        ("portgnn export karate.safetensors --to state-dict --out weights.pt", "weights, by portgnn's own names"),
        ("portgnn import weights.pt --model gcn --dataset karate --save gcn.safetensors", "and of PyG's GCNConv"),
    ),
    "convert": (
        ("portgnn convert csbm-cora csbm.graph", ""),
        ("portgnn train --dataset csbm.graph --loader neighbor --epochs 2", "reads only the rows that it needs"),
    ),
    "verify": (
        ("portgnn verify", "the NumPy backend in float32"),
        ("portgnn verify --backend numpy --device cpu --dtype float64", "held to 1e-12"),
        ("portgnn verify --seeds 5 --dataset karate", "whole trainings; each departure explained"),
    ),
    "man": (("portgnn man > portgnn.1", "to read it: man ./portgnn.1"),),
    "bench": (
        ("portgnn bench", "every backend and device here, in about three minutes"),
        ("portgnn bench --quick --report bench.html", "in one, and as a page"),
        ("portgnn bench --share mine.json", "to attach to an issue: no name, host or path in it"),
    ),
    "backends": (
        ("portgnn backends", ""),
        ("portgnn backends --json", "for scripts"),
    ),
    "datasets": (
        ("portgnn datasets", ""),
        ("portgnn datasets --json", "for scripts, with sources and licences"),
    ),
    "models": (
        ("portgnn models", ""),
        ("portgnn models --json", "for scripts"),
    ),
    "plot": (
        ("portgnn plot karate.json --out curves.png", "losses and accuracy"),
        ("portgnn plot karate.safetensors --out map.svg", "the nodes, by what the hidden layer makes of them"),
        ("portgnn plot karate.safetensors --kind confusion --out confusion.png", "which class is taken for which"),
    ),
    "report": (
        ("portgnn report karate.json --out report.html", "one page, from any number of results"),
        ("portgnn verify --json > verify.json", ""),
        ("portgnn report karate.json verify.json --out report.html", ""),
    ),
    "doctor": (
        ("portgnn doctor", ""),
        ("portgnn doctor --json > doctor.json", "to send with a question"),
    ),
}


def epilog(command: str) -> str:
    """The end of a command's help: its examples, a line each, with the remark above where both are too long."""
    lines = []
    for line, remark in EXAMPLES[command]:
        if remark and len(line) + len(remark) > WIDTH - 6:
            lines.append(f"# {remark}")
            remark = ""
        lines.append(f"{line}  # {remark}" if remark else line)
    # "\b" keeps click from filling the lines of a paragraph.
    return "Examples:\n\n\b\n" + "\n".join(lines)


def with_examples(app: typer.Typer) -> None:
    """Gives each command of the application its epilog."""
    for command in app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "")
        if name in EXAMPLES:
            command.epilog = epilog(name)
