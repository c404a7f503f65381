"""The LSTM transform: the sum of the outputs of an LSTM that reads the code."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from kdcore.errors import KDError
from kdcore.kinds import KindSettings
from kdcore.products import linear
from kdcore.tensors import is_traced
from kdcore.transforms import Transform, VectorScale

NUMERICS = 1

Cell = Literal["counted", "printed"]


class Settings(KindSettings):
    """The LSTM transform."""

    code_dim: int | None = Field(None, gt=0, description="size d′ of a code embedding; null is d")
    init_scale: float = Field(
        0.1, gt=0, allow_inf_nan=False, description="code embeddings start uniform in ±init_scale"
    )
    normalise: bool = Field(
        False, description="standardise what enters H over the words of a batch"
    )
    vector_scale: VectorScale = 1.0
    cell: Cell = Field(
        "counted",
        description="one code book for all positions and an input matrix, which Table 1 counts; "
        "or the cell that Section 2.2 prints, a code book for each",
    )


class LSTMTransform(Transform):
    """v = (Σ_j h_j)ᵀ H, with h_j the outputs of an LSTM that reads the code.

    `cell="printed"` is the cell of Section 2.2: each position has its own W^j, which enters
    all four gates as it is; size K·D·d′ + 4h² + 4h + h·d with h = d′.
    `cell="counted"` is the cell whose size is the one in Table 1: one W for all positions and
    an input matrix; size K·d′ + 4h(d′+h) + 4h + h·d.

    Args:
        code_dim: d′ = h; by default d.
        init_scale: the code embeddings start uniform in ±init_scale.
        normalise, vector_scale: see `Transform`.

    Raises:
        KDError: a shape that cannot be, or an unknown cell.
    """

    H: nn.Parameter

    def __init__(
        self, K: int, D: int, dim: int, *, code_dim: int | None = None,
        init_scale: float = 0.1, cell: Cell = "counted", normalise: bool = False,
        vector_scale: float = 1.0,
    ) -> None:  # fmt: skip
        h = dim if code_dim is None else code_dim
        super().__init__(
            K, D, dim, h, projection=True, normalise=normalise, init_scale=init_scale,
            vector_scale=vector_scale,
        )  # fmt: skip
        if cell not in get_args(Cell):
            raise KDError(f"cell must be one of {', '.join(get_args(Cell))}, got {cell!r}")
        self.cell: Cell = cell
        positions = D if cell == "printed" else 1
        self.W = nn.Parameter(torch.empty(positions, K, h).uniform_(-init_scale, init_scale))
        # Gates in the order i, f, o, m.
        self.U = nn.Parameter(torch.cat([nn.init.orthogonal_(torch.empty(h, h)) for _ in range(4)]))
        self.bias = nn.Parameter(torch.zeros(4 * h))
        self.input: nn.Parameter | None = None
        if cell == "counted":
            self.input = nn.Parameter(nn.init.xavier_uniform_(torch.empty(4 * h, h)))

    @property
    def settings(self) -> Settings:
        return Settings(
            code_dim=self.code_dim, init_scale=self.init_scale, normalise=self.normalise,
            vector_scale=self.vector_scale, cell=self.cell,
        )  # fmt: skip

    def _gate_inputs(self) -> torch.Tensor:
        """What each value contributes to the gates at each position, (D or 1, K, 4h)."""
        return self.W.repeat(1, 1, 4) if self.input is None else self.W @ self.input.t()

    def forward(
        self,
        indices: torch.Tensor,
        row_weights: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        rows = indices.t()
        if self._by_pytorch(indices):
            inputs = F.embedding(rows, self.W[0])
            if mask is not None:
                inputs = inputs * mask.t()[:, :, None].to(self.W.dtype)
            return self._project(self._read(inputs), row_weights)
        values = self._gate_inputs()
        if mask is None:
            values = values + self.bias
        if len(values) > 1:
            rows = rows + torch.arange(self.D, device=rows.device)[:, None] * self.K
        inputs = F.embedding(rows, values.flatten(0, 1))
        if mask is not None:
            inputs = torch.addcmul(self.bias, inputs, mask.t()[:, :, None].to(self.W.dtype))
        return self._run(inputs, row_weights)

    def compose_soft(self, weights: torch.Tensor) -> torch.Tensor:
        weights = weights.transpose(0, 1)
        if self._by_pytorch(weights):
            return self._project(self._read(weights @ self.W))
        return self._run(weights @ (self._gate_inputs() + self.bias))

    def _by_pytorch(self, given: torch.Tensor) -> bool:
        """Whether PyTorch's own LSTM reads codes: on a GPU one call takes the place of 500."""
        here = given.is_cuda and given.numel() > 0
        return here and self.input is not None and not is_traced(given)

    def _read(self, inputs: torch.Tensor) -> torch.Tensor:
        """Σ_j h_j for code embeddings (D, n, h) by PyTorch's own LSTM, (n, h)."""
        h = self.code_dim
        parts = []
        for tensor in (self.input, self.U, self.bias):
            assert tensor is not None
            i, f, o, m = tensor.chunk(4)
            parts += [i, f, m, o]
        # In one piece, as cuDNN takes them; the second bias is zeros.
        whole = torch.cat([part.flatten() for part in parts] + [torch.zeros_like(self.bias)])
        w_ih, w_hh, *biases = whole.split([4 * h * h, 4 * h * h, 4 * h, 4 * h])
        nothing = inputs.new_zeros(1, inputs.shape[1], h)
        outputs: torch.Tensor = torch.lstm(
            inputs, (nothing, nothing), [w_ih.view(4 * h, h), w_hh.view(4 * h, h), *biases],
            True, 1, 0.0, torch.is_grad_enabled(), False, False,
        )[0]  # fmt: skip
        return outputs.sum(0)

    def _run(self, inputs: torch.Tensor, row_weights: torch.Tensor | None = None) -> torch.Tensor:
        return self._project(summed_lstm(inputs, self.U), row_weights)


def build(settings: Settings, K: int, D: int, dim: int) -> LSTMTransform:
    """A transform with random weights, drawn from PyTorch's global generator."""
    return LSTMTransform(
        K, D, dim, code_dim=settings.code_dim, init_scale=settings.init_scale,
        normalise=settings.normalise, vector_scale=settings.vector_scale, cell=settings.cell,
    )  # fmt: skip


def summed_lstm(inputs: torch.Tensor, U: torch.Tensor) -> torch.Tensor:
    """Σ_j h_j of an LSTM whose gate inputs are given.

    Args:
        inputs: what enters the gates at each position, (D, n, 4h), in the order i, f, o, m.
        U: from h to the gates, (4h, h).

    Returns:
        Shape (n, h).
    """
    # PyTorch does not annotate it.
    apply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = _SummedLSTM.apply
    return apply(inputs, U)


class _SummedLSTM(torch.autograd.Function):
    """`summed_lstm` with its derivative written out.

    One product over all steps for U's gradient and no graph of small operations: about half
    the time of the same cell left to autograd.
    """

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, U: torch.Tensor) -> torch.Tensor:
        h = U.shape[1]
        gates: list[torch.Tensor] = []
        entering: list[torch.Tensor] = []
        memories: list[torch.Tensor] = []
        outputs: list[torch.Tensor] = []
        for j in range(len(inputs)):
            before = inputs[j] if j == 0 else linear(outputs[-1], U).add_(inputs[j])
            # Nothing in place that a derivative needs: `torch.export` leaves it to autograd.
            gate, m = before[:, : 3 * h].sigmoid(), before[:, 3 * h :].tanh()
            i, f, o = gate.chunk(3, dim=1)
            memory = i * m if j == 0 else (i * m).addcmul_(f, memories[-1])
            gates.append(gate)
            entering.append(m)
            memories.append(memory)
            outputs.append(torch.tanh(memory) * o)
        ctx.save_for_backward(U, *gates, *entering, *memories, *outputs)
        return torch.stack(outputs).sum(0)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        U, *saved = ctx.saved_tensors
        D = len(saved) // 4
        gates, entering = saved[:D], saved[D : 2 * D]
        memories, outputs = saved[2 * D : 3 * D], saved[3 * D :]
        grad_inputs = gates[0].new_empty(D, len(grad), len(U))
        carried = torch.zeros_like(grad)
        for j in reversed(range(D)):
            (i, f, o), m = gates[j].chunk(3, dim=1), entering[j]
            di, df, do, dm = grad_inputs[j].chunk(4, dim=1)
            arriving = grad if j == D - 1 else grad + linear(grad_inputs[j + 1], U.t())
            squashed = torch.tanh(memories[j])
            carried = torch.addcmul(carried, arriving * o, 1 - squashed * squashed)
            do.copy_(arriving * squashed * (o * (1 - o)))
            di.copy_(carried * m * (i * (1 - i)))
            dm.copy_(carried * i * (1 - m * m))
            if j > 0:
                df.copy_(carried * memories[j - 1] * (f * (1 - f)))
                carried = carried * f
            else:
                df.zero_()
        if D == 1:
            return grad_inputs, torch.zeros_like(U)
        before = torch.stack(outputs[:-1]).flatten(0, 1)
        return grad_inputs, linear(grad_inputs[1:].flatten(0, 1).t(), before.t())
