"""The picture at the head of README and of the site, out of committed results, once for light pages and once for dark.

    python tools/front_picture.py             draws docs/pictures/front.svg and front-dark.svg
    python tools/front_picture.py --train     trains the curves anew first, into bench/results/front-curves.json

Left: one recipe trained on each backend, the curves over each other, and how far each is from the first. Right: a step
on each machine, portgnn's fastest backend beside each library in the fastest way in which it was run there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [] if str(ROOT) in sys.path else [str(ROOT)]

from bench.harness.known_peers import FAMILIES  # noqa: E402
from bench.harness.rows import at_its_best  # noqa: E402
from portgnn.plots import style  # noqa: E402
from portgnn.report.documents import number  # noqa: E402

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESULTS, PICTURES = ROOT / "bench" / "results", ROOT / "docs" / "pictures"
CURVES = RESULTS / "front-curves.json"
MACHINES = {"two CPU cores": "cora-cpu.json", "one H200": "cora-peers-h200.json"}
RECIPE = "pyg"
EPOCHS = 200
THEMES = {"front.svg": ("#1f2328", "#6e7781"), "front-dark.svg": ("#e6edf3", "#9198a1")}
"""Colours of text and of peers' bars. The ground is the page's own."""


@dataclass(frozen=True)
class Bar:
    name: str
    milliseconds: float
    own: bool


def trained(backends: Sequence[str]) -> dict[str, Any]:
    """Training losses of the recipe on Cora in float64, seed 0, by backend."""
    import portgnn

    def losses(backend: str) -> list[float]:
        run = portgnn.train("cora", backend=backend, preset=RECIPE, seed=0, dtype="float64", epochs=EPOCHS)
        return [float(value) for value in run.history.train_loss]

    return {
        "dataset": "cora",
        "preset": RECIPE,
        "dtype": "float64",
        "losses": {name: losses(name) for name in backends},
    }


def apart(losses: Mapping[str, Sequence[float]]) -> dict[str, np.ndarray]:
    """Relative difference of each loss from the first backend's, of the other backends."""
    (_, first), *others = losses.items()
    return {name: np.abs(np.subtract(values, first)) / np.abs(first) for name, values in others}


def bars(run: Mapping[str, Any]) -> list[Bar]:
    """portgnn's fastest backend, then each library at its best, fastest first."""
    rows = [row for row in run["rows"] if row.get("status") == "timed" and row["recipe"] == RECIPE]
    own = min((row for row in rows if row["kind"] != "peer"), key=lambda row: row["train_ms"]["median"])

    def taken(rows_of: Iterable[tuple[str, dict[str, Any] | None]]) -> list[Bar]:
        found = [Bar(name, float(row["train_ms"]["median"]), False) for name, row in rows_of if row is not None]
        return sorted(found, key=lambda bar: bar.milliseconds)

    peers = taken((name, at_its_best(rows, members, own["device"])) for name, members in FAMILIES.items())
    return [Bar(own["title"], float(own["train_ms"]["median"]), True), *peers]


def draw(text: str, muted: str, curves: Mapping[str, Any], machines: Mapping[str, Sequence[Bar]], out: Path) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    look = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), text)
    fixed = {"svg.fonttype": "none", "svg.hashsalt": "front", "font.size": 9, "font.family": "sans-serif"}
    with mpl.rc_context(look | fixed):
        figure = Figure(figsize=(10.4, 4.4), layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=[1, 1.1])
        above, below = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
        _curves(above, below, curves, text)
        for place, (machine, found) in enumerate(machines.items()):
            _bars(figure.add_subplot(grid[place, 1]), machine, found, muted)
        figure.savefig(out, transparent=True, metadata={"Date": None, "Creator": None})


def _curves(above: Axes, below: Axes, curves: Mapping[str, Any], text: str) -> None:
    losses = curves["losses"]
    for slot, (name, values) in enumerate(losses.items()):
        above.plot(values, label=name, **style.line(slot, len(losses)))
    above.set(title="the same losses on every backend (Cora, float64)", ylabel="training loss")
    above.legend(fontsize=8, frameon=False, labelcolor=text, ncols=2)
    above.tick_params(labelbottom=False)
    differences = apart(losses)
    for slot, (_, values) in enumerate(differences.items(), start=1):
        below.plot(np.maximum(values, 1e-17), **style.line(slot, len(losses)))
    below.axhline(1e-12, color=text, linewidth=0.8)
    below.annotate("1e-12, what tests allow", (0, 1e-12), (2, 3), textcoords="offset points", fontsize=8)
    below.set(yscale="log", ylim=(1e-17, 1e-10), xlabel="epoch", ylabel=f"from {next(iter(losses))}'s")


def _bars(one: Axes, machine: str, found: Sequence[Bar], muted: str) -> None:
    """Points and no bars: on a logarithmic axis the length of a bar says nothing."""
    from matplotlib.ticker import FuncFormatter

    fastest = found[0].milliseconds
    for place, bar in enumerate(reversed(found)):
        one.plot(bar.milliseconds, place, "o" if bar.own else "s", color=style.OURS if bar.own else muted, markersize=8)
        told = number(bar.milliseconds) + ("" if bar.own else f"  ({number(bar.milliseconds / fastest)} times)")
        at = (bar.milliseconds, place)
        one.annotate(told, at, (8, 0), textcoords="offset points", va="center", fontsize=8)
    one.set_yticks(range(len(found)), [bar.name for bar in reversed(found)])
    one.set_xscale("log")
    one.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    one.xaxis.set_minor_formatter(lambda *_: "")
    one.set_xlim(fastest / 1.6, found[-1].milliseconds * 4)
    one.set_ylim(-0.6, len(found) - 0.4)
    one.grid(True, axis="y", alpha=0.3)
    one.set(title=f"ms a training step, Cora, {machine}: each at its best", xlabel="logarithmic")
    one.tick_params(axis="y", labelsize=8)
    one.spines[["top", "right"]].set_visible(False)


def main(arguments: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--train", action="store_true", help="train the curves anew")
    made.add_argument("--backends", nargs="+", default=["numpy", "torch", "jax", "mlx"])
    made.add_argument("--out", type=Path, default=PICTURES)
    given = made.parse_args(arguments)
    if given.train:
        CURVES.write_text(json.dumps(trained(given.backends)) + "\n", encoding="utf-8")
    curves = json.loads(CURVES.read_text(encoding="utf-8"))
    machines = {name: bars(json.loads((RESULTS / file).read_text(encoding="utf-8"))) for name, file in MACHINES.items()}
    for file, (text, muted) in THEMES.items():
        draw(text, muted, curves, machines, given.out / file)
    return 0


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
