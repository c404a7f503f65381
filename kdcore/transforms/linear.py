"""The linear transform: a sum of code embedding vectors, projected where sizes differ."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from kdcore.kinds import KindSettings
from kdcore.transforms import Transform, VectorScale

NUMERICS = 1
# Bags of which it is kept where they begin.
KEPT_STARTS = 4096


class Settings(KindSettings):
    """The linear transform."""

    code_dim: int | None = Field(None, gt=0, description="size d′ of a code embedding; null is d")
    init_scale: float = Field(
        0.1, gt=0, allow_inf_nan=False, description="code embeddings start uniform in ±init_scale"
    )
    normalise: bool = Field(
        False, description="standardise what enters H over the words of a batch; no H, no effect"
    )
    vector_scale: VectorScale = 1.0


class LinearTransform(Transform):
    """v = (Σ_j W^j[c_j])ᵀ H; without H where d′ = d.

    Size: K·D·d′ (Lemma 1) + d′·d where H is present.

    Args:
        code_dim: d′; by default d.
        init_scale: W starts uniform in ±init_scale.
        normalise, vector_scale: see `Transform`; of no effect without H.

    Raises:
        KDError: a shape that cannot be.
    """

    def __init__(
        self, K: int, D: int, dim: int, *, code_dim: int | None = None,
        init_scale: float = 0.1, normalise: bool = False, vector_scale: float = 1.0,
    ) -> None:  # fmt: skip
        code_dim = dim if code_dim is None else code_dim
        super().__init__(
            K, D, dim, code_dim, projection=code_dim != dim, normalise=normalise,
            init_scale=init_scale, vector_scale=vector_scale,
        )  # fmt: skip
        self.W = nn.Parameter(torch.empty(D, K, code_dim).uniform_(-init_scale, init_scale))

    @property
    def settings(self) -> Settings:
        return Settings(
            code_dim=self.code_dim, init_scale=self.init_scale, normalise=self.normalise,
            vector_scale=self.vector_scale,
        )  # fmt: skip

    def forward(
        self,
        indices: torch.Tensor,
        row_weights: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        first = torch.arange(0, self.D * self.K, self.K, device=indices.device)
        total = summed(indices + first, self.W.flatten(0, 1), mask)
        return self._project(total, row_weights)

    @property
    def row_offsets(self) -> torch.Tensor | None:
        return (
            None if self.H is not None else torch.arange(0, self.D * self.K, self.K, device="cpu")
        )

    def row_composer(self) -> Callable[[torch.Tensor], torch.Tensor]:
        return row_sums(self, "W", self.D)

    def compose_soft(self, weights: torch.Tensor) -> torch.Tensor:
        return self._project(weights.flatten(1) @ self.W.flatten(0, 1))

    @property
    def can_add_offset(self) -> bool:
        return self.H is None

    @torch.no_grad()
    def add_offset(self, offset: torch.Tensor) -> None:
        if not self.can_add_offset:
            super().add_offset(offset)
        self.W.add_(offset / self.D)

    @property
    def is_sum(self) -> bool:
        return True

    @torch.no_grad()
    def codebooks(self) -> tuple[torch.Tensor, torch.Tensor]:
        exact = copy.deepcopy(self).cpu().double().eval()
        nothing = exact._project(exact.W.new_zeros(1, exact.code_dim))
        books = (exact._project(exact.W.flatten(0, 1)) - nothing).view(self.D, self.K, self.dim)
        means = books.mean(1, keepdim=True)
        return books - means, nothing[0] + means.sum((0, 1))


def row_sums(transform: Transform, name: str, depth: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function that does what `summed` does to int32 rows (n, …) of a transform's books.

    It sums up `depth` rows at a time, (n·…/depth, size). For small batches, in which each step
    before the sum takes a tenth of the time: the books as one table and where the bags begin are
    kept.

    Args:
        name: of the parameter, books (…, size).
    """
    parameters = transform._parameters
    kept: torch.Tensor | None = None
    with torch.inference_mode(False):  # a gradient may need them later
        longest = starts = _starts(KEPT_STARTS, depth, torch.int32)

    def sums(rows: torch.Tensor) -> torch.Tensor:
        nonlocal kept, starts
        # A module looks its attributes up slowly; one with parametrizations has no other way.
        books = parameters.get(name)
        if books is None:
            books = getattr(transform, name)
        if type(books) is not nn.Parameter or (books.requires_grad and torch.is_grad_enabled()):
            table = books.flatten(0, 1)
        else:
            if kept is None or kept.data_ptr() != books.data_ptr() or kept.dtype != books.dtype:
                kept = books.detach().flatten(0, 1)
            table = kept
        flat = rows.reshape(-1)
        if depth == 1:
            return torch.embedding(table, flat)
        begin, count = starts, flat.numel() // depth
        if begin.numel() != count:
            if count <= KEPT_STARTS:
                begin = starts = longest[:count]
            else:
                begin = _starts(count, depth, torch.int32)
        return torch.embedding_bag(table, flat, begin)[0]

    return sums


def _starts(
    count: int, depth: int, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> torch.Tensor:
    return torch.arange(0, count * depth, depth, dtype=dtype, device=device)


def summed(rows: torch.Tensor, W: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Rows (n, D) of W, summed up: (n, d′); each times its entry of a mask (n, D)."""
    weights = None if mask is None else mask.to(W.dtype)
    if torch.onnx.is_in_onnx_export() or torch._C._functorch.is_batchedtensor(rows):
        # An ONNX graph would loop over the rows of a bag, and so would `vmap`.
        found = F.embedding(rows, W)
        return (found if weights is None else found * weights[..., None]).sum(-2)
    if weights is None and not torch.compiler.is_compiling():
        # What `F.embedding_bag` does, without its checks: they take longer than a small batch.
        flat = rows.reshape(-1)
        starts = _starts(rows.shape[0], rows.shape[1], rows.dtype, rows.device)
        return torch.embedding_bag(W, flat, starts)[0]
    return F.embedding_bag(rows, W, mode="sum", per_sample_weights=weights)


def build(settings: Settings, K: int, D: int, dim: int) -> LinearTransform:
    """A transform with random weights, drawn from PyTorch's global generator."""
    return LinearTransform(
        K, D, dim, code_dim=settings.code_dim, init_scale=settings.init_scale,
        normalise=settings.normalise, vector_scale=settings.vector_scale,
    )  # fmt: skip
