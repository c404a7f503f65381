"""The output layer's softmax and its loss, most of a small language model's work.

For 400 tokens, 200 units and 10,000 words the three matrix products are 4.8 GFLOP of the
step's 6.5.
"""

import torch

from kdcore.products import linear, transposed, weight_gradient
from kdlab.buffers import Buffers

# Numbers of a block of rows that stays in a processor's cache from one operation to the next.
BLOCK = 2**19


class _CrossEntropy(torch.autograd.Function):
    """Sum of −log softmax(h Wᵀ + b)[target], with its gradient by the logits beside it."""

    @staticmethod
    def forward(ctx, h, weight, bias, targets, dtype, buffers):
        halved = dtype.itemsize == 2

        def in_type(x, name):
            if x.dtype == dtype:
                return x
            return buffers.get(f"softmax.{name}", tuple(x.shape), dtype, x.device).copy_(x)

        fast_h, fast_weight = in_type(h, "h"), in_type(weight, "weight")
        out = buffers.get("softmax.logits", (len(h), len(weight)), dtype, h.device)
        logits = linear(fast_h, fast_weight, None if halved else bias, out=out)
        if dtype == torch.float64:
            logits = logits.float()
        rows = len(h) if h.is_cuda else max(1, BLOCK // len(weight))
        total = torch.zeros((), dtype=torch.float64, device=h.device)
        grad_bias = torch.zeros(len(weight), device=h.device)
        for block, target in zip(logits.split(rows), targets[:, None].split(rows), strict=True):
            error = block
            if halved:
                error = buffers.get("softmax.block", tuple(block.shape), device=h.device)
                error.copy_(block).add_(bias)
            picked = error.gather(1, target)[:, 0].double()
            peak = error.amax(1).double()
            torch.softmax(error, 1, out=error)
            # log Σ exp from the likeliest word, whose probability cannot underflow.
            normaliser = peak - error.amax(1).double().log()
            total += (normaliser - picked).sum()
            error.scatter_add_(1, target, -torch.ones_like(target, dtype=torch.float32))
            if halved:
                grad_bias += error.sum(0)
                block.copy_(error)
        if not halved:
            # Over all rows at once: the order of a sum is part of what published runs computed.
            grad_bias = logits.sum(0)
        ctx.save_for_backward(h, weight, fast_h, fast_weight, logits, grad_bias)
        ctx.buffers = buffers
        return total

    @staticmethod
    def backward(ctx, grad):
        h, weight, fast_h, fast_weight, error, grad_bias = ctx.saved_tensors
        grad = grad.to(torch.float32)
        error = error.to(fast_h.dtype)
        grad_h = linear(error, fast_weight.t()).float().mul_(grad)
        # In place: the function can be differentiated once, as training does.
        scaled = fast_h.copy_(h * grad) if fast_h is not h else h * grad
        grad_weight = ctx.buffers.gradient("softmax.grad_weight", weight)
        if error.dtype == torch.float32:
            weight_gradient(error, scaled, grad_weight)
        elif error.is_cpu and error.dtype == torch.bfloat16:
            shape = (error.shape[1], error.shape[0])
            turned = transposed(error, ctx.buffers.get("softmax.turned", shape, error.dtype))
            product = ctx.buffers.get("softmax.grad", tuple(weight.shape), error.dtype)
            grad_weight.copy_(torch.mm(turned, scaled, out=product))
        else:
            grad_weight.copy_(error.t() @ scaled)
        return grad_h, grad_weight, grad_bias * grad, None, None, None


def cross_entropy_sum(
    h: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    targets: torch.Tensor,
    dtype: torch.dtype | None = None,
    buffers: Buffers | None = None,
) -> torch.Tensor:
    """−Σ log softmax(h Wᵀ + b)[target] in nats, a scalar in double precision.

    Differentiable once, with respect to h, weight and bias; gradients are float32.

    Args:
        h: LSTM outputs, shape (n, hidden).
        weight, bias: output layer, shapes (N, hidden) and (N,).
        targets: word ids, shape (n,).
        dtype: of the matrix products; that of h, or of autocast where it is on. The softmax itself
            is float32.
        buffers: kept by the caller from step to step; with them the result has to be
            differentiated before the next call.
    """
    device = h.device.type
    if dtype is None:
        autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else h.dtype
    return _CrossEntropy.apply(h, weight, bias, targets, dtype, buffers or Buffers())
