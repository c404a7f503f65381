"""Learning codes from pretrained vectors: Algorithm 1 of the paper, for anyone's table."""

from collections.abc import Callable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdcore.errors import KDError
from kdcore.kinds import KindSettings
from kdcore.learners import (
    LEARNERS,
    Control,
    LearnedCodes,
    LearnerInputs,
    check_counts,
    check_seed,
    never,
    no_report,
    refine,
    straight_through,
)
from kdcore.learners.straight_through import LearningRecord
from kdcore.refinement import parse_refinement
from kdcore.tensors import on_cpu
from kdcore.vectors import check_vectors

__all__ = ["LearnedCodes", "LearningRecord", "learn_codes"]


def learn_codes(
    vectors: torch.Tensor | np.ndarray,
    K: int,
    D: int,
    transform: str | Mapping[str, object] | KindSettings = "linear",
    *,
    seed: int = 0,
    refinement: Mapping[str, object] | bool | None = None,
    counts: torch.Tensor | np.ndarray | None = None,
    report: Callable[[LearningRecord, torch.Tensor], None] = no_report,
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 60.0,
    stop: Callable[[], bool] = never,
    **settings: Any,
) -> LearnedCodes | None:
    """Learn a K-way D-dimensional code for every row of a table of vectors (Algorithm 1).

    With the linear transform and D = 1 this is k-means by gradient descent. With
    `refinement={}`, the codes are then refined (`refine_codes`): a tenth to a third less error in
    a quarter of the time, and a linear transform without H that composes the vectors, whatever
    transform and d′ the codes were learned through.

    Vectors whose mean outweighs their spread, ‖mean‖² > mean ‖v − mean‖², are learned without it
    by a transform that can add an offset, the linear one without H; it adds the mean afterwards.
    With `standardise=True` it learns every component as if of mean 0 and variance 1, so that a
    few large ones do not decide the codes; the transform carries the components' spread, and
    `encode` goes by it too.

    Args:
        vectors: pretrained embeddings v, shape (N, d).
        K: values of an index.
        D: indices in a code.
        transform: name of a kind of transform (`kdcore.TRANSFORMS`), or its settings with `kind`.
        seed: of every random choice; equal seeds give equal codes on the same machine.
        refinement: settings of `refine_codes`, True for its defaults, or None. What is standardised
            is refined so.
        counts: for the refinement: how often each word occurs, shape (N,).
        report: called after each epoch with its record and the codes' indices, int64 (N, D);
            random draws in it do not change the codes.
        checkpoint: file to continue from, if it is there, and to write every
            `checkpoint_seconds` and after the last epoch. A continued run ends with the same
            codes and weights, to the last bit, as an undisturbed one. It has 3·N·D·K numbers. A
            refinement begins again.
        stop: asked after each epoch and each round of a refinement; when true, the checkpoint is
            written and None returned.
        settings: other fields of `kdcore.learners.straight_through.Settings`; `temperature` may
            be a mapping.

    Returns:
        The codes and the transform that composes vectors of the original scale from them, both on
        the CPU, where all of it is computed, and a record of every epoch and round. None when
        stopped before the end.

    Raises:
        KDError: vectors that are not finite or not a table or all equal, K < 2, D < 1, an unknown
            transform or setting, `standardise` with a transform that cannot add an offset; counts
            that are not those of the words, or without refinement; a checkpoint that is damaged
            or of other vectors or settings.

    Warns:
        UserWarning: the code has more values than there are words, or is no smaller than
            the table it replaces; the vectors' mean outweighs their spread ten times and the
            transform cannot add it.

    Example:
        >>> learned = learn_codes(vectors, K=50, D=10, refinement={})
        >>> composed = learned.transform.compose_all(learned.codes.tensor())
        >>> codes = learn_codes(vectors, 50, 10, {"kind": "linear", "code_dim": 200}).codes
    """
    table, seed = check_vectors(vectors), check_seed(seed)
    chosen = LEARNERS.parse(
        {
            "kind": "straight_through", "K": _integer(K), "D": _integer(D),
            "transform": {"kind": transform} if isinstance(transform, str) else transform,
            **settings,
        }
    )  # fmt: skip
    assert isinstance(chosen, straight_through.Settings)
    refined_so = None
    if refinement is not None and refinement is not False:
        given = {} if refinement is True else refinement
        refined_so = parse_refinement({"standardise": chosen.standardise, **given})
    if counts is not None:
        if refined_so is None:
            raise KDError("counts must be given with a refinement, got them without")
        counts = check_counts(counts, len(table))
    control = Control(Path(checkpoint) if checkpoint else None, checkpoint_seconds, report, stop)
    with on_cpu():
        learned = straight_through.learn(chosen, LearnerInputs(len(table), table), seed, control)
    if learned is None or refined_so is None:
        return learned
    inputs = LearnerInputs(len(table), table, counts, learned.codes)
    with on_cpu():
        refined = refine.learn(refined_so, inputs, seed, Control(stop=stop))
    if refined is None:
        return None
    return LearnedCodes(refined.codes, refined.transform, (*learned.history, *refined.history))


def _integer(value: Any) -> Any:
    """A NumPy integer as Python's; anything else as it is, to be refused or not."""
    return int(value) if isinstance(value, Integral) else value
