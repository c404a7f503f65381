"""Embeddings: what a model looks the vectors of words up in.

Each module of this package is a kind and has

- `build(settings, words, dim, inputs) -> Embedding`, one that is to be trained;
- `load(settings, words, dim, tensors) -> Embedding`, which composes the same vectors from the
  tensors that `Embedding.export` gave;
- where its gradient is not that of what it composes, as through rounding,
  `surrogate(embedding, ids) -> Tensor`: vectors whose gradient it has; with a third argument
  `held`, a copy of the embedding, where numbers of its own are constants in that gradient.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import nn

from kdcore.codes import Codes
from kdcore.errors import KDError
from kdcore.kinds import Kinds, KindSettings
from kdcore.size import Size, stored_bits
from kdcore.tensors import count_of, load_tensors, on_cpu, read_from, save_tensors
from kdcore.vectors import PIECE
from kdcore.words import LENGTHS, TEXT, Words


@dataclass(frozen=True)
class EmbeddingInputs:
    """What an embedding may be made from, beside its settings.

    Attributes:
        codes: one code a word.
        vectors: pretrained vectors, (words, dim).
        counts: how often each word occurs, (words,).
        init_scale: weights of the model around it start uniform in ±init_scale.
        restoring: whether the weights of a checkpoint are loaded next; what only makes a good
            start, such as a fit to the vectors, is then left out.
    """

    codes: Codes | None = None
    vectors: torch.Tensor | None = None
    counts: torch.Tensor | None = None
    init_scale: float = 0.1
    restoring: bool = False

    def check(self, settings: KindSettings, words: int, dim: int) -> None:
        """Refuse inputs that are missing or not of these words.

        Raises:
            KDError: what the settings need is missing, or has other words or sizes.
        """
        for name in sorted(settings.needs):
            given = getattr(self, name)
            if given is None:
                raise KDError(f"embedding kind {settings.kind!r} needs {name}, got none")
            if len(given) != words:
                raise KDError(f"{name} must be for {words} words, got {len(given)}")
            if name == "vectors" and given.shape[1:] != (dim,):
                raise KDError(f"vectors must have size {dim}, got shape {tuple(given.shape)}")


class Embedding(nn.Module, ABC):
    """A table of vectors in some form, called like `torch.nn.Embedding`.

    Attributes:
        num_embeddings: words N.
        embedding_dim: size d of a vector.
        by_word: names of parameters that are tables with a row a word, in which rows are looked
            up by ids and no others read.
    """

    num_embeddings: int
    embedding_dim: int
    by_word: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Integer ids (…) to vectors (…, embedding_dim)."""

    @abstractmethod
    def export(self) -> dict[str, torch.Tensor]:
        """All that must be stored so that any word's vector can be composed as in eval mode."""

    def __getattr__(self, name: str) -> torch.Tensor | nn.Module:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name != "weight":
                raise
            raise AttributeError(
                f"a {type(self).__name__} has no weight, its vectors are composed: what ties, "
                "resizes or sets a table must be done with the table that it replaces"
            ) from None

    def extra_loss(self) -> torch.Tensor | None:
        """What the model around it adds to its loss in training, for the vectors composed last.

        None, as here, is nothing.
        """
        return None

    def own_step(self, rate: float) -> None:
        """Move parameters that are not moved as those of the model around it, in training.

        Called when gradients are there; clears the gradients that it has used, so that they have no
        part in the model's own step. Nothing, as here, where all are moved alike.

        Args:
            rate: the model's step size.
        """

    def plain(self) -> "Embedding":
        """One that composes the same vectors in eval mode, in full numbers: itself, as here."""
        return self

    @torch.no_grad()
    def materialise(self) -> nn.Embedding:
        """The whole table as a frozen `torch.nn.Embedding`, for the fastest inference."""
        held = next(chain(self.parameters(), self.buffers()))
        was_training, ids = self.training, torch.arange(self.num_embeddings, device=held.device)
        self.eval()
        try:
            table = torch.cat([self(piece) for piece in ids.split(PIECE)])
        finally:
            self.train(was_training)
        return frozen_table(table)

    def extended(self, vectors: torch.Tensor) -> "Embedding":
        """One with further rows, for vectors (n, d); its own rows and what they share stay.

        Raises:
            KDError: rows cannot join an embedding of this kind, or the vectors do not fit it.
        """
        raise KDError(f"{type(self).__name__} takes no further rows; compress all of them anew")

    def size(self) -> Size:
        """Numbers that are trained, and bits of what `export` gives."""
        return Size(sum(p.numel() for p in self.parameters()), stored_bits(self.export()))

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"


def frozen_table(table: torch.Tensor, padding_idx: int | None = None) -> nn.Embedding:
    """A `torch.nn.Embedding` of these rows, (N, d), which no training moves."""
    # No other table of this size is made for a moment.
    N, d = table.shape
    full = nn.Embedding(N, d, padding_idx=padding_idx, device="meta")
    full.weight = nn.Parameter(table, requires_grad=False)
    return full


class FixedEmbedding(Embedding):
    """An embedding whose tensors keep the types that they are stored in.

    `.half()`, `.bfloat16()` or `.to(dtype)` say of which type the vectors are, as they do of a
    table; scales that another type would round stay as they are.

    Args:
        dtype: of the vectors.

    Attributes:
        like: empty, and of the vectors' type.
    """

    like: torch.Tensor

    def __init__(self, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.register_buffer("like", torch.empty(0, dtype=dtype), persistent=False)

    def in_own_type(self, vectors: torch.Tensor) -> torch.Tensor:
        """Vectors, in the type that `like` has."""
        like = self._buffers["like"]  # a module looks its attributes up slowly
        assert like is not None
        return vectors if vectors.dtype is like.dtype else vectors.to(like.dtype)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        def moved(tensor: torch.Tensor) -> torch.Tensor:
            there = fn(tensor)
            return there if there.dtype == tensor.dtype else tensor.to(there.device)

        like = fn(self.like)
        nn.Module._apply(self, moved, recurse)
        self.like = like
        return self


def state_of(tensors: Iterable[torch.Tensor | None]) -> object:
    """Differs from that of the same tensors before where one has been changed or moved."""
    return tuple(
        # What is made under `inference_mode` has no version.
        (id(t), 0 if t.is_inference() else t._version, t.device, t.dtype)
        for t in tensors
        if t is not None
    )


EMBEDDINGS: Kinds[KindSettings] = Kinds("kdcore.embeddings", "embedding")


def check_ids(ids: torch.Tensor, words: int) -> torch.Tensor:
    """Refuse ids that are none, where they can be read without waiting for a GPU.

    Returns:
        The ids; see `guarded`.

    Raises:
        IndexError: an id outside 0 … words − 1; not on a GPU or where code is compiled.
    """
    if ids.device.type == "cpu" and ids.numel() and not torch.compiler.is_compiling():
        low, high = (int(id) for id in ids.aminmax())
        if low < 0 or high >= words:
            raise IndexError(f"ids must be from 0 to {words - 1}, got {low if low < 0 else high}")
    return guarded(ids, words)


def guarded(ids: torch.Tensor, words: int) -> torch.Tensor:
    """The ids; a graph of ONNX that is made of them refuses those outside 0 … words − 1.

    For whoever computes with ids: numbers that are none would lead to bits of other words.
    """
    if not torch.onnx.is_in_onnx_export():
        return ids
    outside = (ids < 0) | (ids >= words)
    # All that a graph checks is the place in a table: here it has one row, a zero.
    zero = ids.new_zeros(1).index_select(0, outside.flatten().long())
    return ids + zero.view_as(ids)


@dataclass(frozen=True)
class StoredTable:
    """What a file of an embedding holds.

    Attributes:
        embedding: in eval mode.
        settings: those that it was built from.
        words: of its rows, or None.
        how: how it was made, as it was given to `save_embedding`.
    """

    embedding: Embedding
    settings: KindSettings
    words: Words | None
    how: dict[str, Any]


def save_embedding(
    path: str | Path, embedding: Embedding, settings: KindSettings, *,
    words: Words | None = None, how: Mapping[str, object] | None = None,
) -> None:  # fmt: skip
    """Store what `embedding.export()` gives, with the settings that it was built from.

    The tensors in the file take `embedding.size().bits` bits, and those of words, where there are
    some, their own.

    Args:
        words: one a row.
        how: what is to be known of how it was made; anything that JSON can hold.

    Raises:
        KDError: words that are not one a row.

    Example:
        >>> settings = EMBEDDINGS.parse({"kind": "low_rank", "rank": 2})
        >>> embedding = settings.module.build(settings, 10, 4, EmbeddingInputs())
        >>> save_embedding("embedding.safetensors", embedding, settings)
        >>> load_embedding("embedding.safetensors")(torch.tensor([3])).shape
        torch.Size([1, 4])
    """
    if words is not None and len(words) != embedding.num_embeddings:
        raise KDError(f"words must be {embedding.num_embeddings}, one a row, got {len(words)}")
    header = {
        "kind": "embedding",
        "settings": settings.model_dump(mode="json"),
        "words": embedding.num_embeddings,
        "dim": embedding.embedding_dim,
        **({} if how is None else {"how": how}),
    }
    save_tensors(path, embedding.export() | (words.tensors() if words else {}), header)


def load_embedding(path: str | Path) -> Embedding:
    """The embedding that `save_embedding` wrote; in eval mode.

    Raises:
        KDError: the file is missing, damaged, holds something else, or is of a kind that is
            unknown here.
    """
    return load_stored(path).embedding


@on_cpu()
def load_stored(path: str | Path) -> StoredTable:
    """All that `save_embedding` wrote.

    Raises:
        KDError: see `load_embedding`.
    """
    tensors, header = load_tensors(path, "embedding", ["settings", "words", "dim"])
    stored = {name: tensors.pop(name) for name in (TEXT, LENGTHS) if name in tensors}
    with read_from(path, "embedding"):
        N, dim, how = count_of(header, "words"), count_of(header, "dim"), header.get("how", {})
        if not isinstance(how, dict):
            raise KDError(f"how must be keys and values, got {how!r}")
        settings = EMBEDDINGS.parse(header["settings"], "settings")
        loaded: Embedding = settings.module.load(settings, N, dim, tensors)
        words = Words.of_tensors(stored) if stored else None
        if words is not None and len(words) != N:
            raise KDError(f"words must be {N}, one a row, got {len(words)}")
        # Tensors of types that do not go together fail where vectors are composed.
        with torch.no_grad():
            vectors = loaded.eval()(torch.tensor([0, N - 1]))
        if vectors.shape != (2, dim) or not vectors.is_floating_point():
            kind = f"{tuple(vectors.shape)} of {vectors.dtype}"
            raise KDError(f"vectors of two words must be real numbers (2, {dim}), got {kind}")
        return StoredTable(loaded, settings, words, how)


def stored_tensor(
    tensors: Mapping[str, torch.Tensor], name: str, *shape: int | None
) -> torch.Tensor:
    """A tensor by its name, of the given shape; None is any size.

    Raises:
        KDError: it is missing, or has another shape.
    """
    if name not in tensors:
        raise KDError(f"tensor {name!r} is missing; there are: {', '.join(sorted(tensors))}")
    found = tuple(tensors[name].shape)
    asked = tuple(found[i] if size is None else size for i, size in enumerate(shape[: len(found)]))
    if len(found) != len(shape) or asked != found:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise KDError(f"tensor {name!r} must have shape ({wanted}), got {found}")
    return tensors[name]
