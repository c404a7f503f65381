"""Codes learned with the model, from logits: N·D·⌈log2 K⌉ + b·(D·K·d′ + d′·d + d) bits.

Chen, Min and Sun 2018, "Learning K-way D-dimensional Discrete Codes for Compact Embedding
Representations" (ICML), Sections 2 and 3, with the linear composition and distillation from given
vectors. What the paper leaves open, such as normalisations and optimisers, is as in the authors'
code (github.com/chentingpc/kdcode-lm, `encoder.py` and `ptb_word_lm.py`).
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from kdcore.codes import Codes
from kdcore.embedding import KDEmbedding, Packing
from kdcore.embeddings import Embedding, EmbeddingInputs, stored_tensor
from kdcore.kinds import KindSettings
from kdcore.learners.straight_through import straight_through
from kdcore.transforms import linear

NUMERICS = 1
EXAMPLE: dict[str, object] = {"K": 5, "D": 3, "code_dim": 7}

# Those of the authors' framework.
EPSILON, MOMENTUM = 1e-3, 0.01
BETAS, ADAM_EPSILON = (0.9, 0.999), 1e-8
# Words whose codes are chosen at a time.
PIECE = 10_000


class Settings(KindSettings):
    """The shape of the codes and how they are learned."""

    K: int = Field(ge=2, description="values of an index")
    D: int = Field(ge=1, description="indices in a code")
    code_dim: int | None = Field(
        300, gt=0, description="size d′ of a code embedding; null, or d: there is no H"
    )
    distil: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="weight, in the loss, of the mean squared distance from the pretrained "
        "vectors, 1000 in the authors' code; null: none",
    )
    code_rate: float = Field(
        0.01, gt=0, description="Adam's step size for the logits, as a share of the model's"
    )
    packing: Packing = "index"

    @property
    def needs(self) -> frozenset[str]:
        """Vectors, where they are distilled."""
        return frozenset({"vectors"} if self.distil else ())


class Norm(nn.Module):
    """Batch normalisation with scale and shift, over rows that count several times."""

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, size: int):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))

    def forward(self, rows: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Rows (n, size), each counted so many times, (n,)."""
        factor, offset = self.affine()
        if self.training and times.sum() > 1:  # one row has no spread of its own
            shares = (times / times.sum()).to(rows.dtype)[:, None]
            mean = (shares * rows).sum(0)
            variance = (shares * (rows - mean).square()).sum(0)
            with torch.no_grad():
                self.mean.lerp_(mean, MOMENTUM)
                self.variance.lerp_(variance, MOMENTUM)
            factor = self.scale * (variance + EPSILON).rsqrt()
            offset = self.shift - mean * factor
        return rows * factor + offset

    def affine(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Factor and offset of eval mode."""
        factor = self.scale * (self.variance + EPSILON).rsqrt()
        return factor, self.shift - self.mean * factor


class JointEmbedding(Embedding):
    """v = norm(H norm(mean_j W^j[c_j]) + b) with c_j the largest normalised logit of position j.

    The gradient reaches the logits as if the softmax had been taken. They and the scale and shift
    of their normalisation are moved by `own_step`, by Adam, which touches the logits of the words
    of a batch alone. Without H there is one norm.

    `size().parameters` counts the logits too. Exported are packed codes, and W, H and an offset in
    which the means and norms are folded.

    Args:
        logits: (N, D·K); their gradient is sparse.
        books: W, (D, K, d′).
        projection: H, (d′, d), or None where d′ is d.
        settings: of the kind.
        vectors: what is distilled, (N, d), or None.
    """

    targets: torch.Tensor | None
    steps: torch.Tensor

    def __init__(
        self, logits: torch.Tensor, books: torch.Tensor, projection: torch.Tensor | None,
        settings: Settings, vectors: torch.Tensor | None,
    ):  # fmt: skip
        super().__init__()
        self.num_embeddings, (self.D, self.K) = len(logits), books.shape[:2]
        self.embedding_dim = books.shape[2] if projection is None else projection.shape[1]
        self.settings = settings
        self.logits, self.W = nn.Parameter(logits), nn.Parameter(books)
        self.of_logits, self.norm = Norm(self.K), Norm(self.embedding_dim)
        self.inner, self.H, self.bias = None, None, None
        if projection is not None:
            self.inner, self.H = Norm(books.shape[2]), nn.Parameter(projection)
            self.bias = nn.Parameter(torch.zeros(self.embedding_dim))
        self.register_buffer("targets", vectors, persistent=False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        for name, parameter in self._own().items():
            for moment in ("first", "second"):
                self.register_buffer(f"{moment}_{name}", torch.zeros_like(parameter))
        self._distance: torch.Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_distance": None}

    def _own(self) -> dict[str, nn.Parameter]:
        """Parameters that `own_step` moves."""
        return {
            "logits": self.logits, "scale": self.of_logits.scale, "shift": self.of_logits.shift,
        }  # fmt: skip

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Integer ids (…) to vectors (…, embedding_dim)."""
        words, at, times = _distinct(ids)
        chosen = straight_through(self._normalised(words, times), 1.0)
        vectors = self._composed(chosen.flatten(1) @ self.W.flatten(0, 1), times)
        if self.training:
            self._distance = None
            if self.targets is not None and len(words):
                errors = (vectors - F.embedding(words, self.targets)).square().mean(1)
                self._distance = (times * errors).sum() / times.sum()
        return F.embedding(at, vectors).view(*ids.shape, self.embedding_dim)

    def _normalised(
        self, words: torch.Tensor, times: torch.Tensor, sparse: bool = True
    ) -> torch.Tensor:
        """Logits after their normalisation, (n, D, K)."""
        # A dense gradient would be larger than the model's.
        logits = F.embedding(words, self.logits, sparse=sparse).reshape(-1, self.K)
        normalised: torch.Tensor = self.of_logits(logits, times.repeat_interleave(self.D))
        return normalised.view(len(words), self.D, self.K)

    def _composed(self, total: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Vectors of sums over the positions, (n, d′)."""
        mean = total / self.D
        if self.inner is not None and self.H is not None:
            mean = self.inner(mean, times) @ self.H + self.bias
        vectors: torch.Tensor = self.norm(mean, times)
        return vectors

    def extra_loss(self) -> torch.Tensor | None:
        """`distil` times the mean squared distance of the vectors composed last from those given.

        Once for each time that vectors are composed.
        """
        distance, self._distance = self._distance, None
        if distance is None or self.settings.distil is None:
            return None
        weighted: torch.Tensor = self.settings.distil * distance
        return weighted

    @torch.no_grad()
    def own_step(self, rate: float) -> None:
        """Adam for the logits of the words composed last and for their normalisation."""
        if self.logits.grad is None:
            return
        self.steps += 1
        t, (b1, b2) = int(self.steps), BETAS
        size = self.settings.code_rate * rate * (1 - b2**t) ** 0.5 / (1 - b1**t)
        for name, parameter in self._own().items():
            gradient, parameter.grad = parameter.grad, None
            assert gradient is not None
            rows: torch.Tensor | slice = slice(None)
            if gradient.is_sparse:
                gradient = gradient.coalesce()
                rows, gradient = gradient.indices()[0], gradient.values()
            firsts, seconds = self.get_buffer(f"first_{name}"), self.get_buffer(f"second_{name}")
            first = firsts[rows].lerp_(gradient, 1 - b1)
            second = seconds[rows].lerp_(gradient.square(), 1 - b2)
            firsts[rows], seconds[rows] = first, second
            parameter[rows] -= size * first / (second.sqrt() + ADAM_EPSILON)

    @torch.no_grad()
    def codes(self) -> Codes:
        """The codes that eval mode chooses."""
        factor, offset = self.of_logits.affine()
        pieces = self.logits.view(-1, self.D, self.K).split(PIECE)
        return Codes(torch.cat([(piece * factor + offset).argmax(2) for piece in pieces]), self.K)

    @torch.no_grad()
    def export(self) -> dict[str, torch.Tensor]:
        """Packed codes, W and H as of a `KDEmbedding`, and what is added to its vectors."""
        codes = self.codes()
        factor, offset = self.norm.affine()
        W = self.W / self.D
        packed = codes.packed if self.settings.packing == "index" else codes.pack_whole()
        if self.inner is None or self.H is None or self.bias is None:
            return {"packed": packed, "transform.W": W * factor, "offset": offset}
        before, shift = self.inner.affine()
        return {
            "packed": packed,
            "transform.W": W,
            "transform.H": before[:, None] * self.H * factor,
            "offset": (shift @ self.H + self.bias) * factor + offset,
        }


def surrogate(embedding: JointEmbedding, ids: torch.Tensor, held: JointEmbedding) -> torch.Tensor:
    """Vectors whose gradient the embedding has.

    W moves while the chosen indices stay; logits move while W stays.
    """
    words, at, times = _distinct(ids)
    soft = embedding._normalised(words, times, sparse=False).softmax(2)
    held_logits = held._normalised(words, times)
    hard = F.one_hot(held_logits.argmax(2), held.K).to(soft.dtype)
    total = hard.flatten(1) @ embedding.W.flatten(0, 1)
    moved = (soft - held_logits.softmax(2)).flatten(1) @ held.W.flatten(0, 1)
    vectors = embedding._composed(total + moved, times)
    return F.embedding(at, vectors).view(*ids.shape, embedding.embedding_dim)


def _distinct(ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    words, at, times = torch.unique(ids.reshape(-1), return_inverse=True, return_counts=True)
    return words, at, times


class OffsetEmbedding(Embedding):
    """An embedding to whose vectors one and the same is added: what is exported.

    Args:
        inner: packed codes and the linear transform.
        offset: (d,).
    """

    def __init__(self, inner: KDEmbedding, offset: torch.Tensor):
        super().__init__()
        self.num_embeddings, self.embedding_dim = inner.num_embeddings, inner.embedding_dim
        self.inner, self.offset = inner, nn.Parameter(offset)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Integer ids (…) to vectors (…, embedding_dim)."""
        vectors: torch.Tensor = self.inner(ids) + self.offset
        return vectors

    def export(self) -> dict[str, torch.Tensor]:
        """What is stored."""
        return {**self.inner.export(), "offset": self.offset.detach()}


def build(settings: Settings, words: int, dim: int, inputs: EmbeddingInputs) -> JointEmbedding:
    """Logits, code embeddings and H uniform in ±init_scale, as in the authors' code.

    Raises:
        KDError: no vectors where they are to be distilled, or some that do not fit the words.
    """
    inputs.check(settings, words, dim)
    scale = inputs.init_scale
    code_dim = settings.code_dim or dim
    logits = torch.empty(words, settings.D * settings.K).uniform_(-scale, scale)
    books = torch.empty(settings.D, settings.K, code_dim).uniform_(-scale, scale)
    projection = None
    if code_dim != dim:
        projection = torch.empty(code_dim, dim).uniform_(-scale, scale)
    vectors = inputs.vectors if settings.distil else None
    return JointEmbedding(logits, books, projection, settings, vectors)


def load(
    settings: Settings, words: int, dim: int, tensors: Mapping[str, torch.Tensor]
) -> OffsetEmbedding:
    """The exported codes and numbers."""
    offset = stored_tensor(tensors, "offset", dim)
    others = {name: tensor for name, tensor in tensors.items() if name != "offset"}
    transform = linear.Settings(code_dim=settings.code_dim)
    inner = KDEmbedding.from_exported(others, words, dim, transform, settings.packing)
    return OffsetEmbedding(inner, offset).eval()
