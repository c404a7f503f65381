"""A drop-in for `torch.nn.Embedding` whose rows are composed from KD codes (Figure 1b)."""

import copy
import math
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

import torch
from pydantic import Field
from torch import nn

from kdcore.codes import Codes, check_codes, code_bits, index_bits, unpack_at
from kdcore.embeddings import Embedding, check_ids, frozen_table, guarded, stored_tensor
from kdcore.encoding import encode
from kdcore.errors import KDError
from kdcore.kinds import KindSettings
from kdcore.learners import LearnedCodes
from kdcore.tensors import is_traced
from kdcore.transforms import TRANSFORMS, Transform, check_transform

# Rows that are unpacked at a time.
PIECE = 10_000
# Codes that take no more as rows of code books are kept for lookups in the type that indexes.
INDEXING_BYTES = 64 << 20
# Settings of kinds that export codes have it, too.
PackingName = Literal["index", "code"]
PACKINGS: tuple[PackingName, ...] = get_args(PackingName)
Packing = Annotated[
    PackingName,
    Field(
        description="how codes are stored: `index`, ⌈log2 K⌉ bits an index; `code`, ⌈D·log2 K⌉ "
        "bits a code"
    ),
]


class KDEmbedding(Embedding):
    """v_s = f(W^1[c_s^1], …, W^D[c_s^D]; θ) for a word s with the fixed code c_s.

    Called like `torch.nn.Embedding`: integer ids of any shape (…) give vectors
    (…, embedding_dim). Memory is that of the transform plus N·D·⌈log2 K⌉ bits; the packed
    codes are a buffer, so `state_dict` and `.to(device)` carry them; `state_dict` has their N, K
    and D too, and one of another shape is refused.

    Args:
        codes: the code of every word.
        embedding_dim: size d of a vector; not given with a ready `Transform`.
        transform: a kind's name in `TRANSFORMS`, or a ready `Transform` of the same K and D.
        padding_idx: this id gives zeros and no gradient, and has no part in the statistics of a
            transform with `normalise`.
        gradient_scale: multiplies the gradient that reaches the transform. A step of an LSTM
            moves the vectors of all words at once: under SGD at rate 1 it needs smaller ones
            than the model around it.
        dropout: in training each code embedding vector of a word is left out with this
            probability, and what is left divided by 1 − dropout; one choice for all places at
            which the word stands in a batch, from PyTorch's global generator. With `normalise`,
            the running statistics are those of sums with dropout: what eval mode composes is, for
            the linear transform, the mean of what training does.
        packing: what `export` stores the codes at: "index", ⌈log2 K⌉ bits an index, or "code",
            ⌈D·log2 K⌉ bits a code.
        settings: settings of the named transform, such as `code_dim` or `normalise`.

    The buffer `packed` holds bits, no numbers: an average of models must leave it alone, as
    `torch.optim.swa_utils.AveragedModel` does unless told `use_buffers=True`.

    Raises:
        KDError: codes that are none, an unknown transform or setting, settings beside a ready
            transform, a transform that does not fit the codes, a dropout outside [0, 1), a
            gradient_scale that is not above 0, or an unknown packing.
    """

    packed: torch.Tensor

    def __init__(
        self, codes: Codes, embedding_dim: int | None = None, transform: str | Transform = "linear",
        *, padding_idx: int | None = None, gradient_scale: float = 1.0,
        dropout: float = 0.0, packing: Packing = "index", **settings: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        check_codes(codes)
        if isinstance(transform, str):
            if embedding_dim is None:
                raise KDError("embedding_dim must be given with a transform by name, got None")
            chosen = TRANSFORMS.parse({"kind": transform, **settings}, "transform")
            made: Transform = chosen.module.build(chosen, codes.K, codes.D, embedding_dim)
        elif settings:
            raise KDError(f"{sorted(settings)[0]!r} must go with a transform by name, got one made")
        else:
            made = check_transform(transform)
        if (made.K, made.D) != (codes.K, codes.D):
            raise KDError(
                f"transform must be for K = {codes.K}, D = {codes.D} as the codes are, "
                f"got K = {made.K}, D = {made.D}"
            )
        if embedding_dim not in (None, made.dim):
            raise KDError(
                f"embedding_dim must be {made.dim} as the transform gives, got {embedding_dim}"
            )
        self.transform = made
        self.K, self.D = codes.K, codes.D
        self.num_embeddings = len(codes)
        self.embedding_dim = made.dim
        if padding_idx is not None:
            if not isinstance(padding_idx, Integral):
                raise KDError(f"padding_idx must be an integer, got {padding_idx!r}")
            N = len(codes)
            if not -N <= padding_idx < N:
                raise KDError(f"padding_idx must be from {-N} to {N - 1}, got {padding_idx}")
            padding_idx = int(padding_idx) % N
        self.padding_idx = padding_idx
        if not 0 <= dropout < 1:
            raise KDError(f"dropout must be at least 0 and below 1, got {dropout}")
        if not 0 < gradient_scale < math.inf:
            raise KDError(f"gradient_scale must be above 0 and finite, got {gradient_scale}")
        if packing not in PACKINGS:
            raise KDError(f"packing must be one of {', '.join(PACKINGS)}, got {packing!r}")
        self.gradient_scale, self.dropout, self.packing = gradient_scale, dropout, packing
        beside = next(made.parameters(), codes.packed).device
        self.register_buffer("packed", codes.packed.to(beside, copy=True))
        self._kept: _Kept | None = None
        self._lookups = 0

    def get_extra_state(self) -> torch.Tensor:
        """N, K and D, which the packed codes do not tell."""
        return torch.tensor([self.num_embeddings, self.K, self.D], device="cpu")

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Nothing: it has been compared before anything was loaded."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        own, name = self.get_extra_state().tolist(), f"{prefix}_extra_state"
        # Absent where a state was stored before it was kept.
        found = state_dict.setdefault(name, self.get_extra_state()).tolist()
        if found != own:
            wanted, got = ("N = {}, K = {}, D = {}".format(*shape) for shape in (own, found))
            raise KDError(f"codes to load must have {wanted}, got {got}")
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @property
    def codes(self) -> Codes:
        """The codes in use."""
        return Codes.from_packed(self.packed.cpu(), self.K, (self.num_embeddings, self.D))

    def _dropout_mask(self, words: int) -> torch.Tensor | None:
        """What multiplies the code embedding vectors of so many words, (words, D)."""
        if not self.training or self.dropout == 0:
            return None
        ones = torch.ones(words, self.D, device=self.packed.device)
        return nn.functional.dropout(ones, self.dropout)

    def _indices(self, ids: torch.Tensor) -> torch.Tensor:
        """The codes of some words, (n, D)."""
        positions = ids[:, None] * self.D + torch.arange(self.D, device=ids.device)
        return unpack_at(self.packed, positions, index_bits(self.K))

    def _compose_sums(self, ids: torch.Tensor) -> torch.Tensor:
        """Each id for itself, in eval mode: finding those that are equal would take longer."""
        # Another thread may set what is kept meanwhile.
        self._kept = kept = self._rows_worth_keeping(ids.shape[0])
        if kept is not None:
            return self._scaled(kept.compose(kept.rows_of(ids)))
        check_ids(ids, self.num_embeddings)
        return self._compose(ids, None)

    def _rows_worth_keeping(self, asked: int) -> "_Kept | None":
        """All codes as rows of the code books, once it is worth it: it takes a tenth of the time.

        They are made at the 16th lookup, or when a quarter of the words have been asked for: of a
        type that indexes, or where that takes more than `INDEXING_BYTES`, of the smallest that
        holds them. To convert them takes a seventh of the time of a small lookup.
        """
        packed, transform = self.packed, self.transform
        offsets = transform.row_offsets
        if offsets is None or not _is_plain(self) or packed.is_inference():
            return None
        self._lookups += max(asked, self.num_embeddings // 64)
        if 4 * self._lookups < self.num_embeddings:
            return None
        largest = int(offsets.max()) + self.K - 1
        kinds: tuple[torch.dtype, ...] = (torch.int32, torch.int64)
        if 4 * self.num_embeddings * self.D > INDEXING_BYTES:
            kinds = (torch.uint8, torch.int16, *kinds)
        small = next(kind for kind in kinds if largest <= torch.iinfo(kind).max)
        table = torch.empty(self.num_embeddings, self.D, dtype=small, device=packed.device)
        for first in range(0, self.num_embeddings, PIECE):
            last = min(first + PIECE, self.num_embeddings)
            rows = torch.arange(first, last, device=packed.device)
            table[first:last] = self._indices(rows) + offsets
        narrow, compose = small.itemsize < 4, transform.row_composer()
        return _Kept(packed, packed._version, transform, table, narrow, compose)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None, "_lookups": 0}

    def _scaled(self, vectors: torch.Tensor) -> torch.Tensor:
        """The same numbers; of the gradient, all that the parameters get passes here."""
        if self.gradient_scale != 1 and vectors.requires_grad:
            return torch.lerp(vectors.detach(), vectors, self.gradient_scale)
        return vectors

    def _compose(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor | None,
        row_weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        indices = self._indices(ids)
        # A transform of one's own need not know of dropout.
        options = {} if mask is None else {"mask": mask}
        return self._scaled(self.transform(indices, row_weights, **options))

    def _compose_distinct(self, ids: torch.Tensor) -> torch.Tensor:
        distinct, inverse = torch.unique(ids, return_inverse=True)
        if len(distinct) and not 0 <= int(distinct[0]) <= int(distinct[-1]) < self.num_embeddings:
            found = int(distinct[0] if distinct[0] < 0 else distinct[-1])
            raise IndexError(f"ids must be from 0 to {self.num_embeddings - 1}, got {found}")
        if self.padding_idx is None:
            return self._compose(distinct, self._dropout_mask(len(distinct)))[inverse]
        others = distinct != self.padding_idx
        vectors = self._compose(distinct[others], self._dropout_mask(int(others.sum())))
        table = vectors.new_zeros(len(distinct), self.embedding_dim)
        return table.masked_scatter(others[:, None], vectors)[inverse]

    def _compose_each(self, ids: torch.Tensor) -> torch.Tensor:
        """The same without a size that depends on the ids, for which the host would wait."""
        if torch.onnx.is_in_onnx_export():
            ids = guarded(ids, self.num_embeddings)
        else:
            # As they are, but for the device's own check of their range. A graph of ONNX would
            # hold all N of them.
            words = torch.arange(self.num_embeddings, device=ids.device)
            ids = words.index_select(0, ids)
        if not self.training:
            return self._compose(ids, None)
        exact = torch.promote_types(self.transform.W.dtype, torch.float32)
        ones = torch.ones_like(ids, dtype=exact)
        times = ones.new_zeros(self.num_embeddings).index_add_(0, ids, ones)
        count = ids.shape[0]
        mask = self._dropout_mask(count)
        if mask is not None:
            # All places of a word share what was drawn for the first of them.
            places = torch.arange(count, device=ids.device)
            first = torch.full_like(times, count, dtype=torch.long)
            mask = mask[first.scatter_reduce_(0, ids, places, "amin")[ids]]
        row_weights = 1 / times[ids]
        if self.padding_idx is not None:
            row_weights = row_weights.masked_fill(ids == self.padding_idx, 0.0)
        return self._compose(ids, mask, row_weights)

    def forward(self, ids: torch.Tensor, offsets: None = None) -> torch.Tensor:
        """Ids (…) to vectors (…, embedding_dim).

        Bags, as of `torch.nn.EmbeddingBag`, are no part of it: `offsets` is there to say so.

        On a CPU equal ids are composed once in training, and wherever a projection follows the
        sum. Elsewhere, and in `torch.compile` and
        `torch.export`, each id is, so that no size depends on the ids' values; vectors and
        gradients are the same up to rounding.

        Raises:
            TypeError: ids that are not integers, or offsets.
            IndexError: an id outside 0 … num_embeddings − 1 (on a GPU, PyTorch's own check on
                the device).
        """
        if offsets is not None:
            raise TypeError(
                "offsets must be left out: one vector an id, as of nn.Embedding; for bags, "
                "nn.EmbeddingBag.from_pretrained(embedding.materialise().weight)"
            )
        kept = self._kept
        if kept is not None and kept.serve(self, ids):
            flat = ids if ids.ndim == 1 else ids.reshape(-1)
            vectors = kept.compose(kept.rows_of(flat))
            if self.gradient_scale != 1:
                vectors = self._scaled(vectors)
        else:
            if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
                raise TypeError(f"ids must be integers, got {ids.dtype}")
            flat = ids.reshape(-1).long()
            if not ids.is_cpu or is_traced(ids):
                vectors = self._compose_each(flat)
            elif self.training or self.transform.H is not None:
                vectors = self._compose_distinct(flat)
            else:
                vectors = self._compose_sums(flat)
        if self.padding_idx is not None:
            vectors = vectors.masked_fill((flat == self.padding_idx)[:, None], 0.0)
        return vectors if ids.ndim == 1 else vectors.view(*ids.shape, self.embedding_dim)

    @torch.no_grad()
    def materialise(self) -> nn.Embedding:
        """The whole table as a frozen `torch.nn.Embedding`, for the fastest inference."""
        table = self.transform.compose_all(self.codes.tensor().to(self.packed.device))
        if self.padding_idx is not None:
            table[self.padding_idx] = 0.0
        return frozen_table(table, self.padding_idx)

    @classmethod
    def from_pretrained(
        cls, codes: Codes | LearnedCodes, transform: Transform | None = None, *,
        freeze: bool = True,
        padding_idx: int | None = None, gradient_scale: float = 1.0, dropout: float = 0.0,
    ) -> Self:  # fmt: skip
        """An embedding from what `learn_codes` returned: its codes and a copy of its transform.

        Args:
            codes: with the transform; or what `learn_codes` returned, alone.
            freeze: whether the transform stays as it is when the model around it trains.
            padding_idx: as of the class.
            gradient_scale: as of the class.
            dropout: as of the class.

        Raises:
            KDError: codes without a transform, or see the class.
        """
        if isinstance(codes, LearnedCodes):
            transform = codes.transform if transform is None else transform
            codes = codes.codes
        if transform is None:
            raise KDError("transform must be given with codes, got none")
        embedding = cls(
            codes, transform=copy.deepcopy(transform), padding_idx=padding_idx,
            gradient_scale=gradient_scale, dropout=dropout,
        )  # fmt: skip
        embedding.transform.requires_grad_(not freeze)
        return embedding

    @torch.no_grad()
    def export(self) -> dict[str, torch.Tensor]:
        """Packed codes and the transform, with the running statistics of `normalise` folded in.

        Their scale goes into H. Their mean goes into W where the transform is a sum of code
        embedding vectors; elsewhere it stays, d′ numbers. `padding_idx` is not part of it.

        Returns:
            `packed`, the codes as `packing` says, and `transform.` with the names of its tensors.
        """
        tensors = {f"transform.{name}": t for name, t in _folded(self.transform).items()}
        packed = self.packed if self.packing == "index" else self.codes.pack_whole()
        return {"packed": packed, **tensors}

    @classmethod
    def from_exported(
        cls, tensors: Mapping[str, torch.Tensor], words: int, dim: int, transform: KindSettings,
        packing: Packing = "index",
    ) -> Self:  # fmt: skip
        """An embedding that composes the same vectors as the exported one did in eval mode.

        Args:
            tensors: what `export` gave.
            words: N.
            dim: size d of a vector.
            transform: settings of the transform.
            packing: how the codes were packed.

        Raises:
            KDError: tensors that are missing or do not fit N, d or the transform.
        """
        packed = stored_tensor(tensors, "packed", None)
        books = stored_tensor(tensors, "transform.W", None, None, None)
        positions, K, _ = books.shape
        whole = packing == "code"
        if positions == 1:
            # All positions share one book: the length of the codes tells how many there are.
            positions = _positions(len(packed), words, K, whole)
        read = Codes.from_whole if whole else Codes.from_packed
        codes = read(packed, K, (words, positions))
        made = _unfolded(
            {n.removeprefix("transform."): t for n, t in tensors.items() if n != "packed"},
            transform, K, positions, dim,
        )  # fmt: skip
        return cls(codes, transform=made, packing=packing).eval()

    def extended(self, vectors: torch.Tensor) -> Self:
        """One with further rows, whose codes compose given vectors best (`kdcore.encode`).

        Raises:
            KDError: vectors of another size, or a transform that is no sum over positions.
        """
        codes = Codes.cat([self.codes, encode(vectors, self.transform)])
        made = type(self)(
            codes, transform=copy.deepcopy(self.transform), padding_idx=self.padding_idx,
            gradient_scale=self.gradient_scale, dropout=self.dropout, packing=self.packing,
        )  # fmt: skip
        return made.to(self.packed.device).eval()

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, K={self.K}, D={self.D}"


def _positions(length: int, words: int, K: int, whole: bool) -> int:
    """How many indices so many bytes of codes have."""
    each = index_bits(K)
    if words * each < 8 and not whole:
        raise KDError(f"words must be at least {-(-8 // each)} here, got {words}")
    D, size = 0, 0
    while size < length:
        D += 1
        size = -(-words * (code_bits(K, D) if whole else D * each) // 8)
    return max(1, D)


class _Kept(NamedTuple):
    """All codes as rows of the code books, and what they were made of.

    Attributes:
        packed, version, transform: of the embedding when they were made.
        rows: (N, D).
        narrow: whether they are of a type that indexes nothing.
        compose: what makes vectors of some of them.
    """

    packed: torch.Tensor
    version: int
    transform: Transform
    rows: torch.Tensor
    narrow: bool
    compose: Callable[[torch.Tensor], torch.Tensor]

    def rows_of(self, ids: torch.Tensor) -> torch.Tensor:
        """Those of some words, (n, D), of a type that indexes."""
        try:
            rows = self.rows.index_select(0, ids)
        except (IndexError, RuntimeError):
            check_ids(ids, len(self.rows))  # its message names the id
            raise
        return rows.int() if self.narrow else rows

    def serve(self, embedding: KDEmbedding, ids: torch.Tensor) -> bool:
        """Whether these ids are looked up in them, in the fewest steps that can tell."""
        packed = self.packed
        return (
            not embedding.training
            and not is_traced(ids)
            and (ids.dtype is torch.int64 or ids.dtype is torch.int32)
            and ids.is_cpu
            # They are the embedding's still. Names as attributes are what a module looks up slowly.
            and packed is embedding._buffers["packed"]
            and packed._version == self.version
            and self.transform is embedding._modules["transform"]
        )


def _is_plain(embedding: KDEmbedding) -> bool:
    """Whether nothing but the sum of rows has a part in what is composed.

    A class of one's own may compose more.
    """
    found = type(embedding.transform).__mro__
    first = next(of for of in found if "forward" in vars(of) or "row_composer" in vars(of))
    return type(embedding)._compose is KDEmbedding._compose and "row_composer" in vars(first)


MEAN, VARIANCE = "norm.running_mean", "norm.running_var"


def _folded(transform: Transform) -> dict[str, torch.Tensor]:
    """A transform's tensors for eval mode, without its running variance and, if can be, mean."""
    tensors = transform.export()
    if transform.norm is None or transform.H is None:
        return tensors
    mean, variance = tensors.pop(MEAN).double(), tensors.pop(VARIANCE).double()
    scale = math.sqrt(transform.D / transform.code_dim) / (variance + transform.norm.eps).sqrt()
    H, W = transform.H.detach(), transform.W.detach()
    tensors["H"] = (scale[:, None] * H.double()).to(H.dtype)
    if transform.is_sum:
        tensors["W"] = (W.double() - mean / transform.D).to(W.dtype)
    else:
        tensors[MEAN] = mean.to(W.dtype)
    return tensors


def _unfolded(
    tensors: dict[str, torch.Tensor], settings: KindSettings, K: int, D: int, dim: int
) -> Transform:
    """A transform with the tensors that `_folded` gave."""
    with torch.device("meta"):  # no random start, which is of no use here
        made: Transform = settings.module.build(settings, K, D, dim)
    made = made.to_empty(device="cpu").to(tensors["W"].dtype)
    if made.norm is not None:
        if MEAN in tensors:
            # The variance at which nothing is scaled.
            unit = D / made.code_dim - made.norm.eps
            tensors = {**tensors, VARIANCE: torch.full_like(tensors[MEAN], unit)}
        else:
            made.norm = None
    made.load_exported(tensors)
    return made
