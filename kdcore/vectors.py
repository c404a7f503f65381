"""Word vectors: the table that code learning starts from, and what is lost of it."""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdcore.errors import KDError
from kdcore.tensors import load_tensors, save_tensors

# Rows that are summed up at a time.
PIECE = 10_000


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
        """Store in one safetensors file.

        Raises:
            KDError: vectors that are not one a word, or a file that cannot be written.
        """
        if self.vectors.ndim != 2 or len(self.words) != len(self.vectors):
            raise KDError(
                f"vectors must have shape ({len(self.words)}, d), a row for each word, got "
                f"{tuple(self.vectors.shape)}"
            )
        header = {"kind": "word vectors", "words": list(self.words)}
        save_tensors(path, {"vectors": self.vectors}, header)

    @classmethod
    def load(cls, path: str | Path) -> "WordVectors":
        """Read what `save` wrote; a table in half precision too.

        Raises:
            KDError: missing, damaged, or the words and rows do not match.
        """
        tensors, header = load_tensors(path, "word vectors", ["vectors", "words"])
        words, vectors = header["words"], tensors.get("vectors")
        if vectors is None or not vectors.is_floating_point():
            raise KDError(f"{path}: damaged, there are no vectors in it")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise KDError(f"{path}: words must be a list of text")
        vectors = vectors.float()
        if vectors.ndim != 2 or len(words) != len(vectors):
            raise KDError(
                f"{path}: vectors must have shape ({len(words)}, d), a row for each word, got "
                f"{tuple(vectors.shape)}"
            )
        return cls(tuple(words), vectors)


def as_tensor(numbers: Any) -> torch.Tensor:
    """Numbers as a tensor of their own type; a NumPy array of whatever strides and byte order.

    Nothing is copied that need not be: a `numpy.memmap` stays one.

    Raises:
        TypeError, ValueError, RuntimeError: they are none, or are not all held one by one.
    """
    if isinstance(numbers, torch.Tensor) or not hasattr(numbers, "__array__"):
        given = isinstance(numbers, torch.Tensor)
        found = numbers if given else torch.as_tensor(numbers, device="cpu")
        if found.layout != torch.strided or found.is_quantized:
            kind = "quantised" if found.is_quantized else str(found.layout)
            raise TypeError(f"a tensor must be dense, got one that is {kind}")
        return found
    if is_masked(numbers):
        raise TypeError("an array must have all of its numbers, got some that are masked")
    array = np.asarray(numbers)
    turned = min(array.strides, default=0) < 0
    array = np.asarray(array, array.dtype.newbyteorder("="), order="C" if turned else "K")
    with warnings.catch_warnings():
        # Of an array that cannot be written: nothing here writes into what is given.
        warnings.simplefilter("ignore", UserWarning)
        return torch.as_tensor(array, device="cpu")


def as_float32(array: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Numbers of NumPy in float32 and in rows; those beyond it are infinite, which checks refuse.

    Raises:
        TypeError, ValueError: they are no numbers.
    """
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32)


def is_masked(numbers: Any) -> bool:
    """Whether numbers of an array are marked as none."""
    return bool(np.ma.is_masked(numbers))


def as_floats(numbers: Any) -> torch.Tensor:
    """Real numbers as float32 on the CPU.

    Raises:
        TypeError, ValueError, RuntimeError: see `as_tensor`; complex numbers.
    """
    found = as_tensor(numbers).detach()
    if found.is_complex():
        raise TypeError(f"numbers must be real, got {found.dtype}")
    return found.cpu().float()


def keyed_vectors(given: Any) -> Any | None:
    """gensim's KeyedVectors, those of a model that has some; None of anything else."""
    keyed = getattr(given, "wv", given)
    return keyed if hasattr(keyed, "index_to_key") and hasattr(keyed, "vectors") else None


def check_vectors(
    vectors: torch.Tensor | np.ndarray, *, or_one: bool = False, dim: int | None = None
) -> torch.Tensor:
    """Vectors as float32 of shape (N, d), on the CPU.

    Args:
        or_one: whether one vector of shape (d,) is a table of one.
        dim: the size d that they must have; None is any.

    Raises:
        KDError: not a table, rows of unequal length, no rows, or values that are not finite.
    """
    keyed = keyed_vectors(vectors)
    try:
        table = as_floats(vectors if keyed is None else keyed.vectors)
    except (TypeError, ValueError, RuntimeError) as error:
        line = " ".join(str(error).split())
        raise KDError(f"vectors must be a table of numbers ({line})") from None
    if or_one and table.ndim == 1:
        table = table[None]
    if table.ndim != 2 or 0 in table.shape:
        raise KDError(f"vectors must have shape (N, d), got {tuple(table.shape)}")
    if dim not in (None, table.shape[1]):
        raise KDError(f"vectors must have size {dim}, got {table.shape[1]}")
    wrong = ~torch.isfinite(table).all(1)
    if wrong.any():
        raise KDError(f"vector {int(wrong.nonzero()[0])} must be finite, got a value that is not")
    return table


def check_unequal(vectors: torch.Tensor) -> None:
    """Refuse a table from which there is nothing to learn.

    Raises:
        KDError: all rows are equal.
    """
    if bool((vectors == vectors[0]).all()):
        raise KDError(f"vectors must not all be equal, got {len(vectors)} times the same")


def root_mean_square(vectors: torch.Tensor) -> float:
    """Of all numbers in a table, of whatever size they are."""
    found = float(vectors.square().mean().sqrt())
    # Squares of very large or small numbers leave the range of a float32.
    return found if 1e-15 < found < math.inf else float(vectors.double().square().mean().sqrt())


def spread_of(variance: float, squares: float) -> float:
    """What errors are a share of: Σ‖v − mean‖², or Σ‖v‖² of equal vectors, which have no variance.

    Args:
        variance: Σ‖v − mean‖².
        squares: Σ‖v‖².
    """
    return variance if variance > 1e-20 * squares else squares


def share_lost(lost: float, spread: float) -> float:
    """An error as a share of what it is one of; the error itself where that is nothing."""
    return lost / spread if spread > 0 else lost


def relative_error(
    vectors: torch.Tensor, composed: torch.Tensor, weights: torch.Tensor | None = None
) -> float:
    """Σ w ‖v − v̂‖² / Σ w ‖v − mean‖², the share of the variance that is lost.

    Args:
        vectors, composed: shape (N, d).
        weights: w, shape (N,), of the mean too; by default all alike.
    """
    weights = torch.ones(len(vectors), device=vectors.device) if weights is None else weights
    parts = weights.double().split(PIECE)
    # In pieces: a whole table in double precision would be twice as large as the vectors.
    pieces = list(zip(vectors.split(PIECE), composed.split(PIECE), parts, strict=True))
    mean = sum(w @ v.double() for v, _, w in pieces) / sum(w.sum() for w in parts)
    spread = sum(w @ (v.double() - mean).square_().sum(1) for v, _, w in pieces)
    lost = sum(w @ (v - c).double().square_().sum(1) for v, c, w in pieces)
    return float(lost / spread)
