"""A compressed table with its words: looked up, searched, stored."""

import copy
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from kdcore.embedding import KDEmbedding
from kdcore.embeddings import Embedding, check_ids, load_stored, save_embedding
from kdcore.errors import KDError
from kdcore.formats import PIECE, composed_blocks, given_vectors, write_vectors
from kdcore.kinds import KindSettings
from kdcore.size import FLOAT_BITS, stored_bits
from kdcore.tensors import on_cpu
from kdcore.vectors import check_vectors
from kdcore.words import RowNumbers, Words, names_of

# Share of words with another's vector from which on it is said.
SHARING = 0.01
# In `how`: words that joined when the table was made.
JOINED = "joined_later"


@dataclass(frozen=True)
class Info:
    """What a compressed table consists of.

    Attributes:
        words: N.
        dim: d.
        kind: of embedding, with the settings that it was built from.
        tensors: bits of each stored tensor of the embedding.
        bits: of all of them.
        bits_per_word: `bits` over N.
        ratio: bits of the table in float32 over `bits`.
        word_bits: of the words themselves, which are no part of `bits`.
        file_bits: of the whole file, header and words too; None before it is saved.
        sharing: words that have their vector from the same code as another; None without codes.
        how: how it was made.
    """

    words: int
    dim: int
    kind: dict[str, Any]
    tensors: dict[str, int]
    bits: int
    bits_per_word: float
    ratio: float
    word_bits: int
    file_bits: int | None
    sharing: int | None
    how: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class CompressedVectors:
    """Vectors in little space, by word.

    Args:
        embedding: of any kind, one row a word; it is taken as it is stored.
        settings: those that it was built from.
        words: one a row, none twice. Without words, rows are called "0", "1", …
        how: what is to be known of how it was made; anything that JSON can hold.

    Attributes:
        words: all of them, in the order of rows.
        settings: as given.
        how: as given.

    Raises:
        KDError: words that are not one a row, or twice the same.

    Example:
        >>> v = kdcore.compress("vectors.txt", ratio=20)
        >>> v["king"].shape, v[["king", "queen"]].shape
        (torch.Size([50]), torch.Size([2, 50]))
        >>> v.most_similar("king", topn=2)
        [('queen', 0.78), ('prince', 0.75)]
        >>> v.save("vectors.kd")
    """

    @on_cpu()
    def __init__(
        self,
        embedding: Embedding,
        settings: KindSettings,
        words: Iterable[str] | None = None,
        how: Mapping[str, Any] | None = None,
    ):
        N, dim = embedding.num_embeddings, embedding.embedding_dim
        stored = settings.module.load(settings, N, dim, embedding.eval().export())
        self._set(stored.eval(), settings, words, how)

    def _set(
        self, embedding: Embedding, settings: KindSettings, words: Iterable[str] | None,
        how: Mapping[str, Any] | None, file_bits: int | None = None,
    ) -> None:  # fmt: skip
        if words is not None and not isinstance(words, Words):
            words = Words(words)
        N = embedding.num_embeddings
        if words is not None and len(words) != N:
            raise KDError(f"words must be {N}, one a row, got {len(words)}")
        self._embedding = embedding.requires_grad_(False)
        self._named = words
        self.words: Words | RowNumbers = RowNumbers(N) if words is None else words
        self.settings, self.how = settings, dict(how or {})
        self._file_bits = file_bits
        self._norms: torch.Tensor | None = None

    @classmethod
    def load(cls, path: str | Path) -> "CompressedVectors":
        """Read what `save` wrote, or what `save_embedding` did.

        Raises:
            KDError: the file is missing, damaged or holds something else.
        """
        stored = load_stored(path)
        made = cls.__new__(cls)
        size = 8 * os.stat(path).st_size
        made._set(stored.embedding, stored.settings, stored.words, stored.how, size)
        return made

    def save(self, path: str | Path) -> None:
        """Store in one safetensors file: tensors, words, and how it was made."""
        save_embedding(path, self._embedding, self.settings, words=self._named, how=self.how)
        self._file_bits = 8 * os.stat(path).st_size

    @on_cpu()
    def export(self, path: str | Path) -> None:
        """Write the composed vectors for other tools; see `kdcore.formats.write_vectors`."""
        write_vectors(path, self._named, self._embedding)

    @property
    def dim(self) -> int:
        """Size d of a vector."""
        return self._embedding.embedding_dim

    @property
    def has_words(self) -> bool:
        """Whether rows have words, not only numbers."""
        return self._named is not None

    def __len__(self) -> int:
        return self._embedding.num_embeddings

    def __iter__(self) -> Iterator[str]:
        return iter(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.words

    def __repr__(self) -> str:
        return f"CompressedVectors({len(self)} x {self.dim}, {self.settings.kind})"

    def index(self, word: Any) -> int:
        """The row of a word; a row's number stays as it is.

        Raises:
            KeyError: there is no such word; the message names the nearest one.
            IndexError: there is no such row.
            TypeError: it is neither.
        """
        if isinstance(word, str):
            return self.words.index(word)
        if not isinstance(word, Integral) or isinstance(word, bool):
            raise TypeError(f"a word must be text or a row's number, got {type(word).__name__}")
        row = int(word)
        if not -len(self) <= row < len(self):
            raise IndexError(f"row must be from 0 to {len(self) - 1}, got {row}")
        return row % len(self)

    @torch.no_grad()
    @on_cpu()
    def __getitem__(self, words: Any) -> torch.Tensor:
        """The vector of a word, (d,); of a list of words, (n, d); rows' numbers do, too.

        A tensor or array of rows' numbers (…) gives vectors (…, d), and a slice those of its rows.

        Raises:
            KeyError: see `index`.
            IndexError: see `index`.
            TypeError: see `index`.
        """
        if isinstance(words, slice):
            return self._rows(range(*words.indices(len(self))))
        if isinstance(words, torch.Tensor):
            if words.is_floating_point() or words.is_complex() or words.dtype == torch.bool:
                raise TypeError(f"rows' numbers must be integers, got {words.dtype}")
            check_ids(words, len(self))
            return self._composed(words.long().cpu())
        if isinstance(words, np.ndarray) and words.dtype.kind in "iu":
            found = self._rows([self.index(row) for row in words.ravel().tolist()])
            return found.view(*words.shape, self.dim)
        if isinstance(words, (str, bytes)) or not isinstance(words, Iterable):
            return self._rows([self.index(words)])[0]
        return self._rows([self.index(word) for word in words])

    def _rows(self, rows: Sequence[int]) -> torch.Tensor:
        return self._composed(torch.tensor(rows, dtype=torch.long, device="cpu"))

    def _composed(self, rows: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self._embedding(rows).float()
        return vectors

    def blocks(self, rows: int = PIECE) -> Iterator[torch.Tensor]:
        """All vectors in float32, so many rows at a time."""
        return composed_blocks(self._embedding, rows)

    @on_cpu()
    def embedding(self) -> Embedding:
        """A drop-in for `torch.nn.Embedding`, in eval mode: a `KDEmbedding` where there are codes.

        It is a copy: training it changes nothing here.
        """
        return copy.deepcopy(self._embedding.plain()).requires_grad_(True)

    def stored(self) -> Embedding:
        """The embedding in as little memory as it is stored in."""
        return self._embedding

    @torch.no_grad()
    @on_cpu()
    def most_similar(
        self, query: Any = None, topn: int = 10, *, positive: Any = None, negative: Any = None
    ) -> list[tuple[str, float]]:
        """The words whose vectors have the largest cosine with a word's, or with a vector.

        Several words, some of them negative, are asked for as in gensim: their vectors of length 1
        are averaged, those of negative words with the sign turned. Where vectors are sums of code
        book rows, products with the query are taken of the books alone, D·K of them, and summed up
        by code: no vector is composed.

        Args:
            query: a word, a row's number, a vector (d,), which counts as it is, or a list of such;
                the same as `positive`.
            topn: how many.
            positive, negative: as `query`; in a list also pairs of one and its weight, by default
                1 and -1. Words that are asked for are left out of what is found.

        Raises:
            KeyError: see `index`.
            IndexError: see `index`.
            TypeError: see `index`.
            KDError: a vector of another size, no word asked for, or a query beside `positive`.

        Example:
            >>> v.most_similar(positive=["king", "woman"], negative=["man"], topn=1)
            [('queen', 0.71)]
        """
        if not isinstance(topn, Integral) or isinstance(topn, bool):
            raise KDError(f"topn must be an integer, got {topn!r}")
        if topn < 1:
            raise KDError(f"topn must be at least 1, got {topn}")
        if query is not None and positive is not None:
            raise KDError("query and positive are the same, got both")
        wanted = _weighted(query if positive is None else positive, 1.0)
        wanted += _weighted(negative, -1.0)
        if not wanted:
            raise KDError("query must be a word, a vector or a list of them, got none")
        total = torch.zeros(self.dim, dtype=torch.float64)
        own: set[int] = set()
        for item, weight in wanted:
            if isinstance(item, (torch.Tensor, np.ndarray)):
                vector = check_vectors(item, or_one=True, dim=self.dim)
                if len(vector) != 1:
                    raise KDError(f"query must be one vector, got {len(vector)}")
                total += weight * vector[0].double()
            else:
                row = self.index(item)
                own.add(row)
                total += weight * F.normalize(self[row].double(), dim=0, eps=0.0).nan_to_num()
        # Of length 1: products with vectors of any size stay within float32.
        direction = F.normalize(total[None], dim=1, eps=0.0).nan_to_num().float()
        products = torch.cat([block[:, 0] for block in self._products(direction)])
        lengths = self.norms()
        scores = torch.where(lengths > 0, products / lengths, 0.0)
        scores[list(own)] = -torch.inf
        found = scores.topk(min(int(topn), len(self) - len(own)))
        pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
        return [(self.words[row], score) for row, score in pairs]

    @torch.no_grad()
    @on_cpu()
    def norms(self) -> torch.Tensor:
        """The length of each vector in float64, (N,); found at first use and kept."""
        if self._norms is None:
            # Squares of large or small numbers leave float32.
            norm = partial(torch.linalg.vector_norm, dim=1, dtype=torch.float64)
            self._norms = torch.cat([norm(block) for block in self.blocks()])
        return self._norms

    def _products(self, queries: torch.Tensor) -> Iterator[torch.Tensor]:
        """Products of all rows with queries (q, d), by blocks (n, q)."""
        plain = self._embedding.plain()
        if not isinstance(plain, KDEmbedding) or not plain.transform.is_sum:
            for block in self.blocks():
                yield block @ queries.T
            return
        transform, exact = plain.transform, queries.double()
        parts = zip(transform.slices, transform.sliced_codebooks(), strict=True)
        tables, offset = [], exact.new_zeros(len(queries))
        for place, (books, constant) in parts:
            tables.append(books @ exact[:, place].T)
            offset += exact[:, place] @ constant
        table = torch.cat(tables).flatten(0, 1).float()
        first = torch.arange(plain.D) * plain.K
        codes = plain.codes
        for start in range(0, len(self), PIECE):
            rows = codes[start : start + PIECE] + first
            yield F.embedding_bag(rows, table, mode="sum") + offset.float()

    @on_cpu()
    def extended(
        self, words: str | Iterable[str], vectors: torch.Tensor | np.ndarray[Any, Any]
    ) -> "CompressedVectors":
        """A table with more words, composed from the same code books; what is there stays.

        Args:
            words: none that is there; ignored where rows have no words.
            vectors: of the new words, (n, d); (d,) of one.

        Raises:
            KDError: words that are there, or are not one a vector; an embedding that takes no
                further rows.
        """
        table = check_vectors(vectors, or_one=True, dim=self.dim)
        joined: list[str] | None = None
        if self.has_words:
            more = list(names_of(words))
            if len(more) != len(table):
                raise KDError(f"words must be {len(table)}, one a vector, got {len(more)}")
            for word in more:
                if word in self:
                    raise KDError(f"words must be new, got {word!r}")
            joined = [*self.words, *more]
        made = type(self).__new__(type(self))
        grown = self._embedding.extended(table)
        made._set(grown, self.settings, joined, self._how_with(grown, len(table)))
        return made

    def _how_with(self, grown: Embedding, more: int) -> dict[str, Any]:
        """How it was made, when so many words have joined."""
        bits, N = stored_bits(grown.export()), grown.num_embeddings
        sizes = {"bits_per_word": bits / N, "ratio": N * self.dim * FLOAT_BITS / bits}
        known = {name: size for name, size in sizes.items() if name in self.how}
        # What else is said there, as the error, is of those that it was made from.
        before = self.how.get(JOINED)
        return {**self.how, **known, JOINED: more + (before if isinstance(before, int) else 0)}

    @on_cpu()
    def sharing(self) -> int | None:
        """How many words have the code of another, and so its vector; None without codes."""
        plain = self._embedding.plain()
        if not isinstance(plain, KDEmbedding):
            return None
        kind = np.uint8 if plain.K <= 256 else np.int64
        codes = plain.codes
        starts = range(0, len(self), PIECE)
        table = np.concatenate([codes[i : i + PIECE].numpy().astype(kind) for i in starts])
        rows = np.ascontiguousarray(table).view(f"V{table.shape[1] * table.itemsize}")
        counts = np.unique(rows, return_counts=True)[1]
        return int(counts[counts > 1].sum())

    @on_cpu()
    def info(self) -> Info:
        """What it consists of, every bit accounted for."""
        tensors = self._embedding.export()
        bits = stored_bits(tensors)
        N, dim = len(self), self.dim
        return Info(
            N, dim, self.settings.model_dump(mode="json"),
            {name: stored_bits({name: tensor}) for name, tensor in tensors.items()},
            bits, bits / N, N * dim * FLOAT_BITS / bits,
            0 if self._named is None else stored_bits(self._named.tensors()),
            self._file_bits, self.sharing(), self.how,
        )  # fmt: skip


def _weighted(asked: Any, weight: float) -> list[tuple[Any, float]]:
    """Words, rows' numbers or vectors with their weights, of one or of a list of them."""
    if asked is None:
        return []
    single = isinstance(asked, (torch.Tensor, np.ndarray)) and asked.ndim < 2
    if single or isinstance(asked, (str, bytes)) or not isinstance(asked, Iterable):
        return [(asked, weight)]
    found = []
    for item in asked:
        pair = item if isinstance(item, tuple) else (item, weight)
        if len(pair) != 2 or not isinstance(pair[1], Real):
            raise KDError(f"a word and its weight must be a pair of it and a number, got {item!r}")
        if not math.isfinite(pair[1]):
            raise KDError(f"weight must be finite, got {float(pair[1])}")
        found.append((pair[0], float(pair[1])))
    return found


def compress(
    vectors: Any,
    *,
    words: Iterable[str] | None = None,
    ratio: float | None = None,
    bits_per_word: float | None = None,
    size: float | None = None,
    max_error: float | None = None,
    **options: Any,
) -> CompressedVectors:
    """A table in a given fraction of its size, with as small an error as is found.

    Args:
        vectors: a path (see `kdcore.formats.read_vectors`), a tensor or array (N, d), gensim's
            KeyedVectors, `WordVectors`, or an `nn.Embedding`.
        words: one a row, for a table that has none.
        ratio: bits of the table in float32 over those of the compressed one, words left out.
        bits_per_word: bits that are stored over the number of words.
        size: bytes that are stored.
        max_error: share of the variance that may be lost; the smallest form found within it.
        options: `forms`, `counts`, `seed`, `seconds`, `report` and `checkpoint`, a folder to
            continue from, of `kdcore.compressing.compress_table`.

    Returns:
        The compressed table; `how` says what was tried and chosen.

    Raises:
        KDError: vectors that cannot be read, no target or several, one that cannot be reached.

    Warns:
        UserWarning: what was odd in the file; more than one word in a hundred has the vector of
            another; a vector so small beside others that zeros are left of it; what
            `compress_table` found in a checkpoint.

    Example:
        >>> kdcore.compress("vectors.txt", ratio=20).save("vectors.kd")
        >>> kdcore.compress(torch.randn(10_000, 64), bits_per_word=128).how["error"]
    """
    found = given_vectors(vectors)
    # Whoever read the file has seen them.
    for note in () if found is vectors else found.notes:
        warnings.warn(f"{vectors}: {note}", stacklevel=2)
    named = Words(words) if words is not None else found.words
    if named is not None and len(named) != len(found.vectors):
        raise KDError(f"words must be {len(found.vectors)}, one a row, got {len(named)}")
    with on_cpu():
        result = import_module("kdcore.compressing").compress_table(
            found.vectors, ratio=ratio, bits_per_word=bits_per_word, size=size,
            max_error=max_error, **options,
        )  # fmt: skip
        made = CompressedVectors(result.embedding, result.settings, named, result.how)
        lines = shared_line(made), lost_line(made, found.vectors)
    for line in filter(None, lines):
        warnings.warn(line, stacklevel=2)
    return made


def shared_line(vectors: CompressedVectors) -> str | None:
    """What is to be said where more than one word in a hundred has the vector of another."""
    sharing = vectors.sharing() or 0
    if sharing <= SHARING * len(vectors):
        return None
    share = f"{sharing:,} of {len(vectors):,} words ({sharing / len(vectors):.1%})"
    return f"{share} have the same vector as another word; more bits a word tell them apart"


def lost_line(vectors: CompressedVectors, given: torch.Tensor) -> str | None:
    """What is to be said where zeros are left of a vector that was none, as beside far larger ones.

    Sums of codes are not looked at: theirs are no zeros.
    """
    if vectors.sharing() is not None:
        return None
    rows = (vectors.norms() == 0).nonzero().flatten()
    lost = rows[(given[rows] != 0).any(1)]
    if not len(lost):
        return None
    first = int(lost[0])
    return (
        f"of {len(lost):,} of {len(vectors):,} vectors nothing but zeros is left: they are too "
        f"small beside the largest one; the first is that of {vectors.words[first]!r}, whose "
        f"largest number is {float(given[first].abs().max()):.2g}"
    )
