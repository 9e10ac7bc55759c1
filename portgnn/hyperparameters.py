"""Hyperparameters as fields of a frozen record, each of which says in one place all there is to say of it.

Its help, its group, its bounds and choices, and what other libraries call it stand beside its default:

    dropout: float = hyperparameter(0.5, "Dropout rate on the input of every further layer.", NETWORK, bounds=RATE)

The checks of the record, the options of the command line, the estimator's signature and the configuration files are
made of that. Choices are those of the field's `Literal`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import Any, get_args, get_type_hints

from portgnn.errors import ConfigError, nearest
from portgnn.text import shown

DATA, NETWORK, TRAINING, LINKS, EXECUTION = "data", "network", "training", "links", "execution"
"""Groups of hyperparameters, in the order in which `--help` shows them."""
_KEY = "portgnn"


@dataclass(frozen=True)
class Bounds:
    """Which numbers a hyperparameter takes. least, most: admitted themselves; above, below: not.

    words: what the message says that the number must be.
    """

    words: str
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def hold(self, value: float) -> bool:
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


INFINITY = float("inf")
RATE = Bounds("at least 0 and below 1", least=0, below=1)
SHARE = Bounds("between 0 and 1", least=0, most=1)
POSITIVE = Bounds("finite and above 0", above=0, below=INFINITY)
NOT_NEGATIVE = Bounds("finite and not negative", least=0, below=INFINITY)


@dataclass(frozen=True)
class Hyperparameter:
    """One field of a record. kind: int, float, bool or str. names: what other libraries call it.

    off: the command line's switch for False, where it is not --no-NAME.
    """

    name: str
    kind: type
    default: Any
    help: str
    group: str
    choices: tuple[str, ...] = ()
    bounds: tuple[Bounds, ...] = ()
    names: tuple[str, ...] = ()
    off: str | None = None

    def checked(self, value: Any) -> Any:
        """The value as a plain int, float, bool or str, which JSON can hold: a sweep brings NumPy's scalars.

        Raises ConfigError, naming the hyperparameter and what it takes.
        """
        if self.choices:
            return self._chosen(value)
        if self.kind is str:
            return value
        admitted, wanted = _KINDS[self.kind]
        plain = plain_number(value)
        if type(plain) not in admitted:  # by type: a bool is an int to Python, and layers=True is a slip
            raise ConfigError(f"{self.name}={shown(value, 80)} must be {wanted}")
        try:
            number = self.kind(plain)
        except OverflowError:
            raise ConfigError(f"{self.name}={_written(plain)} must be {wanted}, of at most 308 digits") from None
        for each in self.bounds:
            if not each.hold(number):
                raise ConfigError(f"{self.name}={_written(number)} must be {each.words}")
        return number

    def read(self, text: str) -> Any:
        """The value that a text stands for; the text where it is none, of which `checked` then says what it must be."""
        if self.kind is bool:
            return {"true": True, "false": False}.get(text.lower(), text)
        try:
            return self.kind(text)
        except ValueError:
            return text

    def _chosen(self, value: Any) -> Any:
        if value not in self.choices:
            near = nearest(str(value), self.choices)
            raise ConfigError(f"{self.name}={value!r} is not one of {', '.join(self.choices)}{near}")
        return value


_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    int: ((int,), "an integer"),
    float: ((float, int), "a number"),
    bool: ((bool,), "True or False"),
}


def hyperparameter(
    default: Any,
    help: str,
    group: str,
    *,
    bounds: Bounds | tuple[Bounds, ...] = (),
    names: Iterable[str] = (),
    off: str | None = None,
) -> Any:
    """A field of a frozen dataclass that is a hyperparameter. See `Hyperparameter` for what the arguments mean."""
    held = (bounds,) if isinstance(bounds, Bounds) else bounds
    return field(default=default, metadata={_KEY: {"help": help, "group": group, "bounds": held,
                                                  "names": tuple(names), "off": off}})  # fmt: skip


def as_in(record: type, name: str, default: Any = MISSING) -> Any:
    """A field with all that is said of a hyperparameter of another record, its default too where none is given."""
    other = {each.name: each for each in fields(record)}[name]
    return field(default=other.default if default is MISSING else default, metadata=other.metadata)


def is_hyperparameter(declared: Field[Any]) -> bool:
    """Whether a record's field was made by `hyperparameter`."""
    return _KEY in declared.metadata


@cache
def hyperparameters(record: type) -> dict[str, Hyperparameter]:
    """Those of a record's fields that were made by `hyperparameter`, in their order.

    Raises TypeError for a field whose type is not int, float, bool, str or a Literal of strings.
    """
    hints, found = get_type_hints(record), {}
    for each in fields(record):
        if not is_hyperparameter(each):
            continue
        hint = hints[each.name]
        choices = get_args(hint)
        kind = str if choices else hint
        if kind not in (int, float, bool, str) or not all(isinstance(choice, str) for choice in choices):
            raise TypeError(f"{record.__name__}.{each.name} is of type {hint}; a hyperparameter is int, float, bool, "
                            "str or a Literal of strings")  # fmt: skip
        default = None if each.default is MISSING else each.default
        found[each.name] = Hyperparameter(each.name, kind, default, choices=choices, **each.metadata[_KEY])
    return found


def check(record: Any) -> None:
    """Puts each hyperparameter's checked value in place of what a frozen record was made with; for `__post_init__`.

    Raises ConfigError for the first that cannot be used.
    """
    kind: Any = type(record)
    for name, one in hyperparameters(kind).items():
        object.__setattr__(record, name, one.checked(getattr(record, name)))


def meant(known: Mapping[str, Hyperparameter], name: str) -> str:
    """The hyperparameter that another library's name, or initials such as lr, stand for; the name as it is if none."""
    for each in known.values():
        if name in each.names:
            return each.name
    short = [each for each in known if "_" in each and "".join(word[0] for word in each.split("_")) == name]
    return short[0] if len(short) == 1 and name not in known else name


def plain_number(value: Any) -> Any:
    """NumPy's and other libraries' scalars as Python's; anything else as it is."""
    try:
        return value.item() if hasattr(value, "item") else value
    except (ValueError, TypeError, RuntimeError):  # an array of several
        return value


def whole_number(name: str, value: Any, least: int) -> int:
    """A whole number, of Python's or NumPy's. Raises ConfigError for anything else."""
    number = plain_number(value)
    if type(number) is int and least <= number < 2**63:
        return number
    if type(number) is int and number >= 2**63:
        raise ConfigError(f"{name}={_written(number)} must be below 2**63")
    raise ConfigError(f"{name}={shown(value, 80)} must be an integer, {least} or more")


def _written(value: Any) -> str:
    """A number for a message: Python writes none of more than 4,300 digits."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a number of {value.bit_length()} bits"
    return str(value)
