"""Arithmetic as the processor likes it: same results, less time.

On x86 CPUs oneDNN's single-precision product runs about twice as fast as the default one on
processors without Intel's own code paths. And a processor takes some hundred times as long for a
product with a denormal number, below 1e-38 in single precision: where the gates of an LSTM
saturate, oneDNN's backward pass is full of them, and a trained small model's step took three times
as long as an untrained one's.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F

_onednn_linear = (
    torch.ops.mkldnn._linear_pointwise
    if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    else None
)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """x Wᵀ + b for x (n, m), weight (p, m), bias (p,); result (n, p). Not differentiable.

    In `torch.compile` and `torch.export` it is PyTorch's own: what is exported may go anywhere.
    """
    known = x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() > 0
    if _onednn_linear is not None and known and not torch.compiler.is_compiling():
        return _onednn_linear(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


@contextmanager
def denormals_are_zero() -> Iterator[None]:
    """Meanwhile, this thread takes denormal numbers for zero.

    Added to a number above 1e-30 a denormal one changes nothing in single precision, so weights
    stay the same to the last bit.
    """
    before = _flushes()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _flushes() -> bool:
    return float(torch.tensor(1e-30) * torch.tensor(1e-10)) == 0.0
