"""A table rounded row by row to a few bits a number, trained as rounded: N·(d·β + 2·16) bits.

May et al. 2019, "On the Downstream Performance of Compressed Word Embeddings", Section 2
(uniform quantisation with clipped extremes); training through the rounding as in Jacob et al.
2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", Section 3, with the straight-through gradient of Bengio et al. 2013.
"""

from collections.abc import Mapping
from typing import Self

import torch
from pydantic import Field
from torch import nn
from torch.compiler import is_compiling

from kdcore.codes import append_packed, pack, unpack_at
from kdcore.embeddings import (
    Embedding,
    EmbeddingInputs,
    FixedEmbedding,
    guarded,
    state_of,
    stored_tensor,
)
from kdcore.kinds import KindSettings
from kdcore.rounding import dequantise, quantise, stored_type
from kdcore.vectors import check_vectors

NUMERICS = 1
EXAMPLE: dict[str, object] = {"bits": 3}


class Settings(KindSettings):
    """The number of bits."""

    bits: int = Field(ge=1, le=8, description="bits β of a number; a row has a scale and an offset")


class UniformEmbedding(Embedding):
    """v_s = o_s + a_s·q_s, where q_s are row s's numbers rounded to 0 … 2^β − 1.

    The gradient of the rounding is that of the identity.

    Args:
        weight: the table that is trained, (N, d).
        bits: β.
    """

    def __init__(self, weight: torch.Tensor, bits: int):
        super().__init__()
        self.num_embeddings, self.embedding_dim = weight.shape
        self.bits = bits
        self.weight = nn.Parameter(weight)
        self._kept: tuple[object, torch.dtype] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": None}

    def _stored_type(self) -> torch.dtype:
        """Of scales: it depends on the whole table, which is looked at where it has changed."""
        if is_compiling():  # neither versions nor numbers can be read
            return self._kept[1] if self._kept is not None else torch.float16
        now = state_of([self.weight])
        if self._kept is None or self._kept[0] != now:
            self._kept = now, stored_type([self.weight.detach()], self.bits)
        return self._kept[1]

    def train(self, mode: bool = True) -> Self:
        """As of every module; what training writes into `parameter.data` no version tells."""
        self._kept = None if mode else self._kept
        return super().train(mode)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Integer ids (…) to vectors (…, embedding_dim)."""
        rows = nn.functional.embedding(ids, self.weight)
        exact = rows.detach()
        # In training, where the table changes at each step, what suits these rows.
        stored = None if self.training and not is_compiling() else self._stored_type()
        rounded = dequantise(*quantise(exact, self.bits, stored)).to(rows.dtype)
        # Adding an exact zero, of which the gradient is taken.
        return rounded + (rows - exact)

    def export(self) -> dict[str, torch.Tensor]:
        """The q packed at β bits, and a scale and an offset a row in 16 bits.

        Raises:
            KDError: see `kdcore.rounding.stored_type`, which says which 16 bits.
        """
        weight = self.weight.detach()
        stored = stored_type([weight], self.bits)
        pieces = [quantise(rows, self.bits, stored) for rows in torch.split(weight, 10_000)]
        levels, scale, offset = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        packed = pack(levels.long().cpu(), self.bits)
        return {"packed": packed, "scale": scale.flatten(), "offset": offset.flatten()}


def surrogate(embedding: UniformEmbedding, ids: torch.Tensor) -> torch.Tensor:
    """Vectors whose gradient the embedding has: those before they are rounded."""
    return nn.functional.embedding(ids, embedding.weight)


class PackedEmbedding(FixedEmbedding):
    """The rows of a `UniformEmbedding` as they are stored; nothing in it is trained.

    Args:
        packed: the q, one bit stream.
        scale, offset: (N,), of the type that they are stored in.
        dim: size d of a vector.
        bits: β.
    """

    packed: torch.Tensor
    scale: torch.Tensor
    offset: torch.Tensor

    def __init__(
        self, packed: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor, dim: int, bits: int
    ):
        super().__init__()
        self.num_embeddings, self.embedding_dim, self.bits = len(scale), dim, bits
        for name, tensor in (("packed", packed), ("scale", scale), ("offset", offset)):
            self.register_buffer(name, tensor)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Integer ids (…) to vectors (…, embedding_dim)."""
        ids = guarded(ids, self.num_embeddings)
        # First: they refuse ids that are none. One by one: put together they would be copied at
        # each lookup, and `torch.autocast` refuses halves in it where it computes in bfloat16.
        scale, offset = (
            nn.functional.embedding(ids, part[:, None]) for part in (self.scale, self.offset)
        )
        columns = torch.arange(self.embedding_dim, device=ids.device)
        positions = ids.long()[..., None] * self.embedding_dim + columns
        levels = unpack_at(self.packed, positions, self.bits).float()
        return self.in_own_type(dequantise(levels, scale, offset))

    def export(self) -> dict[str, torch.Tensor]:
        """What is stored."""
        return {"packed": self.packed, "scale": self.scale, "offset": self.offset}

    def extended(self, vectors: torch.Tensor) -> "PackedEmbedding":
        more = check_vectors(vectors, dim=self.embedding_dim)
        levels, scale, offset = (part.flatten() for part in quantise(more, self.bits))
        count = self.num_embeddings * self.embedding_dim
        packed = append_packed(self.packed, count, levels.long(), self.bits)
        scales, offsets = torch.cat([self.scale, scale]), torch.cat([self.offset, offset])
        return PackedEmbedding(packed, scales, offsets, self.embedding_dim, self.bits).eval()


def build(settings: Settings, words: int, dim: int, inputs: EmbeddingInputs) -> UniformEmbedding:
    """A table, uniform in ±init_scale before it is rounded."""
    weight = torch.empty(words, dim).uniform_(-inputs.init_scale, inputs.init_scale)
    return UniformEmbedding(weight, settings.bits)


def load(
    settings: Settings, words: int, dim: int, tensors: Mapping[str, torch.Tensor]
) -> PackedEmbedding:
    """The exported rows, composed from their bits."""
    return PackedEmbedding(
        stored_tensor(tensors, "packed", -(-words * dim * settings.bits // 8)),
        stored_tensor(tensors, "scale", words),
        stored_tensor(tensors, "offset", words),
        dim,
        settings.bits,
    )
