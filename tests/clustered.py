"""Vectors that codes suit."""

import torch


def clustered_vectors(N: int, dim: int) -> torch.Tensor:
    """Around 60 centres, (N, dim)."""
    generator = torch.Generator().manual_seed(1)
    centres = torch.randn(60, dim, generator=generator)
    noise = torch.randn(N, dim, generator=generator)
    return centres[torch.randint(60, (N,), generator=generator)] + 0.25 * noise
