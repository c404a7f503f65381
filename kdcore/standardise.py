"""Vectors brought to a size that learning is meant for, and what is learned brought back."""

import math
from dataclasses import dataclass

import torch

from kdcore.errors import KDError
from kdcore.transforms import Transform
from kdcore.vectors import root_mean_square


@dataclass(frozen=True)
class Standardisation:
    """The affine map v ↦ (v − mean) / spread / scale from given vectors to a learner's targets.

    Attributes:
        mean: removed before quantisation where it outweighs the spread: it would set the scale,
            and differences of long vectors lose their digits in float32. Else zeros; shape (d,).
        spread: of every component where all are to count alike, else ones; shape (d,).
        scale: root mean square of what is left, which step sizes are meant for.
    """

    mean: torch.Tensor
    spread: torch.Tensor
    scale: float

    @classmethod
    def of(
        cls, vectors: torch.Tensor, transform: Transform | None = None, *, components: bool = False
    ) -> "Standardisation":
        """The map for given vectors.

        Args:
            vectors: shape (N, d), not all equal.
            transform: what is to compose them; a mean is removed if it can add an offset. By
                default one that can.
            components: bring every component to mean 0 and variance 1.

        Raises:
            KDError: `components` for a transform that cannot add an offset.
        """
        can_add_offset = transform is None or transform.can_add_offset
        if components and not can_add_offset:
            raise KDError(
                f"standardise must be false for a {type(transform).__name__} that cannot add the "
                "mean to what it composes, got true"
            )
        mean, weight = mean_and_weight(vectors)
        spread = torch.ones_like(mean)
        if components:
            # Squares of large or small vectors leave float32.
            norms = torch.linalg.vector_norm(vectors - mean, dim=0, dtype=torch.float64)
            norms = (norms / math.sqrt(len(vectors))).to(vectors.dtype)
            # A component that is the same for all words is composed by the mean alone.
            spread = torch.where(norms > 0, norms, 1.0)
        elif not (can_add_offset and weight > 1):
            mean = torch.zeros_like(mean)
        return cls(mean, spread, root_mean_square((vectors - mean) / spread))

    def apply(self, vectors: torch.Tensor) -> torch.Tensor:
        """The targets of given vectors, shape (n, d)."""
        return (vectors - self.mean) / self.spread / self.scale

    def fold_into(self, transform: Transform) -> None:
        """Let a transform that composes targets compose given vectors, in place.

        Errors are measured in the components' spread from then on (`Transform.error_scale`).
        """
        transform.rescale(self.scale)
        transform.rescale(self.spread)
        if transform.can_add_offset:
            transform.add_offset(self.mean)
        transform.error_scale = self.spread


def mean_and_weight(vectors: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The mean of vectors (N, d), and how many times ‖mean‖² is the mean of ‖v − mean‖²."""
    mean = vectors.double().mean(0).float()
    return mean, float(mean.square().sum() / (vectors - mean).square().sum(1).mean())
