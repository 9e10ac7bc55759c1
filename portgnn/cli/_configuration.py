"""`--config`, `--logger`, `--log-file`, and `portgnn config show`."""

from __future__ import annotations

import codecs
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from portgnn import logs
from portgnn._system.files import reason
from portgnn.cli._output import announce
from portgnn.configuration import LEVELS, OPTIONS, as_toml, effective, read_options
from portgnn.errors import ConfigError, near_matches
from portgnn.loggers import logger_of
from portgnn.recipe import known

STDERR = "-"


def train(options: dict[str, Any]) -> None:
    """Trains with the options of the shell and of the file that `config` names."""
    given = _given(options)
    values = {name: given.get(name, option.default) for name, option in OPTIONS.items()}
    # A run that goes on has these already; portgnn.train knows what they are by default in a new one.
    values |= {name: given.get(name) for name in ("backend", "dtype", "preset", "model", "seed")}
    values |= {name: value for name, value in given.items() if name not in OPTIONS}
    for name in options:
        values.setdefault(name, None)
    del values["config"], values["as_json"], values["setting"]
    callbacks = [logger_of(text) for text in values.pop("logger") or []]
    with _records(values.pop("log_file"), values.pop("log_level")):
        from portgnn.cli._training import run

        run(save=values.pop("save"), as_json=values.pop("json"), callbacks=callbacks, **values)


def show(options: dict[str, object]) -> None:
    """Prints what `train` would do with these options."""
    as_json = options.pop("as_json")
    configuration = effective(_given(options | {"as_json": False}))
    if as_json:
        from portgnn.cli._output import print_json

        print_json({name: str(each) if isinstance(each, Path) else each for name, each in configuration.items()})
    else:
        print(as_toml(configuration, plain=not _is_utf8(sys.stdout)), end="")


def _is_utf8(stream: TextIO) -> bool:
    """Whether a file made from the stream would be read as TOML, which is UTF-8 by definition."""
    return codecs.lookup(stream.encoding or "utf-8").name == "utf-8"


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """What the file and the shell say, the shell last; options that neither names are absent."""
    file = options["config"]
    given = {} if file is None else read_options(file)
    own = {name: value for name, value in options.items() if name not in ("config", "as_json")}
    # The shell gives an empty list for an option that may be repeated and is not there.
    given |= {name: value for name, value in own.items() if value is not None and value != []}
    given |= _settings(given.pop("setting", []), given.get("model"))
    if options["as_json"]:
        given["json"] = True
    return given


def _settings(texts: list[str], model: str | None) -> dict[str, Any]:
    """Hyperparameters that a network of the user's own has, out of NAME=VALUE."""
    found: dict[str, Any] = {}
    names = known(model) if texts else {}
    for text in texts:
        name, sign, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not sign:
            raise ConfigError(f"--set {text} must be NAME=VALUE, as in --set {text or 'alpha'}=0.1")
        if name not in names:
            raise ConfigError(f"--set {text}: there is no hyperparameter {name!r}.{near_matches(name, names)}")
        found[name] = names[name].read(value.strip())
    return found


@contextmanager
def _records(file: Path | None, level: str | None) -> Iterator[None]:
    """Records of the logger "portgnn" as JSON lines at the end of a file, or on stderr for "-" and for none."""
    if file is None and level is None:
        yield
        return
    level = level or "info"
    if level not in LEVELS:
        raise ConfigError(f"there is no level {level!r}.{near_matches(level, LEVELS)}")
    handler: logging.Handler
    if file is None or str(file) == STDERR:
        handler = logs.Stream(sys.stderr)
    else:
        try:
            handler = logs.File(file, _lost)
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot write {file}: {reason(error)}") from None
    handler.setFormatter(logs.JsonFormatter())
    before = logs.logger.level
    logs.logger.setLevel(level.upper())
    logs.logger.addHandler(handler)
    try:
        yield
    finally:
        logs.logger.removeHandler(handler)
        logs.logger.setLevel(before)
        handler.close()
    if isinstance(handler, logs.File) and handler.fault:
        raise ConfigError(f"{file} took no more records ({handler.fault}); the run itself went on to its end")


def _lost(handler: logs.File) -> None:
    announce(f"{handler.baseFilename} takes no more records: {handler.fault}. The run goes on without them.")
