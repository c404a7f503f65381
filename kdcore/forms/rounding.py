"""The table as it is, or its numbers rounded to fewer bits."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from kdcore.codes import pack
from kdcore.embeddings import EMBEDDINGS
from kdcore.forms import Form, Work, bits_in_words
from kdcore.rounding import dequantise, quantise, rounded, stored_type
from kdcore.size import FLOAT_BITS

PLACE = 1


@dataclass(frozen=True)
class WholeTable(Form):
    """All numbers in float32."""

    SIMPLICITY: ClassVar[int] = 0

    def sketch(self, work: Work) -> torch.Tensor:
        return work.scored

    def store(self, work: Work) -> dict[str, torch.Tensor]:
        return {"weight": torch.cat([work.table.rows(block) for block in work.table.blocks()])}


@dataclass(frozen=True)
class Halves(Form):
    """All numbers in float16, or bfloat16 where they are too large for it."""

    SIMPLICITY: ClassVar[int] = 1

    def sketch(self, work: Work) -> torch.Tensor:
        return rounded(work.scored, 16)

    def store(self, work: Work) -> dict[str, torch.Tensor]:
        table = work.table
        stored = stored_type(map(table.rows, table.blocks()), 16)
        halves = (rounded(table.rows(block), 16, stored=stored) for block in table.blocks())
        return {"weight": torch.cat([half.to(stored) for half in halves])}


@dataclass(frozen=True)
class Levels(Form):
    """Numbers of β bits, between the least and the greatest of their row."""

    SIMPLICITY: ClassVar[int] = 1

    @property
    def _each(self) -> int:
        settings: Any = self.settings
        return int(settings.bits)

    def sketch(self, work: Work) -> torch.Tensor:
        return dequantise(*quantise(work.scored, self._each))

    def store(self, work: Work) -> dict[str, torch.Tensor]:
        table, pieces = work.table, []
        stored = stored_type(map(table.rows, table.blocks()), self._each)
        for block in table.blocks():
            levels, scale, offset = quantise(table.rows(block), self._each, stored)
            pieces.append((pack(levels.long(), self._each), scale.flatten(), offset.flatten()))
            work.report("rounding", block.stop / table.N)
        packed, scale, offset = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        return {"packed": packed, "scale": scale, "offset": offset}


def candidates(N: int, dim: int, limit: int) -> list[Form]:
    """The table as it is, in halves, and rounded to the most bits that fit."""
    found: list[Form] = []
    table: dict[str, object] = {"kind": "table"}
    if (bits := N * dim * FLOAT_BITS) <= limit:
        found.append(WholeTable("the table as it is", EMBEDDINGS.parse(table), bits))
    if (bits := N * dim * 16) <= limit:
        settings = EMBEDDINGS.parse({"kind": "rounded", "bits": 16, "of": table})
        found.append(Halves("numbers in 16 bits", settings, bits))
    for each in range(8, 0, -1):
        bits = 8 * -(-N * dim * each // 8) + 32 * N
        if bits <= limit:
            settings = EMBEDDINGS.parse({"kind": "uniform", "bits": each})
            found.append(Levels(f"numbers rounded to {bits_in_words(each)}", settings, bits))
            break
    return found
