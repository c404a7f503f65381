"""Sums of code embeddings: the best code books for given codes, the best codes for given books.

For fixed codes the best W^1 … W^D solve a linear system; for fixed W the codes of a word are
improved one position at a time, exactly (Babenko and Lempitsky, "Additive Quantization for Extreme
Vector Compression", 2014).

*Rows* are indices c_i^j + j·K into the D code books stacked as one table, (D·K, d).
"""

import torch
import torch.nn.functional as F

from kdcore.clustering import row_argmin

# Words whose codes are improved at a time: memory beyond the vectors is this times K·D numbers.
PIECE = 10_000
# Costs that are looked at in one go, some megabytes.
BLOCK = 1 << 20
# Local search: the share of positions that are set at random, and passes over all that follow.
SHAKEN, SWEEPS = 0.3, 2


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

    Args:
        rows: the indices c_i^j + j·K, int64 (n, D).
        vectors: shape (n, d).
        W: shape (D·K, d).
        order: positions, each as often as it is to be improved.

    Returns:
        New rows; no word's error is higher than before.
    """
    search = Search(W, K)
    return search.improve(rows, search.own_costs(vectors), order)


class Search:
    """The search for the best codes of vectors, for given books.

    ‖v − Σ_j W_j‖² is ‖v‖² and the sum of *own costs* ‖W_j‖² − 2 v·W_j and of products 2 W_i·W_j of
    all pairs of positions: what depends on the vector is computed once for all that is tried.

    Args:
        W: shape (D·K, d).
        K: values of an index.
    """

    def __init__(self, W: torch.Tensor, K: int):
        self.W, self.K, self.D = W, K, len(W) // K
        products = W @ W.t()
        self._norms = products.diagonal().clone()
        # Times a power of two, no digit changes.
        self._less_twice = (-2 * W).t()
        self._twice = [part.contiguous() for part in products.mul_(2).split(K, 1)]

    def own_costs(self, vectors: torch.Tensor) -> torch.Tensor:
        """Those of vectors (n, d), (n, D·K)."""
        return (vectors @ self._less_twice).add_(self._norms)

    def improve(self, rows: torch.Tensor, own: torch.Tensor, order: list[int]) -> torch.Tensor:
        """See `improve_codes`."""
        K, rows = self.K, rows.clone()
        for j in order:
            cost = own[:, j * K : (j + 1) * K]
            if self.D > 1:
                others = torch.cat([rows[:, :j], rows[:, j + 1 :]], 1)
                cost = F.embedding_bag(others, self._twice[j], mode="sum").add_(cost)
            rows[:, j] = row_argmin(cost) + j * K
        return rows

    def costs(self, rows: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Squared errors of codes, (n,)."""
        return (vectors - F.embedding_bag(rows, self.W, mode="sum")).square_().sum(1)

    def beam(self, own: torch.Tensor, width: int, order: list[int]) -> torch.Tensor:
        """Codes by beam search: position after position, the `width` best beginnings are kept.

        Babenko and Lempitsky 2014, Section 3.2; from a vector's products with the books as in
        faiss's residual quantizer.

        Args:
            own: own costs, (n, D·K).
            order: the positions, each once.

        Returns:
            Rows of the best code found, (n, D).
        """
        found, least = nothing_found(len(own), own)
        for j in order:
            here = own[:, j * self.K : (j + 1) * self.K]
            kept = 1 if j == order[-1] else width
            found, least = extend_beam(found, least, here, self._twice[j], j * self.K, kept)
        return found[:, 0].long().sort(1).values

    def perturb(
        self, rows: torch.Tensor, own: torch.Tensor, vectors: torch.Tensor, *, times: int, seed: int
    ) -> torch.Tensor:
        """Iterated local search: random indices at some positions, improved, kept where better.

        Martinez et al., "Revisiting Additive Quantization", 2016, Section 3. All vectors get the
        same random indices: what is found for one does not depend on which others there are.

        Args:
            rows: codes to begin with, (n, D).
            own: own costs of the vectors, (n, D·K).
            vectors: shape (n, d).
            times: more take longer and never end worse.
        """
        generator = torch.Generator().manual_seed(seed)
        count = max(2, round(SHAKEN * self.D))
        least = self.costs(rows, vectors)
        for _ in range(times):
            places = torch.randperm(self.D, generator=generator)[:count]
            tried = rows.clone()
            values = torch.randint(self.K, (count,), generator=generator)
            tried[:, places] = values + places * self.K
            tried = self.improve(tried, own, random_order(self.D, SWEEPS, generator))
            cost = self.costs(tried, vectors)
            rows = torch.where((cost < least)[:, None], tried, rows)
            least = torch.minimum(cost, least)
        return rows

    def find(
        self, vectors: torch.Tensor, *, width: int, order: list[int], times: int, seed: int,
        start: torch.Tensor | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """Codes of vectors, block by block: beam search, passes over positions, local search.

        The books with the largest spread have their turn first. Memory beyond the result is that
        of a block, some megabytes.

        Args:
            vectors: shape (n, d).
            width: beginnings that the beam search keeps.
            order: positions that are improved after it, as often as they are named.
            times: perturbations of the iterated local search.
            seed: of the perturbations.
            start: rows to begin with, without a beam search.

        Returns:
            Rows, int64 (n, D).
        """
        books, found = self.W.view(self.D, self.K, -1), []
        spread = (books - books.mean(1, keepdim=True)).square().sum((1, 2))
        largest_first = spread.argsort(descending=True).tolist()
        size = max(1, BLOCK // max(len(self.W), width * self.K))
        for at, piece in enumerate(vectors.split(size)):
            own = self.own_costs(piece)
            if self.D == 1:
                found.append(row_argmin(own)[:, None])
                continue
            if start is None:
                rows = self.beam(own, width, largest_first)
            else:
                rows = start[at * size : (at + 1) * size]
            rows = self.improve(rows, own, order)
            found.append(self.perturb(rows, own, piece, times=times, seed=seed))
        return torch.cat(found)


def random_order(D: int, sweeps: int, generator: torch.Generator) -> list[int]:
    """All positions in random order, `sweeps` times."""
    order = [torch.randperm(D, generator=generator) for _ in range(sweeps)]
    return torch.cat(order).tolist()


def nothing_found(n: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where a beam search of n codes begins, see `extend_beam`."""
    return torch.zeros(n, 1, 0, dtype=torch.int32), like.new_zeros(n, 1)


def extend_beam(
    found: torch.Tensor, least: torch.Tensor, own: torch.Tensor, twice: torch.Tensor,
    first: int, width: int,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """The best beginnings of codes with a position more.

    Args:
        found: rows of the beginnings kept, int32 (n, kept, positions), in the order of choice.
        least: their costs, (n, kept): squared errors less ‖v‖².
        own: own costs of the next position, (n, K).
        twice: the products, times 2, of all rows that can have been chosen with those of the next
            position, (…, K).
        first: the next position's first row.
        width: beginnings to keep.

    Returns:
        `found` and `least`, a position longer; the beginnings are in no order.
    """
    n, kept, past = found.shape
    K = own.shape[1]
    if past:
        costs = F.embedding_bag(found.view(-1, past), twice, mode="sum").view(n, kept, K)
        costs.add_(own[:, None]).add_(least[:, :, None])
    else:
        costs = own[:, None] + least[:, :, None]
    least, at = _smallest(costs.view(n, -1), width)
    parents = torch.div(at, K, rounding_mode="floor")
    longer = torch.empty(n, at.shape[1], past + 1, dtype=found.dtype)
    longer[:, :, past] = at - parents * K + first
    longer[:, :, :past] = found.gather(1, parents[:, :, None].expand(-1, -1, past))
    return longer, least


def _smallest(costs: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The least numbers of each row, in no order, and where they are."""
    if count == 1:
        at = row_argmin(costs)[:, None]
        return costs.gather(1, at), at
    return costs.topk(min(count, costs.shape[1]), dim=1, largest=False, sorted=False)
