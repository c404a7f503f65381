"""Checkpoints of PyTorch: one tensor of a file by its name; nothing in the file is run."""

import pickle
import warnings
from collections.abc import Iterator, Mapping

import torch

from kdcore.errors import KDError
from kdcore.formats import FoundVectors, Source, choose_tensor
from kdcore.vectors import as_floats

NAMES = True
# How `torch.save` began before it wrote archives: a pickled number of 10 bytes.
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def recognises(source: Source) -> bool:
    """Whether it is an archive with a pickle in it, or begins as older files do."""
    if source.head.startswith(b"PK"):
        return not source.members
    return source.head.startswith(LEGACY)


def read(source: Source) -> FoundVectors:
    """The tensor, as float32; `torch.load` with `weights_only`.

    Raises:
        KDError: a damaged file or one with other objects than tensors, no such tensor, several
            and none named, or one that is sparse.
    """
    archive = source.head.startswith(b"PK")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of PyTorch about itself
            stored = torch.load(source.path, map_location="cpu", weights_only=True, mmap=archive)
    except pickle.UnpicklingError as error:
        line = str(error).split(". ")[0].split("\n")[0]
        raise KDError(f"{source}: holds more than tensors and cannot be read ({line})") from None
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        line = str(error).split("\n")[0]
        raise KDError(f"{source}: damaged or not a checkpoint of PyTorch ({line})") from None
    tensors = {name: t for name, t in _tensors(stored) if t.is_floating_point()}
    name = choose_tensor(source, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    try:
        return FoundVectors(None, as_floats(tensors[name]))
    except (TypeError, RuntimeError) as error:  # sparse, or without numbers
        raise KDError(f"{source}: tensor {name!r} cannot be read ({error})") from None


def _tensors(stored: object, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors with the path of keys that leads to each, joined by dots."""
    if isinstance(stored, torch.Tensor):
        yield name, stored
    elif isinstance(stored, Mapping):
        for key, value in stored.items():
            yield from _tensors(value, f"{name}.{key}" if name else str(key))
