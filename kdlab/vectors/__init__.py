"""Pretrained word vectors: where they come from, one file a kind."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from kdcore.kinds import Kinds, KindSettings


@dataclass(frozen=True)
class VectorInputs:
    """What vectors may be read from beside a source of their own.

    Attributes:
        text: the corpus file, for its words.
        model: weights of a trained language model.
    """

    text: Path | None = None
    model: Path | None = None


class VectorSettings(KindSettings):
    """Settings of word vectors."""

    @property
    def files(self) -> list[Path]:
        """The user's own files that are read; their content is part of an address."""
        return []

    @property
    def places(self) -> frozenset[str]:
        """Settings that say where files are: their content counts in an address, not their name."""
        return frozenset()

    @property
    def title(self) -> str:
        """What Table 2 calls them."""
        return self.kind


class OfModel(VectorSettings):
    """Settings of word vectors that are taken out of a trained language model."""

    method: str = Field("conventional", description="method whose embedding it is, a full table")
    model: str | None = Field(
        None, description="its language model; null: the one that the codes are for"
    )
    seed: int | None = Field(None, description="its seed; null: that of the codes")

    @property
    def title(self) -> str:
        """What Table 2 calls them."""
        return f"embedding of the {self.model} model, {self.method}"


VECTORS: Kinds[VectorSettings] = Kinds("kdlab.vectors", "vectors")
