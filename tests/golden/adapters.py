"""How the traces reach the code: settings as presets have them in, plain objects out."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdcore.codes import Codes
from kdcore.compressing import compress_table
from kdcore.embedding import KDEmbedding
from kdcore.embeddings import EMBEDDINGS, EmbeddingInputs
from kdcore.encoding import encode
from kdcore.fitting import fit_transform
from kdcore.learners import LEARNERS, Control, LearnedCodes, LearnerInputs
from kdcore.learning import learn_codes as learn_and_refine_codes
from kdcore.transforms import TRANSFORMS, Transform
from kdlab.clustering import make_clusters, run_arm
from kdlab.corpus import Corpus, batches
from kdlab.language_model import LanguageModel, State, perplexity
from kdlab.language_model_settings import LanguageModelSettings
from kdlab.texts import TEXTS
from kdlab.training import EpochRecord
from kdlab.training import train as train_model
from kdlab.training import training_step as step_of_training

__all__ = [
    "Codes", "Corpus", "KDEmbedding", "batches", "compress_table", "encode", "fit_transform",
    "make_clusters", "perplexity", "run_arm",
]  # fmt: skip

Settings = dict[str, Any]


def learn(
    settings: Settings,
    vectors: torch.Tensor | None,
    seed: int,
    counts: torch.Tensor | None = None,
    start: Codes | None = None,
    words: int | None = None,
) -> LearnedCodes:
    """Codes by a kind of learner."""
    if start is not None:
        settings = {**settings, "start": "given"}
    chosen = LEARNERS.parse(settings)
    number = words if vectors is None else len(vectors)
    inputs = LearnerInputs(number, vectors=vectors, counts=counts, start=start)
    return chosen.module.learn(chosen, inputs, seed, Control())


def learn_codes(
    vectors: torch.Tensor, settings: Settings, refinement: Settings, counts: torch.Tensor, seed: int
) -> LearnedCodes:
    """Algorithm 1 and a refinement in one call; the history is the refinement's."""
    own = {name: value for name, value in settings.items() if name != "kind"}
    refinement = {name: value for name, value in refinement.items() if name != "kind"}
    found = learn_and_refine_codes(vectors, **own, refinement=refinement, counts=counts, seed=seed)
    return LearnedCodes(found.codes, found.transform, found.history[own["epochs"] :])


def transform(settings: Settings, K: int, D: int, dim: int) -> Transform:
    """A transform with random weights."""
    chosen = TRANSFORMS.parse(settings)
    return chosen.module.build(chosen, K, D, dim)


def compose(
    transform: Transform, indices: torch.Tensor, weights: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Vectors of codes, some code embedding vectors left out."""
    return transform(indices, weights, mask)


def compose_soft(transform: Transform, weights: torch.Tensor) -> torch.Tensor:
    """Vectors of weights over the values."""
    return transform.compose_soft(weights)


def compose_all(transform: Transform, indices: torch.Tensor) -> torch.Tensor:
    """Vectors of codes in eval mode."""
    return transform.compose_all(indices)


def embedding(
    settings: Settings, words: int, dim: int, codes: Codes, vectors: torch.Tensor, init_scale: float
) -> nn.Module:
    """An embedding as a language model begins with."""
    chosen = EMBEDDINGS.parse(settings)
    inputs = EmbeddingInputs(codes=codes, vectors=vectors, init_scale=init_scale)
    return chosen.module.build(chosen, words, dim, inputs)


def language_model(
    embedding: nn.Module, words: int, settings: Settings
) -> tuple[LanguageModel, LanguageModelSettings]:
    """A language model over an embedding, and its settings."""
    chosen = LanguageModelSettings(**settings)
    return LanguageModel(embedding, words, chosen), chosen


def training_step(
    model: LanguageModel, ids: torch.Tensor, targets: torch.Tensor, state: State,
    rate: float, max_grad_norm: float,
) -> tuple[torch.Tensor, State]:  # fmt: skip
    """The loss of one step of training, and the new state."""
    return step_of_training(model, ids, targets, state, rate=rate, max_grad_norm=max_grad_norm)


def train(
    model: LanguageModel, corpus: Corpus, settings: LanguageModelSettings, checkpoint: Path
) -> list[EpochRecord]:
    """Training to the end."""
    return train_model(model, corpus, settings, checkpoint=checkpoint, identity="golden")


def generated_text(tokens: int, seed: int, topics: dict | None) -> Corpus:
    """Newswire without topics, or the text of the demo, with them."""
    settings = {"kind": "generated", "training_tokens": tokens, "seed": seed, "topics": topics}
    chosen = TEXTS.parse(settings)
    return chosen.module.read(chosen)
