"""Words as bytes and lengths: small in memory and in a file, whatever characters are in them."""

import difflib
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from os import PathLike
from typing import Any, overload

import numpy as np
import torch

from kdcore.errors import KDError

# Names of the tensors that hold words, and how many words are searched for one like another.
TEXT, LENGTHS = "words.text", "words.lengths"
SEARCHED = 50_000


class UnknownWordError(KeyError):
    """A word that is not in a table. The nearest one is sought when the message is read.

    So who only asks for words that may be absent does not wait for it.
    """

    def __str__(self) -> str:
        word, words = self.args
        near = words.nearest(word)
        hint = f"; did you mean {near!r}?" if near is not None else ""
        return f"word {word!r} is not in the table{hint}"


class Words(Sequence[str]):
    """Distinct words, each with its row.

    Memory is that of the text and some 20 bytes a word; a list of Python's has 60 to 100.

    Args:
        words: no word twice.

    Raises:
        KDError: a word comes twice, or is no text; a text in place of words.

    Example:
        >>> words = Words(["the", "king"])
        >>> words[1], words.index("king"), "queen" in words
        ('king', 1, False)
    """

    def __init__(self, words: Iterable[str]):
        if isinstance(words, (str, bytes)):
            raise KDError(f"words must be a list of them, one a row, got {words!r}")
        # What is no text, such as half a surrogate, is kept too.
        encoded = [_text(word).encode("utf-8", "surrogatepass") for word in words]
        self._set(b"".join(encoded), np.fromiter(map(len, encoded), np.int64, len(encoded)))

    def _set(self, text: bytes, lengths: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        self._text = text
        self._ends = np.concatenate([[0], lengths.cumsum()])
        hashes = np.fromiter((hash(self._bytes(i)) for i in range(len(self))), np.int64, len(self))
        self._order = hashes.argsort(kind="stable").astype(np.int32)
        self._sorted = hashes[self._order]
        for at in np.flatnonzero(self._sorted[1:] == self._sorted[:-1]).tolist():
            first, second = (self[int(self._order[at + i])] for i in (0, 1))
            if first == second:
                raise KDError(f"words must differ, got {first!r} twice")

    def __getstate__(self) -> dict[str, Any]:
        return {"text": self._text, "lengths": np.diff(self._ends)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Another process hashes otherwise.
        self._set(state["text"], state["lengths"])

    def _bytes(self, row: int) -> bytes:
        return self._text[self._ends[row] : self._ends[row + 1]]

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        row = operator.index(row)
        if not -len(self) <= row < len(self):
            raise IndexError(f"row must be from 0 to {len(self) - 1}, got {row}")
        return self._bytes(row % len(self)).decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Words):
            return NotImplemented
        return self._text == other._text and bool((self._ends == other._ends).all())

    def __repr__(self) -> str:
        return f"Words({len(self)}: {', '.join(map(repr, islice(self, 3)))} …)"

    def find(self, word: str) -> int | None:
        """The row of a word, or None."""
        sought = word.encode("utf-8", "surrogatepass")
        at = int(np.searchsorted(self._sorted, hash(sought)))
        while at < len(self) and self._sorted[at] == hash(sought):
            row = int(self._order[at])
            if self._bytes(row) == sought:
                return row
            at += 1
        return None

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self.find(word) is not None

    def index(self, word: str, *_: Any) -> int:
        """The row of a word.

        Raises:
            UnknownWordError: there is no such word; the message names the nearest one.
        """
        row = self.find(word)
        if row is None:
            raise UnknownWordError(word, self)
        return row

    def nearest(self, word: str) -> str | None:
        """A word that is written alike, if any: of the first 50,000 those that begin alike."""
        for other in (word.lower(), word.capitalize(), word.upper(), word.strip()):
            if other in self:
                return other
        alike = [
            other for other in islice(self, SEARCHED)
            if other[:1].lower() == word[:1].lower() and abs(len(other) - len(word)) < 3
        ]  # fmt: skip
        return next(iter(difflib.get_close_matches(word, alike, 1)), None)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The words as bytes (uint8) and their lengths, in the smallest type that holds them."""
        lengths = np.diff(self._ends)
        kind: Any = np.uint8 if lengths.max(initial=0) < 256 else np.int32
        text = np.frombuffer(bytearray(self._text), np.uint8)
        return {TEXT: torch.from_numpy(text), LENGTHS: torch.from_numpy(lengths.astype(kind))}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> "Words":
        """Rebuild from what `tensors` gave.

        Raises:
            KDError: one of the tensors is missing, the lengths are not those of the text, a word
                is no text, or comes twice.
        """
        for name in (TEXT, LENGTHS):
            if name not in tensors:
                raise KDError(f"tensor {name!r} is missing")
        text, lengths = tensors[TEXT].numpy().tobytes(), tensors[LENGTHS].numpy().astype(np.int64)
        if lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != len(text):
            raise KDError(f"words must have {len(text)} bytes as stored, got {lengths.sum()}")
        try:
            text.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise KDError(f"words must be UTF-8 ({error.reason} at byte {error.start})") from None
        starts = (lengths.cumsum() - lengths)[lengths > 0]
        cut = np.frombuffer(text, np.uint8)[starts] & 0xC0 == 0x80
        if cut.any():
            raise KDError(f"words must begin with a character, got byte {starts[cut.argmax()]}")
        made = cls.__new__(cls)
        made._set(text, lengths)
        return made


def names_of(given: str | PathLike[str] | Iterable[Any]) -> tuple[Any, ...]:
    """A list of names or paths; a single one, not in a list, is meant as one.

    Example:
        >>> names_of("rounding"), names_of(["rounding", "product"])
        (('rounding',), ('rounding', 'product'))
    """
    return (given,) if isinstance(given, (str, PathLike)) else tuple(given)


def _text(word: object) -> str:
    if not isinstance(word, str):
        raise KDError(f"words must be text, got {word!r}")
    return word


class RowNumbers(Sequence[str]):
    """The names of rows that have no words: "0", "1", …

    Args:
        count: how many there are.
    """

    def __init__(self, count: int):
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        rows = range(self._count)[row]
        return str(rows) if isinstance(rows, int) else list(map(str, rows))

    def find(self, word: str) -> int | None:
        """The row of its number as text, or None."""
        # As it is written here alone: neither "007" nor digits of other scripts.
        if not word.isdecimal() or len(word) > len(str(self._count)):
            return None
        row = int(word)
        return row if str(row) == word and row < self._count else None

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self.find(word) is not None

    def index(self, word: str, *_: Any) -> int:
        """The row of its number as text.

        Raises:
            KeyError: there is no such row.
        """
        row = self.find(word)
        if row is None:
            raise KeyError(f"row must be from 0 to {self._count - 1}, got {word!r}")
        return row
