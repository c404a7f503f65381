"""Codes refined without gradients: Eq. 1 for the linear transform as additive quantisation.

Code books and codes are improved in turn (`kdcore.additive`), and noise on W that fades away lets
codes leave poor local minima (Martinez et al., "LSQ++", 2018, stochastic relaxation). This is where
Algorithm 1 of the paper can be left behind: it starts from the codes that another learner found.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field

from kdcore.additive import PIECE, improve_codes, least_squares_codebooks
from kdcore.codes import Codes
from kdcore.kinds import KindSettings, Section
from kdcore.learners import (
    Control,
    LearnedCodes,
    LearnerInputs,
    count_weights,
    warn_if_pointless,
)
from kdcore.standardise import Standardisation
from kdcore.transforms.linear import LinearTransform
from kdcore.vectors import relative_error

NUMERICS = 1
EXAMPLE: dict[str, object] = {"start": "linear", "rounds": 3}


class RefinementSettings(Section):
    """How codes are refined for sums of code embeddings."""

    rounds: int = Field(
        60, gt=0, description="times that code embeddings and codes are improved in turn"
    )
    sweeps: int = Field(2, gt=0, description="passes over the positions of a code in a round")
    noise: float = Field(
        0.05,
        ge=0,
        description="standard deviation of the noise on code embeddings at the start, as a share "
        "of that of the vectors; its square falls linearly, to zero after the last round",
    )
    count_power: float = Field(
        0.5,
        ge=0,
        description="a word's error counts by its number of occurrences to this power",
    )
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


@dataclass(frozen=True)
class RefinementRecord:
    """The state of the codes after a round.

    Attributes:
        round: rounds done; 0 is the codes as they were given, with the best W for them.
        noise: standard deviation of the noise on W, as a share of that of the vectors.
        error: relative squared error, weighted where words have weights; of standardised vectors
            where these are refined.
        changed: share of words whose code differs from the round before.
        entropy, used, unique: as in `LearningRecord`.
    """

    round: int
    noise: float
    error: float
    changed: float
    entropy: float
    used: int
    unique: int


def learn(
    settings: RefinementSettings, inputs: LearnerInputs, seed: int, control: Control
) -> LearnedCodes | None:
    """The codes of the round with the least error, and the linear transform best for them.

    Raises:
        KDError: vectors, codes or counts that do not belong together or are not finite.

    Warns:
        UserWarning: the code has more values than there are words, or is no smaller than the
            table it replaces.
    """
    vectors, start, counts = inputs.given_vectors(), inputs.given_start(), inputs.given_counts()
    weights = count_weights(counts, settings.count_power)
    K, D, dim = start.K, start.D, vectors.shape[1]
    warn_if_pointless(vectors, K, K * D * dim)
    standard = Standardisation.of(vectors, components=settings.standardise)
    targets = standard.apply(vectors)
    spread = targets.std(0)
    first = torch.arange(D) * K
    generator = torch.Generator().manual_seed(seed)
    rows = start.tensor() + first
    W = least_squares_codebooks(rows, targets, K, weights)
    least, best = math.inf, (start, W)
    history: list[RefinementRecord] = []
    for done in range(settings.rounds + 1):
        noise, before = 0.0, rows
        if done:
            noise = settings.noise * math.sqrt(1 - (done - 1) / settings.rounds)
            shaken = W + noise * spread * torch.randn(W.shape, generator=generator)
            sweeps = [torch.randperm(D, generator=generator) for _ in range(settings.sweeps)]
            order = torch.cat(sweeps).tolist()
            pieces = zip(rows.split(PIECE), targets.split(PIECE), strict=True)
            rows = torch.cat([improve_codes(*piece, shaken, K, order) for piece in pieces])
            W = least_squares_codebooks(rows, targets, K, weights)
        composed = F.embedding_bag(rows, W, mode="sum")
        indices = rows - first
        now = Codes(indices, K)
        health = now.statistics()
        record = RefinementRecord(
            round=done,
            noise=noise,
            error=relative_error(targets, composed, weights),
            changed=float((rows != before).any(1).double().mean()),
            entropy=sum(health.entropy) / D,
            used=min(health.used),
            unique=health.unique,
        )
        history.append(record)
        control.report(record, indices)
        if record.error < least:
            least, best = record.error, (now, W)
        if done < settings.rounds and control.stop():
            return None
    with torch.no_grad(), torch.random.fork_rng(devices=[]):  # its random start is of no use
        transform = LinearTransform(K, D, dim)
        transform.W.copy_(best[1].view_as(transform.W))
    standard.fold_into(transform)
    return LearnedCodes(best[0], transform, tuple(history))
