"""Text files of word vectors: a word and its numbers a line, as GloVe and word2vec write them."""

from array import array
from collections.abc import Iterable

import numpy as np
import torch

from kdcore.errors import KDError
from kdcore.vectors import WordVectors


def parse_vectors(lines: Iterable[str], source: str, limit: int | None = None) -> WordVectors:
    """Lines of a word and its numbers, separated by spaces.

    A first line of two integers, as word2vec writes it, is passed over.

    Args:
        limit: how many words are read; None reads all.

    Raises:
        KDError: no vectors, unequal lengths, something not a finite number, a word twice.
    """
    words: list[str] = []
    numbers, size = array("f"), 0
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        word, *values = line.rstrip().split(" ")
        if number == 1 and len(values) == 1 and word.isdigit() and values[0].isdigit():
            continue
        if len(words) == limit:
            break
        if word in seen:
            raise KDError(f"{source}: line {number}: the word {word!r} comes twice")
        try:
            row = array("f", map(float, values))
        except ValueError:
            raise KDError(f"{source}: line {number}: not all values are numbers") from None
        if not row or len(row) != (size or len(row)):
            raise KDError(
                f"{source}: line {number} has {len(row)} values, expected {size or 'some'}"
            )
        size = len(row)
        words.append(word)
        numbers += row
        seen.add(word)
    if not words:
        raise KDError(f"{source}: no vectors")
    vectors = torch.from_numpy(np.array(numbers).reshape(len(words), size))
    wrong = ~torch.isfinite(vectors).all(1)
    if wrong.any():
        word = words[int(wrong.nonzero()[0])]
        raise KDError(f"{source}: the vector of {word!r} has a value that is not finite")
    return WordVectors(tuple(words), vectors)
