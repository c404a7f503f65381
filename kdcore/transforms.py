"""Transformation functions f: from code embedding vectors to a symbol's vector (Section 2.2).

A transform owns the code embedding matrices W^1 … W^D and its own parameters θ, and knows
two ways of composing: from discrete symbols, and from weights over the K values of each
position, which code learning (Algorithm 1) differentiates.
"""

import math
from abc import ABC, abstractmethod
from numbers import Integral
from typing import get_args

import torch
import torch.nn.functional as F
from torch import nn

from kdcore.codes import check_shape
from kdcore.errors import KDError
from kdcore.products import linear
from kdcore.settings.codes import Cell


class Transform(nn.Module, ABC):
    """f(W^1[c_1], …, W^D[c_D]; θ) = (a sum over the positions)ᵀ H.

    Without `normalise`, H is present where the summed vectors' size d′ is not d (or always,
    for the LSTM), and starts as `torch.nn.init.xavier_uniform_`.

    With `normalise`, what enters H is standardised component by component over the symbols of
    a batch (`torch.nn.BatchNorm1d` without parameters; running statistics in eval mode) and
    scaled to a mean squared norm of D, which is that of D one-hot choices. H starts so that
    composed vectors have unit variance. Under plain SGD at rate 1, as in Section 3, an H that
    sees sums of any size has by far the largest gradient of the model: the common clipping
    norm then holds everything else back. The paper's formulas leave this scale open.

    Attributes:
        K, D: values per position and positions.
        dim: size d of a composed vector.
        code_dim: size d′ of a code embedding vector.
    """

    H: nn.Parameter | None

    def __init__(
        self, K: int, D: int, dim: int, code_dim: int, *, projection: bool, normalise: bool
    ):
        super().__init__()
        check_shape(K, D)
        for name, size in (("vectors", dim), ("code embedding vectors", code_dim)):
            if not isinstance(size, Integral) or size < 1:
                raise KDError(f"the size of {name} is {size!r}; it is an integer above 0")
        self.K, self.D, self.dim, self.code_dim = int(K), int(D), int(dim), int(code_dim)
        self.H = self.norm = None
        if projection:
            self.H = nn.Parameter(nn.init.xavier_uniform_(torch.empty(code_dim, dim)))
            if normalise:
                self.norm = nn.BatchNorm1d(code_dim, affine=False)
                nn.init.uniform_(self.H, -math.sqrt(3 / D), math.sqrt(3 / D))

    def _project(self, total: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Sums over the positions, (n, code_dim), to vectors (n, dim)."""
        if self.norm is not None:
            # A frozen transform stays as it is while what is around it trains.
            self.norm.train(self.training and self.H.requires_grad)
            if self.norm.training and weights is not None:
                total = self._standardise(total, weights)
            elif self.norm.training and len(total) < 2:
                # One symbol has no spread of its own.
                total = (total - self.norm.running_mean) / self.norm.running_var.sqrt()
            else:
                total = self.norm(total)
            total = total * math.sqrt(self.D / self.code_dim)
        return total if self.H is None else total @ self.H

    def _standardise(self, total: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """What `norm` does in training, with weighted rows; nothing is read back from a GPU."""
        norm, count, kind = self.norm, weights.sum(), total.dtype
        total = total.float() if total.dtype.itemsize < 4 else total
        # A sum of weights is not exact: one symbol seen 7 times may add up to 1.0000001.
        alone = count < 1.5
        shares = (weights / count.clamp(min=0.5))[:, None]
        mean = torch.where(alone, norm.running_mean, (shares * total).sum(0))
        centred = total - mean
        spread = (shares * centred.square()).sum(0)
        with torch.no_grad():
            step = norm.momentum * ~alone
            norm.num_batches_tracked += ~alone
            unbiased = spread * count / (count - 1).clamp(min=0.5)
            for running, now in ((norm.running_mean, mean), (norm.running_var, unbiased)):
                running.copy_(torch.lerp(running.to(now.dtype), now, step.to(now.dtype)))
        # The running variance stands for itself, as in the case of one row above.
        return (centred * torch.where(alone, norm.running_var, spread + norm.eps).rsqrt()).to(kind)

    @abstractmethod
    def forward(
        self,
        symbols: torch.Tensor,
        weights: torch.Tensor | None = None,
        factors: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Discrete codes, int64 (n, D), to vectors (n, dim).

        Args:
            weights: how much each row counts where `normalise` standardises over them, (n,);
                a symbol that stands in m rows counts once with 1/m in each. By default 1.
            factors: multiply the code embedding vectors W^j[c_j], (n, D). By default 1.
        """

    @abstractmethod
    def mix(self, weights: torch.Tensor) -> torch.Tensor:
        """Weights over the K values, (n, D, K), to vectors (n, dim).

        With one-hot weights the result is that of `forward`.
        """

    @torch.no_grad()
    def table(self, symbols: torch.Tensor, piece: int = 10_000) -> torch.Tensor:
        """What `forward` gives in eval mode, without gradient and `piece` codes at a time.

        Memory beyond the result does not grow with the number of codes.

        Args:
            symbols: discrete codes, int64 (n, D).

        Returns:
            Shape (n, dim).
        """
        training = self.training
        self.eval()
        vectors = next(self.parameters()).new_empty(len(symbols), self.dim)
        for part, into in zip(symbols.split(piece), vectors.split(piece), strict=True):
            into.copy_(self(part))
        self.train(training)
        return vectors

    @torch.no_grad()
    def rescale(self, factor: float) -> None:
        """Multiply every composed vector by `factor`, in place: H, or W where there is no H."""
        (self.W if self.H is None else self.H).mul_(factor)

    def parameter_count(self) -> int:
        """Numbers that are trained, counted one by one."""
        return sum(p.numel() for p in self.parameters())


class LinearTransform(Transform):
    """v = (Σ_j W^j[c_j])ᵀ H; without H where d′ = d.

    Size: K·D·d′ (Lemma 1) + d′·d where H is present.

    Args:
        code_dim: d′; by default d.
        init_scale: W starts uniform in ±init_scale.
        normalise: see `Transform`; of no effect without H.

    Raises:
        KDError: a shape that cannot be.
    """

    def __init__(
        self, K: int, D: int, dim: int, *, code_dim: int | None = None,
        init_scale: float = 0.1, normalise: bool = False,
    ):  # fmt: skip
        code_dim = dim if code_dim is None else code_dim
        super().__init__(K, D, dim, code_dim, projection=code_dim != dim, normalise=normalise)
        self.W = nn.Parameter(torch.empty(D, K, code_dim).uniform_(-init_scale, init_scale))

    def forward(
        self,
        symbols: torch.Tensor,
        weights: torch.Tensor | None = None,
        factors: torch.Tensor | None = None,
    ) -> torch.Tensor:
        total = F.embedding_bag(
            symbols + torch.arange(self.D, device=symbols.device) * self.K,
            self.W.flatten(0, 1),
            mode="sum",
            per_sample_weights=None if factors is None else factors.to(self.W.dtype),
        )
        return self._project(total, weights)

    def mix(self, weights: torch.Tensor) -> torch.Tensor:
        return self._project(weights.flatten(1) @ self.W.flatten(0, 1))


class LSTMTransform(Transform):
    """v = (Σ_j h_j)ᵀ H, with h_j the outputs of an LSTM that reads the code.

    `cell="printed"` is the cell of Section 2.2: each position has its own W^j, which enters
    all four gates as it is; size K·D·d′ + 4h² + 4h + h·d with h = d′.
    `cell="counted"` is the cell whose size is the one in Table 1: one W for all positions and
    an input matrix; size K·d′ + 4h(d′+h) + 4h + h·d.

    Args:
        code_dim: d′ = h; by default d.
        init_scale: the code embeddings start uniform in ±init_scale.
        normalise: see `Transform`.

    Raises:
        KDError: a shape that cannot be, or an unknown cell.
    """

    def __init__(
        self, K: int, D: int, dim: int, *, code_dim: int | None = None,
        init_scale: float = 0.1, cell: Cell = "counted", normalise: bool = False,
    ):  # fmt: skip
        h = dim if code_dim is None else code_dim
        super().__init__(K, D, dim, h, projection=True, normalise=normalise)
        if cell not in get_args(Cell):
            raise KDError(f"cell {cell!r} is unknown; there are: {', '.join(get_args(Cell))}")
        self.cell = cell
        positions = D if cell == "printed" else 1
        self.W = nn.Parameter(torch.empty(positions, K, h).uniform_(-init_scale, init_scale))
        # Gates in the order i, f, o, m.
        self.U = nn.Parameter(torch.cat([nn.init.orthogonal_(torch.empty(h, h)) for _ in range(4)]))
        self.bias = nn.Parameter(torch.zeros(4 * h))
        self.input = None
        if cell == "counted":
            self.input = nn.Parameter(nn.init.xavier_uniform_(torch.empty(4 * h, h)))

    def _gate_table(self) -> torch.Tensor:
        """What each value contributes to the gates at each position, (D or 1, K, 4h)."""
        return self.W.repeat(1, 1, 4) if self.input is None else self.W @ self.input.t()

    def forward(
        self,
        symbols: torch.Tensor,
        weights: torch.Tensor | None = None,
        factors: torch.Tensor | None = None,
    ) -> torch.Tensor:
        table = self._gate_table()
        if factors is None:
            table = table + self.bias
        rows = symbols.t()
        if len(table) > 1:
            rows = rows + torch.arange(self.D, device=rows.device)[:, None] * self.K
        inputs = F.embedding(rows, table.flatten(0, 1))
        if factors is not None:
            factors = factors.t()[:, :, None].to(self.W.dtype)
            inputs = torch.addcmul(self.bias, inputs, factors)
        return self._run(inputs, weights)

    def mix(self, weights: torch.Tensor) -> torch.Tensor:
        return self._run(weights.transpose(0, 1) @ (self._gate_table() + self.bias))

    def _run(self, inputs: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        return self._project(_SummedLSTM.apply(inputs, self.U), weights)


class _SummedLSTM(torch.autograd.Function):
    """Σ_j h_j of an LSTM whose gate inputs are given; the derivative is written out.

    One product over all steps for U's gradient and no graph of small operations: about half
    the time of the same cell left to autograd.
    """

    @staticmethod
    def forward(ctx, inputs, U):
        """Gate inputs (D, n, 4h) in the order i, f, o, m; U (4h, h); result (n, h)."""
        h = U.shape[1]
        gates, entering, memories, outputs = [], [], [], []
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
    def backward(ctx, grad):
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


TRANSFORMS: dict[str, type[Transform]] = {"linear": LinearTransform, "lstm": LSTMTransform}
