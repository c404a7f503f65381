"""NumPy's files: `.npy`, whose rows stay in the file until they are asked for, and `.npz`."""

import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy_format

from kdcore.embeddings import Embedding
from kdcore.errors import KDError
from kdcore.formats import FoundVectors, Source, composed_blocks
from kdcore.vectors import as_float32

SUFFIXES = (".npy",)


def recognises(source: Source) -> bool:
    """Whether NumPy's mark is there."""
    return source.head.startswith(npy_format.MAGIC_PREFIX)


def read(source: Source) -> FoundVectors:
    """The rows; float32 is mapped, not read.

    Raises:
        KDError: Python objects or something else that is no number, or a damaged file.
    """
    try:
        if source.is_packed:
            with source.open() as stream:
                array = _read_array(stream)
        else:
            # Changes would stay in memory: PyTorch asks for an array that can be changed.
            array = np.load(source.path, mmap_mode="c", allow_pickle=False)
    except (ValueError, SyntaxError, tokenize.TokenError) as error:
        raise KDError(f"{source}: {' '.join(str(error).split())}") from None
    if array.dtype.kind not in "fiu":
        raise KDError(f"{source}: must hold numbers, got {array.dtype}")
    # Also where bytes or rows stand in another order than PyTorch's.
    return FoundVectors(None, torch.from_numpy(as_float32(array)))


def _read_array(stream: IO[bytes]) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = npy_format.read_array(stream, allow_pickle=False)
    return found


def write(path: Path, suffix: str, words: Sequence[str] | None, embedding: Embedding) -> None:
    """The rows in float32, without the words."""
    shape = (embedding.num_embeddings, embedding.embedding_dim)
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with open(path, "wb") as stream:
        npy_format.write_array_header_1_0(stream, header)
        for block in composed_blocks(embedding):
            stream.write(block.numpy().astype("<f4").tobytes())
