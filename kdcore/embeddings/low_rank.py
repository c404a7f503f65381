"""A table of low rank: N × r times r × d, b·(N + d)·r bits.

Lan et al. 2020, "ALBERT: A Lite BERT", Section 3.1, "Factorized embedding parameterization":
O(V × H) becomes O(V × E + E × H).
"""

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from kdcore.embeddings import Embedding, EmbeddingInputs, stored_tensor
from kdcore.errors import KDError
from kdcore.kinds import KindSettings
from kdcore.vectors import check_vectors

NUMERICS = 1
EXAMPLE: dict[str, object] = {"rank": 3}


class Settings(KindSettings):
    """The rank."""

    rank: int = Field(ge=1, description="rank r of the table, at most min(words, dim)")

    def check_shape(self, dim: int, D: int | None) -> None:
        """Refuse a rank above the size of a vector."""
        if self.rank > dim:
            raise KDError(f"rank must be at most {dim}, the size of a vector, got {self.rank}")


class LowRankEmbedding(Embedding):
    """v_s = a_s B with a row a_s of r numbers.

    Args:
        rows: the a_s, (N, r).
        basis: B, (r, d).
    """

    by_word = ("rows",)

    def __init__(self, rows: torch.Tensor, basis: torch.Tensor):
        super().__init__()
        self.num_embeddings, self.embedding_dim = len(rows), basis.shape[1]
        self.rows, self.basis = nn.Parameter(rows), nn.Parameter(basis)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Integer ids (…) to vectors (…, embedding_dim)."""
        return nn.functional.embedding(ids, self.rows) @ self.basis

    def export(self) -> dict[str, torch.Tensor]:
        """Both factors."""
        return {"rows": self.rows.detach(), "basis": self.basis.detach()}

    def extended(self, vectors: torch.Tensor) -> "LowRankEmbedding":
        more = check_vectors(vectors, dim=self.embedding_dim).double()
        basis = self.basis.detach()
        # The a_s nearest to a vector, by least squares.
        rows = torch.linalg.lstsq(basis.double().T, more.T, driver="gelsd").solution.T
        return LowRankEmbedding(torch.cat([self.rows.detach(), rows.to(basis)]), basis).eval()


def build(settings: Settings, words: int, dim: int, inputs: EmbeddingInputs) -> LowRankEmbedding:
    """Random factors; composed numbers have the variance of a table uniform in ±init_scale.

    The rows of B are orthonormal: a gradient reaches a_s at the length that it would have in a
    table, but for what lies outside B's span.

    Raises:
        KDError: a rank above min(words, dim).
    """
    settings.check_shape(dim, None)
    rank = settings.rank
    if rank > words:
        raise KDError(f"rank must be at most {words}, the number of words, got {rank}")
    scale = inputs.init_scale * math.sqrt(dim / rank)
    rows = torch.empty(words, rank).uniform_(-scale, scale)
    return LowRankEmbedding(rows, nn.init.orthogonal_(torch.empty(rank, dim)))


def load(
    settings: Settings, words: int, dim: int, tensors: Mapping[str, torch.Tensor]
) -> LowRankEmbedding:
    """The exported factors."""
    return LowRankEmbedding(
        stored_tensor(tensors, "rows", words, settings.rank),
        stored_tensor(tensors, "basis", settings.rank, dim),
    )
