"""Every hyperparameter of a run in one frozen record: those of training here, those of its network from the network."""

from __future__ import annotations

from dataclasses import MISSING, Field, asdict, dataclass, field, fields, make_dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_type_hints

from portgnn import _weights
from portgnn.errors import ConfigError
from portgnn.hyperparameters import (
    DATA,
    EXECUTION,
    LINKS,
    NETWORK,
    NOT_NEGATIVE,
    POSITIVE,
    RATE,
    SHARE,
    TRAINING,
    Bounds,
    Hyperparameter,
    check,
    hyperparameter,
    hyperparameters,
    is_hyperparameter,
    plain_number,
)
from portgnn.models import NETWORKS, name_of, network_class
from portgnn.models.layer import hops_of
from portgnn.models.network import Network
from portgnn.optimization import Optimization, check_optimization
from portgnn.text import shown

Stopping = Literal["window", "patience"]
FeatureRule = Literal["auto", "row", "standardize", "none"]
FeatureForm = Literal["auto", "sparse", "dense"]
AdjacencyForm = Literal["auto", "csr", "dense"]
Rows = Literal["auto", "needed", "all"]
Readout = Literal["auto", "none", "sum", "mean", "max", "attention"]
Loader = Literal["full", "neighbor", "cluster"]
TaskName = Literal["auto", "classes", "link", "labels", "regression"]
Decoder = Literal["dot", "mlp", "bilinear"]
ErrorLoss = Literal["squared", "absolute", "huber"]

_EPOCHS = (Bounds("at least 1", least=1), Bounds("below 2**32: dropout counts epochs in 32 bits", below=2**32))
_PATIENCE = (Bounds("0 (never stop early) or more", least=0), Bounds("below 2**32", below=2**32))
_WIDTH = (Bounds("at least 1", least=1), Bounds("below 2**31, which is what an index can count", below=2**31))
_PART = (Bounds("at least 0 and below 1", least=0, below=1),)
_SEED = (Bounds("a seed of 0 or more, or -1", least=-1), Bounds("below 2**63", below=2**63))
_HITS = (Bounds("0 or more", least=0), Bounds("below 2**31", below=2**31))
_NEGATIVES = (Bounds("0 (every pair at once) or more", least=0), Bounds("below 2**31", below=2**31))
_BATCH = (Bounds("at least 1", least=1), Bounds("below 2**31", below=2**31))


def _is_count(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) < 20 and 0 < int(word) < 2**31


def _as_rule(given: Any) -> Any:
    """A rule for features as a recipe has it: older files and code have True and False."""
    plain = plain_number(given)
    return ("row" if plain else "none") if isinstance(plain, bool) else given


def _as_text(fanout: Any) -> Any:
    """One number, or a list, tuple or array of numbers and "all", as a recipe keeps them.

    Raises ConfigError for anything else.
    """
    listed = fanout.tolist() if hasattr(fanout, "tolist") else fanout
    words = [plain_number(each) for each in (listed if isinstance(listed, list | tuple) else [listed])]
    counts = [type(each) is int and 0 < each < 2**31 for each in words]
    if words and all(count or each == "all" for count, each in zip(counts, words, strict=True)):
        return ",".join(map(str, words))
    words = fanout.split(",") if isinstance(fanout, str) else [""]
    if not all(word.strip() == "all" or _is_count(word.strip()) for word in words):
        written = shown(fanout, 80)
        raise ConfigError(f'fanout={written} must be numbers above 0 and below 2**31, or "all", as in 15,10 or all')
    return fanout


def _as_columns(given: Any) -> Any:
    """Names of columns, with commas between, of a text or a list of texts."""
    names = given.split(",") if isinstance(given, str) else given
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"target={shown(given, 80)} must be names of columns, as in price or rain,snow")
    return ",".join(name.strip() for name in names)


def _as_monitor(name: Any) -> Any:
    if not isinstance(name, str) or not name.startswith("val_"):
        raise ConfigError(f"monitor={shown(name, 80)} must be val_loss, or val_ and a metric: val_accuracy")
    return name


_FORMS = {
    "normalize_features": _as_rule,
    "fanout": _as_text,
    "class_weights": _weights.as_text,
    "monitor": _as_monitor,
    "target": _as_columns,
}
"""What is made of some values before they are checked."""


def alone(name: str, value: Any) -> Any:
    """The value of a hyperparameter of training as a recipe has it, whatever the others are. Raises ConfigError."""
    return hyperparameters(Config)[name].checked(_FORMS[name](value) if name in _FORMS else value)


@dataclass(frozen=True)
class Config(Optimization):
    """All hyperparameters of one run. Raises ConfigError for a value that cannot be used.

    `Config(model="gat", heads=4, epochs=100)` has the fields of that network beside those below; model is a name, or a
    class. The records of each network are a class of their own, made by `config_of`.

    Those of its optimizer are in `portgnn.optimization`. A field added here or there is an option of the command line,
    a key of configuration files, an argument of `portgnn.train` and a parameter of the estimator; the docstring below
    a field says what its help has no room for.
    """

    network_class: ClassVar[type[Network]]

    preset: str = "kipf"
    model: Any = "gcn"
    """The name of the network, or "package.module:Class"."""
    normalize_features: FeatureRule = hyperparameter(
        "auto", "Divide each row of the features by its sum, or standardize columns (auto: see the docs).", DATA,
        names=("normalize", "normalise_features"),
    )  # fmt: skip
    """"row": divide each row of the features by its sum; "standardize": give each column mean 0 and standard
    deviation 1 over all nodes of the training graph; "none": leave them as they are; "auto": "row" where no feature is
    negative, else "none". True and False, as older files and code have it, are "row" and "none"."""
    task: TaskName = hyperparameter(
        "auto", "What the network is trained for (auto: what the labels are).", TRAINING, names=("objective",)
    )
    """"classes": one class a node; "labels": several labels a node, each 0 or 1; "regression": values; "link": which
    pairs of nodes an edge joins."""
    target: str = hyperparameter(
        "", "Columns of the nodes that are what to learn, in place of the label: names, with commas between.", DATA,
        names=("targets",),
    )  # fmt: skip
    """Each holds 0 and 1, for several labels, or numbers, for a regression; empty where unknown."""
    loss: ErrorLoss = hyperparameter(
        "squared", "What a regression minimises: the square, the size, or Huber's function of the error.", TRAINING,
        names=("criterion",),
    )  # fmt: skip
    huber_delta: float = hyperparameter(
        1.0, "From which error on Huber's function is a line, in units of the standardized targets.", TRAINING,
        bounds=POSITIVE, names=("delta",),
    )  # fmt: skip
    standardize_targets: bool = hyperparameter(
        True, "Learn values by their distance from the training nodes' mean, in deviations.", TRAINING
    )
    class_weights: str = hyperparameter(
        "none", "What classes weigh in the loss: none, balanced, or NAME=WEIGHT,NAME=WEIGHT.", TRAINING,
        names=("class_weight",),
    )  # fmt: skip
    """"balanced": each class as much as any other; of several labels, having one as much as not having it. A dictionary
    of names and weights in Python; what is not named weighs 1."""
    label_smoothing: float = hyperparameter(
        0.0, "Share of the truth that is spread evenly over all classes.", TRAINING, bounds=RATE
    )
    readout: Readout = hyperparameter(
        "auto", "How a graph of a set is read off its nodes (auto: their sum; of single nodes: none).", TRAINING,
        names=("pooling", "pool"),
    )  # fmt: skip
    """"sum", "mean", "max" of the last layer's rows, or "attention": weighted by a softmax over one more column."""
    l2: float = hyperparameter(
        5e-4, "Penalty l2/2 * |W0|^2 on the first layer's weight, part of the loss.", TRAINING, bounds=NOT_NEGATIVE,
        names=("l2_reg",),
    )  # fmt: skip
    epochs: int = hyperparameter(
        200, "Epochs at most.", TRAINING, bounds=_EPOCHS, names=("n_epochs", "num_epochs", "max_epochs", "max_iter")
    )
    stopping: Stopping = hyperparameter(
        "window",
        "Stop when the validation loss exceeds its mean over a window, or when patience has run out.",
        TRAINING,
    )
    """"window": stop when the validation loss exceeds its mean over the `patience` epochs before;
    "patience": stop when it has not improved for `patience` epochs."""
    patience: int = hyperparameter(
        10, "Epochs of the window or of the patience; 0 never stops early.", TRAINING, bounds=_PATIENCE,
        names=("early_stopping",),
    )  # fmt: skip
    stop_after: float = hyperparameter(
        0.0, "Share of the epochs before which training does not stop.", TRAINING, bounds=SHARE
    )
    monitor: str = hyperparameter(
        "val_loss", "What stops training and says which epoch is the best: val_loss, or val_ and a metric.", TRAINING
    )
    restore_best: bool = hyperparameter(False, "Return the parameters of the best epoch.", TRAINING)
    undirected: bool = hyperparameter(
        True, "Let every edge count in both directions, or keep the directions of the data.", DATA, off="--directed"
    )
    """All three sources train on undirected graphs."""
    embedding: int = hyperparameter(
        16, "Width of the nodes' embeddings, the network's output.", LINKS, bounds=_WIDTH, names=("embedding_dim",)
    )
    decoder: Decoder = hyperparameter(
        "dot", "What scores a pair: the dot product of its embeddings, an MLP of their product, or z W z'.", LINKS
    )
    """"dot": Kipf & Welling 2016; "mlp": one hidden layer, as wide as an embedding, on the product number by number;
    "bilinear": a matrix between the two, so that the directions of a pair differ."""
    link_val: float = hyperparameter(
        0.05, "Share of the edges that is held out for validation.", LINKS, bounds=_PART, names=("val_ratio",)
    )
    link_test: float = hyperparameter(
        0.1, "Share of the edges that is held out for the test.", LINKS, bounds=_PART, names=("test_ratio",)
    )
    link_apart: float = hyperparameter(
        0.0, "Share of the training edges that is asked for and carries no messages (0: all do both).", LINKS,
        bounds=_PART, names=("disjoint_train_ratio",),
    )  # fmt: skip
    link_seed: int = hyperparameter(
        -1, "Seed of the split of edges and of its negative pairs (-1: the run's).", LINKS, bounds=_SEED
    )
    negatives: int = hyperparameter(
        1, "Negative pairs a training edge, drawn anew each epoch (0: every pair, in one step).", LINKS,
        bounds=_NEGATIVES, names=("neg_sampling_ratio", "num_negatives"),
    )  # fmt: skip
    hits_k: int = hyperparameter(
        0, "K of Hits@K (0: 10, or all negative pairs where there are fewer).", LINKS, bounds=_HITS, names=("k",)
    )
    features: FeatureForm = hyperparameter("auto", "Form in which the features are stored.", EXECUTION)
    adjacency: AdjacencyForm = hyperparameter("auto", "Form in which the adjacency is stored.", EXECUTION)
    rows: Rows = hyperparameter(
        "auto", "Compute the rows that the loss reads, or all (auto: all where it reads most).", EXECUTION
    )
    """"needed": the same numbers for less work; "all": every node's, as most libraries compute them; "auto": "needed",
    but on a large graph all nodes wherever the loss reads most of them, so that nothing is cut out for little."""
    loader: Loader = hyperparameter(
        "full", "Train on all nodes at once, on sampled neighbourhoods, or on clusters of nodes.", EXECUTION,
        names=("sampler",),
    )  # fmt: skip
    """"full": one step an epoch over all training nodes; "neighbor": steps over sampled neighbourhoods
    (Hamilton et al. 2017); "cluster": steps over parts of the graph (Chiang et al. 2019)."""
    batch_size: int = hyperparameter(
        512, "Training nodes of a sampled batch; nodes of a cluster batch; graphs of a batch of a set.", EXECUTION,
        bounds=_BATCH,
        names=("batchsize",),
    )  # fmt: skip
    fanout: str = hyperparameter(
        "15,10", "Neighbours sampled a node, from the output layer back: numbers or all.", EXECUTION,
        names=("num_neighbors", "fanouts"),
    )  # fmt: skip
    """One number a layer, each a number or "all"; one number stands for all layers."""

    if TYPE_CHECKING:

        def __init__(self, **values: Any) -> None: ...

        def __getattr__(self, name: str) -> Any:
            """The network's own hyperparameters."""

    def __new__(cls, *positional: Any, **values: Any) -> Config:
        if cls is Config:
            cls = config_of(network_class(values.get("model", "gcn")))
        made: Config = object.__new__(cls)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (asdict(self) | {"model": type(self).network_class},)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", name_of(type(self).network_class))
        for name, form in _FORMS.items():
            object.__setattr__(self, name, form(getattr(self, name)))
        check(self)
        check_optimization(self)
        network = self.network  # whose own rules may join several values
        words = self.fanout.split(",")
        layers = network.built(1, 1) if self.loader == "neighbor" or self.adjacency == "dense" else ()
        if self.loader == "neighbor" and len(words) not in (1, hops_of(layers)):
            raise ConfigError(
                f"fanout={self.fanout!r} names {len(words)} layers, and the network has {hops_of(layers)}; "
                "give one number, or one for each layer"
            )
        if self.adjacency == "dense" and any(layer.along == "edges" for layer in layers):
            raise ConfigError(f"{self.model} computes something for each edge; leave --adjacency dense out")
        if self.loader != "full" and not network.prunable:
            raise ConfigError(
                f"rows of this {self.model} depend on each other, and it trains on the whole graph at once; leave "
                f"--loader {self.loader} out, or take --norm layer"
            )

    def with_(self, **values: Any) -> Config:
        """The record with some values replaced: `dataclasses.replace`, which knows no network's fields to mypy."""
        changed: Config = replace(self, **values)
        return changed

    def fanouts(self, hops: int) -> tuple[int | None, ...]:
        """Neighbours sampled for the outputs of each layer with edges, the first's first; None for all of them."""
        numbers = [None if word.strip() == "all" else int(word) for word in self.fanout.split(",")]
        return tuple(reversed(numbers * hops if len(numbers) == 1 else numbers))

    @property
    def targets(self) -> tuple[str, ...]:
        """The names in `target`."""
        return tuple(self.target.split(",")) if self.target else ()

    @cached_property
    def network(self) -> Network:
        """The network that the recipe trains."""
        kind = type(self).network_class
        return kind(**{name: getattr(self, name) for name in network_hyperparameters(kind)})

    def stops(self, val_loss: list[float]) -> bool:
        """Whether training ends after the last epoch of this history of validation losses."""
        epoch = len(val_loss) - 1
        if not self.patience or epoch < int(self.stop_after * self.epochs):
            return False
        if self.stopping == "patience":
            best = min(range(len(val_loss)), key=val_loss.__getitem__)
            return epoch - best >= self.patience
        if epoch <= self.patience:
            return False
        before = val_loss[-(self.patience + 1) : -1]
        return val_loss[-1] > sum(before) / len(before)


def _remade(values: dict[str, Any]) -> Config:
    return Config(**values)


@cache
def config_of(kind: type[Network]) -> type[Config]:
    """The record of a network's runs. Raises ConfigError where a hyperparameter of the network cannot be one."""
    own, training = network_hyperparameters(kind), {each.name: each for each in fields(Config)}
    twice = sorted(set(own) & set(training))
    if twice:
        raise ConfigError(f"{name_of(kind)}.{twice[0]} has the name of a hyperparameter of training; give it another")
    declared = {each.name: each for each in fields(kind)}
    hints = get_type_hints(kind)
    added = [(name, hints[name], _field(declared[name], one)) for name, one in own.items()]
    made: Any = make_dataclass("Config", added, bases=(Config,), frozen=True, namespace={"network_class": kind})
    made.__module__, made.__doc__ = Config.__module__, Config.__doc__
    # In the order in which people read them: the network's come before those of training.
    order = dict.fromkeys(("preset", "model", *own, *training))
    made.__dataclass_fields__ = {name: made.__dataclass_fields__[name] for name in order}
    found: type[Config] = made
    return found


def _field(declared: Field[Any], one: Hyperparameter) -> Any:
    if is_hyperparameter(declared):
        return field(default=declared.default, metadata=declared.metadata)
    return hyperparameter(one.default, one.help, one.group)


@cache
def network_hyperparameters(kind: type[Network]) -> dict[str, Hyperparameter]:
    """Those that a network declares: fields made by `hyperparameter`, and plain ones with a default.

    Raises ConfigError for a field without a default, or of a type that no hyperparameter has.
    """
    marked, hints = hyperparameters(kind), get_type_hints(kind)
    found = {}
    for each in fields(kind):
        if each.name in marked:
            found[each.name] = marked[each.name]
            continue
        if each.default is MISSING or hints[each.name] not in (int, float, bool, str):
            raise ConfigError(
                f"{name_of(kind)}.{each.name} needs a default, and int, float, bool or str for its type, to be a "
                "hyperparameter"
            )
        found[each.name] = Hyperparameter(each.name, hints[each.name], each.default, "", NETWORK)
    return found


@cache
def known(model: str | type[Network] | None = None) -> dict[str, Hyperparameter]:
    """All hyperparameters by name: of runs of one network, or of all that come with portgnn."""
    kinds = NETWORKS.values() if model is None else (network_class(model),)
    own = {name: one for kind in reversed(list(kinds)) for name, one in network_hyperparameters(kind).items()}
    training = hyperparameters(Config)
    order = [name for kind in kinds for name in network_hyperparameters(kind)]
    return {name: own[name] for name in dict.fromkeys(order)} | training


def networks_with(name: str) -> list[str]:
    """Which of portgnn's networks have this hyperparameter."""
    return [model for model, kind in NETWORKS.items() if name in network_hyperparameters(kind)]
