"""Compositional codes of an encoder network, learned through Gumbel-softmax.

Shu and Nakayama 2018, "Compressing Word Embeddings via Deep Compositional Code Learning", Sections
3 and 4; steps, batches and the start of the weights as in the authors' code
(github.com/zomux/neuralcompressor, `nncompress/embed_compress.py`).
"""

import copy
import math

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from kdcore.codes import Codes
from kdcore.errors import KDError
from kdcore.kinds import KindSettings
from kdcore.learners import Control, LearnedCodes, LearnerInputs, warn_if_pointless
from kdcore.learners.straight_through import LearningRecord
from kdcore.standardise import Standardisation
from kdcore.transforms.linear import LinearTransform
from kdcore.vectors import relative_error

NUMERICS = 1
EXAMPLE: dict[str, object] = {"K": 4, "D": 3, "epochs": 3, "batch_size": 10}

# Words that are encoded at a time.
PIECE = 10_000


class Settings(KindSettings):
    """The shape of the code and how the encoder is trained."""

    K: int = Field(ge=2, description="values of an index")
    D: int = Field(ge=1, description="indices in a code")
    epochs: int = Field(200, gt=0, description="passes over the words")
    batch_size: int = Field(64, gt=0, description="words in a minibatch")
    learning_rate: float = Field(0.0001, gt=0, allow_inf_nan=False, description="Adam's step size")
    max_grad_norm: float = Field(0.001, gt=0, description="largest global norm of the gradient")
    temperature: float = Field(1.0, gt=0, description="of the Gumbel-softmax")
    init_scale: float = Field(
        0.01,
        gt=0,
        allow_inf_nan=False,
        description="weights start uniform in ±init_scale; for vectors of unit root mean square",
    )

    @property
    def needs(self) -> frozenset[str]:
        """Vectors."""
        return frozenset({"vectors"})


class Encoder(nn.Module):
    """α = softplus(θ′ tanh(θ v + b) + b′), D × K numbers, from a hidden layer of D·K/2."""

    def __init__(self, dim: int, K: int, D: int):
        super().__init__()
        self.K, self.D = K, D
        self.hidden = nn.Linear(dim, max(1, D * K // 2))
        self.alpha = nn.Linear(self.hidden.out_features, D * K)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """log α of vectors (n, d), shape (n, D, K)."""
        alpha = F.softplus(self.alpha(self.hidden(vectors).tanh()))
        return (alpha + 1e-8).log().view(-1, self.D, self.K)

    @torch.no_grad()
    def indices(self, vectors: torch.Tensor) -> torch.Tensor:
        """The largest α of each position, int64 (n, D)."""
        return torch.cat([self(piece).argmax(2) for piece in vectors.split(PIECE)])


def learn(
    settings: Settings, inputs: LearnerInputs, seed: int, control: Control
) -> LearnedCodes | None:
    """The codes of the epoch with the least error, and the linear transform learned with them.

    Stopped, it begins again.

    Raises:
        KDError: bad vectors, or learning that diverges.

    Warns:
        UserWarning: the code has more values than there are words, or is no smaller than the
            table it replaces.
    """
    vectors = inputs.given_vectors()
    K, D, dim = settings.K, settings.D, vectors.shape[1]
    warn_if_pointless(vectors, K, K * D * dim)
    standard = Standardisation.of(vectors)
    targets, N = standard.apply(vectors), len(vectors)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, books = Encoder(dim, K, D).float(), LinearTransform(K, D, dim).float()
        for name, weight in [*encoder.named_parameters(), *books.named_parameters()]:
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            else:
                nn.init.uniform_(weight, -settings.init_scale, settings.init_scale)
        generator = torch.Generator()
        generator.set_state(torch.get_rng_state())
    weights = [*encoder.parameters(), *books.parameters()]
    optimizer = torch.optim.Adam(weights, lr=settings.learning_rate)
    before = encoder.indices(targets)
    least, best = math.inf, (before, books)
    history: list[LearningRecord] = []
    step = 0
    for epoch in range(1, settings.epochs + 1):
        total = 0.0
        for rows in torch.randperm(N, generator=generator).split(settings.batch_size):
            logits = encoder(targets[rows])
            gumbel = -torch.empty_like(logits).exponential_(generator=generator).log()
            chosen = ((logits + gumbel) / settings.temperature).softmax(2)
            errors = (books.compose_soft(chosen) - targets[rows]).square().sum(1)
            optimizer.zero_grad()
            (errors.mean() / 2).backward()
            nn.utils.clip_grad_norm_(weights, settings.max_grad_norm)
            optimizer.step()
            total += errors.detach().sum().item()
            step += 1
        if not math.isfinite(total):
            raise KDError(f"code learning diverged in epoch {epoch}; lower the learning rate")
        indices = encoder.indices(targets)
        health = Codes(indices, K).statistics()
        record = LearningRecord(
            epoch=epoch,
            step=step,
            temperature=settings.temperature,
            loss=total / N * standard.scale**2,
            error=relative_error(targets, books.compose_all(indices)),
            changed=float((indices != before).any(1).double().mean()),
            entropy=sum(health.entropy) / D,
            used=min(health.used),
            unique=health.unique,
        )
        before = indices
        history.append(record)
        control.report(record, indices)
        if record.error < least:
            least, best = record.error, (indices, copy.deepcopy(books))
        if epoch < settings.epochs and control.stop():
            return None
    standard.fold_into(best[1])
    return LearnedCodes(Codes(best[0], K), best[1], tuple(history))
