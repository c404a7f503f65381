"""What every script shares: logging, one-line errors, settings given as JSON."""

import json
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from kdcore.errors import KDError
from kdcore.files import read_json
from kdlab.experiment import Experiment, from_dump

log = logging.getLogger("kd")
Settings = TypeVar("Settings", bound=BaseModel)


def run(main: Callable[..., None]) -> None:
    """Run a script's `main`, its arguments as command-line options.

    A `KDError`, a full disk or a file that cannot be had ends it with one line and exit status 1.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=sys.modules[main.__module__].__doc__)(main)
    warnings.showwarning = lambda message, *_, **__: log.warning("warning: %s", message)
    try:
        app()
    except KDError as error:
        log.error("error: %s", error)
        sys.exit(1)
    except OSError as error:
        reason = error.strerror or error
        log.error("error: %s", f"{error.filename}: {reason}" if error.filename else reason)
        sys.exit(1)


def start_log(path: Path | None) -> None:
    """Send messages to standard error and, when given, to a log file as well.

    A log that later cannot be written loses lines and stops nothing: results are what counts.
    """
    logging.raiseExceptions = False
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, mode="w", encoding="utf-8"))
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=handlers, force=True)


def as_json(text: str, option: str = "settings") -> Any:
    """What an option's JSON text holds.

    Raises:
        KDError: it is not JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise KDError(f"--{option} must be JSON: {error}") from None


def parse(model: type[Settings], values: Any, where: str) -> Settings:
    """Settings, checked.

    Raises:
        KDError: a key, type or range is wrong.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise KDError.of_settings(error, where) from None


def experiment(settings: Path) -> Experiment:
    """The preset that was written to a JSON file.

    Raises:
        KDError: the file is missing or wrong.
    """
    return from_dump(read_json(settings))
