"""The product transform: groups of positions compose slices of the vector, which are put in a row.

With as many groups as positions it decodes a product quantizer (Jégou et al., "Product Quantization
for Nearest Neighbor Search", 2011); with one it is the linear transform without H; in between it is
that of a product-additive quantizer. Books shared by all slices are those of Chen et al.,
"Differentiable Product Quantization for End-to-End Embedding Compression", 2020, Section 3.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from kdcore.errors import KDError
from kdcore.kinds import KindSettings
from kdcore.transforms import Transform
from kdcore.transforms.linear import LinearTransform, row_sums, summed

NUMERICS = 1


class Settings(KindSettings):
    """The product transform."""

    groups: int | None = Field(
        None,
        gt=0,
        description="slices G of the vector, each the sum of D/G code embeddings; null is D",
    )
    shared: bool = Field(
        False, description="one code book for all slices, where each is of one position"
    )
    init_scale: float = Field(
        0.1, gt=0, allow_inf_nan=False, description="code embeddings start uniform in ±init_scale"
    )

    def check_shape(self, dim: int, D: int | None) -> None:
        """Refuse groups that do not divide D, or are more than the components of a vector."""
        if D is not None:
            _check_groups(D if self.groups is None else self.groups, self.shared, D, dim)


def _check_groups(groups: int, shared: bool, D: int, dim: int) -> None:
    if groups < 1 or D % groups:
        raise KDError(f"groups must divide the D = {D} positions, got {groups}")
    if groups > dim:
        raise KDError(f"groups must be at most the {dim} components of a vector, got {groups}")
    if shared and (groups != D or dim % groups):
        raise KDError(
            f"shared must be false unless groups are D = {D} and D divides the size {dim}, "
            f"got true with {groups} groups"
        )


class ProductTransform(Transform):
    """v = (v¹, …, v^G) with v^g = Σ_j W^j[c_j] over the D/G positions of group g, in their order.

    Slices are equal where G divides d. Else the first d mod G of them are one component longer, as
    those of `numpy.array_split`; the rows of their books end with a number of `W_last`.

    Size: K·D·d/G, or K·d/D with a shared book.

    Args:
        groups: G, which divides D; by default D.
        shared: whether all groups, of one position each, use one book.
        init_scale: W starts uniform in ±init_scale.

    Attributes:
        W: shape (D, K, ⌊d/G⌋), or (1, K, d/D) where shared.
        W_last: shape (D/G·(d mod G), K, 1), or None.

    Raises:
        KDError: a shape that cannot be.
    """

    W_last: nn.Parameter | None

    def __init__(
        self, K: int, D: int, dim: int, *, groups: int | None = None, shared: bool = False,
        init_scale: float = 0.1,
    ) -> None:  # fmt: skip
        groups = D if groups is None else groups
        # Impossible K, D and dim are refused before they are divided.
        code_dim = dim // groups if groups and groups <= dim else dim
        super().__init__(
            K, D, dim, code_dim, projection=False, normalise=False, init_scale=init_scale
        )
        _check_groups(groups, shared, D, dim)
        self.groups, self.shared = groups, bool(shared)
        self._longer = dim % groups
        self._depth = D // groups
        self.W = nn.Parameter(self._start(1 if shared else D, code_dim))
        self.W_last = None
        if self._longer:
            self.W_last = nn.Parameter(self._start(self._longer * self._depth, 1))

    def _start(self, books: int, size: int) -> torch.Tensor:
        return torch.empty(books, self.K, size).uniform_(-self.init_scale, self.init_scale)

    @property
    def settings(self) -> Settings:
        return Settings(groups=self.groups, shared=self.shared, init_scale=self.init_scale)

    @property
    def slices(self) -> list[slice]:
        sizes = [self.code_dim + (g < self._longer) for g in range(self.groups)]
        ends = list(accumulate(sizes))
        return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]

    def forward(
        self,
        indices: torch.Tensor,
        row_weights: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        offsets = torch.arange(self.D, device=indices.device) * self._book_size

        def sums(books: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            W = books.flatten(0, 1)
            part = None if mask is None else mask[:, : rows.shape[1]]
            if self._depth > 1:
                part = None if part is None else part.reshape(-1, self._depth)
                return summed(rows.reshape(-1, self._depth), W, part)
            found = F.embedding(rows, W)
            return found if part is None else found * part.to(found.dtype)[..., None]

        rows = indices + offsets
        last = None if self.W_last is None else sums(self.W_last, self._of_last(rows))
        return self._composed(sums(self.W, rows), last)

    @property
    def _book_size(self) -> int:
        """Rows between the books of two positions."""
        return 0 if self.shared else self.K

    @property
    def row_offsets(self) -> torch.Tensor:
        return torch.arange(self.D, device="cpu") * self._book_size

    def row_composer(self) -> Callable[[torch.Tensor], torch.Tensor]:
        first = row_sums(self, "W", self._depth)
        if self.W_last is None:
            dim = self.dim
            return lambda rows: first(rows).view(-1, dim)
        last = row_sums(self, "W_last", self._depth)
        # What lies in a row is joined, and put in order then, faster than slices are joined.
        equal, longer = self.groups * self.code_dim, self._longer
        with torch.inference_mode(False):  # a gradient may need it later
            places = torch.arange(self.dim, device="cpu")
            parts = self._joined(
                places[:equal].view(1, self.groups, -1), places[equal:].view(1, -1, 1)
            )
            order = parts.flatten()

        def compose(rows: torch.Tensor) -> torch.Tensor:
            sums = first(rows).view(-1, equal), last(self._of_last(rows)).view(-1, longer)
            return torch.cat(sums, 1).index_select(1, order)

        return compose

    def _of_last(self, rows: torch.Tensor) -> torch.Tensor:
        """Those of rows (n, D) that are rows of `W_last`, too."""
        return rows[:, : self._longer * self._depth]

    def _composed(self, sums: torch.Tensor, last: torch.Tensor | None) -> torch.Tensor:
        """Sums of the rows of each group, and those of `W_last`, as vectors."""
        if last is None:
            return sums.reshape(-1, self.dim)
        slices = sums.reshape(-1, self.groups, self.code_dim)
        return self._joined(slices, last.reshape(-1, self._longer, 1))

    def _joined(self, sums: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Slices (n, G, ⌊d/G⌋) and the last component of the longer ones, as vectors."""
        longer = torch.cat([sums[:, : self._longer], last], 2)
        return torch.cat([longer.flatten(1), sums[:, self._longer :].flatten(1)], 1)

    def compose_soft(self, weights: torch.Tensor) -> torch.Tensor:
        by_group = weights.reshape(len(weights), self.groups, -1).transpose(0, 1)
        books = self.W.expand(self.D, -1, -1).reshape(self.groups, -1, self.code_dim)
        sums = torch.bmm(by_group, books).transpose(0, 1)
        if self.W_last is None:
            return sums.flatten(1)
        last = torch.bmm(by_group[: self._longer], self.W_last.view(self._longer, -1, 1))
        return self._joined(sums, last.transpose(0, 1))

    def _by_book(self, numbers: torch.Tensor) -> list[tuple[nn.Parameter, torch.Tensor]]:
        """Numbers (d,), one a component, beside the books that have the component."""
        parts = [numbers[part] for part in self.slices]
        each = torch.stack([part[: self.code_dim] for part in parts])
        found = [(self.W, each.repeat_interleave(self._depth, 0)[:, None])]
        if self.W_last is not None:
            last = torch.stack([part[-1:] for part in parts[: self._longer]])
            found.append((self.W_last, last.repeat_interleave(self._depth, 0)[:, None]))
        return found

    @torch.no_grad()
    def rescale(self, factor: float | torch.Tensor) -> None:
        factors = torch.as_tensor(factor, dtype=self.W.dtype).expand(self.dim)
        if not self.shared:
            for books, numbers in self._by_book(factors):
                books.mul_(numbers)
            return
        of_slices = factors.view(self.groups, -1)
        if not bool((of_slices == of_slices[0]).all()):
            raise KDError("rescale must have equal factors for all slices of a shared code book")
        self.W.mul_(of_slices[0])

    @property
    def can_add_offset(self) -> bool:
        return not self.shared

    @torch.no_grad()
    def add_offset(self, offset: torch.Tensor) -> None:
        if not self.can_add_offset:
            super().add_offset(offset)
        for books, numbers in self._by_book(offset.to(self.W.dtype) / self._depth):
            books.add_(numbers)

    @property
    def is_sum(self) -> bool:
        return True

    @torch.no_grad()
    def slice_books(self, group: int) -> torch.Tensor:
        """The books of a group's positions, (D/G, K, size of its slice)."""
        positions = slice(group * self._depth, (group + 1) * self._depth)
        books = self.W if self.shared else self.W[positions]
        if self.W_last is not None and group < self._longer:
            books = torch.cat([books, self.W_last[positions]], 2)
        return books.detach()

    @torch.no_grad()
    def set_slice_books(self, group: int, books: torch.Tensor) -> None:
        """Store what `slice_books` gives, in place."""
        positions = slice(group * self._depth, (group + 1) * self._depth)
        (self.W if self.shared else self.W[positions]).copy_(books[..., : self.code_dim])
        if self.W_last is not None and group < self._longer:
            self.W_last[positions].copy_(books[..., -1:])

    def sliced_codebooks(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        books = [self.slice_books(group).double().cpu() for group in range(self.groups)]
        means = [of.mean(1, keepdim=True) for of in books]
        return [(of - mean, mean.sum((0, 1))) for of, mean in zip(books, means, strict=True)]

    def codebooks(self) -> tuple[torch.Tensor, torch.Tensor]:
        books = torch.zeros(self.D, self.K, self.dim, dtype=torch.float64)
        parts = self.sliced_codebooks()
        for at, (part, (of_slice, _)) in enumerate(zip(self.slices, parts, strict=True)):
            books[at * self._depth : (at + 1) * self._depth, :, part] = of_slice
        return books, torch.cat([offset for _, offset in parts])


def grouped_sum(K: int, D: int, dim: int, groups: int) -> Transform:
    """The transform of so many groups, linear where it is one; what is random leaves no trace.

    It is in float32, whatever PyTorch's default is.

    Raises:
        KDError: a shape that cannot be.
    """
    with torch.random.fork_rng(devices=[]):
        made = (
            LinearTransform(K, D, dim)
            if groups == 1
            else ProductTransform(K, D, dim, groups=groups)
        )
        return made.float()


@torch.no_grad()
def set_books(transform: Transform, books: Sequence[torch.Tensor]) -> None:
    """Store the books of each group of a `grouped_sum`, (D/G·K, size of its slice), in place."""
    for group, of in enumerate(books):
        of = of.view(-1, transform.K, of.shape[1])
        if isinstance(transform, ProductTransform):
            transform.set_slice_books(group, of)
        else:
            transform.W.copy_(of)


def build(settings: Settings, K: int, D: int, dim: int) -> ProductTransform:
    """A transform with random weights, drawn from PyTorch's global generator.

    Raises:
        KDError: groups that do not divide D, or are more than the components.
    """
    return ProductTransform(
        K, D, dim, groups=settings.groups, shared=settings.shared, init_scale=settings.init_scale
    )
