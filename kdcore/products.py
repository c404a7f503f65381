"""The matrix product that is asked for by name because it is fast.

On x86 CPUs oneDNN's single-precision product runs about twice as fast as the default one on
processors without Intel's own code paths.
"""

import torch
import torch.nn.functional as F

_onednn_linear = (
    torch.ops.mkldnn._linear_pointwise
    if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    else None
)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """x Wᵀ + b for x (n, m), weight (p, m), bias (p,); result (n, p). Not differentiable."""
    known = x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() > 0
    if _onednn_linear is not None and known:
        return _onednn_linear(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)
