"""safetensors: one tensor of a file by its name; tables of this library with their words."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from kdcore.embeddings import Embedding, load_stored
from kdcore.errors import KDError
from kdcore.formats import (
    FoundVectors,
    Source,
    choose_tensor,
    composed_blocks,
    written_words,
)
from kdcore.vectors import WordVectors

SUFFIXES = (".safetensors",)
NAMES = True


def recognises(source: Source) -> bool:
    """Whether the file begins with the length of a JSON object, and with that."""
    head = source.head
    return head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < 1 << 32 and b'"' in head


def read(source: Source) -> FoundVectors:
    """The tensor, as float32.

    Raises:
        KDError: a damaged file, no such tensor, or several and none named.
    """
    try:
        with safe_open(str(source.path), framework="pt") as stored:
            header = json.loads((stored.metadata() or {}).get("header", "{}"))
            kind = header.get("kind") if isinstance(header, dict) else None
            if kind == "embedding" and source.name is None:
                return _composed(source)
            if kind == "word vectors" and source.name in (None, "vectors"):
                named = WordVectors.load(source.path)
                return FoundVectors(named.words, named.vectors)
            slices = {name: stored.get_slice(name) for name in stored.keys()}  # noqa: SIM118
            kinds = {name: part.get_dtype() for name, part in slices.items()}
            shapes = {name: part.get_shape() for name, part in slices.items() if "F" in kinds[name]}
            table = stored.get_tensor(choose_tensor(source, shapes)).float()
    except (SafetensorError, json.JSONDecodeError) as error:
        raise KDError(f"{source}: damaged or not a safetensors file ({error})") from None
    return FoundVectors(None, table)


def _composed(source: Source) -> FoundVectors:
    """The vectors of a compressed table."""
    stored = load_stored(source.path)
    return FoundVectors(stored.words, torch.cat(list(composed_blocks(stored.embedding))))


def write(path: Path, suffix: str, words: Sequence[str] | None, embedding: Embedding) -> None:
    """What `WordVectors.load` reads."""
    table = torch.cat(list(composed_blocks(embedding)))
    names = written_words(words, len(table), "", "")
    WordVectors(tuple(name.decode() for name in names), table).save(path)
