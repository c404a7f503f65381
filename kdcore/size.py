"""How large an embedding is: numbers that are trained, and bits that have to be stored."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

FLOAT_BITS = 32


@dataclass(frozen=True)
class Size:
    """Size of an input embedding.

    Attributes:
        parameters: numbers that training changes; Table 1's "E. Size".
        bits: of the exported tensors: all that must be stored so that any word's vector can be
            composed (codes, code books, projections, scales).
    """

    parameters: int
    bits: int

    def rate(self, words: int, dim: int) -> float:
        """Table 1's "C. Rate": trainable parameters over those of the full table, words × dim."""
        return self.parameters / (words * dim)

    def rate_with_codes(self, words: int, dim: int) -> float:
        """Stored bits over those of the full table in float32."""
        return self.bits / (words * dim * FLOAT_BITS)

    def bits_per_word(self, words: int) -> float:
        """Stored bits over the number of words."""
        return self.bits / words


def stored_bits(tensors: Mapping[str, torch.Tensor]) -> int:
    """Bits of tensors as a file holds them.

    Example:
        >>> stored_bits({"table": torch.zeros(10, 4)})
        1280
    """
    return sum(8 * tensor.numel() * tensor.element_size() for tensor in tensors.values())
