"""The way from the command line to an effect, in hops: which functions of portgnn wait on the stack when it happens.

    python tools/hops.py CHECKOUT [CHECKOUT …]

In each checkout `portgnn train --dataset karate --epochs 3 --backend numpy` runs under a profiler that looks at the
stack the first time that the named dataset is made, that a matrix of it is placed on the device, and that the optimizer
changes weights. A hop is a function of portgnn/ or of an adapter; those of the command line's library are none. Rooms
says in which files they are, one after the other: a file that comes twice is entered twice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

EFFECTS = {
    "dataset: made": ("bundled.py", "karate"),
    "dataset: on the device": ("portgnn_numpy/backend.py", "csr"),
    "weights: updated": ("portgnn_numpy/optim.py", "step"),
}
WATCH = """
import json, sys

root, effects, found = sys.argv[1], json.loads(sys.argv[2]), {}

def look(frame, event, argument):
    if event != "call":
        return
    for effect, (file, name) in effects.items():
        code = frame.f_code
        if effect not in found and code.co_name == name and code.co_filename.endswith(file):
            stack, each = [], frame
            while each:
                code = each.f_code
                file = code.co_filename.removeprefix(root)
                # An environment may lie in the checkout too, as .venv-test does: the folders count, not the root.
                if file.startswith(("portgnn/", "backends/")) and code.co_name != "<module>":
                    stack.append([file, code.co_qualname])
                each = each.f_back
            if all(name != "self_check" for _, name in stack):  # which looks whether a device works
                found[effect] = stack[::-1]

from portgnn.cli import main
sys.setprofile(look)
main(["train", "--dataset", "karate", "--epochs", "3", "--backend", "numpy", "--json"])
sys.setprofile(None)
print(json.dumps(found))
"""


def ways(checkout: Path) -> dict[str, list[tuple[str, str]]]:
    """For each effect the functions from the command line to it, each with its file. Raises SystemExit."""
    paths = os.pathsep.join((str(checkout), str(checkout / "backends")))
    done = subprocess.run(
        [sys.executable, "-c", WATCH, f"{checkout}/", json.dumps(EFFECTS)],
        cwd=checkout, env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{checkout}: {done.stderr[-2000:]}")
    found: dict[str, list[tuple[str, str]]] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(arguments: list[str]) -> int:
    for given in arguments:
        print(given)
        for effect, way in ways(Path(given).resolve()).items():
            files = [file for file, _ in groupby(way, key=lambda hop: hop[0])]
            print(
                f"  {effect}: {len(way)} hops, in {len(files)} files one after the other, {len(set(files))} different"
            )
            for file, functions in groupby(way, key=lambda hop: hop[0]):
                print(f"    {file}: {' → '.join(name for _, name in functions)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
