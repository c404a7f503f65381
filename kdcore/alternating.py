"""Code books and codes improved in turn, while noise on the books fades away.

Martinez et al. 2018, "LSQ++: Lower Running Time and Higher Recall in Multi-Codebook Quantization":
stochastic relaxation, which lets codes leave poor local minima.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from kdcore.codes import Codes
from kdcore.learners import Control
from kdcore.vectors import relative_error


@dataclass(frozen=True)
class RefinementRecord:
    """The state of the codes after a round.

    Attributes:
        round: rounds done; 0 is the codes as they were given, with the best W for them.
        noise: standard deviation of the noise on W, as a share of that of the vectors.
        error: relative squared error, weighted where words have weights; of standardised vectors
            where these are refined.
        changed: share of words whose code differs from the round before.
        entropy: mean bits per position; log2 K at best.
        used: smallest number of values in use at a position.
        unique: number of distinct codes.
    """

    round: int
    noise: float
    error: float
    changed: float
    entropy: float
    used: int
    unique: int


@dataclass(frozen=True)
class State:
    """Codes, the books that are best for them, and what they compose, (N, d)."""

    codes: Codes
    books: list[torch.Tensor]
    composed: torch.Tensor


def best_round(
    rounds: int,
    noise: float,
    improve: Callable[[float], None],
    state: Callable[[], State],
    targets: torch.Tensor,
    weights: torch.Tensor,
    control: Control,
) -> tuple[State, tuple[RefinementRecord, ...]] | None:
    """The state with the least error of all rounds and the start, and a record of each.

    Args:
        rounds: how many.
        noise: standard deviation of the noise on the books in the first round; its square falls
            linearly, to zero after the last one.
        improve: does a round, with the noise that it is given.
        state: what there is now.
        targets: vectors to be composed, (N, d).
        weights: of their errors, (N,).

    Returns:
        None when stopped before the end.
    """
    best: State | None = None
    least, history, before = math.inf, [], None
    for done in range(rounds + 1):
        size = noise * math.sqrt(1 - (done - 1) / rounds) if done else 0.0
        if done:
            improve(size)
        now = state()
        indices, health = now.codes.tensor(), now.codes.statistics()
        changed = 0.0 if before is None else float((indices != before).any(1).double().mean())
        record = RefinementRecord(
            round=done,
            noise=size,
            error=relative_error(targets, now.composed, weights),
            changed=changed,
            entropy=sum(health.entropy) / now.codes.D,
            used=min(health.used),
            unique=health.unique,
        )
        history.append(record)
        control.report(record, indices)
        if best is None or record.error < least:
            least, best = record.error, now
        before = indices
        if done < rounds and control.stop():
            return None
    assert best is not None
    return best, tuple(history)
