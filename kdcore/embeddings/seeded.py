"""Codes that are drawn from a seed and not stored: b·K·D·d′ bits, and b·d′·d where there is an H.

With the product transform these are the shared sub-vectors of Li, Kulhanek, Wang, Zhao and Wu 2018,
"Slim Embedding Layers for Recurrent Neural Language Models", Section 3; with the linear one, the
random codes of Table 1, at the price of their code books alone.
"""

from collections.abc import Mapping
from typing import Self

import torch
from pydantic import Field

from kdcore.codes import Codes
from kdcore.embedding import KDEmbedding
from kdcore.embeddings import EmbeddingInputs, stored_tensor
from kdcore.embeddings.kd import Composition
from kdcore.errors import KDError

NUMERICS = 1
EXAMPLE: dict[str, object] = {
    "K": 5, "D": 3, "transform": {"kind": "linear", "code_dim": 3, "normalise": True},
}  # fmt: skip


class Settings(Composition):
    """The shape of the codes, their seed, and how vectors are composed and trained."""

    K: int = Field(ge=2, description="values of an index")
    D: int = Field(ge=1, description="indices in a code")
    seed: int = Field(0, ge=0, description="seed of the codes, which the exported settings have")

    def check_shape(self, dim: int, D: int | None) -> None:
        """Refuse what the transform cannot have with codes of this D."""
        super().check_shape(dim, self.D)


class SeededEmbedding(KDEmbedding):
    """A `KDEmbedding` whose codes `drawn_codes` gives again: its export is the transform alone."""

    def export(self) -> dict[str, torch.Tensor]:
        """The transform, with the running statistics of `normalise` folded in."""
        return {name: tensor for name, tensor in super().export().items() if name != "packed"}

    def extended(self, vectors: torch.Tensor) -> Self:
        """Refused: codes of further rows would have to be stored."""
        raise KDError("codes from a seed take no further rows, whose codes would not be drawn")


def drawn_codes(settings: Settings, words: int) -> Codes:
    """Codes in which all values of a position are used equally often, give or take one."""
    generator = torch.Generator().manual_seed(settings.seed)
    columns = [torch.randperm(words, generator=generator) % settings.K for _ in range(settings.D)]
    return Codes(torch.stack(columns, 1), settings.K)


def build(settings: Settings, words: int, dim: int, inputs: EmbeddingInputs) -> SeededEmbedding:
    """Drawn codes and a transform with random weights."""
    chosen = settings.transform
    return SeededEmbedding(
        drawn_codes(settings, words),
        transform=chosen.module.build(chosen, settings.K, settings.D, dim),
        gradient_scale=settings.gradient_scale,
        dropout=settings.dropout,
    )


def load(
    settings: Settings, words: int, dim: int, tensors: Mapping[str, torch.Tensor]
) -> SeededEmbedding:
    """The exported transform over the codes of the seed."""
    books = stored_tensor(tensors, "transform.W", None, settings.K, None)
    # Where all positions share one book, each composes numbers of its own.
    if len(books) != settings.D and not (len(books) == 1 and dim >= settings.D):
        raise KDError(f"D must be {len(books)}, the number of books, got {settings.D}")
    codes = drawn_codes(settings, words)
    stored = {**tensors, "packed": codes.packed}
    return SeededEmbedding.from_exported(stored, words, dim, settings.transform)
