"""Recipes: every hyperparameter of a run in one frozen record, and the named sets of them.

`kipf`     Kipf & Welling 2017 and its code tkipf/gcn (train.py, models.py, layers.py).
`pyg`      PyTorch Geometric's benchmark/citation (gcn.py, train_eval.py); Fey & Lenssen 2019.
`article`  Bilot 2023, TristanBilot/mlx-GCN, with its flaws corrected.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from portgnn.errors import ConfigError, near_matches
from portgnn.hyperparameters import (
    DATA,
    EXECUTION,
    NOT_NEGATIVE,
    POSITIVE,
    RATE,
    SHARE,
    TRAINING,
    Bounds,
    as_in,
    check,
    hyperparameter,
    hyperparameters,
    meant,
    plain_number,
)
from portgnn.models import Network, named
from portgnn.models.gcn import GCN, Bias
from portgnn.text import shown

Stopping = Literal["window", "patience"]
FeatureRule = Literal["auto", "row", "standardize", "none"]
FeatureForm = Literal["auto", "sparse", "dense"]
AdjacencyForm = Literal["auto", "csr", "dense"]
Rows = Literal["needed", "all"]
Loader = Literal["full", "neighbor", "cluster"]

_EPOCHS = (Bounds("at least 1", least=1), Bounds("below 2**32: dropout counts epochs in 32 bits", below=2**32))
_PATIENCE = (Bounds("0 (never stop early) or more", least=0), Bounds("below 2**32", below=2**32))
_BATCH = (Bounds("at least 1", least=1), Bounds("below 2**31", below=2**31))


def _is_count(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) < 20 and 0 < int(word) < 2**31


def _as_text(fanout: Any) -> Any:
    """One number, or a list, tuple or array of numbers and "all", as a recipe keeps them; anything else as it is."""
    listed = fanout.tolist() if hasattr(fanout, "tolist") else fanout
    words = [plain_number(each) for each in (listed if isinstance(listed, list | tuple) else [listed])]
    counts = [type(each) is int and 0 < each < 2**31 for each in words]
    if words and all(count or each == "all" for count, each in zip(counts, words, strict=True)):
        return ",".join(map(str, words))
    return fanout


@dataclass(frozen=True)
class Config:
    """All hyperparameters of one run. Raises ConfigError for a value that cannot be used.

    A field added here is an option of the command line, a key of configuration files, an argument of `portgnn.train`
    and a parameter of the estimator; the docstring below a field says what its help has no room for.
    """

    preset: str = "kipf"
    layers: int = as_in(GCN, "layers")
    hidden: int = as_in(GCN, "hidden")
    input_dropout: float = as_in(GCN, "input_dropout")
    dropout: float = as_in(GCN, "dropout")
    bias: Bias = as_in(GCN, "bias")
    normalize_features: FeatureRule = hyperparameter(
        "auto", "Divide each row of the features by its sum, or standardize columns (auto: see the docs).", DATA,
        names=("normalize", "normalise_features"),
    )  # fmt: skip
    """"row": divide each row of the features by its sum; "standardize": give each column mean 0 and standard
    deviation 1 over all nodes of the training graph; "none": leave them as they are; "auto": "row" where no feature is
    negative, else "none". True and False, as older files and code have it, are "row" and "none"."""
    l2: float = hyperparameter(
        5e-4, "Penalty l2/2 * |W0|^2 on the first layer's weight, part of the loss.", TRAINING, bounds=NOT_NEGATIVE,
        names=("l2_reg",),
    )  # fmt: skip
    weight_decay: float = hyperparameter(
        0.0, "L2 on every parameter, inside Adam.", TRAINING, bounds=NOT_NEGATIVE, names=("decay",)
    )
    """Added to every gradient as weight_decay * parameter; not part of the reported loss."""
    learning_rate: float = hyperparameter(0.01, "Adam's step size.", TRAINING, bounds=POSITIVE, names=("step_size",))
    beta1: float = hyperparameter(0.9, "Adam's decay of the first moment.", TRAINING, bounds=RATE)
    beta2: float = hyperparameter(0.999, "Adam's decay of the second moment.", TRAINING, bounds=RATE)
    eps: float = hyperparameter(
        1e-8, "Adam's epsilon, outside the root.", TRAINING, bounds=POSITIVE, names=("epsilon",)
    )
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
    restore_best: bool = hyperparameter(False, "Return the parameters of the lowest validation loss.", TRAINING)
    undirected: bool = hyperparameter(
        True, "Let every edge count in both directions, or keep the directions of the data.", DATA, off="--directed"
    )
    """All three sources train on undirected graphs."""
    features: FeatureForm = hyperparameter("auto", "Form in which the features are stored.", EXECUTION)
    adjacency: AdjacencyForm = hyperparameter("auto", "Form in which the adjacency is stored.", EXECUTION)
    rows: Rows = hyperparameter("needed", "Compute only the rows that the loss reads, or all.", EXECUTION)
    """"needed": the same numbers for less work; "all": every node's, as most libraries compute them."""
    loader: Loader = hyperparameter(
        "full", "Train on all nodes at once, on sampled neighbourhoods, or on clusters of nodes.", EXECUTION,
        names=("sampler",),
    )  # fmt: skip
    """"full": one step an epoch over all training nodes; "neighbor": steps over sampled neighbourhoods
    (Hamilton et al. 2017); "cluster": steps over parts of the graph (Chiang et al. 2019)."""
    batch_size: int = hyperparameter(
        512, "Training nodes of a sampled batch; nodes of a cluster batch.", EXECUTION, bounds=_BATCH,
        names=("batchsize",),
    )  # fmt: skip
    fanout: str = hyperparameter(
        "15,10", "Neighbours sampled a node, from the output layer back: numbers or all.", EXECUTION,
        names=("num_neighbors", "fanouts"),
    )  # fmt: skip
    """One number a layer, each a number or "all"; one number stands for all layers. In Python a list of them, too."""

    def __post_init__(self) -> None:
        given: Any = plain_number(self.normalize_features)
        if isinstance(given, bool):
            object.__setattr__(self, "normalize_features", "row" if given else "none")
        object.__setattr__(self, "fanout", _as_text(self.fanout))
        check(self)
        words = self.fanout.split(",") if isinstance(self.fanout, str) else [""]
        if not all(word.strip() == "all" or _is_count(word.strip()) for word in words):
            written = shown(self.fanout, 80)
            raise ConfigError(f'fanout={written} must be numbers above 0 and below 2**31, or "all", as in 15,10 or all')
        if self.loader == "neighbor" and len(words) not in (1, self.layers):
            raise ConfigError(
                f"fanout={self.fanout!r} names {len(words)} layers, and the network has {self.layers}; "
                "give one number, or one for each layer"
            )

    def fanouts(self) -> tuple[int | None, ...]:
        """Neighbours sampled for each layer's output, the first layer's first; None for all of them."""
        numbers = [None if word.strip() == "all" else int(word) for word in self.fanout.split(",")]
        return tuple(reversed(numbers * self.layers if len(numbers) == 1 else numbers))

    @cached_property
    def network(self) -> Network:
        """The network that the recipe trains."""
        return named("gcn", self)

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


PRESETS: dict[str, Config] = {
    "kipf": Config(),
    "pyg": Config(
        preset="pyg",
        input_dropout=0.0,
        bias="after",
        l2=0.0,
        weight_decay=5e-4,
        stop_after=0.5,
        restore_best=True,
    ),
    "article": Config(
        preset="article",
        layers=3,
        input_dropout=0.0,
        bias="before",
        normalize_features="none",
        l2=0.0,
        weight_decay=5e-3,
        epochs=100,
        stopping="patience",
        patience=20,
        restore_best=True,
        features="dense",
        adjacency="dense",
        rows="all",
    ),
}


def preset(name: str, **overrides: Any) -> Config:
    """A named preset with some values replaced; an override of None leaves the preset's value.

    Raises ConfigError for an unknown preset or hyperparameter, with the near matches.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}.{near_matches(name, PRESETS)}")
    known = hyperparameters(Config)
    for key in overrides:
        if key not in known:
            other = meant(Config, key)
            near = near_matches(key, known) if other == key else f" Did you mean {other!r}?"
            raise ConfigError(f"unknown hyperparameter {key!r}.{near}")
    given = {key: value for key, value in overrides.items() if value is not None}
    return replace(PRESETS[name], **given)
