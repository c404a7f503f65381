"""KD codes that are found anew while the model around them trains: size as of `kd`.

Beside the composed vectors each word has a shadow, which starts at its vector and moves as the row
of a table would: by the gradient of what was composed in its place. From time to time codes are
searched that compose the shadows best, starting from those in use, and what they still miss stays
for the next time. So the discrete codes follow the gradient straight through, as binary weights do
in Courbariaux, Bengio and David 2015, "BinaryConnect", Section 2.3; the search is that of additive
quantisation (`kdcore.encoding`).
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field

from kdcore.codes import Codes
from kdcore.embedding import KDEmbedding, Packing
from kdcore.embeddings import Embedding, EmbeddingInputs, kd
from kdcore.encoding import Encoder
from kdcore.errors import KDError

NUMERICS = 1
EXAMPLE: dict[str, object] = {"transform": {"kind": "linear"}, "every": 2}

# Perturbations of each code that are tried in a search.
ROUNDS = 8


class Settings(kd.Composition):
    """How vectors are composed from codes and trained, and how often codes are found anew."""

    every: int = Field(2000, gt=0, description="steps of training from one search to the next")
    shadow_rate: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="step size of the shadows, as a share of the model's",
    )
    packing: Packing = "index"

    @property
    def needs(self) -> frozenset[str]:
        """The codes to start with."""
        return frozenset({"codes"})


class ReencodedEmbedding(Embedding):
    """A `KDEmbedding` whose codes change in training.

    Args:
        inner: the embedding with its first codes; its transform is a sum over positions.
        settings: of the kind.

    Attributes:
        missed: what the shadows have and the composed vectors lack, (N, d).
        steps: of training so far.

    Raises:
        KDError: a transform that is no sum over positions.
    """

    missed: torch.Tensor
    steps: torch.Tensor

    def __init__(self, inner: KDEmbedding, settings: Settings):
        super().__init__()
        if not inner.transform.is_sum or inner.transform.norm is not None:
            name = settings.transform.kind
            raise KDError(
                f"transform must be a sum over positions, not normalised, for codes to be found "
                f"anew, got {name!r}"
            )
        self.num_embeddings, self.embedding_dim = inner.num_embeddings, inner.embedding_dim
        self.inner, self.settings = inner, settings
        self.register_buffer("missed", torch.zeros(self.num_embeddings, self.embedding_dim))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._last: tuple[torch.Tensor, torch.Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Integer ids (…) to vectors (…, embedding_dim); see `KDEmbedding`."""
        if not (self.training and torch.is_grad_enabled()):
            found: torch.Tensor = self.inner(ids)
            return found
        words, at = torch.unique(ids, return_inverse=True)
        vectors = self.inner(words)
        if vectors.requires_grad:
            vectors.retain_grad()
            self._last = words.long(), vectors
        return F.embedding(at, vectors)

    @torch.no_grad()
    def own_step(self, rate: float) -> None:
        """Move the shadows of the words composed last; it may be time for a search."""
        last, self._last = self._last, None
        if last is None or last[1].grad is None:
            return
        words, vectors = last
        assert vectors.grad is not None
        step = rate * self.settings.shadow_rate
        self.missed.index_add_(0, words, vectors.grad.to(self.missed.dtype), alpha=-step)
        self.steps += 1
        if int(self.steps) % self.settings.every == 0:
            self.find_codes()

    @torch.no_grad()
    def find_codes(self) -> None:
        """Take the codes that compose the shadows best, as far as they are found."""
        transform, device = self.inner.transform, self.inner.packed.device
        before = self.inner.codes.tensor()
        composed = transform.compose_all(before.to(device))
        shadows = composed + self.missed.to(composed.dtype)
        encoder = Encoder(transform, beam=1, rounds=ROUNDS, seed=int(self.steps))
        found = encoder(shadows.float().cpu(), start=before)
        self.inner.packed.copy_(Codes(found, self.inner.K).packed)
        self.missed.copy_(shadows - transform.compose_all(found.to(device)))

    def export(self) -> dict[str, torch.Tensor]:
        """As of a `KDEmbedding`, with the codes found last."""
        return self.inner.export()

    def plain(self) -> Embedding:
        return self.inner


def build(settings: Settings, words: int, dim: int, inputs: EmbeddingInputs) -> ReencodedEmbedding:
    """An embedding over the given codes, and a transform with random weights.

    Raises:
        KDError: no codes, or a transform that is no sum over positions.
    """
    inputs.check(settings, words, dim)
    codes, chosen = inputs.codes, settings.transform
    assert codes is not None
    inner = KDEmbedding(
        codes,
        transform=chosen.module.build(chosen, codes.K, codes.D, dim),
        gradient_scale=settings.gradient_scale,
        dropout=settings.dropout,
        packing=settings.packing,
    )
    return ReencodedEmbedding(inner, settings)


def load(
    settings: Settings, words: int, dim: int, tensors: Mapping[str, torch.Tensor]
) -> KDEmbedding:
    """The exported codes and transform."""
    return KDEmbedding.from_exported(tensors, words, dim, settings.transform, settings.packing)
