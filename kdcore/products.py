"""Arithmetic as the processor likes it: same results, less time.

On x86 CPUs oneDNN's single-precision product runs 1.2 to 2 times as fast as PyTorch's default one
on AMD's processors, and on Intel's the default is the faster one. And a processor takes some
hundred times as long for a product with a denormal number, below 1e-38 in single precision: where
the gates of an LSTM saturate, oneDNN's backward pass is full of them, and a trained small model's
step took three times as long as an untrained one's.
"""

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F

from kdcore.errors import KDError

Library = Literal["onednn", "pytorch"]
# How much faster than the usual library of the processor's maker the other one must be to be
# chosen: far more than measurements vary, for runs on one machine are to end with the same bytes.
MARGIN = 2.0

_ops = torch.ops.mkldnn if torch.backends.mkldnn.is_available() else None
_onednn_linear = getattr(_ops, "_linear_pointwise", None)
_library: Library | None = None


def product_library() -> Library:
    """The library of float32 products on the CPU: measured at the first call, then kept.

    Two libraries round differently: a run that is to end with the same bytes as another, or that
    continues one, uses the library of the other one; see `use_product_library`.
    """
    global _library
    if _library is None:
        _library = _measured()
    return _library


def use_product_library(name: str) -> None:
    """Have float32 products on the CPU done by `onednn` or by `pytorch`'s default library.

    Raises:
        KDError: the name is unknown, or oneDNN is asked for and PyTorch comes without it.
    """
    global _library
    for library in get_args(Library):
        if name == library:
            if library == "onednn" and _onednn_linear is None:
                raise KDError("product library must be 'pytorch' here, got 'onednn'")
            _library = library
            return
    raise KDError(f"product library must be 'onednn' or 'pytorch', got {name!r}")


def _measured() -> Library:
    """The usual one of the processor's maker, unless the other one is far faster.

    It is measured for a language model's output layer, in some 50 milliseconds, in the processor's
    time: with the clock's, other work on the machine would decide how a run rounds.
    """
    if _onednn_linear is None:
        return "pytorch"
    usual: Library = "pytorch" if _is_made_by_intel() else "onednn"
    other: Library = "onednn" if usual == "pytorch" else "pytorch"
    x, weight = (torch.ones(rows, 200, dtype=torch.float32) for rows in (400, 2500))
    seconds: dict[Library, list[float]] = {usual: [], other: []}
    for _ in range(6):
        for library, times in seconds.items():
            begun = time.process_time()
            _linear(x, weight, None, library)
            times.append(time.process_time() - begun)
    return other if MARGIN * min(seconds[other]) < min(seconds[usual]) else usual


def _is_made_by_intel() -> bool:
    """Whether Intel made the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = platform.processor()
    return "GenuineIntel" in text


def _linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, library: str
) -> torch.Tensor:
    if library == "onednn" and _onednn_linear is not None:
        result: torch.Tensor = _onednn_linear(x, weight, bias, "none", [], "")
        return result
    return F.linear(x, weight, bias)


def _is_single(x: torch.Tensor) -> bool:
    known = x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() > 0
    return known and not torch.compiler.is_compiling()


def linear(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """x Wᵀ + b for x (n, m), weight (p, m), bias (p,); result (n, p). Not differentiable.

    In `torch.compile` and `torch.export` it is PyTorch's own: what is exported may go anywhere.

    Args:
        out: memory for the result, which need not be used.
    """
    library = product_library() if _is_single(x) else "pytorch"
    if out is None or library == "onednn":
        return _linear(x, weight, bias, library)
    if bias is None:
        return torch.mm(x, weight.t(), out=out)
    return torch.addmm(bias, x, weight.t(), out=out)


def weight_gradient(errors: torch.Tensor, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """errorsᵀ x in `out`, for errors (n, p) and x (n, m) of one type: the gradient of `linear`."""
    if _is_single(x) and product_library() == "onednn":
        # As (xᵀ errors)ᵀ: the product reads a transposed second factor without copying it.
        return out.copy_(_linear(x.t(), errors.t(), None, "onednn").t())
    return torch.mm(errors.t(), x, out=out)


def _pack(weight: torch.Tensor, rows: int) -> torch.Tensor:
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return packed


@cache
def _packs_bfloat16() -> bool:
    """Whether oneDNN has products of packed bfloat16 numbers on this processor."""
    x = torch.ones(2, 16, dtype=torch.bfloat16)
    try:
        _linear(x, _pack(torch.ones(16, 16, dtype=torch.bfloat16), 2), None, "onednn")
    except (AttributeError, RuntimeError):
        return False
    return _onednn_linear is not None


class Packed:
    """A weight that is multiplied with many small inputs; one in bfloat16 is laid out for it once.

    Args:
        weight: shape (p, m), float32 or bfloat16.
        rows: of an input.
    """

    def __init__(self, weight: torch.Tensor, rows: int):
        self._turned = weight.t()
        self._packed: torch.Tensor | None = None
        if weight.is_cpu and weight.dtype == torch.bfloat16 and _packs_bfloat16():
            self._packed = _pack(weight, rows)

    def __call__(self, x: torch.Tensor, added: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """x Wᵀ + added in `out`, for x (n, m) and the others (n, p). Not differentiable.

        In bfloat16 the sum is rounded as the product is, unless `added` is float32.
        """
        if added.dtype != x.dtype:
            if self._packed is None or _onednn_linear is None:
                return out.copy_(torch.mm(x, self._turned)).add_(added)
            return out.copy_(_onednn_linear(x, self._packed, None, "none", [], "")).add_(added)
        if self._packed is not None and _onednn_linear is not None:
            return out.copy_(_onednn_linear.binary(x, added, self._packed, None, "add"))
        if out.dtype != x.dtype:
            return out.copy_(torch.addmm(added, x, self._turned))
        return torch.addmm(added, x, self._turned, out=out)


def transposed(x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """xᵀ laid out in rows, in `out`: block by block, which stays in the cache."""
    for first in range(0, len(x), 64):
        out[:, first : first + 64].copy_(x[first : first + 64].t())
    return out


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
