"""A table as a tensor train: b·Σ_k r_(k−1)·I_k·J_k·r_k bits.

Hrinchuk, Khrulkov, Mirvakhabova, Orlova and Oseledets 2020, "Tensorized Embedding Layers", Section
3 (TT-embedding): the numbers of words and components are factorised, N ≤ Π I_k and d = Π J_k.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from kdcore.embeddings import Embedding, EmbeddingInputs, check_ids, stored_tensor
from kdcore.errors import KDError
from kdcore.kinds import KindSettings

NUMERICS = 1
EXAMPLE: dict[str, object] = {"rank": 2, "cores": 2}


class Settings(KindSettings):
    """The ranks and the factors."""

    rank: int = Field(ge=1, description="rank r between any two cores")
    cores: int = Field(3, ge=2, description="factors of N and of d")
    word_factors: list[int] | None = Field(
        None, description="the I, whose product is at least N; null: as equal as can be"
    )
    dim_factors: list[int] | None = Field(
        None, description="the J, whose product is d; null: as equal as can be"
    )

    def check_shape(self, dim: int, D: int | None) -> None:
        """Refuse factors that are not one a core, or do not make the size of a vector."""
        given = {"word_factors": self.word_factors, "dim_factors": self.dim_factors}
        for name, factors in given.items():
            if factors is not None and (len(factors) != self.cores or min(factors) < 1):
                raise KDError(f"{name} must be {self.cores} numbers above 0, got {factors}")
        columns = self.dim_factors
        if columns is not None and math.prod(columns) != dim:
            raise KDError(f"the product of dim_factors must be {dim}, got {columns}")


class TensorTrainEmbedding(Embedding):
    """v_s[j] = G_1[i_1, j_1] G_2[i_2, j_2] … with the digits i of s and j of a component.

    Digits count as those of a number do: the last one changes from a word to the next. Where Π I_k
    is above N, the last words of the tensor are nobody's.

    Args:
        num_embeddings: words N.
        cores: the G_k, (I_k, r_(k−1), J_k, r_k) with r = 1 at both ends.
    """

    def __init__(self, num_embeddings: int, cores: list[torch.Tensor]):
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = math.prod(core.shape[2] for core in cores)
        self.cores = nn.ParameterList(cores)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Integer ids (…) to vectors (…, embedding_dim).

        Raises:
            IndexError: see `check_ids`; elsewhere, PyTorch's own check of the cores.
        """
        ids = check_ids(ids, self.num_embeddings)
        words, at = ids.reshape(-1), None
        if ids.device.type == "cpu" and not torch.compiler.is_compiling():
            words, at = torch.unique(words, return_inverse=True)
        vectors = self._compose(words)
        if at is not None:
            vectors = F.embedding(at, vectors)
        return vectors.view(*ids.shape, self.embedding_dim)

    def _compose(self, ids: torch.Tensor) -> torch.Tensor:
        digits = []
        for core in reversed(list(self.cores)[1:]):
            digits.append(ids % len(core))
            ids = ids // len(core)
        product = None
        for digit, core in zip([ids, *reversed(digits)], self.cores, strict=True):
            _, before, columns, after = core.shape
            found = F.embedding(digit, core.flatten(1)).view(-1, before, columns * after)
            product = found if product is None else product @ found
            # The components so far, and the rank.
            product = product.view(-1, product.shape[1] * columns, after)
        assert product is not None
        return product.flatten(1)

    def export(self) -> dict[str, torch.Tensor]:
        """The cores."""
        return {f"cores.{k}": core.detach() for k, core in enumerate(self.cores)}


def build(
    settings: Settings, words: int, dim: int, inputs: EmbeddingInputs
) -> TensorTrainEmbedding:
    """Normal cores; composed numbers have the variance of a table uniform in ±init_scale.

    Raises:
        KDError: factors that do not make N or d, or a rank above the least number of rows or
            columns of the matrices that the tensor can be cut into.
    """
    shapes = _shapes(settings, words, dim)
    sums = math.prod(shape[3] for shape in shapes)
    spread = (inputs.init_scale**2 / 3 / sums) ** (1 / (2 * len(shapes)))
    return TensorTrainEmbedding(words, [torch.randn(shape) * spread for shape in shapes])


def load(
    settings: Settings, words: int, dim: int, tensors: Mapping[str, torch.Tensor]
) -> TensorTrainEmbedding:
    """The exported cores."""
    # Factors of numbers that are not those of the cores may take forever to find.
    count = min(settings.cores, len(tensors) + 1)  # one that is missing is named
    found = [stored_tensor(tensors, f"cores.{k}", None, None, None, None) for k in range(count)]
    columns = math.prod(core.shape[2] for core in found)
    if columns != dim or math.prod(len(core) for core in found) < words:
        raise KDError(f"cores must be of {words} words of size {dim}, got some of size {columns}")
    shapes = _shapes(settings, words, dim)
    cores = [stored_tensor(tensors, f"cores.{k}", *shape) for k, shape in enumerate(shapes)]
    return TensorTrainEmbedding(words, cores)


def _shapes(settings: Settings, words: int, dim: int) -> list[tuple[int, int, int, int]]:
    settings.check_shape(dim, None)
    rows = settings.word_factors or _word_factors(words, settings.cores)
    columns = settings.dim_factors or _dim_factors(dim, settings.cores)
    if math.prod(rows) < words:
        raise KDError(f"the product of word_factors must be at least {words}, got {rows}")
    sizes = [i * j for i, j in zip(rows, columns, strict=True)]
    limit = min(min(math.prod(sizes[:k]), math.prod(sizes[k:])) for k in range(1, settings.cores))
    if settings.rank > limit:
        raise KDError(
            f"rank must be at most {limit} for word_factors {rows} and dim_factors {columns}, "
            f"got {settings.rank}"
        )
    ranks = [1, *[settings.rank] * (settings.cores - 1), 1]
    return [
        (i, before, j, after)
        for i, j, (before, after) in zip(rows, columns, pairwise(ranks), strict=True)
    ]


def _word_factors(words: int, cores: int) -> list[int]:
    """Factors that are as equal as can be and have a product of at least N."""
    factors: list[int] = []
    for left in range(cores, 0, -1):
        factor = max(1, math.floor(words ** (1 / left)))
        while factor**left < words:
            factor += 1
        factors.append(factor)
        words = math.ceil(words / factor)
    return factors


def _dim_factors(dim: int, cores: int) -> list[int]:
    """Factors of d with the least sum, in rising order."""
    return min(_rising(dim, cores, 1), key=sum)


def _rising(number: int, factors: int, least: int) -> Iterator[list[int]]:
    """All ways to write a number as a product of so many factors in rising order."""
    if factors == 1:
        if number >= least:
            yield [number]
        return
    for factor in range(least, number + 1):
        if factor**factors > number:
            return
        if number % factor == 0:
            for rest in _rising(number // factor, factors - 1, factor):
                yield [factor, *rest]
