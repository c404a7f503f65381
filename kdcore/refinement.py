"""Codes refined without gradients: Eq. 1 for the linear transform as additive quantisation.

For fixed codes the best W^1 … W^D solve a linear system; for fixed W the codes of a symbol are
improved one position at a time, exactly. The two alternate (Babenko and Lempitsky, "Additive
Quantization for Extreme Vector Compression", 2014), and noise on W that fades away lets codes
leave poor local minima (Martinez et al., "LSQ++", 2018, stochastic relaxation). This is where
Algorithm 1 of the paper can be left behind: it starts from the codes that Algorithm 1 learned.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from kdcore.codes import Codes
from kdcore.errors import KDError
from kdcore.settings.codes import RefinementSettings
from kdcore.transforms import LinearTransform
from kdcore.vectors import check_vectors, outweighing_mean, relative_error, root_mean_square

# Symbols whose codes are improved at a time: memory beyond the vectors is this times K·D numbers.
PIECE = 10_000


@dataclass(frozen=True)
class RefinementRecord:
    """The state of the codes after a round.

    Attributes:
        round: rounds done; 0 is the codes as they were given, with the best W for them.
        noise: standard deviation of the noise on W, as a share of that of the vectors.
        error: relative squared error, weighted where symbols have weights.
        changed: share of symbols whose code differs from the round before.
        entropy, used, unique: as in `LearningRecord`.
    """

    round: int
    noise: float
    error: float
    changed: float
    entropy: float
    used: int
    unique: int


@dataclass(frozen=True)
class RefinedCodes:
    """Codes, the linear transform that decodes them, and how refining went."""

    codes: Codes
    transform: LinearTransform
    history: tuple[RefinementRecord, ...]


def refine_codes(
    vectors: torch.Tensor | np.ndarray,
    codes: Codes,
    *,
    counts: torch.Tensor | np.ndarray | None = None,
    seed: int = 0,
    report: Callable[[RefinementRecord], None] = lambda record: None,
    stop: Callable[[], bool] = lambda: False,
    **settings,
) -> RefinedCodes | None:
    """Lower the error Σ_i w_i ‖v_i − Σ_j W^j[c_i^j]‖² over codes and W.

    Args:
        vectors: v, shape (N, d).
        codes: where to start, one code a vector; as a rule `learn_codes(...).codes`.
        counts: how often each symbol occurs, shape (N,), none negative: w is this to the power
            `count_power`. By default all errors count alike.
        seed: of the noise and of the order of positions; equal seeds give equal codes on the
            same machine.
        report: called after each round.
        stop: asked after each round; when true, None is returned.
        settings: fields of `RefinementSettings`.

    Returns:
        The codes of the round with the least error, the linear transform (d′ = d, no H) that is
        best for them, and a `RefinementRecord` a round. None when stopped before the end.

    Raises:
        KDError: vectors, codes or counts that do not belong together or are not finite, an
            unknown setting.
    """
    vectors = check_vectors(vectors)
    if len(codes) != len(vectors):
        raise KDError(f"{len(codes)} codes and {len(vectors)} vectors do not belong together")
    try:
        settings = RefinementSettings(**settings)
    except ValidationError as error:
        raise KDError.of_settings(error, "refinement") from None
    N = len(vectors)
    counts = torch.ones(N) if counts is None else check_counts(counts, N)
    weights = counts**settings.count_power
    if not weights.isfinite().all():
        raise KDError(f"counts to the power {settings.count_power:g} are too large for float32")
    K, D = codes.K, codes.D
    mean = outweighing_mean(vectors)
    vectors = vectors - mean
    scale = root_mean_square(vectors)
    vectors = vectors / scale
    spread = vectors.std(0)
    first = torch.arange(D) * K
    generator = torch.Generator().manual_seed(seed)
    rows = codes.tensor() + first
    W = best_code_embeddings(rows, vectors, K, weights)
    best, history = None, []
    for done in range(settings.rounds + 1):
        noise, before = 0.0, rows
        if done:
            noise = settings.noise * math.sqrt(1 - (done - 1) / settings.rounds)
            shaken = W + noise * spread * torch.randn(W.shape, generator=generator)
            order = [torch.randperm(D, generator=generator) for _ in range(settings.sweeps)]
            order = torch.cat(order).tolist()
            pieces = zip(rows.split(PIECE), vectors.split(PIECE), strict=True)
            rows = torch.cat([improve(*piece, shaken, K, order) for piece in pieces])
            W = best_code_embeddings(rows, vectors, K, weights)
        composed = F.embedding_bag(rows, W, mode="sum")
        now = Codes(rows - first, K)
        health = now.statistics()
        record = RefinementRecord(
            round=done,
            noise=noise,
            error=relative_error(vectors, composed, weights),
            changed=float((rows != before).any(1).double().mean()),
            entropy=sum(health.entropy) / D,
            used=min(health.used),
            unique=health.unique,
        )
        history.append(record)
        report(record)
        if best is None or record.error < best[0]:
            best = record.error, now, W
        if done < settings.rounds and stop():
            return None
    with torch.no_grad(), torch.random.fork_rng(devices=[]):  # its random start is of no use
        transform = LinearTransform(K, D, vectors.shape[1])
        transform.W.copy_(best[2].view_as(transform.W))
    transform.rescale(scale)
    with torch.no_grad():
        transform.W += mean / D
    return RefinedCodes(best[1], transform, tuple(history))


def best_code_embeddings(
    rows: torch.Tensor, vectors: torch.Tensor, K: int, weights: torch.Tensor
) -> torch.Tensor:
    """W that minimises Σ_i w_i ‖v_i − Σ_j W[rows_i^j]‖², by its normal equations.

    Sums of the positions' embeddings stay the same when a constant moves from one position to
    another, so the system is singular: a small ridge takes the smallest W.

    Args:
        rows: the symbols c_i^j + j·K, int64 (N, D).
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
    return torch.linalg.solve(together, total).float()


def improve(
    rows: torch.Tensor, vectors: torch.Tensor, W: torch.Tensor, K: int, order: list[int]
) -> torch.Tensor:
    """Give each symbol the best value at one position after another, the others held.

    ‖v − Σ_j W_j‖² as a function of the value at position j is
    ‖W_j‖² − 2 v·W_j + 2 Σ_{i≠j} W_i·W_j and a constant.

    Args:
        rows: the symbols c_i^j + j·K, int64 (n, D).
        vectors: shape (n, d).
        W: shape (D·K, d).
        order: positions, each as often as it is to be improved.

    Returns:
        New rows; no symbol's error is higher than before.
    """
    products = W @ W.t()
    alone = products.diagonal() - 2 * (vectors @ W.t())
    rows = rows.clone()
    D = rows.shape[1]
    for j in order:
        here = slice(j * K, (j + 1) * K)
        cost = alone[:, here].clone()
        if D > 1:
            others = torch.cat([rows[:, :j], rows[:, j + 1 :]], 1)
            cost += 2 * F.embedding_bag(others, products[:, here].contiguous(), mode="sum")
        rows[:, j] = cost.argmin(1) + j * K
    return rows


def check_counts(counts: torch.Tensor | np.ndarray, N: int) -> torch.Tensor:
    """How often each of N symbols occurs, as float32.

    Raises:
        KDError: not N numbers, a negative one, one that is not finite, or all zero.
    """
    try:
        counts = torch.as_tensor(counts, dtype=torch.float32)
    except (TypeError, ValueError) as error:
        raise KDError(f"counts are not numbers ({error})") from None
    if counts.shape != (N,):
        raise KDError(f"counts need shape ({N},), not {tuple(counts.shape)}")
    if not bool(((counts >= 0) & torch.isfinite(counts)).all()) or not counts.any():
        raise KDError("counts must be finite, none negative, and not all zero")
    return counts
