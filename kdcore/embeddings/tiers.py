"""Long codes for frequent words, short ones for rare ones: Σ_t N_t·D_t·⌈log2 K⌉ bits and the books.

Kang et al. 2020, "Learning Multi-granular Quantized Embeddings for Large-Vocab Categorical Features
in Recommender Systems", Section 3: tiers of words by frequency, of which the rarer ones have fewer
bits and share the books of the others. Here the codes of all are given, and a tier with D_t
positions uses the first D_t of them; codes whose first positions say most, as those of a residual
quantizer, suit it best.
"""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from pydantic import Field, model_validator

from kdcore.codes import Codes
from kdcore.embedding import KDEmbedding, Packing
from kdcore.embeddings import Embedding, EmbeddingInputs, stored_tensor
from kdcore.embeddings.kd import Composition
from kdcore.errors import KDError
from kdcore.kinds import Section

NUMERICS = 1
EXAMPLE: dict[str, object] = {
    "transform": {"kind": "linear"}, "tiers": [{"words": 7, "D": 3}, {"D": 2}],
}  # fmt: skip


class Tier(Section):
    """Words that follow one another, and the positions of their codes."""

    words: int | None = Field(
        None, gt=0, description="words of the tier; null, for the last one: all that are left"
    )
    D: int = Field(ge=1, description="positions of the codes that are used")


class Settings(Composition):
    """The tiers, and how vectors are composed from given codes and trained."""

    tiers: list[Tier] = Field(
        min_length=1,
        description="in the order of the words' ids, which is that of falling frequency in a "
        "text's vocabulary",
    )
    packing: Packing = "index"

    @model_validator(mode="after")
    def _last_has_the_rest(self) -> Self:
        for at, tier in enumerate(self.tiers, 1):
            if (tier.words is None) != (at == len(self.tiers)):
                wanted = "null for the last tier" if tier.words else "a number for all but the last"
                raise KDError(f"words must be {wanted}, got {tier.words} for tier {at}")
        return self

    @property
    def needs(self) -> frozenset[str]:
        """Codes."""
        return frozenset({"codes"})

    def check_shape(self, dim: int, D: int | None) -> None:
        """Refuse codes of another length than the longest tier's."""
        if D is not None and self.longest != D:
            raise KDError(
                f"the largest D of tiers must be that of the codes, {D}, got {self.longest}"
            )
        super().check_shape(dim, D)

    @property
    def longest(self) -> int:
        """The largest D."""
        return max(tier.D for tier in self.tiers)

    def shape(self, words: int) -> list[tuple[int, int]]:
        """The number of words and of positions of every tier.

        Raises:
            KDError: no words are left for the last tier.
        """
        given = [tier.words or 0 for tier in self.tiers]
        if sum(given) >= words:
            raise KDError(f"words of tiers must be less than {words} in all, got {sum(given)}")
        given[-1] = words - sum(given)
        return [(n, tier.D) for n, tier in zip(given, self.tiers, strict=True)]


class TieredEmbedding(Embedding):
    """v_s is composed from the first D_t code embedding vectors of s, as if others were zero.

    Args:
        inner: an embedding of the whole codes.
        tiers: words N_t and positions D_t of each tier.
    """

    def __init__(self, inner: KDEmbedding, tiers: Sequence[tuple[int, int]]):
        super().__init__()
        self.num_embeddings, self.embedding_dim = inner.num_embeddings, inner.embedding_dim
        self.inner, self.tiers = inner, tuple(tiers)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Integer ids (…) to vectors (…, embedding_dim); see `KDEmbedding`."""
        vectors: torch.Tensor = self.inner(ids)
        return vectors

    def export(self) -> dict[str, torch.Tensor]:
        """The codes of each tier, packed, and the transform."""
        tensors = self.inner.export()
        del tensors["packed"]
        parts = self.inner.codes.tensor().split([words for words, _ in self.tiers])
        for at, (part, (_, D)) in enumerate(zip(parts, self.tiers, strict=True)):
            codes = Codes(part[:, :D], self.inner.K)
            whole = self.inner.packing == "code"
            tensors[f"packed.{at}"] = codes.pack_whole() if whole else codes.packed
        return tensors


class _Cut(KDEmbedding):
    """A `KDEmbedding` that leaves out what lies behind a word's last position."""

    ends: torch.Tensor
    depths: torch.Tensor

    def cut(self, tiers: Sequence[tuple[int, int]]) -> Self:
        words, depths = (torch.tensor(numbers) for numbers in zip(*tiers, strict=True))
        self.register_buffer("ends", words.cumsum(0)[:-1], persistent=False)
        self.register_buffer("depths", depths, persistent=False)
        return self

    def _compose(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor | None,
        row_weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        depths = self.depths[torch.bucketize(ids, self.ends, right=True)]
        used = torch.arange(self.D, device=ids.device) < depths[:, None]
        mask = used.to(self.transform.W.dtype) if mask is None else mask * used
        return super()._compose(ids, mask, row_weights)


def build(settings: Settings, words: int, dim: int, inputs: EmbeddingInputs) -> TieredEmbedding:
    """An embedding over the given codes, and a transform with random weights.

    Raises:
        KDError: no codes, or a D that is not that of the tiers with most positions; no words for
            the last tier; a transform with `normalise`, whose mean is that of whole codes.
    """
    inputs.check(settings, words, dim)
    codes, tiers = inputs.codes, settings.shape(words)
    assert codes is not None
    settings.check_shape(dim, codes.D)
    chosen = settings.transform
    transform = chosen.module.build(chosen, codes.K, codes.D, dim)
    if transform.norm is not None:
        raise KDError("normalise must be false with tiers, got true")
    inner = _Cut(
        codes,
        transform=transform,
        gradient_scale=settings.gradient_scale,
        dropout=settings.dropout,
        packing=settings.packing,
    )
    return TieredEmbedding(inner.cut(tiers), tiers)


def load(
    settings: Settings, words: int, dim: int, tensors: Mapping[str, torch.Tensor]
) -> TieredEmbedding:
    """The exported codes, behind which zeros take the places that are not used, and transform."""
    tiers, whole = settings.shape(words), settings.packing == "code"
    K = stored_tensor(tensors, "transform.W", None, None, None).shape[1]
    read = Codes.from_whole if whole else Codes.from_packed
    indices = torch.zeros(words, settings.longest, dtype=torch.long)
    start = 0
    for at, (n, D) in enumerate(tiers):
        packed = stored_tensor(tensors, f"packed.{at}", None)
        indices[start : start + n, :D] = read(packed, K, (n, D)).tensor()
        start += n
    codes = Codes(indices, K)
    others = {name: t for name, t in tensors.items() if not name.startswith("packed.")}
    packed = codes.pack_whole() if whole else codes.packed
    inner = _Cut.from_exported(
        {**others, "packed": packed}, words, dim, settings.transform, settings.packing
    )
    return TieredEmbedding(inner.cut(tiers), tiers).eval()
