"""A table in a size that is asked for: the form with the least error is chosen.

Forms of one size are compared on a sample, simple ones first: numbers rounded to a few bits, a
table of low rank whose factors are rounded, and codes with rounded books, from product quantizers
to sums over all of the vector. Each kind of form is a file in `kdcore/forms`. The one chosen is
then made for the whole table, block by block: memory beyond the result is that of the sample and
a block.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, SupportsFloat

import numpy as np
import torch
from pydantic import AfterValidator, WithJsonSchema

from kdcore.embeddings import Embedding
from kdcore.errors import KDError
from kdcore.forms import Form, Report, Work, form_modules, silent
from kdcore.kinds import KindSettings, unknown
from kdcore.size import FLOAT_BITS, stored_bits
from kdcore.vectors import share_lost, spread_of
from kdcore.words import names_of

# What a table may be stored as, simple ones first.
FORMS: tuple[str, ...] = tuple(form_modules())
BOOK_BITS = (4, 6, 8, 16)
# A simpler form is taken where its error is at most so many times that of the best one.
SIMPLER = 1.02
# Codes are given up where the first of them have so many times the error of simpler forms, and are
# not tried where there are so many bits a number.
FAR, ROUNDING_BITS = 2, 5

# Version of what is chosen and computed, raised where a result moves: it is part of addresses.
NUMERICS = 3


class TargetError(KDError):
    """No form that may be chosen has the size, or the error, that is asked for."""


def check_form(name: str) -> str:
    """The name of a form that a table may be stored in.

    Raises:
        KDError: there is no such form; the message names the nearest one.
    """
    if name not in FORMS:
        raise KDError(unknown("form", name, list(FORMS)))
    return name


# In settings.
FormName = Annotated[
    str, AfterValidator(check_form), WithJsonSchema({"enum": list(FORMS), "type": "string"})
]


@dataclass(frozen=True)
class Compressed:
    """A compressed table.

    Attributes:
        embedding: as it is stored, in eval mode.
        settings: of its kind.
        how: `chosen`, in words; `error`, the share of the variance that is lost, of all words;
            `bits_per_word`, `ratio`, `seed`; `tried`, a row for each form that was compared:
            `form`, `bits_per_word`, `error` on the sample, `chosen`.
    """

    embedding: Embedding
    settings: KindSettings
    how: dict[str, Any]


@dataclass
class Trial:
    """A form with what is lost of the sample."""

    form: Form
    error: float
    chosen: bool = field(default=False)


def compress_table(
    vectors: torch.Tensor | np.ndarray,
    *,
    ratio: float | None = None,
    bits_per_word: float | None = None,
    size: float | None = None,
    max_error: float | None = None,
    forms: Iterable[str] | None = None,
    counts: torch.Tensor | np.ndarray | None = None,
    seed: int = 0,
    seconds: float | None = None,
    report: Report = silent,
    checkpoint: str | Path | None = None,
) -> Compressed:
    """A table in a given size, with as small an error as is found.

    Args:
        vectors: shape (N, d); a `numpy.memmap` is read in pieces.
        ratio: bits of the table in float32 over those that are stored.
        bits_per_word: bits that are stored over N.
        size: bytes that are stored.
        max_error: share of the variance Σ‖v − mean‖² that may be lost: the smallest form within
            it, as far as it is found.
        forms: those of `FORMS` that may be chosen; None: all. See `kdcore/forms`.
        counts: how often each word occurs, (N,): an error counts by the root of it where forms
            are compared and books are learned; `error` of the whole weighs all words alike.
        seed: of every random choice. Equal seeds give equal bytes, but where `seconds` decides.
        seconds: about how long it may take: less refinement, and a narrower search for codes.
        report: told what is being done and the share of it that is done.
        checkpoint: a folder to continue from, if it is there, and to keep finished parts in once
            the work has taken half a minute: errors of forms, books, each block of codes. A
            continued compression ends with the same bytes as an undisturbed one, but where
            `seconds` decides. It stays until `kdcore.checkpoint.remove_checkpoint`.

    Returns:
        The compressed table, its settings, and how it was made.

    Raises:
        TargetError: no form that may be chosen reaches the target.
        KDError: no target or several, one that is not above 0, an unknown form, vectors that are
            not finite or no table, a checkpoint that is no folder or cannot be written.

    Warns:
        UserWarning: it continues from the checkpoint; the checkpoint is damaged or of another
            table, target, seed or version, and is not used.

    Example:
        >>> found = compress_table(torch.randn(2000, 64), ratio=8)
        >>> found.embedding(torch.tensor([3])).shape, found.how["ratio"] >= 8
        (torch.Size([1, 64]), True)
    """
    targets = {
        "ratio": ratio, "bits_per_word": bits_per_word, "size": size, "max_error": max_error,
    }  # fmt: skip
    search = _Search(
        vectors, targets, forms, counts, seed, seconds=seconds, report=report,
        checkpoint=checkpoint,
    )  # fmt: skip
    work = search.work
    if search.target[0] == "max_error":
        chosen, embedding, error = _within(search, search.target[1])
    else:
        chosen = _chosen(search)
        embedding, error = _made(work, chosen.form)
    chosen.chosen = True
    bits, N = stored_bits(embedding.export()), work.table.N
    how = {
        "chosen": _reason(chosen, search.trials),
        "asked": "{} {:g}".format(*search.target),
        "error": error,
        "bits_per_word": bits / N,
        "ratio": N * work.table.dim * FLOAT_BITS / bits,
        "seed": work.seed,
        "tried": [
            {
                "form": trial.form.name,
                "bits_per_word": round(trial.form.bits / N, 2),
                "error": trial.error,
                "chosen": "yes" if trial.chosen else "",
            }
            for trial in search.trials
        ],
    }
    return Compressed(embedding, chosen.form.settings, how)


def compress_share(
    vectors: torch.Tensor | np.ndarray,
    share: int | None,
    shares: int,
    *,
    checkpoint: str | Path,
    ratio: float | None = None,
    bits_per_word: float | None = None,
    size: float | None = None,
    forms: Iterable[str] | None = None,
    counts: torch.Tensor | np.ndarray | None = None,
    seed: int = 0,
    report: Report = silent,
) -> None:
    """Do a share of the work of `compress_table`, for several machines with one folder.

    First, once, the form is chosen and its books are learned; then the shares of the rows are
    encoded, in any order and side by side. `compress_table` with the same arguments then finds all
    of that in the checkpoint.

    Args:
        share: 0 … shares − 1; None for what comes first.
        shares: how many there are.
        checkpoint: the folder.
        vectors, ratio, bits_per_word, size, forms, counts, seed, report: as of `compress_table`.

    Raises:
        KDError: a share that there is not, and what `compress_table` raises.

    Example:
        >>> for share in (None, 0, 1):
        ...     compress_share(vectors, share, 2, checkpoint="parts", ratio=20)
        >>> found = compress_table(vectors, checkpoint="parts", ratio=20)
    """
    if share is not None and not 0 <= share < shares:
        raise KDError(f"share must be from 0 to {shares - 1}, got {share}")
    targets = {"ratio": ratio, "bits_per_word": bits_per_word, "size": size}
    search = _Search(
        vectors, targets, forms, counts, seed, report=report, checkpoint=checkpoint, patience=0.0
    )
    _chosen(search).form.store_share(search.work, share, shares)


def _allowed(forms: Iterable[str] | None) -> tuple[str, ...]:
    """The forms that may be chosen, in the order of `FORMS`."""
    try:
        asked = FORMS if forms is None else [check_form(form) for form in names_of(forms)]
    except KDError as error:
        raise KDError(f"forms: {error}") from None
    if not asked:
        raise KDError(f"forms must be some of {', '.join(FORMS)}, got none")
    return tuple(form for form in FORMS if form in asked)


def _or(names: Sequence[str]) -> str:
    """For example "product or additive"."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _number(name: str, given: object) -> float:
    """A number of whatever type; text is none."""
    try:
        if isinstance(given, SupportsFloat):
            return float(given)
    except (TypeError, ValueError, RuntimeError):
        pass  # several numbers
    raise KDError(f"{name} must be a number, got {given!r}")


class _Search:
    """What is asked for, and the forms that have been tried on a table's sample."""

    def __init__(
        self, vectors: torch.Tensor | np.ndarray, targets: dict[str, float | None],
        forms: Iterable[str] | None, counts: torch.Tensor | np.ndarray | None, seed: int, *,
        seconds: float | None = None, **options: Any,
    ):  # fmt: skip
        given = [(name, value) for name, value in targets.items() if value is not None]
        if len(given) != 1:
            *names, last = targets
            raise KDError(
                f"exactly one of {', '.join(names)} and {last} must be given, got "
                + (", ".join(name for name, _ in given) or "none")
            )
        name, asked = given[0]
        self.target = name, value = name, _number(name, asked)
        if not 0 < value < math.inf:
            raise KDError(f"{name} must be above 0 and finite, got {value:g}")
        if seconds is not None and not _number("seconds", seconds) > 0:
            raise KDError(f"seconds must be above 0, got {seconds:g}")
        self.allowed = _allowed(forms)
        self.work = Work(
            vectors, counts, seed, seconds=seconds,
            identity=[NUMERICS, name, value, self.allowed, seconds], **options,
        )  # fmt: skip
        self.trials: list[Trial] = []

    def try_form(self, form: Form) -> Trial:
        """Its error on the sample, measured once."""
        for trial in self.trials:
            if trial.form == form:
                return trial
        work = self.work
        error = work.checkpoint.errors.get(form.key)
        if error is None:
            error = work.error(form.sketch(work))
            work.checkpoint.store_error(form.key, error)
        trial = Trial(form, error)
        self.trials.append(trial)
        work.report(f"comparing forms ({len(self.trials)}: {form.name})", 0.0)
        return trial

    def candidates(self, limit: int) -> list[Form]:
        """Forms of at most so many bits all of which are tried."""
        return [form for make in self._all("candidates") for form in make(*self._shape, limit)]

    def families(self, limit: int, book_bits: int) -> dict[str, list[Form]]:
        """Forms of at most so many bits in families, with books of so many bits."""
        found: dict[str, list[Form]] = {}
        for make in self._all("families"):
            found |= make(*self._shape, limit, book_bits)
        return found

    def _all(self, function: str) -> list[Any]:
        modules = [form_modules()[name] for name in self.allowed]
        return [getattr(module, function) for module in modules if hasattr(module, function)]

    @property
    def _shape(self) -> tuple[int, int]:
        return self.work.table.N, self.work.table.dim

    def best(self, limit: int) -> Trial | None:
        """The form with the least error on the sample of all that are tried in so many bits."""
        work, (N, dim) = self.work, self._shape
        tried = [self.try_form(form) for form in self.candidates(limit)]
        simple = min((trial.error for trial in tried), default=math.inf)
        stop = time.monotonic() + 0.3 * work.left()
        families = self.families(limit, BOOK_BITS[0])
        least, best = math.inf, ""
        for family, forms in families.items():
            given_up = FAR * simple < least < math.inf or limit >= ROUNDING_BITS * N * dim
            # One form is tried whatever the time, and refuses what it cannot be learned from.
            over = (work.equal or time.monotonic() > stop) and min(simple, least) < math.inf
            if over or (simple < math.inf and given_up):
                break
            error = self.try_form(forms[0]).error
            if error < least:
                least, best = error, family
        if best and least < FAR * simple:
            near = families[best][1:3]
            for bits in BOOK_BITS[1:]:
                near += self.families(limit, bits).get(best, [])[:1]
            for form in near:
                if time.monotonic() > stop:
                    break
                self.try_form(form)
        fitting = [trial for trial in self.trials if trial.form.bits <= limit]
        if not fitting:
            return None
        error = min(trial.error for trial in fitting)
        enough = [trial for trial in fitting if trial.error <= SIMPLER * error + 1e-12]
        return min(enough, key=lambda trial: (trial.form.SIMPLICITY, trial.error))


def _chosen(search: _Search) -> Trial:
    """The form for a size.

    Raises:
        TargetError: none fits in it.
    """
    name, value = search.target
    table, allowed = search.work.table, search.allowed
    N, dim = table.N, table.dim
    full = N * dim * FLOAT_BITS
    limits = {"ratio": full / value, "bits_per_word": value * N, "size": 8 * value}
    found = search.best(int(limits[name]))
    if found is None and "rounding" not in allowed:
        raise TargetError(
            f"{name} must leave room for {_or(allowed)} of {N:,} words of {dim} numbers, "
            f"got {value:g}"
        )
    if found is None:
        raise TargetError(
            f"{name} must leave room for a form of {N:,} words of {dim} numbers, got {value:g}; "
            f"one bit a number takes {dim + 32} bits a word"
        )
    return found


def _within(search: _Search, max_error: float) -> tuple[Trial, Embedding, float]:
    """The smallest form that is found with an error on all rows of at most `max_error`."""
    work = search.work
    full = work.table.N * work.table.dim * FLOAT_BITS
    low, high = 0.0, math.log2(64 * FLOAT_BITS)  # log2 of ratios: known to do, known not to
    for _ in range(6):
        middle = (low + high) / 2
        found = search.best(int(full / 2**middle))
        if found is not None and found.error <= max_error:
            low = middle
        else:
            high = middle
    while True:
        chosen = search.best(int(full / 2**low))
        if chosen is not None:
            embedding, error = _made(work, chosen.form)
            if error <= max_error:
                return chosen, embedding, error
        if low <= 0:
            raise TargetError(
                f"max_error must be one that {_or(search.allowed)} reaches in at most the table's "
                f"own size, got {max_error:g}"
            )
        low = max(0.0, low - 0.15)


def _reason(chosen: Trial, trials: list[Trial]) -> str:
    """Why this form, in words."""
    rivals = [trial for trial in trials if trial.form.bits <= chosen.form.bits]
    kinds = {True: "codes", False: "simpler forms"}
    others = [trial for trial in rivals if trial.form.IS_CODES != chosen.form.IS_CODES]
    text = f"{chosen.form.name}: error {chosen.error:.3g} on a sample"
    if others:
        best = min(others, key=lambda trial: trial.error)
        text += (
            f"; of {kinds[best.form.IS_CODES]} that take no more bits the best, "
            f"{best.form.name}, has {best.error:.3g}"
        )
    return text


def _made(work: Work, form: Form) -> tuple[Embedding, float]:
    """The whole table in a form, and the share of its variance that is lost."""
    table, settings = work.table, form.settings
    loaded = settings.module.load(settings, table.N, table.dim, form.store(work))
    embedding: Embedding = loaded.eval().requires_grad_(False)
    lost, squares, whole = 0.0, 0.0, 0.0
    sums = torch.zeros(table.dim, dtype=torch.float64)
    with torch.no_grad():
        for block in table.blocks():
            exact = table.rows(block)
            composed = embedding(torch.arange(block.start, block.stop))
            lost += float((exact - composed).double().square().sum())
            # About the sample's mean: a large mean would leave no digits.
            centred = exact.double() - work.centre
            sums += centred.sum(0)
            squares += float(centred.square().sum())
            whole += float(exact.double().square().sum())
            work.report("measuring the error", block.stop / table.N)
    spread = spread_of(squares - float(sums.square().sum()) / table.N, whole)
    return embedding, share_lost(lost, spread)
