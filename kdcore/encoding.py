"""Codes for further vectors, through a transform that stays as it is."""

import math

import numpy as np
import torch

from kdcore.additive import SWEEPS, Search, random_order
from kdcore.codes import Codes
from kdcore.errors import KDError
from kdcore.standardise import Standardisation
from kdcore.tensors import on_cpu
from kdcore.transforms import Transform, check_transform
from kdcore.vectors import check_vectors

# Codes that are found before they are packed.
ROWS = 10_000


@torch.no_grad()
@on_cpu()
def encode(
    vectors: torch.Tensor | np.ndarray,
    transform: Transform,
    *,
    beam: int = 16,
    rounds: int = 8,
    seed: int = 0,
) -> Codes:
    """The codes from which a transform composes given vectors best, as far as they are found.

    The minimum of Equation 1 over the codes alone: by beam search, position after position; then,
    in every round, some positions of the best code so far get random indices and one position
    after another its best index. So words join a table whose own vectors stay as they are. Where
    groups of positions compose slices of a vector, each is searched by itself. Errors are
    measured as the transform was learned: in each component's spread where it was learned with
    `standardise=True` (`Transform.error_scale`).

    Args:
        vectors: shape (N, d), or (d,) for one; of the kind that the transform was learned from.
        transform: a sum over positions, such as the linear one, with H or without.
        beam: beginnings of a code that are kept at a time; time grows with it.
        rounds: more take longer and never end worse.
        seed: of the random indices and of the order of positions; equal seeds give equal codes on
            the same machine.

    Returns:
        N codes; one for a single vector. Each is the one that its vector alone would get.

    Raises:
        KDError: vectors that are not of size d or not finite, a transform that is no sum over
            positions, or a beam or rounds below 1.

    Example:
        >>> more = encode(new_vectors, learned.transform)
        >>> codes = Codes.cat([learned.codes, more])
    """
    for name, value in (("beam", beam), ("rounds", rounds)):
        if value < 1:
            raise KDError(f"{name} must be at least 1, got {value}")
    table, transform = check_vectors(vectors, or_one=True), check_transform(transform)
    if table.shape[1] != transform.dim:
        raise KDError(
            f"vectors must be of the transform's size {transform.dim}, got {table.shape[1]}"
        )
    encoder = Encoder(transform, beam=beam, rounds=rounds, seed=seed)
    pieces = [Codes(encoder(piece), transform.K) for piece in table.split(ROWS)]
    return Codes.cat(pieces)


class Encoder:
    """What finds the codes of one block of vectors after another; see `encode`.

    Args:
        transform: a sum over positions.
        beam, rounds, seed: as of `encode`; no round is none but that of the beam search.

    Raises:
        KDError: a transform that is no sum over positions.
    """

    def __init__(self, transform: Transform, *, beam: int, rounds: int, seed: int = 0):
        self.beam, self.rounds, self.seed = beam, rounds, seed
        self._parts = []
        books_of = transform.sliced_codebooks()
        for part, (books, offset) in zip(transform.slices, books_of, strict=True):
            spread = transform.error_scale[part]
            books = books / spread
            scale = _power_of_two(float(books.square().mean().sqrt()))
            W = (books / scale).flatten(0, 1).float()
            standard = Standardisation(offset.float(), spread, scale)
            self._parts.append((part, standard, Search(W, transform.K)))

    @torch.no_grad()
    def __call__(self, vectors: torch.Tensor, start: torch.Tensor | None = None) -> torch.Tensor:
        """Indices, int64 (n, D), of float32 vectors (n, d).

        Args:
            start: indices to begin with instead of those of a beam search, (n, D).
        """
        found, at = [], 0
        for part, standard, search in self._parts:
            targets, first = standard.apply(vectors[:, part]), torch.arange(search.D) * search.K
            begin = None if start is None else start[:, at : at + search.D] + first
            order = random_order(search.D, SWEEPS, torch.Generator().manual_seed(self.seed))
            rows = search.find(
                targets, width=self.beam, order=order, times=self.rounds, seed=self.seed,
                start=begin,
            )  # fmt: skip
            found.append(rows - first)
            at += search.D
        return torch.cat(found, 1)


def _power_of_two(size: float) -> float:
    """The nearest one: dividing by it keeps every digit, and squares stay within float32."""
    return 2.0 ** round(math.log2(size)) if size > 0 else 1.0
