"""A transform fitted to pretrained vectors while the codes stay: line 6 of Algorithm 1 alone."""

import math

import numpy as np
import torch

from kdcore.codes import Codes
from kdcore.errors import KDError
from kdcore.transforms import LinearTransform, Transform
from kdcore.vectors import check_vectors, outweighing_mean, relative_error, root_mean_square


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
    mean = None
    if isinstance(transform, LinearTransform) and transform.H is None:
        mean = outweighing_mean(vectors)
        vectors = vectors - mean
    scale = root_mean_square(vectors)
    targets, symbols = vectors / scale, codes.tensor()
    optimizer = torch.optim.Adam(transform.parameters())
    steps, step = math.ceil(len(vectors) / batch) * epochs, 0
    transform.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(vectors)).split(batch):
            set_rate(optimizer, learning_rate, step / steps)
            loss = (transform(symbols[rows]) - targets[rows]).square().sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    optimizer.zero_grad()
    error = relative_error(targets, transform.table(symbols))
    transform.rescale(scale)
    if mean is not None:
        with torch.no_grad():
            transform.W.add_(mean / transform.D)
    if not math.isfinite(error):
        raise KDError("fitting the transform diverged; lower the learning rate")
    return error


def set_rate(optimizer: torch.optim.Optimizer, rate: float, done: float) -> None:
    """The step size after a share `done` of all steps: falling linearly, to 5 %."""
    for group in optimizer.param_groups:
        group["lr"] = rate * max(0.05, 1 - done)
