"""Any embedding with its tables at few bits: code books, factors, rows.

What is scored is what is stored: in eval mode vectors are composed from the rounded numbers. In
training they are those of the embedding as it is, or, with `through`, of the rounded one, whose
gradient is passed on as if nothing had been rounded (Jacob et al. 2018, "Quantization and Training
of Neural Networks for Efficient Integer-Arithmetic-Only Inference", Section 3).
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field
from torch import nn
from torch.compiler import is_compiling

from kdcore.embeddings import (
    EMBEDDINGS,
    Embedding,
    EmbeddingInputs,
    FixedEmbedding,
    guarded,
    state_of,
)
from kdcore.errors import KDError
from kdcore.kinds import KindSettings
from kdcore.rounding import (
    Scales,
    append_rounded,
    read_rounded,
    read_rounded_rows,
    rounded,
    store_rounded,
    stored_names,
)

NUMERICS = 1
EXAMPLE: dict[str, object] = {"bits": 4, "of": {"kind": "low_rank", "rank": 3}}


class Settings(KindSettings):
    """The number of bits, and the embedding that is rounded."""

    bits: Literal[1, 2, 3, 4, 5, 6, 7, 8, 16] = Field(
        description="bits of a number; 16: float16, or bfloat16 where numbers need its range"
    )
    scales: Scales = Field(
        "row",
        description="numbers of a table that share a scale and an offset (16 bits each): those of "
        "a `row`, or of a `column`",
    )
    through: bool = Field(False, description="train through the rounding; false rounds afterwards")
    of: Annotated[KindSettings, EMBEDDINGS] = Field(
        description="a kind of embedding and its settings"
    )

    @property
    def needs(self) -> frozenset[str]:
        """What the embedding needs that is rounded."""
        return self.of.needs

    def check_shape(self, dim: int, D: int | None) -> None:
        """Refuse what the embedding that is rounded cannot have."""
        self.of.check_shape(dim, D)


class RoundedEmbedding(Embedding):
    """An embedding that is trained, and rounded for whoever reads it.

    Args:
        inner: the embedding.
        settings: how it is rounded, and what it was built from.
    """

    def __init__(self, inner: Embedding, settings: Settings):
        super().__init__()
        self.num_embeddings, self.embedding_dim = inner.num_embeddings, inner.embedding_dim
        self.inner, self.settings = inner, settings
        self._kept: tuple[object, StoredEmbedding] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": None}

    def train(self, mode: bool = True) -> Self:
        """As of every module; what training writes into `parameter.data` no version tells."""
        self._kept = None if mode else self._kept
        return super().train(mode)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Integer ids (…) to vectors (…, embedding_dim)."""
        exact: torch.Tensor
        if not self.training:
            stored: torch.Tensor = self._stored()(ids)
            if not torch.is_grad_enabled():
                return stored
            # Adding an exact zero, of which the gradient is taken.
            exact = self.inner(ids)
            return stored + (exact - exact.detach())
        if not self.settings.through:
            exact = self.inner(ids)
            return exact
        found = {name: self._through(p) for name, p in self.inner.named_parameters()}
        vectors = torch.func.functional_call(self.inner, found, (ids,))
        assert isinstance(vectors, torch.Tensor)
        return vectors

    def extra_loss(self) -> torch.Tensor | None:
        """That of the embedding that is rounded."""
        extra: torch.Tensor | None = self.inner.extra_loss()
        return extra

    def own_step(self, rate: float) -> None:
        """That of the embedding that is rounded."""
        self.inner.own_step(rate)

    def _through(self, p: torch.Tensor) -> torch.Tensor:
        if p.ndim < 2:
            return p
        bits, scales = self.settings.bits, self.settings.scales
        return p + (rounded(p.detach(), bits, scales) - p.detach())

    def _stored(self) -> "StoredEmbedding":
        """What is stored, composed anew where a number has changed."""
        tensors = [*self.inner.parameters(), *self.inner.buffers()]
        now = state_of(tensors)
        if self._kept is None or self._kept[0] != now:
            made = load(self.settings, self.num_embeddings, self.embedding_dim, self.export())
            kind = next((p.dtype for p in self.inner.parameters()), None)
            self._kept = now, made.to(device=tensors[0].device, dtype=kind).eval()
        return self._kept[1]

    def export(self) -> dict[str, torch.Tensor]:
        """What the embedding exports, its tables rounded; lists of numbers stay as they are."""
        found: dict[str, torch.Tensor] = {}
        for name, tensor in self.inner.export().items():
            if tensor.is_floating_point() and tensor.ndim > 1:
                found |= store_rounded(name, tensor, self.settings.bits, self.settings.scales)
            else:
                found[name] = tensor
        return found


def surrogate(embedding: RoundedEmbedding, ids: torch.Tensor) -> torch.Tensor:
    """Vectors whose gradient the embedding has where it is rounded afterwards."""
    declared = getattr(embedding.settings.of.module, "surrogate", None)
    vectors: torch.Tensor = declared(embedding.inner, ids) if declared else embedding.inner(ids)
    return vectors


class StoredEmbedding(FixedEmbedding):
    """An embedding as it is stored; nothing in it is trained.

    Its `state_dict` has the rounded tensors; full numbers are made of them at first use. In a graph
    of ONNX they are made of the rows that are looked up, where a table has one a word.

    Args:
        settings: of the rounding and of the embedding.
        words: N.
        dim: size d of a vector.
        tensors: what `RoundedEmbedding.export` gave.

    Raises:
        KDError: tensors that are missing or do not fit one another or the settings.
    """

    def __init__(
        self, settings: Settings, words: int, dim: int, tensors: Mapping[str, torch.Tensor]
    ):
        super().__init__()
        self.num_embeddings, self.embedding_dim, self.settings = words, dim, settings
        self._names = {name.replace(".", "/"): name for name in tensors}
        for own, name in self._names.items():
            self.register_buffer(own, tensors[name])
        self._kept: tuple[object, Embedding] | None = None
        self._composed()

    def _composed(self) -> Embedding:
        if self._kept is not None and is_compiling():
            # Versions cannot be read, and numbers need not be: `_apply` and loading see to it.
            return self._kept[1]
        now = state_of(self._buffers.values())
        if self._kept is None or self._kept[0] != now:
            tensors = self.export()
            tables = stored_names(tensors)
            whole = {
                name: tensor.float() if tensor.is_floating_point() else tensor
                for name, tensor in tensors.items()
                if name.rpartition(".rounded.")[0] not in tables
            }
            for name in tables:
                whole[name] = read_rounded(name, tensors, self.settings.bits, self.settings.scales)
            of = self.settings.of
            try:
                made = of.module.load(of, self.num_embeddings, self.embedding_dim, whole)
            except KDError as error:
                raise KDError(f"embedding kind {of.kind!r}: {error}") from None
            device = next(iter(tensors.values())).device
            self._kept = now, made.requires_grad_(False).to(device).eval()
        return self._kept[1]

    def _renew(self) -> None:
        """Make the full numbers now, where others are stored: what traces a graph next cannot."""
        try:
            if not any(buffer.is_meta for buffer in self.buffers()):
                self._composed()
                return
        except KDError:
            # Numbers that were never set, as after `to_empty`: refused at their first use.
            pass
        self._kept = None

    def plain(self) -> Embedding:
        return self._composed()

    def extended(self, vectors: torch.Tensor) -> "StoredEmbedding":
        whole = self.plain().extended(vectors)
        found = self.export()
        for name, tensor in whole.export().items():
            if not (tensor.is_floating_point() and tensor.ndim > 1):
                found[name] = tensor
            elif name in whole.by_word:
                more = tensor[self.num_embeddings :]
                found |= append_rounded(
                    name, found, more, self.settings.bits, self.settings.scales
                )  # fmt: skip
        return StoredEmbedding(
            self.settings, whole.num_embeddings, self.embedding_dim, found
        ).eval()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        nn.Module.__setstate__(self, state)
        self._renew()

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._renew()
        return self

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._renew()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Integer ids (…) to vectors (…, embedding_dim)."""
        whole = self._composed()
        if not (whole.by_word and torch.onnx.is_in_onnx_export()):
            return self.in_own_type(whole.forward(ids))  # nobody else has it, to hang hooks on it
        flat = guarded(ids, self.num_embeddings).flatten()
        tensors, bits, scales = self.export(), self.settings.bits, self.settings.scales
        rows = {
            name: read_rounded_rows(name, tensors, flat, bits, scales) for name in whole.by_word
        }
        places = torch.arange(flat.shape[0], device=ids.device).view_as(ids)
        return self.in_own_type(torch.func.functional_call(whole, rows, (places,)))

    def export(self) -> dict[str, torch.Tensor]:
        """What is stored."""
        return {name: self.get_buffer(own) for own, name in self._names.items()}


def build(settings: Settings, words: int, dim: int, inputs: EmbeddingInputs) -> RoundedEmbedding:
    """The embedding that is rounded, as its kind builds it.

    Raises:
        KDError: what its kind raises.
    """
    inner: Embedding = settings.of.module.build(settings.of, words, dim, inputs)
    return RoundedEmbedding(inner, settings)


def load(
    settings: Settings, words: int, dim: int, tensors: Mapping[str, torch.Tensor]
) -> StoredEmbedding:
    """The exported tensors."""
    return StoredEmbedding(settings, words, dim, tensors)
