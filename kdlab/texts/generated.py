"""The embedded demo text: drawn from a small seeded grammar, no network."""

from pydantic import Field

from kdlab.corpus import Corpus
from kdlab.grammar import floor_perplexity, generate
from kdlab.texts import TextSettings

NUMERICS = 1
EXAMPLE: dict[str, object] = {"training_tokens": 2000, "seed": 1}


class Settings(TextSettings):
    """How much of it is drawn."""

    training_tokens: int = Field(
        ge=1000, description="training tokens, about; a tenth each for valid and test"
    )
    seed: int = Field(description="random seed of the text")

    @property
    def floor_perplexity(self) -> float | None:
        """exp of the entropy per token, `<eos>` included."""
        return floor_perplexity()

    @property
    def tokens(self) -> int:
        """Training tokens, about."""
        return self.training_tokens


def read(settings: Settings) -> Corpus:
    """The text with its vocabulary; equal seeds give equal text."""
    return generate(settings.training_tokens, settings.seed)
