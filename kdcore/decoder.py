"""A learned transform in one file: with the codes, all that composes the vectors again."""

from pathlib import Path

import torch

from kdcore.errors import KDError
from kdcore.tensors import load_tensors, save_tensors
from kdcore.transforms import TRANSFORMS, Transform

SHAPE = ("K", "D", "dim", "code_dim")


def save_decoder(path: str | Path, transform: Transform) -> None:
    """Store a transform of `TRANSFORMS`, its weights and how it was made.

    Raises:
        KDError: a transform that is not in `TRANSFORMS`.
    """
    names = [name for name, kind in TRANSFORMS.items() if type(transform) is kind]
    if not names:
        raise KDError(f"{type(transform).__name__} has no name in TRANSFORMS")
    header = {"kind": "decoder", "transform": names[0]}
    header |= {name: getattr(transform, name) for name in SHAPE}
    header["options"] = {"normalise": transform.norm is not None}
    if hasattr(transform, "cell"):
        header["options"]["cell"] = transform.cell
    save_tensors(path, transform.state_dict(), header)


def load_decoder(path: str | Path) -> Transform:
    """Read what `save_decoder` wrote.

    Raises:
        KDError: the file is missing, damaged, holds something else, or names a transform that
            is unknown here.
    """
    tensors, header = load_tensors(path, "decoder")
    try:
        kind = TRANSFORMS[header["transform"]]
        K, D, dim, code_dim = (header[name] for name in SHAPE)
        with torch.random.fork_rng(devices=[]):  # the random start is of no use here
            transform = kind(K, D, dim, code_dim=code_dim, **header["options"])
        transform.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise KDError(f"{path}: no decoder of this version ({error})") from None
    return transform
