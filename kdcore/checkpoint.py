"""What a long compression has finished, in a folder: the same compression goes on from there."""

import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from kdcore.errors import KDError
from kdcore.files import read_json, write_json
from kdcore.tensors import load_tensors, save_tensors

# Seconds after which work is long enough to be kept.
PATIENCE = 30.0
INDEX, KIND = "compression.json", "part of a compression"
# Files of parts are called so, and others of the folder are left alone.
PART = "part-{}.safetensors"


class Checkpoint:
    """Named parts of one compression; each is a file of its own, whole or absent.

    Nothing is written before the work is long enough. What another compression left in the folder
    is not used, and goes when this one writes its first part; what is damaged is made anew.

    Args:
        folder: where the parts are, or None to keep nothing.
        identity: says which compression it is; asked for once it is needed, for it may take long.
        patience: seconds from now on in which nothing is written; by default `PATIENCE`.

    Attributes:
        errors: of forms on the sample, by a form's key.

    Raises:
        KDError: the folder is a file.

    Warns:
        UserWarning: the compression goes on; what is there is another's or damaged.
    """

    def __init__(
        self, folder: str | Path | None, identity: Callable[[], str], patience: float | None = None
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        self.errors: dict[str, float] = {}
        self._ask, self._asked = identity, ""
        self._begin = time.monotonic() + (PATIENCE if patience is None else patience)
        # Before anything is written: what is to be.
        self._waiting: dict[str, Mapping[str, torch.Tensor]] | None = {}
        if self.folder is not None and self.folder.exists():
            self._open(self.folder)

    def _open(self, folder: Path) -> None:
        if not folder.is_dir():
            raise KDError(f"{folder}: is a file, not the folder of a checkpoint")
        if not (folder / INDEX).exists():
            return
        try:
            index = read_json(folder / INDEX)
            errors = {str(key): float(error) for key, error in index["errors"].items()}
        except (KDError, KeyError, AttributeError, TypeError, ValueError):
            _tell(f"{folder / INDEX}: damaged; begun afresh")
            return
        if index.get("identity") != self._identity():
            _tell(f"{folder}: of another table, target, seed or version; begun afresh")
            return
        self.errors, self._waiting = errors, None
        blocks = len(list(folder.glob(PART.format("codes-*"))))
        _tell(f"{folder}: continuing; {len(errors)} forms compared, {blocks} blocks encoded")

    def _identity(self) -> str:
        self._asked = self._asked or self._ask()
        return self._asked

    def load(self, name: str) -> dict[str, torch.Tensor] | None:
        """A part by its name; None where it is not there."""
        if self.folder is None or self._waiting is not None:
            return None
        path = self.folder / PART.format(name)
        if not path.exists():
            return None
        try:
            tensors, header = load_tensors(path, KIND, ["identity"])
        except KDError as error:
            _tell(f"{error}; made anew")
            return None
        return tensors if header["identity"] == self._identity() else None

    def store(self, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Keep a part.

        Raises:
            KDError: the folder cannot be written.
        """
        if self.folder is None:
            return
        if self._waiting is not None:
            self._waiting[name] = tensors
            self._write_if_long()
        else:
            self._write(name, tensors)

    def store_error(self, key: str, error: float) -> None:
        """Keep the error of a form on the sample.

        Raises:
            KDError: the folder cannot be written.
        """
        self.errors[key] = error
        if self.folder is not None and self._waiting is None:
            self._write_index()
        elif self.folder is not None:
            self._write_if_long()

    def _write_if_long(self) -> None:
        if time.monotonic() < self._begin:
            return
        assert self.folder is not None and self._waiting is not None
        remove_checkpoint(self.folder)
        self._write_index()
        for name, tensors in self._waiting.items():
            self._write(name, tensors)
        self._waiting = None

    def _write_index(self) -> None:
        assert self.folder is not None
        write_json(self.folder / INDEX, {"identity": self._identity(), "errors": self.errors})

    def _write(self, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
        assert self.folder is not None
        header = {"kind": KIND, "identity": self._identity()}
        save_tensors(self.folder / PART.format(name), tensors, header)


def remove_checkpoint(folder: str | Path) -> None:
    """Remove what a `Checkpoint` wrote; what else is in the folder stays."""
    folder = Path(folder)
    if not (folder / INDEX).is_file():
        return
    for path in (*folder.glob(PART.format("*")), folder / INDEX):
        path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _tell(line: str) -> None:
    warnings.warn(line, stacklevel=2)
