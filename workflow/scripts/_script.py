"""What every script shares: logging, one-line errors, settings given as JSON."""

import json
import logging
import re
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from kdcore.errors import KDError
from kdcore.files import read_json
from kdlab.continued import NOTICE
from kdlab.experiment import Experiment, from_dump

log = logging.getLogger("kd")
Settings = TypeVar("Settings", bound=BaseModel)


class NowAndAgain(logging.Filter):
    """Lets notices pass, and other messages when none was shown for half a minute."""

    SECONDS = 30.0

    def __init__(self) -> None:
        super().__init__()
        self.next = time.monotonic() + self.SECONDS

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < NOTICE and time.monotonic() < self.next:
            return False
        self.next = time.monotonic() + self.SECONDS
        return True


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
        log.error("error: %s%s", error, remedy(str(error)))
        sys.exit(1)
    except OSError as error:
        reason = error.strerror or error
        log.error("error: %s", f"{error.filename}: {reason}" if error.filename else reason)
        sys.exit(1)


def remedy(message: str) -> str:
    """What to do about a file of runs/ or measurements/ that a message begins with."""
    found = re.match(r"(runs|measurements)/[^ :]+(?=: )", message)
    if not found or "delete it" in message or not Path(found[0]).exists():
        return ""
    if found[1] == "runs":
        return "; delete it and run again"
    return f"; git checkout -- {found[0]} brings it back"


def start_log(path: Path | None) -> None:
    """Send messages to standard error and, when given, to a log file as well.

    With a log file, the screen is that of many jobs: what is no notice is then shown now and again.
    A log that later cannot be written loses lines and stops nothing: results are what counts.
    """
    logging.raiseExceptions = False
    screen = logging.StreamHandler(sys.stderr)
    handlers: list[logging.Handler] = [screen]
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, mode="w", encoding="utf-8"))
        screen.addFilter(NowAndAgain())
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
