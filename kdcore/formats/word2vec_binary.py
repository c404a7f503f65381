"""word2vec's binary format: a line of N and d, then each word, a space and d numbers in float32."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np

from kdcore.embeddings import Embedding
from kdcore.errors import KDError
from kdcore.formats import (
    FoundVectors,
    GrowingTable,
    Source,
    WordList,
    composed_blocks,
    written_words,
)
from kdcore.formats.text import numbers_at_end

SUFFIXES = (".bin",)
HEADER = re.compile(rb"(\d+) (\d+)[ \r]*\n")
# Bytes that are read at a time, and words that are taken over at a time.
CHUNK, BLOCK = 1 << 22, 2_000


def recognises(source: Source) -> bool:
    """Whether there is a header, and behind it something else than lines of numbers."""
    match = HEADER.match(source.head)
    if match is None or len(source.head) == match.end():
        return False
    return numbers_at_end(source.head[match.end() :].split(b"\n")[0]) == 0


def read(source: Source) -> FoundVectors:
    """The words and vectors.

    Raises:
        KDError: the file ends within a vector, or holds no vectors.
    """
    with source.open() as stream:
        match = HEADER.match(stream.readline())
        assert match is not None
        said, dim = int(match[1]), int(match[2])
        if dim < 1:
            raise KDError(f"{source}: line 1 says vectors of size {dim}")
        words, table, at = WordList("word"), GrowingTable(dim), 0
        records = _records(source, stream, 4 * dim)
        while block := list(islice(records, BLOCK)):
            new = [
                numbers for at, (word, numbers) in enumerate(block, at + 1) if words.add(word, at)
            ]
            at += len(block)
            table.add(np.frombuffer(b"".join(new), dtype="<f4").reshape(-1, dim))
    if at != said:
        words.remark(at, "is the last, ", f"where the header says {said:,}")
    return FoundVectors(words.words, table.tensor(), words.notes)


def _records(source: Source, stream: IO[bytes], width: int) -> Iterator[tuple[bytes, bytes]]:
    """Words and the bytes of their numbers."""
    buffer, at, count = stream.read(CHUNK), 0, 0
    while True:
        # A word that is a space has another one behind it.
        start = at + len(buffer[at : at + 2]) - len(buffer[at : at + 2].lstrip(b"\n"))
        end = buffer.find(b" ", start + (buffer[start : start + 2] == b"  "))
        if end < 0 or end + 1 + width > len(buffer):
            more = stream.read(CHUNK)
            if not more:
                break
            buffer, at = buffer[at:] + more, 0
            if end < 0 and len(buffer) > 4 * CHUNK + 4 * width:
                break
            continue
        at = end + 1 + width
        count += 1
        yield buffer[start:end], buffer[end + 1 : at]
    if buffer[at:].strip(b"\n"):
        raise KDError(
            f"{source}: damaged or cut off behind word {count:,}, or a word has a space in it, "
            "which this format cannot hold"
        )


def write(path: Path, suffix: str, words: Sequence[str] | None, embedding: Embedding) -> None:
    """As the original program does, a line break behind each vector."""
    N, dim = embedding.num_embeddings, embedding.embedding_dim
    why = "a space or a line break, which word2vec's .bin cannot hold; .vec can hold spaces"
    names = iter(written_words(words, N, " \n", why))
    with open(path, "wb") as stream:
        stream.write(b"%d %d\n" % (N, dim))
        for block in composed_blocks(embedding):
            rows = block.numpy().astype("<f4")
            for name, row in zip(islice(names, len(rows)), rows, strict=True):
                stream.write(name + b" " + row.tobytes() + b"\n")
