"""Models: their large embedding tables replaced by compressed ones."""

import warnings
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from kdcore.compressed import CompressedVectors, compress
from kdcore.embeddings import Embedding, FixedEmbedding
from kdcore.errors import KDError
from kdcore.tensors import on_cpu


class CompressedEmbedding(FixedEmbedding):
    """A compressed table in the place of an `nn.Embedding`: same ids, same type of numbers.

    The type follows the model's: after `model.half()` vectors are half precision. What is stored
    keeps its own types.

    Args:
        embedding: of any kind, in eval mode; it is not trained.
        dtype: of the vectors.
        padding_idx: this id gives zeros, where it did in the table.
    """

    def __init__(
        self, embedding: Embedding, dtype: torch.dtype, padding_idx: int | None = None
    ) -> None:
        super().__init__(dtype)
        self.num_embeddings, self.embedding_dim = embedding.num_embeddings, embedding.embedding_dim
        self.embedding = embedding.requires_grad_(False)
        self.padding_idx = padding_idx

    def train(self, mode: bool = True) -> "CompressedEmbedding":
        """The table composes as in eval mode, whatever the model around it does."""
        super().train(mode)
        self.embedding.eval()
        return self

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Integer ids (…) to vectors (…, embedding_dim)."""
        inner = self._modules["embedding"]  # a module looks its attributes up slowly
        assert inner is not None
        vectors = self.in_own_type(inner(ids))
        if self.padding_idx is not None:
            vectors = vectors.masked_fill((ids == self.padding_idx)[..., None], 0)
        return vectors

    def export(self) -> dict[str, torch.Tensor]:
        """What is stored."""
        return self.embedding.export()


@dataclass(frozen=True)
class Saved:
    """A table that was replaced.

    Attributes:
        name: of the module in the model.
        words: N.
        dim: d.
        before: bytes of the table.
        after: bytes of what took its place.
        how: how it was compressed, as `CompressedVectors.how`.
    """

    name: str
    words: int
    dim: int
    before: int
    after: int
    how: dict[str, Any]

    def __str__(self) -> str:
        sizes = f"{self.before / 1e6:,.2f} MB to {self.after / 1e6:,.2f} MB"
        return f"{self.name}: {self.words:,} x {self.dim}, {sizes}"


def compress_module(
    model: nn.Module,
    *,
    smallest: int = 1_000_000,
    tied: Literal["refuse", "keep"] = "refuse",
    **target: Any,
) -> list[Saved]:
    """Replace every large `nn.Embedding` of a model by a compressed table, in place.

    For inference: the tables are not trained further. Vectors come in the type of the model's own.
    To store such a model, store its `state_dict`, as `save_pretrained` of transformers does; to
    load one, compress a model alike first, then call its `load_state_dict`. `from_pretrained` makes
    full tables, with random numbers where the file has codes.

    A table of a class with a `forward` of its own, which scales vectors or counts positions, stays
    as it is.

    Args:
        model: of PyTorch or transformers.
        smallest: tables of fewer numbers than this stay as they are.
        tied: what is done where a table's weight is that of another kind of module too, as in a
            language model whose output layer is its input embedding: "refuse", or "keep" the table
            as it is. Embeddings that share a weight, as those of a T5, share what takes its place;
            `save_pretrained` refuses a model that shares so, `torch.save` stores its `state_dict`.
        target: what `kdcore.compress` takes: `ratio`, `bits_per_word`, `size` (of each table),
            `max_error`, `seed`, `seconds`, `report`.

    Returns:
        What was replaced, by name; nothing where no table is large enough.

    Raises:
        KDError: a tied table, with `tied="refuse"`; an embedding alone, which cannot be replaced in
            place; what `compress` raises, with the table's name. The model is then as it was.

    Warns:
        UserWarning: a large table has a `forward` of its own; no table is large enough; what
            `compress` warns of.

    Example:
        >>> model = transformers.AutoModel.from_pretrained("sentence-encoder")
        >>> for saved in kdcore.compress_module(model, ratio=8):
        ...     print(saved)
        embeddings.word_embeddings: 30,522 x 384, 46.88 MB to 5.98 MB
    """
    if tied not in ("refuse", "keep"):
        raise KDError(f"tied must be 'refuse' or 'keep', got {tied!r}")
    if isinstance(model, nn.Embedding):
        raise KDError(
            f"model must be one in which a table can be replaced, got a {type(model).__name__} "
            "alone; kdcore.compress(it, ...).embedding() takes its place"
        )
    owners, skipped = _owners(model), False
    chosen: dict[nn.Embedding, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if not isinstance(module, nn.Embedding) or module.weight.numel() < smallest:
            continue
        if not _is_plain(module):
            skipped = True
            warnings.warn(
                f"{name} stays as it is: a {type(module).__name__} has a forward of its own, which "
                "a compressed table would not do",
                stacklevel=2,
            )
            continue
        if any(name in names for names in chosen.values()):
            continue
        names = _names(model, module)
        others = sorted(owners[id(module.weight)].difference(names))
        if others and tied == "refuse":
            raise KDError(
                f"{name}.weight is {others[0]}'s weight too, which needs the whole table: untie "
                f"them ({_untying(model)}), or pass tied='keep' to leave it as it is"
            )
        if not others:
            chosen[module] = names
    # All of them before the first is put in its place: the model stays whole if one fails.
    replacements = []
    for module, names in chosen.items():
        try:
            replacements.append((names, module, *_replacement(module, target)))
        except KDError as error:
            raise KDError(f"{names[0]}: {error}") from None
    made = []
    for names, module, replaced, how in replacements:
        for name in names:
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, replaced)
        before = module.weight.numel() * module.weight.element_size()
        after = replaced.size().bits // 8
        N, dim = module.weight.shape
        made.append(Saved(names[0], N, dim, before, after, how))
    if not made and not skipped:
        warnings.warn(f"no embedding of {smallest:,} numbers or more to compress", stacklevel=2)
    return made


def _is_plain(module: nn.Embedding) -> bool:
    """Whether its vectors are rows of its weight, as those of PyTorch's own class are.

    A class of one's own may scale them, or be given something else than ids.
    """
    return type(module).forward is nn.Embedding.forward


def _untying(model: nn.Module) -> str:
    """What there is to do; transformers ties what its configuration says."""
    told = bool(getattr(getattr(model, "config", None), "tie_word_embeddings", False))
    copied = "give the output layer a copy"
    return f"{copied} and set config.tie_word_embeddings = False" if told else copied


def _names(model: nn.Module, module: nn.Embedding) -> list[str]:
    """All names under which a table stands in a model: of its module, and of others that share it.

    As the encoder and the decoder of a T5 do, each with a module of its own.
    """

    def is_same(other: nn.Module) -> bool:
        if other is module or not isinstance(other, nn.Embedding) or not _is_plain(other):
            return other is module
        lengths = (other.max_norm, other.norm_type) == (module.max_norm, module.norm_type)
        return other.weight is module.weight and lengths

    return [name for name, other in model.named_modules(remove_duplicate=False) if is_same(other)]


def _owners(model: nn.Module) -> dict[int, set[str]]:
    """The modules that hold each parameter, by the parameter's identity."""
    found: dict[int, set[str]] = defaultdict(set)
    for name, module in model.named_modules(remove_duplicate=False):
        for parameter in module.parameters(recurse=False):
            found[id(parameter)].add(name)
    return found


@on_cpu()
def _replacement(
    module: nn.Embedding, target: dict[str, Any]
) -> tuple[CompressedEmbedding, dict[str, Any]]:
    table = module.weight.detach().float().cpu()
    if module.max_norm is not None:
        # What a lookup does to each row.
        lengths = table.norm(module.norm_type, dim=1, keepdim=True)
        table = table * (module.max_norm / lengths.clamp(min=1e-30)).clamp(max=1)
    found: CompressedVectors = compress(table, **target)
    padding = module.padding_idx
    if padding is not None and bool(table[padding].any()):
        padding = None
    made = CompressedEmbedding(found.stored(), module.weight.dtype, padding)
    return made.to(module.weight.device).train(module.training), found.how
