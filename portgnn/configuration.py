"""Runs as TOML: the options of `portgnn train` in a file, and a whole configuration written out."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from portgnn._system.files import state_of
from portgnn._system.untrusted import content
from portgnn.checkpoints.runs import continued, load_run
from portgnn.errors import ConfigError, PortgnnError, nearest
from portgnn.hyperparameters import meant
from portgnn.models import own_network
from portgnn.presets import PRESETS, checked, preset
from portgnn.recipe import known
from portgnn.text import printable, shortened, shown

MAX_BYTES = 16 << 10
"""Of a configuration. A key of parts between dots takes time with the square of their number to parse."""
LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Option:
    """An option of a run that is no hyperparameter.

    kind: its type in Python. default: None where it may be absent. absent: what happens then, for people to read.
    """

    kind: type
    default: Any = None
    absent: str = ""
    choices: tuple[str, ...] = ()
    shell_only: bool = False


OPTIONS: dict[str, Option] = {
    "dataset": Option(str, absent="cora, or csbm-cora where cora cannot be had"),
    "split": Option(str, absent="the split that the data has"),
    "unknown": Option(list, absent="no labels stand for none but those that always do"),
    "ignore": Option(list, absent="all columns are read"),
    "backend": Option(str, "numpy"),
    "device": Option(str, absent="the fastest that passes a self-check"),
    "dtype": Option(str, "float32"),
    "preset": Option(str, "kipf", choices=tuple(PRESETS)),
    "model": Option(str, "gcn"),
    "seed": Option(int, 0),
    "save": Option(Path, absent="the model is not saved", shell_only=True),
    "checkpoint": Option(Path, absent="the run is not kept"),
    "every": Option(int, 50),
    "resume": Option(Path, absent="a new run"),
    "distributed": Option(bool, False),
    "transport": Option(str, absent="the fastest, in a distributed run"),
    "timeout": Option(float, 60.0),
    "logger": Option(list, absent="no logger"),
    "log_file": Option(Path, absent="no records, or on stderr with a log-level", shell_only=True),
    "log_level": Option(str, absent="info, where records are kept", choices=LEVELS, shell_only=True),
    "json": Option(bool, False, shell_only=True),
}

_WANTED = {str: "a string", Path: "a string", int: "an integer", float: "a number", bool: "true or false"}


def load_config(path: str | os.PathLike[str]) -> dict[str, object]:
    """The arguments of `portgnn.train` that a TOML file holds: `portgnn.train(**portgnn.load_config("run.toml"))`.

    Keys are the options of `portgnn train` and the fields of `portgnn.presets.Config`, with dashes or underscores.
    `logger` becomes callbacks; save, json, log-file and log-level, which concern the command alone, are left out.

    Raises ConfigError naming file, key and what is allowed, for a file that cannot be read, an unknown key or a value
    that cannot be used.
    """
    given = read_options(Path(path))
    arguments = {name: value for name, value in given.items() if name not in OPTIONS or not OPTIONS[name].shell_only}
    if "logger" in arguments:
        from portgnn.loggers import logger_of

        arguments["callbacks"] = [logger_of(text) for text in arguments.pop("logger")]
    return arguments


def read_options(path: Path) -> dict[str, Any]:
    """All options in a file, checked, by their names in Python. Raises ConfigError as `load_config` does."""
    given: dict[str, Any] = {}
    keys = document(path)
    for key, value in keys.items():
        name = key.replace("-", "_")
        called = shortened(printable(key), 60)
        if name in given:
            raise ConfigError(f"{path}: {called} is there twice, with a dash and with an underscore")
        try:
            given[name] = _checked(name, called, value, keys.get("model"))
        except PortgnnError as error:
            raise ConfigError(f"{path}: {error}") from None
        # A hexadecimal integer may have more digits than Python writes, and a list more levels than it walks.
        except (ValueError, OverflowError, RecursionError):
            raise ConfigError(f"{path}: {called} = {shown(value)} cannot be used") from None
    return given


def document(path: Path) -> dict[str, Any]:
    """A TOML file's keys. Raises ConfigError for one that cannot be read, is too large or is none."""
    try:
        state_of(path, ConfigError)  # for what no system call takes, such as a NUL character
        return tomllib.loads(content(path, ConfigError, most=MAX_BYTES).decode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start})") from None
    except PortgnnError:
        raise
    except ValueError as error:  # TOMLDecodeError, or an integer of more digits than Python reads
        raise ConfigError(f"{path} is not TOML: {str(error)[:200]}") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply") from None


def _checked(name: str, key: str, value: Any, model: object = None) -> Any:
    """model: what the document says of it; a network of the user's own has hyperparameters of its own."""
    recipe = known(model) | known() if isinstance(model, str) and name != "model" else known()
    if name not in OPTIONS and name not in recipe:
        if isinstance(value, dict):
            raise ConfigError(f"[{key}] is a table; keys stand at the top level, without tables")
        names = [_key(each) for each in (*OPTIONS, *recipe)]
        other = _key(meant(recipe, name))
        near = f". Did you mean {other!r}?" if other != _key(name) else nearest(_key(name), names)
        raise ConfigError(f"{key} is no option of a run{near or '. Known: ' + ', '.join(sorted(names))}")
    if name in recipe:
        return checked(name, value) if name in known() else recipe[name].checked(value)
    option = OPTIONS[name]
    if option.kind is list:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ConfigError(f"{key} = {shortened(_toml(value))} must be a string or a list of strings")
        return texts
    admitted = {Path: (str,), float: (float, int)}.get(option.kind, (option.kind,))
    if type(value) not in admitted:
        raise ConfigError(f"{key} = {shortened(_toml(value))} must be {_WANTED[option.kind]}")
    if option.choices and value not in option.choices:
        allowed = f"{', '.join(option.choices)}{nearest(value, option.choices) or '.'}"
        raise ConfigError(f"{key} = {shortened(_toml(value))} is not one of {allowed}")
    return option.kind(value)


def effective(given: Mapping[str, Any]) -> dict[str, object]:
    """Every option of a run and every hyperparameter, with the values that `given` leads to; None where absent.

    given: by their names in Python, None for what is not given. Raises ConfigError or CheckpointError.
    """
    named = {name: value for name, value in given.items() if value is not None}
    recipe = {name: value for name, value in named.items() if name not in OPTIONS}
    options = {name: named.get(name, option.default) for name, option in OPTIONS.items()}
    if options["resume"] is None:
        config = preset(named.get("preset"), named.get("model"), **recipe)
    else:
        run = load_run(Path(options["resume"]), own_network(named.get("model")))[0]
        identity = {name: named.get(name) for name in ("seed", "dtype", "split")}
        identity |= {name: tuple(named[name]) for name in ("unknown", "ignore") if name in named}
        config = continued(run, {"preset": named.get("preset"), "model": named.get("model")}, recipe, **identity)
        kept: dict[str, Any] = {"dataset": run.dataset or None, "split": run.split or None, "backend": run.backend}
        kept |= {"dtype": run.dtype, "seed": run.seed}
        kept |= {"unknown": list(run.unknown) or None, "ignore": list(run.ignore) or None}
        options |= kept | {name: named[name] for name in kept if name in named}
    return options | asdict(config)


def as_toml(configuration: Mapping[str, object], plain: bool = False) -> str:
    """What `effective` gives as TOML that `read_options` reads; absent options are comments.

    plain: write what is not ASCII as escapes, for a stream of another encoding than UTF-8.

    Raises ConfigError for a text that TOML cannot hold.
    """
    lines = []
    for name, value in configuration.items():
        if value is None:
            lines.append(f"# {_key(name)}: not given; {OPTIONS[name].absent}")
        else:
            lines.append(f"{_key(name)} = {_toml(value)}")
    text = "\n".join(lines) + "\n"
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ConfigError("TOML cannot hold a file's name that is not UTF-8")
    return re.sub(r"[^\n\x20-\x7e]", _escape, text) if plain else text


_UNSEEN = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Characters that JSON leaves as they are and TOML forbids, or nobody would see."""


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _toml(value: object) -> str:
    if isinstance(value, str | Path):
        quoted = json.dumps(str(value), ensure_ascii=False)
        return _UNSEEN.sub(_escape, quoted)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return str(value)


def _key(name: str) -> str:
    return name.replace("_", "-")
