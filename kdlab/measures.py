"""What codes say about their words: agreement with classes, likeness of words with like codes."""

from collections.abc import Mapping, Sequence

import torch


def nmi(labels: torch.Tensor, others: torch.Tensor) -> float:
    """Normalised mutual information of two labellings of the same items, 0 to 1 (Figure 3)."""
    # Imported here: every start of Snakemake would wait for it.
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(labels.numpy(), others.numpy()))


def directions(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors (N, d), centred and then scaled to length 1: their products are cosines."""
    return torch.nn.functional.normalize(vectors - vectors.mean(0), dim=1)


def mean_cosine(total: torch.Tensor, n: int) -> float:
    """Mean cosine similarity of the pairs among n ≥ 2 vectors of length 1 with this sum."""
    return (float(total.double().square().sum()) - n) / (n * (n - 1))


def tightest_codes(
    vectors: torch.Tensor, groups: Mapping[str, Sequence[int]], sizes: range = range(5, 41)
) -> list[str]:
    """Codes by falling mean cosine similarity of the words that share them.

    Args:
        vectors: shape (N, d), centred here first.
        groups: the words of each code, as `Codes.groups` gives them.
        sizes: how many words a code must have to be among them; 2 at least.

    Returns:
        The codes, tightest first, ties in order of the code.
    """
    unit = directions(vectors).double()
    tightness = {
        code: mean_cosine(unit[list(members)].sum(0), len(members))
        for code, members in groups.items()
        if len(members) in sizes
    }
    return sorted(tightness, key=lambda code: (-tightness[code], code))


def cosine_by_shared_positions(vectors: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Mean cosine similarity of two words by the number of positions their codes share.

    Args:
        vectors: shape (N, d), centred here first.
        indices: codes, int64 (N, D).

    Returns:
        Shape (D + 1,); entry s for pairs sharing s positions, NaN where there is no such pair.
    """
    unit = directions(vectors)
    N, D = indices.shape
    total = torch.zeros(D + 1, dtype=torch.float64)
    pairs = torch.zeros(D + 1, dtype=torch.float64)
    rows = max(1, 5_000_000 // N)  # pairs held at a time, whatever the vocabulary
    for start in range(0, N, rows):
        block = slice(start, start + rows)
        shared = (indices[block, None] == indices[None]).sum(2)
        later = torch.arange(N)[None] > torch.arange(N)[block, None]
        cosine = (unit[block] @ unit.t())[later].double()
        total.index_add_(0, shared[later], cosine)
        pairs.index_add_(0, shared[later], torch.ones_like(cosine))
    return total / pairs
