"""Learners of codes: one file a kind.

A kind of learner is a module in this folder with `NUMERICS`, `Settings` and
`learn(settings, inputs, seed, control)`, which returns `LearnedCodes`, or None when it was stopped.
`Settings.needs` names the fields of `LearnerInputs` that must be given.
"""

import operator
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

import numpy as np
import torch
from pydantic import Field

from kdcore.codes import Codes, check_codes
from kdcore.errors import KDError
from kdcore.kinds import Kinds, KindSettings
from kdcore.transforms import Transform
from kdcore.vectors import as_floats, check_unequal, check_vectors

LEARNERS: Kinds[KindSettings] = Kinds("kdcore.learners", "learner")
# A setting of the learners whose errors have weights.
CountPower = Annotated[
    float,
    Field(ge=0, description="a word's error counts by its number of occurrences to this power"),
]


class Record(Protocol):
    """The state of the codes at one moment of learning: a dataclass, a row of the history."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def error(self) -> float: ...
    @property
    def changed(self) -> float: ...
    @property
    def entropy(self) -> float: ...
    @property
    def used(self) -> int: ...
    @property
    def unique(self) -> int: ...


@dataclass(frozen=True)
class LearnedCodes:
    """Codes, the transform that decodes them where one was learned, and how learning went."""

    codes: Codes
    transform: Transform | None
    history: tuple[Record, ...]


@dataclass(frozen=True)
class LearnerInputs:
    """What codes are learned from.

    Attributes:
        words: rows of the table, N.
        vectors: pretrained embeddings v, shape (N, d).
        counts: how often each word occurs, shape (N,), none negative.
        start: codes to begin with, one a word.
        device: where a learner that can computes; what it returns is on the CPU. Equal seeds give
            equal codes on one kind of device.
    """

    words: int
    vectors: torch.Tensor | None = None
    counts: torch.Tensor | None = None
    start: Codes | None = None
    device: torch.device | str = "cpu"

    def given_vectors(self) -> torch.Tensor:
        """The vectors, checked: float32, not all equal.

        Raises:
            KDError: there are none, or not one for each word, or they cannot be learned from.
        """
        if self.vectors is None:
            raise KDError("vectors must be given, got none")
        vectors = check_vectors(self.vectors)
        check_unequal(vectors)
        if len(vectors) != self.words:
            raise KDError(f"vectors must be {self.words}, one a word, got {len(vectors)}")
        return vectors

    def given_counts(self) -> torch.Tensor:
        """The counts, checked; all 1 where none are given.

        Raises:
            KDError: see `check_counts`.
        """
        if self.counts is None:
            return torch.ones(self.words, dtype=torch.float32)
        return check_counts(self.counts, self.words)

    def given_start(self) -> Codes:
        """The codes to begin with, checked.

        Raises:
            KDError: there are none, not one for each word, or something else.
        """
        if self.start is None:
            raise KDError("start codes must be given, got none")
        check_codes(self.start)
        if len(self.start) != self.words:
            raise KDError(f"codes must be {self.words}, one a word, got {len(self.start)}")
        return self.start


def no_report(record: Any, indices: torch.Tensor) -> None:
    """Say nothing."""


def never() -> bool:
    """Do not stop."""
    return False


@dataclass(frozen=True)
class Control:
    """How learning is watched, stopped and continued.

    Attributes:
        checkpoint: file to continue from, if it is there, and to write now and then by a learner
            that can. A continued run ends with the same bits as an undisturbed one.
        checkpoint_seconds: time between two checkpoints.
        report: called after each epoch or round with its record and the codes' indices, int64
            (N, D); random draws in it do not change the codes.
        stop: asked after each epoch or round; when true, the checkpoint is written and None
            returned.
    """

    checkpoint: Path | None = None
    checkpoint_seconds: float = 60.0
    report: Callable[[Any, torch.Tensor], None] = no_report
    stop: Callable[[], bool] = never


def check_counts(counts: torch.Tensor | np.ndarray, N: int) -> torch.Tensor:
    """How often each of N words occurs, as float32.

    Raises:
        KDError: not N numbers, a negative one, one that is not finite, or all zero.
    """
    try:
        checked = as_floats(counts)
    except (TypeError, ValueError, RuntimeError) as error:
        raise KDError(f"counts must be numbers ({error})") from None
    if checked.shape != (N,):
        raise KDError(f"counts must have shape ({N},), got {tuple(checked.shape)}")
    if not bool(((checked >= 0) & torch.isfinite(checked)).all()) or not checked.any():
        raise KDError("counts must be finite, none negative, and not all zero")
    return checked


def check_seed(seed: int) -> int:
    """A seed as Python's integer, whatever integer it is.

    Raises:
        KDError: it is none, or none that PyTorch's generators take.
    """
    try:
        found = operator.index(seed)
    except TypeError:
        raise KDError(f"seed must be an integer, got {seed!r}") from None
    if not -(2**63) <= found < 2**64:
        raise KDError(f"seed must be at least -2^63 and below 2^64, got {found}")
    return found


def count_weights(counts: torch.Tensor, power: float) -> torch.Tensor:
    """How much a word's error counts: its number of occurrences to a power.

    Raises:
        KDError: one of them is too large for float32.
    """
    weights = counts**power
    if not weights.isfinite().all():
        raise KDError(
            f"counts to the power {power:g} must be finite in float32, got "
            f"{float(counts.max()):g} to that power"
        )
    return weights


def warn_if_pointless(vectors: torch.Tensor, K: int, parameters: int) -> None:
    """Warn the caller of a learner's caller of codes that save nothing.

    Args:
        vectors: the table that is to be replaced, shape (N, d).
        parameters: numbers of the transform that takes its place.
    """
    if len(vectors) < K:
        message = f"{len(vectors)} words are fewer than the K = {K} values of a position"
    elif parameters >= vectors.numel():
        message = (
            f"the code's {parameters} parameters do not save anything over the table's "
            f"{vectors.numel()}"
        )
    else:
        return
    warnings.warn(message, stacklevel=4)
