"""An LSTM for training on a CPU, written out, so that its products are at our choice.

The equations are those of `torch.nn.LSTM`, whose weights it takes. PyTorch's own layer calls
oneDNN's recurrent kernels, which are slower in bfloat16 than in float32. Here the products are
plain matrix products, in the type and by the library that is fastest on the processor: those with
the inputs and those of the weights' gradients run over all time steps at once, and the recurrent
weights are laid out once a step. Gates, cells and gradients are float32 whatever the products are
in.
"""

import torch
from torch import nn

from kdcore.products import Packed, linear, product_library, transposed, weight_gradient
from kdlab.buffers import Buffers

State = tuple[torch.Tensor, torch.Tensor]
# In float32 PyTorch's layer is the faster one below this size: it has less to do between products.
SMALL = 400


def lstm(
    layers: nn.LSTM,
    x: torch.Tensor,
    state: State,
    dtype: torch.dtype,
    buffers: Buffers,
) -> tuple[torch.Tensor, State]:
    """What `layers(x, state)` computes in training, with products in `dtype`.

    In float32 it is left to `layers` itself where that is the faster: for small layers, and where
    oneDNN's products are in use. Else no gradient flows into the state, as in truncated
    back-propagation, nor into `bias_hh`.

    Args:
        layers: unidirectional, time first; with its dropout between layers.
        x: inputs, shape (bptt, batch_size, hidden), float32.
        state: hidden and cell state, each (layers, batch_size, hidden).
        dtype: float32, or bfloat16 for products of bfloat16 numbers.
        buffers: kept by the caller from step to step; what is returned lies in them and has to be
            differentiated before the next call.

    Returns:
        Outputs of the last layer (bptt, batch_size, hidden) and the new state.
    """
    if dtype == torch.float32 and (layers.hidden_size < SMALL or product_library() == "onednn"):
        return layers(x, state)
    hs, cs = [], []
    for layer in range(layers.num_layers):
        if layer > 0:
            x = dropped(x, layers.dropout, dtype)
        w_ih, w_hh, b_ih, b_hh = (
            getattr(layers, f"{name}_l{layer}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        x, h, c = _Layer.apply(
            x, state[0][layer], state[1][layer], w_ih, w_hh, b_ih, b_hh, dtype, buffers, str(layer)
        )
        hs.append(h)
        cs.append(c)
    return x, (torch.stack(hs), torch.stack(cs))


def dropped(x: torch.Tensor, share: float, dtype: torch.dtype) -> torch.Tensor:
    """x with a share of its numbers dropped and the others scaled up.

    For float32 it is PyTorch's dropout, to the last draw. For bfloat16 a draw is of 16 bits, four
    of them from one number of the generator, and takes a tenth of the time.
    """
    if dtype == torch.float32 or share == 0:
        return nn.functional.dropout(x, share)
    kept = round((1 - share) * 2**16)
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    below = draws.view(torch.int16)[: x.numel()] < kept - 2**15
    return x * below.to(x.dtype).mul_(2**16 / kept).view(x.shape)


class _Layer(torch.autograd.Function):
    """One layer over all time steps. Gates are in PyTorch's order: input, forget, cell, output."""

    @staticmethod
    def forward(ctx, x, h, c, w_ih, w_hh, b_ih, b_hh, dtype, buffers, name):
        steps, batch_size, _ = x.shape
        hidden = w_hh.shape[1]
        halved = dtype != torch.float32

        def get(what, *shape, dtype=torch.float32):
            return buffers.get(f"lstm.{name}.{what}", shape, dtype)

        bias = b_ih + b_hh
        inputs = x.flatten(0, 1)
        fast_ih, fast_hh = w_ih, w_hh
        if halved:
            inputs = get("inputs", *inputs.shape, dtype=dtype).copy_(inputs)
            fast_ih = get("w_ih", *w_ih.shape, dtype=dtype).copy_(w_ih)
            fast_hh = get("w_hh", *w_hh.shape, dtype=dtype).copy_(w_hh)
        # In float32 the bias is part of the product; in bfloat16 that would round it.
        shape = (steps * batch_size, 4 * hidden)
        from_inputs = get("from_inputs", *shape, dtype=dtype)
        from_inputs = linear(inputs, fast_ih, None if halved else bias, out=from_inputs)
        recurrent = Packed(fast_hh, batch_size)
        gates = get("gates", steps, batch_size, 4 * hidden)
        cells = get("cells", steps + 1, batch_size, hidden)
        tanhs = get("tanhs", steps, batch_size, hidden)
        outputs = get("outputs", steps + 1, batch_size, hidden)
        cells[0].copy_(c)
        outputs[0].copy_(h)
        previous = outputs
        if halved:
            previous = get("previous", steps + 1, batch_size, hidden, dtype=dtype)
            previous[0].copy_(h)
        sections = [gates[..., i * hidden : j * hidden] for i, j in ((0, 2), (2, 3), (3, 4))]
        sections += gates[..., : 2 * hidden].chunk(2, -1)
        over_time = zip(
            from_inputs.view(steps, batch_size, -1).unbind(), gates.unbind(),
            *(section.unbind() for section in sections), cells.unbind()[:-1], cells.unbind()[1:],
            tanhs.unbind(), outputs.unbind()[1:], previous.unbind()[:-1], previous.unbind()[1:],
            strict=True,
        )  # fmt: skip
        for added, gate, both, g, o, i, f, before, cell, tanh, output, last, new in over_time:
            recurrent(last, added, gate)
            if halved:
                gate.add_(bias)
            both.sigmoid_()
            g.tanh_()
            o.sigmoid_()
            torch.mul(f, before, out=cell).addcmul_(i, g)
            torch.tanh(cell, out=tanh)
            torch.mul(o, tanh, out=output)
            if halved:
                new.copy_(output)
        ctx.save_for_backward(
            inputs, w_ih, w_hh, fast_ih, fast_hh, gates, cells, tanhs, outputs, previous
        )
        ctx.buffers, ctx.name = buffers, name
        last_h, last_c = outputs[-1].clone(), cells[-1].clone()
        ctx.mark_non_differentiable(last_h, last_c)
        return outputs[1:], last_h, last_c

    @staticmethod
    def backward(ctx, grad_outputs, _h, _c):
        inputs, w_ih, w_hh, fast_ih, fast_hh, gates, cells, tanhs, outputs, previous = (
            ctx.saved_tensors
        )
        steps, batch_size, hidden = tanhs.shape
        dtype = inputs.dtype
        halved = dtype != torch.float32

        def get(what, *shape, dtype=torch.float32):
            return ctx.buffers.get(f"lstm.{what}", shape, dtype)

        i, f, g, o = gates.view(steps, batch_size, 4, hidden).unbind(2)
        h = outputs[1:]
        # A gate's gradient before its activation, per unit of the cell's gradient; the output
        # gate's, and the cell's own, per unit of the output's.
        slopes = get("slopes", steps, batch_size, 4, hidden)
        product = get("product", steps, batch_size, hidden)
        torch.mul(i, g, out=product)
        torch.addcmul(product, product, i, value=-1, out=slopes[:, :, 0])
        torch.addcmul(i, product, g, value=-1, out=slopes[:, :, 2])
        torch.mul(cells[:-1], f, out=product)
        torch.addcmul(product, product, f, value=-1, out=slopes[:, :, 1])
        torch.addcmul(h, h, o, value=-1, out=slopes[:, :, 3])
        cell_slopes = torch.addcmul(o, h, tanhs, value=-1, out=product)

        turned = fast_hh.t()
        if halved:
            # Laid out in rows first: packing a matrix by its columns takes longer.
            turned = transposed(fast_hh, get("turned", *turned.shape, dtype=dtype))
        back = Packed(turned, batch_size)
        errors = get("errors", steps, batch_size, 4 * hidden, dtype=dtype)
        error = torch.empty(1 if halved else steps, batch_size, 4, hidden)
        if not halved:
            error = errors.view(error.shape)
        error = error.expand(steps, -1, -1, -1)
        total, sums = torch.empty(batch_size, hidden), torch.zeros(batch_size, 4 * hidden)
        grad_c = torch.zeros(batch_size, hidden)
        grad_c_of_gates = grad_c[:, None]
        over_time = zip(
            grad_outputs.unbind(), slopes[:, :, :3].unbind(), slopes[:, :, 3].unbind(),
            cell_slopes.unbind(), f.unbind(), error[:, :, :3].unbind(), error[:, :, 3].unbind(),
            error.flatten(2).unbind(), errors.unbind(), strict=True,
        )  # fmt: skip
        later = None
        for above, of_c, of_h, slope, forget, by_c, by_h, both, out in reversed(list(over_time)):
            grad_h = above if later is None else back(later, above, total)
            grad_c.addcmul_(grad_h, slope)
            torch.mul(of_c, grad_c_of_gates, out=by_c)
            torch.mul(of_h, grad_h, out=by_h)
            grad_c.mul_(forget)
            sums.add_(both)
            if halved:
                out.copy_(both)
            later = out
        errors = errors.flatten(0, 1)
        if halved:
            columns = get("columns", errors.shape[1], errors.shape[0], dtype=dtype)
            transposed(errors, columns)
        grads = []
        for weight, factor, what in (
            (w_ih, inputs, "ih"),
            (w_hh, previous[:-1].flatten(0, 1), "hh"),
        ):
            grad = ctx.buffers.gradient(f"lstm.{ctx.name}.grad_{what}", weight)
            if halved:
                half = get("grad", *weight.shape, dtype=dtype)
                grads.append(grad.copy_(torch.mm(columns, factor, out=half)))
            else:
                grads.append(weight_gradient(errors, factor, grad))
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = linear(errors, fast_ih.t()).float().view(steps, batch_size, -1)
        return grad_x, None, None, *grads, sums.sum(0), None, None, None, None
