"""Transformation functions f: from code embedding vectors to a word's vector (Section 2.2).

A transform owns the code books W^1 … W^D and its own parameters θ, and composes in two ways: from
the indices of discrete codes, and from weights over the K values of each position, which code
learning (Algorithm 1) differentiates.

A kind of transform is a module in this folder with `NUMERICS`, `Settings`, its class and
`build(settings, K, D, dim)`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from kdcore.codes import check_shape
from kdcore.errors import KDError
from kdcore.kinds import Kinds, KindSettings

TRANSFORMS: Kinds[KindSettings] = Kinds("kdcore.transforms", "transform")

VectorScale = Annotated[
    float,
    Field(
        gt=0,
        allow_inf_nan=False,
        description="with `normalise`, standard deviation of the composed vectors' components at "
        "the start",
    ),
]


class Transform(nn.Module, ABC):
    """f(W^1[c_1], …, W^D[c_D]; θ) = (a sum over the positions)ᵀ H.

    Without `normalise`, H is present where the summed vectors' size d′ is not d (or always,
    for the LSTM), and starts as `torch.nn.init.xavier_uniform_`.

    With `normalise`, what enters H is standardised component by component over the words of
    a batch (`torch.nn.BatchNorm1d` without parameters; running statistics in eval mode) and
    scaled to a mean squared norm of D, which is that of D one-hot choices. H starts so that
    components of composed vectors have the standard deviation `vector_scale`. Under plain SGD
    at rate 1, as in Section 3, an H that sees sums of any size has by far the largest gradient
    of the model: the common clipping norm then holds everything else back. So do long vectors,
    through the gradient of what they enter. The paper's formulas leave these scales open.

    Attributes:
        K: values per position.
        D: positions.
        dim: size d of a composed vector.
        code_dim: size d′ of a code embedding vector.
        init_scale: code embeddings started uniform in ±init_scale.
        vector_scale: what composed vectors started with under `normalise`.
        W: the code books, shape (D, K, d′), or (1, K, d′) where all positions share one.
        H: the projection, shape (d′, d), or None.

    Raises:
        KDError: a shape that cannot be.
    """

    W: nn.Parameter
    H: nn.Parameter | None
    norm: nn.BatchNorm1d | None

    def __init__(
        self, K: int, D: int, dim: int, code_dim: int, *, projection: bool, normalise: bool,
        init_scale: float = 0.1, vector_scale: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        check_shape(K, D)
        for name, size in (("dim", dim), ("code_dim", code_dim)):
            if not isinstance(size, Integral) or size < 1:
                raise KDError(f"{name} must be an integer above 0, got {size!r}")
        for name, scale in (("init_scale", init_scale), ("vector_scale", vector_scale)):
            if not 0 < scale < math.inf:
                raise KDError(f"{name} must be above 0 and finite, got {scale}")
        self.K, self.D, self.dim, self.code_dim = int(K), int(D), int(dim), int(code_dim)
        self.init_scale, self.normalise = float(init_scale), bool(normalise)
        self.vector_scale = float(vector_scale)
        self._error_scale: torch.Tensor | None = None
        self.H = self.norm = None
        if projection:
            self.H = nn.Parameter(nn.init.xavier_uniform_(torch.empty(code_dim, dim)))
            if normalise:
                self.norm = nn.BatchNorm1d(code_dim, affine=False)
                largest = self.vector_scale * math.sqrt(3 / D)
                nn.init.uniform_(self.H, -largest, largest)

    @property
    @abstractmethod
    def settings(self) -> KindSettings:
        """The settings from which the kind's `build` makes a transform like this one."""

    @abstractmethod
    def forward(
        self,
        indices: torch.Tensor,
        row_weights: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Discrete codes, int64 (n, D), to vectors (n, dim).

        Args:
            row_weights: how much each row counts where `normalise` standardises over them, (n,);
                a word that stands in m rows counts once with 1/m in each. By default 1.
            mask: multiplies the code embedding vectors W^j[c_j], (n, D), as dropout does. By
                default 1.
        """

    @abstractmethod
    def compose_soft(self, weights: torch.Tensor) -> torch.Tensor:
        """Weights over the K values, (n, D, K), to vectors (n, dim).

        With one-hot weights the result is that of `forward`.
        """

    @torch.no_grad()
    def compose_all(self, indices: torch.Tensor, piece: int = 10_000) -> torch.Tensor:
        """What `forward` gives in eval mode, without gradient and `piece` codes at a time.

        Memory beyond the result does not grow with the number of codes.

        Args:
            indices: discrete codes, int64 (n, D).

        Returns:
            Shape (n, dim).

        Example:
            >>> transform.compose_all(codes.tensor()).shape
            torch.Size([10000, 200])
        """
        training = self.training
        self.eval()
        vectors = next(self.parameters()).new_empty(len(indices), self.dim)
        for part, into in zip(indices.split(piece), vectors.split(piece), strict=True):
            into.copy_(self(part))
        self.train(training)
        return vectors

    @torch.no_grad()
    def rescale(self, factor: float | torch.Tensor) -> None:
        """Multiply every composed vector in place: H, or W where there is no H.

        Args:
            factor: one number, or one for each component, shape (dim,).
        """
        (self.W if self.H is None else self.H).mul_(factor)

    @property
    def can_add_offset(self) -> bool:
        """Whether one vector can be added to all composed vectors, without a parameter more."""
        return False

    def add_offset(self, offset: torch.Tensor) -> None:
        """Add a vector, shape (dim,), to every composed vector, in place.

        Raises:
            KDError: the transform cannot (`can_add_offset`).
        """
        raise KDError(f"{type(self).__name__} cannot add an offset to what it composes")

    @property
    def is_sum(self) -> bool:
        """Whether f is an offset and a sum of one vector per position, those of `codebooks`."""
        return False

    def codebooks(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Books B and offset o with f(c) = o + Σ_j B[j, c_j] in eval mode, in double precision.

        Every book has mean zero: what all its rows share is in the offset. Long vectors would
        lose their digits.

        Returns:
            B, shape (D, K, dim), and o, shape (dim,), on the CPU.

        Raises:
            KDError: the transform is not such a sum (`is_sum`).
        """
        raise KDError(f"transform must be a sum over positions, got {type(self).__name__}")

    @property
    def slices(self) -> list[slice]:
        """Parts of the vector that positions of their own compose: D over their number each.

        The positions of the first part come first. One part, the whole, unless a transform says
        otherwise.
        """
        return [slice(0, self.dim)]

    def sliced_codebooks(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """What `codebooks` gives, slice by slice: the parts of B that are not zero, and of o.

        Raises:
            KDError: see `codebooks`.
        """
        return [self.codebooks()]

    @property
    def row_offsets(self) -> torch.Tensor | None:
        """What is added to indices (n, D) for `row_composer`, (D,); None where there is no such."""
        return None

    def row_composer(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """What `forward` does in eval mode, to int32 indices with `row_offsets` added, (n, D).

        For many calls with few rows each, on a CPU: what does not depend on them is made once. The
        weights are read at each call.

        Raises:
            KDError: the transform has no `row_offsets`.
        """
        raise KDError(f"transform must have row_offsets, got a {type(self).__name__} without")

    @property
    def error_scale(self) -> torch.Tensor:
        """What errors of a component are measured in, shape (dim,).

        Ones, or the components' spread where the transform was learned from standardised ones. It
        travels with the transform and has no part in what is composed.
        """
        if self._error_scale is None:
            return torch.ones(self.dim, dtype=torch.float32, device="cpu")
        return self._error_scale

    @error_scale.setter
    def error_scale(self, scale: torch.Tensor) -> None:
        scale = scale.detach().float().cpu()
        if scale.shape != (self.dim,) or not bool(((scale > 0) & scale.isfinite()).all()):
            raise KDError(f"error_scale must be {self.dim} finite numbers above 0, got {scale}")
        self._error_scale = None if bool((scale == 1).all()) else scale

    def export(self) -> dict[str, torch.Tensor]:
        """The tensors that must be stored so that the same vectors can be composed."""
        # A counter of batches is of use in training alone.
        return {
            name: value.detach()
            for name, value in self.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }

    def load_exported(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take over what `export` gave.

        Raises:
            KDError: tensors are missing, unknown or of another shape.
        """
        own = self.export()
        for name in sorted(own.keys() | tensors.keys()):
            wanted, found = (
                list(of[name].shape) if name in of else "absent" for of in (own, tensors)
            )
            if found != wanted:
                raise KDError(f"shape of tensor {name!r} must be {wanted}, got {found}")
        self.load_state_dict({**self.state_dict(), **tensors})

    def parameter_count(self) -> int:
        """Numbers that are trained, counted one by one."""
        return sum(p.numel() for p in self.parameters())

    def _project(
        self, total: torch.Tensor, row_weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Sums over the positions, (n, code_dim), to vectors (n, dim)."""
        if self.H is None:
            return total
        if self.norm is not None:
            # A frozen transform stays as it is while what is around it trains.
            self.norm.train(self.training and self.H.requires_grad)
            total = self._normalise(self.norm, total, row_weights)
            total = total * math.sqrt(self.D / self.code_dim)
        return total @ self.H

    @staticmethod
    def _normalise(
        norm: nn.BatchNorm1d, total: torch.Tensor, row_weights: torch.Tensor | None
    ) -> torch.Tensor:
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None
        if norm.training and row_weights is not None:
            return _weighted_batch_norm(norm, mean, variance, total, row_weights)
        if norm.training and len(total) < 2:
            # One word has no spread of its own.
            return (total - mean) / variance.sqrt()
        normalised: torch.Tensor = norm(total)
        return normalised


def check_transform(given: object) -> Transform:
    """What is given as a transform.

    Raises:
        KDError: it is none.
    """
    if not isinstance(given, Transform):
        raise KDError(f"transform must be a Transform, got a {type(given).__name__}")
    return given


def _weighted_batch_norm(
    norm: nn.BatchNorm1d, running_mean: torch.Tensor, running_var: torch.Tensor,
    total: torch.Tensor, row_weights: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """What `norm` does in training, with weighted rows; nothing is read back from a GPU."""
    count, dtype = row_weights.sum(), total.dtype
    total = total.float() if total.dtype.itemsize < 4 else total
    # A sum of weights is not exact: one word seen 7 times may add up to 1.0000001.
    single = count < 1.5
    shares = (row_weights / count.clamp(min=0.5))[:, None]
    mean = torch.where(single, running_mean, (shares * total).sum(0))
    assert norm.momentum is not None and norm.num_batches_tracked is not None
    centred = total - mean
    spread = (shares * centred.square()).sum(0)
    with torch.no_grad():
        step = norm.momentum * ~single
        norm.num_batches_tracked += ~single
        unbiased = spread * count / (count - 1).clamp(min=0.5)
        for running, now in ((running_mean, mean), (running_var, unbiased)):
            running.copy_(torch.lerp(running.to(now.dtype), now, step.to(now.dtype)))
    # The running variance stands for itself, as in the case of one row above.
    return (centred * torch.where(single, running_var, spread + norm.eps).rsqrt()).to(dtype)
