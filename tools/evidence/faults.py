"""Words that could not be typed, tracebacks, deaths and gigabytes."""

# ruff: noqa: E501 (shell lines and files stand as they are typed)

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import resource
import socketserver
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse as sp
from case import case, shell
from silent import X3, csv_graph

import portgnn
from portgnn import Graph, load_graph, train

CLEAN = r"^(?!.*(TRACEBACK|Traceback))exit 2: "
"""One line, and the status of bad input."""
QUICK = r"^(?!Memory).*: \d\.\d s, [1-4]?\d?\d MB"
"""Within 10 s (2 s on an idle machine) and 499 MB."""


def command(item: str, what: str, wanted: str, line: str, *, last: int = 1, **environment: str) -> None:
    """A case that is one shell line, in a folder with a small graph in `g` and a model of karate, m.safetensors."""

    def run(folder: Path) -> object:
        (folder / "g").mkdir()
        csv_graph(folder / "g", "id,label,x\n0,p,1\n1,q,2\n2,p,3\n3,q,4\n4,p,5\n5,q,6\n")
        return shell(line, folder, last=last, **environment)

    case(item, what, wanted)(run)


def cost(read: Callable[[], object]) -> str:
    """What reading gives, seconds and memory added."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        said = f"read ({str(read())[:60]})"
    except Exception as error:
        said = f"{type(error).__name__}: {str(error)[:150]}"
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return f"{said}: {time.perf_counter() - start:.1f} s, {added:.0f} MB"


@case("B12", "the output block of docs/benchmark.md that shows figures of a file", r"^True")
def _(folder: Path) -> object:
    root = Path(portgnn.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "tests/docs/test_pages.py", "-k", "benchmark", "-p", "no:cacheprovider"],
        cwd=root, capture_output=True, text=True,
    )  # fmt: skip
    return f"{done.returncode == 0}: {done.stdout.splitlines()[-1] if done.stdout else done.stderr[-200:]}"


command("B12", "a graph without a split: advice", r"exit 2: .*--split", "portgnn train --dataset g", last=3)
command("B12", "--lr", r"exit 2: .*--learning-rate", "portgnn train --dataset karate --lr 0.1")


@case("B12", "train(lr=1) in Python", r"ConfigError: .*learning_rate")
def _(folder: Path) -> object:
    return train("karate", lr=1)


command("B12", "portgnn train karate", r"exit 2: .*--dataset karate", "portgnn train karate")
command("B12", "help that an option's error points to", r"portgnn train --help", "portgnn train --epohcs 3")
command(
    "B12", "a question mark and a full stop", r"^(?!.*\?\. )exit 2", "portgnn train --dataset karate --backend nunpy"
)


@case("B12", "seed=np.int64(3), dtype=np.float32, dtype=torch.float32", r"^float32 float32 float32$")
def _(folder: Path) -> object:
    import torch

    options: tuple[dict[str, Any], ...] = ({"seed": np.int64(3)}, {"dtype": np.float32}, {"dtype": torch.float32})
    return " ".join(train("karate", epochs=1, **each).dtype for each in options)


@case("B12", "a directed file whose edges differ by weight alone", r"^(?!.*0 of 2)")
def _(folder: Path) -> object:
    said: list[str] = []
    graph = csv_graph(
        folder,
        "id,label,x\n0,p,1\n1,q,2\n2,p,3\n",
        "source,target,weight\n0,1,1\n1,0,2\n",
    )
    train(graph, split="random:1:0", epochs=1, announce=said.append)
    return said + list(graph.notes)


@case("B12", "BaggingClassifier's bootstrap", r"bootstrap=False")
def _(folder: Path) -> object:
    from sklearn.ensemble import BaggingClassifier

    from portgnn.sklearn import GCNClassifier

    graph = load_graph("karate")
    return BaggingClassifier(GCNClassifier(graph), n_estimators=2, random_state=0).fit(
        np.arange(34).reshape(-1, 1), graph.labels
    )


@case("B12", "lines of print(graph) and repr(result)", r"^1 1$")
def _(folder: Path) -> object:
    return f"{len(str(load_graph('karate')).splitlines())} {len(repr(train('karate', epochs=2)).splitlines())}"


def graph_folder(folder: Path) -> Path:
    csv_graph(folder, "id,label,split,x\n0,p,train,1\n1,q,train,2\n2,p,val,3\n3,q,test,4\n")
    shell("mkdir s; mv *.csv s; portgnn convert s n.graph", folder)
    return folder / "n.graph"


@case("C13", ".graph: indices.npy set to 2**30, trained on by a sampler", CLEAN)
def _(folder: Path) -> object:
    made = graph_folder(folder)
    indices = np.load(made / "indices.npy")
    np.save(made / "indices.npy", np.full_like(indices, 2**30))
    return shell(f"portgnn train --dataset {made} --loader neighbor --fanout 2,2 --epochs 2", folder)


@case("C13", ".graph: indptr that falls", CLEAN)
def _(folder: Path) -> object:
    made = graph_folder(folder)
    indptr = np.load(made / "indptr.npy")
    np.save(made / "indptr.npy", indptr[::-1].copy())
    return shell(f"portgnn train --dataset {made} --loader neighbor --fanout 2,2 --epochs 2", folder)


@case("C13", ".graph: another dtype, another shape, one bit", r"^(DatasetError[^|]*\|){3}$")
def _(folder: Path) -> object:
    made, found = graph_folder(folder), ""
    kept = np.load(made / "indices.npy")
    for bad in (kept.astype(np.float64), kept[:-1], kept[::-1].copy()):
        np.save(made / "indices.npy", bad)
        try:
            found += f"{load_graph(made)!r}|"
        except Exception as error:
            found += f"{type(error).__name__}: {error}|"
    return found


@case("C13", "from_scipy with an index out of range", r"GraphError")
def _(folder: Path) -> object:
    matrix = sp.csr_array(np.eye(3))
    matrix.indices[1] = 2**20
    return Graph.from_scipy(matrix, X3)


@case("C14", "labels of unsigned types", r"^\[0, 1, 0\]$")
def _(folder: Path) -> object:
    return Graph.from_edges([[0, 1]], X3, np.array([0, 1, 0], dtype=np.uint64)).labels.tolist()


LONG = "n" * 300
for _name, _path in (
    ("a name over 255 bytes", LONG),
    ("~nouser", "~nouser_here/g"),
    ("a ring of links", "ring"),
    ("a folder without permission", "closed/g"),
):
    command("C14", f"--dataset: {_name}", CLEAN,
            f"ln -s ring ring; mkdir -m 0 closed; portgnn train --dataset '{_path}'; s=$?; chmod 700 closed; exit $s")  # fmt: skip
    command("C14", f"--save: {_name}", CLEAN,
            f"ln -s ring ring; portgnn train --dataset karate --epochs 1 --save '{_path}/m'")  # fmt: skip


@case("C14", "a path with a NUL character", r"(Dataset|Config|Portgnn)Error")
def _(folder: Path) -> object:
    return load_graph("a\0b")


command("C14", "doctor with PORTGNN_DATA of 300 letters", r"^(?!.*No problem found)(?!.*TRACEBACK)exit",
        f"PORTGNN_DATA=/{LONG} portgnn doctor", last=6)  # fmt: skip
command("C14", "stdout closed", r"^(?!.*TRACEBACK)exit [12]: .*(closed|stdout)",
        "portgnn train --dataset karate --epochs 2 >&-")  # fmt: skip
command("C14", "stderr closed: the training is not lost", r"exit 0: .*accuracy",
        "portgnn train --dataset karate --epochs 2 2>&-")  # fmt: skip
command("C14", "stdout /dev/full", r"^(?!.*TRACEBACK)exit [12]: .*(full|space)",
        "portgnn train --dataset karate --epochs 2 >/dev/full")  # fmt: skip
command("C14", "a log file on a full disk: lines said", r"^(?!.*TRACEBACK)exit 2: [12]$",
        "portgnn train --dataset karate --epochs 50 --patience 0 --log-file /dev/full --log-level debug 2>err >/dev/null;"
        " s=$?; grep -c full err; exit $s")  # fmt: skip
command("C14", "class names that stdout's encoding lacks (ascii)", r"exit 0: .*\\u0142",
        "sed -i 's/,p,/,\u0142,/' g/nodes.csv; portgnn train --dataset g --split random:1:1 --epochs 2 --save m >/dev/null;"
        " PYTHONIOENCODING=ascii PYTHONUTF8=0 portgnn predict m --dataset g", last=3)  # fmt: skip
command("C14", "class names that stdout's encoding lacks (cp1252)", r"exit 0: .*\\u0142",
        "sed -i 's/,p,/,\u0142,/' g/nodes.csv; portgnn train --dataset g --split random:1:1 --epochs 2 --save m >/dev/null;"
        " PYTHONIOENCODING=cp1252 PYTHONUTF8=0 portgnn predict m --dataset g", last=3)  # fmt: skip
command("C14", "what a stdout did not take that was closed while the work went on", r"result is in .*test_accuracy",
        "(portgnn train --dataset karate --epochs 2 --json 2>err) | true;"
        " cat err; f=$(grep -oE '/[^ ]+[.](json|txt)' err); cat $f; rm $f", last=40)  # fmt: skip
command("C14", "--out in a folder that is not there: said before the work", r"^(?!.*(TRACEBACK|accuracy))exit 2: ",
        "portgnn train --dataset karate --epochs 2 --save m >/dev/null; portgnn predict m --dataset karate --out no/such/p.csv")  # fmt: skip
command("C14", "--save in a folder that is not there: said before the work", r"^(?!.*(TRACEBACK|accuracy))exit 2: ",
        "portgnn train --dataset karate --epochs 2 --save no/such/m")  # fmt: skip
command("C14", "--seed and --epochs of 20 digits", r"^(?!.*TRACEBACK)exit 0: 2 2$",
        "portgnn train --dataset karate --seed 99999999999999999999 2>/dev/null; a=$?;"
        " portgnn train --dataset karate --epochs 99999999999999999999 2>/dev/null; echo $a $?")  # fmt: skip
command("C14", "--hidden 5000000000", CLEAN, "portgnn train --dataset karate --hidden 5000000000")
command("C14", "a fan-out of 20 digits", CLEAN,
        "portgnn train --dataset karate --loader neighbor --fanout 99999999999999999999,2")  # fmt: skip


@case("C14", "a TOML integer of 5,000 digits", CLEAN)
def _(folder: Path) -> object:
    (folder / "run.toml").write_text(f'dataset = "karate"\nepochs = {"9" * 5000}\n')
    return shell("portgnn train --config run.toml", folder)


@case("C14", "a dotted TOML key of 200 KB", r"^(?!.*TRACEBACK)exit 2: .* in [\d.]{1,4} s")
def _(folder: Path) -> object:
    (folder / "run.toml").write_text(f"{'.'.join('a' * 100_000)} = 1\n")
    start = time.perf_counter()
    said = shell("ulimit -v 8000000; timeout 40 portgnn train --config run.toml", folder)
    return f"{said} in {time.perf_counter() - start:.1f} s"


@case("C14", "a report of a run without test_accuracy", r"exit 0: ")
def _(folder: Path) -> object:
    shell("portgnn train --dataset karate --epochs 2 --json > r.json", folder)
    document = json.loads((folder / "r.json").read_text())
    document.pop("test_accuracy")
    (folder / "r.json").write_text(json.dumps(document))
    return shell("portgnn report r.json --out page.html", folder)


def reader(name: str) -> Any:
    """A module of `portgnn.datasets`, public in 0.1 and private since."""
    try:
        return importlib.import_module(f"portgnn.datasets._{name}")
    except ImportError:
        return importlib.import_module(f"portgnn.datasets.{name}")


@case("C14", "PAX headers of an archive: a size and a sparse map that lie", r"^(DatasetError[^|]*\|){3}$")
def _(folder: Path) -> object:
    read_linqs = reader("linqs").read_linqs

    found = ""
    for headers in ({"size": "9" * 30}, {"GNU.sparse.map": "x,y"}, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}):
        with tarfile.open(folder / "a.tgz", "w:gz", format=tarfile.PAX_FORMAT) as tar:
            for name in ("cora/cora.content", "cora/cora.cites"):
                info = tarfile.TarInfo(name)
                info.size, info.pax_headers = 8, dict(headers)
                tar.addfile(info, io.BytesIO(b"p\t1\t0\tA\n"))
        try:
            found += f"read {read_linqs(folder / 'a.tgz').num_nodes}|"
        except Exception as error:
            found += f"{type(error).__name__}: {error}|"
    return found


@case("C14", "recursion in a pickle: 100,000 tuples in one another", r"^DatasetError: ")
def _(folder: Path) -> object:
    (folder / "ind.x.graph").write_bytes(b"\x80\x02)" + b"\x85" * 100_000 + b".")
    return reader("restricted_pickle").load_pickle(folder / "ind.x.graph")


@case("C14", "float16 in a sparse npz part", r"^read|DatasetError")
def _(folder: Path) -> object:
    csv_graph(folder, "id,label\n0,p\n1,q\n2,p\n")
    half = sp.csr_array(np.eye(3))
    np.savez(folder / "features.npz", data=half.data.astype(np.float16), indices=half.indices, indptr=half.indptr,
             shape=half.shape, format=np.array(b"csr"))  # fmt: skip
    return f"read {load_graph(folder).num_features}"


@case("C14", "bfloat16, requires-grad and sparse tensors in from_pyg and Graph", r"^read 2 read 2 read 2$")
def _(folder: Path) -> object:
    import torch

    x = torch.tensor(X3)
    edges = torch.tensor([[0, 1], [1, 0]])
    kinds = (x.to(torch.bfloat16), x.clone().requires_grad_(), x.to_sparse())
    return " ".join(f"read {Graph.from_pyg(SimpleNamespace(edge_index=edges, x=kind)).num_features}" for kind in kinds)


def run_file(folder: Path, change: Callable[[dict[str, Any], dict[str, str]], None]) -> str:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    shell("portgnn train --dataset karate --epochs 3 --patience 0 --checkpoint run.ckpt", folder)
    with safe_open(folder / "run.ckpt", "numpy") as file:
        arrays, meta = {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata())  # noqa: SIM118
    change(arrays, meta)
    save_file(arrays, folder / "run.ckpt", meta)
    return shell("portgnn train --resume run.ckpt --epochs 5", folder)


@case("C14", "a run file with another dtype in state.m", CLEAN)
def _(folder: Path) -> object:
    def change(arrays: dict[str, Any], meta: dict[str, str]) -> None:
        name = next(name for name in arrays if name.startswith("state.m"))
        arrays[name] = arrays[name].astype(np.int32)

    return run_file(folder, change)


@case("C14", "a run file with NaN in its history", CLEAN)
def _(folder: Path) -> object:
    def change(arrays: dict[str, Any], meta: dict[str, str]) -> None:
        for name, array in arrays.items():
            if "loss" in name or "history" in name:
                arrays[name] = np.full_like(array, np.nan)

    return run_file(folder, change)


def long_id(folder: Path) -> None:
    rows = [f"{at},\n" for at in range(30_000)]
    rows[7] = f"{'7' * 60_000},\n"
    (folder / "nodes.csv").write_text("id,label\n" + "".join(rows))
    (folder / "edges.csv").write_text("source,target\n0,1\n")


@case("C15", "one id of 60,000 letters among 30,000 nodes, 319 KB", QUICK, apart=True)
def _(folder: Path) -> object:
    long_id(folder)
    return cost(lambda: load_graph(folder))


@case("C15", "GraphML: 2,000 keys with defaults x 2,000 nodes", QUICK, apart=True)
def _(folder: Path) -> object:
    keys = "".join(
        f'<key id="k{at}" for="node" attr.name="k{at}" attr.type="double"><default>1</default></key>'
        for at in range(2000)
    )
    nodes = "".join(f'<node id="n{at}"/>' for at in range(2000))
    (folder / "g.graphml").write_text(
        f'<graphml xmlns="http://graphml.graphdrawing.org/xmlns">{keys}<graph edgedefault="undirected">{nodes}'
        "</graph></graphml>"
    )
    return cost(lambda: load_graph(folder / "g.graphml"))


@case("C15", "npz of 300 KB that unpacks to 300 MB", QUICK, apart=True)
def _(folder: Path) -> object:
    csv_graph(folder, "id,label\n0,p\n1,q\n2,p\n")
    np.savez_compressed(folder / "features.npz", np.zeros((3, 13_000_000)))
    return cost(lambda: load_graph(folder))


@case("C15", "Parquet of some KB with 30 million equal rows", QUICK, apart=True)
def _(folder: Path) -> object:
    import pyarrow as pa
    from pyarrow import parquet

    csv_graph(folder, "id,label\n0,p\n1,q\n2,p\n")
    (folder / "nodes.csv").unlink()
    same = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10_000_000, np.int32)), pa.array(["a" * 40]))
    parquet.write_table(pa.table({"id": same, "label": same}), folder / "nodes.parquet", compression="zstd")
    del same
    return cost(lambda: load_graph(folder))


command("C15", "a FIFO as nodes.csv", r"^(?!.*TRACEBACK)exit 2: ",
        "rm g/nodes.csv; mkfifo g/nodes.csv; timeout 20 portgnn train --dataset g --split random:1:1")  # fmt: skip
command(
    "C15", "a FIFO as --config", r"^(?!.*TRACEBACK)exit 2: ", "mkfifo c.toml; timeout 20 portgnn train --config c.toml"
)


def served(handle: Callable[[Any], None]) -> tuple[socketserver.TCPServer, str]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            with contextlib.suppress(OSError):
                handle(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}/x.bin"


def fetched(folder: Path, handle: Callable[[Any], None]) -> str:
    """What the fetching of a file of at most 2 seconds says of a server."""
    from portgnn.datasets.download import FileSpec, fetch

    os.environ.update(PORTGNN_CACHE=str(folder / "cache"), PORTGNN_OFFLINE="")
    data = os.environ.pop("PORTGNN_DATA", None)
    server, url = served(handle)
    spec = FileSpec("x.bin", f"sha256:{hashlib.sha256(b'abc').hexdigest()}", (url,), "f", 1000, total_timeout=2.0, tries=1,
                    plain_http_hosts=("127.0.0.1",))  # fmt: skip
    start = time.perf_counter()
    try:
        found = f"got {fetch(spec, deadline=time.monotonic() + 30).read_bytes()!r}"
    except Exception as error:
        found = f"{type(error).__name__}: {error!s}"
    finally:
        server.shutdown()
        os.environ.pop("PORTGNN_CACHE")
        if data is not None:
            os.environ["PORTGNN_DATA"] = data
    took = time.perf_counter() - start
    raw = "ESCAPE CODES " if "\x1b" in found else ""
    return f"{raw}{found.replace(url, 'URL')[:250]!r} after {'its 2 s' if took < 6 else f'{took:.0f} s'}"


def dawdling(piece: bytes, beginning: bytes = b"HTTP/1.1 200 OK\r\nX: ") -> Callable[[Any], None]:
    def handle(request: Any) -> None:
        request.sendall(beginning)
        for _ in range(24):
            request.sendall(piece)
            time.sleep(0.5)

    return handle


@case("C16", "a server that sends a byte of its headers every 0.5 s", r"timed out.*after its 2 s")
def _(folder: Path) -> object:
    return fetched(folder, dawdling(b"a"))


@case("C16", "a server that says 100 Continue without end", r"timed out.*after its 2 s")
def _(folder: Path) -> object:
    return fetched(folder, dawdling(b"HTTP/1.1 100 Continue\r\n\r\n", b""))


@case("C16", "a server whose words hold escape codes", r"^(?!ESCAPE).*503")
def _(folder: Path) -> object:
    words = b"HTTP/1.1 503 \x1b]0;owned\x07\r\nContent-Length: 0\r\n\r\n"
    return fetched(folder, lambda request: request.sendall(words))


@case("C16", "a link at the part's name", r"^untouched, .*got b'abc'")
def _(folder: Path) -> object:
    (folder / "precious").write_text("mine")
    (folder / "cache" / "f").mkdir(parents=True)
    for name in (".x.bin.part", f".x.bin.{os.getpid()}.part", "x.bin.part"):
        (folder / "cache" / "f" / name).symlink_to(folder / "precious")
    said = fetched(folder, lambda request: request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"))
    return f"{'untouched' if (folder / 'precious').read_text() == 'mine' else 'OVERWRITTEN'}, {said}"


command("C16", "class and folder names with escape codes", r"^exit 0: (?!.*\x1b)",
        "sed -i \"s/,p,/,\x1b]0;owned\x07,/\" g/nodes.csv; mv g $'g\\e[31m';"
        " portgnn train --dataset $'g\\e[31m' --split random:1:1 --epochs 2 --save m &&"
        " portgnn predict m --dataset $'g\\e[31m'", last=9)  # fmt: skip
command("C16", "predict --out p.csv with a class named =HYPERLINK(...)", r"'=HYPERLINK",
        "sed -i 's/,p,/,=HYPERLINK(1),/' g/nodes.csv; portgnn train --dataset g --split random:1:1 --epochs 2 --save m"
        " >/dev/null; portgnn predict m --dataset g --out p.csv >/dev/null; head -3 p.csv", last=3)  # fmt: skip
command("C17", "two processes on one checkpoint", r"exit 2: .*(in use|hold|writ|another)",
        "portgnn train --dataset karate --epochs 200000 --patience 0 --every 1 --checkpoint c >/dev/null 2>&1 & p=$!;"
        " while [ ! -e c ]; do sleep 0.05; done; portgnn train --resume c --epochs 200001; s=$?; kill $p; wait $p; exit $s")  # fmt: skip


@case("C17", "convert: fsync before the rename", r"^(?!0 )\d+ flushed")
def _(folder: Path) -> object:
    flushed = []
    real = os.fsync
    os.fsync = lambda handle: flushed.append(real(handle))
    try:
        try:
            from portgnn.disk.folder import write_graph
        except ImportError:  # 0.1
            from portgnn.outofcore import write_graph

        write_graph(load_graph("karate"), folder / "k.graph")
    finally:
        os.fsync = real
    return f"{len(flushed)} flushed of {len(list((folder / 'k.graph').iterdir()))} files"


FORK = """
import multiprocessing, portgnn
portgnn.train("karate", backend="{name}", device="cpu", epochs=2)
def work(queue):
    try:
        queue.put(portgnn.train("karate", backend="{name}", device="cpu", epochs=2).test_accuracy)
    except Exception as error:
        queue.put(f"{{type(error).__name__}}: {{error}}")
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=work, args=(queue,), daemon=True)
child.start()
import queue as q
try:
    print(str(queue.get(timeout=25))[:300].replace(chr(10), " "))
except q.Empty:
    print("no answer within 25 s")
child.kill()
"""

for _name in ("torch", "mlx", "jax"):

    def _forked(folder: Path, name: str = _name) -> object:
        done = subprocess.run(
            [sys.executable, "-c", FORK.format(name=name)], capture_output=True, text=True, timeout=90
        )
        return " ".join((done.stdout or done.stderr[-200:]).split())

    case("C17", f"a fork after {_name} was used", "BackendError: .*spawn")(_forked)
