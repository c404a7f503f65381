"""Codes by k-means, position after position: product, residual and product-residual quantizers.

A group of positions encodes its slice of the vector: the first position by k-means, each further
one by k-means of what is left (Chen et al., "Approximate Nearest Neighbor Search by Residual
Vector Quantization", 2010). With a group a position this is a product quantizer (Jégou et al.,
2011). Codes are found by beam search, as in Liu et al., "Improved Residual Vector Quantization",
2015, and in faiss. No number of it is held for each value of each position of each word, and books
may be learned from a sample, so large tables need little more memory than themselves.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field

from kdcore.additive import (
    BLOCK,
    PIECE,
    SWEEPS,
    Search,
    extend_beam,
    least_squares_codebooks,
    nothing_found,
    random_order,
)
from kdcore.clustering import k_means
from kdcore.codes import Codes
from kdcore.encoding import ROWS, Encoder
from kdcore.kinds import KindSettings
from kdcore.learners import (
    Control,
    CountPower,
    LearnedCodes,
    LearnerInputs,
    check_counts,
    count_weights,
    warn_if_pointless,
)
from kdcore.standardise import Standardisation
from kdcore.transforms.product import grouped_sum, set_books
from kdcore.vectors import check_unequal, relative_error

NUMERICS = 1
EXAMPLE: dict[str, object] = {"K": 4, "D": 4, "groups": 2, "beam": 3, "iterations": 5}


class Settings(KindSettings):
    """The shape of the code and how it is found."""

    K: int = Field(ge=2, description="values of an index")
    D: int = Field(ge=1, description="indices in a code")
    groups: int = Field(
        1,
        ge=1,
        description="groups of D/groups positions, each with a slice of the vector: 1 is a "
        "residual quantizer, D a product quantizer",
    )
    beam: int = Field(8, ge=1, description="best beginnings of a code that are kept at a time")
    iterations: int = Field(20, ge=1, description="iterations of k-means a position")
    words_per_centre: int = Field(
        256,
        ge=1,
        description="words per centre that k-means uses at most, drawn at random; all are encoded",
    )
    sample: int | None = Field(
        None, ge=1, description="words, drawn at random, that the books are learned from; null: all"
    )
    count_power: CountPower = 0.5
    standardise: bool = Field(
        False, description="learn every component as if of mean 0 and variance 1"
    )

    @property
    def needs(self) -> frozenset[str]:
        """Vectors; counts where they count."""
        return frozenset({"vectors", "counts"} if self.count_power > 0 else {"vectors"})


@dataclass(frozen=True)
class ResidualRecord:
    """The state of the codes when a position of every group has been learned.

    Where books are learned from a sample, all words have codes at the end alone.

    Attributes:
        positions: of a group, learned so far.
        error: relative squared error, weighted where words have weights; of standardised vectors
            where these are learned.
        changed: 1; a code with a position more is another one.
        entropy: mean bits per position; log2 K at best.
        used: smallest number of values in use at a position.
        unique: number of distinct codes.
    """

    positions: int
    error: float
    changed: float
    entropy: float
    used: int
    unique: int


class Group:
    """A group of positions that are learned one after another.

    Args:
        vectors: what the group encodes, (n, size of its slice).
        weights: of their errors, (n,).
        width: beginnings of a code that are kept at a time.

    Attributes:
        books: those learned so far, (K, size) each.
    """

    def __init__(self, vectors: torch.Tensor, weights: torch.Tensor, width: int):
        self.vectors, self.weights, self.width = vectors, weights, width
        self.books: list[torch.Tensor] = []
        self._found, self._least = nothing_found(len(vectors), vectors)

    def grow(self, settings: Settings, generator: torch.Generator, *, last: bool = False) -> None:
        """Learn a position more from what the best codes so far leave."""
        K, iterations = settings.K, settings.iterations
        left = self.vectors - self.composed() if self.books else self.vectors
        some = torch.arange(len(left))
        if len(left) > (most := K * settings.words_per_centre):
            some = torch.randperm(len(left), generator=generator)[:most]
        centres = k_means(
            left[some], K, weights=self.weights[some], iterations=iterations, generator=generator
        )
        norms, width = centres.square().sum(1), 1 if last else self.width
        past = torch.cat(self.books) if self.books else centres[:0]
        twice, pieces = 2 * (past @ centres.t()), []
        block = max(1, BLOCK // (K * self._found.shape[1]))
        for of in zip(
            self.vectors.split(block), self._found.split(block), self._least.split(block),
            strict=True,
        ):  # fmt: skip
            own = torch.addmm(norms, of[0], centres.t(), alpha=-2)
            pieces.append(extend_beam(of[1], of[2], own, twice, len(past), width))
        self._found, self._least = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        self.books.append(centres)

    def rows(self) -> torch.Tensor:
        """Rows of the best codes so far in the books stacked as one table, int64 (n, positions)."""
        best = self._least.argmin(1)[:, None, None].expand(-1, 1, self._found.shape[2])
        return self._found.gather(1, best)[:, 0].long()

    def indices(self) -> torch.Tensor:
        """Those of the best codes so far, int64 (n, positions)."""
        return self.rows() - torch.arange(len(self.books)) * len(self.books[0])

    def composed(self) -> torch.Tensor:
        """The vectors of the best codes so far, (n, size)."""
        return F.embedding_bag(self.rows(), torch.cat(self.books), mode="sum")

    def fit(self, generator: torch.Generator) -> torch.Tensor:
        """Make the books the best ones for the codes of all positions, then improve the codes.

        Returns:
            The codes' indices, int64 (n, positions).
        """
        if len(self.books) == 1:
            return self.indices()  # k-means has done both
        K, rows = len(self.books[0]), self.rows()
        W = least_squares_codebooks(rows, self.vectors, K, self.weights)
        self.books = list(W.split(K))
        search, order = Search(W, K), random_order(len(self.books), SWEEPS, generator)
        pieces = zip(rows.split(PIECE), self.vectors.split(PIECE), strict=True)
        better = [search.improve(of, search.own_costs(piece), order) for of, piece in pieces]
        return torch.cat(better) - torch.arange(len(self.books)) * K


def learn(
    settings: Settings, inputs: LearnerInputs, seed: int, control: Control
) -> LearnedCodes | None:
    """Books by k-means of what is left, then by least squares; codes by beam search.

    Raises:
        KDError: vectors or counts that do not belong together or are not finite, groups that do
            not divide D or are more than the components of a vector.

    Warns:
        UserWarning: the code has more values than there are words, or is no smaller than the
            table it replaces.
    """
    vectors, K = inputs.given_vectors(), settings.K
    counts = count_weights(inputs.given_counts(), settings.count_power)
    transform = grouped_sum(K, settings.D, vectors.shape[1], settings.groups)
    warn_if_pointless(vectors, K, transform.parameter_count())
    generator = torch.Generator().manual_seed(seed)
    some = vectors, counts
    if sampled := settings.sample is not None and settings.sample < inputs.words:
        rows = torch.randperm(inputs.words, generator=generator)[: settings.sample].sort().values
        some = vectors[rows], counts[rows]
        check_unequal(some[0])
        check_counts(some[1], len(rows))
    standard = Standardisation.of(some[0], components=settings.standardise)
    targets, weights = standard.apply(some[0]), some[1]
    groups = [
        Group(targets[:, part].contiguous(), weights, settings.beam) for part in transform.slices
    ]
    depth, history = settings.D // settings.groups, []

    def record(positions: int, indices: torch.Tensor, error: float) -> None:
        health = Codes(indices, K).statistics()
        entropy, used = sum(health.entropy) / settings.D, min(health.used)
        history.append(ResidualRecord(positions, error, 1.0, entropy, used, health.unique))
        control.report(history[-1], indices)

    for done in range(1, depth):
        for group in groups:
            group.grow(settings, generator)
        if not sampled:
            found = [F.pad(group.indices(), [0, depth - done]) for group in groups]
            composed = torch.cat([group.composed() for group in groups], 1)
            record(done, torch.cat(found, 1), relative_error(targets, composed, weights))
        if control.stop():
            return None
    for group in groups:
        group.grow(settings, generator, last=True)
    indices = torch.cat([group.fit(generator) for group in groups], 1)
    set_books(transform, [torch.cat(group.books) for group in groups])
    if sampled:
        targets, weights = standard.apply(vectors), counts
        encoder = Encoder(transform, beam=settings.beam, rounds=0)
        indices = torch.cat([encoder(piece) for piece in targets.split(ROWS)])
    error = relative_error(targets, transform.compose_all(indices), weights)
    record(depth, indices, error)
    standard.fold_into(transform)
    return LearnedCodes(Codes(indices, K), transform, tuple(history))
