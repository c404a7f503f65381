"""What a compressed table has lost: errors, cosines, neighbours, similarity, by frequency."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from kdcore.compressed import CompressedVectors
from kdcore.errors import KDError
from kdcore.formats import PIECE, FoundVectors, given_vectors
from kdcore.learners import check_seed
from kdcore.tensors import on_cpu
from kdcore.vectors import share_lost, spread_of
from kdcore.words import Words, names_of

# Ranks that end a band of frequency, neighbours that are compared, and bins of cosines.
BANDS, NEIGHBOURS, BINS = (1_000, 10_000, 100_000), 10, 40
# Words whose neighbours are shown.
SHOWN = 8


@dataclass(frozen=True)
class Quality:
    """How near the compressed vectors of some words are to their own.

    Attributes:
        words: how many.
        error: Σ‖v − v̂‖² / Σ‖v − mean‖², the share of the variance that is lost; the mean is that
            of all words. Where all vectors are equal, Σ‖v − v̂‖² / Σ‖v‖².
        cosine: of a vector and its own compressed one, the mean.
        worst: the cosine that one word in a hundred is below.
        overlap: share of the 10 nearest words by cosine that stay among the 10 nearest; None where
            no word was asked.
        queries: words whose neighbours were compared.
    """

    words: int
    error: float
    cosine: float
    worst: float
    overlap: float | None
    queries: int


@dataclass(frozen=True)
class Similarity:
    """Spearman's rank correlation of cosines with what people say of pairs of words.

    Attributes:
        name: of the file.
        pairs: of which both words are in the table.
        given: pairs in the file.
        before: of the vectors as they were.
        after: of the compressed ones.
    """

    name: str
    pairs: int
    given: int
    before: float
    after: float


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        ratio: bits of the table in float32 over those that are stored.
        bits_per_word: stored bits over the number of words.
        all: of all words.
        bands: of words by rank, such as "1 to 1,000", the order of the file being that of how
            often words occur.
        similarity: one entry a file of pairs.
        missing: words of the compressed table that the other one does not have.
        histogram: words by cosine, in equal parts between the two ends.
        ends: of the histogram.
        neighbours: of some words, those before and those after.
    """

    ratio: float
    bits_per_word: float
    all: Quality
    bands: dict[str, Quality]
    similarity: tuple[Similarity, ...]
    missing: int
    histogram: tuple[int, ...]
    ends: tuple[float, float]
    neighbours: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def rows(self) -> list[list[str]]:
        """The measures as a table of text; the first row has the headings."""
        head = ["words", "count", "error", "cosine", "worst 1 %", "overlap@10"]
        found = [head]
        for name, q in {"all": self.all, **self.bands}.items():
            numbers = (f"{x:.4f}" for x in (q.error, q.cosine, q.worst))
            overlap = "-" if q.overlap is None else f"{q.overlap:.3f}"
            found.append([name, f"{q.words:,}", *numbers, overlap])
        return found

    def lines(self) -> list[str]:
        """All of it for a terminal."""
        found = [f"{self.ratio:.1f} times smaller, {self.bits_per_word:.1f} bits a word", ""]
        found += columns(self.rows())
        if self.missing:
            found.append(f"{self.missing:,} words are not in the other table and left out")
        for s in self.similarity:
            found.append(
                f"{s.name}: {s.before:.3f} before, {s.after:.3f} after "
                f"({s.pairs} of {s.given} pairs; Spearman)"
            )
        return found


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of text: the first column to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


@on_cpu()
def evaluate(
    compressed: CompressedVectors,
    against: Any,
    *,
    similarity: str | Path | Iterable[str | Path] = (),
    queries: int = 1_000,
    seed: int = 0,
    report: Callable[[str, float], None] = lambda what, share: None,
) -> Evaluation:
    """Compare a compressed table with the one that it was made from.

    Memory beyond the two tables does not grow with the number of words, but for a number a word.

    Args:
        compressed: the table.
        against: the vectors in any form that `kdcore.compress` takes; rows are matched by word
            where both tables have words.
        similarity: text files of two words and a number a line, such as WordSim-353.
        queries: words whose neighbours are compared, a sample.
        seed: of the sample.
        report: called with what is being done and the share of it that is done.

    Raises:
        KDError: tables of different sizes, no word in common, a file that cannot be read.

    Example:
        >>> evaluate(v, "vectors.txt", similarity=["wordsim353.tsv"]).all.overlap
        0.51
    """
    found = given_vectors(against)
    rows, theirs = _matched(compressed, found)
    if found.vectors.shape[1] != compressed.dim:
        raise KDError(
            f"vectors must be of the compressed table's size {compressed.dim}, got "
            f"{found.vectors.shape[1]}"
        )
    if queries < 0:
        raise KDError(f"queries must be at least 0, got {queries}")
    seed = check_seed(seed)
    pair = _Pair(compressed, found.vectors, rows, theirs)
    lost, spread, cosines = pair.errors(report)
    bands = _bands(rows)
    sample = _sample(bands, queries, seed)
    overlaps, near = pair.overlaps(sample, report)
    info = compressed.info()
    measured = {
        name: _quality(members, lost, spread, cosines, sample, overlaps)
        for name, members in bands.items()
    }
    everything = torch.arange(len(rows))
    whole = _quality(everything, lost, spread, cosines, sample, overlaps)
    shares = [(q.words, q.overlap) for q in measured.values() if q.overlap is not None]
    if shares:
        # Bands are sampled alike, but are not alike in size.
        total = sum(words for words, _ in shares)
        mean = sum(words * overlap for words, overlap in shares) / total
        whole = Quality(**{**asdict(whole), "overlap": mean})
    low = math.floor(10 * min(_low_end(cosines), 0.9)) / 10
    counts = torch.histc(cosines.clamp(low, 1), BINS, low, 1)
    names = compressed.words
    shown = {
        names[int(rows[at])]: (
            tuple(names[int(rows[i])] for i in before),
            tuple(names[int(rows[i])] for i in after),
        )
        for at, (before, after) in list(zip(sample.tolist(), near, strict=True))[:SHOWN]
    }
    return Evaluation(
        info.ratio, info.bits_per_word, whole, measured if len(measured) > 1 else {},
        tuple(_similarity(Path(file), compressed, found) for file in names_of(similarity)),
        len(compressed) - len(rows), tuple(int(n) for n in counts), (low, 1.0), shown,
    )  # fmt: skip


def _low_end(cosines: torch.Tensor) -> float:
    """What one in a thousand is below; `torch.quantile` takes 16 million numbers at most."""
    return float(cosines.kthvalue(len(cosines) // 1000 + 1).values)


def _matched(
    compressed: CompressedVectors, found: FoundVectors
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of the compressed table, and those of the other one that have the same words."""
    if not compressed.has_words or found.words is None:
        if len(compressed) != len(found.vectors):
            raise KDError(
                f"vectors must be {len(compressed)} where they are not matched by words, got "
                f"{len(found.vectors)}"
            )
        rows = torch.arange(len(compressed))
        return rows, rows
    theirs = found.words if isinstance(found.words, Words) else Words(found.words)
    places = [theirs.find(word) for word in compressed.words]
    rows = torch.tensor([i for i, place in enumerate(places) if place is not None])
    if not len(rows):
        raise KDError("the two tables have no word in common")
    return rows, torch.tensor([place for place in places if place is not None])


@on_cpu()
def relative_loss(vectors: torch.Tensor, compressed: CompressedVectors, first: int) -> float:
    """Of the rows from `first` on, the share of the variance of their vectors that is lost.

    Equal vectors have no variance: there it is the share of their squared lengths.
    """
    rows = torch.arange(first, first + len(vectors))
    mean = vectors.double().mean(0)
    pieces = list(zip(vectors.split(PIECE), rows.split(PIECE), strict=True))
    lost = sum(float((v - compressed[at]).double().square().sum()) for v, at in pieces)
    variance = sum(float((v.double() - mean).square().sum()) for v, _ in pieces)
    squares = sum(float(v.double().square().sum()) for v, _ in pieces)
    return share_lost(lost, spread_of(variance, squares))


class _Pair:
    """The vectors of the same words before and after."""

    def __init__(
        self,
        compressed: CompressedVectors,
        vectors: torch.Tensor,
        rows: torch.Tensor,
        theirs: torch.Tensor,
    ):
        self.compressed, self.vectors = compressed, vectors
        self.rows, self.theirs = rows, theirs

    def before(self, members: torch.Tensor) -> torch.Tensor:
        return self.vectors[self.theirs[members]].float()

    def after(self, members: torch.Tensor) -> torch.Tensor:
        return self.compressed[self.rows[members]]

    def blocks(self) -> Iterator[torch.Tensor]:
        yield from torch.arange(len(self.rows)).split(PIECE)

    def errors(
        self, report: Callable[[str, float], None]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of each word ‖v − v̂‖², ‖v − mean‖² (‖v‖² if all are equal) and the cosine of v and v̂."""
        sums = [self.before(block).double().sum(0) for block in self.blocks()]
        mean = torch.stack(sums).sum(0) / len(self.rows)
        lost, spread, squares, cosines = [], [], [], []
        for block in self.blocks():
            report("errors", float(block[0]) / len(self.rows))
            v, w = self.before(block).double(), self.after(block).double()
            lost.append((v - w).square().sum(1))
            spread.append((v - mean).square().sum(1))
            squares.append(v.square().sum(1))
            lengths = v.norm(dim=1) * w.norm(dim=1)
            # Two vectors of zeros are the same.
            alike = ((v == 0).all(1) & (w == 0).all(1)).double()
            cosines.append(torch.where(lengths > 0, (v * w).sum(1) / lengths, alike))
        variances, whole = torch.cat(spread), torch.cat(squares)
        total = float(variances.sum())
        shared = variances if spread_of(total, float(whole.sum())) == total else whole
        return torch.cat(lost), shared, torch.cat(cosines)

    def overlaps(
        self, sample: torch.Tensor, report: Callable[[str, float], None]
    ) -> tuple[torch.Tensor, list[tuple[list[int], list[int]]]]:
        """Of each word in a sample, the share of neighbours that stay, and both lists of them."""
        k = min(NEIGHBOURS, len(self.rows) - 1)
        if not len(sample) or k < 1:
            return torch.zeros(0), [([], [])] * len(sample)
        found = []
        for side, read in enumerate((self.before, self.after)):
            queries = _unit(read(sample))
            scores, places = torch.empty(len(sample), 0), torch.empty(len(sample), 0).long()
            for block in self.blocks():
                report("neighbours", (side + float(block[0]) / len(self.rows)) / 2)
                products = queries @ _unit(read(block)).T
                products[sample[:, None] == block] = -torch.inf
                best = products.topk(min(k, len(block)))
                scores = torch.cat([scores, best.values], 1)
                places = torch.cat([places, block[best.indices]], 1)
                kept = scores.topk(min(k, scores.shape[1]))
                scores, places = kept.values, places.gather(1, kept.indices)
            found.append(places.tolist())
        pairs = list(zip(*found, strict=True))
        shares = [len(set(before) & set(after)) / k for before, after in pairs]
        return torch.tensor(shares, dtype=torch.float64), pairs


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(_sized(vectors), dim=1)


def _sized(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors (…, d); those whose squares leave float32 are divided by their largest number."""
    largest = vectors.abs().amax(-1, keepdim=True)
    odd = (largest > 0) & ((largest < 1e-6) | (largest > 1e15))
    return torch.where(odd, vectors / largest, vectors)


def _bands(rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """Places in `rows` by the rank of the word, which is its row in the compressed table."""
    found, begin, last = {}, 0, int(rows[-1]) + 1
    for end in [*(end for end in BANDS if end < last), last]:
        members = ((rows >= begin) & (rows < end)).nonzero().flatten()
        if len(members):
            found[f"{begin + 1:,} to {end:,}"] = members
        begin = end
    return found


def _sample(bands: dict[str, torch.Tensor], queries: int, seed: int) -> torch.Tensor:
    """As many words of each band as can be, in their order."""
    generator = torch.Generator().manual_seed(seed)
    found: list[torch.Tensor] = []
    left = queries
    for at, members in enumerate(sorted(bands.values(), key=len)):
        count = min(len(members), left // (len(bands) - at))
        left -= count
        found.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(found).sort().values


def _quality(
    members: torch.Tensor, lost: torch.Tensor, spread: torch.Tensor, cosines: torch.Tensor,
    sample: torch.Tensor, overlaps: torch.Tensor,
) -> Quality:  # fmt: skip
    asked = torch.isin(sample, members)[: len(overlaps)]
    own = cosines[members].sort().values
    return Quality(
        len(members),
        share_lost(float(lost[members].sum()), float(spread[members].sum())),
        float(own.mean()),
        float(own[len(own) // 100]),
        float(overlaps[asked].mean()) if asked.any() else None,
        int(asked.sum()),
    )


def read_pairs(path: Path) -> list[tuple[str, str, float]]:
    """Pairs of words and a number, separated by tabs, commas or spaces.

    Lines that begin with `#` and a first line of headings are passed over.

    Raises:
        KDError: the file cannot be read, or a line is something else.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise KDError(f"{path}: {reason}") from None
    found: list[tuple[str, str, float]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        separator = next((sign for sign in "\t,;" if sign in line), None)
        parts = [part.strip() for part in line.split(separator)]
        try:
            first, second, score = parts[0], parts[1], float(parts[2])
            if not math.isfinite(score):
                raise ValueError
        except (IndexError, ValueError):
            if not found and number <= 2:
                continue
            raise KDError(f"{path}: line {number} must be two words and a number") from None
        found.append((first, second, score))
    if not found:
        raise KDError(f"{path}: no pairs of words")
    return found


def _similarity(path: Path, compressed: CompressedVectors, found: FoundVectors) -> Similarity:
    if not compressed.has_words:
        raise KDError(f"{path}: similarity of words needs a table with words")
    pairs = read_pairs(path)
    theirs: dict[str, int] | None = None
    if found.words is not None:
        sought = {form for a, b, _ in pairs for word in (a, b) for form in (word, word.lower())}
        theirs = {word: row for row, word in enumerate(found.words) if word in sought}
    scores, before, after = [], [], []
    for first, second, score in pairs:
        rows = [_known(word, compressed, theirs) for word in (first, second)]
        if None in rows:
            continue
        (a, ours_a), (b, ours_b) = (row for row in rows if row is not None)
        scores.append(score)
        before.append(_cosine(found.vectors[a].float(), found.vectors[b].float()))
        after.append(_cosine(compressed[ours_a], compressed[ours_b]))
    if len(scores) < 3:
        raise KDError(f"{path}: must have 3 pairs with both words in the table, got {len(scores)}")
    return Similarity(
        path.stem, len(scores), len(pairs), spearman(scores, before), spearman(scores, after)
    )


def _known(
    word: str, compressed: CompressedVectors, theirs: dict[str, int] | None
) -> tuple[int, int] | None:
    """A word's rows in the two tables, as it is written or in small letters."""
    for form in (word, word.lower()):
        own = compressed.words.find(form)
        other = own if theirs is None else theirs.get(form)
        if own is not None and other is not None:
            return other, own
    return None


def _cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    first, second = _sized(first), _sized(second)
    return float(torch.nn.functional.cosine_similarity(first, second, dim=0))


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """The correlation of ranks, equal numbers having the mean of theirs."""
    ranks = [_ranks(torch.tensor(numbers, dtype=torch.float64)) for numbers in (first, second)]
    a, b = (rank - rank.mean() for rank in ranks)
    return float((a @ b) / (a.norm() * b.norm()).clamp(min=1e-300))


def _ranks(numbers: torch.Tensor) -> torch.Tensor:
    _, group, counts = torch.unique(numbers, return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    ranks: torch.Tensor = (ends - (counts.double() - 1) / 2)[group]
    return ranks
