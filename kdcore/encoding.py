"""Codes for further vectors, through a transform that stays as it is."""

import copy

import numpy as np
import torch
import torch.nn.functional as F

from kdcore.codes import Codes
from kdcore.errors import KDError
from kdcore.refinement import PIECE, improve
from kdcore.transforms import LinearTransform
from kdcore.vectors import check_vectors

# Passes over the positions in a round, and the share of them that a round begins with anew.
SWEEPS, SHAKEN = 3, 0.4


@torch.no_grad()
def encode(
    vectors: torch.Tensor | np.ndarray,
    transform: LinearTransform,
    *,
    rounds: int = 32,
    seed: int = 0,
) -> Codes:
    """The codes from which a transform composes given vectors best, as far as they are found.

    The minimum of Equation 1 over the codes alone, by iterated local search: one position after
    another gets its best value; then, in every round, some positions of the best code so far get
    random values and the same follows. So symbols join a table whose own vectors stay as they
    are.

    Args:
        vectors: shape (N, d), of the kind that the transform was learned from.
        transform: linear, with H or without.
        rounds: more take longer and never end worse.
        seed: of the random values and of the order of positions; equal seeds give equal codes on
            the same machine.

    Raises:
        KDError: vectors that are not of size d or not finite, a transform that is not linear, or
            no round.
    """
    vectors = check_vectors(vectors)
    if not isinstance(transform, LinearTransform):
        raise KDError(f"codes are found for a LinearTransform, not a {type(transform).__name__}")
    if vectors.shape[1] != transform.dim:
        raise KDError(f"vectors of size {vectors.shape[1]}, the transform's have {transform.dim}")
    if rounds < 1:
        raise KDError(f"rounds = {rounds}: at least one is needed")
    K, D = transform.K, transform.D
    W, rest = _parts(transform)
    first, found = torch.arange(D) * K, []
    for piece in vectors.split(PIECE):
        generator = torch.Generator().manual_seed(seed)
        piece = piece - rest
        shape = (len(piece), D)
        rows, least = torch.zeros(shape, dtype=torch.long), torch.full(shape[:1], torch.inf)
        for done in range(rounds):
            tried = torch.randint(K, shape, generator=generator) + first
            if done:
                shaken = torch.rand(shape, generator=generator) < SHAKEN
                tried = torch.where(shaken, tried, rows)
            order = [torch.randperm(D, generator=generator) for _ in range(SWEEPS)]
            tried = improve(tried, piece, W, K, torch.cat(order).tolist())
            error = (piece - F.embedding_bag(tried, W, mode="sum")).square().sum(1)
            rows = torch.where((error < least)[:, None], tried, rows)
            least = torch.minimum(error, least)
        found.append(rows - first)
    return Codes(torch.cat(found), K)


def _parts(transform: LinearTransform) -> tuple[torch.Tensor, torch.Tensor]:
    """What each value of each position adds to a vector, (D·K, d), and what all vectors have.

    Of every position's part the mean goes to what all have: long vectors lose their digits.
    """
    alone = copy.deepcopy(transform).cpu().double().eval()
    nothing = alone._project(alone.W.new_zeros(1, alone.code_dim))
    W = (alone._project(alone.W.flatten(0, 1)) - nothing).view(alone.D, alone.K, alone.dim)
    means = W.mean(1, keepdim=True)
    return (W - means).flatten(0, 1).float(), (nothing[0] + means.sum((0, 1))).float()
