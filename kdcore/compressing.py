"""A table in a size that is asked for: the form with the least error is chosen.

Forms of one size are compared on a sample, simple ones first: numbers rounded to a few bits, a
table of low rank whose factors are rounded, and codes with rounded books, from product quantizers
to sums over all of the vector. The one chosen is then made for the whole table, block by block:
memory beyond the result is that of the sample and a block.
"""

import hashlib
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal, SupportsFloat, get_args

import numpy as np
import torch

import kdcore
from kdcore.checkpoint import Checkpoint
from kdcore.codes import Codes, code_bits, pack
from kdcore.embeddings import EMBEDDINGS, Embedding
from kdcore.encoding import Encoder
from kdcore.errors import KDError
from kdcore.files import fingerprint
from kdcore.kinds import KindSettings, unknown
from kdcore.learners import (
    Control,
    LearnedCodes,
    LearnerInputs,
    check_counts,
    check_seed,
    refine,
    residual,
)
from kdcore.refinement import parse_refinement
from kdcore.rounding import (
    Scales,
    dequantise,
    quantise,
    read_rounded,
    rounded,
    store_rounded,
    stored_type,
)
from kdcore.size import FLOAT_BITS, stored_bits
from kdcore.transforms import Transform
from kdcore.transforms.product import grouped_sum
from kdcore.vectors import as_float32, check_vectors, is_masked, share_lost, spread_of
from kdcore.words import names_of

# Rows that forms are compared on, and further ones that errors are measured on where there are.
TRIED_ROWS, HELD_OUT = 8192, 2048
# Rows that books are learned from, and rows that are encoded at a time.
LEARNED_ROWS, BLOCK = 65_536, 16_384
# Values of an index, positions of a group, and at most so many rows in the books of a group: their
# least squares take the third power of it.
VALUES, POSITIONS, BOOK_ROWS = (8, 16, 32, 64, 128, 256, 512, 1024), (2, 4, 8), 2048
MOST_POSITIONS = 32
BOOK_BITS = (4, 6, 8, 16)
FACTOR_BITS = (2, 3, 4, 5, 6, 8)
# What a table may be stored as, simple ones first.
FormName = Literal["rounding", "low-rank", "product", "additive", "product-additive"]
FORMS: tuple[FormName, ...] = get_args(FormName)
# A simpler form is taken where its error is at most so many times that of the best one.
SIMPLER = 1.02
# Codes are given up where the first of them have so many times the error of simpler forms, and are
# not tried where there are so many bits a number.
FAR, ROUNDING_BITS = 2, 5
# k-means of so many words a centre: with 256, as is usual, errors are 4 % higher.
WORDS_PER_CENTRE = 1024
# Rounds of refinement: as many as look at so many costs. Where that is fewer than the least, or
# books are learned from a sample, codes are found anew in `BEAM_ROUNDS`, as those of all rows will
# be: books that follow the codes of a sample for long do not suit other rows.
REFINED_COSTS, LEAST_ROUNDS, MOST_ROUNDS = 1e9, 30, 60
BEAM_ROUNDS = 3
# How rows are encoded: width of the beam and perturbations, by the costs of a pass over them.
SEARCHES = ((1e9, 32, 4), (2e9, 16, 4), (5e9, 8, 4), (4e10, 8, 0), (math.inf, 4, 0))

# Version of what is chosen and computed, raised where a result moves: it is part of addresses.
NUMERICS = 3

Report = Callable[[str, float], None]


class TargetError(KDError):
    """No form that may be chosen has the size, or the error, that is asked for."""


def _silent(what: str, share: float) -> None:
    """Report nothing."""


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


@dataclass(frozen=True)
class Form:
    """A way to store a table: settings of an embedding, and the bits that it takes.

    Attributes:
        name: in words.
        settings: of the embedding.
        bits: of all that is stored.
        simplicity: less is simpler.
        shape: K, D and groups, of codes.
    """

    name: str
    settings: KindSettings
    bits: int
    simplicity: int
    shape: tuple[int, int, int] | None = None

    @property
    def depth(self) -> int:
        """Positions of a group; 0 without codes."""
        return self.shape[1] // self.shape[2] if self.shape else 0

    def costs(self, rows: int) -> int:
        """How many a pass over the codes of so many rows looks at: rows · D · K."""
        return rows * self.shape[0] * self.shape[1] if self.shape else 0

    def refinement(self, N: int) -> dict[str, int] | None:
        """Settings of the refinement of a table of N rows; products gain nothing by one."""
        if self.depth < 2:
            return None
        rounds = round(REFINED_COSTS / self.costs(N))
        if N <= LEARNED_ROWS and rounds >= LEAST_ROUNDS:
            return {"rounds": min(MOST_ROUNDS, rounds)}
        return {"rounds": BEAM_ROUNDS, "beam": self.search(N)[0] // 2, "perturbations": 0}

    def search(self, N: int) -> tuple[int, int]:
        """How wide a beam encodes a table of N rows, and how many perturbations follow."""
        costs = self.costs(N)
        return next((beam, times) for most, beam, times in SEARCHES if costs <= most)

    @property
    def key(self) -> str:
        """What it is called in a checkpoint."""
        return fingerprint([self.settings.model_dump(mode="json"), self.bits, self.shape])


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
    report: Report = _silent,
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
        forms: those of `FORMS` that may be chosen; None: all. The last three are codes.
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
    work = _Work(
        vectors, targets, forms, counts, seed, seconds=seconds, report=report,
        checkpoint=checkpoint,
    )  # fmt: skip
    if work.target[0] == "max_error":
        chosen, embedding, error = _within(work, work.target[1])
    else:
        chosen = _chosen(work)
        embedding, error = _made(work, chosen.form)
    chosen.chosen = True
    bits, N = stored_bits(embedding.export()), work.table.N
    how = {
        "chosen": _reason(chosen, work.trials),
        "asked": "{} {:g}".format(*work.target),
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
            for trial in work.trials
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
    report: Report = _silent,
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
    work = _Work(
        vectors, targets, forms, counts, seed, report=report, checkpoint=checkpoint, patience=0.0
    )
    form = _chosen(work).form
    if form.shape is None:
        return
    transform, _, known = _books(work, form)
    if share is not None:
        _encoded(work, form, transform, known, list(work.table.blocks())[share::shares])


def _allowed(forms: Iterable[str] | None) -> tuple[str, ...]:
    """The forms that may be chosen, in the order of `FORMS`."""
    asked = FORMS if forms is None else names_of(forms)
    for form in asked:
        if form not in FORMS:
            raise KDError("forms: " + unknown("form", form, list(FORMS)))
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


# The table and the sample


class _Table:
    """Vectors of whatever kind, in blocks of float32."""

    def __init__(self, vectors: torch.Tensor | np.ndarray):
        array = isinstance(vectors, np.ndarray) and vectors.dtype.kind in "biuf"
        if not array or vectors.ndim != 2 or 0 in vectors.shape or is_masked(vectors):
            vectors = check_vectors(vectors)
        self._vectors = vectors
        self.N, self.dim = int(vectors.shape[0]), int(vectors.shape[1])

    def rows(self, chosen: torch.Tensor | slice) -> torch.Tensor:
        """Some of them, float32.

        Raises:
            KDError: one is not finite.
        """
        if isinstance(self._vectors, torch.Tensor):
            return self._vectors[chosen]
        index: Any = chosen.numpy() if isinstance(chosen, torch.Tensor) else chosen
        try:
            block = torch.from_numpy(as_float32(np.array(self._vectors[index])))
        except (TypeError, ValueError) as error:
            raise KDError(f"vectors must be a table of numbers ({error})") from None
        wrong = ~block.isfinite().all(1)
        if wrong.any():
            at = int(wrong.nonzero()[0])
            row = int(index[at]) if isinstance(chosen, torch.Tensor) else (chosen.start or 0) + at
            raise KDError(f"vector {row} must be finite, got a value that is not")
        return block

    def digest(self) -> str:
        """A hash of all that is in it."""
        digest = hashlib.sha256(f"{self.N} {self.dim}".encode())
        for block in self.blocks():
            digest.update(self.rows(block).numpy().tobytes())
        return digest.hexdigest()

    def blocks(self) -> Iterator[slice]:
        """All rows, in order; a block is a multiple of 8 rows but for the last."""
        for first in range(0, self.N, BLOCK):
            yield slice(first, min(first + BLOCK, self.N))


class _Work:
    """A table, what is asked for, a sample of it and what has been tried."""

    def __init__(
        self, vectors: torch.Tensor | np.ndarray, targets: dict[str, float | None],
        forms: Iterable[str] | None, counts: torch.Tensor | np.ndarray | None, seed: int, *,
        seconds: float | None = None, report: Report = _silent,
        checkpoint: str | Path | None = None, patience: float | None = None,
    ):  # fmt: skip
        begun = time.monotonic()
        self.table = table = _Table(vectors)
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
        self.allowed = allowed = _allowed(forms)
        counts = None if counts is None else check_counts(counts, table.N)
        seed = check_seed(seed)
        self.counts, self.seed, self.report = counts, seed, report
        self.end = None if seconds is None else begun + seconds

        def identity() -> str:
            weights = "" if counts is None else hashlib.sha256(counts.numpy().tobytes()).hexdigest()
            versions = [kdcore.__version__, NUMERICS, torch.__version__]
            return fingerprint(
                [versions, table.digest(), weights, name, value, allowed, seed, seconds]
            )

        self.checkpoint = Checkpoint(checkpoint, identity, patience)
        self.trials: list[Trial] = []
        generator = torch.Generator().manual_seed(seed)
        self.order = torch.randperm(table.N, generator=generator)
        learned = self.order[:TRIED_ROWS].sort().values
        self.learned = table.rows(learned)
        self.weights = None if counts is None else counts[learned]
        held_out = self.order[TRIED_ROWS : TRIED_ROWS + HELD_OUT].sort().values
        self.whole = table.N <= TRIED_ROWS
        self.scored = self.learned if self.whole else table.rows(held_out)
        self.centre = centre = self.learned.double().mean(0)
        scored = learned if self.whole else held_out
        self.importance = torch.ones(len(scored), dtype=torch.float64)
        if counts is not None and float(counts[scored].max()) > 0:
            self.importance = counts[scored].double().sqrt()
        squares = (self.scored.double() - centre).square().sum(1)
        self.variance = float(self.importance @ squares)
        whole = float(self.importance @ self.scored.double().square().sum(1))
        self.variance = spread_of(self.variance, whole)
        self.equal = bool((self.learned == self.learned[0]).all())
        self.basis = _principal([self.learned])

    def error(self, composed: torch.Tensor) -> float:
        """The share of the variance that is lost of the rows that forms are compared on."""
        lost = float(self.importance @ (self.scored - composed).double().square().sum(1))
        return lost / self.variance if self.variance else (0.0 if lost < 1e-12 else math.inf)

    def left(self) -> float:
        """Seconds that are left; infinite without an end."""
        return math.inf if self.end is None else self.end - time.monotonic()

    def try_form(self, form: Form) -> Trial:
        """Its error on the sample, measured once."""
        for trial in self.trials:
            if trial.form == form:
                return trial
        error = self.checkpoint.errors.get(form.key)
        if error is None:
            error = self.error(_tried(self, form))
            self.checkpoint.store_error(form.key, error)
        trial = Trial(form, error)
        self.trials.append(trial)
        self.report(f"comparing forms ({len(self.trials)}: {form.name})", 0.0)
        return trial


def _principal(blocks: Any) -> torch.Tensor:
    """The directions in which vectors are largest, as columns, in falling order, (d, d)."""
    gram: Any = sum(block.double().T @ block.double() for block in blocks)
    directions: torch.Tensor = torch.linalg.eigh(gram).eigenvectors.flip(1)
    return directions


# Forms of a size


def _simple(N: int, dim: int, limit: int) -> list[Form]:
    """The table itself, and its numbers rounded, the finest that fits."""
    table = EMBEDDINGS.parse({"kind": "table"})
    found = []
    if (bits := N * dim * FLOAT_BITS) <= limit:
        found.append(Form("the table as it is", table, bits, 0))
    if (bits := N * dim * 16) <= limit:
        half = EMBEDDINGS.parse({"kind": "rounded", "bits": 16, "of": {"kind": "table"}})
        found.append(Form("numbers in 16 bits", half, bits, 1))
    for each in range(8, 0, -1):
        bits = 8 * -(-N * dim * each // 8) + 32 * N
        if bits <= limit:
            settings = EMBEDDINGS.parse({"kind": "uniform", "bits": each})
            found.append(Form(f"numbers rounded to {_bits(each)}", settings, bits, 1))
            break
    return found


def _low_rank(N: int, dim: int, limit: int) -> list[Form]:
    """Two factors, rounded; for each number of bits and kind of scales the largest rank that fits.

    Scales of columns take far fewer bits than those of N rows of few numbers.
    """
    found = []
    for each, scales in product(FACTOR_BITS, get_args(Scales)):
        fitting = [
            (rank, bits)
            for rank in range(1, min(N, dim) + 1)
            if (bits := _factor_bits(N, dim, rank, each, scales)) <= limit
        ]
        if fitting:
            rank, bits = fitting[-1]
            of = {"kind": "low_rank", "rank": rank}
            settings = EMBEDDINGS.parse(
                {"kind": "rounded", "bits": each, "scales": scales, "of": of}
            )
            name = f"rank {rank} at {_bits(each)}, a scale a {scales}"
            found.append(Form(name, settings, bits, 2))
    return found


def _factor_bits(N: int, dim: int, rank: int, each: int, scales: Scales) -> int:
    """Bits of the factors (N, rank) and (rank, dim) with their scales and offsets."""
    shapes = ((N, rank), (rank, dim))
    numbers = sum(8 * -(-rows * columns * each // 8) for rows, columns in shapes)
    return numbers + 32 * sum(shape[0 if scales == "row" else 1] for shape in shapes)


def _codes(N: int, dim: int, limit: int, book_bits: int) -> dict[str, list[Form]]:
    """Families of codes that fill a size; in each, those first that are likely to be best."""
    found: dict[str, list[Form]] = {}

    def add(family: str, K: int, depth: int, most: int, fewest: int = 1) -> None:
        if N // 4 < K or depth * K > BOOK_ROWS:
            return
        low, high = 0, most  # groups that fit, and at most so many
        while low < high:
            groups = (low + high + 1) // 2
            fits = _code_bits(N, dim, K, depth, groups, book_bits)[0] <= limit
            low, high = (groups, high) if fits else (low, groups - 1)
        if low >= fewest:
            found.setdefault(family, []).append(_code_form(N, dim, K, depth, low, book_bits))

    for K in VALUES:
        add("product", K, 1, dim)
    for K in VALUES:
        for depth in range(min(MOST_POSITIONS, BOOK_ROWS // K), 1, -1):
            if _code_bits(N, dim, K, depth, 1, book_bits)[0] <= limit:
                add("additive", K, depth, 1)
                break
    for depth in POSITIONS:
        for K in VALUES:
            add(f"product-additive of {depth}", K, depth, dim, fewest=2)  # one group is additive
    for forms in found.values():
        forms.sort(key=lambda form: -_strength(form))
    return found


def _strength(form: Form) -> float:
    """More of it is less error, roughly: bits of a code, and of equals fewer positions."""
    assert form.shape is not None
    K, D, _ = form.shape
    return D * math.log2(K) * (1 + 0.08 * math.log2(K))


def _code_bits(
    N: int, dim: int, K: int, depth: int, groups: int, book_bits: int
) -> tuple[int, Scales]:
    """Bits of codes and books, and which scales of the books are fewer."""
    D, longer = depth * groups, dim % groups
    tables = [(D, dim // groups), (depth * longer, 1)]
    numbers = sum(8 * -(-books * K * size * book_bits // 8) for books, size in tables)
    if book_bits == 16:
        return 8 * -(-N * code_bits(K, D) // 8) + numbers, "row"
    of_rows = 32 * sum(books * K for books, _ in tables)
    of_columns = 32 * sum(books * size for books, size in tables)
    scales: Scales = "row" if of_rows <= of_columns else "column"
    return 8 * -(-N * code_bits(K, D) // 8) + numbers + min(of_rows, of_columns), scales


def _code_form(N: int, dim: int, K: int, depth: int, groups: int, book_bits: int) -> Form:
    bits, scales = _code_bits(N, dim, K, depth, groups, book_bits)
    linear: dict[str, object] = {"kind": "linear"}
    transform = linear if groups == 1 else {"kind": "product", "groups": groups}
    settings = EMBEDDINGS.parse(
        {
            "kind": "rounded", "bits": book_bits, "scales": scales,
            "of": {"kind": "kd", "transform": transform, "packing": "code"},
        }
    )  # fmt: skip
    structure = (
        "additive" if groups == 1 else "product" if depth == 1 else f"product-additive, {groups} x"
    )
    name = f"{structure} codes, K = {K}, D = {depth * groups}, books at {_bits(book_bits)}"
    return Form(name, settings, bits, 3, (K, depth * groups, groups))


def _bits(count: int) -> str:
    return "1 bit" if count == 1 else f"{count} bits"


# Choosing


def _best(work: _Work, limit: int) -> Trial | None:
    """The form with the least error on the sample of all that are tried in so many bits."""
    N, dim = work.table.N, work.table.dim
    forms = _simple(N, dim, limit) if "rounding" in work.allowed else []
    forms += _low_rank(N, dim, limit) if "low-rank" in work.allowed else []
    tried = [work.try_form(form) for form in forms]
    simple = min((trial.error for trial in tried), default=math.inf)
    stop = time.monotonic() + 0.3 * work.left()
    families = {
        family: forms
        for family, forms in _codes(N, dim, limit, BOOK_BITS[0]).items()
        if family.partition(" ")[0] in work.allowed
    }
    least, best = math.inf, ""
    for family, forms in families.items():
        given_up = FAR * simple < least < math.inf or limit >= ROUNDING_BITS * N * dim
        # One form is tried whatever the time, and refuses what it cannot be learned from.
        over = (work.equal or time.monotonic() > stop) and min(simple, least) < math.inf
        if over or (simple < math.inf and given_up):
            break
        error = work.try_form(forms[0]).error
        if error < least:
            least, best = error, family
    if best and least < FAR * simple:
        near = families[best][1:3]
        for bits in BOOK_BITS[1:]:
            near += _codes(N, dim, limit, bits).get(best, [])[:1]
        for form in near:
            if time.monotonic() > stop:
                break
            work.try_form(form)
    fitting = [trial for trial in work.trials if trial.form.bits <= limit]
    if not fitting:
        return None
    error = min(trial.error for trial in fitting)
    enough = [trial for trial in fitting if trial.error <= SIMPLER * error + 1e-12]
    return min(enough, key=lambda trial: (trial.form.simplicity, trial.error))


def _chosen(work: _Work) -> Trial:
    """The form for a size.

    Raises:
        TargetError: none fits in it.
    """
    name, value = work.target
    N, dim = work.table.N, work.table.dim
    full = N * dim * FLOAT_BITS
    limits = {"ratio": full / value, "bits_per_word": value * N, "size": 8 * value}
    found = _best(work, int(limits[name]))
    if found is None and "rounding" not in work.allowed:
        raise TargetError(
            f"{name} must leave room for {_or(work.allowed)} of {N:,} words of {dim} numbers, "
            f"got {value:g}"
        )
    if found is None:
        raise TargetError(
            f"{name} must leave room for a form of {N:,} words of {dim} numbers, got {value:g}; "
            f"one bit a number takes {dim + 32} bits a word"
        )
    return found


def _within(work: _Work, max_error: float) -> tuple[Trial, Embedding, float]:
    """The smallest form that is found with an error on all rows of at most `max_error`."""
    full = work.table.N * work.table.dim * FLOAT_BITS
    low, high = 0.0, math.log2(64 * FLOAT_BITS)  # log2 of ratios: known to do, known not to
    for _ in range(6):
        middle = (low + high) / 2
        found = _best(work, int(full / 2**middle))
        if found is not None and found.error <= max_error:
            low = middle
        else:
            high = middle
    while True:
        chosen = _best(work, int(full / 2**low))
        if chosen is not None:
            embedding, error = _made(work, chosen.form)
            if error <= max_error:
                return chosen, embedding, error
        if low <= 0:
            raise TargetError(
                f"max_error must be one that {_or(work.allowed)} reaches in at most the table's "
                f"own size, got {max_error:g}"
            )
        low = max(0.0, low - 0.15)


def _reason(chosen: Trial, trials: list[Trial]) -> str:
    """Why this form, in words."""
    rivals = [trial for trial in trials if trial is not chosen and trial.form.bits <= 1.02 * max(
        chosen.form.bits, 1)]  # fmt: skip
    kinds = {True: "codes", False: "simpler forms"}
    others = [trial for trial in rivals if bool(trial.form.shape) != bool(chosen.form.shape)]
    text = f"{chosen.form.name}: error {chosen.error:.3g} on a sample"
    if others:
        best = min(others, key=lambda trial: trial.error)
        text += (
            f"; of {kinds[bool(best.form.shape)]} that take no more bits the best, "
            f"{best.form.name}, has {best.error:.3g}"
        )
    return text


# Errors on the sample


def _tried(work: _Work, form: Form) -> torch.Tensor:
    """Vectors as a form composes them, of the rows that forms are compared on."""
    settings: Any = form.settings
    if form.shape is not None:
        learned = _learn(form, work.learned, work.weights, work.seed, beam=2, iterations=8)
        refinement, beam = form.refinement(work.table.N), 2
        if refinement and "beam" in refinement:
            # No short refinement tells how it ends: the beam that will encode all rows does.
            beam = form.search(work.table.N)[0]
        elif refinement:
            brief = {"rounds": 2, "perturbations": 1}
            learned = _refined(work, work.learned, work.weights, learned, form.shape[2], brief)
        assert learned.transform is not None
        _rounded_books(learned.transform, settings.bits, settings.scales)
        encoder = Encoder(learned.transform, beam=beam, rounds=0)
        start = learned.codes.tensor() if work.whole else None
        return learned.transform.compose_all(encoder(work.scored, start))
    if settings.kind == "uniform":
        return dequantise(*quantise(work.scored, settings.bits))
    if settings.kind == "table":
        return work.scored
    if settings.of.kind == "table":
        return rounded(work.scored, settings.bits)
    basis = _factors(work.basis, settings.of.rank, work.seed)
    rows = rounded(work.scored @ basis.T, settings.bits, settings.scales)
    return rows @ rounded(basis, settings.bits, settings.scales)


def _factors(principal: torch.Tensor, rank: int, seed: int) -> torch.Tensor:
    """An orthonormal basis of the largest directions, (rank, d), turned at random.

    So all components of a row have one size, and share a scale well.
    """
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(rank, rank, generator=generator, dtype=torch.float64)).Q
    basis: torch.Tensor = (turn @ principal[:, :rank].T).float()
    return basis


def _learn(
    form: Form, vectors: torch.Tensor, counts: torch.Tensor | None, seed: int, *, beam: int,
    iterations: int,
) -> LearnedCodes:  # fmt: skip
    assert form.shape is not None
    K, D, groups = form.shape
    settings = residual.Settings(
        K=K, D=D, groups=groups, beam=beam, iterations=iterations,
        words_per_centre=WORDS_PER_CENTRE,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a small sample: the table is larger
        learned = residual.learn(
            settings, LearnerInputs(len(vectors), vectors, counts), seed, Control()
        )
    assert learned is not None
    return learned


def _rounded_books(transform: Transform, bits: int, scales: Scales) -> dict[str, torch.Tensor]:
    """Give a transform the books that are stored; returns these, by name."""
    stored: dict[str, torch.Tensor] = {}
    whole = {}
    for name, tensor in transform.export().items():
        part = store_rounded(f"transform.{name}", tensor, bits, scales)
        whole[name] = (
            part[f"transform.{name}"].float()
            if bits == 16
            else read_rounded(f"transform.{name}", part, bits, scales)
        )
        stored |= part
    transform.load_exported(whole)
    return stored


# The whole table


def _made(work: _Work, form: Form) -> tuple[Embedding, float]:
    """The whole table in a form, and the share of its variance that is lost."""
    table, settings = work.table, form.settings
    tensors = _coded(work, form) if form.shape is not None else _simply(work, form)
    loaded = settings.module.load(settings, table.N, table.dim, tensors)
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


def _simply(work: _Work, form: Form) -> dict[str, torch.Tensor]:
    """The tensors of a form without codes."""
    table, settings = work.table, form.settings
    assert isinstance(settings, KindSettings)
    plain: Any = settings
    if settings.kind == "uniform":
        pieces, stored = [], stored_type(map(table.rows, table.blocks()), plain.bits)
        for block in table.blocks():
            levels, scale, offset = quantise(table.rows(block), plain.bits, stored)
            pieces.append((pack(levels.long(), plain.bits), scale.flatten(), offset.flatten()))
            work.report("rounding", block.stop / table.N)
        packed, scale, offset = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        return {"packed": packed, "scale": scale, "offset": offset}
    if settings.kind == "table":
        return {"weight": torch.cat([table.rows(block) for block in table.blocks()])}
    if plain.of.kind == "table":
        stored = stored_type(map(table.rows, table.blocks()), plain.bits)
        halves = (rounded(table.rows(block), 16, stored=stored) for block in table.blocks())
        return {"weight": torch.cat([half.to(stored) for half in halves])}
    principal = _principal(table.rows(block) for block in table.blocks())
    basis = _factors(principal, plain.of.rank, work.seed)
    rows = torch.cat([table.rows(block) @ basis.T for block in table.blocks()])
    return {
        **store_rounded("rows", rows, plain.bits, plain.scales),
        **store_rounded("basis", basis, plain.bits, plain.scales),
    }  # fmt: skip


def _coded(work: _Work, form: Form) -> dict[str, torch.Tensor]:
    """Books of a sample, refined and rounded, and codes of all rows."""
    transform, stored, known = _books(work, form)
    blocks = list(work.table.blocks())
    codes = Codes.cat(_encoded(work, form, transform, known, blocks))
    return {"packed": codes.pack_whole(), **stored}


def _books(
    work: _Work, form: Form
) -> tuple[Transform, dict[str, torch.Tensor], torch.Tensor | None]:
    """A transform with rounded books, these as they are stored, and all rows' codes if known."""
    assert form.shape is not None
    table, plain = work.table, form.settings
    assert isinstance(plain, KindSettings)
    rounding: Any = plain
    chosen = work.order[:LEARNED_ROWS].sort().values
    sample = table.rows(chosen)
    counts = None if work.counts is None else work.counts[chosen]
    begun = time.monotonic()

    def learn() -> LearnedCodes:
        work.report("learning the books", 0.0)
        # A wider one than 8 gains something for the rows that it sees, and nothing for others.
        beam = form.search(table.N)[0] if len(sample) == table.N else 8
        return _learn(form, sample, counts, work.seed, beam=beam, iterations=20)

    learned = _kept(work, f"learned-{form.key}", form, len(sample), learn)
    settings, groups, first = form.refinement(table.N), form.shape[2], learned
    if settings is not None:
        if work.end is not None:
            # A round takes about as long as learning did.
            each = max(1e-3, time.monotonic() - begun)
            settings["rounds"] = min(settings["rounds"], int(0.5 * work.left() / each))
        if settings["rounds"] > 0:
            learned = _kept(
                work, f"refined-{form.key}", form, len(sample),
                lambda: _refined(work, sample, counts, first, groups, settings),
            )  # fmt: skip
    assert learned.transform is not None
    stored = _rounded_books(learned.transform, rounding.bits, rounding.scales)
    known = learned.codes.tensor() if len(sample) == table.N else None
    return learned.transform, stored, known


def _kept(
    work: _Work, name: str, form: Form, rows: int, learn: Callable[[], LearnedCodes]
) -> LearnedCodes:
    """What was learned, from the checkpoint where it is there."""
    assert form.shape is not None
    K, D, groups = form.shape
    found = work.checkpoint.load(name)
    if found is not None:
        codes = Codes.from_packed(found.pop("packed"), K, (rows, D))
        transform = grouped_sum(K, D, work.table.dim, groups)
        transform.load_exported(found)
        return LearnedCodes(codes, transform, ())
    learned = learn()
    assert learned.transform is not None
    # A copy: what is learned is rounded in place.
    books = {name: tensor.clone() for name, tensor in learned.transform.export().items()}
    work.checkpoint.store(name, {"packed": learned.codes.packed, **books})
    return learned


def _refined(
    work: _Work, sample: torch.Tensor, counts: torch.Tensor | None, learned: LearnedCodes,
    groups: int, given: dict[str, int],
) -> LearnedCodes:  # fmt: skip
    def tell(record: Any, _: torch.Tensor) -> None:
        if sample is not work.learned:
            work.report("refining the books", record.round / settings.rounds)

    settings = parse_refinement({**given, "groups": groups})
    inputs = LearnerInputs(len(sample), sample, counts, learned.codes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = refine.learn(settings, inputs, work.seed, Control(report=tell))
    assert found is not None
    return found


def _encoded(
    work: _Work, form: Form, transform: Transform, known: torch.Tensor | None, blocks: list[slice]
) -> list[Codes]:
    """Codes of some blocks of rows, in as many threads as PyTorch has."""
    table, K, D = work.table, transform.K, transform.D
    beam, rounds = form.search(table.N)
    encoder = Encoder(transform, beam=beam, rounds=rounds, seed=work.seed)
    found: dict[int, Codes] = {}
    for block in blocks:
        kept = work.checkpoint.load(f"codes-{form.key}-{block.start}")
        if kept is not None:
            shape = (block.stop - block.start, D)
            found[block.start] = Codes.from_packed(kept["packed"], K, shape)
    left = [block for block in blocks if block.start not in found]
    if work.end is not None and known is None and left:
        # A first block tells how long all of them take.
        begun = time.monotonic()
        encoder(table.rows(left[0]))
        while encoder.beam > 1 and (time.monotonic() - begun) * len(left) > work.left():
            encoder = Encoder(transform, beam=encoder.beam // 2, rounds=0, seed=work.seed)
            begun = time.monotonic()
            encoder(table.rows(left[0]))

    def code(block: slice) -> Codes:
        start = None if known is None else known[block]
        return Codes(encoder(table.rows(block), start), K)

    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        for done, (block, part) in enumerate(zip(left, pool.map(code, left), strict=True), 1):
            found[block.start] = part
            work.checkpoint.store(f"codes-{form.key}-{block.start}", {"packed": part.packed})
            work.report("encoding", done / len(left))
    finally:
        pool.shutdown(cancel_futures=True)  # whoever interrupts does not wait for all blocks
        torch.set_num_threads(threads)  # of threads that are begun later, too
    return [found[block.start] for block in blocks]
