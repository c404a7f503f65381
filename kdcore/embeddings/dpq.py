"""Differentiable product quantization, from end to end: N·D·⌈log2 K⌉ + b·K·d/D bits.

Chen, Li and Sun 2020, "Differentiable Product Quantization for End-to-End Embedding Compression",
Section 2: DPQ-SX chooses by a softmax, DPQ-VQ by the nearest centroid. What the paper leaves open,
such as the constants of the batch normalisation, is as in the authors' code
(github.com/chentingpc/dpq_embedding_compression, `core/kd_quantizer.py`).
"""

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from kdcore.codes import Codes
from kdcore.embedding import KDEmbedding, Packing
from kdcore.embeddings import Embedding, EmbeddingInputs
from kdcore.errors import KDError
from kdcore.kinds import KindSettings
from kdcore.learners.straight_through import straight_through
from kdcore.transforms import product

NUMERICS = 1
EXAMPLE: dict[str, object] = {"K": 5, "D": 3}

# Those of the authors' framework. At the start responses vary less than this.
EPSILON, MOMENTUM = 1e-3, 0.01
# Words whose codes are chosen at a time.
PIECE = 10_000


class Settings(KindSettings):
    """The shape of the codes and how they are chosen."""

    K: int = Field(ge=2, description="values of an index")
    D: int = Field(ge=1, description="indices in a code; must divide d")
    variant: Literal["sx", "vq"] = Field(
        "sx", description="DPQ-SX, softmax of dot products; or DPQ-VQ, nearest centroid"
    )
    shared: bool = Field(
        True, description="one book for all groups of components; false gives each its own"
    )
    packing: Packing = "index"

    def check_shape(self, dim: int, D: int | None) -> None:
        """Refuse a D that does not divide the size of a vector."""
        if dim % self.D:
            raise KDError(f"D must divide the vectors' size {dim}, got {self.D}")


class DPQEmbedding(Embedding):
    """The vectors of a product quantizer whose codes are chosen anew in each step.

    A word's query q, a row of a table, is cut into D groups of d/D numbers. Each group responds to
    K keys, by dot product (SX) or by minus the squared distance (VQ). Each of the K responses is
    standardised over the words and groups of a batch, in eval mode by running statistics, and the
    largest one chooses. The vector is the concatenation of the chosen values, which are the keys
    themselves in VQ. The gradient reaches the queries as if the softmax had been taken (SX) or the
    query itself (VQ); in VQ, `extra_loss` draws the keys to the queries.

    `size().parameters` counts queries, keys and values. What is exported are packed codes and
    values alone.

    Args:
        queries: the table, (N, d).
        keys: (D, K, d/D), or (1, K, d/D) where all groups share them.
        values: shaped as the keys; None for VQ.
        D: groups.
        packing: how the exported codes are packed.
    """

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor | None, D: int,
        packing: Packing = "index",
    ):  # fmt: skip
        super().__init__()
        self.num_embeddings, self.embedding_dim = queries.shape
        self.K, self.D, self.packing = keys.shape[1], D, packing
        self.queries, self.keys = nn.Parameter(queries), nn.Parameter(keys)
        self.values = None if values is None else nn.Parameter(values)
        self.register_buffer("mean", torch.zeros(self.K))
        self.register_buffer("variance", torch.ones(self.K))
        self._chosen: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Integer ids (…) to vectors (…, embedding_dim)."""
        q = self._queries(ids)
        if self.values is None:
            with torch.no_grad():
                indices = self._responses(q).argmax(-1)
            # What `extra_loss` is of.
            self._chosen = (indices, q.detach()) if self.training else None
            vectors = q + (_chosen(self.keys, indices) - q).detach()
        else:
            vectors = _products(straight_through(self._responses(q), 1.0), self.values)
        return vectors.reshape(*ids.shape, self.embedding_dim)

    def extra_loss(self) -> torch.Tensor | None:
        """In VQ, the mean of (A_c − q)² over the numbers of the vectors composed last, q held."""
        if self._chosen is None:
            return None
        indices, q = self._chosen
        distance: torch.Tensor = (_chosen(self.keys, indices) - q).square().mean()
        return distance

    def _queries(self, ids: torch.Tensor) -> torch.Tensor:
        """The groups of the words' queries, (n, D, d/D)."""
        rows = F.embedding(ids.reshape(-1), self.queries)
        return rows.view(len(rows), self.D, self.embedding_dim // self.D)

    def _responses(self, q: torch.Tensor) -> torch.Tensor:
        """Standardised responses, (n, D, K)."""
        responses = _products(q, self.keys.transpose(1, 2))
        if self.values is None:
            lengths = q.square().sum(-1, keepdim=True) + self.keys.square().sum(-1)
            responses = 2 * responses - lengths
        # One group has no spread of its own.
        own = self.training and responses.numel() > self.K
        standard = F.batch_norm(
            responses.reshape(-1, self.K), self.mean, self.variance, training=own,
            momentum=MOMENTUM, eps=EPSILON,
        )  # fmt: skip
        return standard.view_as(responses)

    @torch.no_grad()
    def codes(self) -> Codes:
        """The codes that eval mode chooses."""
        training = self.training
        self.eval()
        words = torch.arange(self.num_embeddings, device=self.queries.device)
        indices = [self._responses(self._queries(ids)).argmax(-1) for ids in words.split(PIECE)]
        self.train(training)
        return Codes(torch.cat(indices), self.K)

    def export(self) -> dict[str, torch.Tensor]:
        """Packed codes and the values, named as those of a `KDEmbedding`."""
        codes = self.codes()
        values = self.keys if self.values is None else self.values
        packed = codes.packed if self.packing == "index" else codes.pack_whole()
        return {"packed": packed, "transform.W": values.detach()}


def surrogate(embedding: DPQEmbedding, ids: torch.Tensor, held: DPQEmbedding) -> torch.Tensor:
    """Vectors whose gradient the embedding has.

    Values move while the chosen indices stay; queries and keys move while the values stay.
    """
    q = embedding._queries(ids)
    if embedding.values is None or held.values is None:
        return q.reshape(*ids.shape, -1)
    chosen = held._responses(held._queries(ids)).argmax(-1)
    soft = embedding._responses(q).softmax(-1)
    vectors = _chosen(embedding.values, chosen) + _products(soft, held.values)
    return vectors.reshape(*ids.shape, -1)


def _products(rows: torch.Tensor, books: torch.Tensor) -> torch.Tensor:
    """Rows (n, D, a) times the matrices of their groups, (D or 1, a, b)."""
    if len(books) == 1:
        return rows @ books[0]
    return (rows.transpose(0, 1) @ books).transpose(0, 1)


def _chosen(books: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Rows of the groups' books by their indices (n, D), as (n, D, d/D)."""
    first = torch.arange(len(books), device=indices.device) * books.shape[1]
    return F.embedding(indices + first, books.flatten(0, 1))


def build(settings: Settings, words: int, dim: int, inputs: EmbeddingInputs) -> DPQEmbedding:
    """Queries, keys and values uniform in ±init_scale, as in the authors' code.

    Raises:
        KDError: a D that does not divide d.
    """
    settings.check_shape(dim, None)
    scale = inputs.init_scale
    shape = 1 if settings.shared else settings.D, settings.K, dim // settings.D
    queries = torch.empty(words, dim).uniform_(-scale, scale)
    keys = torch.empty(shape).uniform_(-scale, scale)
    values = torch.empty(shape).uniform_(-scale, scale) if settings.variant == "sx" else None
    return DPQEmbedding(queries, keys, values, settings.D, settings.packing)


def load(
    settings: Settings, words: int, dim: int, tensors: Mapping[str, torch.Tensor]
) -> KDEmbedding:
    """The exported codes and values, in an embedding of the product transform."""
    transform = product.Settings(shared=settings.shared)
    return KDEmbedding.from_exported(tensors, words, dim, transform, settings.packing)
