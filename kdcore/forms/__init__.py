"""Forms that a table may be stored in: one file a kind.

A kind of form is a module in this folder, called by its file's name with hyphens. It has `PLACE`,
its place in the order in which forms are tried, simple ones first, and one of these:

- `candidates(N, dim, limit)`: forms of an N × dim table in at most `limit` bits, all to be tried;
- `families(N, dim, limit, book_bits)`: forms with books of so many bits, in families by name. Of a
  family the one that is likely to be best comes first; it is tried, and others where it is ahead.

It has no version of its own: what is chosen depends on all of them, and `compressing.NUMERICS`
stands for them all.
"""

import hashlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import torch

import kdcore
from kdcore.blocks import BlockTable
from kdcore.checkpoint import Checkpoint
from kdcore.files import fingerprint
from kdcore.kinds import Kinds, KindSettings
from kdcore.learners import check_counts, check_seed
from kdcore.vectors import spread_of

# Rows that forms are compared on, and further ones that errors are measured on where there are.
TRIED_ROWS, HELD_OUT = 8192, 2048

Report = Callable[[str, float], None]


def silent(what: str, share: float) -> None:
    """Report nothing."""


@cache
def form_modules() -> dict[str, ModuleType]:
    """The kinds of forms by name, simple ones first."""
    kinds: Kinds[KindSettings] = Kinds("kdcore.forms", "form")
    modules = sorted(map(kinds.load, kinds.names()), key=lambda module: int(module.PLACE))
    return {m.__name__.rpartition(".")[2].replace("_", "-"): m for m in modules}


class Work:
    """A table to be compressed, the sample that forms are compared on, and what is asked of both.

    Args:
        vectors: shape (N, d).
        counts: how often each word occurs, (N,): an error counts by the root of it.
        seed: of every random choice.
        seconds: about how long it may take; None: as long as it takes.
        report: told what is being done and the share of it that is done.
        checkpoint: a folder of finished parts; None: nothing is kept.
        patience: seconds of work before anything is kept.
        identity: what parts have to have in common with this work beside table, counts and seed.

    Attributes:
        table: the vectors.
        order: all rows, shuffled.
        learned, weights: the sample that forms learn from, and its counts.
        scored: the rows that their errors are measured on.
        whole: whether those are all rows.
        centre: the sample's mean.
        equal: whether all rows of the sample are equal.
        end: when the time is up; None: never.
    """

    def __init__(
        self, vectors: torch.Tensor | np.ndarray, counts: torch.Tensor | np.ndarray | None = None,
        seed: int = 0, *, seconds: float | None = None, report: Report = silent,
        checkpoint: str | Path | None = None, patience: float | None = None,
        identity: Sequence[object] = (),
    ):  # fmt: skip
        self.end = None if seconds is None else time.monotonic() + seconds
        self.table = table = BlockTable(vectors)
        self.counts = None if counts is None else check_counts(counts, table.N)
        self.seed, self.report = check_seed(seed), report
        self.checkpoint = Checkpoint(checkpoint, lambda: self._identity(identity), patience)
        generator = torch.Generator().manual_seed(self.seed)
        self.order = torch.randperm(table.N, generator=generator)
        self.learned, self.weights = self.sample(TRIED_ROWS)
        self.whole = table.N <= TRIED_ROWS
        self.scored, counted = self.learned, self.weights
        if not self.whole:
            self.scored, counted = self._rows(self.order[TRIED_ROWS : TRIED_ROWS + HELD_OUT])
        self.centre = self.learned.double().mean(0)
        self.equal = bool((self.learned == self.learned[0]).all())
        self._importance = torch.ones(len(self.scored), dtype=torch.float64)
        if counted is not None and float(counted.max()) > 0:
            self._importance = counted.double().sqrt()
        squares = (self.scored.double() - self.centre).square().sum(1)
        whole = float(self._importance @ self.scored.double().square().sum(1))
        self._variance = spread_of(float(self._importance @ squares), whole)

    def _identity(self, asked: Sequence[object]) -> str:
        counts = self.counts
        weights = "" if counts is None else hashlib.sha256(counts.numpy().tobytes()).hexdigest()
        versions = [kdcore.__version__, torch.__version__]
        return fingerprint([versions, self.table.digest(), weights, self.seed, *asked])

    @cached_property
    def directions(self) -> torch.Tensor:
        """The principal directions of the sample; see `principal_directions`."""
        return principal_directions([self.learned])

    def sample(self, rows: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """So many rows at random, in their order, and their counts."""
        return self._rows(self.order[:rows])

    def _rows(self, chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        chosen = chosen.sort().values
        return self.table.rows(chosen), None if self.counts is None else self.counts[chosen]

    def error(self, composed: torch.Tensor) -> float:
        """The share of the variance that is lost of `scored`."""
        lost = float(self._importance @ (self.scored - composed).double().square().sum(1))
        if self._variance:
            return lost / self._variance
        return 0.0 if lost < 1e-12 else math.inf

    def left(self) -> float:
        """Seconds that are left; infinite without an end."""
        return math.inf if self.end is None else self.end - time.monotonic()


def principal_directions(blocks: Iterable[torch.Tensor]) -> torch.Tensor:
    """The directions in which vectors are largest, as columns, in falling order, (d, d)."""
    gram: Any = sum(block.double().T @ block.double() for block in blocks)
    directions: torch.Tensor = torch.linalg.eigh(gram).eigenvectors.flip(1)
    return directions


@dataclass(frozen=True)
class Form(ABC):
    """A way to store a table: settings of an embedding, and the bits that it takes.

    Attributes:
        name: in words.
        settings: of the embedding.
        bits: of all that is stored.
        SIMPLICITY: of two that lose the same, the one with less is taken.
        IS_CODES: whether words have codes.
    """

    name: str
    settings: KindSettings
    bits: int
    SIMPLICITY: ClassVar[int]
    IS_CODES: ClassVar[bool] = False

    @property
    def key(self) -> str:
        """What it is called in a checkpoint."""
        return fingerprint([self.name, self.settings.model_dump(mode="json"), self.bits])

    @abstractmethod
    def sketch(self, work: Work) -> torch.Tensor:
        """The vectors of `work.scored` as this form composes them, learned from `work.learned`."""

    @abstractmethod
    def store(self, work: Work) -> dict[str, torch.Tensor]:
        """The whole table: the tensors that an embedding of `settings` is loaded from."""

    def store_share(self, work: Work, share: int | None, shares: int) -> None:  # noqa: B027
        """Do a share of `store`, into the checkpoint; nothing where one machine does it fast.

        Args:
            share: 0 … shares − 1, in any order; None: what comes before all of them.
        """


def bits_in_words(count: int) -> str:
    """For example "4 bits"."""
    return "1 bit" if count == 1 else f"{count} bits"
