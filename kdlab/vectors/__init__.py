"""Pretrained word vectors: where they come from, one file a kind."""

from dataclasses import dataclass
from pathlib import Path

from kdcore.kinds import Kinds, KindSettings

VECTORS = Kinds("kdlab.vectors", "vectors")


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
    def title(self) -> str:
        """What Table 2 calls them."""
        raise NotImplementedError
