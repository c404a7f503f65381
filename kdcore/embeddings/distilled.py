"""Any embedding, drawn to pretrained vectors while the model trains: size as of its kind.

The loss gains weight · mean ‖v − u‖²/d over all places, u being the pretrained vector of the word:
the distillation of Chen, Min and Sun 2018, "Learning K-way D-dimensional Discrete Codes for Compact
Embedding Representations" (ICML), for codes that are given or an embedding without codes. The model
learns to read vectors near the pretrained ones, of which nothing is stored.
"""

import inspect
from collections.abc import Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field

from kdcore.embeddings import EMBEDDINGS, Embedding, EmbeddingInputs
from kdcore.kinds import KindSettings

NUMERICS = 1
EXAMPLE: dict[str, object] = {"weight": 10.0, "of": {"kind": "low_rank", "rank": 3}}


class Settings(KindSettings):
    """How strongly vectors are drawn, and the embedding that composes them."""

    weight: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="weight, in the loss, of the mean squared distance from the pretrained vectors",
    )
    of: Annotated[KindSettings, EMBEDDINGS] = Field(
        description="a kind of embedding and its settings"
    )

    @property
    def needs(self) -> frozenset[str]:
        """The vectors, and what the embedding needs."""
        return self.of.needs | {"vectors"}


class DistilledEmbedding(Embedding):
    """An embedding with a loss of its own.

    Args:
        inner: the embedding.
        vectors: what it is drawn to, (N, d).
        settings: of the kind.
    """

    targets: torch.Tensor

    def __init__(self, inner: Embedding, vectors: torch.Tensor, settings: Settings):
        super().__init__()
        self.num_embeddings, self.embedding_dim = inner.num_embeddings, inner.embedding_dim
        self.inner, self.settings = inner, settings
        self.register_buffer("targets", vectors, persistent=False)
        self._distance: torch.Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_distance": None}

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Integer ids (…) to vectors (…, embedding_dim)."""
        vectors: torch.Tensor = self.inner(ids)
        self._distance = None
        if self.training and ids.numel():
            self._distance = (vectors - F.embedding(ids, self.targets)).square().mean()
        return vectors

    def extra_loss(self) -> torch.Tensor | None:
        """The weighted distance of the vectors composed last, and what the embedding adds."""
        distance, self._distance = self._distance, None
        extra: torch.Tensor | None = self.inner.extra_loss()
        if distance is None:
            return extra
        weighted: torch.Tensor = self.settings.weight * distance
        return weighted if extra is None else weighted + extra

    def own_step(self, rate: float) -> None:
        """That of the embedding."""
        self.inner.own_step(rate)

    def export(self) -> dict[str, torch.Tensor]:
        """What the embedding exports."""
        tensors: dict[str, torch.Tensor] = self.inner.export()
        return tensors

    def plain(self) -> Embedding:
        return self.inner.plain()


def surrogate(
    embedding: DistilledEmbedding, ids: torch.Tensor, held: DistilledEmbedding
) -> torch.Tensor:
    """Vectors whose gradient the embedding has."""
    inner, declared = embedding.inner, getattr(embedding.settings.of.module, "surrogate", None)
    if declared is None:
        found: torch.Tensor = inner(ids)
        return found
    held_too = "held" in inspect.signature(declared).parameters
    vectors: torch.Tensor = declared(inner, ids, *([held.inner] if held_too else []))
    return vectors


def build(settings: Settings, words: int, dim: int, inputs: EmbeddingInputs) -> DistilledEmbedding:
    """The embedding as its kind builds it, beside the vectors.

    Raises:
        KDError: no vectors, some that do not fit, and what the kind raises.
    """
    inputs.check(settings, words, dim)
    assert inputs.vectors is not None
    inner: Embedding = settings.of.module.build(settings.of, words, dim, inputs)
    return DistilledEmbedding(inner, inputs.vectors.float(), settings)


def load(
    settings: Settings, words: int, dim: int, tensors: Mapping[str, torch.Tensor]
) -> Embedding:
    """The embedding from what it exported."""
    made: Embedding = settings.of.module.load(settings.of, words, dim, tensors)
    return made
