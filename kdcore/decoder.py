"""A learned transform in one file: with the codes, all that composes the vectors again."""

from pathlib import Path
from typing import Any

import torch

from kdcore.errors import KDError
from kdcore.tensors import count_of, load_tensors, on_cpu, read_from, save_tensors
from kdcore.transforms import TRANSFORMS, Transform

VERSION = 2
ERROR_SCALE = "error_scale"


def save_decoder(path: str | Path, transform: Transform) -> None:
    """Store a transform: its weights, its settings, and what its errors are measured in.

    The file is in the safetensors format, its header has the kind and settings of the transform.

    Raises:
        KDError: a transform of a class that is no kind of `TRANSFORMS`.

    Example:
        >>> save_decoder("decoder.safetensors", learned.transform)
    """
    settings = transform.settings
    if type(transform).__module__ != type(settings).__module__:
        raise KDError(f"transform must be of a kind of its own, got {type(transform).__name__}")
    header = {
        "kind": "decoder",
        "version": VERSION,
        "transform": settings.model_dump(),
        "K": transform.K,
        "D": transform.D,
        "dim": transform.dim,
    }
    tensors = transform.state_dict() | {ERROR_SCALE: transform.error_scale}
    save_tensors(path, tensors, header)


@on_cpu()
def load_decoder(path: str | Path) -> Transform:
    """Read what `save_decoder` wrote.

    Raises:
        KDError: the file is missing, damaged, holds something else, is of another version, or
            names a kind of transform that is unknown here.

    Example:
        >>> vectors = load_decoder("decoder.safetensors").compose_all(codes.tensor())
    """
    tensors, header = load_tensors(path, "decoder")
    # The first version had no number.
    version = header.get("version", 1)
    if version != VERSION:
        raise KDError(f"{path}: decoder must be of version {VERSION}, got {version!r}")
    with read_from(path, "decoder"):
        return _rebuild(tensors, header)


def _rebuild(tensors: dict[str, torch.Tensor], header: dict[str, Any]) -> Transform:
    settings = TRANSFORMS.parse(header["transform"], "transform")
    K, D, dim = (count_of(header, name) for name in ("K", "D", "dim"))
    books = tensors.get("W", torch.empty(0))
    # Before as much is made as the header says.
    if books.ndim != 3 or len(books) not in (1, D) or books.shape[1] != K:
        raise KDError(f"tensor 'W' must have shape ({D}, {K}, any), got {tuple(books.shape)}")
    with torch.random.fork_rng(devices=[]):  # the random start is of no use here
        transform: Transform = settings.module.build(settings, K, D, dim)
    transform.error_scale = tensors.pop(ERROR_SCALE)
    transform.load_state_dict(tensors)
    return transform
