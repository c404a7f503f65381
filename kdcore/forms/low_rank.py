"""A table of low rank, of two factors whose numbers are rounded."""

from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, get_args

import torch

from kdcore.embeddings import EMBEDDINGS
from kdcore.forms import Form, Work, bits_in_words, principal_directions
from kdcore.rounding import Scales, rounded, store_rounded

PLACE = 2
FACTOR_BITS = (2, 3, 4, 5, 6, 8)


@dataclass(frozen=True)
class LowRank(Form):
    """Coordinates of all rows along the largest directions, and these."""

    SIMPLICITY: ClassVar[int] = 2

    @property
    def _plain(self) -> Any:
        return self.settings

    def sketch(self, work: Work) -> torch.Tensor:
        bits, scales = self._plain.bits, self._plain.scales
        basis = _turned(work.directions, self._plain.of.rank, work.seed)
        return rounded(work.scored @ basis.T, bits, scales) @ rounded(basis, bits, scales)

    def store(self, work: Work) -> dict[str, torch.Tensor]:
        table, bits, scales = work.table, self._plain.bits, self._plain.scales
        directions = principal_directions(table.rows(block) for block in table.blocks())
        basis = _turned(directions, self._plain.of.rank, work.seed)
        rows = torch.cat([table.rows(block) @ basis.T for block in table.blocks()])
        stored = store_rounded("rows", rows, bits, scales)
        return stored | store_rounded("basis", basis, bits, scales)


def candidates(N: int, dim: int, limit: int) -> list[Form]:
    """For each number of bits and kind of scales the largest rank that fits.

    Scales of columns take far fewer bits than those of N rows of few numbers.
    """
    found: list[Form] = []
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
            name = f"rank {rank} at {bits_in_words(each)}, a scale a {scales}"
            found.append(LowRank(name, settings, bits))
    return found


def _factor_bits(N: int, dim: int, rank: int, each: int, scales: Scales) -> int:
    """Bits of the factors (N, rank) and (rank, dim) with their scales and offsets."""
    shapes = ((N, rank), (rank, dim))
    numbers = sum(8 * -(-rows * columns * each // 8) for rows, columns in shapes)
    return numbers + 32 * sum(shape[0 if scales == "row" else 1] for shape in shapes)


def _turned(directions: torch.Tensor, rank: int, seed: int) -> torch.Tensor:
    """An orthonormal basis of the first directions, (rank, d), turned at random.

    So all components of a row have one size, and share a scale well.
    """
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(rank, rank, generator=generator, dtype=torch.float64)).Q
    basis: torch.Tensor = (turn @ directions[:, :rank].T).float()
    return basis
