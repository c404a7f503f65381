"""Codes by faiss's quantizers: residual and local search, and the products of either.

Douze et al., "The Faiss library", 2024. A group of positions encodes its slice of the vector by a
residual quantizer with a beam and books refined (Liu et al., 2015), or by local search (Martinez et
al., "LSQ++", 2018). With a group a position both are a product quantizer (Jégou et al., 2011).
"""

from importlib import import_module
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator

from kdcore.codes import Codes
from kdcore.errors import KDError
from kdcore.kinds import KindSettings
from kdcore.learners import Control, LearnedCodes, LearnerInputs, warn_if_pointless
from kdcore.learners.residual import ResidualRecord
from kdcore.transforms.product import grouped_sum, set_books
from kdcore.vectors import check_unequal, relative_error

NUMERICS = 1
EXAMPLE: dict[str, object] = {"K": 4, "D": 4, "groups": 2, "beam": 3}
MOST = 2**16


class Settings(KindSettings):
    """The shape of the code, and which quantizer finds it."""

    K: int = Field(ge=2, le=MOST, description="values of an index, a power of two")
    D: int = Field(ge=1, description="indices in a code")
    quantizer: Literal["residual", "local_search"] = Field(
        "residual", description="how a group's positions are found"
    )
    groups: int = Field(
        1, ge=1, description="groups of D/groups positions, each with a slice of the vector"
    )
    beam: int = Field(
        16, ge=1, description="best beginnings of a code that `residual` keeps; faiss's own is 5"
    )

    @field_validator("K")
    @classmethod
    def _power_of_two(cls, K: int) -> int:
        if K & (K - 1):
            raise KDError(f"K must be a power of two for faiss, got {K}")
        return K

    @property
    def needs(self) -> frozenset[str]:
        """Vectors."""
        return frozenset({"vectors"})


def learn(
    settings: Settings, inputs: LearnerInputs, seed: int, control: Control
) -> LearnedCodes | None:
    """The codes that faiss finds, and the transform of its books.

    Stopped, it begins again: 10,000 words take seconds, minutes by local search.

    Raises:
        KDError: vectors that are not finite or all equal, fewer of them than K, groups that do not
            divide D or are more than the components; faiss, which `pip install kdcore[faiss]`
            brings, is missing.

    Warns:
        UserWarning: the code books are no smaller than the table they replace.
    """
    faiss = _faiss()
    vectors, (K, D) = inputs.given_vectors(), (settings.K, settings.D)
    check_unequal(vectors)
    if len(vectors) < K:
        raise KDError(f"vectors must be at least K = {K} for faiss, got {len(vectors)}")
    transform = grouped_sum(K, D, vectors.shape[1], settings.groups)
    warn_if_pointless(vectors, K, sum(parameter.numel() for parameter in transform.parameters()))
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(torch.get_num_threads())
    try:
        found = [
            _quantize(faiss, settings, vectors[:, part].contiguous().numpy(), seed)
            for part in transform.slices
        ]
    finally:
        faiss.omp_set_num_threads(threads)
    indices = torch.cat([part for part, _ in found], 1)
    set_books(transform, [books for _, books in found])
    codes = Codes(indices, K)
    health = codes.statistics()
    error = relative_error(vectors, transform.compose_all(indices))
    entropy = sum(health.entropy) / D
    record = ResidualRecord(
        D // settings.groups, error, 1.0, entropy, min(health.used), health.unique
    )
    control.report(record, indices)
    return LearnedCodes(codes, transform, (record,))


def _faiss() -> Any:
    try:
        return import_module("faiss")
    except ImportError:
        raise KDError(
            "learner kind 'faiss' needs faiss, which is not installed: pip install kdcore[faiss]"
        ) from None


def _quantize(
    faiss: Any, settings: Settings, part: np.ndarray[Any, Any], seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes of a slice of the vectors, (N, positions), and its books, (positions·K, size)."""
    positions, bits = settings.D // settings.groups, settings.K.bit_length() - 1
    size = part.shape[1]
    if settings.quantizer == "residual":
        quantizer = faiss.ResidualQuantizer(size, positions, bits)
        # A beam wider than there are codes makes faiss give wrong ones.
        quantizer.max_beam_size = min(settings.beam, settings.K**positions)
        quantizer.train_type |= faiss.ResidualQuantizer.Train_refine_codebook
        quantizer.cp.seed = seed
    else:
        quantizer = faiss.LocalSearchQuantizer(size, positions, bits)
        quantizer.random_seed = seed
    quantizer.train(part)
    packed = quantizer.compute_codes(part)
    indices = faiss.unpack_bitstrings(packed, positions, bits).astype(np.int64)
    books = faiss.vector_to_array(quantizer.codebooks).reshape(-1, size)
    return torch.from_numpy(indices), torch.from_numpy(books)
