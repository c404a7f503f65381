"""Hashing by quotient and remainder: rows m and ⌈N/m⌉ in place of N.

Shi et al. 2020, "Compositional Embeddings Using Complementary Partitions for Memory-Efficient
Recommendation Systems", Section 2 (quotient-remainder trick), with the element-wise product.
"""

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from kdcore.embeddings import Embedding, EmbeddingInputs, check_ids, stored_tensor
from kdcore.errors import KDError
from kdcore.kinds import KindSettings

NUMERICS = 1
EXAMPLE: dict[str, object] = {"buckets": 4}


class Settings(KindSettings):
    """The number of remainders."""

    buckets: int = Field(
        ge=1, description="remainders m, at most the number of words N; there are ⌈N/m⌉ quotients"
    )


class HashedEmbedding(Embedding):
    """v_s = r_(s mod m) ⊙ q_⌊s/m⌋: no two words share both rows.

    Args:
        num_embeddings: words N.
        remainders: the r, (m, d).
        quotients: the q, (⌈N/m⌉, d).
    """

    def __init__(self, num_embeddings: int, remainders: torch.Tensor, quotients: torch.Tensor):
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, remainders.shape[1]
        self.remainders, self.quotients = nn.Parameter(remainders), nn.Parameter(quotients)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Integer ids (…) to vectors (…, embedding_dim).

        Raises:
            IndexError: see `check_ids`; elsewhere, PyTorch's own check of the two tables.
        """
        ids = check_ids(ids, self.num_embeddings)
        m = len(self.remainders)
        remainders = nn.functional.embedding(ids % m, self.remainders)
        return remainders * nn.functional.embedding(ids // m, self.quotients)

    def export(self) -> dict[str, torch.Tensor]:
        """Both tables."""
        return {"remainders": self.remainders.detach(), "quotients": self.quotients.detach()}


def build(settings: Settings, words: int, dim: int, inputs: EmbeddingInputs) -> HashedEmbedding:
    """Random rows; composed numbers have the variance of a table uniform in ±init_scale.

    The quotients' rows have unit variance: a gradient reaches the remainders' rows at the length
    that it would have in a table.

    Raises:
        KDError: more buckets than words.
    """
    if settings.buckets > words:
        raise KDError(f"buckets must be at most {words}, the words, got {settings.buckets}")
    scale, unit = inputs.init_scale, math.sqrt(3)
    remainders = torch.empty(settings.buckets, dim).uniform_(-scale, scale)
    quotients = torch.empty(math.ceil(words / settings.buckets), dim).uniform_(-unit, unit)
    return HashedEmbedding(words, remainders, quotients)


def load(
    settings: Settings, words: int, dim: int, tensors: Mapping[str, torch.Tensor]
) -> HashedEmbedding:
    """The exported tables."""
    remainders = stored_tensor(tensors, "remainders", settings.buckets, dim)
    quotients = stored_tensor(tensors, "quotients", math.ceil(words / settings.buckets), dim)
    return HashedEmbedding(words, remainders, quotients)
