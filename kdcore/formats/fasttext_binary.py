"""fastText's own `.bin` files: words, and vectors of words and of their parts.

A word's vector is the mean of its own row and of those of its n-grams, as fastText composes it
(Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information", Section 3.2). The layout
is that of version 12 of the format, which fastText has written since 2017, and of version 11.
"""

import struct
from typing import IO, Any

import numpy as np
import torch

from kdcore.errors import KDError
from kdcore.formats import FoundVectors, Source, WordList

MAGIC, VERSIONS = 793712314, (11, 12)
# 12 integers and a float: size of vectors, window, epochs, minimal count, negatives, word n-grams,
# loss, model, buckets, lengths of the shortest and longest n-gram, rate of updates, threshold.
ARGUMENTS = struct.Struct("<12id")
DICTIONARY = struct.Struct("<iiiqq")
SUPERVISED, END_OF_SENTENCE = 3, b"</s>"
# Hashes are FNV-1a over bytes that count as signed.
START, PRIME = np.uint32(2166136261), np.uint32(16777619)
# Words whose parts are looked up at a time.
BLOCK = 1_000


def recognises(source: Source) -> bool:
    """Whether fastText's mark is there."""
    return source.head[:4] == struct.pack("<i", MAGIC)


def read(source: Source) -> FoundVectors:
    """The words and their vectors; the rows of parts stay in the file.

    Raises:
        KDError: a packed or quantised file, one of another version, or one that is cut off.
    """
    if source.is_packed:
        raise KDError(f"{source}: fastText's .bin must be unpacked first")
    try:
        with open(source.path, "rb") as stream:
            return _read(source, stream)
    except struct.error:
        raise KDError(f"{source}: cut off") from None


def _read(source: Source, stream: IO[bytes]) -> FoundVectors:
    _, version = _take(stream, "<ii")
    if version not in VERSIONS:
        raise KDError(f"{source}: fastText's format must be of version 11 or 12, got {version}")
    dim, *_, model, buckets, shortest, longest, _, _ = ARGUMENTS.unpack(stream.read(ARGUMENTS.size))
    if version == 11 and model == SUPERVISED:
        longest = 0  # such models had no n-grams
    size, count, _, _, pruned = DICTIONARY.unpack(stream.read(DICTIONARY.size))
    entries = _entries(source, stream, size)
    kept = None
    if pruned >= 0:
        pairs = np.frombuffer(stream.read(8 * pruned), "<i4").reshape(-1, 2)
        kept = np.full(buckets, -1, np.int64)
        kept[pairs[:, 0]] = pairs[:, 1]
    (quantised,) = _take(stream, "<?")
    if quantised:
        raise KDError(f"{source}: is quantised (.ftz); the .bin it was made from can be read")
    rows, columns = _take(stream, "<qq")
    if columns != dim or stream.tell() + 4 * rows * columns > source.path.stat().st_size:
        raise KDError(f"{source}: cut off")
    matrix = np.memmap(source.path, "<f4", "c", stream.tell(), (rows, columns))
    words, chosen = WordList("word"), []
    for at, entry in enumerate(entries[:count]):
        if words.add(entry, at + 1):
            chosen.append(at)
    found = np.empty((len(chosen), dim), np.float32)
    for first in range(0, len(chosen), BLOCK):
        ids = np.array(chosen[first : first + BLOCK])
        owners, hashes = subword_hashes([entries[at] for at in ids], shortest, longest)
        parts = (hashes % np.uint32(max(buckets, 1))).astype(np.int64)
        if kept is not None:
            parts, owners = kept[parts][kept[parts] >= 0], owners[kept[parts] >= 0]
        # Each word's own row, and those of its parts; summed by word in double precision.
        sums = matrix[ids].astype(np.float64)
        np.add.at(sums, owners, matrix[count + parts])
        times = 1 + np.bincount(owners, minlength=len(ids))
        found[first : first + len(ids)] = sums / times[:, None]
    return FoundVectors(words.words, torch.from_numpy(found), words.notes)


def _take(stream: IO[bytes], layout: str) -> tuple[Any, ...]:
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))


def _entries(source: Source, stream: IO[bytes], size: int) -> list[bytes]:
    """The words and labels: bytes up to a zero, then a count and a type."""
    found: list[bytes] = []
    buffer, at, begin = b"", 0, stream.tell()
    while len(found) < size:
        end = buffer.find(b"\0", at)
        if end < 0 or end + 10 > len(buffer):
            more = stream.read(1 << 20)
            if not more:
                raise KDError(f"{source}: cut off")
            begin += at
            buffer, at = buffer[at:] + more, 0
            continue
        found.append(buffer[at:end])
        at = end + 10
    stream.seek(begin + at)
    return found


def subword_hashes(
    words: list[bytes], shortest: int, longest: int
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.uint32]]]:
    """Hashes of the n-grams of characters of words in angle brackets.

    Args:
        words: as UTF-8.
        shortest, longest: characters of an n-gram; none where `longest` is 0.

    Returns:
        Which word each n-gram is of, and its hash.
    """
    marked = [b"" if word == END_OF_SENTENCE else b"<" + word + b">" for word in words]
    lengths = np.array([len(word) for word in marked])
    width = int(lengths.max(initial=0))
    table = np.array(marked, f"S{max(width, 1)}").view(np.uint8).reshape(len(words), -1)
    # A byte that continues a character begins none.
    begins = (table & 0xC0) != 0x80
    begins &= np.arange(table.shape[1]) < lengths[:, None]
    signed = table.view(np.int8).astype(np.int32).view(np.uint32)
    owners: list[np.ndarray[Any, np.dtype[np.int64]]] = []
    hashes: list[np.ndarray[Any, np.dtype[np.uint32]]] = []
    for first in range(width):
        rows = np.flatnonzero(begins[:, first])
        state, characters = np.full(len(rows), START), np.zeros(len(rows), np.int64)
        for last in range(first, width):
            characters += begins[rows, last]
            going = (characters <= longest) & (last < lengths[rows])
            rows, state, characters = rows[going], state[going], characters[going]
            if not len(rows):
                break
            state = (state ^ signed[rows, last]) * PRIME
            # The n-gram ends here where the next character begins, or the word is over.
            over = last + 1 == lengths[rows]
            ends = over | begins[rows, min(last + 1, width - 1)]
            ends &= characters >= shortest
            # A bracket alone is no part.
            ends &= characters > 1 if first == 0 else ~over | (characters > 1)
            owners.append(rows[ends])
            hashes.append(state[ends])
    if not owners:
        return np.empty(0, np.int64), np.empty(0, np.uint32)
    return np.concatenate(owners), np.concatenate(hashes)
