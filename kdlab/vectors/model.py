"""The input embedding of a trained language model of the preset (Section 2.3: the given v)."""

from pydantic import Field

from kdcore.errors import KDError
from kdcore.tensors import load_tensors
from kdcore.vectors import WordVectors
from kdlab.corpus import Corpus
from kdlab.vectors import VectorInputs, VectorSettings

NUMERICS = 1


class Settings(VectorSettings):
    """Which model."""

    method: str = Field("conventional", description="method whose embedding it is, a full table")
    model: str | None = Field(
        None, description="its language model; null: the one that the codes are for"
    )
    seed: int | None = Field(None, description="its seed; null: that of the codes")

    @property
    def needs(self) -> frozenset[str]:
        """A trained model."""
        return frozenset({"model"})

    @property
    def title(self) -> str:
        """What Table 2 calls them."""
        return f"embedding of the {self.model} model, {self.method}"


def read(settings: Settings, inputs: VectorInputs) -> WordVectors:
    """The table in a model's file, with the words of its text.

    Raises:
        KDError: a file is missing or damaged, or the model has no full table.
    """
    if inputs.text is None or inputs.model is None:
        raise KDError("vectors of kind 'model' need a text and a model")
    tensors, _ = load_tensors(inputs.model, "language model", ["embedding.weight"])
    return WordVectors(Corpus.load(inputs.text).words, tensors["embedding.weight"])
