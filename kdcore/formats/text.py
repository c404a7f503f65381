"""Text: a word and its numbers a line, as word2vec, GloVe and fastText write it.

With or without a first line of N and d; numbers stand behind spaces or tabs. A word may have spaces
in it: the last d things on a line are its numbers.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from kdcore.embeddings import Embedding
from kdcore.errors import KDError
from kdcore.formats import (
    FoundVectors,
    GrowingTable,
    Source,
    WordList,
    composed_blocks,
    without_mark,
    written_words,
)
from kdcore.vectors import as_float32

SUFFIXES = (".txt", ".vec")
# Lines from which the size of a vector is told, and lines that are parsed at a time.
FIRST, BLOCK = 100, 2_000
NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.I)
HEADER = re.compile(rb"(\d+)\s+(\d+)\s*")
BLANK = b" \t\r\n"
Line = tuple[int, bytes]


def numbers_at_end(line: bytes) -> int:
    """How many of the last things on a line are numbers; the first is a word, whatever it is."""
    things = line.split()[1:]
    if line[:1].isspace():  # the word is a space, or empty
        things = line.split()
    wrong = (at for at, thing in enumerate(reversed(things)) if not NUMBER.fullmatch(thing))
    return next(wrong, len(things))


def recognises(source: Source) -> bool:
    """Whether one of the first lines ends in a number and none has a byte that text has not."""
    if b"\0" in source.head:
        return False
    lines = [line for line in source.head.split(b"\n")[:-1] if line.strip()]
    lines = lines or [source.head]  # a last line may be cut off
    if len(lines) > 1 and HEADER.fullmatch(lines[0]):
        lines = lines[1:]
    return any(numbers_at_end(line) for line in lines[:3])


def read(source: Source) -> FoundVectors:
    """The words and vectors.

    Raises:
        KDError: no vectors, a line that has another number of values than the others, or a header
            that says another size.
    """
    with source.open() as stream:
        lines = _lines(stream)
        first = list(islice(lines, FIRST))
        if not first:
            raise KDError(f"{source}: no vectors")
        words = WordList("line")
        dim, header = _shape(source, first)
        table = GrowingTable(dim)
        rest = chain(first[1:] if header is not None else first, lines)
        last = 0
        while block := list(islice(rest, BLOCK)):
            last = block[-1][0]
            found, numbers = _parsed(source, block, dim)
            new = [
                row
                for row, (word, (at, _)) in enumerate(zip(found, block, strict=True))
                if words.add(word, at)
            ]
            table.add(numbers[new] if len(new) < len(numbers) else numbers)
    there = table.rows + words.repeated
    if header is not None and header != there:
        words.remark(
            1, "", f"says {header:,} words, there are {there:,}; the last is line {last:,}"
        )
    return FoundVectors(words.words, table.tensor(), words.notes)


def _lines(stream: Iterable[bytes]) -> Iterator[Line]:
    """Lines that are not empty, with their numbers, without what stands behind the last value."""
    for number, line in enumerate(without_mark(stream), 1):
        if line := line.rstrip(BLANK):
            yield number, line


def _shape(source: Source, first: list[Line]) -> tuple[int, int | None]:
    """The size of a vector, and the number of words that a header says."""
    match = HEADER.fullmatch(first[0][1])
    rows = first[1:] if match else first
    counted = Counter(numbers_at_end(line) for _, line in rows)
    dim = counted.most_common(1)[0][0] if rows else 0
    if match is None:
        if dim == 0:
            raise KDError(f"{source}: line {first[0][0]} must be a word and its numbers")
        return dim, None
    said = int(match[2])
    if not rows:
        raise KDError(f"{source}: line 1 says {int(match[1]):,} words, there are none")
    if said < 1:
        raise KDError(f"{source}: line 1 says vectors of size {said}")
    if said == dim:
        return dim, int(match[1])
    if dim == 1:
        return 1, None  # words that are numbers, with one value each
    raise KDError(f"{source}: line 1 says vectors of size {said}, line {rows[0][0]} has {dim}")


def _parsed(
    source: Source, block: list[Line], dim: int
) -> tuple[list[bytes], np.ndarray[Any, np.dtype[np.float32]]]:
    words, rests = [], []
    for _, line in block:
        word, _, rest = line.partition(b"\t" if b"\t" in line else b" ")
        words.append(word)
        rests.append(rest)
    # A word that is a space seems to be empty here.
    if all(words):
        try:
            numbers = np.loadtxt(rests, np.float32, comments=None, encoding="latin1", ndmin=2)
        except ValueError:
            pass
        else:
            if numbers.shape == (len(block), dim):
                return words, numbers
    words, rows = [], []
    for at, line in block:
        word, values = _split(source, at, line, dim)
        words.append(word)
        rows.append(values)
    return words, as_float32(rows)


def _split(source: Source, at: int, line: bytes, dim: int) -> tuple[bytes, list[float]]:
    """One line that is not a word without spaces and its numbers."""
    word, tab, rest = line.partition(b"\t")
    ways = [[word, *rest.split()]] if tab else []
    ways += [line.rsplit(b" ", dim), line.rsplit(None, dim)]
    for word, *values in ways:
        if len(values) == dim and all(map(NUMBER.fullmatch, values)):
            return word, [float(value) for value in values]
    things = line.split()
    wrong = [thing for thing in things[1:] if not NUMBER.fullmatch(thing)]
    if wrong and len(things) == dim + 1:
        shown = wrong[0].decode(errors="backslashreplace")
        raise KDError(f"{source}: line {at}: {shown!r} is not a number")
    raise KDError(f"{source}: line {at} has {numbers_at_end(line)} numbers, expected {dim}")


def write(path: Path, suffix: str, words: Sequence[str] | None, embedding: Embedding) -> None:
    """A header of N and d in a `.vec`, none in a `.txt`; numbers of 7 digits.

    Raises:
        KDError: a word with a line break, or with a blank at its end.
    """
    N, dim = embedding.num_embeddings, embedding.embedding_dim
    found = written_words(words, N, "\n\r", "a line break, which a line of text cannot hold")
    for row, name in enumerate(found):
        # Nothing but spaces is read as it is written.
        if name.endswith((b" ", b"\t")) and name.strip(b" "):
            raise KDError(
                f"word {name.decode()!r} of row {row} ends in a blank, which a line of text loses"
            )
    names = iter(found)
    pattern = b" %.7g" * dim + b"\n"
    with open(path, "wb") as stream:
        if suffix == ".vec":
            stream.write(b"%d %d\n" % (N, dim))
        for block in composed_blocks(embedding):
            stream.writelines(
                name + pattern % tuple(row)
                for name, row in zip(islice(names, len(block)), block.tolist(), strict=True)
            )
