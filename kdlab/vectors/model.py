"""The input embedding of a trained language model of the preset (the v of Section 2.3)."""

from kdcore.errors import KDError
from kdcore.tensors import load_tensors
from kdcore.vectors import WordVectors
from kdlab.corpus import Corpus
from kdlab.vectors import OfModel, VectorInputs

NUMERICS = 1
EXAMPLE: dict[str, object] = {}


class Settings(OfModel):
    """Which model."""


def read(settings: Settings, inputs: VectorInputs) -> WordVectors:
    """The table in a model's file, with the words of its text.

    Raises:
        KDError: a file is missing or damaged, or the model has no full table.
    """
    if inputs.text is None or inputs.model is None:
        raise KDError("vectors of kind 'model' need a text and a model")
    tensors, _ = load_tensors(inputs.model, "language model", ["embedding.weight"])
    return WordVectors(Corpus.load(inputs.text).words, tensors["embedding.weight"])
