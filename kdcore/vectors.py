"""Word vectors: the table that code learning starts from."""

from dataclasses import dataclass
from pathlib import Path

import torch

from kdcore.errors import KDError
from kdcore.tensors import load_tensors, save_tensors


@dataclass(frozen=True)
class WordVectors:
    """A table of vectors with a word for each row.

    Attributes:
        words: length N, no word twice.
        vectors: float32, shape (N, d).
    """

    words: tuple[str, ...]
    vectors: torch.Tensor

    def save(self, path: str | Path) -> None:
        """Store in one safetensors file."""
        header = {"kind": "word vectors", "words": list(self.words)}
        save_tensors(path, {"vectors": self.vectors}, header)

    @classmethod
    def load(cls, path: str | Path) -> "WordVectors":
        """Read what `save` wrote; a table in half precision too.

        Raises:
            KDError: missing, damaged, or the words and rows do not match.
        """
        tensors, header = load_tensors(path, "word vectors", ["vectors", "words"])
        words, vectors = header["words"], tensors["vectors"].float()
        if vectors.ndim != 2 or len(words) != len(vectors):
            raise KDError(f"{path}: {len(words)} words for vectors of shape {tuple(vectors.shape)}")
        return cls(tuple(words), vectors)
