"""Files of vectors, as the tools of the field write them: one file a format.

A format is a module in this folder. One that is read has

- `recognises(source) -> bool`: whether a file is of this format, told by its first bytes;
- `read(source) -> FoundVectors`;
- `NAMES`, true where one of several tables in a file is chosen by its name.

One that is written has

- `SUFFIXES`: endings of the files that it writes;
- `write(path, suffix, words, embedding)`, which is given a path to fill, the ending that was asked
  for, and None for rows without words.
"""

import codecs
import gzip
import io
import os
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy_format
from torch import nn

from kdcore.embeddings import Embedding
from kdcore.errors import KDError
from kdcore.files import atomic_path, why_no_file
from kdcore.kinds import unknown
from kdcore.tensors import on_cpu
from kdcore.vectors import WordVectors, as_float32, as_floats, keyed_vectors

# Bytes by which a format is recognised, and rows that are worked on at a time.
HEAD, PIECE = 1 << 16, 10_000


# What reading packed bytes raises where they are none.
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)


@dataclass(frozen=True)
class FoundVectors:
    """A table as it was found.

    Attributes:
        words: length N, no word twice; None where rows have numbers only.
        vectors: float32, shape (N, d); those of a `.npy` file of float32 stay in the file until
            they are asked for.
        notes: what was odd, a line each.
    """

    words: Sequence[str] | None
    vectors: torch.Tensor
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A file that is read.

    Attributes:
        path: the file.
        name: what stood behind a colon: a tensor's name, or that of a file in a `.zip`.
    """

    path: Path
    name: str | None = None

    @classmethod
    def of(cls, path: str | Path) -> "Source":
        """The file at a path, or at what comes before the path's last colon.

        Raises:
            KDError: there is no such file, or something else, such as a pipe.
        """
        before, colon, name = str(path).rpartition(":")
        for file, inner in ((str(path), None), (before, name)):
            if file and Path(file).is_file():
                return cls(Path(file), inner)
        absent = colon and not Path(path).exists()
        place = before if absent and Path(before).parent.is_dir() else path
        raise KDError(f"{place}: {why_no_file(place)}")

    def __str__(self) -> str:
        return str(self.path)

    @cached_property
    def _start(self) -> bytes:
        with open(self.path, "rb") as stream:
            return stream.read(HEAD)

    @property
    def is_gzip(self) -> bool:
        """Whether the file is one that gzip packed."""
        return self._start.startswith(b"\x1f\x8b")

    @cached_property
    def members(self) -> tuple[str, ...]:
        """Names in a `.zip`, folders left out; none in other files and in PyTorch's archives."""
        if not self._start.startswith(b"PK"):
            return ()
        try:
            with zipfile.ZipFile(self.path) as archive:
                found = archive.namelist()
        except (*DAMAGED, ValueError, RuntimeError) as error:
            # ValueError: names that are no text; RuntimeError: a version that zipfile cannot read.
            raise KDError(f"{self}: damaged ({error})") from None
        if any(name.endswith("/data.pkl") for name in found):
            return ()
        return tuple(name for name in found if not name.endswith("/"))

    @property
    def is_packed(self) -> bool:
        """Whether `open` unpacks the file."""
        return self.is_gzip or bool(self.members)

    def _open_member(self, archive: zipfile.ZipFile, name: str) -> IO[bytes]:
        try:
            return archive.open(name)
        except RuntimeError as error:  # a password is asked for, or another way of packing
            raise KDError(
                f"{self}: {name} must be packed as Python's zipfile reads it, without a password, "
                f"got {error}"
            ) from None

    def _array(self) -> str:
        """The array of NumPy's archive, which goes by its name without an ending."""
        shapes: dict[str, tuple[int, ...]] = {}
        try:
            with zipfile.ZipFile(self.path) as archive:
                for member in self.members:
                    with self._open_member(archive, member) as stream:
                        shape, dtype = _array_head(stream)
                    if dtype.kind in "fiu" or self.name is not None:
                        shapes[member.removesuffix(".npy")] = shape
        except KDError:
            raise
        except (*DAMAGED, ValueError, SyntaxError, tokenize.TokenError) as error:
            raise KDError(f"{self}: damaged ({' '.join(str(error).split())})") from None
        name = None if self.name is None else self.name.removesuffix(".npy")
        return f"{choose_tensor(Source(self.path, name), shapes)}.npy"

    def _member(self) -> str:
        if all(name.endswith(".npy") for name in self.members):
            return self._array()
        if self.name is not None:
            if self.name not in self.members:
                raise KDError(f"{self}: {unknown('file', self.name, list(self.members))}")
            return self.name
        if len(self.members) > 1:
            named = ", ".join(f"{self}:{name}" for name in self.members[:6])
            raise KDError(f"{self} holds {len(self.members)} files; name one: {named}")
        return self.members[0]

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The file's bytes; those of a `.gz` or of a file in a `.zip`, unpacked.

        Raises:
            KDError: what is packed is damaged, or several files are and none is named.
        """
        try:
            if self.is_gzip:
                with _Packed(self.path) as packed:
                    yield io.BufferedReader(packed, 1 << 20)
            elif self.members:
                with (
                    zipfile.ZipFile(self.path) as archive,
                    self._open_member(archive, self._member()) as member,
                ):
                    yield member
            else:
                with open(self.path, "rb", buffering=1 << 20) as stream:
                    yield stream
        except DAMAGED as error:
            raise KDError(f"{self}: damaged or cut off ({error})") from None

    @cached_property
    def head(self) -> bytes:
        """The first bytes of what `open` gives."""
        if not self.is_packed:
            return self._start
        with self.open() as stream:
            return stream.read(HEAD)


class _Packed(gzip.GzipFile):
    """A file that gzip packed, whose number is not told: NumPy would read packed bytes by it."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


def _array_head(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array of NumPy."""
    version = npy_format.read_magic(stream)
    # The third version is for names of fields, which numbers have none of.
    first = version == (1, 0)
    read = npy_format.read_array_header_1_0 if first else npy_format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


class WordList:
    """Words in the order of a file, each once; remembers what was odd.

    Args:
        unit: what a word's number counts in the file, such as "line".
    """

    def __init__(self, unit: str):
        self.unit = unit
        self.words: list[str] = []
        self.repeated = 0
        self._seen: set[str] = set()
        self._odd: dict[str, tuple[str, int]] = {}

    def add(self, raw: bytes, number: int) -> bool:
        """Take a word's bytes; false where the word has been there before."""
        try:
            word = raw.decode()
        except UnicodeDecodeError:
            word = raw.decode(errors="backslashreplace")
            self.remark(number, f"{word!r} ", "is not UTF-8; such bytes are written as \\x…")
        if word in self._seen:
            self.repeated += 1
            self.remark(number, f"{word!r} ", "comes again; the first is kept")
            return False
        if not word:
            self.remark(number, "", "the word is empty")
        self._seen.add(word)
        self.words.append(word)
        return True

    def remark(self, number: int, subject: str, what: str) -> None:
        """Something odd; of several of the same the first is told, and their number."""
        line, count = self._odd.get(what, (f"{self.unit} {number}: {subject}{what}", 0))
        self._odd[what] = (line, count + 1)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was odd, a line each."""
        return tuple(
            line if count == 1 else f"{line} ({count:,} such {self.unit}s)"
            for line, count in self._odd.values()
        )


@dataclass
class GrowingTable:
    """Rows that are added one block after another; memory is theirs and half as much again."""

    dim: int
    rows: int = 0
    _table: np.ndarray[Any, np.dtype[np.float32]] = field(init=False)

    def __post_init__(self) -> None:
        self._table = np.empty((0, self.dim), np.float32)

    def add(self, block: np.ndarray[Any, Any]) -> None:
        """Add rows, (n, dim)."""
        end = self.rows + len(block)
        if end > len(self._table):
            # In place where the system can move memory: no second copy.
            self._table.resize((max(end, 3 * len(self._table) // 2), self.dim), refcheck=False)
        self._table[self.rows : end] = block
        self.rows = end

    def tensor(self) -> torch.Tensor:
        """All rows; nothing can be added any more."""
        self._table.resize((self.rows, self.dim), refcheck=False)
        return torch.from_numpy(self._table)


@cache
def _modules() -> tuple[ModuleType, ...]:
    names = sorted(found.name for found in iter_modules(__path__))
    return tuple(import_module(f"{__name__}.{name}") for name in names)


def names() -> list[str]:
    """All formats, in alphabetical order."""
    return [module.__name__.rpartition(".")[2] for module in _modules()]


def suffixes() -> list[str]:
    """Endings of the files that can be written."""
    return sorted(suffix for module in _modules() for suffix in getattr(module, "SUFFIXES", ()))


@on_cpu()
def read_vectors(path: str | Path, words: str | Path | None = None) -> FoundVectors:
    """Read a table of vectors, of whatever format.

    Text of word2vec, GloVe and fastText (with and without a header, separated by spaces or tabs),
    the binary files of word2vec and fastText, `.npy` and `.npz`, safetensors, checkpoints of
    PyTorch and KeyedVectors of gensim, told by their content; text and word2vec's binary also in
    `.gz` and `.zip`. Of a compressed table, `.kd`, the composed vectors.

    Args:
        path: the file; with `:name` behind it where it holds several tensors, arrays or files.
        words: a text file of one word a line, for rows that have none.

    Raises:
        KDError: no such file, of no format that is known, damaged, or with values that are not
            finite.

    Example:
        >>> found = read_vectors("checkpoint.pt:encoder.weight")
    """
    source = Source.of(path)
    try:
        readers = [m for m in _modules() if hasattr(m, "read") and m.recognises(source)]
        if not readers:
            raise KDError(
                f"{source}: no vectors found; formats that are read: {', '.join(_readable())}"
            )
        if source.name is not None and not (source.members or getattr(readers[0], "NAMES", False)):
            raise KDError(f"{source}: holds one table, which has no name, got {source.name!r}")
        found: FoundVectors = readers[0].read(source)
        if words is not None:
            found = FoundVectors(_words_of_lines(words), found.vectors, found.notes)
    except OSError as error:
        raise KDError(f"{error.filename or source}: {error.strerror or error}") from None
    _check(found, str(path))
    return found


def _readable() -> list[str]:
    return [name for name, m in zip(names(), _modules(), strict=True) if hasattr(m, "read")]


def without_mark(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of a text, without the mark of UTF-8 that Windows puts before the first."""
    for number, line in enumerate(lines):
        yield line if number else line.removeprefix(codecs.BOM_UTF8)


def _words_of_lines(path: str | Path) -> list[str]:
    words = WordList("line")
    with Source.of(path).open() as stream:
        for number, line in enumerate(without_mark(stream), 1):
            if not words.add(line.rstrip(b"\r\n"), number):
                raise KDError(f"{path}: {words.notes[-1].partition(';')[0]}; rows must differ")
    return words.words


def _check(found: FoundVectors, path: str) -> None:
    vectors, words = found.vectors, found.words
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise KDError(f"{path}: vectors must have shape (N, d), got {tuple(vectors.shape)}")
    if words is not None and len(words) != len(vectors):
        raise KDError(f"{path}: words must be {len(vectors)}, one a row, got {len(words)}")
    for first, part in zip(range(0, len(vectors), PIECE), vectors.split(PIECE), strict=False):
        wrong = ~torch.isfinite(part).all(1)
        if wrong.any():
            row = first + int(wrong.nonzero()[0])
            name = f"row {row}" if words is None else repr(words[row])
            raise KDError(f"{path}: the vector of {name} has a value that is not finite")


@on_cpu()
def given_vectors(vectors: Any) -> FoundVectors:
    """A table in any form that a caller may have it in.

    Args:
        vectors: a path, `WordVectors`, `CompressedVectors`, gensim's KeyedVectors (or a model with
            its `wv`), a `torch.nn.Embedding`, a tensor or an array of shape (N, d).

    Raises:
        KDError: see `read_vectors`; or something else.
    """
    if isinstance(vectors, FoundVectors):
        return vectors
    if isinstance(vectors, (str, os.PathLike)):
        return read_vectors(Path(vectors))
    found: FoundVectors
    keyed = keyed_vectors(vectors)
    if isinstance(vectors, WordVectors):
        found = FoundVectors(vectors.words, vectors.vectors.float())
    elif isinstance(vectors, import_module("kdcore.compressed").CompressedVectors):
        words = vectors.words if vectors.has_words else None
        found = FoundVectors(words, torch.cat(list(vectors.blocks())))
    elif keyed is not None:
        found = of_keyed_vectors(keyed)
    else:
        table = vectors.weight.detach() if isinstance(vectors, nn.Embedding) else vectors
        try:
            found = FoundVectors(None, as_floats(table))
        except (TypeError, ValueError, RuntimeError) as error:
            raise KDError(
                "vectors must be a path, a table (N, d) or KeyedVectors, got "
                f"{type(vectors).__name__} ({' '.join(str(error).split())})"
            ) from None
    _check(found, "vectors")
    return found


def of_keyed_vectors(keyed: Any) -> FoundVectors:
    """The words and vectors of gensim's KeyedVectors."""
    table = torch.from_numpy(as_float32(np.array(keyed.vectors)))
    return FoundVectors([str(key) for key in keyed.index_to_key], table)


def choose_tensor(source: Source, shapes: Mapping[str, Sequence[int]]) -> str:
    """The name of the table in a file of several tensors.

    Args:
        shapes: of the tensors of floating-point numbers, by name.

    Raises:
        KDError: no such tensor, no table, or several and none named.
    """
    if source.name is not None:
        if source.name not in shapes:
            raise KDError(f"{source}: {unknown('tensor', source.name, list(shapes))}")
        return source.name
    tables = {name: shape for name, shape in shapes.items() if len(shape) == 2}
    if not tables:
        raise KDError(f"{source}: holds no table of numbers, shape (N, d)")
    if len(tables) > 1:
        largest = sorted(tables, key=lambda name: -tables[name][0])[:4]
        named = ", ".join(f"{source}:{name} {tuple(tables[name])}" for name in largest)
        raise KDError(f"{source} holds {len(tables)} tables; name one: {named}")
    (name,) = tables
    return name


def write_vectors(path: str | Path, words: Sequence[str] | None, embedding: Embedding) -> None:
    """Write an embedding's vectors; the file's ending says how.

    `.txt` as GloVe does, without a header; `.vec` as word2vec and fastText do, with one; `.bin` is
    word2vec's binary format. `.npy` has no words, `.onnx` has the embedding itself as a graph.

    Raises:
        KDError: an unknown ending, a word that the format cannot hold, or nothing can be written.
    """
    suffix = Path(path).suffix
    for module in _modules():
        if suffix in getattr(module, "SUFFIXES", ()):
            write: Callable[..., None] = module.write
            with atomic_path(path) as temporary:
                try:
                    write(temporary, suffix, words, embedding)
                except KDError as error:
                    raise KDError(f"{path}: {error}") from None
            return
    raise KDError(f"{path}: ending must be one of {', '.join(suffixes())}, got {suffix!r}")


@torch.no_grad()
def composed_blocks(embedding: Embedding, rows: int = PIECE) -> Iterator[torch.Tensor]:
    """An embedding's vectors in float32, so many rows at a time."""
    device = next((t.device for t in embedding.state_dict().values()), torch.device("cpu"))
    for first in range(0, embedding.num_embeddings, rows):
        last = min(first + rows, embedding.num_embeddings)
        yield embedding(torch.arange(first, last, device=device)).float().cpu()


def written_words(words: Sequence[str] | None, count: int, refused: str, why: str) -> list[bytes]:
    """Words as a format writes them; rows without words are written as their numbers.

    Raises:
        KDError: a word has one of the characters `refused`, or half a surrogate.
    """
    if words is None:
        return [str(row).encode() for row in range(count)]
    for row, word in enumerate(words):
        if any(character in word for character in refused):
            raise KDError(f"word {word!r} of row {row} has {why}")
    try:
        return [word.encode() for word in words]
    except UnicodeEncodeError as error:
        raise KDError(f"word {error.object!r} cannot be written as UTF-8") from None
