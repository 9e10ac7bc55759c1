"""Recipes: every hyperparameter of a run in one frozen record, and the named sets of them.

`kipf`     Kipf & Welling 2017 and its code tkipf/gcn (train.py, models.py, layers.py).
`pyg`      PyTorch Geometric's benchmark/citation (gcn.py, train_eval.py); Fey & Lenssen 2019.
`article`  Bilot 2023, TristanBilot/mlx-GCN, with its flaws corrected.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from portgnn.errors import ConfigError, near_matches, nearest
from portgnn.text import shortened

Bias = Literal["none", "after", "before"]
Stopping = Literal["window", "patience"]
FeatureRule = Literal["auto", "row", "standardize", "none"]
FeatureForm = Literal["auto", "sparse", "dense"]
AdjacencyForm = Literal["auto", "csr", "dense"]
Rows = Literal["needed", "all"]
Loader = Literal["full", "neighbor", "cluster"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "bias": get_args(Bias),
    "normalize_features": get_args(FeatureRule),
    "stopping": get_args(Stopping),
    "features": get_args(FeatureForm),
    "adjacency": get_args(AdjacencyForm),
    "rows": get_args(Rows),
    "loader": get_args(Loader),
}


_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "an integer"),
    "float": ((float, int), "a number"),
    "bool": ((bool,), "True or False"),
}


def _checked(name: str, value: Any, kind: str) -> Any:
    """The value as a plain int, float or bool, which JSON can hold: a sweep brings NumPy's scalars."""
    admitted, wanted = _KINDS[kind]
    plain = _plain(value)
    if type(plain) not in admitted:  # by type: a bool is an int to Python, and layers=True is a slip
        raise ConfigError(f"{name}={shortened(repr(value))} must be {wanted}")
    try:
        return admitted[0](plain)
    except OverflowError:
        raise ConfigError(f"{name}={_written(plain)} must be {wanted}, of at most 308 digits") from None


def _plain(value: Any) -> Any:
    """NumPy's and other libraries' scalars as Python's; anything else as it is."""
    try:
        return value.item() if hasattr(value, "item") else value
    except (ValueError, TypeError, RuntimeError):  # an array of several
        return value


def whole_number(name: str, value: Any, least: int) -> int:
    """A whole number, of Python's or NumPy's. Raises ConfigError for anything else."""
    number = _plain(value)
    if type(number) is int and least <= number < 2**63:
        return number
    if type(number) is int and number >= 2**63:
        raise ConfigError(f"{name}={_written(number)} must be below 2**63")
    raise ConfigError(f"{name}={shortened(repr(value))} must be an integer, {least} or more")


MOST_LAYERS = 10_000


def _written(value: Any) -> str:
    """A number for a message: Python writes none of more than 4,300 digits."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a number of {value.bit_length()} bits"
    return str(value)


def _is_count(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) < 20 and 0 < int(word) < 2**31


@dataclass(frozen=True)
class Config:
    """All hyperparameters of one run. Raises ConfigError for a value that cannot be used."""

    preset: str = "kipf"
    layers: int = 2
    hidden: int = 16
    input_dropout: float = 0.5
    """Dropout rate on the features."""
    dropout: float = 0.5
    """Dropout rate on the input of every further layer."""
    bias: Bias = "none"
    """"after": A(XW) + b, as in PyG; "before": A(XW + b), as in the article."""
    normalize_features: FeatureRule = "auto"
    """"row": divide each row of the features by its sum; "standardize": give each column mean 0 and standard
    deviation 1 over all nodes of the training graph; "none": leave them as they are; "auto": "row" where no feature is
    negative, else "none". True and False, as older files and code have it, are "row" and "none"."""
    l2: float = 5e-4
    """l2 / 2 * ||W0||^2 is added to the loss, for the first layer's weight alone."""
    weight_decay: float = 0.0
    """Added to every gradient as weight_decay * parameter, inside Adam; not part of the reported loss."""
    learning_rate: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    epochs: int = 200
    stopping: Stopping = "window"
    """"window": stop when the validation loss exceeds its mean over the `patience` epochs before;
    "patience": stop when it has not improved for `patience` epochs."""
    patience: int = 10
    """0 never stops early."""
    stop_after: float = 0.0
    """Share of the epochs that must have passed before stopping may happen."""
    restore_best: bool = False
    """Return the parameters of the epoch with the lowest validation loss instead of the last ones."""
    undirected: bool = True
    """Let every edge count in both directions: all three sources train on undirected graphs."""
    features: FeatureForm = "auto"
    adjacency: AdjacencyForm = "auto"
    rows: Rows = "needed"
    """"needed": compute only the rows that the loss reads, the same numbers for less work;
    "all": compute every node's, as most libraries do."""
    loader: Loader = "full"
    """"full": one step an epoch over all training nodes; "neighbor": steps over sampled neighbourhoods
    (Hamilton et al. 2017); "cluster": steps over parts of the graph (Chiang et al. 2019)."""
    batch_size: int = 512
    """Training nodes of a neighbour-sampled batch; nodes, about, of a cluster batch."""
    fanout: str = "15,10"
    """Neighbours sampled a node, one number a layer from the output back, each a number or "all"; one number
    stands for all layers."""

    def __post_init__(self) -> None:
        given: Any = self.normalize_features
        given = given.item() if hasattr(given, "item") else given
        if isinstance(given, bool):
            object.__setattr__(self, "normalize_features", "row" if given else "none")
        for field in fields(self):
            if field.type in _KINDS:
                object.__setattr__(self, field.name, _checked(field.name, getattr(self, field.name), str(field.type)))
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                given = getattr(self, name)
                near = nearest(str(given), choices)
                raise ConfigError(f"{name}={given!r} is not one of {', '.join(choices)}{near}")
        rules: list[tuple[str, bool, str]] = [
            ("layers", self.layers >= 1, "at least 1"),
            ("layers", self.layers <= MOST_LAYERS, f"at most {MOST_LAYERS}"),
            ("hidden", self.hidden >= 1, "at least 1"),
            ("hidden", self.hidden < 2**31, "below 2**31, which is what an index can count"),
            ("epochs", self.epochs >= 1, "at least 1"),
            ("epochs", self.epochs < 2**32, "below 2**32: dropout counts epochs in 32 bits"),
            ("patience", self.patience >= 0, "0 (never stop early) or more"),
            ("patience", self.patience < 2**32, "below 2**32"),
            ("stop_after", 0 <= self.stop_after <= 1, "between 0 and 1"),
            ("input_dropout", 0 <= self.input_dropout < 1, "at least 0 and below 1"),
            ("dropout", 0 <= self.dropout < 1, "at least 0 and below 1"),
            ("l2", 0 <= self.l2 < float("inf"), "finite and not negative"),
            ("weight_decay", 0 <= self.weight_decay < float("inf"), "finite and not negative"),
            ("learning_rate", 0 < self.learning_rate < float("inf"), "finite and above 0"),
            ("beta1", 0 <= self.beta1 < 1, "at least 0 and below 1"),
            ("beta2", 0 <= self.beta2 < 1, "at least 0 and below 1"),
            ("eps", 0 < self.eps < float("inf"), "finite and above 0"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("batch_size", self.batch_size < 2**31, "below 2**31"),
        ]
        for name, holds, wanted in rules:
            if not holds:
                raise ConfigError(f"{name}={_written(getattr(self, name))} must be {wanted}")
        words = self.fanout.split(",") if isinstance(self.fanout, str) else [""]
        if not all(word.strip() == "all" or _is_count(word.strip()) for word in words):
            given = shortened(repr(self.fanout))
            raise ConfigError(f'fanout={given} must be numbers above 0 and below 2**31, or "all", as in 15,10 or all')
        if self.loader == "neighbor" and len(words) not in (1, self.layers):
            raise ConfigError(
                f"fanout={self.fanout!r} names {len(words)} layers, and the network has {self.layers}; "
                "give one number, or one for each layer"
            )

    def fanouts(self) -> tuple[int | None, ...]:
        """Neighbours sampled for each layer's output, the first layer's first; None for all of them."""
        numbers = [None if word.strip() == "all" else int(word) for word in self.fanout.split(",")]
        return tuple(reversed(numbers * self.layers if len(numbers) == 1 else numbers))

    def dropout_rates(self) -> tuple[float, ...]:
        """The dropout rate on each layer's input."""
        return (self.input_dropout, *(self.dropout,) * (self.layers - 1))

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

DESCRIPTIONS: dict[str, str] = {
    "kipf": "Kipf & Welling 2017: input and hidden dropout, L2 on layer 1, no bias",
    "pyg": "PyTorch Geometric's citation benchmark: hidden dropout, bias, weight decay on all parameters",
    "article": "Bilot 2023, corrected: three dense layers, weight decay 5e-3, patience 20",
}


SYNONYMS: dict[str, str] = {
    "step_size": "learning_rate", "n_layers": "layers", "num_layers": "layers", "depth": "layers",
    "hidden_dim": "hidden", "hidden_size": "hidden", "hidden_channels": "hidden", "hidden_units": "hidden",
    "width": "hidden", "n_epochs": "epochs", "num_epochs": "epochs", "max_epochs": "epochs", "max_iter": "epochs",
    "dropout_rate": "dropout", "feature_dropout": "input_dropout", "epsilon": "eps", "early_stopping": "patience",
    "num_neighbors": "fanout", "fanouts": "fanout", "sampler": "loader", "l2_reg": "l2", "decay": "weight_decay",
    "normalize": "normalize_features", "normalise_features": "normalize_features", "batchsize": "batch_size",
}  # fmt: skip
"""What other libraries call the fields of `Config`. Initials (lr, wd, bs) are known without being listed."""


def synonym(name: str) -> str:
    """The field of `Config` that another library's name stands for, or the name as it is."""
    if name in SYNONYMS:
        return SYNONYMS[name]
    known = [field.name for field in fields(Config)]
    short = [each for each in known if "_" in each and "".join(word[0] for word in each.split("_")) == name]
    return short[0] if len(short) == 1 and name not in known else name


def preset(name: str, **overrides: Any) -> Config:
    """A named preset with some values replaced; an override of None leaves the preset's value.

    Raises ConfigError for an unknown preset or hyperparameter, with the near matches.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}.{near_matches(name, PRESETS)}")
    known = {field.name for field in fields(Config)} - {"preset"}
    for key in overrides:
        if key not in known:
            meant = synonym(key)
            near = near_matches(key, known) if meant == key else f" Did you mean {meant!r}?"
            raise ConfigError(f"unknown hyperparameter {key!r}.{near}")
    given = {key: value for key, value in overrides.items() if value is not None}
    return replace(PRESETS[name], **given)
