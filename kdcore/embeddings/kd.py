"""KD codes: vectors composed from the code books of fixed codes (Figure 1b, Section 2)."""

import logging
from collections.abc import Mapping
from typing import Annotated, Self

import torch
from pydantic import Field, model_validator

from kdcore.embedding import KDEmbedding, Packing
from kdcore.embeddings import EmbeddingInputs
from kdcore.errors import KDError
from kdcore.fitting import fit_transform
from kdcore.kinds import KindSettings, Section
from kdcore.transforms import TRANSFORMS

NUMERICS = 1
EXAMPLE: dict[str, object] = {
    "transform": {"kind": "linear", "code_dim": 3, "normalise": True},
    "fit": {"epochs": 2, "batch_size": 5},
}

log = logging.getLogger(__name__)


class FitSettings(Section):
    """How the transform is fitted to pretrained vectors while the codes stay."""

    epochs: int = Field(30, gt=0, description="passes over the words")
    batch_size: int = Field(200, gt=0, description="words in a minibatch")
    learning_rate: float = Field(
        0.005,
        gt=0,
        allow_inf_nan=False,
        description="Adam's step size, falling linearly to 5 %",
    )


class Composition(KindSettings):
    """How vectors are composed from codes and trained."""

    transform: Annotated[KindSettings, TRANSFORMS] = Field(
        description="how a vector is composed; a kind of transform and its settings"
    )
    gradient_scale: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="the transform's gradient is multiplied by this before gradients are clipped",
    )
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of a word's indices dropped in training, drawn anew for each batch",
    )

    def check_shape(self, dim: int, D: int | None) -> None:
        """Refuse what the transform cannot have."""
        self.transform.check_shape(dim, D)


class Settings(Composition):
    """How vectors are composed from given codes and trained."""

    fit: FitSettings | None = Field(
        None,
        description="start from a least-squares fit to the pretrained vectors from which codes "
        "are learned; null starts at random",
    )
    trained: bool = Field(True, description="whether the model's training changes the transform")
    packing: Packing = "index"

    @model_validator(mode="after")
    def _something_to_keep(self) -> Self:
        if not self.trained and self.fit is None:
            raise KDError("trained must be true where there is no fit, got false")
        return self

    @property
    def needs(self) -> frozenset[str]:
        """Codes; vectors too where there is a fit."""
        return frozenset({"codes", "vectors"} if self.fit else {"codes"})


def build(settings: Settings, words: int, dim: int, inputs: EmbeddingInputs) -> KDEmbedding:
    """An embedding over the given codes; fitted, unless weights of a checkpoint come next.

    Raises:
        KDError: no codes, no vectors for the fit, or some that do not fit the words.
    """
    inputs.check(settings, words, dim)
    codes = inputs.codes
    assert codes is not None
    chosen = settings.transform
    transform = chosen.module.build(chosen, codes.K, codes.D, dim)
    embedding = KDEmbedding(
        codes,
        transform=transform,
        gradient_scale=settings.gradient_scale,
        dropout=settings.dropout,
        packing=settings.packing,
    )
    if settings.fit and not inputs.restoring:
        assert inputs.vectors is not None
        error = fit_transform(transform, codes, inputs.vectors, **settings.fit.model_dump())
        log.info("transform fitted to the vectors, relative error %.3f", error)
    transform.requires_grad_(settings.trained)
    return embedding


def load(
    settings: Settings, words: int, dim: int, tensors: Mapping[str, torch.Tensor]
) -> KDEmbedding:
    """The exported codes and transform."""
    return KDEmbedding.from_exported(tensors, words, dim, settings.transform, settings.packing)
