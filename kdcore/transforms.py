"""Transformation functions f: from code embedding vectors to a symbol's vector (Section 2.2).

A transform owns the code embedding matrices W^1 … W^D and its own parameters θ, and knows
two ways of composing: from discrete symbols, and from weights over the K values of each
position, which code learning (Algorithm 1) differentiates.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import nn

from kdcore.codes import check_shape
from kdcore.settings.codes import Cell
from kdcore.softmax import linear

class Transform(nn.Module, ABC):
    """f(W^1[c_1], …, W^D[c_D]; θ).

    Attributes:
        K, D: values per position and positions.
        dim: size d of a composed vector.
        code_dim: size d′ of a code embedding vector.
    """

    def __init__(self, K: int, D: int, dim: int, code_dim: int):
        super().__init__()
        check_shape(K, D)
        self.K, self.D, self.dim, self.code_dim = K, D, dim, code_dim

    @abstractmethod
    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        """Discrete codes, int64 (n, D), to vectors (n, dim)."""

    @abstractmethod
    def mix(self, weights: torch.Tensor) -> torch.Tensor:
        """Weights over the K values, (n, D, K), to vectors (n, dim).

        With one-hot weights the result is that of `forward`.
        """

    @abstractmethod
    def rescale(self, factor: float) -> None:
        """Multiply every composed vector by `factor`, in place."""

    def parameter_count(self) -> int:
        """Numbers that are trained, counted one by one."""
        return sum(p.numel() for p in self.parameters())


class LinearTransform(Transform):
    """v = (Σ_j W^j[c_j])ᵀ H; without H where d′ = d (`projection=None`).

    Size: K·D·d′ (Lemma 1) + d′·d where H is present.

    Args:
        init_scale: W starts uniform in ±init_scale; H as `torch.nn.init.xavier_uniform_`.
        projection: whether H is present; by default where code_dim ≠ dim.
    """

    def __init__(
        self, K: int, D: int, dim: int, *, code_dim: int | None = None,
        init_scale: float = 0.1, projection: bool | None = None,
    ):  # fmt: skip
        code_dim = dim if code_dim is None else code_dim
        super().__init__(K, D, dim, code_dim)
        self.W = nn.Parameter(torch.empty(D, K, code_dim).uniform_(-init_scale, init_scale))
        self.H = None
        if projection if projection is not None else code_dim != dim:
            self.H = nn.Parameter(nn.init.xavier_uniform_(torch.empty(code_dim, dim)))
        self.register_buffer("first", torch.arange(D) * K, persistent=False)

    def _project(self, total: torch.Tensor) -> torch.Tensor:
        return total if self.H is None else total @ self.H

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        return self._project(
            F.embedding_bag(symbols + self.first, self.W.flatten(0, 1), mode="sum")
        )

    @torch.no_grad()
    def rescale(self, factor: float) -> None:
        (self.W if self.H is None else self.H).mul_(factor)

    def mix(self, weights: torch.Tensor) -> torch.Tensor:
        return self._project(weights.flatten(1) @ self.W.flatten(0, 1))


class LSTMTransform(Transform):
    """v = (Σ_j h_j)ᵀ H, with h_j the outputs of an LSTM that reads the code.

    `cell="printed"` is the cell of Section 2.2: each position has its own W^j, which enters
    all four gates as it is; size K·D·d′ + 4h² + 4h + h·d with h = d′.
    `cell="counted"` is the cell whose size is the one in Table 1: one W for all positions and
    an input matrix; size K·d′ + 4h(d′+h) + 4h + h·d.

    Args:
        init_scale: the code embeddings start uniform in ±init_scale.
    """

    def __init__(
        self, K: int, D: int, dim: int, *, code_dim: int | None = None,
        init_scale: float = 0.1, cell: Cell = "counted",
    ):  # fmt: skip
        h = dim if code_dim is None else code_dim
        super().__init__(K, D, dim, h)
        self.cell = cell
        positions = D if cell == "printed" else 1
        self.W = nn.Parameter(torch.empty(positions, K, h).uniform_(-init_scale, init_scale))
        # Gates in the order i, f, o, m.
        self.U = nn.Parameter(torch.cat([nn.init.orthogonal_(torch.empty(h, h)) for _ in range(4)]))
        self.bias = nn.Parameter(torch.zeros(4 * h))
        self.input = None
        if cell == "counted":
            self.input = nn.Parameter(nn.init.xavier_uniform_(torch.empty(4 * h, h)))
        self.H = nn.Parameter(nn.init.xavier_uniform_(torch.empty(h, dim)))

    def _gate_table(self) -> torch.Tensor:
        """What each value contributes to the gates at each position, (D or 1, K, 4h)."""
        if self.input is None:
            return self.W.repeat(1, 1, 4) + self.bias
        return self.W @ self.input.t() + self.bias

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        table = self._gate_table()
        rows = symbols.t()
        if len(table) > 1:
            rows = rows + torch.arange(self.D, device=rows.device)[:, None] * self.K
        return self._run(F.embedding(rows, table.flatten(0, 1)))

    def mix(self, weights: torch.Tensor) -> torch.Tensor:
        return self._run(weights.transpose(0, 1) @ self._gate_table())

    @torch.no_grad()
    def rescale(self, factor: float) -> None:
        self.H.mul_(factor)

    def _run(self, inputs: torch.Tensor) -> torch.Tensor:
        return _SummedLSTM.apply(inputs, self.U) @ self.H


class _SummedLSTM(torch.autograd.Function):
    """Σ_j h_j of an LSTM whose gate inputs are given; the derivative is written out.

    One product over all steps for U's gradient and no graph of small operations: about half
    the time of the same cell left to autograd.
    """

    @staticmethod
    def forward(ctx, inputs, U):
        """Gate inputs (D, n, 4h) in the order i, f, o, m; U (4h, h); result (n, h)."""
        h = U.shape[1]
        gates, memories, outputs = [], [], []
        for j in range(len(inputs)):
            gate = inputs[j].clone() if j == 0 else linear(outputs[-1], U).add_(inputs[j])
            gate[:, : 3 * h].sigmoid_()
            gate[:, 3 * h :].tanh_()
            i, f, o, m = gate.chunk(4, dim=1)
            memory = i * m if j == 0 else (i * m).addcmul_(f, memories[-1])
            gates.append(gate)
            memories.append(memory)
            outputs.append(torch.tanh(memory).mul_(o))
        ctx.save_for_backward(U, *gates, *memories, *outputs)
        return torch.stack(outputs).sum(0)

    @staticmethod
    def backward(ctx, grad):
        U, *saved = ctx.saved_tensors
        D = len(saved) // 3
        gates, memories, outputs = saved[:D], saved[D : 2 * D], saved[2 * D :]
        grad_inputs = gates[0].new_empty(D, *gates[0].shape)
        carried = torch.zeros_like(grad)
        for j in reversed(range(D)):
            i, f, o, m = gates[j].chunk(4, dim=1)
            di, df, do, dm = grad_inputs[j].chunk(4, dim=1)
            arriving = grad if j == D - 1 else grad + linear(grad_inputs[j + 1], U.t())
            squashed = torch.tanh(memories[j])
            carried = torch.addcmul(carried, arriving * o, 1 - squashed * squashed)
            torch.mul(arriving * squashed, o * (1 - o), out=do)
            torch.mul(carried * m, i * (1 - i), out=di)
            torch.mul(carried * i, 1 - m * m, out=dm)
            if j > 0:
                torch.mul(carried * memories[j - 1], f * (1 - f), out=df)
                carried = carried * f
            else:
                df.zero_()
        if D == 1:
            return grad_inputs, torch.zeros_like(U)
        before = torch.stack(outputs[:-1]).flatten(0, 1)
        return grad_inputs, linear(grad_inputs[1:].flatten(0, 1).t(), before.t())


TRANSFORMS: dict[str, type[Transform]] = {"linear": LinearTransform, "lstm": LSTMTransform}
