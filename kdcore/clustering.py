"""k-means for tables of any size that fits: the building block of quantizers."""

import torch

# Distances that are computed at a time.
BLOCK = 1 << 20


def k_means(
    vectors: torch.Tensor,
    K: int,
    *,
    weights: torch.Tensor | None = None,
    iterations: int = 20,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Lloyd's algorithm from random rows: centres with a small Σ_i w_i ‖v_i − nearest centre‖².

    A centre that is nearest to no vector moves to the vector that is worst off. With fewer
    distinct vectors than centres some centres are the same.

    Args:
        vectors: shape (n, d).
        K: number of centres.
        weights: w, shape (n,); by default all alike.
        generator: of the rows to begin with.

    Returns:
        Centres, shape (K, d).

    Example:
        >>> centres = k_means(vectors, 256, generator=torch.Generator().manual_seed(0))
    """
    n = len(vectors)
    weights = vectors.new_ones(n) if weights is None else weights
    first = torch.randperm(n, generator=generator)
    centres = vectors[first[torch.arange(K) % n]].clone()
    weighted = vectors * weights[:, None]
    for _ in range(iterations):
        before, nearest = centres, _nearest(vectors, centres)
        mass = vectors.new_zeros(K).index_add_(0, nearest, weights)
        sums = torch.zeros_like(centres).index_add_(0, nearest, weighted)
        centres = torch.where((mass > 0)[:, None], sums / mass.clamp(min=1e-30)[:, None], centres)
        empty = (mass == 0).nonzero().flatten()[:n]
        if len(empty):
            distance = (vectors - before[nearest]).square_().sum(1)
            worst = (distance * weights).topk(len(empty))
            # Where nothing is lost, there is no better place.
            there = worst.values > 1e-12 * vectors.square().mean()
            centres[empty[there]] = vectors[worst.indices[there]]
    return centres


def nearest_centres(
    vectors: torch.Tensor, centres: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest of some centres (K, d) for vectors (n, d), and its squared distance, (n,)."""
    nearest = _nearest(vectors, centres)
    return nearest, (vectors - centres[nearest]).square_().sum(1)


def _nearest(vectors: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    norms, found = centres.square().sum(1), []
    for piece in vectors.split(max(1, BLOCK // len(centres))):
        found.append(row_argmin(torch.addmm(norms, piece, centres.t(), alpha=-2)))
    return torch.cat(found)


def row_argmin(costs: torch.Tensor) -> torch.Tensor:
    """Where each row has its least number; NumPy finds it in a third of PyTorch's time."""
    return torch.from_numpy(costs.numpy().argmin(1))
