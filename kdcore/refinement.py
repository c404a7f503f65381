"""Refining codes for sums of code embeddings, for anyone's table."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from kdcore.alternating import RefinementRecord
from kdcore.codes import Codes
from kdcore.errors import KDError
from kdcore.learners import Control, LearnedCodes, LearnerInputs, check_counts, never, refine
from kdcore.learners.refine import RefinementSettings
from kdcore.tensors import on_cpu
from kdcore.vectors import check_vectors

__all__ = ["RefinementRecord", "refine_codes"]

# What is best for its time. The learner `refine` has by default what the measured codes of the
# paper's tables were refined with.
DEFAULTS = {"sweeps": 1, "noise": None, "perturbations": 4}


def refine_codes(
    vectors: torch.Tensor | np.ndarray,
    codes: Codes,
    *,
    counts: torch.Tensor | np.ndarray | None = None,
    seed: int = 0,
    report: Callable[[RefinementRecord], None] = lambda record: None,
    stop: Callable[[], bool] = never,
    **settings: Any,
) -> LearnedCodes | None:
    """Lower the error Σ_i w_i ‖v_i − Σ_j W^j[c_i^j]‖² over codes and W.

    Args:
        vectors: pretrained embeddings v, shape (N, d).
        codes: where to start, one code a vector; as a rule `learn_codes(...).codes`.
        counts: how often each word occurs, shape (N,), none negative: w is this to the power
            `count_power`. By default all errors count alike.
        seed: of the noise and of the order of positions; equal seeds give equal codes on the
            same machine.
        report: called after each round.
        stop: asked after each round; when true, None is returned.
        settings: `rounds`, `sweeps`, `noise`, `perturbations`, `beam`, `groups`, `count_power`,
            `standardise`: see `kdcore.learners.refine.RefinementSettings`. By default 60 rounds of
            one sweep and 4 perturbations, with the noise that suits the error at the start.

    Returns:
        The codes of the round with the least error, the linear transform (d′ = d, no H; with
        groups the product transform) that is best for them, and a `RefinementRecord` a round. None
        when stopped before the end.

    Raises:
        KDError: vectors, codes or counts that do not belong together or are not finite, an
            unknown setting.

    Example:
        >>> refined = refine_codes(vectors, Codes.random(len(vectors), 50, 10, seed=0), rounds=20)
        >>> min(record.error for record in refined.history)
    """
    table = check_vectors(vectors)
    chosen = parse_refinement(settings)
    inputs = LearnerInputs(
        len(table), table, None if counts is None else check_counts(counts, len(table)), codes
    )
    control = Control(report=lambda record, indices: report(record), stop=stop)
    with on_cpu():
        return refine.learn(chosen, inputs, seed, control)


def parse_refinement(settings: Mapping[str, object]) -> RefinementSettings:
    """Settings of a refinement, checked, and defaults for those that are not given.

    Raises:
        KDError: an unknown setting, a wrong type or range.
    """
    try:
        return RefinementSettings.model_validate({**DEFAULTS, **settings})
    except ValidationError as error:
        raise KDError.of_settings(error, "refinement") from None
