"""What every script shares: logging, one-line errors, settings given as JSON."""

import json
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import typer
from pydantic import BaseModel, ValidationError

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kdcore.errors import KDError

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
        told = error.strerror or error
        log.error("error: %s", f"{error.filename}: {told}" if error.filename else told)
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


def parse(model: type[Settings], text: str, option: str = "settings") -> Settings:
    """Settings from the JSON text that an option was given, checked.

    Raises:
        KDError: not JSON, or a key, type or range is wrong.
    """
    try:
        return model.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        raise KDError(f"--{option} is not JSON: {error}") from None
    except ValidationError as error:
        raise KDError.of_settings(error, f"--{option}") from None
