"""Learning codes from pretrained vectors: Algorithm 1 of the paper and its ablations.

Every symbol has logits ô (D×K). The forward pass uses one_hot(argmax ô); the backward pass
uses the softmax of ô / T (straight-through estimator, Section 2.3). The loss is the squared
error between a symbol's vector and the vector its code composes.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from kdcore.codes import Codes
from kdcore.errors import KDError
from kdcore.refinement import RefinementRecord, refine_codes
from kdcore.settings.codes import CodeLearningSettings
from kdcore.transforms import TRANSFORMS, Transform
from kdcore.vectors import check_vectors, relative_error, root_mean_square


@dataclass(frozen=True)
class LearningRecord:
    """The state of code learning after an epoch.

    Attributes:
        epoch, step: epochs and minibatches done.
        temperature: T of the last minibatch.
        loss: mean over the epoch of ‖v − v̂‖², as the estimator's forward pass sees it.
        error: relative squared error Σ‖v − v̂‖² / Σ‖v − mean‖² with the discrete codes.
        changed: share of symbols whose code differs from the epoch before.
        entropy: mean bits per position; log2 K at best.
        used: smallest number of values in use at a position.
        unique: number of distinct codes.
    """

    epoch: int
    step: int
    temperature: float
    loss: float
    error: float
    changed: float
    entropy: float
    used: int
    unique: int


@dataclass(frozen=True)
class LearnedCodes:
    """Codes, the transform that decodes them, and how learning and refining went."""

    codes: Codes
    transform: Transform
    history: tuple[LearningRecord, ...]
    refinement: tuple[RefinementRecord, ...] = ()


def straight_through(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Lines 3 to 5 of Algorithm 1: one-hot forward, tempered softmax backward.

    Args:
        logits: ô, shape (…, K).
        temperature: T.
    """
    soft = torch.softmax(logits / temperature, -1)
    hard = F.one_hot(logits.argmax(-1), logits.shape[-1]).to(soft.dtype)
    return (hard - soft).detach() + soft


def learn_codes(
    vectors: torch.Tensor | np.ndarray,
    K: int,
    D: int,
    *,
    transform: str = "linear",
    seed: int = 0,
    counts: torch.Tensor | np.ndarray | None = None,
    report: Callable[[LearningRecord, torch.Tensor], None] = lambda record, symbols: None,
    **settings,
) -> LearnedCodes:
    """Learn a K-way D-dimensional code for every row of a table of vectors (Algorithm 1).

    With `transform="linear"` and D = 1 this is k-means by gradient descent. With
    `refinement={}`, the codes are then refined (`refine_codes`): a fifth to a third less error in
    a quarter of the time, and a linear transform without H that composes the vectors.

    Args:
        vectors: pretrained embeddings v, shape (N, d).
        K, D: shape of the code.
        transform: a name in `kdcore.TRANSFORMS`.
        seed: of every random choice; equal seeds give equal codes on the same machine.
        counts: for the refinement: how often each symbol occurs, shape (N,).
        report: called after each epoch with its record and the symbols, int64 (N, D).
        settings: fields of `CodeLearningSettings`; `temperature` and `refinement` may be
            mappings.

    Returns:
        The codes and the transform that composes vectors of the original scale from them, both on
        the CPU, where all of it is computed.

    Raises:
        KDError: vectors that are not finite or not a table, K < 2, D < 1, an unknown
            transform or setting, a cell for a transform that has none.

    Warns:
        UserWarning: the code has more values than there are symbols, or is no smaller than
            the table it replaces.
    """
    vectors = check_vectors(vectors)
    try:
        settings = CodeLearningSettings(**settings)
    except ValidationError as error:
        raise KDError.of_settings(error, "code learning") from None
    if transform not in TRANSFORMS:
        known = ", ".join(sorted(TRANSFORMS))
        raise KDError(f"transform {transform!r} is unknown; there are: {known}")
    options = {"code_dim": settings.code_dim, "init_scale": settings.init_scale}
    if transform == "lstm":
        options["cell"] = settings.cell
    elif settings.cell != "counted":
        raise KDError(f"cell {settings.cell!r} is for the LSTM transform, not the {transform} one")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TRANSFORMS[transform](K, D, vectors.shape[1], **options)
        _warn_if_pointless(vectors, model)
        learned = _learn(vectors, model, settings, report)
    if not settings.refinement:
        return learned
    refined = refine_codes(
        vectors, learned.codes, counts=counts, seed=seed, **dict(settings.refinement)
    )
    return LearnedCodes(refined.codes, refined.transform, learned.history, refined.history)


def _warn_if_pointless(vectors: torch.Tensor, model: Transform) -> None:
    if len(vectors) < model.K:
        warnings.warn(
            f"{len(vectors)} symbols are fewer than the K = {model.K} values of a position",
            stacklevel=3,
        )
    elif model.parameter_count() >= vectors.numel():
        warnings.warn(
            f"the code's {model.parameter_count()} parameters do not save anything over the "
            f"table's {vectors.numel()}",
            stacklevel=3,
        )


def _learn(vectors, model, settings, report) -> LearnedCodes:
    N, batch = len(vectors), settings.batch
    # Step sizes are meant for vectors of unit root mean square.
    scale = root_mean_square(vectors)
    targets = vectors / scale
    logits = settings.logit_scale * torch.randn(N, model.D, model.K)
    moments = _RowAdam(logits, settings.code_rate)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    symbols = logits.argmax(2)
    steps = math.ceil(N / batch)
    history, step = [], 0
    for epoch in range(settings.epochs):
        total = 0.0
        for rows in torch.randperm(N).split(batch):
            T = settings.temperature.at(step, epoch)
            _set_rate(optimizer, settings.learning_rate, step / (steps * settings.epochs))
            chosen = logits[rows].requires_grad_()
            if settings.estimator == "straight_through":
                weights = straight_through(chosen, T)
            else:
                weights = torch.softmax(chosen / T, 2)
            loss = (model.mix(weights) - targets[rows]).square().sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            moments.step(rows, chosen.grad, epoch + 1)
            total += loss.item() * len(rows)
            step += 1
        if not math.isfinite(total):
            raise KDError(f"code learning diverged in epoch {epoch + 1}; lower the learning rate")
        new = logits.argmax(2)
        codes = Codes(new, model.K)
        health = codes.statistics()
        record = LearningRecord(
            epoch=epoch + 1,
            step=step,
            temperature=T,
            loss=total / N * scale**2,
            error=relative_error(targets, model.table(new)),
            changed=float((new != symbols).any(1).double().mean()),
            entropy=sum(health.entropy) / model.D,
            used=min(health.used),
            unique=health.unique,
        )
        symbols = new
        history.append(record)
        report(record, symbols)
    model.rescale(scale)
    return LearnedCodes(codes, model, tuple(history))


def fit_transform(
    transform: Transform,
    codes: Codes,
    vectors: torch.Tensor | np.ndarray,
    *,
    epochs: int = 30,
    batch: int = 200,
    learning_rate: float = 0.005,
) -> float:
    """Make a transform compose the given vectors from fixed codes, as well as it can.

    Least squares by Adam, line 6 of Algorithm 1 without the codes. The transform changes in
    place and is left in training mode; random choices come from PyTorch's global generator. A
    transform with `normalise` composes vectors of mean zero: their mean stays as error.

    Args:
        transform: for the K and D of the codes and vectors of size d.
        codes: one code per vector, N of them.
        vectors: shape (N, d).
        epochs, batch, learning_rate: see `FitSettings`.

    Returns:
        The relative squared error that is left.

    Raises:
        KDError: codes, vectors and transform that do not belong together.
    """
    vectors = check_vectors(vectors)
    wanted = (len(codes), transform.dim), (transform.K, transform.D)
    if wanted != (tuple(vectors.shape), (codes.K, codes.D)):
        raise KDError(
            f"{len(codes)} codes with K = {codes.K}, D = {codes.D} and vectors of shape "
            f"{tuple(vectors.shape)} do not fit a transform with K = {transform.K}, "
            f"D = {transform.D} to size {transform.dim}"
        )
    scale = root_mean_square(vectors)
    targets, symbols = vectors / scale, codes.tensor()
    optimizer = torch.optim.Adam(transform.parameters())
    steps, step = math.ceil(len(vectors) / batch) * epochs, 0
    transform.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(vectors)).split(batch):
            _set_rate(optimizer, learning_rate, step / steps)
            loss = (transform(symbols[rows]) - targets[rows]).square().sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    optimizer.zero_grad()
    error = relative_error(targets, transform.table(symbols))
    transform.rescale(scale)
    if not math.isfinite(error):
        raise KDError("fitting the transform diverged; lower the learning rate")
    return error


def _set_rate(optimizer: torch.optim.Optimizer, rate: float, done: float) -> None:
    """The step size after a share of all steps: falling linearly, 5 % from there on."""
    for group in optimizer.param_groups:
        group["lr"] = rate * max(0.05, 1 - done)


class _RowAdam:
    """Adam for a table of which each step sees some rows; moments move for those alone."""

    def __init__(self, table: torch.Tensor, rate: float):
        self.table, self.rate = table, rate
        self.first, self.second = torch.zeros_like(table), torch.zeros_like(table)

    def step(self, rows: torch.Tensor, gradient: torch.Tensor, visits: int) -> None:
        """Move the given rows, each seen `visits` times by now."""
        # The loss is a mean over the batch; a symbol's own gradient is that of its own error.
        gradient = gradient * len(rows)
        first = self.first[rows].lerp_(gradient, 0.1)
        second = self.second[rows].lerp_(gradient.square(), 0.01)
        self.first[rows], self.second[rows] = first, second
        size = (second / (1 - 0.99**visits)).sqrt_().add_(1e-8)
        self.table[rows] -= self.rate * (first / (1 - 0.9**visits)) / size
