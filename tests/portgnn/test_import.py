"""The promises about imports: what loads what, and that nothing in portgnn/ knows a backend."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import portgnn
from portgnn.protocol import Capabilities

LIBRARY = Path(portgnn.__file__).parent
SOURCES = sorted(LIBRARY.rglob("*.py"))
FRAMEWORKS = ("torch", "mlx", "jax", "cupy", "tensorflow")
ADAPTERS = {point.name for point in entry_points(group="portgnn.backends")}

# Strings that hold a backend's name and are no knowledge of it: (file, the string's part) -> why.
ADMITTED = {
    ("cli/_examples.py", "export karate.safetensors --to torch"): "what users type; exporters are found by their name",
    ("cli/_inside.py", "torch|pyg|onnx|state-dict"): "the same",
    ("datasets/_catalog.py", "Bilot 2023, mlx-GCN"): "the title of a repository whose split it is",
    ("datasets/_linqs.py", "mlx-GCN"): "the same",
    ("graphs/_conversion.py", "torch"): "what objects of PyG and DGL are made of, loaded when a user asks for one",
    ("verification/_verbs.py", "Switch it off (MLX: "): "tells the reader what to type; nothing branches on it",
}


def _run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | environment
    )
    return done.stdout


def _modules_after(code: str) -> set[str]:
    return set(json.loads(_run(f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))")))


def test_import_loads_neither_a_framework_nor_a_slow_library() -> None:
    loaded = _modules_after("import portgnn")
    for name in (
        *FRAMEWORKS,
        "numpy",
        "scipy",
        "scipy.sparse",
        "typer",
        "rich",
        "requests",
        "platformdirs",
        "safetensors",
    ):
        assert name not in loaded, name


def test_training_on_the_embedded_backend_loads_no_framework() -> None:
    loaded = _modules_after("import portgnn; portgnn.train('karate', epochs=2)")
    for name in (*FRAMEWORKS, "typer", "rich", "requests", "platformdirs", "safetensors", "scipy.sparse.csgraph"):
        assert name not in loaded, name


@pytest.mark.parametrize("framework", ["torch", "mlx"])
def test_one_framework_does_not_load_another(framework: str) -> None:
    loaded = _modules_after(f"import portgnn; portgnn.train('karate', backend={framework!r}, device='cpu', epochs=1)")
    assert framework in loaded
    for name in FRAMEWORKS:
        assert name == framework or name not in loaded, name


def test_import_writes_no_file(tmp_path: Path) -> None:
    folders = {"HOME": "home", "XDG_CACHE_HOME": "cache", "PORTGNN_CACHE": "own", "TMPDIR": "tmp"}
    for folder in folders.values():
        (tmp_path / folder).mkdir()
    environment = {name: str(tmp_path / folder) for name, folder in folders.items()}
    code = f"import os; os.chdir({str(tmp_path)!r}); import portgnn; portgnn.train; portgnn.load_graph('karate')"
    _run(code, PYTHONDONTWRITEBYTECODE="1", **environment)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_import_is_quick() -> None:
    def seconds(code: str) -> float:
        start = time.perf_counter()
        _run(code)
        return time.perf_counter() - start

    # The least of several: other processes only ever add to it.
    assert min(seconds("import portgnn") for _ in range(5)) < 0.3


def test_lazy_names_are_all_there() -> None:
    for name in portgnn.__all__:
        assert getattr(portgnn, name) is not None
        assert name in dir(portgnn)
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        portgnn.nonesuch  # noqa: B018


def _docstrings(tree: ast.AST) -> set[ast.AST]:
    """String statements: docstrings, and the notes below fields."""
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def _imports(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_no_source_knows_a_backend(path: Path) -> None:
    where = str(path.relative_to(LIBRARY))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    forbidden = {*FRAMEWORKS, *(f"portgnn_{name}" for name in ADAPTERS)}
    assert not _imports(tree) & forbidden
    # The embedded backend is the default and the reference, and may be named; the others may not.
    names = re.compile(rf"\b(?:portgnn_)?({'|'.join(sorted({*FRAMEWORKS, *ADAPTERS} - {'numpy'}))})\b")
    prose = _docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose:
            admitted = any(file == where and part in node.value for file, part in ADMITTED)
            assert admitted or not names.search(node.value), f"{where}:{node.lineno} names a backend: {node.value!r}"
        if isinstance(node, ast.Compare):
            _check_comparison(node, where)


def _check_comparison(node: ast.Compare, where: str) -> None:
    """No `backend == …`, `backend.name in (…)` or `name == "numpy"`."""
    sides: list[Any] = [node.left, *node.comparators]
    asked = any(ast.unparse(side) in ("backend", "on", "backend.name", "on.name") for side in sides)
    texts = [part.value for side in sides for part in ast.walk(side) if isinstance(part, ast.Constant)]
    contains = all(isinstance(op, ast.In | ast.NotIn) for op in node.ops) and isinstance(node.left, ast.Constant)
    fault = f"{where}:{node.lineno} asks which backend it runs on: {ast.unparse(node)}"
    assert contains or not (asked and any(isinstance(text, str) for text in texts)), fault
    assert not ADAPTERS & {text for text in texts if isinstance(text, str)}, fault


@pytest.mark.parametrize(
    "planted",
    [
        "import torch",
        "from mlx.core import array",
        "from portgnn_torch import TorchBackend",
        "x = 'torch'",
        "x = f'the mlx backend {1}'",
        "if backend.name == 'cuda': pass",
        "if on == 'numpy': pass",
        "if name == 'numpy': pass",
        "if backend.name in ('gpu', 'npu'): pass",
        "if name in {'numpy'}: pass",
    ],
)
def test_the_scan_finds_what_is_planted(planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "module.py"
    path.write_text(f'"""torch, mlx and jax may stand in prose."""\n{planted}\n')
    monkeypatch.setitem(globals(), "LIBRARY", tmp_path)
    with pytest.raises(AssertionError):
        test_no_source_knows_a_backend(path)


def test_what_is_admitted_is_still_there() -> None:
    for (file, part), reason in ADMITTED.items():
        assert part in (LIBRARY / file).read_text(encoding="utf-8"), f"{file} no longer holds {part!r}: {reason}"


def test_what_a_backend_says_of_itself_is_asked() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
    assert [field.name for field in fields(Capabilities) if f"capabilities.{field.name}" not in sources] == []


def test_modules_stay_short() -> None:
    lengths = {str(path.relative_to(LIBRARY)): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
