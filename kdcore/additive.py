"""Sums of code embeddings: the best code books for given codes, the best codes for given books.

For fixed codes the best W^1 … W^D solve a linear system; for fixed W the codes of a word are
improved one position at a time, exactly (Babenko and Lempitsky, "Additive Quantization for Extreme
Vector Compression", 2014).

*Rows* are indices c_i^j + j·K into the D code books stacked as one table, (D·K, d).
"""

import torch
import torch.nn.functional as F

# Words whose codes are improved at a time: memory beyond the vectors is this times K·D numbers.
PIECE = 10_000


def least_squares_codebooks(
    rows: torch.Tensor, vectors: torch.Tensor, K: int, weights: torch.Tensor
) -> torch.Tensor:
    """W that minimises Σ_i w_i ‖v_i − Σ_j W[rows_i^j]‖², by its normal equations.

    Sums of the positions' embeddings stay the same when a constant moves from one position to
    another, so the system is singular: a small ridge takes the smallest W.

    Args:
        rows: the indices c_i^j + j·K, int64 (N, D).
        vectors: shape (N, d).
        weights: shape (N,).

    Returns:
        W of all positions, shape (D·K, d).
    """
    D = rows.shape[1]
    weights = weights.double()
    together = torch.zeros(D * K, D * K, dtype=torch.float64)
    total = torch.zeros(D * K, vectors.shape[1], dtype=torch.float64)
    weighted = vectors.double() * weights[:, None]
    for j in range(D):
        total.index_add_(0, rows[:, j], weighted)
        for other in range(D):
            at = rows[:, j] * (D * K) + rows[:, other]
            together.view(-1).index_add_(0, at, weights)
    ridge = 1e-4 * together.diagonal().mean()
    together.diagonal().add_(ridge)
    solution: torch.Tensor = torch.linalg.solve(together, total)
    return solution.float()


def improve_codes(
    rows: torch.Tensor, vectors: torch.Tensor, W: torch.Tensor, K: int, order: list[int]
) -> torch.Tensor:
    """Give each word the best index at one position after another, the others held.

    ‖v − Σ_j W_j‖² as a function of the index at position j is
    ‖W_j‖² − 2 v·W_j + 2 Σ_{i≠j} W_i·W_j and a constant.

    Args:
        rows: the indices c_i^j + j·K, int64 (n, D).
        vectors: shape (n, d).
        W: shape (D·K, d).
        order: positions, each as often as it is to be improved.

    Returns:
        New rows; no word's error is higher than before.
    """
    products = W @ W.t()
    own = products.diagonal() - 2 * (vectors @ W.t())
    rows = rows.clone()
    D = rows.shape[1]
    for j in order:
        here = slice(j * K, (j + 1) * K)
        cost = own[:, here].clone()
        if D > 1:
            others = torch.cat([rows[:, :j], rows[:, j + 1 :]], 1)
            cost += 2 * F.embedding_bag(others, products[:, here].contiguous(), mode="sum")
        rows[:, j] = cost.argmin(1) + j * K
    return rows
