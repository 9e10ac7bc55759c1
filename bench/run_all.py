"""Times every backend of portgnn that is here beside the libraries that users would otherwise pick.

    python bench/run_all.py                     all backends and peers on Cora and Citeseer
    python bench/run_all.py --quick             a first impression, in a minute or two
    python bench/run_all.py --json run.json --report run.html

A peer may live in an environment of its own: --peer-python pyg=PATH/bin/python, repeated as needed.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.cli import main  # noqa: E402

if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
