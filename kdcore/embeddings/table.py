"""The full table: one trained vector a word, N·d numbers."""

from collections.abc import Mapping

import torch
from torch import nn

from kdcore.embeddings import Embedding, EmbeddingInputs, stored_tensor
from kdcore.kinds import KindSettings
from kdcore.vectors import check_vectors

NUMERICS = 1
EXAMPLE: dict[str, object] = {}


class Settings(KindSettings):
    """The full table has no settings: it starts uniform in the model's ±init_scale."""


class TableEmbedding(Embedding):
    """v_s is row s of a table, as in `torch.nn.Embedding`.

    Args:
        weight: the table, (N, d).
    """

    by_word = ("weight",)

    def __init__(self, weight: torch.Tensor):
        super().__init__()
        self.num_embeddings, self.embedding_dim = weight.shape
        self.weight = nn.Parameter(weight)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Integer ids (…) to vectors (…, embedding_dim)."""
        return nn.functional.embedding(ids, self.weight)

    def export(self) -> dict[str, torch.Tensor]:
        """The table."""
        return {"weight": self.weight.detach()}

    def extended(self, vectors: torch.Tensor) -> "TableEmbedding":
        more = check_vectors(vectors, dim=self.embedding_dim).to(self.weight)
        return TableEmbedding(torch.cat([self.weight.detach(), more])).eval()


def build(settings: Settings, words: int, dim: int, inputs: EmbeddingInputs) -> TableEmbedding:
    """A table, uniform in ±init_scale."""
    # PyTorch's own start is drawn first: what a model draws after it depends on that.
    weight = nn.Embedding(words, dim).weight.detach()
    return TableEmbedding(weight.uniform_(-inputs.init_scale, inputs.init_scale))


def load(
    settings: Settings, words: int, dim: int, tensors: Mapping[str, torch.Tensor]
) -> TableEmbedding:
    """The exported table."""
    return TableEmbedding(stored_tensor(tensors, "weight", words, dim))
