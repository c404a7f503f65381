"""A table of vectors of whatever kind, read in blocks of float32."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from kdcore.errors import KDError
from kdcore.vectors import as_float32, check_vectors, is_masked

# Rows of a block.
BLOCK = 16_384


class BlockTable:
    """Vectors of whatever kind, in blocks of float32.

    Args:
        vectors: shape (N, d); an array, also a `numpy.memmap`, is read in pieces.

    Attributes:
        N, dim: its shape.

    Raises:
        KDError: no table of numbers.

    Example:
        >>> table = BlockTable(numpy.load("table.npy", mmap_mode="r"))
        >>> [table.rows(block).shape for block in table.blocks()]
    """

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
