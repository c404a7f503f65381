"""The embedded demo text: drawn from a small seeded grammar, no network."""

from pydantic import Field

from kdcore.kinds import Section
from kdlab.corpus import Corpus
from kdlab.grammar import NEWSWIRE, TOPICS, Grammar, generate, topical
from kdlab.texts import TextSettings

NUMERICS = 1
EXAMPLE: dict[str, object] = {"training_tokens": 2000, "seed": 1}


class Topics(Section):
    """Topics, each with words of its own; a sentence keeps to one."""

    count: int = Field(ge=1, le=len(TOPICS), description="how many, all as frequent")
    words: int = Field(ge=1, description="words of each of a topic's five classes, by Zipf's law")


class Settings(TextSettings):
    """What is drawn, and how much of it."""

    training_tokens: int = Field(
        ge=1000, description="training tokens, about; a tenth each for valid and test"
    )
    seed: int = Field(description="random seed of the text")
    topics: Topics | None = Field(
        None,
        description="topics, so that what follows depends on which word it was; null: newswire "
        "of some 400 words, without any",
    )

    @property
    def grammar(self) -> Grammar:
        """The rules that it is drawn by."""
        return NEWSWIRE if self.topics is None else topical(self.topics.count, self.topics.words)

    @property
    def floor_perplexity(self) -> float | None:
        """exp of the entropy per token, `<eos>` included."""
        return self.grammar.floor_perplexity()

    @property
    def remark(self) -> str | None:
        """It is made of classes, more than real text is."""
        return (
            "its words belong to few classes: it can show that learned codes find them and random "
            "ones do not, but not how well codes do on a real text"
        )

    @property
    def tokens(self) -> int:
        """Training tokens, about."""
        return self.training_tokens


def read(settings: Settings) -> Corpus:
    """The text with its vocabulary; equal seeds give equal text."""
    return generate(settings.training_tokens, settings.seed, settings.grammar)
