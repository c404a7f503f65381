"""Codes for further vectors, through a transform that stays as it is."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from kdcore.additive import PIECE, improve_codes
from kdcore.codes import Codes
from kdcore.errors import KDError
from kdcore.standardise import Standardisation
from kdcore.transforms import Transform
from kdcore.vectors import check_vectors

# Passes over the positions in a round, and the share of them that a round begins with anew.
SWEEPS, SHAKEN = 3, 0.4


@torch.no_grad()
def encode(
    vectors: torch.Tensor | np.ndarray,
    transform: Transform,
    *,
    rounds: int = 32,
    seed: int = 0,
) -> Codes:
    """The codes from which a transform composes given vectors best, as far as they are found.

    The minimum of Equation 1 over the codes alone, by iterated local search: one position after
    another gets its best index; then, in every round, some positions of the best code so far get
    random indices and the same follows. So words join a table whose own vectors stay as they
    are. Errors are measured as the transform was learned: in each component's spread where it
    was learned with `standardise=True` (`Transform.error_scale`).

    Args:
        vectors: shape (N, d), or (d,) for one; of the kind that the transform was learned from.
        transform: a sum over positions, such as the linear one, with H or without.
        rounds: more take longer and never end worse.
        seed: of the random indices and of the order of positions; equal seeds give equal codes on
            the same machine.

    Returns:
        N codes; one for a single vector.

    Raises:
        KDError: vectors that are not of size d or not finite, a transform that is no sum over
            positions, or no round.

    Example:
        >>> more = encode(new_vectors, learned.transform)
        >>> codes = Codes.cat([learned.codes, more])
    """
    table = check_vectors(vectors, or_one=True)
    if table.shape[1] != transform.dim:
        raise KDError(
            f"vectors must be of the transform's size {transform.dim}, got {table.shape[1]}"
        )
    if rounds < 1:
        raise KDError(f"rounds must be at least 1, got {rounds}")
    K, D = transform.K, transform.D
    books, offset = transform.codebooks()
    books = books / transform.error_scale
    scale = _power_of_two(float(books.square().mean().sqrt()))
    standard = Standardisation(offset.float(), transform.error_scale, scale)
    W = (books / scale).flatten(0, 1).float()
    first, found = torch.arange(D) * K, []
    for piece in table.split(PIECE):
        generator = torch.Generator().manual_seed(seed)
        targets = standard.apply(piece)
        shape = (len(piece), D)
        rows, least = torch.zeros(shape, dtype=torch.long), torch.full(shape[:1], torch.inf)
        for done in range(rounds):
            tried = torch.randint(K, shape, generator=generator) + first
            if done:
                shaken = torch.rand(shape, generator=generator) < SHAKEN
                tried = torch.where(shaken, tried, rows)
            order = [torch.randperm(D, generator=generator) for _ in range(SWEEPS)]
            tried = improve_codes(tried, targets, W, K, torch.cat(order).tolist())
            error = (targets - F.embedding_bag(tried, W, mode="sum")).square().sum(1)
            rows = torch.where((error < least)[:, None], tried, rows)
            least = torch.minimum(error, least)
        found.append(rows - first)
    return Codes(torch.cat(found), K)


def _power_of_two(size: float) -> float:
    """The nearest one: dividing by it keeps every digit, and squares stay within float32."""
    return 2.0 ** round(math.log2(size)) if size > 0 else 1.0
