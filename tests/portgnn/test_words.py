"""What portgnn says of itself: objects on one screen, dtypes by any name, notes that make sense, advice to type."""

from __future__ import annotations

import ast
import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portgnn import Graph, cli, get_backend, load_graph, predict, train, verify
from portgnn.errors import BackendError, ConfigError, GraphError
from portgnn.prediction.predict import classify
from portgnn.text import inert, original, shown

ROOT = Path(__file__).parents[2]


def test_objects_are_shown_on_one_line() -> None:
    graph = load_graph("csbm-cora")
    result = train("karate", epochs=90, patience=0)
    assert repr(graph) == str(graph)
    assert repr(graph) == (
        "Graph 'csbm-cora': 2,708 nodes, 5,278 edges, 1,433 features, 7 classes; train 140, val 500, test 1,000"
    )
    assert repr(Graph.from_edges([[0, 1]], np.eye(2), undirected=False)) == (
        "Graph 'graph': 2 nodes, 1 directed edges, 2 features, 0 classes; no split"
    )
    assert re.fullmatch(
        r"TrainResult: kipf on 'karate' \(34 nodes, 78 edges\), numpy cpu float32, seed 0: 90 epochs, best \d+, "
        r"test accuracy [01]\.\d{4}, \S+ ms/epoch",
        repr(result),
    )
    assert repr(result.model) == "Model: kipf, weight0 34x16, weight1 16x2, 2 classes, trained on 'karate'"
    assert re.fullmatch(r"History of 90 epochs: train_loss \S+ … \S+, val_loss .+", repr(result.history))
    classified = classify(result, "karate")
    scores = classified.main
    report = verify("numpy", dtype="float64", only=lambda name: name.startswith("host"))
    wide = replace(graph, name="x" * 5000, notes=("y" * 5000,) * 50)
    for each in (graph, wide, result, result.model, result.history, classified, scores, report):
        assert "\n" not in repr(each)
        assert len(repr(each)) < 400


def test_a_notebook_shows_a_graph_as_a_table() -> None:
    graph = replace(load_graph("karate"), name="<b>\x1b[31m", notes=("a note",))
    shown = graph._repr_html_()
    assert "&lt;b&gt;\\x1b[31m" in shown
    assert '<td style="text-align:left">2: instructor, officer</td>' in shown
    assert "a note" in shown
    assert len(shown) < 3000


def test_dtypes_go_by_any_objects_name() -> None:
    import ml_dtypes
    import torch

    class Foreign:
        def __str__(self) -> str:
            return "some.framework.float64"

    for dtype, name in ((np.float32, "float32"), (np.dtype("f8"), "float64"), (np.dtype(">f4"), "float32"),
                        (torch.float64, "float64"), (float, "float64"), (Foreign(), "float64")):  # fmt: skip
        assert get_backend("numpy", dtype=dtype).dtype == name
        assert train("karate", dtype=dtype, epochs=1).dtype == name
    assert get_backend("torch", device="cpu", dtype=ml_dtypes.bfloat16).dtype == "bfloat16"
    assert get_backend("torch", device="cpu", dtype=torch.bfloat16).dtype == "bfloat16"
    logits = predict(train("karate", epochs=1), "karate", dtype=np.float64)
    assert logits.dtype == np.float64
    for wrong in (np.int32, torch.int64, 32, None):
        with pytest.raises(BackendError, match="unknown dtype"):
            get_backend("numpy", dtype=wrong)


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        ("a,b,1\nb,a,2\n", "directed: 2 of 2 edges weigh something else than their way back"),
        ("a,b,1\n", "directed: 1 of 1 edges go one way"),
        ("a,b,1\nb,a,2\nb,c,1\nc,b,1\na,c,3\n",
         "directed: 1 of 5 edges go one way, 2 of 5 edges weigh something else than their way back"),
        ("a,b,1\nb,a,1\n", ""),
    ],
)  # fmt: skip
def test_the_note_on_directions_says_what_is_so(edges: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "nodes.csv").write_text("id,x\na,1\nb,2\nc,3\n")
    (tmp_path / "edges.csv").write_text("source,target,weight\n" + edges)
    notes = [note for note in load_graph(tmp_path).notes if note.startswith("directed")]
    assert notes == ([said] if said else [])


def test_bagging_says_that_it_draws_with_replacement() -> None:
    from sklearn.ensemble import BaggingClassifier

    from portgnn.sklearn import GCNClassifier

    graph = load_graph("karate")
    nodes = np.arange(34)[:, None]
    labels: Any = graph.labels
    with pytest.raises(GraphError, match=r"names node \d+ more than once.*BaggingClassifier needs bootstrap=False"):
        BaggingClassifier(GCNClassifier(graph, epochs=5), n_estimators=2, random_state=0).fit(nodes, labels)
    bagged = BaggingClassifier(
        GCNClassifier(graph, epochs=60), n_estimators=3, max_samples=0.7, bootstrap=False, random_state=0
    ).fit(nodes, labels)
    assert bagged.score(nodes, labels) > 0.8


PYTHON_ONLY = re.compile(r"with_splits|dtype='|load_graph\(|portgnn\.train\(|validation_fraction|restore_best=")
ADMITTED = {"portgnn/sklearn.py"}
"""Messages of modules that no command reaches."""


def test_advice_can_be_typed_where_it_is_read() -> None:
    """A message that names a way in Python names the option, too."""
    found = []
    for path in sorted((ROOT / "portgnn").rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and node.exc is not None and place not in ADMITTED:
                words = [
                    n.value for n in ast.walk(node.exc) if isinstance(n, ast.Constant) and isinstance(n.value, str)
                ]
                text = "".join(words)
                if PYTHON_ONLY.search(text) and "--" not in text:
                    found.append(f"{place}:{node.lineno}: {text}")
    assert not found


def test_training_without_a_split_says_what_to_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nodes.csv").write_text("id,label,x\na,1,1\nb,2,2\n")
    (tmp_path / "edges.csv").write_text("source,target\na,b\n")
    for loader in ("full", "neighbor"):
        assert cli.main(["train", "--dataset", str(tmp_path), "--loader", loader]) == 2
        assert "has no training split; give one with --split" in capsys.readouterr().err
    assert cli.main(["train", "--dataset", str(tmp_path), "--split", "fraction:0.5:0", "--epochs", "1"]) == 0


FORMULAS = ("=HYPERLINK(\"http://x\")", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "x;=1",
            "\t=1", "\r=1", "\n=1", "\0=1", "＝1+1", "'=1", "''@x", " =1", '"=1')  # fmt: skip
INNER = {"\t=1": "'\t'=1", "\r=1": "'\r'=1", "\n=1": "'\n'=1", "x;=1": "x;'=1", 'x;"=1+2;y': "x;'\"=1+2;y",
         "a\n@b": "a\n'@b", "a|-b|-5": "a|'-b|-5", "a; +b": "a;' +b", "1;'=2": "1;''=2"}  # fmt: skip
"""Of a text that no spreadsheet splits the ' stands at the beginning; of these, elsewhere too."""
HARMLESS = ("ann", "-5", "+1.5e3", "a=b", "'quoted'", "", " -5 ", "-.5", "日本", "a, -b", "1;-2;+3e5", "a - b")


def test_a_cell_is_made_inert_and_found_again() -> None:
    for text in FORMULAS:
        assert inert(text) == INNER.get(text, f"'{text}")
    for text, cell in INNER.items():
        assert inert(text) == cell
    for text in HARMLESS:
        assert inert(text) == text
    for text in (*FORMULAS, *INNER, *HARMLESS):
        assert original(inert(text)) == text


@given(st.text("=+-@;|\t\r\n\0'\" ,5a", max_size=8))
def test_no_way_to_split_a_line_makes_a_formula(text: str) -> None:
    """Read as a spreadsheet reads it that takes another character for the separator, quotes kept or not."""
    assert original(inert(text)) == text
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerow(["first", inert(text)])
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        lines = io.StringIO(file.getvalue().replace("\0", ""), newline="")
        for separator in ";|\t":
            for row in csv.reader(lines, delimiter=separator, quoting=quoting):
                for cell in row:
                    number = re.fullmatch(r'[+-]?\d+"*', cell.strip())
                    assert number or not re.match(r"\s*[=+\-@]", cell.replace('"', "")), (separator, cell)
            lines.seek(0)


def test_predictions_hold_no_formula_for_a_spreadsheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ('=HYPERLINK("http://x","y")', "@SUM(A1)")
    ids = np.array([*FORMULAS[:5], *map(str, range(-29, 0))])
    graph = replace(load_graph("karate"), class_names=names, node_ids=ids)
    from portgnn.disk.folder import write_graph

    write_graph(graph, tmp_path / "evil.graph")
    model = train(graph, epochs=2).save(tmp_path / "m.st")
    out = tmp_path / "p.csv"
    arguments = ["predict", str(model), "--dataset", str(tmp_path / "evil.graph"), "--out", str(out)]
    for options, safe in (((), True), (("--csv-safe",), True), (("--no-csv-safe",), False)):
        assert cli.main([*arguments, *options]) == 0
        head, *rows = csv.reader(io.StringIO(out.read_text(), newline=""))
        expected = [inert(text) if safe else text for text in ids]
        assert [row[0] for row in rows] == expected
        said = {row[head.index("predicted")] for row in rows}
        assert said <= {inert(name) if safe else name for name in names}
        numbers = [at for at, name in enumerate(head) if re.match("'?(probability|logit)", name)]
        assert len(numbers) == 5
        assert all(np.isfinite(float(row[at])) for row in rows for at in numbers)  # numbers stay numbers
        cells = [*head, *(cell for row in rows for at, cell in enumerate(row) if at not in numbers)]
        assert any(re.match(r"[=@]", cell) for cell in cells) != safe
        assert [original(row[0]) for row in rows] == ids.tolist()


def test_a_message_that_quotes_too_much_keeps_its_beginning_and_its_end() -> None:
    message = str(ConfigError(f"normalize_features={'x' * 9000!r} is not one of auto, row"))
    assert len(message) <= 1000
    assert message.startswith("normalize_features='xxx")
    assert message.endswith("is not one of auto, row")


# Options of pytest, torchrun, git, a compiler and a worker of the benchmark, as such; CSS writes variables so too.
FOREIGN = {
    "--pyargs", "--examples", "--nproc-per-node", "--s", "--no", "--argument", "--gpu-architecture", "--porcelain",
    "--headless", "--disable-gpu", "--no-pdf-header-footer", "--no-sandbox", "--print-to-pdf", "--user-data-dir",
}  # fmt: skip


def test_options_that_texts_name_are_there() -> None:
    from typer.main import get_command

    from portgnn.cli._app import app

    root: Any = get_command(app)
    commands = [root, *root.commands.values()]
    known = {option for command in commands for each in command.params for option in (*each.opts, *each.secondary_opts)}
    named: dict[str, str] = {}
    for path in (*(ROOT / "portgnn").rglob("*.py"), *(ROOT / "backends").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]?", node.value):
                    named[option.rstrip("-")] = f"{path.name}:{node.lineno}"
    assert len(named) > 30
    old = {"--no-normalize-features"}  # of 0.1, and taken still
    assert {option: place for option, place in named.items() if option not in known | FOREIGN | old | {"--help"}} == {}


def test_values_that_cannot_be_written_are_shown() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    assert shown("a" * 100, 11) == "'aaaa…aaaa'"
    assert (shown(10**5000), shown(Odd())) == ("a value of type int", "a value of type Odd")
    with pytest.raises(ConfigError, match="epochs=a number of 16610 bits must be"):
        train("karate", epochs=-(10**5000))
