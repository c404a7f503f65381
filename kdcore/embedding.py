"""A drop-in for `torch.nn.Embedding` whose rows are composed from KD codes (Figure 1b)."""

import copy
import inspect
import math
from numbers import Integral

import torch
from torch import nn

from kdcore.codes import Codes, symbol_bits, unpack_at
from kdcore.errors import KDError
from kdcore.transforms import TRANSFORMS, Transform


class KDEmbedding(nn.Module):
    """v_s = f(W^1[c_s^1], …, W^D[c_s^D]; θ) for a symbol s with the fixed code c_s.

    Called like `torch.nn.Embedding`: integer ids of any shape (…) give vectors
    (…, embedding_dim). Memory is that of the transform plus N·D·⌈log2 K⌉ bits; the packed
    codes are a buffer, so `state_dict` and `.to(device)` carry them; `state_dict` has their N, K
    and D too, and one of another shape is refused.

    Args:
        codes: the code of every symbol.
        embedding_dim: size d of a vector; not given with a ready `Transform`.
        transform: a name in `TRANSFORMS`, or a ready `Transform` of the same K and D.
        padding_idx: this id gives zeros and no gradient, and has no part in the statistics of a
            transform with `normalise`.
        gradient_scale: multiplies the gradient that reaches the transform. A step of an LSTM
            moves the vectors of all symbols at once: under SGD at rate 1 it needs smaller ones
            than the model around it.
        dropout: in training each code embedding vector of a symbol is left out with this
            probability, and what is left divided by 1 − dropout; one choice for all places at
            which the symbol stands in a batch, from PyTorch's global generator. With `normalise`,
            the running statistics are those of sums with dropout: what eval mode composes is, for
            the linear transform, the mean of what training does.
        settings: further arguments of the named transform, such as `code_dim`
            or `normalise`.

    The buffer `packed` holds bits, no numbers: an average of models must leave it alone, as
    `torch.optim.swa_utils.AveragedModel` does unless told `use_buffers=True`.

    Raises:
        KDError: codes that are none, an unknown transform or setting, settings beside a ready
            transform, a transform that does not fit the codes, a dropout outside [0, 1), or a
            gradient_scale that is not above 0.
    """

    def __init__(
        self, codes: Codes, embedding_dim: int | None = None, transform: str | Transform = "linear",
        *, padding_idx: int | None = None, gradient_scale: float = 1.0,
        dropout: float = 0.0, **settings,
    ):  # fmt: skip
        super().__init__()
        if not isinstance(codes, Codes):
            raise KDError(f"codes are a {type(codes).__name__}; Codes(symbols, K) makes some")
        if isinstance(transform, str):
            if transform not in TRANSFORMS:
                known = ", ".join(sorted(TRANSFORMS))
                raise KDError(f"transform {transform!r} is unknown; there are: {known}")
            if embedding_dim is None:
                raise KDError("embedding_dim is needed to make a transform by name")
            made = TRANSFORMS[transform]
            known = inspect.signature(made).parameters.keys() - {"K", "D", "dim"}
            if unknown := sorted(settings.keys() - known):
                raise KDError(
                    f"the {transform} transform has no setting {unknown[0]!r}; there are: "
                    f"{', '.join(sorted(known))}"
                )
            transform = made(codes.K, codes.D, embedding_dim, **settings)
        elif settings:
            raise KDError(f"{sorted(settings)[0]!r} is for a transform by name, not a ready one")
        if (transform.K, transform.D) != (codes.K, codes.D):
            raise KDError(
                f"the transform is for K = {transform.K}, D = {transform.D}, "
                f"the codes have K = {codes.K}, D = {codes.D}"
            )
        if embedding_dim not in (None, transform.dim):
            raise KDError(f"embedding_dim is {embedding_dim}, the transform gives {transform.dim}")
        self.transform = transform
        self.K, self.D = codes.K, codes.D
        self.num_embeddings = len(codes)
        self.embedding_dim = transform.dim
        if padding_idx is not None:
            if not isinstance(padding_idx, Integral):
                raise KDError(f"padding_idx is {padding_idx!r}; it is an integer")
            if not -len(codes) <= padding_idx < len(codes):
                raise KDError(f"padding_idx {padding_idx} is outside the {len(codes)} symbols")
            padding_idx = int(padding_idx) % len(codes)
        self.padding_idx = padding_idx
        if not 0 <= dropout < 1:
            raise KDError(f"dropout is {dropout}; it is at least 0 and below 1")
        if not 0 < gradient_scale < math.inf:
            raise KDError(f"gradient_scale is {gradient_scale}; it is above 0 and finite")
        self.gradient_scale, self.dropout = gradient_scale, dropout
        self.register_buffer("packed", codes.packed.clone())

    def get_extra_state(self) -> torch.Tensor:
        """N, K and D, which the packed codes do not tell."""
        return torch.tensor([self.num_embeddings, self.K, self.D])

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Nothing: it has been compared before anything was loaded."""

    def _load_from_state_dict(self, state_dict, prefix, *rest) -> None:
        own, name = self.get_extra_state().tolist(), f"{prefix}_extra_state"
        # Absent where a state was stored before it was kept.
        found = state_dict.setdefault(name, self.get_extra_state()).tolist()
        if found != own:
            shapes = ["N = {}, K = {}, D = {}".format(*shape) for shape in (found, own)]
            raise KDError(f"the codes to load have {shapes[0]}, the embedding's {shapes[1]}")
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @property
    def codes(self) -> Codes:
        """The codes in use."""
        return Codes.from_packed(self.packed.cpu(), self.K, (self.num_embeddings, self.D))

    def _kept(self, symbols: int) -> torch.Tensor | None:
        """What multiplies the code embedding vectors of so many symbols, (symbols, D)."""
        if not self.training or self.dropout == 0:
            return None
        ones = torch.ones(symbols, self.D, device=self.packed.device)
        return nn.functional.dropout(ones, self.dropout)

    def _compose(
        self, ids: torch.Tensor, kept: torch.Tensor | None, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        positions = ids[:, None] * self.D + torch.arange(self.D, device=ids.device)
        symbols = unpack_at(self.packed, positions, symbol_bits(self.K))
        # A transform of one's own need not know of dropout.
        options = {} if kept is None else {"factors": kept}
        vectors = self.transform(symbols, weights, **options)
        if self.gradient_scale != 1 and vectors.requires_grad:
            # The same numbers; of the gradient, all that the parameters get passes here.
            vectors = torch.lerp(vectors.detach(), vectors, self.gradient_scale)
        return vectors

    def _compose_distinct(self, ids: torch.Tensor) -> torch.Tensor:
        distinct, inverse = torch.unique(ids, return_inverse=True)
        if len(distinct) and not 0 <= int(distinct[0]) <= int(distinct[-1]) < self.num_embeddings:
            raise IndexError(f"id out of range for {self.num_embeddings} symbols")
        if self.padding_idx is None:
            return self._compose(distinct, self._kept(len(distinct)))[inverse]
        others = distinct != self.padding_idx
        vectors = self._compose(distinct[others], self._kept(int(others.sum())))
        table = vectors.new_zeros(len(distinct), self.embedding_dim)
        return table.masked_scatter(others[:, None], vectors)[inverse]

    def _compose_each(self, ids: torch.Tensor) -> torch.Tensor:
        """The same without a size that depends on the ids, for which the host would wait."""
        # As they are, but for the device's own check of their range.
        symbols = torch.arange(self.num_embeddings, device=ids.device)
        ids = symbols.index_select(0, ids)
        if not self.training:
            return self._compose(ids, None)
        ones = torch.ones_like(ids, dtype=torch.float32)
        times = ones.new_zeros(self.num_embeddings).index_add_(0, ids, ones)
        count = ids.shape[0]
        kept = self._kept(count)
        if kept is not None:
            # All places of a symbol share what was drawn for the first of them.
            places = torch.arange(count, device=ids.device)
            first = torch.full_like(times, count, dtype=torch.long)
            kept = kept[first.scatter_reduce_(0, ids, places, "amin")[ids]]
        weights = 1 / times[ids]
        if self.padding_idx is not None:
            weights = weights.masked_fill(ids == self.padding_idx, 0.0)
        return self._compose(ids, kept, weights)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Ids (…) to vectors (…, embedding_dim).

        On a CPU equal ids are composed once. Elsewhere, and in `torch.compile` and
        `torch.export`, each id is, so that no size depends on the ids' values; vectors and
        gradients are the same up to rounding.

        Raises:
            TypeError: ids that are not integers.
            IndexError: an id outside 0 … num_embeddings − 1 (on a GPU, PyTorch's own check on
                the device).
        """
        if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
            raise TypeError(f"ids must be integers, not {ids.dtype}")
        flat = ids.reshape(-1).long()
        once = flat.device.type == "cpu" and not torch.compiler.is_compiling()
        vectors = self._compose_distinct(flat) if once else self._compose_each(flat)
        if self.padding_idx is not None:
            vectors = vectors.masked_fill((flat == self.padding_idx)[:, None], 0.0)
        return vectors.view(*ids.shape, self.embedding_dim)

    @torch.no_grad()
    def materialise(self) -> nn.Embedding:
        """The whole table as a frozen `torch.nn.Embedding`, for the fastest inference."""
        table = self.transform.table(self.codes.tensor().to(self.packed.device))
        if self.padding_idx is not None:
            table[self.padding_idx] = 0.0
        return nn.Embedding.from_pretrained(table, freeze=True, padding_idx=self.padding_idx)

    @classmethod
    def from_pretrained(
        cls, codes: Codes, transform: Transform, *, freeze: bool = True,
        padding_idx: int | None = None, gradient_scale: float = 1.0, dropout: float = 0.0,
    ) -> "KDEmbedding":  # fmt: skip
        """An embedding from what `learn_codes` returned: its codes and a copy of its transform.

        Args:
            freeze: whether the transform stays as it is when the model around it trains.
            padding_idx, gradient_scale, dropout: as of the class.
        """
        embedding = cls(
            codes, transform=copy.deepcopy(transform), padding_idx=padding_idx,
            gradient_scale=gradient_scale, dropout=dropout,
        )  # fmt: skip
        embedding.transform.requires_grad_(not freeze)
        return embedding

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, K={self.K}, D={self.D}"
