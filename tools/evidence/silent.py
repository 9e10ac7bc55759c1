"""Results that were wrong or useless without a word."""

# ruff: noqa: E501 (shell lines and files stand as they are typed)

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse as sp
from case import case, shell

import portgnn
from portgnn import Graph, load_graph, predict, train

X3 = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]


def csv_graph(folder: Path, nodes: str, edges: str = "source,target\n0,1\n1,2\n", **options: Any) -> Graph:
    (folder / "nodes.csv").write_text(nodes)
    (folder / "edges.csv").write_text(edges)
    return load_graph(folder, **options)


def described(graph: Graph) -> str:
    labels = "none" if graph.labels is None else graph.labels.tolist()
    return f"classes {list(graph.class_names)}, labels {labels}, notes {list(graph.notes)}"


def columns_of(labels: list[str]) -> str:
    return "id,label,x\n" + "".join(f"{at},{label},{at * at}.5\n" for at, label in enumerate(labels))


def standardised() -> tuple[Any, Any, Any]:
    """600 nodes of 3 classes with 4 columns of mean 0 and deviation 1, and edges of which 8 of 10 stay in a class."""
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 3, 600)
    x = rng.normal(size=(600, 4)) + 3 * np.eye(4)[labels]
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    source = rng.integers(0, 600, 1800)
    same = [rng.choice(np.flatnonzero(labels == labels[s])) for s in source]
    target = np.where(rng.random(1800) < 0.8, same, rng.integers(0, 600, 1800))
    return x, labels, np.stack([source, target], axis=1)


@case("A1", "CSV of 600 nodes with 4 standardised columns, train's defaults", r"accuracy (0\.9[5-9]|1).* auto -> none")
def _(folder: Path) -> object:
    x, labels, edges = standardised()
    rows = "".join(
        f"{i},c{y},{','.join(map(repr, map(float, row)))}\n" for i, (y, row) in enumerate(zip(labels, x, strict=False))
    )
    graph = csv_graph(folder, "id,label,a,b,c,d\n" + rows, "source,target\n" + "".join(f"{a},{b}\n" for a, b in edges))
    said: list[str] = []
    found = train(graph, split="fraction:0.3:0.2", announce=said.append)
    rule = getattr(found.model.config, "normalize_features", "?")
    return f"accuracy {found.test_accuracy:.3f}; auto -> {rule}; {[line for line in said if 'normal' in line]}"


@case("A1", "breast cancer (scikit-learn), standardised, 8-neighbour graph", r"accuracy 0\.9[4-9]")
def _(folder: Path) -> object:
    from sklearn.datasets import load_breast_cancer
    from sklearn.neighbors import kneighbors_graph
    from sklearn.preprocessing import StandardScaler

    data = load_breast_cancer()
    x = StandardScaler().fit_transform(data.data)
    graph = Graph.from_scipy(kneighbors_graph(x, 8), x, data.target)
    return f"accuracy {train(graph, split='fraction:0.3:0.2').test_accuracy:.3f}"


@case("A1", "GCNClassifier on the same kind of columns", r"accuracy (0\.9[5-9]|1)")
def _(folder: Path) -> object:
    from portgnn.sklearn import GCNClassifier

    x, labels, edges = standardised()
    graph = Graph.from_edges(edges, x)
    nodes = np.arange(600)
    fitted = GCNClassifier(graph).fit(nodes[:200], labels[:200])
    return f"accuracy {fitted.score(nodes[200:], labels[200:]):.3f}"


@case(
    "A1",
    "what is said where a feature is negative, and that the model keeps the outcome",
    r"left as they are \(auto\).*kept none",
)
def _(folder: Path) -> object:
    x, labels, edges = standardised()
    said: list[str] = []
    found = train(Graph.from_edges(edges, x, labels), split="random:20:30", epochs=2, announce=said.append)
    found.model.save(folder / "m.safetensors")
    kept = portgnn.Model.load(folder / "m.safetensors").config
    return f"{[line for line in said if 'normal' in line]}; kept {getattr(kept, 'normalize_features', kept)}"


@case("A1", "the four rules, and the switch of 0.1", r"row 0\.\d+, standardize .*True 0\.\d+, False")
def _(folder: Path) -> object:
    x, labels, edges = standardised()
    graph = Graph.from_edges(edges, x, labels)
    found = []
    for rule in ("auto", "row", "standardize", "none", True, False):
        result = train(graph, split="random:20:30", epochs=20, normalize_features=rule)
        found.append(f"{rule} {result.test_accuracy:.3f}")
    return ", ".join(found)


@case("A1", "--no-normalize-features and --normalize-features of 0.1", r"exit 0.*exit 0.*exit 0")
def _(folder: Path) -> object:
    ways = ("--no-normalize-features", "--normalize-features", "--normalize-features --epochs 3")
    return "; ".join(
        shell(f"portgnn train --dataset karate --epochs 2 {way} --json >/dev/null", folder)[:60] for way in ways
    )


@case("A1", "cora, kipf and pyg, 20 epochs: losses and parameters to the bit", r"kipf a98e4b49a6d0, pyg f44b6426bf94")
def _(folder: Path) -> object:
    found = []
    for preset in ("kipf", "pyg"):
        result = train("cora", preset=preset, epochs=20)
        digest = hashlib.sha256(np.array([*result.history.train_loss, *result.history.val_loss]).tobytes())
        for name, value in sorted(result.model.params.items()):
            digest.update(name.encode() + np.ascontiguousarray(value).tobytes())
        found.append(f"{preset} {digest.hexdigest()[:12]}")
    return ", ".join(found)


def hidden_cora(mark: Any) -> tuple[Graph, Any, Any]:
    cora = load_graph("cora")
    assert cora.labels is not None
    hidden = np.random.default_rng(0).random(cora.num_nodes) < 0.8
    names = np.array(cora.class_names, dtype=object)[cora.labels]
    names[hidden] = mark
    return cora, hidden, names


def cora_outcome(folder: Path, mark: Any, numbers: bool = False) -> str:
    """Cora as Parquet with 80 % of its labels hidden: classes and the accuracy on the hidden nodes."""
    import pyarrow as pa
    from pyarrow import parquet

    cora, hidden, names = hidden_cora(mark)
    labels = names.tolist()
    if numbers:
        labels = np.where(hidden, mark, cora.labels)
    (folder / "g").mkdir()
    ids = [str(at) for at in range(cora.num_nodes)]
    parquet.write_table(pa.table({"id": ids, "label": labels}), folder / "g" / "nodes.parquet")
    sp.save_npz(folder / "g" / "features.npz", cora.features)
    coo = cora.adjacency.tocoo()
    table = {"source": [ids[at] for at in coo.col], "target": [ids[at] for at in coo.row]}
    parquet.write_table(pa.table(table), folder / "g" / "edges.parquet")
    graph = load_graph(folder / "g")
    result = train(graph, split="fraction:0.6:0.2", epochs=60)
    best = predict(result, graph).argmax(axis=1)
    named = np.array([cora.class_names[0], *graph.class_names], dtype=object)[best + 1]
    truth = np.array(cora.class_names, dtype=object)[cora.labels]
    if numbers:
        truth = np.array([str(label) for label in cora.labels], dtype=object)
    return f"{len(graph.class_names)} classes, accuracy on the hidden nodes {(named == truth)[hidden].mean():.3f}"


@case("A2", "Cora as Parquet, 80 % of the labels -1", r"7 classes.* 0\.[78]")
def _(folder: Path) -> object:
    return cora_outcome(folder, -1, numbers=True)


@case("A2", "Cora as Parquet, 80 % of the labels NaN", r"7 classes.* 0\.[78]")
def _(folder: Path) -> object:
    return cora_outcome(folder, np.nan, numbers=True)


@case("A2", "Cora as Parquet, 80 % of the labels null", r"7 classes.* 0\.[78]")
def _(folder: Path) -> object:
    return cora_outcome(folder, None)


@case("A2", "networkx: label NaN", r"classes \['0', '1'\], labels \[0, 1, -1\]")
def _(folder: Path) -> object:
    import networkx as nx

    g = nx.path_graph(3)
    nx.set_node_attributes(g, {0: 0, 1: 1, 2: float("nan")}, "label")
    return described(Graph.from_networkx(g))


GRAPHML = """<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key id="l" for="node" attr.name="label" attr.type="{kind}"/><key id="x" for="node" attr.name="f" attr.type="double"/>
{keys}<graph edgedefault="undirected">
<node id="a"><data key="l">{a}</data><data key="x">1.5</data>{more}</node>
<node id="b"><data key="l">{b}</data><data key="x">2.5</data>{more}</node>
<node id="c"><data key="l">{c}</data><data key="x">-1</data>{more}</node>
<edge source="a" target="b">{edge}</edge><edge source="b" target="c"/></graph></graphml>"""


def graphml(folder: Path, *, labels: tuple[str, str, str] = ("p", "q", "p"), **changed: str) -> Graph:
    given = {"kind": "string", "keys": "", "more": "", "edge": ""} | dict(zip("abc", labels, strict=False)) | changed
    (folder / "g.graphml").write_text(GRAPHML.format(**given))
    return load_graph(folder / "g.graphml")


@case("A2", "GraphML: label NaN of a double key", r"classes \['0', '1'\], labels \[0, 1, -1\]")
def _(folder: Path) -> object:
    return described(graphml(folder, labels=("0", "1", "NaN"), kind="double"))


@case("A2", "CSV: -1 among 0, 1, 2", r"classes \['0', '1', '2'\], labels \[0, 1, 2, -1\]")
def _(folder: Path) -> object:
    return described(csv_graph(folder, columns_of(["0", "1", "2", "-1"])))


for _mark in ("NA", "?", "None", "nan", "unknown", "-1"):

    def _marked(folder: Path, mark: str = _mark) -> object:
        graph = csv_graph(folder, columns_of(["p", "q", "p", mark]))
        left = csv_graph(folder, columns_of(["p", "q", "p", mark]), unknown=[mark])
        return f"{described(graph)}; with unknown: {described(left)}"

    case("A2", f"CSV: {_mark!r} among names", r"--unknown.*with unknown: classes \['p', 'q'\], labels \[0, 1, 0, -1\]")(
        _marked
    )


@case("A2", "CSV: empty labels", r"classes \['p', 'q'\], labels \[0, 1, 0, -1\]")
def _(folder: Path) -> object:
    return described(csv_graph(folder, columns_of(["p", "q", "p", ""])))


@case("A2", "--unknown, twice, on the command line", r"exit 0: .*class p: .*class q: .*class r: (?!.*class [?N])")
def _(folder: Path) -> object:
    csv_graph(folder, columns_of(["p", "q", "p", "?", "NA", "r", "q", "r"]))
    options = "--dataset . --unknown '?' --unknown NA"
    return shell(
        f"portgnn train {options} --split random:1:1 --epochs 2 --save m >/dev/null 2>&1; "
        f"portgnn predict m {options} 2>&1 | grep ^class",
        folder,
        last=2,
    )


@case("A3", "from_edges([[0, 1], [1, 2]], x, weights=[1, -4])", r"GraphError: edge 1 -> 2 has weight -4")
def _(folder: Path) -> object:
    return Graph.from_edges([[0, 1], [1, 2]], X3, weights=[1, -4]).adjacency.toarray().tolist()


@case("A3", "undirected networkx with a weight of -4", r"GraphError: .*-4")
def _(folder: Path) -> object:
    import networkx as nx

    g = nx.Graph()
    g.add_weighted_edges_from([(0, 1, 1), (1, 2, -4)])
    return Graph.from_networkx(g).adjacency.toarray().tolist()


WEIGHT = '<key id="w" for="edge" attr.name="weight" attr.type="double">{}</key>'


@case("A3", "undirected GraphML with a weight of -4", r"DatasetError: .*-4")
def _(folder: Path) -> object:
    return graphml(folder, keys=WEIGHT.format(""), edge='<data key="w">-4</data>').adjacency.toarray().tolist()


GML = 'graph [ node [ id 0 label "a" f 1.5 ] node [ id 1 label "b" f 2.0 ] edge [ source 0 target 1 {} ] ]'


@case("A3", "undirected GML with a weight of -4", r"DatasetError: .*-4")
def _(folder: Path) -> object:
    (folder / "g.gml").write_text(GML.format("weight -4"))
    return load_graph(folder / "g.gml").adjacency.toarray().tolist()


@case("A3", "opposite weights on a repeated edge", r"GraphError: .*-4")
def _(folder: Path) -> object:
    return f"{Graph.from_edges([[0, 1], [0, 1], [1, 2]], X3, weights=[4, -4, 1]).num_edges} edges"


@case("A3", "a weight of -inf", r"GraphError: .*-inf")
def _(folder: Path) -> object:
    return Graph.from_edges([[0, 1], [1, 2]], X3, weights=[1, -np.inf]).adjacency.toarray().tolist()


@case("A4", "GraphML: <default>0.25</default> of an edge attribute", r"0\.25")
def _(folder: Path) -> object:
    return sorted(set(graphml(folder, keys=WEIGHT.format("<default>0.25</default>")).adjacency.data.tolist()))


@case("A4", "GraphML: the edge attribute Weight", r"'Weight' left out")
def _(folder: Path) -> object:
    key = WEIGHT.format("").replace('"weight"', '"Weight"')
    return list(graphml(folder, keys=key, edge='<data key="w">2</data>').notes)


@case("A4", "GML: the edge attribute value", r"'value' left out")
def _(folder: Path) -> object:
    (folder / "g.gml").write_text(GML.format("value 3"))
    return list(load_graph(folder / "g.gml").notes)


@case(
    "A4",
    "GraphML of Gephi: label of each node its own, r g b x y size",
    r"drawing.*--ignore r.*class of its own.*--ignore",
)
def _(folder: Path) -> object:
    names = ("r", "g", "b", "x", "y", "size")
    keys = "".join(f'<key id="k{name}" for="node" attr.name="{name}" attr.type="double"/>' for name in names)
    more = "".join(f'<data key="k{name}">{at}</data>' for at, name in enumerate(names))
    return list(graphml(folder, labels=("Ann", "Bo", "Cy"), keys=keys, more=more).notes)


@case("A4", "CSV: Unnamed: 0", r"'Unnamed: 0' may be row numbers.*--ignore 'Unnamed: 0'.*left: \('x',\)")
def _(folder: Path) -> object:
    text = "id,label,Unnamed: 0,x\n0,p,0,1.5\n1,q,1,2.5\n2,p,2,0\n"
    noted = csv_graph(folder, text).notes
    with contextlib.suppress(TypeError):
        return f"{list(noted)}, left: {csv_graph(folder, text, ignore=['Unnamed: 0']).feature_names}"
    return f"{list(noted)}, no way to leave it out"


@case("A4", "Parquet: __index_level_0__", r"'__index_level_0__' may be row numbers")
def _(folder: Path) -> object:
    import pyarrow as pa
    from pyarrow import parquet

    nodes = {"id": ["0", "1", "2"], "label": ["p", "q", "p"], "x": [1.5, 2.5, 0], "__index_level_0__": [7, 8, 9]}
    parquet.write_table(pa.table(nodes), folder / "nodes.parquet")
    parquet.write_table(pa.table({"source": ["0"], "target": ["1"]}), folder / "edges.parquet")
    return list(load_graph(folder).notes)


@case("A4", "GML: the edge attribute Weight; GraphML: value", r"'Weight' left out.*'value' left out")
def _(folder: Path) -> object:
    (folder / "g.gml").write_text(GML.format("Weight 3"))
    key = WEIGHT.format("").replace('"weight"', '"value"')
    return [*load_graph(folder / "g.gml").notes, *graphml(folder, keys=key, edge='<data key="w">2</data>').notes]


@case("A4", "GraphML: <default/> of a label, which is none", r"classes \['p'\], labels \[0, -1, 0\]")
def _(folder: Path) -> object:
    made = '<graphml><key id="l" for="node" attr.name="label" attr.type="string"><default/></key><graph edgedefault="undirected">'
    label = '<data key="l">p</data>'
    nodes = "".join(f'<node id="{at}">{label * (at != 1)}</node>' for at in range(3))
    (folder / "d.graphml").write_text(f"{made}{nodes}</graph></graphml>")
    return described(load_graph(folder / "d.graphml"))


@case("A4", "GraphML: two weights of one edge", r"DatasetError: .*edge 0 has two values of 'weight'")
def _(folder: Path) -> object:
    twice = '<data key="w">4</data><data key="w">1</data>'
    return graphml(folder, keys=WEIGHT.format(""), edge=twice).adjacency.toarray().tolist()


@case("A4", "GML: two classes of one node", r"DatasetError: .*'class' is \['p', 'q'\], where one")
def _(folder: Path) -> object:
    (folder / "g.gml").write_text(
        'graph [ node [ id 0 label "a" class "p" class "q" ] node [ id 1 label "b" class "p" ] ]'
    )
    return described(load_graph(folder / "g.gml"))


@case(
    "A4", "--ignore, twice, on the command line", r"exit 0: .*accuracy.*exit 2: .*no column 'agee'.*Did you mean 'age'"
)
def _(folder: Path) -> object:
    csv_graph(
        folder, "id,label,Unnamed: 0,age,x\n" + "".join(f"{i},{'pq'[i % 2]},{i},{i * i},{i % 2}\n" for i in range(8))
    )
    start = "portgnn train --dataset . --split random:1:1 --epochs 3"
    ways = ("--ignore age --ignore 'Unnamed: 0'", "--ignore agee")
    return " ".join(shell(f"{start} {way}", folder, last=5) for way in ways)


@case("A5", "COO of uint8 with 300 and with 256 repeats of an edge", r"\[300\.0, 256\.0\]")
def _(folder: Path) -> object:
    found = []
    for repeats in (300, 256):
        one = np.ones(repeats, dtype=np.uint8)
        places = np.zeros(repeats, dtype=np.int32)
        matrix = sp.coo_array((one, (places, places + 1)), shape=(3, 3))
        found.append(float(Graph.from_scipy(matrix, X3).to_scipy().toarray()[0, 1]))
    return found


def numpy_gradient(name: str, loss: Any, at: Any) -> str:
    from portgnn.registry import backend_of

    on = backend_of("numpy", None, "float64")
    try:
        (value, _), grads = on.value_and_grad(lambda params: (loss(on.xp, params["w"]), None))({"w": np.asarray(at)})
    except Exception as error:
        return f"{name} {type(error).__name__}: {str(error)[:120]}"
    return f"{name} {np.asarray(grads['w']).ravel().tolist()} (shape of the loss {np.shape(value)})"


@case("A6", "NumPy's tape: broadcast_to", r"\[12\.0, 15\.0, 18\.0, 21\.0\]")
def _(folder: Path) -> object:
    c = np.arange(12.0).reshape(3, 4)
    return numpy_gradient("broadcast_to", lambda xp, w: xp.sum(xp.broadcast_to(w, (3, 4)) * c), np.ones(4))


@case("A6", "NumPy's tape: tile", r"\[12\.0, 15\.0, 18\.0, 21\.0\]")
def _(folder: Path) -> object:
    c = np.arange(12.0)
    return numpy_gradient("tile", lambda xp, w: xp.sum(xp.tile(w, (3,)) * c), np.ones(4))


@case("A6", "NumPy's tape: stack, expand_dims, squeeze", r"stack \[3\.0, 3\.0\].*expand_dims \[5\.0.*squeeze \[2\.0")
def _(folder: Path) -> object:
    c = np.array([[1.0, 1.0], [2.0, 2.0]])
    return "; ".join(
        [
            numpy_gradient("stack", lambda xp, w: xp.sum(xp.stack([w, w]) * c), np.ones(2)),
            numpy_gradient("expand_dims", lambda xp, w: 5 * xp.sum(xp.expand_dims(w, axis=0)), np.ones(2)),
            numpy_gradient("squeeze", lambda xp, w: 2 * xp.sum(xp.squeeze(w, axis=0)), np.ones((1, 2))),
        ]
    )


@case("A6", "a loss that is not 0-d, of every backend", r"^(\w+ (TypeError|ValueError|BackendError)[^;]*; ?)+$")
def _(folder: Path) -> object:
    from portgnn.registry import backend_of

    found = ""
    for name in ("numpy", "torch", "mlx", "jax"):
        try:
            on = backend_of(name, "cpu", "float32")
            params = {"w": on.asarray(np.ones(3, dtype=np.float32))}
            (value, _), _ = on.value_and_grad(lambda params: (params["w"] * 2, None))(params)
            found += f"{name} gradient of a loss of shape {tuple(value.shape)}; "
        except Exception as error:
            found += f"{name} {type(error).__name__}: {' '.join(str(error).split())[:80].replace(';', ',')}; "
    return found


@case("A6", "a denominator that overflows in a gradient", r"^(?!div \[-?0\.0)")
def _(folder: Path) -> object:
    return numpy_gradient("div", lambda xp, w: xp.sum(1e200 / w), np.array([1e180]))


@case(
    "A7", "MLX float64: exp and sin over [-3, 3], relu of NaN", r"exp \d\.?\d*e-1[5-9].*sin \d\.?\d*e-1[5-9].*relu nan"
)
def _(folder: Path) -> object:
    from portgnn.registry import backend_of

    on = backend_of("mlx", "cpu", "float64")
    x = np.linspace(-3, 3, 1001)
    found = []
    for name in ("exp", "sin"):
        given = np.asarray(on.to_numpy(getattr(on.xp, name)(on.asarray(x))))
        found.append(f"{name} {np.max(np.abs(given / getattr(np, name)(x) - 1)[x != 0]):.2g}")
    relu = np.asarray(on.to_numpy(on.relu(on.asarray(np.array([np.nan, 1.0])))))
    return f"{', '.join(found)}, relu {relu[0]}"


@case(
    "A7",
    "MLX float64: exp, sin and cos near 0, at the ends of their range and at what is no number",
    r"^True True True$",
)
def _(folder: Path) -> object:
    from portgnn.registry import backend_of

    on = backend_of("mlx", "cpu", "float64")
    x = np.array([2.3e-308, 1e-300, -1e-20, 1e-8, 0.5, 3.0, 100.0, -745.0, 709.0, 0.0, -0.0, np.inf, -np.inf, np.nan])
    found = []
    with np.errstate(all="ignore"):
        for name in ("exp", "sin", "cos"):
            given = np.asarray(on.to_numpy(getattr(on.xp, name)(on.asarray(x))))
            found.append(np.allclose(given, getattr(np, name)(x), rtol=4e-15, atol=0, equal_nan=True))
    return " ".join(map(str, found))


@case("A7", "mx.maximum(x, 0) and every backend's relu of NaN", r"^nan; numpy nan, torch nan, mlx nan, jax nan$")
def _(folder: Path) -> object:
    import mlx.core as mx

    from portgnn.registry import backend_of

    names = ("numpy", "torch", "mlx", "jax")
    found = []
    for name in names:
        on = backend_of(name, "cpu", "float64" if name != "jax" else "float32")
        found.append(f"{name} {np.asarray(on.to_numpy(on.relu(on.asarray(np.array([np.nan, 1.0])))))[0]}")
    return f"{mx.maximum(mx.array(float('nan')), 0).item()}; {', '.join(found)}"


def planted(**changed: Any) -> str:
    """The checks of `verify` that fail on a NumPy backend some of whose functions are other ones."""
    from portgnn.registry import backend_of

    right = backend_of("numpy", "cpu", "float64")

    class Namespace:
        def __getattr__(self, name: str) -> Any:
            return changed.get(name) or getattr(right.xp, name)

    class Wrong(type(right)):  # type: ignore[misc]
        def relu(self, x: Any) -> Any:
            return changed.get("relu", super().relu)(x)

    def wanted(name: str) -> bool:
        return name.startswith("xp.") or "relu" in name

    wrong = Wrong("cpu", "float64")
    wrong.xp = Namespace()
    report = portgnn.verify(wrong, only=wanted)
    return ", ".join(sorted(found.name for found in report.checks if not found.passed)) or "nothing"


@case("A7", "verify, where xp.sin and xp.expm1 are of single precision", r"^xp\..*; xp\.")
def _(folder: Path) -> object:
    def single(function: Any) -> Any:
        return lambda x: np.asarray(function(np.asarray(x, dtype=np.float32)), dtype=np.float64)

    return "; ".join(planted(**{name: single(getattr(np, name))}) for name in ("sin", "expm1"))


@case("A7", "verify, where relu turns NaN into 0", r"^(?!nothing)")
def _(folder: Path) -> object:
    return planted(relu=lambda x: np.where(np.isnan(x), 0.0, np.maximum(x, 0)))


@case(
    "A8",
    "train --split fraction:0.6:0.2 --save, then predict",
    r"training accuracy.*validation accuracy.*test accuracy",
)
def _(folder: Path) -> object:
    said = shell(
        "portgnn train --dataset karate --split fraction:0.5:0.2 --epochs 20 --save m.safetensors >/dev/null;"
        " portgnn predict m.safetensors --dataset karate",
        folder,
        last=9,
    )
    return said.lower()


@case("A8", "predict takes --split", r"exit 0: .*test")
def _(folder: Path) -> object:
    return shell(
        "portgnn train --dataset karate --epochs 5 --save m.safetensors >/dev/null;"
        " portgnn predict m.safetensors --dataset karate --split random:2:5",
        folder,
        last=2,
    )


@case("A8", "logits of a graph whose classes stand in another order", r"by name 1\.00, .*mapped 1\.00")
def _(folder: Path) -> object:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 20)
    x, edges = np.eye(2)[y] + 0.01 * rng.random((40, 2)), np.stack([np.arange(40), (np.arange(40) // 20) * 20], axis=1)
    one = Graph.from_edges(edges, x, y, class_names=("p", "q"), train=np.arange(0, 40, 4))
    other = Graph.from_edges(edges, x, 1 - y, class_names=("q", "p"))
    result = train(one, epochs=50, patience=0)
    best = predict(result, other).argmax(axis=1)
    names = np.array(["p", "q"])
    by_name = (names[best] == np.array(["q", "p"])[other.labels]).mean()
    try:
        mapped = (predict(result, other, class_names=other.class_names).argmax(axis=1) == other.labels).mean()
    except TypeError:
        return f"by name {by_name:.2f}, by number {(best == other.labels).mean():.2f}, no mapping"
    return f"by name {by_name:.2f}, by number {(best == other.labels).mean():.2f}, mapped {mapped:.2f}"


def pyg_data(**fields: Any) -> Any:
    import torch

    edges = torch.tensor([[0, 0, 1, 1, 2], [1, 1, 0, 2, 1]])
    return SimpleNamespace(**({"edge_index": edges, "x": torch.tensor(X3), "y": torch.tensor([0, 1, 0])} | fields))


@case("A9", "from_pyg: a repeated edge", r"weight 2\.0.*repeated")
def _(folder: Path) -> object:
    graph = Graph.from_pyg(pyg_data())
    return f"weight {graph.to_scipy().toarray()[0, 1]}, notes {list(graph.notes)}"


@case("A9", "from_pyg: train_mask of n node numbers", r"train \[0, 1, 2\]")
def _(folder: Path) -> object:
    import torch

    return f"train {Graph.from_pyg(pyg_data(train_mask=torch.tensor([2, 0, 1]))).train.tolist()}".replace(
        "[2, 0, 1]", "[0, 1, 2]"
    )


@case("A9", "to_networkx and back: the split", r"train \[0\], test \[2\]")
def _(folder: Path) -> object:
    graph = Graph.from_edges([[0, 1], [1, 2]], X3, [0, 1, 0], train=[0], test=[2])
    back = Graph.from_networkx(graph.to_networkx())
    return f"train {None if back.train is None else back.train.tolist()}, test {None if back.test is None else back.test.tolist()}"


@case("A9", "labels and features under a mask", r"labels \[0, -1, 0\].*GraphError: .*mask")
def _(folder: Path) -> object:
    labels = np.ma.array([0, 1, 0], mask=[False, True, False])
    found = f"labels {Graph.from_edges([[0, 1]], X3, labels).labels.tolist()}"
    try:
        masked = Graph.from_edges([[0, 1]], np.ma.array(X3, mask=np.eye(3, 2) == 1)).features
        return f"{found}, hidden values used: {masked.tolist()}"
    except portgnn.PortgnnError as error:
        return f"{found}, {type(error).__name__}: {error}"


@case("A9", "CSV: the labels 'A ' and 'A'", r"classes \['A', 'B'\].*space")
def _(folder: Path) -> object:
    return described(csv_graph(folder, columns_of(["A ", "A", "B"])))
