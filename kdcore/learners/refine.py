"""Codes refined without gradients: Eq. 1 for the linear transform as additive quantisation.

Code books and codes are improved in turn (`kdcore.additive`), and noise on W that fades away lets
codes leave poor local minima (Martinez et al., "LSQ++", 2018, stochastic relaxation). This is where
Algorithm 1 of the paper can be left behind: it starts from the codes that another learner found.
"""

import math

import torch
import torch.nn.functional as F
from pydantic import Field

from kdcore.additive import PIECE, Search, least_squares_codebooks, random_order
from kdcore.alternating import State, best_round
from kdcore.codes import Codes
from kdcore.kinds import KindSettings, Section
from kdcore.learners import (
    Control,
    CountPower,
    LearnedCodes,
    LearnerInputs,
    count_weights,
    warn_if_pointless,
)
from kdcore.standardise import Standardisation
from kdcore.transforms.product import grouped_sum, set_books

NUMERICS = 1
EXAMPLE: dict[str, object] = {"start": "linear", "rounds": 3}

# The noise that suits adds a share of the error to what a code composes: rounds / 120, for the more
# rounds follow, the more they make good, and 0.3 at most. On GloVe's and a language model's vectors
# half or twice as much ends within 2 % of the best error.
ROUNDS_PER_ERROR, LARGEST_SHARE = 120, 0.3


class RefinementSettings(Section):
    """How codes are refined for sums of code embeddings."""

    rounds: int = Field(
        60, gt=0, description="times that code embeddings and codes are improved in turn"
    )
    sweeps: int = Field(2, gt=0, description="passes over the positions of a code in a round")
    noise: float | None = Field(
        0.05,
        ge=0,
        description="standard deviation of the noise on code embeddings at the start, as a share "
        "of that of the vectors; its square falls linearly, to zero after the last round. "
        "Null: what suits the error at the start, D and the number of rounds; with a beam none",
    )
    perturbations: int = Field(
        0,
        ge=0,
        description="times in a round that some random indices are set in every code and improved; "
        "what is no better is undone. A round takes longer and more comes of it: 4 are best for "
        "their time, with 1 sweep",
    )
    beam: int = Field(
        0,
        ge=0,
        description="best beginnings of a code that are kept in a beam search, which finds all "
        "codes anew in every round; 0 improves those of the round before. With few rounds, and "
        "for books that other vectors are encoded with, a beam ends lower",
    )
    groups: int = Field(
        1,
        ge=1,
        description="groups of D/groups positions, each of which composes its own slice of the "
        "vector; 1 is a sum over all",
    )
    count_power: CountPower = 0.5
    standardise: bool = Field(
        False, description="refine every component as if of mean 0 and variance 1"
    )


class Settings(KindSettings, RefinementSettings):
    """How the codes of another entry are refined."""

    start: str = Field(description="name of the codes to start from")

    @property
    def needs(self) -> frozenset[str]:
        counts = {"counts"} if self.count_power > 0 else set()
        return frozenset({"vectors", "start"} | counts)


class Refined:
    """The positions that compose a slice of the vectors, and their books.

    Args:
        targets: the slice, (n, size).
        indices: codes to begin with, int64 (n, positions).
        K: values of an index.
        weights: of the errors, (n,).

    Attributes:
        W: the books that are best for the codes, (positions·K, size).
    """

    def __init__(self, targets: torch.Tensor, indices: torch.Tensor, K: int, weights: torch.Tensor):
        self.targets, self.K, self.weights = targets, K, weights
        self._spread, self._first = targets.std(0), torch.arange(indices.shape[1]) * K
        self._rows = indices + self._first
        self.W = least_squares_codebooks(self._rows, targets, K, weights)

    def refine(
        self, noise: float, settings: RefinementSettings, generator: torch.Generator
    ) -> None:
        """A round: better codes for the books with noise on them, and their best books."""
        drawn = torch.randn(self.W.shape, generator=generator, dtype=self.W.dtype)
        shaken = self.W + noise * self._spread * drawn
        order = random_order(len(self._first), settings.sweeps, generator)
        search, times, seed = Search(shaken, self.K), settings.perturbations, 0
        if times:
            seed = int(torch.randint(1 << 62, (), generator=generator))
        if settings.beam:
            self._rows = search.find(
                self.targets, width=settings.beam, order=order, times=times, seed=seed
            )
        else:
            better = []
            for rows, piece in zip(self._rows.split(PIECE), self.targets.split(PIECE), strict=True):
                own = search.own_costs(piece)
                found = search.improve(rows, own, order)
                if times and search.D > 1:
                    found = search.perturb(found, own, piece, times=times, seed=seed)
                better.append(found)
            self._rows = torch.cat(better)
        self.W = least_squares_codebooks(self._rows, self.targets, self.K, self.weights)

    def indices(self) -> torch.Tensor:
        """Those of the codes, int64 (n, positions)."""
        return self._rows - self._first

    def composed(self) -> torch.Tensor:
        """The slice that the codes compose, (n, size)."""
        return F.embedding_bag(self._rows, self.W, mode="sum")


def learn(
    settings: RefinementSettings, inputs: LearnerInputs, seed: int, control: Control
) -> LearnedCodes | None:
    """The codes of the round with the least error, and the transform best for them.

    Raises:
        KDError: vectors, codes or counts that do not belong together or are not finite, groups
            that do not divide the codes' positions or are more than the components of a vector.

    Warns:
        UserWarning: the code has more values than there are words, or is no smaller than the
            table it replaces.
    """
    vectors, start, counts = inputs.given_vectors(), inputs.given_start(), inputs.given_counts()
    weights = count_weights(counts, settings.count_power)
    K, D, G = start.K, start.D, settings.groups
    transform = grouped_sum(K, D, vectors.shape[1], G)
    warn_if_pointless(vectors, K, transform.parameter_count())
    standard = Standardisation.of(vectors, components=settings.standardise)
    targets = standard.apply(vectors)
    generator = torch.Generator().manual_seed(seed)
    groups = [
        Refined(targets[:, part], of, K, weights)
        for part, of in zip(transform.slices, start.tensor().split(D // G, 1), strict=True)
    ]

    def improve(noise: float) -> None:
        for group in groups:
            group.refine(noise, settings, generator)

    def state() -> State:
        found = torch.cat([group.indices() for group in groups], 1)
        composed = torch.cat([group.composed() for group in groups], 1)
        return State(Codes(found, K), [group.W for group in groups], composed)

    noise = 0.0 if settings.noise is None and settings.beam else settings.noise
    if noise is None:
        noise = _fitting_noise(settings.rounds, D // G, state().composed, targets, weights)
    found = best_round(settings.rounds, noise, improve, state, targets, weights, control)
    if found is None:
        return None
    best, history = found
    set_books(transform, best.books)
    standard.fold_into(transform)
    return LearnedCodes(best.codes, transform, history)


def _fitting_noise(
    rounds: int, depth: int, composed: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> float:
    """Noise as a share of the vectors' spread, for sums of `depth` code embeddings; see above."""
    variance = float(targets.var(0, unbiased=False).sum())
    errors = (targets - composed).square().sum(1)
    error = float((errors @ weights) / weights.sum())
    added = min(LARGEST_SHARE, rounds / ROUNDS_PER_ERROR) * error / depth
    return math.sqrt(added / variance) if variance > 0 else 0.0
