"""Every network in every form that models leave in, run beside portgnn: `bench/results/exports.json`.

python bench/studies/exports.py [--dataset cora] [--epochs 20] [--out bench/results/exports.json]

Needs torch, torch_geometric, onnx and onnxruntime. Largest differences are relative to the largest answer, or to 1, on
a drawn graph and on the data set. Weights that left to PyTorch Geometric's layers enter again, and are compared bit by
bit.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import portgnn
from portgnn.exports.leaving import exporter
from portgnn.models import NETWORKS

RESULTS = Path(__file__).parents[1] / "results" / "exports.json"
FORMS = ("torch", "pyg", "onnx", "state-dict")
LIBRARIES = ("torch", "torch_geometric", "onnx", "onnxruntime", "numpy")
DRESSES: tuple[dict[str, Any], ...] = (
    {"residual": "linear", "norm": "batch", "jumping": "cat", "activation": "gelu", "layers": 3},
    {"residual": "add", "norm": "layer", "jumping": "max", "activation": "elu", "layers": 3},
    {"norm": "layer", "jumping": "sum", "activation": "leaky_relu"},
)


def recipes() -> list[tuple[str, dict[str, Any]]]:
    found = [(name, dict(variant)) for name, kind in NETWORKS.items() for variant in ({}, *kind.variants)]
    stacked = [name for name, kind in NETWORKS.items() if issubclass(kind, portgnn.Stacked)]
    return found + [(name, dress) for name in stacked for dress in DRESSES]


def left(model: portgnn.Model, form: str, dataset: str, folder: Path) -> dict[str, Any]:
    """The largest difference in a form, or why the model does not leave in it."""
    target = folder / f"model{exporter(form).ending}"
    try:
        found = portgnn.export(model, form, target, graph=dataset)
    except portgnn.PortgnnError as error:
        return {"refused": str(error)}
    line: dict[str, Any] = {"largest_difference": found.largest_difference}
    if form == "pyg":
        back = portgnn.import_model(target)
        line["entered_again"] = all(np.array_equal(back.params[name], value) for name, value in model.params.items())
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cora")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    lines = []
    for network, own in recipes():
        model = portgnn.train(options.dataset, model=network, epochs=options.epochs, **own).model
        forms = {}
        for form in FORMS:
            with tempfile.TemporaryDirectory() as folder:
                forms[form] = left(model, form, options.dataset, Path(folder))
        lines.append({"network": network, "options": own, "forms": forms})
        said = {form: found.get("largest_difference", "refused") for form, found in forms.items()}
        print(network, own, said, flush=True)
    worst = {form: max(line["forms"][form].get("largest_difference", 0.0) for line in lines) for form in FORMS}
    document = {
        "dataset": options.dataset,
        "epochs": options.epochs,
        "dtype": "float32",
        "versions": {name: version(name) for name in LIBRARIES},
        "largest_difference": worst,
        "networks": lines,
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(worst)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from bench.harness.ending import ended

    ended(main)
