"""Words in a grid, a row vector and a column vector each: K = ⌈√N⌉, D = 2, no code used twice.

Li, Qin, Yang, Hu and Liu 2016, "LightRNN: Memory and Computation-Efficient Recurrent Neural
Networks", Section 3.2, for given vectors: a word's cost in a cell is count · ‖v − x_r − y_c‖². In
place of one matching of all words with all cells, an assignment within each column and one within
each row are solved exactly, in turn with the best row and column vectors; noise
on these that fades away lets words leave poor local minima (`kdcore.alternating`).
"""

import math
from importlib import import_module

import torch
import torch.nn.functional as F
from pydantic import Field

from kdcore.additive import least_squares_codebooks
from kdcore.alternating import State, best_round
from kdcore.codes import Codes
from kdcore.errors import KDError
from kdcore.kinds import KindSettings
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
EXAMPLE: dict[str, object] = {"rounds": 3}


class Settings(KindSettings):
    """How long words move in the grid."""

    rounds: int = Field(60, gt=0, description="times that vectors and cells are improved in turn")
    noise: float = Field(
        0.3,
        ge=0,
        description="standard deviation of the noise on row and column vectors at the start, as a "
        "share of that of the vectors; its square falls linearly, to zero after the last round",
    )
    count_power: CountPower = 1.0

    @property
    def needs(self) -> frozenset[str]:
        """Vectors; counts where they count."""
        return frozenset({"vectors", "counts"} if self.count_power > 0 else {"vectors"})


def learn(
    settings: Settings, inputs: LearnerInputs, seed: int, control: Control
) -> LearnedCodes | None:
    """The cells of the round with the least error, and the linear transform best for them.

    Stopped, it begins again: 10,000 words take seconds.

    Raises:
        KDError: vectors or counts that do not belong together or are not finite; SciPy, which
            `pip install kdcore[grid]` brings, is missing.

    Warns:
        UserWarning: the row and column vectors are no smaller than the table they replace.
    """
    vectors = inputs.given_vectors()
    weights = count_weights(inputs.given_counts(), settings.count_power)
    N, dim = vectors.shape
    K = max(2, math.ceil(math.sqrt(N)))
    warn_if_pointless(vectors, K, 2 * K * dim)
    standard = Standardisation.of(vectors)
    targets = standard.apply(vectors)
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(K * K, generator=generator)[:N]
    indices = torch.stack([cells // K, cells % K], 1)
    first, spread = torch.tensor([0, K]), targets.std(0)
    W = least_squares_codebooks(indices + first, targets, K, weights)

    def improve(noise: float) -> None:
        nonlocal indices, W
        shaken = W + noise * spread * torch.randn(W.shape, generator=generator, dtype=W.dtype)
        for position in (0, 1):
            indices = assigned(indices, position, targets, shaken.view(2, K, dim), weights)
        W = least_squares_codebooks(indices + first, targets, K, weights)

    def state() -> State:
        composed = F.embedding_bag(indices + first, W, mode="sum")
        return State(Codes(indices, K), [W], composed)

    found = best_round(settings.rounds, settings.noise, improve, state, targets, weights, control)
    if found is None:
        return None
    best, history = found
    transform = grouped_sum(K, 2, dim, 1)
    set_books(transform, best.books)
    standard.fold_into(transform)
    return LearnedCodes(best.codes, transform, history)


def assigned(
    indices: torch.Tensor, position: int, vectors: torch.Tensor, W: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """The best rows of the words of each column (position 0), or columns of those of each row.

    Args:
        indices: rows and columns, no cell twice, int64 (N, 2).
        position: which of the two may change.
        vectors: shape (N, d).
        W: row and column vectors, (2, K, d).
        weights: of the words' errors, (N,).

    Returns:
        The new indices, of which no two are equal either.
    """
    try:
        linear_sum_assignment = import_module("scipy.optimize").linear_sum_assignment
    except ImportError:
        raise KDError(
            "learner kind 'grid' needs scipy, which is not installed: pip install kdcore[grid]"
        ) from None
    held = indices[:, 1 - position]
    left = vectors - W[1 - position][held]
    # ‖left − x‖² without what no choice changes.
    costs = W[position].square().sum(1) - 2 * left @ W[position].t()
    costs = (weights[:, None] * costs).double()
    new = indices.clone()
    for line in range(W.shape[1]):
        words = (held == line).nonzero()[:, 0]
        _, best = linear_sum_assignment(costs[words].numpy())
        new[words, position] = torch.from_numpy(best).long()
    return new
