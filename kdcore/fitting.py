"""A transform fitted to pretrained vectors while the codes stay: line 6 of Algorithm 1 alone."""

import math

import numpy as np
import torch

from kdcore.codes import Codes
from kdcore.errors import KDError
from kdcore.standardise import Standardisation
from kdcore.tensors import on_cpu
from kdcore.transforms import Transform
from kdcore.vectors import check_unequal, check_vectors, relative_error


@on_cpu()
def fit_transform(
    transform: Transform,
    codes: Codes,
    vectors: torch.Tensor | np.ndarray,
    *,
    epochs: int = 30,
    batch_size: int = 200,
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
        epochs: passes over the vectors.
        batch_size: vectors in a minibatch.
        learning_rate: Adam's step size, falling linearly to 5 %.

    Returns:
        The relative squared error that is left.

    Raises:
        KDError: codes, vectors and transform that do not belong together; vectors that are all
            equal; epochs or a batch_size below 1.

    Example:
        >>> error = fit_transform(LinearTransform(50, 10, 200), codes, vectors, epochs=30)
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if value < 1:
            raise KDError(f"{name} must be at least 1, got {value}")
    table = check_vectors(vectors)
    check_unequal(table)
    wanted = (len(codes), transform.dim), (transform.K, transform.D)
    if wanted != (tuple(table.shape), (codes.K, codes.D)):
        raise KDError(
            f"codes and vectors must fit a transform with K = {transform.K}, D = {transform.D} to "
            f"size {transform.dim}, got {len(codes)} codes with K = {codes.K}, D = {codes.D} and "
            f"vectors of shape {tuple(table.shape)}"
        )
    standard = Standardisation.of(table, transform)
    targets, indices = standard.apply(table), codes.tensor()
    optimizer = torch.optim.Adam(transform.parameters())
    steps, step = math.ceil(len(table) / batch_size) * epochs, 0
    transform.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(table)).split(batch_size):
            set_rate(optimizer, learning_rate, step / steps)
            loss = (transform(indices[rows]) - targets[rows]).square().sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    optimizer.zero_grad()
    error = relative_error(targets, transform.compose_all(indices))
    standard.fold_into(transform)
    if not math.isfinite(error):
        raise KDError("fitting the transform diverged; lower the learning rate")
    return error


def set_rate(optimizer: torch.optim.Optimizer, rate: float, done: float) -> None:
    """The step size after a share `done` of all steps: falling linearly, to 5 %."""
    for group in optimizer.param_groups:
        group["lr"] = rate * max(0.05, 1 - done)
