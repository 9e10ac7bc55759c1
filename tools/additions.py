"""What it takes to add a hyperparameter, a preset, a metric, a dataset, a field of a result, a network.

    python tools/additions.py [--only KIND …]

Each is added for trial to a copy of portgnn/ and backends/, and tried: trained with on the command line, found in the
result, refused where its rule refuses it. Files and lines are counted of what was added; lines that do the thing stand
apart from the one entry that makes all else know it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
Document = dict[str, Any]


@dataclass(frozen=True)
class Edit:
    """Lines put behind the first `anchor` of a file; a new file where there is no anchor. entry: how many of them only
    name the thing."""

    file: str
    anchor: str
    text: str
    entry: int = 0

    @property
    def lines(self) -> int:
        return len(self.text.strip("\n").splitlines())

    def made(self, root: Path) -> None:
        path = root / self.file
        if not self.anchor:
            path.write_text(self.text, encoding="utf-8")
            return
        before, found, after = path.read_text(encoding="utf-8").partition(self.anchor)
        if not found:
            raise SystemExit(f"{self.file} holds no {self.anchor!r} any more: mend tools/additions.py")
        path.write_text(before + found + self.text + after, encoding="utf-8")


@dataclass(frozen=True)
class Addition:
    """runs: options of `portgnn train --json` and what must hold of the document. refused: options that end with 2."""

    kind: str
    edits: tuple[Edit, ...]
    runs: tuple[tuple[str, Callable[[Document], bool]], ...]
    refused: tuple[str, ...] = ()


RING = '''

def ring() -> Graph:
    """Fifteen nodes in a ring, and which half each is in."""
    at = np.arange(15)
    return Graph.from_edges(
        np.stack([at, (at + 1) % 15], axis=1),
        sp.eye_array(15, format="csr"),
        (at > 7).astype(np.int64),
        train=at[::3],
        val=at[1::3],
        test=at[2::3],
        name="ring",
    )

'''
MEAN = '''"""The mean of the neighbours beside a node's own row (GraphSAGE without its concatenation)."""

from dataclasses import dataclass

from portgnn.models.layer import Layer, Parameter
from portgnn.models.network import Stacked


class Mixing(Layer):
    keeps = True

    def parameters(self):
        weight = Parameter((self.fan_in, self.fan_out))
        return {"own": weight, "near": weight}

    def message(self, backend, params, x):
        return backend.matmul(x, params["near"]), backend.matmul(x, params["own"])

    def update(self, backend, params, total, kept):
        return kept + total


@dataclass(frozen=True)
class Mean(Stacked):
    """A node's own row and the mean of its neighbours'."""

    weighting = "mean"

    def layer(self, **place):
        return Mixing(**place)
'''
CONFIDENCE = '''
class Confidence(Metric):
    """Mean of the largest probability."""

    def sums(self, xp: Namespace, outputs: Array, counted: Any) -> tuple[Array, ...]:
        shares = xp.exp(outputs - xp.max(outputs, axis=-1, keepdims=True))
        return (xp.sum(xp.where(counted.labels >= 0, 1.0 / xp.sum(shares, axis=-1), 0.0)),)

    def value(self, sums: Sequence[Any], count: int) -> Any:
        return sums[0] / count


CONFIDENCE = Confidence("confidence", "confidence", "mean probability", higher_is_better=True)
'''


def between(low: float, high: float, name: str) -> Callable[[Document], bool]:
    return lambda found: all(low <= each <= high for each in found[name]) and len(found[name]) > 0


ADDITIONS = (
    Addition(
        "hyperparameter",
        (
            Edit(
                "portgnn/recipe.py",
                "class Config(Optimization):\n",
                '    temperature: float = hyperparameter(1.0, "Divides logits.", TRAINING, bounds=POSITIVE)\n',
                1,
            ),
            Edit(
                "portgnn/tasks/classes.py",
                '"""Mean over the counted rows of -log softmax(outputs)[label]."""\n',
                "        outputs = outputs * (1.0 / self.config.temperature)\n",
            ),
        ),
        (("--temperature 4", lambda found: found["config"]["temperature"] == 4.0),),
        ("--temperature -1",),
    ),
    Addition(
        "preset",
        (Edit("portgnn/presets.py", '    "kipf": Config(),\n', '    "wide": Config(preset="wide", hidden=64),\n', 1),),
        (("--preset wide", lambda found: (found["preset"], found["config"]["hidden"]) == ("wide", 64)),),
    ),
    Addition(
        "metric",
        (
            Edit(
                "portgnn/metrics.py",
                'ACCURACY = Accuracy("accuracy", "accuracy", "share of nodes", higher_is_better=True)\n',
                CONFIDENCE,
            ),
            Edit("portgnn/tasks/classes.py", "from portgnn.metrics import ACCURACY, ", "CONFIDENCE, ", 0),
            Edit("portgnn/tasks/classes.py", "metrics = (ACCURACY,", " CONFIDENCE", 1),
        ),
        (("", between(0.5, 1.0, "val_confidence")), ("--monitor val_confidence", between(0.5, 1.0, "val_confidence"))),
    ),
    Addition(
        "dataset",
        (
            Edit("portgnn/datasets/bundled.py", "from portgnn.graphs.graph import Graph\n", RING),
            Edit(
                "portgnn/datasets/_catalog.py",
                "_ALL = (\n",
                '    Dataset("ring", "Fifteen nodes", "bundled", "", "", 15, 15, 15, 2, build=bundled.ring),\n',
                1,
            ),
        ),
        (("--dataset ring", lambda found: (found["dataset"], found["nodes"], found["edges"]) == ("ring", 15, 15)),),
    ),
    Addition(
        "field of a result",
        (
            Edit(
                "portgnn/report/documents.py",
                "RUN_OUTCOME = (\n",
                '    RunField("parameters", "a whole number", required=False),\n',
                1,
            ),
            Edit(
                "portgnn/results/result.py",
                "    processes: int = 1\n",
                "\n    @property\n    def parameters(self) -> int:\n"
                "        return sum(each.size for each in self.model.params.values())\n",
            ),
        ),
        (("", lambda found: found["parameters"] == 34 * 16 + 16 * 2),),
    ),
    Addition(
        "network",
        (
            Edit("portgnn/models/mean.py", "", MEAN),
            Edit(
                "portgnn/models/__init__.py",
                "from portgnn.models.linear import Linear\n",
                "from portgnn.models.mean import Mean\n",
                1,
            ),
            Edit("portgnn/models/__init__.py", '    "gcn": GCN,\n', '    "mean": Mean,\n', 1),
        ),
        tuple(
            (f"--model mean {how}", lambda found: found["config"]["model"] == "mean")
            for how in ("", "--loader neighbor --fanout 3 --batch-size 2", "--backend torch --device cpu")
        ),
    ),
)


def trained(root: Path, options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "portgnn", "train", "--dataset", "karate", "--epochs", "3", "--json", *options.split()],
        cwd=root, env=os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'backends'}", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def added(addition: Addition, root: Path) -> dict[str, int]:
    """Adds it to the copy, tries it, and counts. Raises SystemExit where it is not known everywhere by that."""
    for each in addition.edits:
        each.made(root)
    for options, holds in addition.runs:
        done = trained(root, options)
        if done.returncode or not holds(json.loads(done.stdout)):
            raise SystemExit(f"{addition.kind}: portgnn train {options}: {done.stderr[-1500:] or done.stdout[:500]}")
    for options in addition.refused:
        done = trained(root, options)
        if done.returncode != 2 or "Traceback" in done.stderr:
            raise SystemExit(f"{addition.kind}: portgnn train {options} is not refused in a line")
    edits = [each for each in addition.edits if each.text]
    entry = sum(each.entry for each in edits)
    return {
        "files": len({each.file for each in edits}),
        "entry": entry,
        "other": sum(each.lines for each in edits if not each.entry),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[each.kind for each in ADDITIONS])
    given = parser.parse_args(arguments)
    print("| added for trial | files | lines that name it | lines that do it |\n|---|--:|--:|--:|")
    for each in ADDITIONS:
        if given.only and each.kind not in given.only:
            continue
        with tempfile.TemporaryDirectory(prefix="portgnn-additions-") as folder:
            for name in ("portgnn", "backends"):
                shutil.copytree(ROOT / name, Path(folder) / name, ignore=shutil.ignore_patterns("__pycache__"))
            found = added(each, Path(folder))
        print(f"| {each.kind} | {found['files']} | {found['entry']} | {found['other']} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
