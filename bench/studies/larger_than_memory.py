"""From Parquet to a folder, to a sampled epoch, to exact answers, with a peak of memory that does not grow as they do.

    python bench/studies/larger_than_memory.py --stored 1000000 3000000 10000000 --json OUT

For each number of stored edges (both directions), a twentieth as many nodes with 128 features: `edges.parquet` and
`nodes.parquet` are made, block by block; a process of its own makes a NAME.graph folder of them
(`portgnn.disk.streamed`), and another trains an epoch of `--seeds` sampled nodes on NumPy from the folder and tests by
exact inference. Of both, seconds, and the peak of resident memory, pages of mapped files included. Then the smallest
conversion is killed (SIGKILL) after shares of its time: what has the folder's name must be whole, or not be there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

FEATURES, CLASSES, BLOCK = 128, 10, 1 << 16


def made(folder: Path, stored: int) -> None:
    """Random edges, most of them near in the numbering, and features that tell the classes."""
    import pyarrow as pa
    from pyarrow import parquet

    nodes, draw = stored // 20, np.random.default_rng(0)
    folder.mkdir()
    with parquet.ParquetWriter(
        folder / "edges.parquet", pa.schema([("source", pa.int64()), ("target", pa.int64())])
    ) as out:
        for start in range(0, stored // 2, 1 << 20):
            count = min(1 << 20, stored // 2 - start)
            source = draw.integers(0, nodes, count)
            near = (source + 1 + draw.integers(0, max(nodes // 100, 2), count)) % nodes
            target = np.where(draw.random(count) < 0.9, near, draw.integers(0, nodes, count))
            out.write_table(pa.table({"source": source, "target": target}))
    centres = draw.standard_normal((CLASSES, FEATURES), dtype=np.float32) * 0.3
    schema = pa.schema([(f"x{at}", pa.float32()) for at in range(FEATURES)])
    with parquet.ParquetWriter(folder / "nodes.parquet", schema, compression="none", use_dictionary=False) as out:
        for start in range(0, nodes, BLOCK):
            labels = np.arange(start, min(start + BLOCK, nodes)) * CLASSES // nodes
            rows = draw.standard_normal((len(labels), FEATURES), dtype=np.float32) + centres[labels]
            out.write_table(pa.table(list(np.ascontiguousarray(rows.T)), schema=schema))


def convert(folder: str, stored: str) -> None:
    """One process: the folder of the Parquet files."""
    from portgnn.disk.streamed import parquet_blocks, write_streamed

    nodes, place = int(stored) // 20, Path(folder)
    order = np.random.default_rng(1).permutation(nodes)
    splits: dict[str, Any] = {
        "train": order[: nodes // 2],
        "val": order[nodes // 2 : nodes // 2 + 1000],
        "test": order[-1000:],
    }
    clock = time.perf_counter()
    edges, features = parquet_blocks(place / "edges.parquet"), parquet_blocks(place / "nodes.parquet")
    labels = np.arange(nodes) * CLASSES // nodes
    graph = write_streamed(place / "g.graph", edges, features, nodes, labels=labels, **splits)
    seconds = time.perf_counter() - clock
    print(json.dumps({"seconds": seconds, "cpu_s": time.process_time(), "peak": peak(), "bytes": graph.bytes}))


def train(folder: str, seeds: str) -> None:
    """One process: an epoch from the folder, and the test."""
    from portgnn import get_backend
    from portgnn.disk.folder import DiskGraph
    from portgnn.graphs.split import split
    from portgnn.loaders.engine import Sampled
    from portgnn.loaders.on_disk import OnDisk
    from portgnn.presets import Config
    from portgnn.training import fit

    graph = DiskGraph(Path(folder) / "g.graph")
    graph.train = split(graph, "train").nodes[: int(seeds)]
    config = Config(loader="neighbor", fanout="15,10", batch_size=64, epochs=1, normalize_features="none")
    engine = Sampled(get_backend("numpy"), OnDisk(graph, config))
    clock = time.perf_counter()
    done = fit(engine, 0)
    accuracy = engine.scores(done.params, split(graph, "test").nodes)["accuracy"]
    seconds = time.perf_counter() - clock
    print(json.dumps({"seconds": seconds, "cpu_s": time.process_time(), "peak": peak(), "test_accuracy": accuracy}))


def command(name: str, *words: str) -> list[str]:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import bench.studies.larger_than_memory as study"
    call = f"{code}; study.{name}(*sys.argv[2:])"
    return [sys.executable, "-c", call, str(Path(__file__).resolve().parents[2]), *words]


def peak() -> int:
    """The most resident bytes of this process's own memory: what the kernel counts, of the program that is run now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))


def measured(name: str, *words: str) -> dict[str, Any]:
    done = subprocess.run(command(name, *words), capture_output=True, text=True, timeout=3600)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def killed(folder: Path, stored: int, seconds: float, times: int) -> dict[str, Any]:
    """The conversion killed after shares of `seconds`: how often a folder was there, and was whole."""
    from portgnn.disk.folder import DiskGraph

    there = whole = 0
    for number in range(times):
        shutil.rmtree(folder / "g.graph", ignore_errors=True)
        with subprocess.Popen(command("convert", str(folder), str(stored)), stdout=subprocess.DEVNULL) as process:
            time.sleep(0.5 + seconds * (number + 1) / times)
            os.kill(process.pid, signal.SIGKILL)
        if (folder / "g.graph").exists():
            there += 1
            DiskGraph(folder / "g.graph").verify()
            whole += 1
    shutil.rmtree(folder / "g.graph", ignore_errors=True)
    again = measured("convert", str(folder), str(stored))
    return {"kills": times, "a_folder_was_there": there, "and_was_whole": whole, "converted_then_s": again["seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stored", type=int, nargs="+", default=[1_000_000, 3_000_000, 10_000_000])
    parser.add_argument("--seeds", type=int, default=6_400)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    kills: dict[str, Any] = {}
    for stored in arguments.stored:
        with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="portgnn-large-") as name:
            folder = Path(name) / "data"
            made(folder, stored)
            size = sum(each.stat().st_size for each in folder.iterdir())
            row = {"stored": stored, "nodes": stored // 20, "parquet_bytes": size}
            row |= {"convert": measured("convert", str(folder), str(stored))}
            row |= {"train": measured("train", str(folder), str(arguments.seeds))}
            row["edges_per_s"] = stored / 2 / row["convert"]["seconds"]
            row["edges_per_cpu_s"] = stored / 2 / row["convert"]["cpu_s"]
            print(row, flush=True)
            rows.append(row)
            if not kills and arguments.kills:
                kills = killed(folder, stored, row["convert"]["seconds"], arguments.kills)
                print(kills, flush=True)
    result = {"kind": "larger-than-memory", "features": FEATURES, "seeds": arguments.seeds, "cores": os.cpu_count(),
              "load": os.getloadavg()[0], "sizes": rows, "kills": kills}  # fmt: skip
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
